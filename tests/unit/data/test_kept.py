"""Arrays kept on disk: the same as made, made once, and made again where a file was damaged."""

import contextlib
import logging
import os
import pathlib
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from reading import KeptView

from talkface_jax.data import pipeline
from talkface_jax.data.corrupt import CorruptRecords
from talkface_jax.data.kept import KeptArrays
from talkface_jax.errors import ConfigError, TalkfaceError

ARRAYS = (
    np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32),
    np.array([-4, 12], np.int64),
)


@pytest.fixture
def kept(tmp_path):
    found = KeptArrays.open(str(tmp_path / "features"))
    assert found is not None
    return found


def files(kept):
    return [path for path in kept.directory.rglob("*") if path.is_file()]


def never():
    raise AssertionError("made again")


def assert_same(found, expected=ARRAYS):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()


def test_arrays_come_back_as_they_were_made(kept):
    flipped = (ARRAYS[0][:, ::-1], ARRAYS[0].T, *(np.full(1, n, np.float32) for n in range(12)))
    for arrays in (ARRAYS, flipped):
        name = f"of{len(arrays)}"
        assert_same(kept.get(name, "ab" * 32, 5, lambda arrays=arrays: arrays), arrays)
        (path,) = (kept.directory / name).rglob("*.safetensors")
        assert path.parent.name == path.name[:2] and path.parent.parent.name == name
        again = KeptArrays.open(str(kept.directory))
        assert again is not None
        assert_same(again.get(name, "ab" * 32, 5, never), arrays)


def test_nothing_is_found_of_another_name_shard_or_record(kept):
    kept.get("one", "a", 11, lambda: ARRAYS)
    for key in (("two", "a", 11), ("one", "b", 11), ("one", "a", 1), ("one", "a1", 1)):
        other = (np.zeros(2, np.float32),)
        assert_same(kept.get(*key, lambda other=other: other), other)
    assert_same(kept.get("one", "a", 11, never))


def truncate(path, data):
    path.write_bytes(data[:-9])


def empty(path, data):
    path.write_bytes(b"")


def flip(at):
    def damage(path, data):
        path.write_bytes(data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :])

    return damage


def reshape(path, data):
    """Another file that safetensors takes: the same bytes as three rows of seven."""
    assert data.count(b"[7,3]") == 1
    path.write_bytes(data.replace(b"[7,3]", b"[3,7]"))


def of_another_record(path, data):
    other = KeptArrays(path.parents[2])
    other.get("name", "shard", 1, lambda: (np.ones((7, 3), np.float32), ARRAYS[1]))
    (found,) = set(path.parents[1].rglob("*.safetensors")) - {path}
    os.replace(found, path)


def not_ours(path, data):
    from safetensors.numpy import save_file

    save_file({"rows": ARRAYS[0]}, path)


@pytest.mark.parametrize(
    "damage", [truncate, empty, flip(3), flip(20), flip(-2), reshape, of_another_record, not_ours]
)
def test_a_damaged_file_is_told_of_once_and_made_again(kept, caplog, damage):
    kept.get("name", "shard", 0, lambda: ARRAYS)
    (path,) = files(kept)
    damage(path, path.read_bytes())
    made = []
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert_same(kept.get("name", "shard", 0, lambda: made.append(1) or ARRAYS))
    assert len(made) == 1
    (record,) = caplog.records
    assert str(path) in record.getMessage() and "made again" in record.getMessage()


def test_threads_that_miss_the_same_file_write_it_whole(kept):
    barrier = threading.Barrier(6)

    def make():
        barrier.wait(10)
        return ARRAYS

    with ThreadPoolExecutor(6) as pool:
        for found in pool.map(lambda _: kept.get("name", "s", 0, make), range(6)):
            assert_same(found)
    assert len(files(kept)) == 1
    assert_same(kept.get("name", "s", 0, never))


@contextlib.contextmanager
def full_disk(size=4096):
    """No file may grow beyond so many bytes: writing stops in the middle, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


REMEDY = r"free disk space .*--config\.data\.features_dir, or an empty one"


def test_a_full_disk_is_one_sentence_and_leaves_nothing(kept):
    large = (np.zeros(1 << 18, np.float32),)
    with full_disk(), pytest.raises(TalkfaceError, match=rf"cannot be written.*{REMEDY}"):
        kept.get("name", "s", 0, lambda: large)
    assert not files(kept)
    assert_same(kept.get("name", "s", 0, lambda: large), large)


def test_a_full_disk_is_no_corrupt_record(prepared, kept):
    """A budget for those must not go on with other records, without a word."""
    dataset = pipeline.open_dataset(prepared, "train", kept=kept)
    batches = pipeline.train_iterator(
        dataset, KeptView(), batch_size=4, seed=0, threads=0, corrupt=CorruptRecords(9)
    )
    with full_disk(16), pytest.raises(TalkfaceError, match=REMEDY):
        next(batches)
    batches.close()


def test_a_file_in_the_place_of_a_folder_is_named(kept, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (kept.directory / "name").write_text("")
    with pytest.raises(TalkfaceError, match=rf"features.name.*cannot be read.*{REMEDY}"):
        kept.get("name", "s", 0, lambda: ARRAYS)
    taken = tmp_path / "taken"
    taken.write_text("")
    for folder in (taken, taken / "below"):
        with pytest.raises(ConfigError, match=rf"data\.features_dir {folder} cannot be made.*; "):
            KeptArrays.open(str(folder))
    with pytest.raises(ConfigError, match=r"'gs://b/f', which is not on this machine; mount"):
        KeptArrays.open("gs://b/f")
    assert not pathlib.Path("gs:").exists()


def test_only_what_killed_processes_left_is_removed(kept):
    kept.get("name", "s", 0, lambda: ARRAYS)
    (whole,) = files(kept)
    left, fresh = (kept.directory / ".unfinished" / name for name in ("left", "fresh"))
    for path in (left, fresh):
        path.write_bytes(b"half")
    long_ago = time.time() - 100_000
    for path in (left, whole):
        os.utime(path, (long_ago, long_ago))
    KeptArrays.open(str(kept.directory))
    assert set(files(kept)) == {whole, fresh}


def rows(dataset, *, workers=0, count=6):
    batches = pipeline.train_iterator(
        dataset, KeptView(), batch_size=5, seed=3, threads=2, workers=workers
    )
    try:
        return [next(batches)["row"].tobytes() for _ in range(count)]
    finally:
        batches.close()


def test_processes_keep_and_find_the_same(prepared, kept):
    expected = rows(pipeline.open_dataset(prepared, "train"))
    for parts in (1, 2):  # made by the first, read by the second
        dataset = pipeline.open_dataset(prepared, "train", kept=kept)
        assert rows(dataset, workers=2 if parts == 1 else 0) == expected
        assert len(files(kept)) == len(dataset) == 3
    (kept.directory / "sound-v1").rename(kept.directory / "sound-v0")
    assert rows(pipeline.open_dataset(prepared, "train", kept=kept)) == expected
    assert len(files(kept)) == 6
