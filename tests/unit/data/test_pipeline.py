import json
import os
import pickle
import shutil

import jax
import numpy as np
import pytest

from talkface_jax.data import pipeline, store
from talkface_jax.data.store import rebuild_index
from talkface_jax.errors import RecordError

# Runs of 30; of 3, 15 and 9; and of 12 frames, in windows of 5.
TRAIN_WINDOWS = 26 + 0 + 11 + 5 + 8


class TinyView:
    """Which window it is, one random number, and a byte of an image."""

    name = "tiny"
    window = 5
    faces = True

    def spec(self, batch_size):
        return {
            "where": jax.ShapeDtypeStruct((batch_size, 2), np.int64),
            "draw": jax.ShapeDtypeStruct((batch_size,), np.float64),
            "size": jax.ShapeDtypeStruct((batch_size,), np.int64),
        }

    def sample(self, segment, start, rng, *, train):
        speaker = segment.derived("who", lambda s: np.int64(s.info.speaker.removeprefix("speaker")))
        valid = segment.derived("valid", lambda s: s.valid)
        assert valid[start : start + self.window].all()
        return {
            "where": np.array([speaker, start]),
            "draw": np.float64(rng.random() if train else -1),
            "size": np.int64(len(segment.frames[start])),
        }


@pytest.fixture
def dataset(prepared):
    return pipeline.open_dataset(prepared, "train")


def rows(batches):
    return [
        (*where.tolist(), draw, size)
        for batch in batches
        for where, draw, size in zip(batch["where"], batch["draw"], batch["size"], strict=True)
    ]


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def test_windows_are_those_of_valid_frames(dataset):
    windows = pipeline.enumerate_windows(dataset, window=5)
    assert len(windows) == TRAIN_WINDOWS
    places = [windows[number] for number in range(TRAIN_WINDOWS)]
    assert [record for record, _ in places] == [0] * 26 + [1] * 16 + [2] * 8
    assert [start for record, start in places if record == 1] == [*range(5, 16), *range(21, 26)]
    assert windows.readable == 3
    for outside in (-1, TRAIN_WINDOWS):
        with pytest.raises(IndexError):
            windows[outside]


@pytest.mark.parametrize(("window", "stride"), [(1, 1), (5, 1), (5, 5), (4, 7)])
def test_windows_are_those_of_their_runs_one_by_one(window, stride):
    """Records without a run, with one that is too short, and with several."""
    rng = np.random.default_rng(window + stride)
    runs = []
    for count in rng.integers(0, 4, 50):
        edges = np.sort(rng.choice(60, 2 * count, replace=False)).reshape(-1, 2)
        runs.append([(int(first), int(end - first)) for first, end in edges])
    windows = pipeline.Windows(runs, window=window, stride=stride)
    expected = [
        (record, start)
        for record, own in enumerate(runs)
        for first, length in own
        for start in range(first, first + length - window + 1, stride)
    ]
    assert [windows[number] for number in range(len(windows))] == expected
    assert windows.readable == len({record for record, _ in expected})


def test_an_epoch_holds_every_window_once_and_epochs_differ(dataset):
    iterator = pipeline.train_iterator(dataset, TinyView(), batch_size=TRAIN_WINDOWS, seed=1)
    one, two = (rows([batch]) for batch in take(iterator, 2))
    iterator.close()
    assert len({row[:2] for row in one}) == TRAIN_WINDOWS
    assert {row[:2] for row in one} == {row[:2] for row in two}
    assert [row[:2] for row in one] != [row[:2] for row in two]
    assert len({row[2] for row in one + two}) == 2 * TRAIN_WINDOWS, "draws repeat between epochs"


@pytest.mark.parametrize("threads", [1, 4])
def test_batches_do_not_depend_on_threads(dataset, threads):
    expected = take(
        pipeline.train_iterator(dataset, TinyView(), batch_size=7, seed=2, threads=0), 20
    )
    iterator = pipeline.train_iterator(
        dataset, TinyView(), batch_size=7, seed=2, threads=threads, prefetch=3
    )
    assert rows(take(iterator, 20)) == rows(expected)
    iterator.close()


