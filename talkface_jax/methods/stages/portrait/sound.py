"""What a motion stage hears of a segment: windows of speech-content features, for training."""

import functools

import numpy as np
from jaxtyping import Float32, Int

from talkface_jax.data import transforms
from talkface_jax.data.dataset import SegmentReader
from talkface_jax.features import content
from talkface_jax.records import SAMPLES_PER_FRAME, Segment

_HOP = SAMPLES_PER_FRAME * 25 // content.RATE


@functools.cache
def _feature(name: str, weights: str) -> content.ContentFeature:
    """Opened once in every process; views carry the name only, for they are pickled."""
    return content.open_feature(name, weights=weights)  # type: ignore[arg-type]


def _rows(segment: Segment, feature: content.ContentFeature) -> tuple[np.ndarray, np.ndarray]:
    """Feature rows of a segment with its context; the clip's numbers of the first row, and of the
    segment's first frame."""
    sound, first = transforms.segment_sound(segment, hop=_HOP)
    return feature(sound), np.array([first, segment.start], np.int64)


def heard(
    segment: SegmentReader,
    frames: Int[np.ndarray, " t"],
    *,
    feature: str,
    weights: str,
    length: int,
) -> Float32[np.ndarray, "t length f"]:
    """The feature rows around frames of a segment, kept in its cache or on disk.

    Args:
      segment: the segment.
      frames: counted from its first one.
      feature, weights: as in `features.content.open_feature`.
      length: rows of a window.

    Raises:
      WeightsError: the feature's weights are missing or altered.
    """
    opened = _feature(feature, weights)
    rows, place = segment.stored(
        f"content-{opened.cache_key()}", lambda segment: _rows(segment, opened)
    )
    first, origin = place.tolist()
    return content.content_windows(rows, origin + frames, first=first, length=length)
