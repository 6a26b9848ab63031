"""Config of IP-LAP's landmark generator (Zhong et al., CVPR 2023; arXiv 2305.08293)."""

import dataclasses

from talkface_jax.models.motion.landmark_transformer import LandmarkTransformerConfig
from talkface_jax.ranges import AT_LEAST_0, AT_LEAST_1, DROPOUT, MARGIN, SMOOTH, ranged


@dataclasses.dataclass(frozen=True)
class MotionConfig:
    """Landmark generator.

    Attributes:
      net: network sizes and output head.
      references: reference frames (section 3.2: 15).
      margin: crop margin relative to the tight box of the 131 points, the same in training and
        inference.
      smooth: deviation, in frames, of the smoothing of the crop box over time.
      velocity_weight: weight of the velocity term (released code: 1).
      flip, scale_jitter, shift_jitter, mel_noise: augmentation; zeros as published.
    """

    net: LandmarkTransformerConfig = dataclasses.field(default_factory=LandmarkTransformerConfig)
    references: int = ranged(15, AT_LEAST_1)
    margin: float = ranged(0.2, MARGIN)
    smooth: float = ranged(12.0, SMOOTH)
    velocity_weight: float = ranged(1.0, AT_LEAST_0)
    flip: bool = False
    scale_jitter: float = ranged(0.0, DROPOUT)
    shift_jitter: float = ranged(0.0, AT_LEAST_0)
    mel_noise: float = ranged(0.0, AT_LEAST_0)
