"""What the tests of verification share: prepared directories with all their tables, and defects."""

import dataclasses
import json

import numpy as np

from talkface_jax.data import manifest, schema, store, verify


def clip_of_two(make_segment):
    """Shard -> segments: a clip of two segments and one of one; then one clip a shard."""
    sound = np.random.default_rng(7).integers(-8000, 8000, 20 * 640).astype(np.int16)
    return {
        "train-0": [
            make_segment(seed=1, frames=10, sound=sound),
            make_segment(seed=1, frames=10, start=10, sound=sound, invalid=(2, 3)),
            make_segment(seed=2, frames=6),
        ],
        "train-1": [make_segment(seed=3, frames=6)],
        "test-0": [make_segment(seed=4, frames=6, split="test")],
    }


def write(directory, shards, *, rows=(), **changes):
    """A prepared directory; a shard's split is the first part of its name.

    `rows`: changes to lines of clips.jsonl by clip; `changes`: to the manifest. A segment may be
    given as its bytes.
    """
    directory.mkdir(exist_ok=True)
    entries, lines = [], {}
    for name, held in shards.items():
        path = directory / f"{name}.tfrecord"
        with store.ShardWriter(path) as writer:
            for item in held:
                data = item if isinstance(item, bytes) else schema.encode(item)
                segment = schema.decode(data)
                writer.write(data, schema.record_meta(segment))
                line = lines.setdefault(
                    segment.info.clip,
                    dataclasses.asdict(segment.info)
                    | {"frames": 0, "valid_frames": 0, "dropped_segments": 0},
                )
                line["frames"] += len(segment)
                line["valid_frames"] += int(segment.valid.sum())
        entries.append(manifest.shard_entry(path, name.split("-")[0]))
    for clip, change in dict(rows).items():
        lines[clip] |= change
    text = "".join(json.dumps(line) + "\n" for line in lines.values())
    (directory / "clips.jsonl").write_text(text)
    made = manifest.Manifest("fake", tuple(entries), len(lines), licences=("unknown",))
    manifest.write_manifest(directory, dataclasses.replace(made, **changes))
    return directory


def found(directory, **options):
    """Defects as (kind, place, reason)."""
    result = verify.verify(directory, **options)
    assert sum(result.counts.values()) >= len(result.defects)
    assert result.clean == (not result.defects)
    return [(d.kind, d.place, d.reason) for d in result.defects]


def only(directory, kind, place, words, **options):
    """The one defect is as described."""
    ((got_kind, got_place, reason),) = found(directory, **options)
    assert (got_kind, got_place) == (kind, place)
    assert words in reason, reason


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
