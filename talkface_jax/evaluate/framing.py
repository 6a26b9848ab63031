"""Where the true picture lies in a predicted one: the same frames, resized, or framed anew.

Tools cut around the face, scale and pad. Images can be compared only where the same part of the
scene is cut out of both; so the truth's crop boxes are moved into the prediction's pixels, by one
of the maps that the two tracks tell.
"""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from talkface_jax.landmarks import boxes, schemes
from talkface_jax.metrics import landmark

SHAPE = 0.02
"""Frames whose aspect ratios differ by more than this were not just resized."""
CONVENTION = (
    "the truth's boxes cut both videos; in the prediction they are moved by plain resizing, by "
    "one scale and shift for the clip, or by one a frame (both from the 74 upper-face points of "
    "the two tracks, the latter smoothed over time): whichever leaves the smallest difference of "
    "the upper faces in a few frames"
)

Kind = Literal["resized", "reframed", "following"]


@dataclasses.dataclass(frozen=True)
class Framing:
    """True pixels -> predicted pixels: p -> scale * p + shift, for each frame.

    Attributes:
      kind: plain resizing (the identity, where the sizes are equal), another map for all frames,
        or one a frame.
    """

    scale: Float[np.ndarray, " t"]
    shift: Float[np.ndarray, "t 2"]
    kind: Kind

    def boxes(self, true: Float[np.ndarray, "t 4"]) -> Float[np.ndarray, "t 4"]:
        """Boxes x0, y0, x1, y1 of the truth in the prediction's pixels."""
        return true * self.scale[:, None] + np.tile(self.shift, 2)


def candidates(
    pred: Float[np.ndarray, "t 131 2"],
    truth: Float[np.ndarray, "t 131 2"],
    *,
    valid: Bool[np.ndarray, " t"],
    pred_size: tuple[int, int],
    true_size: tuple[int, int],
) -> list[Framing]:
    """The maps that are possible, the simplest first.

    Args:
      pred, truth: pixels of each video.
      valid: frames in which both show a face; at least one.
      pred_size, true_size: height and width of the frames.
    """
    pose = schemes.get_scheme(landmark.SCHEME).groups["pose"]
    ours, theirs = np.asarray(pred, np.float64)[:, pose], np.asarray(truth, np.float64)[:, pose]
    found = []
    ratio = np.divide(pred_size, true_size)
    if abs(ratio[0] / ratio[1] - 1) <= SHAPE:
        found.append(_repeat(float(ratio.mean()), np.zeros(2), len(truth), "resized"))
    found.append(_repeat(*_one_map(ours[valid], theirs[valid]), len(truth), "reframed"))
    found.append(_following(ours, theirs, valid))
    return found


def _one_map(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, np.ndarray]:
    """Least squares over all frames and points."""
    a, b = theirs - theirs.mean((0, 1)), ours - ours.mean((0, 1))
    scale = float((a * b).sum() / max(float((a * a).sum()), 1e-9))
    return scale, ours.mean((0, 1)) - scale * theirs.mean((0, 1))


def _following(ours: np.ndarray, theirs: np.ndarray, valid: np.ndarray) -> Framing:
    """A map a frame, those of frames without a face interpolated, smoothed over time."""
    centres = theirs.mean(1)
    maps = np.ones((len(theirs), 3))
    for index in np.flatnonzero(valid):
        scale, shift = _one_map(ours[index : index + 1], theirs[index : index + 1])
        maps[index] = scale, *(scale * centres[index] + shift)
    smooth = boxes.steady(maps, valid=valid)
    steady = boxes.steady(centres, valid=valid)
    return Framing(smooth[:, 0], smooth[:, 1:] - smooth[:, :1] * steady, "following")


def _repeat(scale: float, shift: np.ndarray, frames: int, kind: Kind) -> Framing:
    return Framing(np.full(frames, scale), np.tile(shift, (frames, 1)), kind)
