"""Where a head and its eyes are turned, from what the tracker says of them."""

import numpy as np
from jaxtyping import Float

from talkface_jax.landmarks.blendshapes import POSITION

LOOK_DEGREES = 30.0
"""Degrees of eye rotation at a score of 1, as ARKit's rigs take them: a scale, no measurement."""
# Of each eye its sign: turned out is towards the picture's right for the pictured person's left.
_SIDES = {"Left": 1.0, "Right": -1.0}


def head_angles(head: Float[np.ndarray, "*t 4 4"]) -> Float[np.ndarray, "*t 3"]:
    """Yaw towards the picture's right, pitch up and roll anticlockwise, in degrees.

    Of head-to-camera transforms (x right, y up, z towards the viewer); the head is rolled, then
    pitched, then turned. Transforms of frames without a face may be all zero; they give 0.
    """
    from scipy.spatial.transform import Rotation

    matrices = np.array(head[..., :3, :3], np.float64).reshape(-1, 3, 3)
    matrices[~matrices.any((1, 2))] = np.eye(3)
    yaw, pitch, roll = Rotation.from_matrix(matrices).as_euler("YXZ", degrees=True).T
    return np.stack([yaw, -pitch, roll], -1).reshape(*head.shape[:-2], 3)


def eye_angles(scores: Float[np.ndarray, "*t 52"], side: str) -> Float[np.ndarray, "*t 2"]:
    """Yaw and pitch of the "Left" or "Right" eye in the head, in degrees, from the look scores."""

    def look(way: str) -> np.ndarray:
        return scores[..., POSITION[f"eyeLook{way}{side}"]].astype(np.float64)

    across = _SIDES[side] * (look("Out") - look("In"))
    return LOOK_DEGREES * np.stack([across, look("Up") - look("Down")], -1)


def gaze_angles(scores: Float[np.ndarray, "*t 52"]) -> Float[np.ndarray, "*t 2"]:
    """Yaw and pitch of both eyes in the head together, in degrees."""
    return np.mean([eye_angles(scores, side) for side in _SIDES], 0)
