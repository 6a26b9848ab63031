"""Pictures of IP-LAP's stages for TensorBoard, made on the host."""

from typing import Any

import numpy as np

from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.media.wireframe import draw_wireframe
from talkface_jax.task import Batch, Outputs, Previews

SIZE = 192
SHOWN = 6
TRUE_COLOUR = (120, 120, 120)
PREDICTED_COLOUR = (220, 60, 40)


def _join(pose: np.ndarray, content: np.ndarray) -> np.ndarray:
    scheme = get_scheme("iplap131")
    points = np.zeros((len(scheme.indices), 2), np.float32)
    points[scheme.groups["pose"]] = pose
    points[scheme.groups["content"]] = content
    return points


def motion(outputs: Outputs, batch: Batch) -> Previews:
    """True faces in grey under predicted ones in red: middle frames as a grid, all as a video."""
    edges = get_scheme("iplap131").edges
    predicted, true = np.asarray(outputs["content"]), np.asarray(batch["content"])
    pose = np.asarray(batch["pose"])

    def frame(item: int, t: int) -> np.ndarray:
        canvas = np.full((SIZE, SIZE, 3), 255, np.uint8)
        for content, colour in ((true, TRUE_COLOUR), (predicted, PREDICTED_COLOUR)):
            points = _join(pose[item, t], content[item, t]) * SIZE
            draw_wireframe(canvas, points, edges, colour)
        return canvas

    count, middle = min(SHOWN, len(true)), true.shape[1] // 2
    grid = np.concatenate([frame(item, middle) for item in range(count)], 1)
    video = np.stack(
        [np.concatenate([frame(item, t) for item in range(count)], 1) for t in range(true.shape[1])]
    )
    return Previews(images={"landmarks": grid}, videos={"landmarks": video})


def render(outputs: Outputs, batch: Batch) -> Previews:
    """A row per item: masked input, sketch, first reference, warped references, image, target."""

    def as_bytes(image: Any) -> np.ndarray:
        return np.clip(np.asarray(image) * 255.0 + 0.5, 0, 255).astype(np.uint8)

    middle = batch["sketch"].shape[1] // 2
    rows = []
    for item in range(min(SHOWN, len(batch["face"]))):
        cells = [
            np.asarray(batch["masked"][item]),
            np.asarray(batch["sketch"][item, middle]),
            np.asarray(batch["ref_image"][item, 0]),
            as_bytes(outputs["warped"][item]),
            as_bytes(outputs["image"][item]),
            np.asarray(batch["face"][item]),
        ]
        rows.append(np.concatenate(cells, 1))
    return Previews(images={"faces": np.concatenate(rows, 0)})
