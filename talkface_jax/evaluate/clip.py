"""One clip of the benchmark: its truth and every system's video of it, scored.

A clip is a piece of work of its own, so that several processes share them; whatever is wrong with a
video costs the rows that need it, never the run.
"""

import contextlib
import dataclasses
import logging
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from talkface_jax.errors import FaceError, MediaError, TalkfaceError
from talkface_jax.evaluate import crops, expression, lengths, lost, rows, scores, tracks
from talkface_jax.evaluate.cropping import Crop, CroppedVideo
from talkface_jax.evaluate.expression import Expected
from talkface_jax.evaluate.pictures import ClipPictures
from talkface_jax.landmarks import schemes
from talkface_jax.metrics import alignment, behaviour, image, landmark, turns
from talkface_jax.records import FaceTrack

LOG = logging.getLogger(__name__)
TRUE_ROWS = (scores.GROUND_TRUTH, scores.NOISE_FLOOR, scores.STATIC_MOUTH)
ALONE, MEDIA, FACE = 0, 1, 2
"""Ranks of failures: a video without a counterpart says little, a face that is not there much."""


@dataclasses.dataclass(frozen=True)
class Setup:
    """How the videos of a run are scored.

    Attributes:
      face: which of several is meant.
      seed: of the tracker's jitter.
      tolerance: frames by which a prediction's length may differ from its truth's.
      folder: where tracks are kept; None keeps none.
      systems: the rows that are predictions; pictures are made of them.
      shifted: the system from whose own track the shifted-audio row is made; "" for none.
      legacy: whether landmark dynamics are also counted as a public script does.
      whole: whether LPIPS of the face is counted too.
    """

    face: str | None
    seed: int
    tolerance: int
    folder: pathlib.Path | None
    systems: tuple[str, ...]
    shifted: str = ""
    legacy: bool = False
    whole: bool = False

    def costs(self, row: str) -> list[str]:
        """The rows that are missing where this one cannot be scored."""
        return [row, scores.SHIFTED_AUDIO] if row == self.shifted else [row]


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A row's video of the clip, or why there is none; `crop` is the part of its picture."""

    path: pathlib.Path | None
    crop: Crop | None = None
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Job:
    """A clip: its name, true video and metadata (`emotion` an index of `records.EMOTIONS`, None
    where it is not known), and each row's prediction."""

    clip: str
    truth: pathlib.Path
    predicted: Mapping[str, Prediction]
    speaker: str = ""
    groups: Mapping[str, str] = dataclasses.field(default_factory=dict)
    emotion: int | None = None


@dataclasses.dataclass
class Findings:
    """What clips yield, in all rows; `pictures` by clip, `ranks` by clip and row of a failure."""

    clips: list[scores.ClipScore] = dataclasses.field(default_factory=list)
    failures: list[scores.Failure] = dataclasses.field(default_factory=list)
    pictures: dict[str, ClipPictures] = dataclasses.field(default_factory=dict)
    ranks: dict[tuple[str, str], int] = dataclasses.field(default_factory=dict)

    def fail(self, clip: str, names: Sequence[str], reason: str, *, rank: int = MEDIA) -> None:
        """Counts a failure in the rows that it costs."""
        LOG.info("%s (%s): %s", clip, ", ".join(names), reason)
        self.failures += [scores.Failure(clip, row, reason) for row in names]
        self.ranks |= {(clip, row): rank for row in names}

    def add(self, other: "Findings") -> None:
        """Takes over what another clip yielded."""
        self.clips += other.clips
        self.failures += other.failures
        self.pictures |= other.pictures
        self.ranks |= other.ranks


@dataclasses.dataclass(frozen=True)
class _Tracked:
    """An open video with its track; `points` are (t, 131, 2) pixels, faceless frames filled."""

    source: tracks.Source
    video: Any
    track: FaceTrack
    points: np.ndarray

    def side(self, frames: int) -> crops.Side:
        """What the crops need, of the first frames."""
        return crops.Side(self.points[:frames], self.track.valid[:frames], self.track.size)


def _select(landmarks: np.ndarray) -> np.ndarray:
    return schemes.select(landmarks, schemes.get_scheme(landmark.SCHEME))


@dataclasses.dataclass(frozen=True)
class _True:
    """The truth of a clip, and what is the same for all its rows.

    `silent` marks frames in which its sound is silent; None where there is no sound.
    """

    job: Job
    video: _Tracked
    audio: np.ndarray | None
    silent: np.ndarray | None
    boxes: crops.Boxes
    still: np.ndarray
    expected: Expected


