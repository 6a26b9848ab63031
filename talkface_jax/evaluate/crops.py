"""Where images are compared: the face and the mouth of two videos, cut out alike."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from talkface_jax.evaluate import framing
from talkface_jax.evaluate.rows import Points
from talkface_jax.landmarks import boxes, schemes
from talkface_jax.metrics import image, landmark

FACE_SIZE = (256, 256)
MOUTH_SIZE = (96, 128)
FACE_MARGIN = 0.2
MOUTH_MARGIN = 0.6
_REGIONS = {"face": FACE_SIZE, "mouth": MOUTH_SIZE}
_LOOKS = 8
"""Frames by which the framing is chosen."""
_BATCH = 64
"""Frames whose crops are held at a time."""
CONVENTION = (
    f"face: box of the 131 points + {FACE_MARGIN:.0%}, resized to {FACE_SIZE[1]}x{FACE_SIZE[0]}; "
    f"mouth: box of the 40 lip points + {MOUTH_MARGIN:.0%}, resized to "
    f"{MOUTH_SIZE[1]}x{MOUTH_SIZE[0]}; boxes smoothed over time; {framing.CONVENTION}; every frame "
    "in which the truth shows a face counts"
)

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Maps two (n, h, w, 3) uint8 batches to n numbers."""


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
    """The boxes of both videos, and how the prediction's were found."""

    pred: Boxes
    truth: Boxes
    framing: framing.Framing


def true_boxes(side: Side) -> Boxes:
    """Boxes around the face and the mouth of the truth."""
    lips = schemes.get_scheme(landmark.SCHEME).groups["lips"]
    return Boxes(
        face=boxes.crop_boxes(side.points, valid=side.valid, margin=FACE_MARGIN),
        mouth=boxes.crop_boxes(side.points[:, lips], valid=side.valid, margin=MOUTH_MARGIN),
    )


def place(pred: Any, truth: Any, *, ours: Side, theirs: Side) -> Views:
    """The boxes of the same part of the scene in both videos.

    They are the truth's, which cost the prediction no tracker noise, moved to where its picture
    lies in the prediction's.

    Args:
      pred, truth: the videos.
      ours, theirs: their tracks, of as many frames; in at least one both show a face.
    """
    wanted = true_boxes(theirs)
    both = ours.valid & theirs.valid
    maps = framing.candidates(
        ours.points, theirs.points, valid=both, pred_size=ours.size, true_size=theirs.size
    )
    looks = np.flatnonzero(both)
    looks = looks[np.unique(np.linspace(0, len(looks) - 1, _LOOKS).round().astype(int))]
    errors = [_upper_error(pred, truth, wanted.face, item, looks) for item in maps]
    best = maps[int(np.argmin(errors))]
    return Views(Boxes(best.boxes(wanted.face), best.boxes(wanted.mouth)), wanted, best)


def _upper_error(
    pred: Any, truth: Any, faces: np.ndarray, found: framing.Framing, looks: np.ndarray
) -> float:
    """Mean absolute difference of the upper halves of the face crops."""
    from talkface_jax.media.images import crop_resize

    upper = np.array(faces, np.float64)
    upper[:, 3] = upper[:, [1, 3]].mean(1)
    moved = found.boxes(upper)
    size = (FACE_SIZE[0] // 2, FACE_SIZE[1])
    errors = []
    for index in looks:
        a = crop_resize(pred[int(index)], moved[index], size).astype(np.float32)
        b = crop_resize(truth[int(index)], upper[index], size).astype(np.float32)
        errors.append(np.abs(a - b).mean())
    return float(np.mean(errors))


def image_scores(
    pred: Any,
    truth: Any,
    views: Views,
    *,
    valid: Bool[np.ndarray, " t"],
    distance: Distance,
    whole: bool = False,
) -> Mapping[str, float]:
    """Means over the valid frames: PSNR and SSIM of face and mouth, LPIPS of the mouth.

    Args:
      pred, truth: videos, read one frame at a time.
      views: where to cut.
      valid: frames that count.
      distance: LPIPS of a batch.
      whole: whether LPIPS of the face is wanted too; it takes as long as all else.
    """
    values: dict[str, list[float]] = {}
    for some in np.array_split(np.flatnonzero(valid), max(1, round(valid.sum() / _BATCH))):
        ours, theirs = (
            {
                region: cut(video, getattr(side, region), some, size)
                for region, size in _REGIONS.items()
            }
            for video, side in ((pred, views.pred), (truth, views.truth))
        )
        for region in _REGIONS:
            pair = ours[region], theirs[region]
            values.setdefault(f"psnr_{region}", []).extend(image.psnr(*pair))
            values.setdefault(f"ssim_{region}", []).extend(image.ssim(*pair))
        for region in ("face", "mouth") if whole else ("mouth",):
            apart = distance(ours[region], theirs[region])
            values.setdefault(f"lpips_{region}", []).extend(apart)
    return {name: float(np.mean(items)) for name, items in values.items()}


def cut(
    video: Any, where: Float[np.ndarray, "t 4"], frames: Iterable[int], size: tuple[int, int]
) -> UInt8[np.ndarray, "k h w 3"]:
    """Crops of some frames."""
    from talkface_jax.media.images import crop_resize

    return np.stack([crop_resize(video[int(i)], where[i], size) for i in frames])
