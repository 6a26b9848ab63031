"""The render stage: attention and colour maps over a picture of the identity (Sinha et al., IJCNN
2020, section on texture generation)."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import flax.linen as nn
import jax

from talkface_jax.errors import ConfigError
from talkface_jax.losses import attention, pixel
from talkface_jax.losses.terms import LossTerm
from talkface_jax.methods.base import view_of
from talkface_jax.methods.sinha2020.render import preview
from talkface_jax.methods.sinha2020.render.config import RenderConfig
from talkface_jax.methods.stages.portrait.task import PortraitTask
from talkface_jax.methods.stages.portrait.view import PortraitView
from talkface_jax.metrics.base import Average
from talkface_jax.models.render.attention_texture import AttentionTexture
from talkface_jax.task import Batch, LossContext, Outputs, Previews, PyTree

HIGH, LOW = 0.95, 0.05
"""An attention above or below these is called saturated."""


class RenderTask(PortraitTask):
    """Attention-based texture with a conditional patch discriminator.

    Outputs: image and colour (b, h, w, 3) and attention (b, h, w, 1), all in [0, 1].
    """

    config_class = RenderConfig
    name = "sinha2020/render"
    outputs = ("image", "attention", "colour")

    def check(self, config: RenderConfig) -> None:
        """As `PortraitTask.check`; the size must be a multiple of what the network halves.

        Raises:
          ConfigError: it is not so.
        """
        if config.net.size % (4 * config.net.fold):
            raise ConfigError(
                f"config.task.net: size {config.net.size} is no multiple of "
                f"{4 * config.net.fold}, as two stages and fold {config.net.fold} need; give "
                "another size"
            )
        super().check(config)

    def renderer(self, config: RenderConfig) -> nn.Module:
        """The attention texture."""
        return AttentionTexture(config.net)

    def line_width(self) -> float:
        """As the network sees them."""
        return self.config.net.line_width * self.config.net.fold

    def regularisers(self) -> tuple[LossTerm, ...]:
        """Mean and total variation of the attention."""
        return (
            LossTerm("attention", _attention_mean, self.config.attention_weight),
            LossTerm("variation", _attention_variation, self.config.variation_weight),
        )

    @cached_property
    def view(self) -> PortraitView:
        """Single frames with a picture of the identity."""
        return view_of(PortraitView, self.config, size=self.config.net.size, name=self.name)

    def metrics(
        self, outputs: Outputs, batch: Batch, frozen: Mapping[str, PyTree]
    ) -> dict[str, Any]:
        """As `PortraitTask.metrics`; the attention's mean, and the shares of it that are
        saturated."""
        share, mask = outputs["attention"], batch["mask"]
        return {
            **super().metrics(outputs, batch, frozen),
            "attention_mean": Average.of(share, mask),
            "attention_high": Average.of(share > HIGH, mask),
            "attention_low": Average.of(share < LOW, mask),
        }

    def previews(self, outputs: Outputs, batch: Batch) -> Previews:
        """Identity, landmark maps, colour map, attention map, image and target side by side."""
        return preview.render(outputs, batch)


def _attention_mean(context: LossContext) -> jax.Array:
    return attention.mean_attention(context.outputs["attention"])


def _attention_variation(context: LossContext) -> jax.Array:
    return pixel.total_variation(context.outputs["attention"])
