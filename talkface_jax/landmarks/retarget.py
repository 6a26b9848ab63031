"""Person-independent landmark motion, and its way back onto a person; no parameters.

Source: Sinha et al., IJCNN 2020, sections on the training target and on retargeting: the motion of
  a person's landmarks is taken relative to that person's neutral face and scaled by the size of a
  mean face over the person's, width and height apart; the inverse puts it onto another person.
  The exact form is unverified.
  Ours: head pose is undone by one affine camera a frame, fitted on nose, eye corners and temples:
  an affine map of the image plane, and a parallax in proportion to a point's depth. Without the
  latter the motion of the face's outline is mostly head turn.

The *canonical frame* is upright and centred on the mean face, x right and y down, its unit the mean
face's distance between the outer eye corners.
"""

import dataclasses
import functools
import importlib.resources

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from talkface_jax.landmarks import align, boxes
from talkface_jax.landmarks.references import nearest_valid, spread_of_mesh
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.records import Segment

REFERENCES = 15
"""Frames whose mean is the neutral face, spread over lip openness (`references.spread_of_mesh`)."""
_IBUG = get_scheme("ibug68")
_IPLAP = get_scheme("iplap131")
_EYE_CORNERS = (33, 133, 362, 263)
_BY_THE_EARS = (0, 1, 2, 3, 21, 22, 23, 24)
# Points of the head alone: speech, blinks and raised brows must not move the face as a whole.
_RIGID = np.array(
    [
        *_IPLAP.indices[_IPLAP.groups["nose"]],
        *_EYE_CORNERS,
        *_IPLAP.indices[_IPLAP.groups["oval"]][list(_BY_THE_EARS)],
    ]
)


@functools.cache
def mean_mesh() -> Float64[np.ndarray, "478 2"]:
    """The mean face in the canonical frame.

    Mean of the generalised Procrustes analysis of the neutral meshes of the made-up training
    speakers and of their mirror images, so exactly symmetric about x = 0; centroid of the 68 points
    at the origin.
    """
    asset = importlib.resources.files("talkface_jax.assets").joinpath("mean_face_mesh478.npz")
    with asset.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        mesh = stored["points"].astype(np.float64)
    mesh.flags.writeable = False
    return mesh


MEAN_FACE: Float64[np.ndarray, "68 2"] = mean_mesh()[_IBUG.indices]
"""The mean face's points of ibug68, in the canonical frame."""
MEAN_FACE.flags.writeable = False


@dataclasses.dataclass(frozen=True, eq=False)
class Normalised:
    """A tracked face in person-independent terms.

    Rows of frames without a face are those of the nearest frame with one.

    Attributes:
      neutral: the person's own neutral points of ibug68 in the canonical frame.
      depth: their depth, away from the viewer, in the unit of the canonical frame; the mean of the
        points that the cameras are fitted on is 0.
      maps: per frame the affine map from the canonical frame to the coordinates of the track.
      parallax: per frame the shift of a point of depth 1, in the coordinates of the track.
      scale: width and height of the mean face over those of the neutral one.
      offsets: displacements from neutral times `scale`.
    """

    neutral: Float64[np.ndarray, "68 2"]
    depth: Float64[np.ndarray, " 68"]
    maps: Float64[np.ndarray, "t 3 2"]
    parallax: Float64[np.ndarray, "t 2"]
    scale: Float64[np.ndarray, "2"]
    offsets: Float64[np.ndarray, "t 68 2"]

    def at(self, frames: Int[np.ndarray, " m"]) -> "Normalised":
        """The same person in the m frames of those numbers."""
        return dataclasses.replace(
            self,
            maps=self.maps[frames],
            parallax=self.parallax[frames],
            offsets=self.offsets[frames],
        )


