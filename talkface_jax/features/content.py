"""Speech-content features: what is said, with little of who says it, 50 rows a second.

Each is a frozen speech-recognition network behind one interface. Row i of a recording begins at
sample 320 i of its 16 kHz sound; `content_windows` cuts the rows around each video frame.
"""

from collections.abc import Mapping
from typing import Literal, Protocol, get_args

import numpy as np
from jaxtyping import Float, Float32, Int

from talkface_jax.errors import ConfigError
from talkface_jax.records import FPS

RATE = 50
WINDOW_ROWS = 16
FeatureName = Literal["deepspeech", "whisper_tiny", "ctc29"]
SIZES: Mapping[str, int] = {"deepspeech": 29, "whisper_tiny": 384, "ctc29": 29}
"""Values in a row of each feature (f)."""


class ContentFeature(Protocol):
    """A speech-content feature; safe to call from several threads, and to pickle.

    Attributes:
      name, version: change with whatever changes the values.
      size: values in a row (f).
    """

    @property
    def name(self) -> str:
        """Which of `FeatureName`."""
        ...

    @property
    def version(self) -> int:
        """Of the code."""
        ...

    @property
    def size(self) -> int:
        """Values in a row."""
        ...

    def cache_key(self) -> str:
        """Name, version and a hash of the weights."""
        ...

    def __call__(self, samples: Float[np.ndarray, " s"]) -> Float32[np.ndarray, "m f"]:
        """Rows of 16 kHz mono samples in [-1, 1]: m = ceil(s / 320), row i begins at sample 320 i.

        Any length from one sample up; long recordings are computed in pieces.
        """
        ...


def open_feature(name: FeatureName, *, weights: str = "") -> ContentFeature:
    """A feature by name, its network loaded.

    Args:
      name: "whisper_tiny" and "ctc29" come with packages; "deepspeech" needs `weights`.
      weights: the file with DeepSpeech's weights, see `interop.content_weights.load_deepspeech`.

    Raises:
      ConfigError: another name, or a weight file for a feature that takes none.
      WeightsError: missing, altered or incompatible weights.
    """
    if name not in get_args(FeatureName):
        raise ConfigError(
            f"there is no speech feature {name!r}; choose one of {', '.join(get_args(FeatureName))}"
        )
    if weights and name != "deepspeech":
        raise ConfigError(
            f"the speech feature {name!r} brings its own weights; leave {weights!r} out or choose"
            " 'deepspeech'"
        )
    if name == "deepspeech":
        from talkface_jax.features import deepspeech

        return deepspeech.load(weights)
    if name == "whisper_tiny":
        from talkface_jax.features import whisper

        return whisper.load()
    from talkface_jax.features import ctc29

    return ctc29.load()


def content_windows(
    rows: Float32[np.ndarray, "m f"],
    frames: Int[np.ndarray, " t"],
    *,
    first: int = 0,
    length: int = WINDOW_ROWS,
) -> Float32[np.ndarray, "t w f"]:
    """The rows centred on each 25 fps video frame, 16 (0.32 s) unless another number is given.

    Frame k lasts from row 2k to row 2k + 2, so its window of 16 is rows 2k - 7 to 2k + 8. Beyond
    either end of `rows` the end row is repeated.

    Args:
      rows: a feature of the clip or of a part of it.
      frames: indices of frames in the clip.
      first: number in the clip of the first row of `rows`.
      length: rows of a window (w), an even number.
    """
    middles = np.asarray(frames, np.int64) * RATE // FPS + 1
    numbers = middles[:, None] + np.arange(-length // 2, length // 2)
    return rows[np.clip(numbers - first, 0, len(rows) - 1)]
