"""Config of the blink stage."""

import dataclasses

from talkface_jax.models.motion.blink_lstm import BlinkLstmConfig
from talkface_jax.ranges import ABOVE_0, AT_LEAST_0, AT_LEAST_1, Range, ranged

MIN_WINDOW = 26
"""Two of `losses.blink_features.PATCH`: patches and the longest smoothing must fit a window."""


@dataclasses.dataclass(frozen=True)
class BlinkConfig:
    """White noise to displacements of lids and brows, by the distribution of real ones.

    The weights multiply one MMD each, of what `losses.blink_features` takes from the windows.

    Attributes:
      net: network sizes.
      window: T, frames of the windows that are compared. Unverified default.
      references: frames whose mean is a person's neutral face. Unverified default.
      rounds: windows that are cut out of each generated track, so that tracks longer than one
        window are right too. Unverified default.
      bandwidths: widths of the MMD's Gaussian kernels in median distances. Unverified default.
      mmd_weight: of all MMD terms together; 0 removes them. Unverified default.
      position_weight: of when eyes are closed. Unverified default.
      interval_weight: of the lagged products. Unverified default.
      patch_weight: of how the closure rises and falls. Unverified default.
      count_weight: of how often eyes close and for how many frames. Unverified default.
      pause_weight: of stretches without a blink. Unverified default.
      shape_weight: of where the points are while eyes are closed. Unverified default.
      range_weight: of the squared excess over the range of the real displacements. Unverified
        default.
    """

    net: BlinkLstmConfig = dataclasses.field(default_factory=BlinkLstmConfig)
    window: int = ranged(75, Range(least=MIN_WINDOW))
    references: int = ranged(15, AT_LEAST_1)
    rounds: int = ranged(2, AT_LEAST_1)
    bandwidths: tuple[float, ...] = ranged((1.0, 5.0, 10.0, 20.0, 50.0), ABOVE_0)
    mmd_weight: float = ranged(1.0, AT_LEAST_0)
    position_weight: float = ranged(1.0, AT_LEAST_0)
    interval_weight: float = ranged(1.0, AT_LEAST_0)
    patch_weight: float = ranged(1.0, AT_LEAST_0)
    count_weight: float = ranged(1.0, AT_LEAST_0)
    pause_weight: float = ranged(1.0, AT_LEAST_0)
    shape_weight: float = ranged(1.0, AT_LEAST_0)
    range_weight: float = ranged(1.0, AT_LEAST_0)
