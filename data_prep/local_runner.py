"""Beam on one machine: its local runner, in this process or over worker processes that are watched.

Beam's own `multi_processing` mode waits for ever for a worker that the system has killed, lets the
other workers finish their share of a run that has failed already, and prints what they print. The
workers here are Beam's, started and watched by us: if one ends, or reports that the machine is at
fault, all end and the run fails at once with one sentence. A worker whose driver has gone ends too.

Beam's "DirectRunner" is not used by name: it would first try to download Prism, a program in Go.
"""

import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn, TypeVar

from apache_beam.options.pipeline_options import DirectOptions
from apache_beam.portability.api import beam_fn_api_pb2, endpoints_pb2
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.transforms import environments
from google.protobuf import text_format

from talkface_jax.errors import TalkfaceError

ErrorT = TypeVar("ErrorT", bound=BaseException)
_LOG = logging.getLogger(__name__)
_URN = "talkface:env:worker_process:v1"
# A sentence for the user on its way through Beam, which hands on exceptions as text.
_OPEN, _CLOSE = "<<talkface: ", " :talkface>>"
_SENTENCE = re.compile(f"{re.escape(_OPEN)}(.*?){re.escape(_CLOSE)}", re.DOTALL)
_LOG_LINE = re.compile(r"(DEBUG|INFO|WARNING)\b")
_WATCH_SECONDS = 0.2


class WorkerDied(TalkfaceError):
    """A worker process ended in the middle of a run.

    Attributes:
      pid: which.
      signal: what ended it; 0 if it ended by itself.
    """

    def __init__(self, reason: str, *, pid: int, signal: int) -> None:
        super().__init__(reason)
        self.pid = pid
        self.signal = signal


def give_up(error: TalkfaceError) -> NoReturn:
    """End the whole run from inside a step of the pipeline: the machine is at fault, not a clip.

    Raises:
      TalkfaceError: of the same type; `sentence_in` finds the sentence in whatever Beam makes of
        it.
    """
    raise unchanged(type(error)(f"{_OPEN}{error}{_CLOSE}")) from error


def unchanged(error: ErrorT) -> ErrorT:
    """The exception with the mark without which Beam logs it, and makes another of it."""
    error._tagged_with_step = True  # type: ignore[attr-defined]
    return error


def sentence_in(text: str) -> str:
    """The sentence of `give_up` within a text, or nothing."""
    found = _SENTENCE.search(text)
    return found[1] if found else ""


def run_here(pipeline: Any, options: Any) -> None:
    """Run a pipeline in this process.

    Raises:
      TalkfaceError: of `give_up`.
    """
    try:
        with _quiet():
            FnApiRunner().run_pipeline(pipeline, options)
    except TalkfaceError as error:
        raise type(error)(sentence_in(str(error)) or str(error)) from error.__cause__


def run_in_processes(pipeline: Any, options: Any, *, workers: int) -> None:
    """Run a pipeline over worker processes.

    Raises:
      WorkerDied: a worker died before anything else went wrong.
      TalkfaceError: of `give_up`.
    """
    options.view_as(DirectOptions).direct_num_workers = workers
    environment = _WorkerEnvironment(options.get_all_options(drop_default=True))
    team = _Team(workers)
    try:
        with _quiet(), team.watched():
            FnApiRunner(default_environment=environment).run_pipeline(pipeline, options)
    except Exception as error:
        reason = team.reason or sentence_in(str(error))
        if not reason:
            raise
        if team.dead is not None:
            pid, status = team.dead
            raise WorkerDied(reason, pid=pid, signal=max(-status, 0)) from None
        raise TalkfaceError(reason) from None


