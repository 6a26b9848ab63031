"""Pictures of the motion stage."""

import numpy as np

from talkface_jax.landmarks.retarget import MEAN_FACE
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.methods.pictures import SIZE, moving_faces
from talkface_jax.task import Batch, Outputs, Previews

# The mean face is 1.7 units high; this leaves it a border.
_UNIT = SIZE / 2.1


def motion(outputs: Outputs, batch: Batch) -> Previews:
    """True motion in grey under the predicted one in red, both on the mean face: middle frames as a
    grid, all as a video."""
    true, predicted = (MEAN_FACE + np.asarray(part["offsets"]) for part in (batch, outputs))
    edges = get_scheme("ibug68").edges
    return moving_faces(true, predicted, edges=edges, unit=_UNIT, centre=SIZE / 2)
