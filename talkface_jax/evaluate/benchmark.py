"""Directories of videos in, scores.json and report.html out: any number of systems in one table.

Every video is tracked (and its track kept, `evaluate.tracks`). Landmarks are compared after one
similarity a frame has moved the prediction's upper face onto the truth's; images are compared over
crops of the same part of the scene (`evaluate.framing`).
"""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from talkface_jax import processes, runtime
from talkface_jax.errors import TalkfaceError
from talkface_jax.evaluate import (
    clip,
    crops,
    expression,
    lost,
    noise,
    pairs,
    pictures,
    provenance,
    report,
    rows,
    scores,
    summary,
    tracks,
)
from talkface_jax.evaluate.clip import Findings, Job, Prediction
from talkface_jax.evaluate.cropping import Crop
from talkface_jax.evaluate.metadata import Metadata
from talkface_jax.media import faces
from talkface_jax.metrics import alignment, behaviour, image, landmark, lpips, sync, turns

TOLERANCE = 3
"""Frames by which a prediction's length may differ from its truth's, unless told otherwise."""

RESERVED = frozenset(scores.ROWS) - {scores.MODEL, scores.UNTRAINED}
"""Rows that are made here, so no system can have their names."""
MISSING = "missing: no video of this name was predicted"
Progress = Callable[[str, int, int], None]

CONVENTIONS = {
    "landmarks": landmark.convention()
    + "; both videos tracked anew (mediapipe face landmarker, image mode), the prediction "
    "aligned to the truth by one similarity a frame over 74 upper-face points",
    "aligned in time": alignment.CONVENTION,
    "lost frames": lost.CONVENTION,
    "mouth opening": sync.CONVENTION,
    **behaviour.CONVENTIONS,
    **turns.CONVENTIONS,
    "images": image.CONVENTION,
    "LPIPS": lpips.convention(),
    "crops": crops.CONVENTION,
    "slices": pictures.CONVENTION,
    "static mouth": "mean jaw and lips of the clip's true track, affinely aligned to each frame",
    "shifted audio": f"without a directory of its own: the first system's mouth of {rows.SHIFT} "
    "frames later, affinely moved onto the truth's head",
    "tracker noise": noise.CONVENTION,
    "names": pairs.CONVENTION,
}


@dataclasses.dataclass(frozen=True)
class System:
    """A directory of predicted videos, and how to read it.

    Attributes:
      directory: of its videos.
      match: regular expression whose group names the clip (`evaluate.pairs.pair`); None to go by
        the name, or by what public tools add to it.
      table: csv file with the columns truth and pred; None for none.
      crop: the part of each picture that shows the prediction; None for all of it.
    """

    directory: pathlib.Path
    match: str | None = None
    table: pathlib.Path | None = None
    crop: Crop | None = None


