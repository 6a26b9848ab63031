"""Pictures of the motion stage."""

import numpy as np

from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.methods.pictures import SIZE, moving_faces
from talkface_jax.task import Batch, Outputs, Previews

# A face is about 1.7 units high; this leaves it a border.
_UNIT = SIZE / 2.2


def motion(outputs: Outputs, batch: Batch) -> Previews:
    """True motion in grey under the predicted one in red, both on the face that they start from:
    middle frames as a grid, all as a video."""
    face = np.asarray(batch["face"])[:, None]
    true, predicted = (face + np.asarray(part["offsets"]) for part in (batch, outputs))
    edges = get_scheme("ibug68").edges
    return moving_faces(true, predicted, edges=edges, unit=_UNIT, centre=SIZE / 2)
