"""Where images are compared: the face and the mouth of two videos, cut out alike."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from talkface_jax.evaluate.rows import Points
from talkface_jax.landmarks import boxes, schemes
from talkface_jax.metrics import image, landmark

FACE_SIZE = (256, 256)
MOUTH_SIZE = (96, 128)
FACE_MARGIN = 0.2
MOUTH_MARGIN = 0.6
STRIP_SIZE = (192, 160)
CONVENTION = (
    f"face: box of the 131 points + {FACE_MARGIN:.0%}, resized to {FACE_SIZE[1]}x{FACE_SIZE[0]}; "
    f"mouth: box of the 40 lip points + {MOUTH_MARGIN:.0%}, resized to "
    f"{MOUTH_SIZE[1]}x{MOUTH_SIZE[0]}; boxes smoothed over time; the truth's boxes cut both videos "
    "if these have one size, else each video's own; every frame in which both show a face counts"
)


class Side(NamedTuple):
    """What places a video's crops: filled points in pixels, frames with a face, frame size."""

    points: Points
    valid: Bool[np.ndarray, " t"]
    size: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Boxes:
    """Crop boxes of one video in its pixels."""

    face: Float[np.ndarray, "t 4"]
    mouth: Float[np.ndarray, "t 4"]


@dataclasses.dataclass(frozen=True)
class Views:
    """The boxes of both videos."""

    pred: Boxes
    truth: Boxes


def _boxes(side: Side) -> Boxes:
    lips = schemes.get_scheme(landmark.SCHEME).groups["lips"]
    return Boxes(
        face=boxes.crop_boxes(side.points, valid=side.valid, margin=FACE_MARGIN),
        mouth=boxes.crop_boxes(side.points[:, lips], valid=side.valid, margin=MOUTH_MARGIN),
    )


def place(*, pred: Side, truth: Side) -> Views:
    """The truth's boxes for both videos if their frames have one size, else each video's own.

    Boxes of the truth cost the prediction no tracker noise; videos of another size must bring their
    own.
    """
    true_boxes = _boxes(truth)
    return Views(true_boxes if pred.size == truth.size else _boxes(pred), true_boxes)


def image_scores(
    pred: Any, truth: Any, views: Views, *, valid: Bool[np.ndarray, " t"]
) -> Mapping[str, float]:
    """Mean PSNR and SSIM of face and mouth over the valid frames, read one at a time."""
    from talkface_jax.media.images import crop_resize

    values: dict[str, list[float]] = {}
    for index in np.flatnonzero(valid):
        ours, theirs = pred[int(index)], truth[int(index)]
        for region, size in (("face", FACE_SIZE), ("mouth", MOUTH_SIZE)):
            a = crop_resize(ours, getattr(views.pred, region)[index], size)
            b = crop_resize(theirs, getattr(views.truth, region)[index], size)
            values.setdefault(f"psnr_{region}", []).append(float(image.psnr(a, b)))
            values.setdefault(f"ssim_{region}", []).append(float(image.ssim(a, b)))
    return {name: float(np.mean(items)) for name, items in values.items()}


def strip_frames(
    pred: Any, truth: Any, views: Views, *, valid: Bool[np.ndarray, " t"], count: int
) -> UInt8[np.ndarray, "2 k h w 3"]:
    """Face crops of at most `count` evenly spaced valid frames: prediction first, truth second."""
    from talkface_jax.media.images import crop_resize

    found = np.flatnonzero(valid)
    picks = found[np.unique(np.linspace(0, len(found) - 1, count).round().astype(int))]
    return np.stack(
        [
            [crop_resize(video[int(i)], side.face[i], STRIP_SIZE) for i in picks]
            for video, side in ((pred, views.pred), (truth, views.truth))
        ]
    )
