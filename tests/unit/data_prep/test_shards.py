import dataclasses
import itertools
import random

import pytest

from data_prep import job as jobs
from data_prep import shards
from data_prep.gates import Gates
from data_prep.shards import Part, Plan
from talkface_jax.data import schema, store
from talkface_jax.errors import RecordError

MB = 1_000_000


def _parts(count, *, split="train", seed=0):
    rng = random.Random(seed)
    return [
        Part(
            f"{split}{i}",
            split,
            tuple(rng.randint(MB // 10, 3 * MB) for _ in range(rng.randint(1, 9))),
        )
        for i in range(count)
    ]


def _sizes(plan, parts):
    records = {part.key: part.records for part in parts}
    return [sum(sum(records[p.key][p.first : p.end]) for p in shard.pieces) for shard in plan]


@pytest.mark.parametrize("clips", [40, 100, 1000])
def test_shards_have_100_to_250_megabytes(clips):
    parts = _parts(clips, seed=clips)
    total = sum(sum(part.records) for part in parts)
    plan = shards.plan_shards("set", parts, shards=None)
    assert total > 250 * MB
    sizes = _sizes(plan, parts)
    assert sum(sizes) == total
    assert 100 * MB < min(sizes) <= max(sizes) < 250 * MB
    assert max(sizes) - min(sizes) <= 6 * MB  # no record is over 3 MB


def test_a_small_split_is_one_shard():
    parts = [Part(str(i), "train", (25 * MB,)) for i in range(10)]
    assert len(shards.plan_shards("set", parts, shards=None)) == 1
    parts.append(Part("more", "train", (1,)))
    assert len(shards.plan_shards("set", parts, shards=None)) == 2


@pytest.mark.parametrize("count", [1, 2, 7, 40, 999])
def test_shards_hold_every_record_once_in_order(count):
    parts = [*_parts(9, split="test"), *_parts(11)]
    plan = shards.plan_shards("set", parts, shards=count)
    for split in ("test", "train"):
        mine = [part for part in parts if part.split == split]
        records = [(part.key, i) for part in mine for i in range(len(part.records))]
        made = [shard for shard in plan if shard.split == split]
        number = min(count, len(records))
        assert [shard.name for shard in made] == [
            f"set-{split}.tfrecord-{k:05d}-of-{number:05d}" for k in range(number)
        ]
        found = [
            (piece.key, i)
            for shard in made
            for piece in shard.pieces
            for i in range(piece.first, piece.end)
        ]
        assert found == records
        assert all(shard.pieces for shard in made)
        lengths = {part.key: len(part.records) for part in mine}
        for piece in itertools.chain.from_iterable(shard.pieces for shard in made):
            assert piece.whole == (piece.end - piece.first == lengths[piece.key])


def test_one_huge_record_leaves_no_shard_empty():
    parts = [Part("a", "train", (1, 1, 1000 * MB, 1, 1))]
    plan = shards.plan_shards("set", parts, shards=4)
    assert [piece.end - piece.first for shard in plan for piece in shard.pieces] == [2, 1, 1, 1]


@pytest.fixture
def job(tmp_path):
    (tmp_path / ".parts").mkdir()
    return jobs.Job(
        dataset="set",
        raw="raw",
        out=str(tmp_path),
        face=None,
        gates=Gates(),
        shards=2,
        max_failures=0,
        options={},
        fingerprint="made of these",
        keys="f",
    )


@pytest.fixture
def plan(job, make_segment, tmp_path):
    """Three parts of one, two and one records, and the plan of two shards."""
    parts = []
    for key, seeds in (("a", (1,)), ("b", (2, 3)), ("c", (4,))):
        path = tmp_path / ".parts" / f"{key}.tfrecord"
        with store.ShardWriter(path) as writer:
            for seed in seeds:
                segment = make_segment(seed=seed, frames=2)
                writer.write(schema.encode(segment), schema.record_meta(segment))
        sizes = tuple(entry.length + 16 for entry in store.read_index(path).entries)
        assert sum(sizes) == path.stat().st_size
        parts.append(Part(key, "train", sizes))
    made = Plan("f", tuple(shards.plan_shards("set", parts, shards=2)), {})
    shards.write_plan(job, made)
    return made


def _left(tmp_path):
    return sorted(path.name for path in (tmp_path / ".parts").glob("*.tfrecord"))


def test_a_join_uses_up_its_parts_and_goes_on_after_a_kill(job, plan, tmp_path):
    assert shards.read_plan(job) == plan
    assert shards.read_plan(dataclasses.replace(job, keys="g")) is None
    first, second = plan.shards
    assert shards.unfinished(job, plan) == [first, second]
    shards.write_shard(job, first, plan=plan.digest)
    # Part b lies on the border: the other shard still needs it.
    assert _left(tmp_path) == ["b.tfrecord", "c.tfrecord"]
    assert shards.unfinished(job, plan) == [second]
    # A shard of another plan is not this one's, and neither is a truncated one.
    other = Plan("f", plan.shards, {"clips": 9})
    assert shards.unfinished(job, other) == [first, second]
    shards.write_shard(job, second, plan=plan.digest)
    assert shards.unfinished(job, plan) == []
    assert _left(tmp_path) == ["b.tfrecord"]
    clips = [
        entry.meta.clip
        for shard in plan.shards
        for entry in store.read_index(tmp_path / shard.name).entries
    ]
    assert clips == ["fake/clip1", "fake/clip2", "fake/clip3", "fake/clip4"]
    (tmp_path / second.name).write_bytes(b"")
    assert shards.unfinished(job, plan) == [second]


@pytest.mark.parametrize("damage", ["record", "index", "gone"])
def test_a_part_that_cannot_be_read_is_removed(job, plan, tmp_path, damage):
    part = tmp_path / ".parts" / "a.tfrecord"
    if damage == "record":
        data = bytearray(part.read_bytes())
        data[len(data) // 2] ^= 1
        part.write_bytes(data)
    elif damage == "index":
        store.index_path(part).write_text("{}")
    else:
        part.unlink()
    with pytest.raises(RecordError, match=r"a\.tfrecord[^;]*: this part was removed; run `tal"):
        shards.write_shard(job, plan.shards[0], plan=plan.digest)
    assert not part.exists()
    assert not store.index_path(part).exists()
    assert not (tmp_path / plan.shards[0].name).exists()


def test_shards_of_another_plan_are_removed(job, plan, tmp_path):
    ours = ("set-train.tfrecord-00000-of-00009", "set-val.tfrecord-00001-of-00002.index.json")
    others = ("settle-train.tfrecord-00000-of-00009", "set-train.tfrecord", "notes.txt")
    for name in (*ours, *others, plan.shards[0].name):
        (tmp_path / name).touch()
    shards.remove_strangers(job, plan)
    found = sorted(path.name for path in tmp_path.iterdir() if path.is_file())
    assert found == sorted([*others, plan.shards[0].name])
