"""The preparation as an Apache Beam pipeline, and how it is run.

    tasks file -> clips -> (reshuffle) -> PrepareClip -> outcomes
    outcomes   -> Conclude: failures.jsonl, clips.jsonl, the plan of the shards
    plan       -> (reshuffle) -> WriteShard -> Publish: TFDS's files and, last, manifest.json

Large things pass between the steps as files of the work folder, so that the same pipeline runs in
one process, over the processes of one machine, and on Dataflow, Flink or Spark. This module and
`local_runner` load Beam: import them inside functions, after `places.import_beam`.
"""

import contextlib
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

import apache_beam as beam
from apache_beam.options import pipeline_options
from apache_beam.pvalue import AsIter

from data_prep import crashes, finish, local_runner, places, shards, worker
from data_prep import job as jobs
from data_prep.job import ClipOutcome, ClipTask, Job
from data_prep.shards import ShardPlan
from talkface_jax.errors import ConfigError, TalkfaceError
from talkface_jax.media.tracker import FaceTracker

_LOG = logging.getLogger(__name__)
# Names by which Beam knows its local runners, in small letters; all mean ours.
_LOCAL = frozenset({"", "direct", "directrunner", "switchingdirectrunner", "fnapirunner"})
_LOOK_SECONDS = 0.5
# So many clips may crash a worker in one run; each costs the start of a pipeline.
_RESTARTS = 10
# Flags of Beam's that say what one of ours says.
_OURS = ("direct_num_workers", "direct_running_mode")


class PrepareClip(beam.DoFn):
    """A clip becomes a part file and an outcome; one tracker serves all clips of an instance."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._tracker: FaceTracker | None = None

    def process(self, task: ClipTask) -> Iterator[ClipOutcome]:
        """Prepares one clip."""
        with _machine_at_fault():
            yield worker.prepare_clip(self._job, task, tracker=self._get_tracker)

    def teardown(self) -> None:
        """Closes the native graph, which must not wait for the interpreter's end."""
        if self._tracker is not None:
            self._tracker.close()
            self._tracker = None

    def _get_tracker(self) -> FaceTracker:
        if self._tracker is None:
            self._tracker = FaceTracker()
        return self._tracker


class ReadTasks(beam.DoFn):
    """The clips that are to be prepared: all, or those that an earlier run's shards still need."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def process(self, _: Any) -> Iterator[ClipTask]:
        """Reads the tasks file."""
        with _machine_at_fault():
            plan = shards.read_plan(self._job)
            needed = None
            if plan is not None:
                open_shards = shards.unfinished(self._job, plan)
                needed = {piece.key for shard in open_shards for piece in shard.pieces}
            for task in jobs.read_tasks(self._job):
                if needed is None or task.key in needed:
                    yield task


class Conclude(beam.DoFn):
    """All outcomes become failures.jsonl, clips.jsonl and the plan: the shards to be written."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def process(self, _: Any, outcomes: Iterable[ClipOutcome]) -> Iterator[tuple[str, ShardPlan]]:
        """Writes the files, unless an earlier run did; nothing follows too many failures."""
        with _machine_at_fault():
            plan = shards.read_plan(self._job) or finish.conclude(self._job, outcomes)
            if plan is not None:
                for shard in shards.unfinished(self._job, plan):
                    yield plan.digest, shard


class WriteShard(beam.DoFn):
    """A planned shard becomes a file."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def process(self, planned: tuple[str, ShardPlan]) -> Iterator[str]:
        """Writes one shard of the plan with that digest."""
        plan, shard = planned
        with _machine_at_fault():
            shards.write_shard(self._job, shard, plan=plan)
        yield shard.name


class Publish(beam.DoFn):
    """The manifest, once all shards are there."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def process(self, _: Any, written: Iterable[str]) -> None:
        """Writes it; `written` makes the step wait for the shards."""
        with _machine_at_fault():
            _LOG.debug("%d shards were written", sum(1 for _ in written))
            finish.publish(self._job)


def build(job: Job, options: Any) -> Any:
    """The pipeline of a job."""
    pipeline = beam.Pipeline(options=options)
    start = pipeline | beam.Impulse()
    outcomes: Any = (
        start
        | "ReadTasks" >> beam.ParDo(ReadTasks(job))
        | "SpreadClips" >> beam.Reshuffle()
        | "PrepareClip" >> beam.ParDo(PrepareClip(job))
    )
    written: Any = (
        start
        | "Conclude" >> beam.ParDo(Conclude(job), AsIter(outcomes))
        | "SpreadShards" >> beam.Reshuffle()
        | "WriteShard" >> beam.ParDo(WriteShard(job))
    )
    _ = start | "Publish" >> beam.ParDo(Publish(job), AsIter(written))
    return pipeline