def normalise(
    mesh: Float[np.ndarray, "t 478 3"],
    *,
    valid: Bool[np.ndarray, " t"],
    references: Int[np.ndarray, " r"],
) -> Normalised:
    """Takes head pose and the person's proportions out of a track.

    Args:
      mesh: tracked points in an isotropic unit (source pixels).
      valid: False where there is no face.
      references: the frames, all valid, whose mean is the neutral face.

    Raises:
      ValueError: no frame is valid, or there is no reference.
      numpy.linalg.LinAlgError: the points of a valid frame lie on one line, or all at one depth.
    """
    if not len(references):
        raise ValueError("no reference frame to take the neutral face from")
    points = np.asarray(mesh[nearest_valid(valid)], np.float64)
    still, depth = _still_head(points[references])
    maps, parallax = _fit_cameras(still, depth[_RIGID], points[:, _RIGID, :2])
    depth = depth[_IBUG.indices]
    aligned = _unmap(points[:, _IBUG.indices, :2] - _shifts(depth, parallax), maps)
    neutral = aligned[references].mean(0)
    scale = np.ptp(MEAN_FACE, 0) / np.ptp(neutral, 0)
    return Normalised(neutral, depth, maps, parallax, scale, (aligned - neutral) * scale)


def normalise_segment(segment: Segment, *, reference_count: int = REFERENCES) -> Normalised:
    """`normalise` of a record, in source pixels; the neutral face from so many of its frames.

    Raises:
      ValueError: no frame shows a face.
    """
    mesh = boxes.from_box(segment.landmarks, segment.box)
    chosen = spread_of_mesh(mesh, valid=segment.valid, count=reference_count)
    return normalise(mesh, valid=segment.valid, references=chosen)


def retarget(
    offsets: Float[np.ndarray, "t 68 2"], normalised: Normalised
) -> Float64[np.ndarray, "t 68 2"]:
    """The motion on a person's face, in the coordinates of that person's track.

    `offsets` has one row for every frame of `normalised`; with those of `normalised` itself this is
    the inverse of `normalise`, with zeros the neutral face moved by the head alone.

    Raises:
      ValueError: `offsets` has another shape.
    """
    expected = (len(normalised.maps), *MEAN_FACE.shape)
    if offsets.shape != expected:
        raise ValueError(f"offsets must be of shape {expected}, not {offsets.shape}")
    moved = normalised.neutral + np.asarray(offsets, np.float64) / normalised.scale
    mapped = align.apply_affine(moved, normalised.maps)
    return mapped + _shifts(normalised.depth, normalised.parallax)


def mirror(offsets: Float[np.ndarray, "*b 68 2"]) -> Float[np.ndarray, "*b 68 2"]:
    """The motion of the mirrored face: x changes its sign, the sides their places."""
    mirrored = offsets[..., _IBUG.flip, :].copy()
    mirrored[..., 0] *= -1
    return mirrored


def _still_head(
    references: Float64[np.ndarray, "r 478 3"],
) -> tuple[Float64[np.ndarray, "p 2"], Float64[np.ndarray, " 478"]]:
    """The mean of the rigid points in the canonical frame, and the depth of all points there."""
    mean, goal = align.procrustes(references[:, _RIGID, :2]).mean, mean_mesh()[_RIGID]
    still = align.apply_affine(mean, align.fit_similarity(mean, goal))
    maps = align.fit_similarity(references[:, _RIGID, :2], still)
    sizes = np.sqrt(np.linalg.det(maps[:, :2]))
    depths = references[..., 2] - references[:, _RIGID, 2].mean(1, keepdims=True)
    return still, (depths * sizes[:, None]).mean(0)


def _fit_cameras(
    still: Float64[np.ndarray, "n 2"],
    depth: Float64[np.ndarray, " n"],
    seen: Float64[np.ndarray, "t n 2"],
) -> tuple[Float64[np.ndarray, "t 3 2"], Float64[np.ndarray, "t 2"]]:
    """Affine maps and parallaxes that bring the still points nearest to those of each frame."""
    head = np.concatenate([still, depth[:, None], np.ones((len(still), 1))], -1)
    cameras = np.linalg.solve(head.T @ head, head.T @ seen)
    return cameras[:, [0, 1, 3]], cameras[:, 2]


def _shifts(
    depth: Float64[np.ndarray, " n"], parallax: Float64[np.ndarray, "t 2"]
) -> Float64[np.ndarray, "t n 2"]:
    """How far each point is moved for its depth."""
    return depth[:, None] * parallax[:, None]


def _unmap(points: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """The inverse of `align.apply_affine`."""
    return (points - maps[:, 2:]) @ np.linalg.inv(maps[:, :2])
