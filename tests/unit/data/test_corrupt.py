import dataclasses
import logging
import shutil

import numpy as np
import pytest
from reading import WhereView, damage, interleaved, take

from talkface_jax.data import pipeline
from talkface_jax.data.corrupt import CorruptRecords
from talkface_jax.errors import RecordError


@pytest.fixture(scope="module")
def damaged(tmp_path_factory, make_segment, write):
    """Six training records of which the second and the fifth are damaged; four test records of
    which the first is."""
    folder = tmp_path_factory.mktemp("damaged")
    made = {"train-0": range(1, 4), "train-1": range(4, 7), "test-0": range(11, 15)}
    shards = {
        name: [make_segment(seed=k, frames=12, split=name.split("-")[0]) for k in seeds]
        for name, seeds in made.items()
    }
    write(folder, shards)
    for split, record in (("train", 1), ("train", 4), ("test", 0)):
        damage(pipeline.open_dataset(folder, split).source, record)
    return folder


def iterator(folder, batch_size, limit=2, **options):
    dataset = pipeline.open_dataset(folder, "train")
    corrupt = options.pop("corrupt", None) or CorruptRecords(limit)
    return pipeline.train_iterator(
        dataset, WhereView(), batch_size=batch_size, seed=3, corrupt=corrupt, **options
    )


def test_the_first_one_stops_where_there_is_no_budget(damaged):
    with pytest.raises(RecordError, match=r"record \d: the checksum is wrong, bytes were altered"):
        take(iterator(damaged, 48, limit=0), 1)


def test_others_take_their_place_and_each_is_reported_once(damaged, caplog):
    corrupt = CorruptRecords(2)
    with caplog.at_level(logging.WARNING):
        samples = take(iterator(damaged, 12, corrupt=corrupt), 20)
    assert {row[0] for row in samples} == {1, 3, 4, 6} and corrupt.count == 2
    messages = sorted(record.getMessage().split("): ")[1] for record in caplog.records)
    assert len(messages) == 2
    assert f"{damaged}/train-0.tfrecord, record 1: the checksum is wrong" in messages[0]
    assert f"{damaged}/train-1.tfrecord, record 1: the checksum is wrong" in messages[1]
    # Five epochs of 48 windows: what can be read keeps its place and draws; 80 others are replaced.
    counts = np.bincount([int(row[0]) for row in samples], minlength=7)
    assert counts.sum() == 240 and counts[[1, 3, 4, 6]].min() > 40


def test_places_of_readable_records_do_not_change(damaged, tmp_path, make_segment, write):
    whole = shutil.copytree(damaged, tmp_path / "whole")
    shards = {
        f"train-{k}": [make_segment(seed=3 * k + i, frames=12) for i in (1, 2, 3)] for k in (0, 1)
    }
    write(whole, shards)
    good, bad = take(iterator(whole, 48), 3), take(iterator(damaged, 48), 3)
    for before, after in zip(good, bad, strict=True):
        assert after[2] == before[2]
        if before[0] not in (2, 5):
            assert after == before
        else:
            assert after[0] in (1, 3, 4, 6)


@pytest.mark.parametrize("threads", [0, 3])
def test_replacements_do_not_depend_on_threads_processes_or_resumes(damaged, threads):
    expected = take(iterator(damaged, 12), 10)
    assert take(iterator(damaged, 12, threads=threads), 10) == expected
    halves = [
        iterator(damaged, 6, process_index=k, process_count=2, threads=threads) for k in (0, 1)
    ]
    assert interleaved(halves, 4) == expected[:48]
    alone = iterator(damaged, 12, threads=threads)
    alone.set_state(halves[1].get_state())
    assert take(alone, 6) == expected[48:]


def test_the_budget_ends(damaged):
    with pytest.raises(
        RecordError,
        match=r"record 1 is corrupt record number 2 and data.max_corrupt allows 1; prepare",
    ):
        take(iterator(damaged, 12, limit=1), 20)


def test_evaluation_masks_what_it_cannot_read(damaged, caplog):
    dataset = pipeline.open_dataset(damaged, "test")
    corrupt = CorruptRecords(1)
    batches = list(pipeline.eval_batches(dataset, WhereView(), batch_size=4, corrupt=corrupt))
    mask = np.concatenate([batch["mask"] for batch in batches])
    speakers = np.concatenate([batch["row"][:, 0] for batch in batches])
    np.testing.assert_array_equal(mask, [0, 0, 1, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(speakers[2:], [12, 12, 13, 13, 14, 14])
    assert len(caplog.records) == corrupt.count == 1
    with pytest.raises(RecordError, match=r"test-0\.tfrecord, record 0: the checksum is wrong"):
        next(pipeline.eval_batches(dataset, WhereView(), batch_size=4))


def test_a_record_of_broken_images_is_named_and_counted(tmp_path, make_segment, write, caplog):
    good, bad = make_segment(seed=1, frames=12), make_segment(seed=2, frames=12)
    bad = dataclasses.replace(bad, frames=(b"no image",) * 12)
    write(tmp_path, {"train-0": [good, bad]})
    with pytest.raises(RecordError, match=r"train-0\.tfrecord, record 1: 8 bytes that should be a"):
        take(iterator(tmp_path, 16, limit=0), 1)
    assert {row[0] for row in take(iterator(tmp_path, 16, limit=5), 3)} == {1}
    assert len(caplog.records) == 1


def test_nothing_left_to_read(tmp_path, make_segment, write):
    bad = dataclasses.replace(make_segment(seed=1, frames=12), frames=(b"no image",) * 12)
    write(tmp_path, {"train-0": [bad]})
    with pytest.raises(
        RecordError, match=r"split train of .* has no record that can be read; remove the folder"
    ):
        take(iterator(tmp_path, 4, limit=9), 1)
