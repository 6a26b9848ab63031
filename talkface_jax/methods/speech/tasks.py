"""The trainable stage of the speech feature `ctc29`: characters from sound, by CTC."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.errors import ConfigError
from talkface_jax.features import alphabet
from talkface_jax.losses.ctc import ctc
from talkface_jax.losses.terms import LossTerm
from talkface_jax.methods.speech import previews
from talkface_jax.methods.speech.config import Ctc29Config
from talkface_jax.methods.speech.views import SpeechView
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
    Sample,
    Variables,
)


class Ctc29Task:
    """A convolutional recogniser: log-mel rows to the logits of 29 characters."""

    config_class: ClassVar[type] = Ctc29Config
    method = "speech"
    stage = "ctc29"
    generators = ("ctc",)

    def __init__(self, config: Ctc29Config):
        """Builds network, view and objective from the stage's config.

        Raises:
          ConfigError: another number of classes than the alphabet has.
        """
        if config.net.classes != alphabet.SIZE:
            raise ConfigError(
                f"config.task.net: classes is {config.net.classes}, but the alphabet has "
                f"{alphabet.SIZE} with the blank; set it to that"
            )
        self.config = config
        self.nets: Mapping[str, nn.Module] = {"ctc": CtcNetwork(config.net)}
        self.view = SpeechView(
            bands=config.net.bands, most_characters=config.most_characters, sound=config.sound
        )

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """CTC, a character's share."""

        def likelihood(context: LossContext) -> jax.Array:
            return ctc(context.outputs["logits"], context.batch["labels"], blank=alphabet.BLANK)

        return (Objective("ctc", (LossTerm("ctc", likelihood),)),)

    def init(self, rng: jax.Array, batch: Batch) -> dict[str, Variables]:
        """Fresh variables from a batch's shapes."""
        mel = batch["mel"]
        first = jnp.zeros((1, *mel.shape[1:]), mel.dtype)
        return {"ctc": self.nets["ctc"].init(rng, first)}

    def fitted(self, samples: Callable[[], Iterable[Sample]]) -> Mapping[str, Variables]:
        """None: everything is drawn."""
        del samples
        return {}

    def forward(
        self, variables: Mapping[str, Variables], batch: Batch, rng: jax.Array, *, train: bool
    ) -> tuple[Outputs, dict[str, PyTree]]:
        """logits (b, 250, 29)."""
        logits: Any = self.nets["ctc"].apply(
            variables["ctc"], batch["mel"], train=train, rngs={"dropout": rng}
        )
        return {"logits": logits}, {}

    def frozen(self) -> dict[str, PyTree]:
        """None."""
        return {}

    def metrics(self, outputs: Outputs, batch: Batch) -> dict[str, Any]:
        """Character error rate of the best path, and CTC's loss."""
        logits, labels, mask = outputs["logits"], batch["labels"], batch["mask"]
        blank = alphabet.BLANK
        return {
            "cer": character_error_rate(logits, labels, blank=blank, mask=mask),
            "ctc": Average.of(ctc(logits, labels, blank=blank), mask),
        }

    def previews(self, outputs: Outputs, batch: Batch) -> Previews:
        """Spectrograms with what was said and what was recognised."""
        return previews.recogniser(outputs, batch)
