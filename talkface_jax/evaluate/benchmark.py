"""Directories of mp4 in, scores.json and report.html out.

Every clip of both directories is tracked anew. Landmarks are compared after one similarity a frame
has moved the prediction's upper face onto the truth's; images are compared over crops that the
truth's track places.
"""

import contextlib
import dataclasses
import logging
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from talkface_jax.errors import FaceError, MediaError, TalkfaceError
from talkface_jax.evaluate import crops, noise, pairs, provenance, report, rows, scores
from talkface_jax.landmarks import schemes
from talkface_jax.media import faces
from talkface_jax.metrics import image, landmark, sync
from talkface_jax.records import FaceTrack

LOG = logging.getLogger(__name__)
TOLERANCE = 3
STRIP_FRAMES = 6
_ALONE, _FACE = 0, 2
"""Ranks of failures: a video without a counterpart says little, a face that is not there much."""
TRUE_ROWS = (scores.GROUND_TRUTH, scores.NOISE_FLOOR, scores.STATIC_MOUTH)

Progress = Callable[[str, int, int], None]

CONVENTIONS = {
    "landmarks": landmark.convention()
    + "; both videos tracked anew (mediapipe face landmarker, image mode), the prediction "
    "aligned to the truth by one similarity a frame over 74 upper-face points",
    "mouth opening": sync.CONVENTION,
    "images": image.CONVENTION,
    "crops": crops.CONVENTION,
    "static mouth": "mean jaw and lips of the clip's true track, affinely aligned to each frame",
    "shifted audio": f"without a directory of its own: the prediction's mouth of {rows.SHIFT} "
    "frames later, affinely moved onto the truth's head",
    "tracker noise": noise.CONVENTION,
    "lengths": f"videos may differ by {TOLERANCE} frames at 25 fps; the surplus is not compared",
}


@dataclasses.dataclass(frozen=True)
class _Setup:
    """How every video of a run is tracked."""

    face: str | None
    seed: int
    tracker: Any


@dataclasses.dataclass(frozen=True)
class _Tracked:
    """An open video with its track.

    `points` are (t, 131, 2) pixels, frames without a face filled; `audio` is the sound by which the
    speaker is told, None where the face is chosen otherwise.
    """

    path: pathlib.Path
    video: Any
    track: FaceTrack
    points: np.ndarray
    audio: np.ndarray | None

    def side(self, frames: int) -> crops.Side:
        """What the crops need, of the first frames."""
        return crops.Side(self.points[:frames], self.track.valid[:frames], self.track.size)


@dataclasses.dataclass
class _Findings:
    """What a run collects."""

    clips: list[scores.ClipScore] = dataclasses.field(default_factory=list)
    failures: list[scores.Failure] = dataclasses.field(default_factory=list)
    strips: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    ranks: dict[str, int] = dataclasses.field(default_factory=dict)

    def fail(self, clip: str, names: Sequence[str], reason: str, *, rank: int = 1) -> None:
        LOG.info("%s (%s): %s", clip, ", ".join(names), reason)
        self.failures += [scores.Failure(clip, row, reason) for row in names]
        if scores.MODEL in names:
            self.ranks[clip] = rank


def _select(landmarks: np.ndarray) -> np.ndarray:
    return schemes.select(landmarks, schemes.get_scheme(landmark.SCHEME))


@contextlib.contextmanager
def _tracked(path: pathlib.Path, setup: _Setup, *, sound: pathlib.Path) -> Iterator[_Tracked]:
    from talkface_jax.media.audio import read_clip_audio
    from talkface_jax.media.tracker import track_video
    from talkface_jax.media.video import open_video

    with open_video(path) as video:
        audio = read_clip_audio(sound, None, len(video)) if setup.face == "speaker" else None
        track = track_video(video, face=setup.face, audio=audio, tracker=setup.tracker)
        if not track.valid.any():
            raise FaceError(f"{path} shows no face in any frame; leave it out")
        points = rows.filled(_select(track.landmarks), track.valid)
        yield _Tracked(path, video, track, points, audio)


