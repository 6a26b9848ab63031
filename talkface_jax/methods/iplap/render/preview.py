"""Pictures of the renderer."""

import numpy as np

from talkface_jax.methods import pictures
from talkface_jax.methods.base import as_bytes
from talkface_jax.task import Batch, Outputs, Previews


def render(outputs: Outputs, batch: Batch) -> Previews:
    """A row per item: masked input, sketch, first reference, warped references, image, target."""
    middle = batch["sketch"].shape[1] // 2

    def cells(item: int) -> list[np.ndarray]:
        return [
            np.asarray(batch["masked"][item]),
            np.asarray(batch["sketch"][item, middle]),
            np.asarray(batch["ref_image"][item, 0]),
            as_bytes(outputs["warped"][item]),
            as_bytes(outputs["image"][item]),
            np.asarray(batch["face"][item]),
        ]

    return pictures.rows(len(batch["face"]), cells)
