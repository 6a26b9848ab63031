"""Pictures of the landmark generator."""

import numpy as np

from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.methods import pictures
from talkface_jax.methods.iplap.references import join
from talkface_jax.task import Batch, Outputs, Previews


def motion(outputs: Outputs, batch: Batch) -> Previews:
    """True faces in grey under predicted ones in red: middle frames as a grid, all as a video."""
    pose = np.asarray(batch["pose"])
    true, predicted = (join(pose, np.asarray(part["content"])) for part in (batch, outputs))
    edges = get_scheme("iplap131").edges
    return pictures.moving_faces(true, predicted, edges=edges, unit=pictures.SIZE, centre=0)
