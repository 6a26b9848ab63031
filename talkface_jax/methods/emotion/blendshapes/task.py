"""The trainable stage of the reader of emotions: class and intensity from blendshapes."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.errors import ConfigError
from talkface_jax.features import emotion
from talkface_jax.losses.terms import LossTerm
from talkface_jax.methods.base import StageTask, view_of
from talkface_jax.methods.emotion.blendshapes import preview
from talkface_jax.methods.emotion.blendshapes.config import EmotionTaskConfig
from talkface_jax.methods.emotion.blendshapes.view import EmotionView
from talkface_jax.metrics.base import Average
from talkface_jax.metrics.emotion import ClassAccuracy
from talkface_jax.models.frozen.emotion import EmotionNetwork
from talkface_jax.records import EMOTIONS
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

# A score that hardly varies in the samples is not blown up.
_MIN_DEVIATION = 0.01


class EmotionTask(StageTask):
    """Statistics of blendshapes to class and intensity."""

    config_class = EmotionTaskConfig
    name = "emotion/blendshapes"
    generators = ("emotion",)
    entries = ("statistics",)

    def check(self, config: EmotionTaskConfig) -> None:
        """The network takes the statistics and has a class for every emotion.

        Raises:
          ConfigError: another number of features or classes.
        """
        for field, wanted in (("features", emotion.STATISTICS), ("classes", len(EMOTIONS))):
            if getattr(config.net, field) != wanted:
                raise ConfigError(
                    f"config.task.net: {field} is {getattr(config.net, field)}, but there are "
                    f"{wanted}; set it to that"
                )

    def networks(self, config: EmotionTaskConfig) -> Mapping[str, nn.Module]:
        """The reader."""
        return {"emotion": EmotionNetwork(config.net)}

    @cached_property
    def view(self) -> EmotionView:
        """Stretches of labelled segments."""
        return view_of(EmotionView, self.config)

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """Cross-entropy of the class and squared error of the intensity, neutral samples weighed
        down."""
        config = self.config

        def weights(context: LossContext) -> jax.Array:
            is_neutral = context.batch["emotion"] == emotion.NEUTRAL
            return jnp.where(is_neutral, config.neutral_weight, 1.0)

        def entropy(context: LossContext) -> jax.Array:
            loss = cross_entropy(
                context.outputs["logits"], context.batch["emotion"], smoothing=config.smoothing
            )
            return weights(context) * loss

        def intensity(context: LossContext) -> jax.Array:
            error = context.outputs["intensity"] - context.batch["intensity"]
            return weights(context) * jnp.square(error)

        terms = (
            LossTerm("cross_entropy", entropy),
            LossTerm("intensity", intensity, config.intensity_weight),
        )
        return (Objective(("emotion",), terms),)

    def fitted(self, samples: Callable[[], Iterable[Sample]]) -> Mapping[str, Variables]:
        """Mean and deviation of the statistics."""
        found = np.stack([sample["statistics"] for sample in samples()]).astype(np.float64)
        constants = {
            "mean": found.mean(0).astype(np.float32),
            "deviation": np.maximum(found.std(0), _MIN_DEVIATION).astype(np.float32),
        }
        return {"emotion": {"constants": constants}}

    def forward(
        self,
        variables: Mapping[str, Variables],
        frozen: Mapping[str, PyTree],
        batch: Batch,
        rng: jax.Array,
        *,
        step: jax.Array,
        train: bool,
    ) -> tuple[Outputs, dict[str, PyTree]]:
        """logits (b, 8) and intensity (b,)."""
        del frozen, step
        given = self.inputs_of(batch)["emotion"]
        (logits, intensity), stats = self.run("emotion", variables, given, rng=rng, train=train)
        return {"logits": logits, "intensity": intensity}, stats

    def metrics(
        self, outputs: Outputs, batch: Batch, frozen: Mapping[str, PyTree]
    ) -> dict[str, Any]:
        """Accuracy, every class alike; cross-entropy; error of the intensity, 0 of neutral."""
        del frozen
        logits, label, mask = outputs["logits"], batch["emotion"], batch["mask"]
        error = jnp.abs(outputs["intensity"] - batch["intensity"])
        return {
            "accuracy": ClassAccuracy.of(jnp.argmax(logits, -1), label, len(EMOTIONS), mask=mask),
            "cross_entropy": Average.of(cross_entropy(logits, label), mask),
            "intensity_error": Average.of(error, mask),
        }

    def previews(self, outputs: Outputs, batch: Batch) -> Previews:
        """Which emotion is taken for which."""
        return preview.reader(outputs, batch)


def cross_entropy(logits: jax.Array, label: jax.Array, *, smoothing: float = 0.0) -> jax.Array:
    """Cross-entropy of each item: (b, k) logits, (b,) classes -> (b,).

    `smoothing` is the share of the target that is spread over all classes (Szegedy et al., CVPR
    2016, section 7).
    """
    likely = jax.nn.log_softmax(logits)
    classes = logits.shape[-1]
    target = (1 - smoothing) * jax.nn.one_hot(label, classes) + smoothing / classes
    return -jnp.sum(target * likely, -1)