@dataclasses.dataclass(frozen=True)
class Rows:
    """Directories of baselines that the caller has made.

    Attributes:
      folders: by row; of "shifted-audio" one is made from the first system's own track where none
        is given.
      reasons: (row, clip) -> why there is no video.
      facts: to state, by topic.
    """

    folders: Mapping[str, pathlib.Path] = dataclasses.field(default_factory=dict)
    reasons: Mapping[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Options:
    """How a benchmark is made.

    Attributes:
      face: of several: "speaker" (by the truth's sound), "largest", or an index from the left.
      tolerance: frames by which lengths may differ; the surplus is not compared.
      against: the row that the others are compared with; None for each with every baseline.
      workers: processes.
      tracks: folder in which tracks are kept; None keeps none.
      seed: of the tracker's jitter and the bootstrap.
      legacy: whether M-LVD and F-LVD are also counted as a public script does.
      whole: whether LPIPS of the face is counted too.
    """

    face: str | None = "largest"
    tolerance: int = TOLERANCE
    against: str | None = None
    workers: int = 1
    tracks: pathlib.Path | None = None
    seed: int = 0
    legacy: bool = False
    whole: bool = False


def benchmark(
    systems: Mapping[str, System],
    truth: pathlib.Path,
    out: pathlib.Path,
    *,
    made: Rows | None = None,
    metadata: Metadata | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
    command: str | None = None,
) -> scores.Scores:
    """Scores directories of predicted videos and writes `out`/scores.json and `out`/report.html.

    Args:
      systems: by the name of their row, in the order of the table.
      truth: directory of the true videos, matched by `evaluate.pairs.pair`.
      out: directory of the report; made if need be.
      made: directories of baselines.
      metadata: of the clips; without, nothing is known of speakers and groups.
      options: how.
      progress: called as progress(what, clips done, clips).
      command: command line to state; this process's by default.

    Raises:
      MediaError: a directory that does not exist or holds no video.
      TalkfaceError: a choice that is none, `out` an input, a row's name reserved, a worker that
        died, or nothing scored.
    """
    chosen, baselines = options or Options(), made or Rows()
    given = {**systems, **{name: System(folder) for name, folder in baselines.folders.items()}}
    check(out, truth, systems, options=chosen, further=tuple(baselines.folders))
    found = Findings()
    truths = pairs.find_videos(truth)
    jobs, notes = _jobs(truths, given, metadata, baselines.reasons, found)
    setup = _setup(given, tuple(systems), chosen)
    for done, item in enumerate(_scored(jobs, setup, workers=chosen.workers), 1):
        found.add(item)
        if progress:
            progress("score videos", done, len(jobs))
    _require_predictions(found, tuple(systems))
    result = summary.summarise(
        "benchmark",
        clips=found.clips,
        failures=found.failures,
        conventions=_conventions(jobs, chosen),
        run={
            **provenance.describe_run(command),
            **_facts(given, truth, setup),
            **baselines.facts,
            **notes,
        },
        systems=tuple(systems),
        against=chosen.against,
        owners={scores.SHIFTED_AUDIO: setup.shifted} if setup.shifted else {},
        seed=chosen.seed,
    )
    report.write_report(result, out, pictures=found.pictures)
    return result


def check(
    out: pathlib.Path,
    truth: pathlib.Path,
    given: Mapping[str, System],
    *,
    options: Options,
    further: Sequence[str] = (),
) -> None:
    """What can be known before any work.

    Args:
      out, truth: directories.
      given: the systems.
      options: how.
      further: names of rows to come.

    Raises:
      MediaError: a directory that does not exist or holds no video.
      TalkfaceError: a choice that is none, `out` an input, or a reserved name.
    """
    faces.check_choice(options.face)
    for row in given:
        if row in RESERVED:
            raise TalkfaceError(
                f"{row} is the name of a row that is made here; give that system another name"
            )
    for directory in (truth, *(system.directory for system in given.values())):
        if out.resolve() == directory.resolve():
            raise TalkfaceError(f"{out} is an input; name another directory for the report")
        pairs.find_videos(directory)
    known = [*given, *further, *clip.TRUE_ROWS, scores.SHIFTED_AUDIO]
    if options.against is not None and options.against not in known:
        raise TalkfaceError(
            f"--against={options.against} is no row of the table; give one of {', '.join(known)}"
        )
    if not given:
        raise TalkfaceError("there is no prediction; give --pred=DIR")
    if options.tolerance < 0 or options.workers < 1:
        raise TalkfaceError("--tolerance must be at least 0 and --workers at least 1")


def _jobs(
    truths: Mapping[str, pathlib.Path],
    given: Mapping[str, System],
    metadata: Metadata | None,
    reasons: Mapping[tuple[str, str], str],
    found: Findings,
) -> tuple[list[Job], dict[str, str]]:
    """A job a clip, and what to state of the pairing; predictions that have no truth are failures
    at once."""
    predicted: dict[str, dict[str, Prediction]] = {name: {} for name in truths}
    notes: dict[str, str] = {}
    for row, system in given.items():
        # Of a baseline none may have been made; why is told for every clip.
        none = all((row, name) in reasons for name in truths)
        videos = {} if none else pairs.find_videos(system.directory)
        table = None
        if system.table is not None:
            table = pairs.read_table(system.table, truth=truths, pred=videos)
        pairing = pairs.pair(truths, videos, match=system.match, table=table)
        for name, path in pairing.pairs.items():
            missing = MISSING if system.table is None else f"{system.table} does not name it"
            reason = reasons.get((row, name)) or pairing.ambiguous.get(name, missing)
            predicted[name][row] = Prediction(path, system.crop, "" if path else reason)
        if pairing.left_out:
            told = ", ".join(f"{name} ({why})" for name, why in pairing.left_out.items())
            notes[f"left out of {row}"] = told
        for stranger in pairing.strangers:
            found.fail(stranger, [row], "no true video of this name", rank=clip.ALONE)
    about = metadata or Metadata({})
    notes |= about.gaps(truths) if about.rows else {}
    jobs = [
        Job(
            name,
            path,
            predicted[name],
            about.speaker(name),
            about.groups(name),
            about.emotion(name),
        )
        for name, path in truths.items()
    ]
    return jobs, notes


def _setup(given: Mapping[str, System], systems: tuple[str, ...], options: Options) -> clip.Setup:
    return clip.Setup(
        face=options.face,
        seed=options.seed,
        tolerance=options.tolerance,
        folder=options.tracks,
        systems=systems,
        shifted="" if scores.SHIFTED_AUDIO in given else systems[0],
        legacy=options.legacy,
        whole=options.whole,
    )


def _conventions(jobs: Sequence[Job], options: Options) -> dict[str, str]:
    """What the numbers of this run mean."""
    labelled = any(job.emotion is not None for job in jobs)
    return {
        **CONVENTIONS,
        **(expression.CONVENTIONS if labelled else {}),
        **(expression.LEGACY_CONVENTIONS if options.legacy else {}),
        "lengths": _lengths(options.tolerance),
    }


def _scored(jobs: Sequence[Job], setup: clip.Setup, *, workers: int) -> Iterator[Findings]:
    """What each clip yields, in the order of the clips."""
    if workers == 1 or len(jobs) < 2:
        with contextlib.ExitStack() as stack:
            scorer = _scorer(setup, stack)
            yield from map(scorer.score, jobs)
        return
    with processes.pool(min(workers, len(jobs)), prepare=_prepare_worker) as pool:
        yield from pool.map(functools.partial(_score, setup), jobs)


def _scorer(setup: clip.Setup, stack: contextlib.ExitStack) -> clip.ClipScorer:
    from talkface_jax.media.tracker import FaceTracker

    return clip.ClipScorer(
        setup, tracker=stack.enter_context(FaceTracker()), distance=lpips.load_lpips()
    )


_held: dict[clip.Setup, clip.ClipScorer] = {}
"""A worker process's scorer, made once."""


def _score(setup: clip.Setup, job: Job) -> Findings:
    if setup not in _held:
        _held[setup] = _scorer(setup, contextlib.ExitStack())
    return _held[setup].score(job)


def _prepare_worker() -> None:
    """One core for OpenCV, which would start a thread per core in each; compiled programs kept."""
    import cv2

    cv2.setNumThreads(1)
    runtime.enable_compilation_cache()


def _require_predictions(found: Findings, systems: Sequence[str]) -> None:
    scores.require_predictions(
        found.clips,
        failures=sorted(found.failures, key=lambda item: -found.ranks[item.clip, item.row]),
        noun="clip",
        remedy="mend the videos or name other folders",
        systems=systems,
    )


def _lengths(tolerance: int) -> str:
    return (
        f"videos may differ by {tolerance} frames at 25 fps (--tolerance); what only one has is "
        "not compared, and is counted"
    )


def _facts(given: Mapping[str, System], truth: pathlib.Path, setup: clip.Setup) -> dict[str, str]:
    tracker = tracks.tracker_facts()
    shifted = {f"row {scores.SHIFTED_AUDIO}": f"from the track of {setup.shifted}"}
    return {
        **{
            f"row {name}": str(system.directory)
            + ("" if system.crop is None else f", crop {system.crop.text}")
            for name, system in given.items()
        },
        **(shifted if setup.shifted else {}),
        "truth": str(truth),
        "face": str(setup.face or "the only one"),
        "tracker": f"{tracker['package']}, model sha256 {tracker['model']}",
    }
