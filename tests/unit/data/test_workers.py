"""Reader processes: the same bytes, resumes and errors as without."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from reading import ThreadsView, damage
from reading import take as take_rows

from talkface_jax.data import pipeline
from talkface_jax.data.corrupt import CorruptRecords
from talkface_jax.errors import RecordError, TalkfaceError
from talkface_jax.methods.iplap.motion.view import MotionView

VIEW = MotionView(references=3, flip=True, scale_jitter=0.07, mel_noise=0.1)


@pytest.fixture(scope="module")
def damaged(prepared, tmp_path_factory):
    folder = shutil.copytree(prepared, tmp_path_factory.mktemp("damaged") / "prepared")
    damage(pipeline.open_dataset(folder, "train").source, 2)
    return folder


def iterator(folder, count, *, limit=1):
    dataset = pipeline.open_dataset(folder, "train")
    corrupt = CorruptRecords(limit)
    found = pipeline.train_iterator(
        dataset, VIEW, batch_size=6, seed=5, threads=1, workers=count, corrupt=corrupt
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
        for reader in readers:  # Ctrl-C reaches all processes of a terminal, SIGTERM all of a job
            os.kill(reader.pid, signal.SIGINT)
            os.kill(reader.pid, signal.SIGTERM)
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


def test_a_stop_signal_may_come_before_the_readers_are_up(damaged):
    batches, _ = iterator(damaged, 1)
    try:
        (reader,) = multiprocessing.active_children()
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(reader.pid, number)
        assert len(take(batches, 1)) == 1
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        batches.close()
    assert not multiprocessing.active_children()


def test_readers_use_one_thread_each(prepared, monkeypatch):
    """As many readers as cores would else have as many threads each."""
    for name in ("OPENCV_FOR_THREADS_NUM", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "3")  # what a process starts with, however few cores there are
    dataset = pipeline.open_dataset(prepared, "train")
    batches = pipeline.train_iterator(
        dataset, ThreadsView(), batch_size=2, seed=0, threads=1, workers=1
    )
    try:
        assert set(take_rows(batches, 2)) == {(1, 1)}
    finally:
        batches.close()


def test_an_owner_that_does_not_close_them_ends_anyway(damaged):
    code = (
        "import sys; from talkface_jax.data import pipeline\n"
        "from talkface_jax.methods.iplap.motion.view import MotionView\n"
        "if __name__ == '__main__':\n"
        "    data = pipeline.open_dataset(sys.argv[1], 'train')\n"
        "    view = MotionView(references=2)\n"
        "    batches = pipeline.train_iterator(data, view, batch_size=2, seed=0, workers=1)\n"
        "    next(batches)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(damaged)], timeout=60, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