def _score_truth(clip: str, truth: _Tracked, setup: _Setup, found: _Findings) -> None:
    """The rows that need no prediction."""
    valid = truth.track.valid
    perfect = rows.compare(clip, scores.GROUND_TRUTH, truth.points, truth.points, valid=valid)
    images = {
        "psnr_face": image.MAX_PSNR,
        "ssim_face": 1.0,
        "psnr_mouth": image.MAX_PSNR,
        "ssim_mouth": 1.0,
    }
    found.clips.append(dataclasses.replace(perfect, values={**perfect.values, **images}))
    still = rows.static_mouth(truth.points, valid=valid)
    found.clips.append(rows.compare(clip, scores.STATIC_MOUTH, still, truth.points, valid=valid))
    try:
        again = noise.retrack(
            truth.video, face=setup.face, audio=truth.audio, seed=setup.seed, tracker=setup.tracker
        )
    except TalkfaceError as error:
        found.fail(clip, [scores.NOISE_FLOOR], str(error))
        return
    again = _select(again)
    found.clips.append(rows.compare(clip, scores.NOISE_FLOOR, again, truth.points, valid=valid))


def _common_length(pred: _Tracked, truth: _Tracked) -> int:
    ours, theirs = len(pred.track), len(truth.track)
    if abs(ours - theirs) > TOLERANCE:
        raise MediaError(
            f"{pred.path} has {ours} frames at 25 fps and its truth {theirs}; predict the whole "
            f"clip (a difference of up to {TOLERANCE} frames is cut)"
        )
    return min(ours, theirs)


def _score_prediction(
    clip: str, row: str, pred: _Tracked, truth: _Tracked, found: _Findings, *, shifted: bool
) -> None:
    """One predicted video's row; with `shifted`, the shifted-audio row is made from it too."""
    n = _common_length(pred, truth)
    ours, theirs = pred.side(n), truth.side(n)
    valid = ours.valid & theirs.valid
    if not valid.any():
        raise FaceError(f"{pred.path} and its truth show no face in a common frame; leave it out")
    points = landmark.pose_aligned(ours.points, theirs.points)
    score = rows.compare(clip, row, points, theirs.points, valid=valid)
    views = crops.place(pred=ours, truth=theirs)
    images = crops.image_scores(pred.video, truth.video, views, valid=valid)
    found.clips.append(dataclasses.replace(score, values={**score.values, **images}))
    if row == scores.MODEL:
        found.strips[clip] = crops.strip_frames(
            pred.video, truth.video, views, valid=valid, count=STRIP_FRAMES
        )
    if shifted:
        ahead = rows.shifted(points, theirs.points)
        both = theirs.valid & np.roll(ours.valid, -rows.SHIFT)
        found.clips.append(
            rows.compare(clip, scores.SHIFTED_AUDIO, ahead, theirs.points, valid=both)
        )


def _score_clip(
    clip: str,
    true_path: pathlib.Path,
    predicted: Mapping[str, pathlib.Path | None],
    setup: _Setup,
    found: _Findings,
) -> None:
    """All rows of one clip; whatever fails is counted in the rows that it costs."""
    derived = scores.SHIFTED_AUDIO not in predicted
    costs = {
        row: [row, scores.SHIFTED_AUDIO] if row == scores.MODEL and derived else [row]
        for row in predicted
    }
    with contextlib.ExitStack() as stack:
        try:
            truth = stack.enter_context(_tracked(true_path, setup, sound=true_path))
        except TalkfaceError as error:
            every = [*TRUE_ROWS, *(row for names in costs.values() for row in names)]
            found.fail(clip, every, f"truth: {error}", rank=_rank(error))
            return
        _score_truth(clip, truth, setup, found)
        for row, path in predicted.items():
            if path is None:
                reason = "missing: no video of this name was predicted"
                found.fail(clip, costs[row], reason, rank=_ALONE)
                continue
            try:
                with _tracked(path, setup, sound=true_path) as pred:
                    shifted = len(costs[row]) > 1
                    _score_prediction(clip, row, pred, truth, found, shifted=shifted)
            except TalkfaceError as error:
                found.fail(clip, costs[row], str(error), rank=_rank(error))


