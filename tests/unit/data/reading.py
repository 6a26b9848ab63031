"""What the tests of reading share: a view that says what it was given, and damage to a record."""

import numpy as np

from talkface_jax.data.store import read_index
from talkface_jax.media.images import decode_jpeg


class WhereView:
    """Speaker, first frame and one random number of every window; decodes its first image."""

    name = "where"
    window = 5
    faces = True

    def spec(self, batch_size):
        raise NotImplementedError

    def sample(self, segment, start, rng, *, train):
        speaker = segment.derived("who", lambda s: int(s.info.speaker.removeprefix("speaker")))
        decode_jpeg(segment.frames[start])
        return {"row": np.array([speaker, start, rng.random() if train else -1])}


def take(iterator, count):
    """The rows of the next batches."""
    return [tuple(row) for _ in range(count) for row in next(iterator)["row"].tolist()]


def interleaved(iterators, count):
    """The rows of the next batches of all processes, in the global order."""
    shares = [take(iterator, count) for iterator in iterators]
    return [row for group in zip(*shares, strict=True) for row in group]


def damage(source, record):
    """Turns over the bits of one byte of a record of a `ShardSource`."""
    shard, number = source.locate(record)
    at = read_index(source.paths[shard]).entries[number].offset + 500
    with open(source.paths[shard], "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 255]))


class KeptView(WhereView):
    """The sum of a segment's sound, kept where the run keeps things, and where the window is."""

    name = "kept"

    def sample(self, segment, start, rng, *, train):
        (level,) = segment.stored("sound-v1", lambda s: (np.array([s.audio.sum()], np.float64),))
        return {"row": np.array([level[0], start, rng.random()])}


def levels(reader):
    """One number a frame of a segment, that no other frame has."""
    return reader.derived("levels", lambda s: s.landmarks.sum((1, 2)))


class AroundView(WhereView):
    """All that a view can see beside its segment: frames far around, and who the others are."""

    name = "around"

    def sample(self, segment, start, rng, *, train):
        rows, exists = segment.across(start - 20, start + 25, levels)
        others = [
            segment.neighbour(-1),
            segment.neighbour(1),
            segment.other_clip(rng),
            segment.other_speaker(rng),
        ]
        firsts = [np.float32(0) if other is None else levels(other)[0] for other in others]
        clip = int(segment.meta.clip.removeprefix("fake/clip"))
        return {"row": np.concatenate([[clip, start], rows, exists, firsts, [rng.random()]])}


class PairView(WhereView):
    """Clips of a window and of another clip of its speaker, of which one picture is decoded; the
    window's own record is read first."""

    name = "pair"

    def sample(self, segment, start, rng, *, train):
        other = segment.other_clip(rng)
        clips = [int(r.meta.clip.removeprefix("fake/clip")) for r in (segment, other)]
        for reader in (segment, other):
            decode_jpeg(reader.frames[0])
        return {"row": np.array([*clips, start, rng.random()])}


class ThreadsView(WhereView):
    """How many threads OpenCV and the BLAS libraries of the process that reads may use."""

    name = "threads"

    def sample(self, segment, start, rng, *, train):
        import cv2
        from threadpoolctl import threadpool_info

        blas = [found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"]
        return {"row": np.array([cv2.getNumThreads(), max(blas)])}
