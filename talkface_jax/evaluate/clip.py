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

from talkface_jax.errors import FaceError, TalkfaceError
from talkface_jax.evaluate import crops, lengths, lost, pictures, rows, scores, tracks
from talkface_jax.evaluate.cropping import Crop, CroppedVideo
from talkface_jax.landmarks import schemes
from talkface_jax.metrics import alignment, behaviour, image, landmark, sync
from talkface_jax.records import FaceTrack

LOG = logging.getLogger(__name__)
TRUE_ROWS = (scores.GROUND_TRUTH, scores.NOISE_FLOOR, scores.STATIC_MOUTH)
MAX_SHIFT = 3
"""Frames by which the alignment in time may move a frame."""
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
      shifted: the system from whose own track the shifted-audio row is made; "" for none.
    """

    face: str | None
    seed: int
    tolerance: int
    folder: pathlib.Path | None
    shifted: str = ""


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A row's video of the clip, or why there is none; `crop` is the part of its picture."""

    path: pathlib.Path | None
    crop: Crop | None = None
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Job:
    """A clip: its name, true video and metadata, and each row's prediction."""

    clip: str
    truth: pathlib.Path
    predicted: Mapping[str, Prediction]
    speaker: str = ""
    groups: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Findings:
    """What a clip yields, in all rows."""

    clips: list[scores.ClipScore] = dataclasses.field(default_factory=list)
    failures: list[scores.Failure] = dataclasses.field(default_factory=list)
    pictures: dict[str, pictures.ClipPictures] = dataclasses.field(default_factory=dict)
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
    """An open video with its track.

    `points` are (t, 131, 2) pixels, frames without a face filled; `heard` is the sound of the truth,
    None where there is none.
    """

    source: tracks.Source
    video: Any
    track: FaceTrack
    points: np.ndarray

    def side(self, frames: int) -> crops.Side:
        """What the crops need, of the first frames."""
        return crops.Side(self.points[:frames], self.track.valid[:frames], self.track.size)


def _select(landmarks: np.ndarray) -> np.ndarray:
    return schemes.select(landmarks, schemes.get_scheme(landmark.SCHEME))


class ClipScorer:
    """Scores clips with one tracker."""

    def __init__(self, setup: Setup, tracker: Any) -> None:
        self._setup = setup
        self._store = tracks.TrackStore(setup.face, setup.folder, tracker)

    def score(self, job: Job) -> Findings:
        """All rows of one clip; whatever fails is counted in the rows that it costs."""
        found = Findings()
        with contextlib.ExitStack() as stack:
            try:
                truth, audio = stack.enter_context(self._truth(job.truth))
            except (TalkfaceError, OSError) as error:
                every = [*TRUE_ROWS, *(row for name in job.predicted for row in self._costs(name))]
                found.fail(job.clip, every, f"truth: {error}", rank=_rank(error))
                return found
            marks = _Clip(job, truth, audio)
            self._score_truth(marks, found)
            for row, item in job.predicted.items():
                if item.path is None:
                    found.fail(job.clip, self._costs(row), item.reason, rank=ALONE)
                    continue
                try:
                    with self._tracked(
                        item.path, crop=item.crop, audio=marks.chooses(self._setup)
                    ) as pred:
                        self._score_prediction(marks, row, pred, found)
                except (TalkfaceError, OSError) as error:
                    found.fail(job.clip, self._costs(row), str(error), rank=_rank(error))
        if not any(row in found.pictures for row in ()):
            pass
        return found
