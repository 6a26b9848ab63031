"""Config of the recogniser behind the speech feature `ctc29`."""

import dataclasses

from talkface_jax.models.frozen.ctc import CtcConfig
from talkface_jax.ranges import AT_LEAST_1, ranged


@dataclasses.dataclass(frozen=True)
class SoundConfig:
    """How the sound of training samples is disturbed; everything 0 leaves it as it is.

    Attributes:
      resample: the sound is played up to so much faster or slower.
      gain: deviation of its level, in dB.
      noise: share of the samples with noise (white, pink, hum, or babble of the sound itself).
      lowest_snr, highest_snr: of the noise, in dB.
      echo: share of the samples with reverberation.
      dull: share of the samples behind a low-pass filter.
      masks: stretches of time, and as many of mel bands, that are hidden (SpecAugment, Park et al.,
        Interspeech 2019).
      noisy_evaluation: whether evaluation samples get noise and echo, too, by fixed draws.
    """

    resample: float = 0.1
    gain: float = 6.0
    noise: float = 0.5
    lowest_snr: float = 5.0
    highest_snr: float = 30.0
    echo: float = 0.2
    dull: float = 0.15
    masks: int = 1
    noisy_evaluation: bool = False


@dataclasses.dataclass(frozen=True)
class Ctc29Config:
    """The recogniser.

    Attributes:
      net: network sizes.
      sound: augmentation.
      most_characters: of a segment's text; a longer one is an error.
    """

    net: CtcConfig = dataclasses.field(default_factory=CtcConfig)
    sound: SoundConfig = dataclasses.field(default_factory=SoundConfig)
    most_characters: int = ranged(96, AT_LEAST_1)
