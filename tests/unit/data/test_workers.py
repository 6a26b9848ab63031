"""Reader processes: the same bytes, resumes and errors as without."""

import json
import multiprocessing
import os
import shutil
import signal

import numpy as np
import pytest
from reading import damage

from talkface_jax.data import pipeline
from talkface_jax.data.corrupt import CorruptRecords
from talkface_jax.errors import RecordError, TalkfaceError
from talkface_jax.methods.iplap.views import MotionView

VIEW = MotionView(references=3, flip=True, scale_jitter=0.07, mel_noise=0.1)


@pytest.fixture(scope="module")
def damaged(prepared, tmp_path_factory):
    folder = shutil.copytree(prepared, tmp_path_factory.mktemp("damaged") / "prepared")
    damage(pipeline.open_dataset(folder, "train").source, 2)
    return folder


def iterator(folder, workers, *, limit=1):
    dataset = pipeline.open_dataset(folder, "train")
    corrupt = CorruptRecords(limit)
    found = pipeline.train_iterator(
        dataset, VIEW, batch_size=6, seed=5, threads=1, workers=workers, corrupt=corrupt
    )
    return found, corrupt


def take(batches, count):
    return [next(batches) for _ in range(count)]


def assert_equal(one, two):
    for a, b in zip(one, two, strict=True):
        assert set(a) == set(b)
        for name in a:
            assert type(b[name]) is np.ndarray
            np.testing.assert_array_equal(a[name], b[name])


def test_batches_and_resumes_do_not_depend_on_workers(damaged, caplog):
    alone, _ = iterator(damaged, 0)
    expected = take(alone, 12)
    alone.close()
    caplog.clear()
    two, corrupt = iterator(damaged, 2)
    try:
        assert_equal(expected[:5], take(two, 5))
        readers = multiprocessing.active_children()
        assert len(readers) == 2
        for reader in readers:  # Ctrl-C reaches all processes of a terminal
            os.kill(reader.pid, signal.SIGINT)
        state = json.loads(json.dumps(two.get_state()))
        take(two, 2)
        two.set_state(state)
        assert_equal(expected[5:12], take(two, 7))
        readers[0].kill()
        with pytest.raises(TalkfaceError, match=r"pipeline ended.*; lower --config\.data\.workers"):
            take(two, 40)
    finally:
        two.close()
    assert corrupt.count == 1 and len(caplog.records) == 1, "reported here, not in the workers"
    again, _ = iterator(damaged, 0)
    again.set_state(state)
    assert_equal(expected[5:8], take(again, 3))
    again.close()


def test_an_error_of_a_worker_arrives_as_it_is(damaged):
    broken, _ = iterator(damaged, 1, limit=0)
    try:
        with pytest.raises(RecordError, match=r"train-1\.tfrecord, record 0: the checksum"):
            take(broken, 12)
    finally:
        broken.close()
