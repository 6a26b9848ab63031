"""The motion of a head in space, apart from what its face does, and both put onto another face."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int


@dataclasses.dataclass(frozen=True)
class Similarity:
    """Maps x -> scale · rotation · x + shift, one for each of t frames."""

    scale: Float[np.ndarray, " t"]
    rotation: Float[np.ndarray, "t 3 3"]
    shift: Float[np.ndarray, "t 3"]

    def __call__(self, points: Float[np.ndarray, "#m n 3"]) -> Float[np.ndarray, "m n 3"]:
        """The points moved, frame by frame; one map serves any number of frames."""
        turned = points @ self.rotation.swapaxes(-1, -2)
        return self.scale[:, None, None] * turned + self.shift[:, None]

    def inverse(self) -> "Similarity":
        """The maps back."""
        back = self.rotation.swapaxes(-1, -2)
        shift = -(back @ self.shift[..., None])[..., 0] / self.scale[:, None]
        return Similarity(1 / self.scale, back, shift)


def fit_similarity(
    source: Float[np.ndarray, "#t n 3"], target: Float[np.ndarray, "t n 3"]
) -> Similarity:
    """The maps of least squared error from source to target (Umeyama, IEEE TPAMI 1991), without
    mirroring.

    Raises:
      ValueError: all source points are one.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    from_, to = source.mean(1, keepdims=True), target.mean(1, keepdims=True)
    spread = np.square(source - from_).sum((1, 2))
    if not np.all(spread > 0):
        raise ValueError("points that are all one have no pose")
    left, values, right = np.linalg.svd((target - to).swapaxes(1, 2) @ (source - from_))
    signs = np.ones_like(values)
    signs[:, 2] = np.sign(np.linalg.det(left @ right))
    rotation = (left * signs[:, None]) @ right
    scale = (values * signs).sum(1) / spread
    moved = scale[:, None] * (rotation @ from_.swapaxes(1, 2))[..., 0]
    return Similarity(scale, rotation, to[:, 0] - moved)


def transfer(
    picture: Float[np.ndarray, "n 3"],
    driver: Float[np.ndarray, "t n 3"],
    *,
    reference: int,
    rigid: Int[np.ndarray, " k"],
) -> Float[np.ndarray, "t n 3"]:
    """A picture's points with the motion that a driver's have from one of its frames on.

    In that frame the picture stays as it is: its own pose and expression are where the motion
    starts, so a face that smiles already does not smile twice. Head and face move apart: what the
    face does is taken off the driver's head, made as large as the picture's face, and put onto the
    picture's head, which turns as the driver's does.

    Args:
      picture: points of the picture.
      driver: the same points of the driver, frame by frame, in any unit; x, y and z alike.
      reference: the driver's frame that the picture corresponds to.
      rigid: which points follow the head alone.
    """
    start = np.asarray(driver, np.float64)[reference][None]
    turns = fit_similarity(start[:, rigid], driver[:, rigid])
    onto = fit_similarity(start[:, rigid], np.asarray(picture)[None, rigid])
    faces = turns.inverse()(driver) - start
    own = faces @ onto.rotation[0].T * onto.scale[0]
    there = onto.inverse()(np.asarray(picture, np.float64)[None] + own)
    return onto(turns(there))
