"""Made-up segments and prepared directories, for every test that reads data."""

import pathlib
from collections.abc import Callable

import numpy as np
import pytest

from talkface_jax.data.manifest import Manifest, shard_entry, write_manifest
from talkface_jax.data.schema import encode, record_meta
from talkface_jax.data.store import ShardWriter
from talkface_jax.records import RECORD_SIZE, SAMPLES_PER_FRAME, ClipInfo, Segment

MakeSegment = Callable[..., Segment]


def build_segment(
    *,
    seed: int = 0,
    frames: int = 30,
    start: int = 0,
    invalid: tuple[int, ...] = (),
    split: str = "train",
    sound: np.ndarray | None = None,
) -> Segment:
    """A segment of random points that wobble, noise as sound and gradients as images.

    `sound`: the whole clip's samples, of which the segment takes its part and its context.
    """
    from talkface_jax.media.images import encode_jpeg

    rng = np.random.default_rng(seed)
    base = rng.uniform(0.3, 0.7, (478, 3))
    landmarks = base + rng.normal(0, 0.004, (frames, 478, 3))
    valid = np.ones(frames, bool)
    valid[list(invalid)] = False
    landmarks[~valid] = 0
    if sound is None:
        length = (start + frames) * SAMPLES_PER_FRAME
        sound = np.clip(rng.normal(0, 3000, length), -32768, 32767).astype(np.int16)
    first, last = start * SAMPLES_PER_FRAME, (start + frames) * SAMPLES_PER_FRAME
    ramp = np.linspace(0, 255, RECORD_SIZE)
    images = [
        encode_jpeg(
            np.stack(
                np.broadcast_arrays(ramp[:, None], ramp[None], np.float64(5 * t % 256)), -1
            ).astype(np.uint8)
        )
        for t in range(frames)
    ]
    corner = np.linspace(20, 24, frames)
    return Segment(
        info=ClipInfo("fake", f"clip{seed}", f"speaker{seed}", f"clip{seed}.mp4", split=split),
        start=start,
        frames=tuple(images),
        audio=sound[first:last],
        landmarks=landmarks.astype(np.float32),
        head=np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1)),
        blendshapes=rng.uniform(0, 1, (frames, 52)).astype(np.float32),
        box=np.stack([corner, corner + 10, corner + 180, corner + 190], -1).astype(np.float32),
        valid=valid,
        context=(sound[max(0, first - 3200) : first], sound[last : last + 3200]),
    )


@pytest.fixture(scope="session")
def make_segment() -> MakeSegment:
    """`build_segment`."""
    return build_segment


def write_prepared(directory: pathlib.Path, shards: dict[str, list[Segment]]) -> pathlib.Path:
    """A prepared directory: shard name -> segments; the split is that of the first segment."""
    entries = []
    for name, segments in shards.items():
        path = directory / f"{name}.tfrecord"
        with ShardWriter(path) as writer:
            for segment in segments:
                writer.write(encode(segment), record_meta(segment))
        entries.append(shard_entry(path, segments[0].info.split))
    clips = sum(map(len, shards.values()))
    write_manifest(directory, Manifest("fake", tuple(entries), clips, licences=("made up",)))
    return directory


@pytest.fixture(scope="session")
def write() -> Callable[..., pathlib.Path]:
    """`write_prepared`."""
    return write_prepared


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Two shards of training segments (one with faceless frames) and one of test segments."""
    return write_prepared(
        tmp_path_factory.mktemp("prepared"),
        {
            "train-0": [build_segment(seed=1), build_segment(seed=2, invalid=(3, 4, 20))],
            "train-1": [build_segment(seed=3, frames=12)],
            "test-0": [build_segment(seed=4, frames=24, split="test")],
        },
    )
