"""The emotion that clips are labelled with, for what is trained with it."""

import numpy as np
from jaxtyping import Float32

from talkface_jax import emotions
from talkface_jax.data import remedy
from talkface_jax.data.dataset import Dataset, PreparedDataset
from talkface_jax.data.schema import NOT_INDEXED
from talkface_jax.errors import ConfigError
from talkface_jax.records import ClipInfo, Segment

_REMEDY = (
    "give emotion and level of every clip in its metadata.csv and prepare it again, or train on "
    "data that have them, as MEAD has"
)


def label_of(given: Segment | ClipInfo) -> Float32[np.ndarray, "8"]:
    """A clip's emotion as a vector (`emotions.of_label`).

    Raises:
      ConfigError: it has no label, by data set and clip.
    """
    info = given.info if isinstance(given, Segment) else given
    return _label(info.emotion, info.level, clip=f"{info.dataset}/{info.clip}")


def check_labels(dataset: Dataset) -> None:
    """Refuses data of which a clip has no label, by their indices, without reading a record.

    Raises:
      ConfigError: naming the data set and the first such clip, or an index that is older than the
        labels in it.
    """
    for meta in dataset.metas:
        if meta.emotion == NOT_INDEXED and isinstance(dataset, PreparedDataset):
            raise ConfigError(
                f"{dataset.directory} was prepared before emotions stood in the index; "
                f"{remedy.rebuild_indices(dataset.directory)}"
            )
        _label(meta.emotion, meta.level, clip=meta.clip, title=dataset.title)


def _label(emotion: int, level: int, *, clip: str, title: str = "") -> Float32[np.ndarray, "8"]:
    try:
        return emotions.of_label(emotion, level)
    except ValueError as error:
        name, _, clip = clip.partition("/")
        lacks = "level" if emotion >= 0 else "emotion"
        where = f" ({title})" if title else ""
        raise ConfigError(
            f"clip {clip} of data set {name}{where} has no {lacks}, which this stage is trained "
            f"with; {_REMEDY}"
        ) from error
