"""The linear baseline: ridge regression from the log-mel sound to the motion of jaw and lips.

What it predicts is how far the content points lie from those of a still mouth (`align.static_mouth`
of the references), in the axes of the mean reference, so that head pose and face are given to it as
they are to a model. NumPy only, in closed form; Hoerl and Kennard, Technometrics 1970.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from talkface_jax.errors import RecordError, counted
from talkface_jax.features import mel
from talkface_jax.landmarks import align, schemes

FRAMES = 8000
"""Training frames that are enough: more take longer and hardly change the fit."""
BEFORE, AFTER = 8, 24
"""Spectrogram rows around the first one of a frame's window: 0.4 s, the frame in the middle."""
STEP = 2
"""Every second row is heard: a row's window is four rows wide."""
PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Ridge penalties to choose from, for standardised features and the mean square error."""
PENALTY = 0.3
"""Where there is one speaker only, so that none can be left out."""
FOLDS = 4
_MIN_DEVIATION = 1e-2


@dataclasses.dataclass(frozen=True)
class Example:
    """A training segment; points are normalised to crop boxes, as a chain's are.

    Attributes:
      speaker: who speaks.
      points: tracked points of the scheme.
      valid: False where there is no face.
      references: the reference frames that a model would be given.
      samples: the sound, 16 kHz mono.
    """

    speaker: str
    points: Float[np.ndarray, "t n 2"]
    valid: Bool[np.ndarray, " t"]
    references: Float[np.ndarray, "r n 2"]
    samples: Float32[np.ndarray, " s"]


@dataclasses.dataclass(frozen=True)
class Ridge:
    """A fitted regression.

    Attributes:
      scheme: name of the landmark scheme.
      mean, deviation: of the features in training.
      weights: from standardised features to displacements of the content points.
      bias: their mean.
      penalty: what was chosen of `PENALTIES`.
      frames, speakers: how many it was fitted on.
    """

    scheme: str
    mean: Float64[np.ndarray, " f"]
    deviation: Float64[np.ndarray, " f"]
    weights: Float64[np.ndarray, "f m"]
    bias: Float64[np.ndarray, " m"]
    penalty: float
    frames: int
    speakers: int

    def predict(
        self,
        points: Float[np.ndarray, "t n 2"],
        *,
        references: Float[np.ndarray, "r n 2"],
        samples: Float32[np.ndarray, " s"],
    ) -> Float64[np.ndarray, "t c 2"]:
        """The content points of every frame; of `points` only the head's pose is used."""
        heard = (features(samples, np.arange(len(points))) - self.mean) / self.deviation
        moved = (heard @ self.weights + self.bias).reshape(len(points), -1, 2)
        still, linear = _still(points, references, self.scheme)
        return still + moved @ linear

    def __str__(self) -> str:
        """How it was fitted, in one line."""
        return (
            f"fitted on {self.frames} frames of {counted(self.speakers, 'training speaker')}, "
            f"penalty {self.penalty:g}"
        )


def features(
    samples: Float32[np.ndarray, " s"], frames: Int[np.ndarray, " t"]
) -> Float64[np.ndarray, "t f"]:
    """The spectrogram around each video frame, flat; beyond the ends there is silence."""
    rows = mel.first_rows(frames)[:, None] + np.arange(-BEFORE, AFTER, STEP)
    heard = mel.log_mel(samples)
    inside = (rows >= 0) & (rows < len(heard))
    taken = heard[np.clip(rows, 0, len(heard) - 1)].astype(np.float64)
    taken[~inside] = mel.SILENCE
    return taken.reshape(len(rows), rows.shape[1] * mel.BANDS)


def fit(examples: Iterable[Example], *, scheme: str) -> Ridge:
    """Fits the regression; the penalty is that with which speakers who are left out come out best.

    Raises:
      RecordError: no frame has a face.
    """
    heard, moved, speakers = [], [], []
    for example in examples:
        frames = np.flatnonzero(example.valid)
        heard.append(features(example.samples, frames))
        moved.append(_displacements(example, scheme)[frames])
        speakers += [example.speaker] * len(frames)
    if not speakers:
        raise RecordError("no training frame has a face to fit the ridge regression on")
    given, wanted = np.concatenate(heard), np.concatenate(moved)
    mean, bias = given.mean(0), wanted.mean(0)
    # A band that is silent throughout is not blown up.
    deviation = np.maximum(given.std(0), _MIN_DEVIATION)
    given, wanted = (given - mean) / deviation, wanted - bias
    penalty = _choose(given, wanted, speakers)
    return Ridge(
        scheme=scheme,
        mean=mean,
        deviation=deviation,
        weights=_solve(given.T @ given, given.T @ wanted, penalty * len(given)),
        bias=bias,
        penalty=penalty,
        frames=len(given),
        speakers=len(set(speakers)),
    )


def _still(
    points: np.ndarray, references: np.ndarray, scheme: str
) -> tuple[Float64[np.ndarray, "t c 2"], Float64[np.ndarray, "t 2 2"]]:
    """The still mouth of each frame, and the axes of the mean reference there."""
    groups = schemes.get_scheme(scheme).groups
    mean, here = np.asarray(references, np.float64).mean(0), np.asarray(points, np.float64)
    maps = align.fit_affine(mean[groups["pose"]], here[:, groups["pose"]])
    return align.apply_affine(mean[groups["content"]], maps), maps[:, :2]


def _displacements(example: Example, scheme: str) -> Float64[np.ndarray, "t m"]:
    # Points of frames without a face may lie on one line; they are never fitted on.
    points = np.where(example.valid[:, None, None], example.points, example.references[0])
    still, linear = _still(points, example.references, scheme)
    content = np.asarray(points[:, schemes.get_scheme(scheme).groups["content"]], np.float64)
    return ((content - still) @ np.linalg.inv(linear)).reshape(len(points), -1)


def _choose(given: np.ndarray, wanted: np.ndarray, speakers: Sequence[str]) -> float:
    """The penalty with the least square error on speakers who are left out, a quarter at a time."""
    names = sorted(set(speakers))
    if len(names) < 2:
        return PENALTY
    gram, moments = given.T @ given, given.T @ wanted
    errors = np.zeros(len(PENALTIES))
    for first in range(min(FOLDS, len(names))):
        out = np.isin(speakers, names[first::FOLDS])
        theirs, true = given[out], wanted[out]
        rest, cross = gram - theirs.T @ theirs, moments - theirs.T @ true
        for index, penalty in enumerate(PENALTIES):
            weights = _solve(rest, cross, penalty * (len(given) - len(theirs)))
            errors[index] += np.square(theirs @ weights - true).sum()
    return PENALTIES[int(errors.argmin())]


def _solve(gram: np.ndarray, moments: np.ndarray, penalty: float) -> Float64[np.ndarray, "f m"]:
    return np.linalg.solve(gram + penalty * np.eye(len(gram)), moments)