class ClipScorer:
    """Scores clips, one after the other, with one tracker and one LPIPS network."""

    def __init__(self, setup: Setup, *, tracker: Any, distance: crops.Distance) -> None:
        self._setup = setup
        self._distance = distance
        self._store = tracks.TrackStore(setup.face, setup.folder, tracker)

    def score(self, job: Job) -> Findings:
        """All rows of one clip; whatever fails is counted in the rows that it costs."""
        found, costs = Findings(), self._setup.costs
        with contextlib.ExitStack() as stack:
            try:
                truth = self._open_truth(job, stack)
            except (TalkfaceError, OSError) as error:
                every = [*TRUE_ROWS, *(row for name in job.predicted for row in costs(name))]
                found.fail(job.clip, every, f"truth: {_told(error)}", rank=_rank(error))
                return found
            shown = ClipPictures.of(truth.video.track.valid)
            shown.add(scores.GROUND_TRUTH, truth.video.video, truth.boxes)
            self._score_truth(truth, found)
            for row, item in job.predicted.items():
                if item.path is None:
                    found.fail(job.clip, costs(row), item.reason, rank=ALONE)
                    continue
                try:
                    with self._tracked(item.path, crop=item.crop, audio=truth.audio) as pred:
                        self._score_prediction(row, pred, truth, found, shown)
                except (TalkfaceError, OSError) as error:
                    found.fail(job.clip, costs(row), _told(error), rank=_rank(error))
        if len(shown.strips) > 1:
            found.pictures[job.clip] = shown
        return found

    def _open_truth(self, job: Job, stack: contextlib.ExitStack) -> _True:
        from talkface_jax.media.audio import read_clip_audio
        from talkface_jax.media.video import open_video

        try:
            with open_video(job.truth) as video:
                audio = read_clip_audio(job.truth, None, len(video))
        except MediaError:
            if self._setup.face == "speaker":
                raise
            audio = None
        video = stack.enter_context(self._tracked(job.truth, crop=None, audio=audio))
        side = video.side(len(video.track))
        return _True(
            job,
            video,
            audio,
            None if audio is None else behaviour.silent_frames(audio),
            crops.true_boxes(side),
            rows.static_mouth(video.points, valid=side.valid),
            Expected.of(video.track, emotion=job.emotion, audio=audio, legacy=self._setup.legacy),
        )

    @contextlib.contextmanager
    def _tracked(
        self, path: pathlib.Path, *, crop: Crop | None, audio: np.ndarray | None
    ) -> Iterator[_Tracked]:
        from talkface_jax.media.video import open_video

        source = tracks.Source.of(path, view="" if crop is None else crop.text)
        with open_video(path) as whole:
            video = whole if crop is None else CroppedVideo(whole, crop)
            track = self._store.track(video, source, audio=audio)
            tracks.require_face(track, path)
            points = rows.filled(_select(track.landmarks), track.valid)
            yield _Tracked(source, video, track, points)

    def _score_truth(self, truth: _True, found: Findings) -> None:
        """The rows that need no prediction."""
        clip, points, valid = truth.job.clip, truth.video.points, truth.video.track.valid
        perfect = rows.compare(clip, scores.GROUND_TRUTH, points, points, valid=valid)
        shown, notes = expression.shown(truth.expected, truth.video.track)
        images = {
            **dict.fromkeys(("psnr_face", "psnr_mouth"), image.MAX_PSNR),
            **dict.fromkeys(("ssim_face", "ssim_mouth"), 1.0),
            **dict.fromkeys(
                ("lpips_face", "lpips_mouth") if self._setup.whole else ("lpips_mouth",), 0.0
            ),
        }
        values = {
            **images,
            **expression.moved(truth.expected, truth.expected.mesh, valid=valid),
            **shown,
            **_behaviour(truth.video),
            **turns.correlations(truth.video.track, truth.video.track, valid=valid),
        }
        found.clips.append(_complete(perfect, truth, values=values, notes=notes))
        still = rows.compare(clip, scores.STATIC_MOUTH, truth.still, points, valid=valid)
        found.clips.append(_complete(still, truth, values=_moved(truth, truth.still, valid)))
        try:
            again = self._store.retrack(
                truth.video.video, truth.video.source, audio=truth.audio, seed=self._setup.seed
            )
        except TalkfaceError as error:
            found.fail(clip, [scores.NOISE_FLOOR], str(error))
            return
        noise = rows.compare(clip, scores.NOISE_FLOOR, _select(again), points, valid=valid)
        jitter = _moved(truth, _select(again), valid)
        found.clips.append(_complete(noise, truth, values=jitter))

    def _score_prediction(
        self, row: str, pred: _Tracked, truth: _True, found: Findings, shown: ClipPictures
    ) -> None:
        """One predicted video's row, and what is derived from it."""
        span = lengths.common(
            len(pred.track),
            len(truth.video.track),
            tolerance=self._setup.tolerance,
            name=str(pred.source.path),
        )
        n = span.frames
        ours, theirs = pred.side(n), truth.video.side(n)
        valid = theirs.valid
        lost.require_most(ours.valid, valid=valid, name=str(pred.source.path))
        points = landmark.pose_aligned(ours.points, theirs.points)
        views = crops.place(pred.video, truth.video.video, ours=ours, theirs=theirs)
        partner = alignment.align_in_time(
            ours.points,
            theirs.points,
            valid=valid & ours.valid,
            distance=alignment.lips,
        )
        shut = lost.closed(points, seen=ours.valid)
        score = rows.compare(truth.job.clip, row, shut, theirs.points, valid=valid)
        values = {
            **lost.distances(points, theirs.points, truth.still[:n], valid=valid, seen=ours.valid),
            "lip_distance_aligned": lost.distances(
                landmark.pose_aligned(ours.points[partner], theirs.points),
                theirs.points,
                truth.still[:n],
                valid=valid,
                seen=ours.valid[partner],
            )["lip_distance"],
            **crops.image_scores(
                pred.video,
                truth.video.video,
                views,
                valid=valid,
                distance=self._distance,
                whole=self._setup.whole,
            ),
            **_behaviour(pred),
            **turns.correlations(pred.track, truth.video.track, valid=valid & ours.valid),
        }
        shows, told = _expression(pred, truth, views)
        notes = (*_notes(span, views), *told)
        score = _complete(score, truth, values={**values, **shows}, notes=notes)
        gone = int((valid & ~ours.valid).sum())
        found.clips.append(dataclasses.replace(score, lost=gone, missing=span.shortfall))
        if row in self._setup.systems:
            shown.add(row, pred.video, views.truth, views.framing)
        if row == self._setup.shifted:
            ahead = rows.shifted(points, theirs.points)
            both = valid & np.roll(ours.valid, -rows.SHIFT)
            shifted = rows.compare(
                truth.job.clip, scores.SHIFTED_AUDIO, ahead, theirs.points, valid=both
            )
            values = _moved(truth, ahead, both)
            found.clips.append(_complete(shifted, truth, values=values))


