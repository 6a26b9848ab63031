"""Config of the recogniser behind the speech feature `ctc29`."""

import dataclasses

from talkface_jax.models.frozen.ctc import CtcConfig
from talkface_jax.ranges import AT_LEAST_0, AT_LEAST_1, DROPOUT, FINITE, SHARE, ranged


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

    resample: float = ranged(0.1, DROPOUT)
    gain: float = ranged(6.0, AT_LEAST_0)
    noise: float = ranged(0.5, SHARE)
    lowest_snr: float = ranged(5.0, FINITE)
    highest_snr: float = ranged(30.0, FINITE)
    echo: float = ranged(0.2, SHARE)
    dull: float = ranged(0.15, SHARE)
    masks: int = ranged(1, AT_LEAST_0)
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