def _rank(error: TalkfaceError) -> int:
    return _FACE if isinstance(error, FaceError) else 1


def _match(
    truths: dict[str, pathlib.Path], directories: Mapping[str, pathlib.Path], found: _Findings
) -> dict[str, dict[str, pathlib.Path | None]]:
    """clip -> row -> predicted path; predictions that have no truth are failures at once."""
    predicted: dict[str, dict[str, pathlib.Path | None]] = {clip: {} for clip in truths}
    for row, directory in directories.items():
        pairing = pairs.pair(truths, pairs.find_videos(directory))
        for clip, path in pairing.pairs.items():
            predicted[clip][row] = path
        for stranger in pairing.strangers:
            found.fail(stranger, [row], "no true video of this name", rank=_ALONE)
    return predicted


def _check(
    out: pathlib.Path,
    truth: pathlib.Path,
    directories: Mapping[str, pathlib.Path],
    *,
    face: str | None,
) -> None:
    """What can be known before any work."""
    faces.check_choice(face)
    for row in set(directories) & set(TRUE_ROWS):
        raise TalkfaceError(f"row {row} is made from the truth; give the directory another name")
    for directory in (truth, *directories.values()):
        if out.resolve() == directory.resolve():
            raise TalkfaceError(f"{out} is an input; name another directory for the report")


def _require_predictions(found: _Findings) -> None:
    scores.require_predictions(
        found.clips,
        failures=sorted(found.failures, key=lambda failure: -found.ranks.get(failure.clip, 0)),
        noun="clip",
        remedy="mend the videos or name other folders",
    )


def benchmark(
    pred: pathlib.Path,
    truth: pathlib.Path,
    out: pathlib.Path,
    *,
    rows: Mapping[str, pathlib.Path] | None = None,
    face: str | None = "largest",
    progress: Progress | None = None,
    command: str | None = None,
    notes: Mapping[str, str] | None = None,
    seed: int = 0,
    tracker: Any = None,
) -> scores.Scores:
    """Scores a directory of predicted videos and writes `out`/scores.json and `out`/report.html.

    Args:
      pred, truth: directories of videos, matched by relative path, else by stem.
      out: directory of the report; made if need be.
      rows: further predicted directories by row name, e.g. "silence" or "shifted-audio" (which is
        made from the prediction's own track where no directory is given).
      face: of several: "speaker" (by the truth's sound), "largest", or an index from the left.
      progress: called as progress(what, clips done, clips).
      command: command line to state; this process's by default.
      notes: further facts to state, by topic.
      seed: of the jitter and the bootstrap.
      tracker: an open `media.tracker.FaceTracker`; by default one is made.

    Raises:
      MediaError: a directory that does not exist or holds no video.
      TalkfaceError: `face` is no choice, `out` an input, a row's name reserved, or nothing scored.
    """
    directories = {scores.MODEL: pred, **(rows or {})}
    _check(out, truth, directories, face=face)
    found = _Findings()
    truths = pairs.find_videos(truth)
    predicted = _match(truths, directories, found)
    with contextlib.ExitStack() as stack:
        if tracker is None:
            from talkface_jax.media.tracker import FaceTracker

            tracker = stack.enter_context(FaceTracker())
        setup = _Setup(face, seed, tracker)
        for done, (clip, path) in enumerate(truths.items()):
            if progress:
                progress("score videos", done, len(truths))
            _score_clip(clip, path, predicted[clip], setup, found)
    if progress:
        progress("score videos", len(truths), len(truths))
    _require_predictions(found)
    run = {"prediction": str(pred), "truth": str(truth), "face": str(face or "the only one")}
    result = scores.summarise(
        "benchmark",
        clips=found.clips,
        failures=found.failures,
        conventions=CONVENTIONS,
        run={**provenance.describe_run(command), **run, **(notes or {})},
        seed=seed,
    )
    report.write_report(result, out, strips=found.strips)
    return result