def _complete(
    score: scores.ClipScore,
    truth: _True,
    *,
    values: Mapping[str, float] | None = None,
    notes: tuple[str, ...] = (),
) -> scores.ClipScore:
    """Who is seen, what is known of the clip, how open the mouth is and whether it
    shuts on p, b and m, and further numbers."""
    opening = score.opening
    seen = np.isfinite(opening)
    mouth = {"mean_opening": 100 * float(opening[seen].mean())} if seen.any() else {}
    if truth.silent is not None:
        quiet = seen & truth.silent[: len(opening)]
        if quiet.any():
            mouth["silent_opening"] = 100 * float(opening[quiet].mean())
    return dataclasses.replace(
        score,
        speaker=truth.job.speaker,
        groups=truth.job.groups,
        values={
            **score.values,
            **mouth,
            **expression.closed(truth.expected, opening),
            **(values or {}),
        },
        notes=notes,
    )


def _moved(truth: _True, points: np.ndarray, valid: np.ndarray) -> dict[str, float]:
    """Landmark dynamics of a row of the truth's own picture that has the scheme's points only."""
    seen = np.isfinite(points).all((1, 2)) & valid
    mesh = expression.with_points(truth.expected, points)
    return expression.moved(truth.expected, mesh, valid=seen)


def _expression(
    pred: _Tracked, truth: _True, views: crops.Views
) -> tuple[dict[str, float], tuple[str, ...]]:
    """What a prediction expresses, and what to tell of it."""
    scale = views.framing.scale
    mesh = pred.track.landmarks[: len(scale), :, :2] / scale[:, None, None]
    moved = expression.moved(truth.expected, mesh, valid=pred.track.valid[: len(scale)])
    shows, told = expression.shown(truth.expected, pred.track)
    return {**moved, **shows}, told


def _behaviour(shown: _Tracked) -> dict[str, float]:
    """Blinks and head motion, of any video."""
    found = behaviour.measure(shown.track)
    return {
        "blink_rate": found.blink_rate,
        "blink_duration": found.blink_duration,
        "head_motion": found.head.rotation,
    }


def _notes(span: lengths.Overlap, views: crops.Views) -> tuple[str, ...]:
    """What a reader must know of a prediction."""
    notes = [span.describe()] if span.describe() else []
    if views.framing.kind != "resized":
        notes.append(f"framed otherwise than the truth ({views.framing.kind})")
    return tuple(notes)


def _rank(error: Exception) -> int:
    return FACE if isinstance(error, FaceError) else MEDIA


def _told(error: Exception) -> str:
    """The sentence of an error; one of the system's is made one."""
    if isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
        return f"{error.filename} cannot be read ({reason}); mend its permissions"
    return str(error)
