import dataclasses
import errno
import json
import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from talkface_jax.data import store
from talkface_jax.data.schema import NOT_INDEXED, encode, record_meta
from talkface_jax.errors import RecordError


@pytest.fixture(scope="module")
def records(make_segment):
    segments = [make_segment(seed=k, frames=5 + k) for k in range(4)]
    return [(encode(segment), record_meta(segment)) for segment in segments]


@pytest.fixture
def shard(tmp_path, records):
    path = tmp_path / "a.tfrecord"
    with store.ShardWriter(path) as writer:
        for data, meta in records:
            writer.write(data, meta)
    return path


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def test_records_come_back_in_any_order(shard, records):
    source = store.ShardSource([shard])
    assert len(source) == 4
    assert [source[k] for k in (2, 0, 3, 1)] == [records[k][0] for k in (2, 0, 3, 1)]
    assert source.metas() == tuple(meta for _, meta in records)
    with pytest.raises(IndexError):
        source[4]


def test_several_shards_threads_and_pickling(shard, records, tmp_path, monkeypatch):
    other = tmp_path / "b.tfrecord"
    with store.ShardWriter(other) as writer:
        writer.write(*records[3])
    monkeypatch.setattr(store, "_OPEN_FILES", 1)
    source = pickle.loads(pickle.dumps(store.ShardSource([other, shard])))
    expected = [records[3][0], *(data for data, _ in records)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(source.__getitem__, [*range(5)] * 8)) == expected * 8
    assert source.locate(0) == (0, 0) and source.locate(4) == (1, 3)
    source.close()
    assert source[1] == expected[1]


def test_the_checksum_is_tensorflows():
    # RFC 3720's CRC-32C of 32 zero bytes, masked as TFRecord does.
    crc = 0x8A9136AA
    assert store.masked_crc(bytes(32)) == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def test_truncated(shard):
    os.truncate(shard, shard.stat().st_size - 10)
    with pytest.raises(
        RecordError, match=rf"a\.tfrecord is truncated.*; remove the folder {shard.parent}"
    ):
        store.ShardSource([shard])
    with pytest.raises(RecordError, match=r"record 3: the file is truncated"):
        store.rebuild_index(shard)


def test_truncated_behind_our_back(shard):
    source = store.ShardSource([shard])
    os.truncate(shard, shard.stat().st_size - 10)
    assert source[2]
    with pytest.raises(RecordError, match=r"a\.tfrecord, record 3: the file is truncated"):
        source[3]


def test_flipped_bit_in_a_record(shard):
    entry = store.read_index(shard).entries[1]
    flip(shard, entry.offset + 1000)
    source = store.ShardSource([shard])
    assert source[0] and source[2]
    with pytest.raises(RecordError, match=r"a\.tfrecord, record 1: the checksum is wrong"):
        source[1]
    with pytest.raises(RecordError, match=r"record 1: the checksum is wrong"):
        store.rebuild_index(shard)


def test_flipped_bit_in_a_length(shard):
    entry = store.read_index(shard).entries[1]
    flip(shard, entry.offset - 12)
    with pytest.raises(RecordError, match=r"record 1: no record of \d+ bytes begins"):
        store.ShardSource([shard])[1]
    with pytest.raises(RecordError, match=r"record 1: the checksum of its length is wrong"):
        store.rebuild_index(shard)


def test_empty(shard):
    os.truncate(shard, 0)
    for read in (store.read_index, store.rebuild_index):
        with pytest.raises(RecordError, match=rf"is empty; remove the folder {shard.parent} and"):
            read(shard)


def test_no_index_or_no_shard(shard):
    store.index_path(shard).unlink()
    with pytest.raises(RecordError, match=r"no index.*rebuild_index"):
        store.ShardSource([shard])
    shard.unlink()
    with pytest.raises(RecordError, match=r"a\.tfrecord is missing"):
        store.ShardSource([shard])


def test_rebuilt_index_is_the_same(shard):
    before = store.read_index(shard)
    text = store.index_path(shard).read_text()
    store.index_path(shard).unlink()
    assert store.rebuild_index(shard) == before
    assert store.index_path(shard).read_text() == text


def edit(shard, change):
    """A well-formed index (right checksum) with other content."""
    body = json.loads(store.index_path(shard).read_text())
    del body["crc32c"]
    change(body)
    body["crc32c"] = store._body_crc(body)
    store.index_path(shard).write_text(json.dumps(body))