def test_seeds_differ(dataset):
    one, two = (
        rows(take(pipeline.train_iterator(dataset, TinyView(), batch_size=7, seed=seed), 3))
        for seed in (2, 3)
    )
    assert one != two


def test_resume_is_exact_and_its_state_is_json(dataset, prepared):
    iterator = pipeline.train_iterator(dataset, TinyView(), batch_size=7, seed=2)
    take(iterator, 11)
    state = json.loads(json.dumps(iterator.get_state()))
    rest = rows(take(iterator, 9))
    iterator.close()
    fresh = pipeline.train_iterator(
        pipeline.open_dataset(prepared, "train"), TinyView(), batch_size=7, seed=2
    )
    fresh.set_state(state)
    assert rows(take(fresh, 9)) == rest
    fresh.set_state(state)
    assert rows(take(fresh, 2)) == rest[:14]
    fresh.close()


def test_processes_share_the_global_order(dataset):
    whole = pipeline.train_iterator(dataset, TinyView(), batch_size=12, seed=4)
    parts = [
        pipeline.train_iterator(
            dataset, TinyView(), batch_size=3, seed=4, process_index=k, process_count=4
        )
        for k in range(4)
    ]
    for _ in range(6):
        shares = [rows([next(part)]) for part in parts]
        interleaved = [row for group in zip(*shares, strict=True) for row in group]
        assert interleaved == rows([next(whole)])
    assert {json.dumps(part.get_state()) for part in parts} == {json.dumps(whole.get_state())}
    two = [
        pipeline.train_iterator(
            dataset, TinyView(), batch_size=6, seed=4, process_index=k, process_count=2
        )
        for k in range(2)
    ]
    for part in two:
        part.set_state(parts[3].get_state())
    shares = [rows([next(part)]) for part in two]
    assert [row for group in zip(*shares, strict=True) for row in group] == rows([next(whole)])


def test_a_batch_larger_than_the_split(dataset):
    iterator = pipeline.train_iterator(dataset, TinyView(), batch_size=3 * TRAIN_WINDOWS, seed=0)
    assert len(next(iterator)["draw"]) == 3 * TRAIN_WINDOWS


def test_a_position_of_other_data_is_refused(dataset, prepared):
    iterator = pipeline.train_iterator(dataset, TinyView(), batch_size=7, seed=2)
    for change in ({"seed": 3}, {"windows": 5}, {"global_next_index": None}):
        with pytest.raises(RecordError, match="does not belong to this data set and seed"):
            iterator.set_state({**iterator.get_state(), **change})


def test_evaluation_is_in_order_and_masked(prepared):
    dataset = pipeline.open_dataset(prepared, "test")
    batches = list(pipeline.eval_batches(dataset, TinyView(), batch_size=3))
    assert [len(batch["draw"]) for batch in batches] == [3, 3]
    np.testing.assert_array_equal(np.concatenate([b["mask"] for b in batches]), [1, 1, 1, 1, 0, 0])
    where = np.concatenate([batch["where"] for batch in batches])
    np.testing.assert_array_equal(where[:, 1], [0, 5, 10, 15, 15, 15])
    assert all((batch["draw"] == -1).all() for batch in batches)
    assert batches[0]["mask"].dtype == np.float32


