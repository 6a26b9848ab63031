"""The trainable stage of the speech feature `ctc29`: characters from sound, by CTC."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import flax.linen as nn
import jax

from talkface_jax.errors import ConfigError
from talkface_jax.features import alphabet
from talkface_jax.losses.ctc import ctc
from talkface_jax.losses.terms import LossTerm
from talkface_jax.methods.base import StageTask, view_of
from talkface_jax.methods.speech.ctc29 import preview
from talkface_jax.methods.speech.ctc29.config import Ctc29Config
from talkface_jax.methods.speech.ctc29.view import SpeechView
from talkface_jax.metrics.base import Average
from talkface_jax.metrics.text import character_error_rate
from talkface_jax.models.frozen.ctc import CtcNetwork
from talkface_jax.task import (
    Batch,
    LossContext,
    Objective,
    Outputs,
    Previews,
    PyTree,
)


class Ctc29Task(StageTask):
    """A convolutional recogniser: log-mel rows to the logits of 29 characters."""

    config_class = Ctc29Config
    name = "speech/ctc29"
    generators = ("ctc",)
    entries = ("mel",)
    output = "logits"
    """logits (b, 250, 29)."""

    def check(self, config: Ctc29Config) -> None:
        """The network has a class for every character, and noise has a range.

        Raises:
          ConfigError: another number of classes than the alphabet has, or a range that is empty.
        """
        sound = config.sound
        if sound.lowest_snr > sound.highest_snr:
            raise ConfigError(
                f"config.task.sound.lowest_snr {sound.lowest_snr} is above sound.highest_snr "
                f"{sound.highest_snr}; give a lower --config.task.sound.lowest_snr"
            )
        if config.net.classes != alphabet.SIZE:
            raise ConfigError(
                f"config.task.net: classes is {config.net.classes}, but the alphabet has "
                f"{alphabet.SIZE} with the blank; set it to that"
            )

    def networks(self, config: Ctc29Config) -> Mapping[str, nn.Module]:
        """The recogniser."""
        return {"ctc": CtcNetwork(config.net)}

    @cached_property
    def view(self) -> SpeechView:
        """Whole segments with their text."""
        return view_of(SpeechView, self.config, bands=self.config.net.bands)

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """CTC, a character's share."""

        def likelihood(context: LossContext) -> jax.Array:
            return ctc(context.outputs["logits"], context.batch["labels"], blank=alphabet.BLANK)

        return (Objective(("ctc",), (LossTerm("ctc", likelihood),)),)

    def metrics(
        self, outputs: Outputs, batch: Batch, frozen: Mapping[str, PyTree]
    ) -> dict[str, Any]:
        """Character error rate of the best path, and CTC's loss."""
        del frozen
        logits, labels, mask = outputs["logits"], batch["labels"], batch["mask"]
        blank = alphabet.BLANK
        return {
            "cer": character_error_rate(logits, labels, blank=blank, mask=mask),
            "ctc": Average.of(ctc(logits, labels, blank=blank), mask),
        }

    def previews(self, outputs: Outputs, batch: Batch) -> Previews:
        """Spectrograms with what was said and what was recognised."""
        return preview.recogniser(outputs, batch)