def test_index_with_missing_records(shard):
    edit(shard, lambda body: body["records"].pop(1))
    with pytest.raises(RecordError, match=r"does not match it.*records are missing.*rebuild_index"):
        store.read_index(shard)
    edit(shard, lambda body: body["records"].pop())
    with pytest.raises(RecordError, match=r"records are missing"):
        store.read_index(shard)


def test_index_of_another_size(shard):
    edit(shard, lambda body: body.update(size=body["size"] - 1))
    with pytest.raises(RecordError, match="does not match"):
        store.read_index(shard)


def test_index_of_another_shard(shard, records, tmp_path):
    other = tmp_path / "b.tfrecord"
    with store.ShardWriter(other) as writer:
        for data, meta in records:
            # The same lengths, so that only the content tells.
            writer.write(data[:-1] + bytes([data[-1] ^ 1]), meta)
    shutil.copy(store.index_path(other), store.index_path(shard))
    with pytest.raises(RecordError, match=r"is that of shard b\.tfrecord"):
        store.read_index(shard)
    edit(shard, lambda body: body.update(shard="a.tfrecord"))
    with pytest.raises(RecordError, match=r"record 0: the index is of another shard"):
        store.ShardSource([shard])[0]


def test_altered_index(shard):
    path = store.index_path(shard)
    path.write_text(path.read_text().replace("speaker1", "speaker9"))
    with pytest.raises(RecordError, match=r"index.json cannot be used: its checksum is wrong"):
        store.read_index(shard)
    path.write_text("{")
    with pytest.raises(RecordError, match="cannot be used"):
        store.read_index(shard)


def test_nothing_half_written(tmp_path, records):
    path = tmp_path / "c.tfrecord"
    with pytest.raises(KeyboardInterrupt), store.ShardWriter(path) as writer:
        writer.write(*records[0])
        raise KeyboardInterrupt
    with pytest.raises(RecordError, match="would be empty"), store.ShardWriter(path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_full_disk_keeps_the_old_shard(shard, records, monkeypatch):
    before = shard.read_bytes(), store.index_path(shard).read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store.os, "fsync", full)
    with (
        pytest.raises(RecordError, match=r"a\.tfrecord cannot be written \(No space left"),
        store.ShardWriter(shard) as writer,
    ):
        writer.write(*records[0])
    assert (shard.read_bytes(), store.index_path(shard).read_bytes()) == before
    assert len(list(shard.parent.iterdir())) == 2


@pytest.fixture
def labelled(tmp_path, make_segment):
    """A shard of one segment whose clip has a label, and its index."""
    segment = make_segment(seed=1, frames=6)
    info = dataclasses.replace(segment.info, emotion=4, level=2)
    segment = dataclasses.replace(segment, info=info)
    path = tmp_path / "moods.tfrecord"
    with store.ShardWriter(path) as writer:
        writer.write(encode(segment), record_meta(segment))
    return path


def test_the_index_holds_the_label(labelled):
    (entry,) = store.read_index(labelled).entries
    assert (entry.meta.emotion, entry.meta.level) == (4, 2)


def older(shard):
    """The index as it was before labels stood in it."""
    body = json.loads(store.index_path(shard).read_text())
    body |= {"index_version": 1}
    for record in body["records"]:
        del record["meta"]["emotion"], record["meta"]["level"]
    body.pop("crc32c")
    body["crc32c"] = store._body_crc(body)
    store.index_path(shard).write_text(json.dumps(body))


def test_an_index_without_labels_is_still_read(labelled):
    before = store.read_index(labelled)
    older(labelled)
    (entry,) = store.read_index(labelled).entries
    assert (entry.meta.emotion, entry.meta.level) == (NOT_INDEXED, NOT_INDEXED)
    unlabelled = dataclasses.replace(before.entries[0].meta, emotion=-2, level=-2)
    assert entry.meta == unlabelled
    assert store.ShardSource([labelled])[0] and store.rebuild_index(labelled) == before


def test_an_index_of_a_later_version(labelled):
    body = json.loads(store.index_path(labelled).read_text()) | {"index_version": 3}
    body.pop("crc32c")
    body["crc32c"] = store._body_crc(body)
    store.index_path(labelled).write_text(json.dumps(body))
    with pytest.raises(RecordError, match="it is of another version"):
        store.read_index(labelled)
