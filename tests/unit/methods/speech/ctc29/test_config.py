import dataclasses

import pytest

from talkface_jax.errors import ConfigError
from talkface_jax.methods.speech.ctc29.config import Ctc29Config, SoundConfig
from talkface_jax.methods.speech.ctc29.task import Ctc29Task
from talkface_jax.models.frozen.ctc import CtcConfig


def test_classes_must_be_the_alphabet():
    with pytest.raises(ConfigError, match="classes"):
        Ctc29Task(Ctc29Config(net=CtcConfig(classes=5)))


def test_impossible_sizes_are_refused_by_name():
    message = r"^config\.task\.most_characters must be at least 1, not 0; give another "
    with pytest.raises(ConfigError, match=message + r"--config\.task\.most_characters$"):
        Ctc29Task(dataclasses.replace(Ctc29Config(), most_characters=0))


def test_noise_has_a_range():
    Ctc29Task(Ctc29Config(sound=SoundConfig(lowest_snr=9.0, highest_snr=9.0)))
    message = (
        r"^config\.task\.sound\.lowest_snr 9\.0 is above sound\.highest_snr 8\.5; give a lower "
    )
    with pytest.raises(ConfigError, match=message + r"--config\.task\.sound\.lowest_snr$"):
        Ctc29Task(Ctc29Config(sound=SoundConfig(lowest_snr=9.0, highest_snr=8.5)))
    with pytest.raises(
        ConfigError, match=r"sound\.lowest_snr must be finite, not nan; give another"
    ):
        Ctc29Task(Ctc29Config(sound=SoundConfig(lowest_snr=float("nan"))))
