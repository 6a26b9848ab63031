"""Config of the reader of emotions."""

import dataclasses

from talkface_jax.models.frozen.emotion import EmotionConfig
from talkface_jax.ranges import AT_LEAST_0, DROPOUT, SHARE, ranged


@dataclasses.dataclass(frozen=True)
class FaceNoiseConfig:
    """How the blendshapes of training samples are disturbed; everything 0 leaves them as they are.

    Attributes:
      exchanged: share of the samples whose face at rest is exchanged for those of others (what a
        neutral clip of theirs shows on average): a dozen people become many.
      offset: deviation of what is added to each score throughout a sample: faces at rest differ by
        that much.
      gain: deviation of the logarithm of a factor on each score, throughout a sample.
      noise: deviation of what is added frame by frame.
      damped: share of the samples in which each score is drawn towards 0 with probability 1/4, as
        no tracker sees every movement on every face.
    """

    exchanged: float = ranged(0.7, SHARE)
    offset: float = ranged(0.02, AT_LEAST_0)
    gain: float = ranged(0.1, AT_LEAST_0)
    noise: float = ranged(0.01, AT_LEAST_0)
    damped: float = ranged(0.1, SHARE)


@dataclasses.dataclass(frozen=True)
class EmotionTaskConfig:
    """The reader.

    Attributes:
      net: network sizes.
      face: augmentation.
      neutral_weight: of neutral samples in both losses; half of the synthetic clips are neutral.
      smoothing: share of the target class that is spread over all classes, so that probabilities do
        not saturate.
      intensity_weight: of the squared error of the intensity.
    """

    net: EmotionConfig = dataclasses.field(default_factory=EmotionConfig)
    face: FaceNoiseConfig = dataclasses.field(default_factory=FaceNoiseConfig)
    neutral_weight: float = ranged(0.6, AT_LEAST_0)
    smoothing: float = ranged(0.05, DROPOUT)
    intensity_weight: float = ranged(3.0, AT_LEAST_0)