def test_processes_share_the_evaluation(dataset):
    whole = list(pipeline.eval_batches(dataset, TinyView(), batch_size=4))
    parts = [
        list(
            pipeline.eval_batches(
                dataset, TinyView(), batch_size=4, process_index=k, process_count=3
            )
        )
        for k in range(3)
    ]
    assert {len(part) for part in parts} == {-(-len(whole) // 3)}
    seen = [
        tuple(where)
        for step in zip(*parts, strict=True)
        for batch in step
        for where, mask in zip(batch["where"].tolist(), batch["mask"], strict=True)
        if mask
    ]
    expected = [tuple(where) for batch in whole for where in batch["where"].tolist()]
    assert seen == expected[: len(seen)] and len(seen) == sum(b["mask"].sum() for b in whole)


def test_a_short_evaluation_is_spread_over_the_split(dataset):
    batches = list(pipeline.eval_batches(dataset, TinyView(), batch_size=2, batches=2))
    where = np.concatenate([batch["where"] for batch in batches])
    assert len(batches) == 2 and set(where[:, 0]) == {1, 2, 3}


def test_damage_is_named_when_met(prepared, tmp_path):
    directory = shutil.copytree(prepared, tmp_path / "prepared")
    shard = directory / "train-1.tfrecord"
    with open(shard, "r+b") as file:
        file.seek(500)
        file.write(b"XXXX")
    dataset = pipeline.open_dataset(directory, "train")
    iterator = pipeline.train_iterator(dataset, TinyView(), batch_size=TRAIN_WINDOWS, seed=0)
    with pytest.raises(RecordError, match=r"train-1\.tfrecord, record 0: the checksum is wrong"):
        take(iterator, 1)
    os.truncate(shard, 100)
    with pytest.raises(RecordError, match=r"train-1\.tfrecord is truncated"):
        pipeline.open_dataset(directory, "train")


def test_views_of_the_sound_alone_need_no_face(dataset):
    windows = pipeline.enumerate_windows(dataset, window=5, faces=False)
    frames = [meta.frames for meta in dataset.metas]
    assert len(windows) == sum(count - 4 for count in frames)
    assert windows[frames[0] - 5] == (0, frames[0] - 5) and windows[frames[0] - 4] == (1, 0)


def test_a_split_without_a_face(write, make_segment, tmp_path):
    nobody = make_segment(frames=8, invalid=tuple(range(8)))
    dataset = pipeline.open_dataset(write(tmp_path, {"train-0": [nobody]}), "train")
    assert len(pipeline.enumerate_windows(dataset, window=5, faces=False)) == 4
    with pytest.raises(RecordError, match=r"no frame of split train of .* shows a face; give a"):
        pipeline.enumerate_windows(dataset, window=5)
    with pytest.raises(RecordError, match=r"no 9 consecutive frames; prepare more or longer"):
        pipeline.enumerate_windows(dataset, window=9, faces=False)


def test_a_split_without_windows(prepared, tmp_path):
    dataset = pipeline.open_dataset(prepared, "test")
    with pytest.raises(RecordError, match=r"split test of .* has no 50 consecutive frames"):
        pipeline.enumerate_windows(dataset, window=50)
    with pytest.raises(RecordError, match="no split 'none'"):
        pipeline.open_dataset(prepared, "none")


def test_manifest_and_index_must_agree(prepared, tmp_path):
    directory = shutil.copytree(prepared, tmp_path / "prepared")
    text = (directory / "manifest.json").read_text()
    (directory / "manifest.json").write_text(text.replace('"records": 2', '"records": 3'))
    rebuild_index(directory / "train-0.tfrecord")
    with pytest.raises(RecordError, match="has 3 indexed records, its manifest says 4"):
        pipeline.open_dataset(directory, "train")


def test_a_data_set_pickles(dataset, monkeypatch):
    sent = pickle.dumps(dataset)
    assert b"RecordMeta" not in sent
    with monkeypatch.context() as without:
        without.setattr(store, "read_index", None)
        copy = pickle.loads(sent)
        assert len(copy) == len(dataset)
        assert [copy.source[k] for k in range(3)] == [dataset.source[k] for k in range(3)]
    assert copy.metas == dataset.metas


def test_a_reader_process_gets_some_dozen_bytes_a_record():
    """And not some for every window: 300 hours are 216,000 records and 26 million windows."""
    windows = pipeline.Windows([((0, 125),)] * 10_000, window=5)
    assert len(windows) == 10_000 * 121
    assert len(pickle.dumps(windows)) < 10_000 * 17
