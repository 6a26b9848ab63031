"""The render stage: one picture moved by a flow and painted anew (Sinha et al., IJCAI 2022)."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.errors import ConfigError
from talkface_jax.losses import pixel
from talkface_jax.losses.terms import LossTerm
from talkface_jax.methods.base import Inputs, inputs, view_of
from talkface_jax.methods.sinha2022.render import preview
from talkface_jax.methods.sinha2022.render.config import RenderConfig
from talkface_jax.methods.sinha2022.render.view import RenderView
from talkface_jax.methods.stages.portrait.task import PortraitTask
from talkface_jax.metrics.base import Average
from talkface_jax.models.blocks import unit
from talkface_jax.models.render.flow_texture import MULTIPLE, FlowTexture
from talkface_jax.task import Batch, LossContext, Outputs, Previews, PyTree

OPEN = 0.5
"""What is above it in the occlusion map is called visible."""


class RenderTask(PortraitTask):
    """Motion branch and texture branch with a conditional patch discriminator.

    Outputs: image (b, h, w, 3) in [0, 1], flow (b, h, w, 2) in pixels, occlusion (b, h, w, 1).
    """

    config_class = RenderConfig
    name = "sinha2022/render"
    outputs = ("image", "flow", "occlusion")

    def check(self, config: RenderConfig) -> None:
        """As `PortraitTask.check`; the size must be a multiple of what the network halves.

        Raises:
          ConfigError: it is not so.
        """
        if config.net.size % MULTIPLE:
            raise ConfigError(
                f"config.task.net: size {config.net.size} is no multiple of {MULTIPLE}, as the "
                "stages of the two branches need; give another size"
            )
        super().check(config)

    def renderer(self, config: RenderConfig) -> nn.Module:
        """Both branches."""
        return FlowTexture(config.net)

    def rendered(self, batch: Batch) -> Inputs:
        """The picture, both sets of landmarks and both emotions."""
        return inputs(
            unit(batch["identity"]),
            *(batch[key] for key in ("identity_points", "points", "emotion", "face_emotion")),
        )

    def regularisers(self) -> tuple[LossTerm, ...]:
        """The flow's total variation."""
        return (LossTerm("variation", _flow_variation, self.config.variation_weight),)

    @cached_property
    def view(self) -> RenderView:
        """Single frames with a picture of the person, labelled."""
        return view_of(RenderView, self.config, size=self.config.net.size, name=self.name)

    def metrics(
        self, outputs: Outputs, batch: Batch, frozen: Mapping[str, PyTree]
    ) -> dict[str, Any]:
        """As `PortraitTask.metrics`; the mean of the occlusion map and the share of it that is
        visible, and the flow's mean length in pixels."""
        occlusion, mask = outputs["occlusion"], batch["mask"]
        length = jnp.linalg.norm(outputs["flow"], axis=-1)
        return {
            **super().metrics(outputs, batch, frozen),
            "occlusion_mean": Average.of(occlusion, mask),
            "occlusion_open": Average.of(occlusion > OPEN, mask),
            "flow_length": Average.of(length, mask),
        }

    def previews(self, outputs: Outputs, batch: Batch) -> Previews:
        """Picture, heatmaps, flow, occlusion, image and target side by side."""
        return preview.render(outputs, batch, sigma=self.config.net.sigma)


def _flow_variation(context: LossContext) -> jax.Array:
    return pixel.total_variation(context.outputs["flow"])
