"""What `data_prep` relies on in Apache Beam, private names among it, in small pipelines that run.

Other tests fail on a Beam without the rest: unit/data_prep/test_faults.py (its temporary folder is
found and removed), smoke/test_prepare.py (its parser of options can be extended) and
unit/data_prep/test_places.py (a place that none of its file systems knows).
"""

import contextlib
import os
import pathlib
import signal
import time

import apache_beam as beam
import pytest

from data_prep import local_runner, pipeline
from talkface_jax.errors import RecordError, TalkfaceError

# A worker that Beam waits for in vain would hang.
pytestmark = pytest.mark.timeout(90)
SENTENCE = "the disk is full; free some of it"


def steps(function, elements):
    """A pipeline and its options. Functions from within a test travel to a worker by value."""
    options = pipeline.parse_options([])
    made = beam.Pipeline(options=options)
    _ = made | beam.Create(elements) | beam.Reshuffle() | beam.Map(function)
    return made, options


def is_over(pid):
    with contextlib.suppress(OSError):
        return "State:\tZ" in pathlib.Path(f"/proc/{pid}/status").read_text()
    return True


@pytest.fixture
def meet(tmp_path):
    """A step that leaves its process's number in a folder, and waits there for a second process."""
    place = str(tmp_path)

    def step(_):
        pathlib.Path(place, str(os.getpid())).touch()
        end = time.monotonic() + 60
        while len(os.listdir(place)) < 2 and time.monotonic() < end:
            time.sleep(0.02)

    return step


def test_steps_run_in_as_many_processes_as_asked_which_then_end(meet, tmp_path):
    local_runner.run_in_processes(*steps(meet, range(16)), workers=2)
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert len(pids) == 2 and os.getpid() not in pids
    assert all(map(is_over, pids))


def test_a_killed_worker_ends_the_run_and_the_other_worker(meet, tmp_path):
    """The driver waits for the answers of both: they are given in the place of the dead."""
    place = str(tmp_path)

    def step(element):
        meet(element)
        if os.getpid() == min(map(int, os.listdir(place))):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(600)

    with pytest.raises(local_runner.WorkerDied, match="was killed, most likely for want") as found:
        local_runner.run_in_processes(*steps(step, range(16)), workers=2)
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert (found.value.pid, found.value.signal) == (min(pids), signal.SIGKILL)
    assert len(pids) == 2 and all(map(is_over, pids))


def test_a_sentence_of_a_worker_arrives_alone(capfd, caplog):
    def step(_):
        local_runner.give_up(RecordError(SENTENCE))

    with pytest.raises(TalkfaceError) as found:
        local_runner.run_in_processes(*steps(step, range(4)), workers=2)
    assert str(found.value) == SENTENCE
    printed = capfd.readouterr()
    assert (printed.out, printed.err, caplog.records) == ("", "", [])


def test_a_sentence_of_this_process_arrives_with_its_type_and_nothing_else(capfd, caplog):
    def step(_):
        local_runner.give_up(RecordError(SENTENCE))

    with pytest.raises(RecordError) as found:
        local_runner.run_here(*steps(step, [0]))
    assert str(found.value) == SENTENCE
    printed = capfd.readouterr()
    assert (printed.out, printed.err, caplog.records) == ("", "", [])


def test_exceptions_with_our_mark_are_kept_as_they_are():
    """A stop by Ctrl-C must stay one; what has no mark becomes another exception of Beam's."""

    def marked(_):
        raise local_runner.unchanged(KeyboardInterrupt("stop", 3))

    def plain(_):
        raise KeyError("stop", 3)

    with pytest.raises(KeyboardInterrupt) as found:
        local_runner.run_here(*steps(marked, [0]))
    assert found.value.args == ("stop", 3)
    with pytest.raises(Exception, match="while running") as found:
        local_runner.run_here(*steps(plain, [0]))