def parse_options(arguments: Sequence[str], **used: str | os.PathLike[str]) -> Any:
    """Beam's options from command-line arguments.

    Args:
      arguments: "--runner=DataflowRunner" and so on.
      **used: the places that the machines of the runner must reach, by the names of their flags.

    Raises:
      ConfigError: an argument that Beam does not know or cannot read, one that a flag of ours
        stands for, or a place out of reach.
    """
    parser = _Parser(allow_abbrev=False, add_help=False)
    for kind in pipeline_options.PipelineOptions.__subclasses__():
        kind._add_argparse_args(parser)
    known, unknown = parser.parse_known_args(list(arguments))
    if unknown:
        raise ConfigError(f"unknown {' '.join(unknown)}")
    from apache_beam.runners.runner import create_runner

    for flag in _OURS:
        if getattr(known, flag) != parser.get_default(flag):
            raise ConfigError(f"--{flag} is not for this command; use --workers=N")
    options = pipeline_options.PipelineOptions(list(arguments))
    runner = (known.runner or "").lower()
    if runner not in _LOCAL:
        try:
            create_runner(known.runner)
        except (ValueError, ImportError, AttributeError) as error:
            raise ConfigError(f"--runner={known.runner} cannot be used ({error})") from error
    for name, place in used.items():
        if runner.startswith("dataflow") and not places.is_remote(place):
            raise ConfigError(
                f"--{name}={place}: Dataflow's machines cannot reach a folder of this one; give a "
                "place that they reach, like gs://bucket/folder."
            )
    return options


class _Parser(pipeline_options._BeamArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def run(
    job: Job,
    *,
    options: Any,
    workers: int,
    total: int,
    progress: Callable[[str, int, int], None] | None,
) -> None:
    """Run the pipeline of a job to its end.

    Args:
      job: the preparation.
      options: Beam's.
      workers: processes, where it runs on this machine.
      total: clips, for the progress.
      progress: called as progress("prepare", clips done, clips in all).

    Raises:
      TalkfaceError: what is wrong with the machine, or with the runner.
    """
    runner = options.view_as(pipeline_options.StandardOptions).runner or ""
    with _counting(job, total, progress):
        if runner.lower() not in _LOCAL:
            _run_elsewhere(job, options, runner)
        elif min(workers, total) <= 1:
            with _built(job, options) as pipeline:
                local_runner.run_here(pipeline, options)
        else:
            _run_in_processes(job, options, min(workers, total))


def _run_in_processes(job: Job, options: Any, workers: int) -> None:
    """Clips that crash their worker become failures; the run goes on without them."""
    for crashed in range(_RESTARTS + 1):
        try:
            with _built(job, options) as pipeline:
                local_runner.run_in_processes(pipeline, options, workers=workers)
            return
        except local_runner.WorkerDied as death:
            crash = crashes.record_death(job, death.pid, death.signal)
            if crash is None:
                raise
            if death.signal == signal.SIGKILL and not crash.proven:
                what = f"a worker process was killed while it read {crash.video}"
                raise TalkfaceError(local_runner.want_of_memory(what, workers=workers)) from None
            _LOG.debug("%s; starting again", crash.reason)
            if crashed == _RESTARTS:
                raise TalkfaceError(
                    f"{crashed + 1} clips ended their worker processes, the last {crash.video}; "
                    "run the same command again to go on without them."
                ) from None


@contextlib.contextmanager
def _built(job: Job, options: Any) -> Iterator[Any]:
    """The pipeline; its temporary folder, which Beam does not always remove, goes."""
    pipeline = build(job, options)
    try:
        yield pipeline
    finally:
        shutil.rmtree(pipeline.local_tempdir, ignore_errors=True)


def _run_elsewhere(job: Job, options: Any, runner: str) -> None:
    try:
        with _built(job, options) as pipeline:
            state = pipeline.run().wait_until_finish()
    except Exception as error:
        text = str(error)
        last = (text.strip().splitlines() or [type(error).__name__])[-1]
        raise TalkfaceError(
            local_runner.sentence_in(text)
            or f"--runner={runner} failed ({last}); see its log, and run the same command again to "
            "continue."
        ) from error
    if state not in (None, "DONE"):
        raise TalkfaceError(
            f"--runner={runner} ended as {state}; see its log, and run the same command again to "
            "continue."
        )


@contextlib.contextmanager
def _machine_at_fault() -> Iterator[None]:
    """A step's TalkfaceError is never about one clip: it ends the run, and so does Ctrl-C."""
    try:
        yield
    except TalkfaceError as error:
        local_runner.give_up(error)
    except KeyboardInterrupt as stop:
        raise local_runner.unchanged(stop) from None


@contextlib.contextmanager
def _counting(
    job: Job, total: int, progress: Callable[[str, int, int], None] | None
) -> Iterator[None]:
    """Report the number of outcomes in a local work folder while the block runs."""
    if progress is None or not os.path.isdir(job.work):
        yield
        return
    over = threading.Event()

    def count() -> None:
        shown, pause = 0, _LOOK_SECONDS
        while not over.wait(pause):
            start = time.monotonic()
            done = min(_outcomes(job), total)
            # A folder of a million files takes a second to list.
            pause = max(_LOOK_SECONDS, 20 * (time.monotonic() - start))
            if done != shown:
                progress("prepare", done, total)
            shown = done

    thread = threading.Thread(target=count, name="talkface-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    progress("prepare", total, total)


def _outcomes(job: Job) -> int:
    try:
        with os.scandir(job.work) as found:
            return sum(entry.name.endswith((jobs.DONE, jobs.FAILED)) for entry in found)
    except OSError:
        return 0