class _Team:
    """The worker processes of one run."""

    current: "_Team | None" = None

    def __init__(self, size: int) -> None:
        self.reason = ""
        self.dead: tuple[int, int] | None = None  # process id and status, if that is the reason
        self._size = size
        self._members: list[Any] = []
        self._over = threading.Event()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """While the block runs, the death of one worker is the end of all; none outlives it."""
        _Team.current = self
        watch = threading.Thread(target=self._watch, name="talkface-watch", daemon=True)
        watch.start()
        try:
            yield
        finally:
            _Team.current = None
            self._over.set()
            self.kill()
            watch.join()
            for member in self._members:
                member.ended()

    def add(self, member: Any) -> None:
        """A worker process was started."""
        self._members.append(member)

    def fail(self, reason: str) -> None:
        """End all workers; the first reason is the run's."""
        self.reason = self.reason or reason
        self.kill()

    def kill(self) -> None:
        """End all workers."""
        for member in list(self._members):
            if member.process.poll() is None:
                member.process.kill()

    def _watch(self) -> None:
        while not self._over.wait(_WATCH_SECONDS):
            for member in list(self._members):
                status = member.process.poll()
                if status is not None and not member.closing:
                    member.ended()  # its last words may be the true reason
                    if not self.reason:
                        self.dead = member.process.pid, status
                    self.fail(_death(member, status, self._size))
            if self.reason:
                for member in list(self._members):
                    member.answer_all(self.reason)


def _death(member: Any, status: int, size: int) -> str:
    if status > 0 and member.last_line:
        return f"a worker process ended ({member.last_line}); run the same command with --workers=1"
    if -status != signal.SIGKILL:
        by = signal.Signals(-status).name if status < 0 else f"status {status}"
        return f"a worker process was ended by {by}; run the same command again to continue"
    return want_of_memory("a worker process was killed", workers=size)


def want_of_memory(what: str, *, workers: int) -> str:
    """The sentence for a process that the system has killed."""
    return (
        f"{what}, most likely for want of memory; run the same command with fewer than "
        f"--workers={workers} (finished clips are kept)"
    )


class _WorkerEnvironment(environments.Environment):
    """Beam's name for our worker processes; carries the pipeline's options to them."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(capabilities=environments.python_sdk_capabilities())
        self._options = options

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        """The name and the payload that `_Handler` is made with."""
        return _URN, json.dumps(self._options, default=str).encode()


class _Handler(worker_handlers.GrpcWorkerHandler):
    """The driver's side of one worker process."""

    def __init__(self, options: bytes, state: Any, provision_info: Any, server: Any) -> None:
        super().__init__(state, provision_info, server)
        self._options = options.decode()
        self.closing = False
        self.last_line = ""

    def start_worker(self) -> None:
        """Start the process; Beam calls it."""
        team = _Team.current
        assert team is not None
        address = endpoints_pb2.ApiServiceDescriptor(url=self.control_address)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "data_prep.beam_worker", str(os.getpid())],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(address),
                "PIPELINE_OPTIONS": self._options,
                "WORKER_ID": self.worker_id,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        team.add(self)
        self._reader = threading.Thread(target=self._read, args=(team,), daemon=True)
        self._reader.start()

    def _read(self, team: _Team) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                if sentence := sentence_in(line):
                    team.fail(sentence)
                if not line.isspace() and not _LOG_LINE.match(line):
                    self.last_line = line.strip()
                _LOG.debug("%s: %s", self.worker_id, line.rstrip())

    def answer_all(self, reason: str) -> None:
        """Answer what the driver waits for, in the place of a worker that cannot."""
        for key in list(self.control_conn._futures_by_id):
            future = self.control_conn._futures_by_id.pop(key, None)
            if future is not None:
                answer = beam_fn_api_pb2.InstructionResponse(instruction_id=key, error=reason)
                future.set(answer)

    def close(self) -> None:
        """End the process; Beam calls it when the run is over, or while its exception passes."""
        self.closing = True
        if sys.exc_info()[0] is not None:
            self.process.kill()
        super().close()

    def stop_worker(self) -> None:
        """Wait for the process, which ends when its connection is closed."""
        self.process.wait()

    def ended(self) -> None:
        """Wait for the end of the process and of what it had to say."""
        self.process.wait()
        self._reader.join()


worker_handlers.WorkerHandler.register_environment(_URN, bytes)(_Handler)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Beam's logs and the deaths of its threads stay off the terminal; the outcome tells all."""
    logger, hook = logging.getLogger("apache_beam"), threading.excepthook
    level = logger.level
    logger.setLevel(logging.CRITICAL)

    def note(args: Any) -> None:
        _LOG.debug("thread %s", args.thread, exc_info=args.exc_value)

    threading.excepthook = note
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"apache_beam|grpc")
            yield
    finally:
        threading.excepthook = hook
        logger.setLevel(level)
