"""The render stage: attention and colour maps over a picture of the identity (Sinha et al., IJCNN
2020, section on texture generation)."""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.errors import ConfigError
from talkface_jax.losses import attention, image_terms, perceptual, pixel
from talkface_jax.losses.image_terms import unit
from talkface_jax.losses.terms import LossTerm
from talkface_jax.methods.sinha2020.config.render import RenderConfig
from talkface_jax.methods.sinha2020.previews import render as previews
from talkface_jax.methods.sinha2020.views.render import RenderView
from talkface_jax.metrics.base import Average
from talkface_jax.models.blocks import halve
from talkface_jax.models.discriminators import (
    MultiscaleDiscriminator,
    MultiscaleDiscriminatorConfig,
)
from talkface_jax.models.landmark_maps import landmark_maps, mouth_and_eyes
from talkface_jax.models.render.attention_texture import AttentionTexture
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

HIGH, LOW = 0.95, 0.05
"""An attention above or below these is called saturated."""
# Three layers of stride 2 leave one pixel of it.
_SMALLEST_JUDGED = 8


class RenderTask:
    """Attention-based texture with a conditional patch discriminator.

    Players: "renderer" and "disc".
    """

    config_class: ClassVar[type] = RenderConfig
    method = "sinha2020"
    stage = "render"
    generators = ("renderer",)

    def __init__(self, config: RenderConfig):
        """Builds networks, view and objectives from the stage's config.

        Raises:
          ConfigError: a perceptual weight without a perceptual network, a number out of its range,
            or a size that cannot be halved as often as the networks do.
        """
        _check(config)
        self.config = config
        disc = MultiscaleDiscriminatorConfig(
            channels=config.disc_channels, scales=config.disc_scales
        )
        self.nets: Mapping[str, nn.Module] = {
            "renderer": AttentionTexture(config.net),
            "disc": MultiscaleDiscriminator(disc),
        }
        self.view = RenderView(
            size=config.net.size,
            margin=config.margin,
            smooth=config.smooth,
            align=config.align,
            flip=config.flip,
            colour_jitter=config.colour_jitter,
            closed_share=config.closed_share,
        )

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """L1, perceptual and adversarial terms and the attention's regularisers; LSGAN."""
        config = self.config
        terms = (
            LossTerm("l1", self._l1, config.l1_weight),
            *self._perceptual_terms(),
            LossTerm("adversarial", image_terms.fool_term(self._judge), config.adversarial_weight),
            LossTerm("attention", _attention_mean, config.attention_weight),
            LossTerm("variation", _attention_variation, config.variation_weight),
        )
        judge = LossTerm("lsgan", image_terms.judge_term(self._judge))
        return (
            Objective("renderer", tuple(term for term in terms if term.weight)),
            Objective("disc", (judge,)),
        )

    def _l1(self, context: LossContext) -> jax.Array:
        image, target = context.outputs["image"], image_terms.target(context)
        if not self.config.region_weight:
            return pixel.l1(image, target)
        region = mouth_and_eyes(context.batch["points"], size=self.config.net.size)
        return pixel.weighted_l1(image, target, 1.0 + self.config.region_weight * region)

    def _perceptual_terms(self) -> tuple[LossTerm, ...]:
        config = self.config
        if config.perceptual == "none":
            return ()
        features = perceptual.PerceptualFeatures(
            network=image_terms.VGGS[config.perceptual],
            depth=config.perceptual_layers,
            scales=config.perceptual_scales,
            halvings=config.perceptual_halvings,
        )
        term = image_terms.perceptual_term(features)
        return (LossTerm("perceptual", term, config.perceptual_weight),)

    def _judge(self, context: LossContext, image: jax.Array) -> Any:
        """The discriminator on an image, given the identity and the target's landmark maps."""
        condition = context.once("condition", lambda: self._condition(context.batch))
        return context.apply["disc"](self._judged(image, condition))

    def _condition(self, batch: Batch) -> jax.Array:
        net = self.config.net
        maps = landmark_maps(batch["points"], size=net.size, width=net.line_width * net.fold)
        return jnp.concatenate([unit(batch["identity"]), maps], -1)

    def _judged(self, image: jax.Array, condition: jax.Array) -> jax.Array:
        both = jnp.concatenate([image, condition.astype(image.dtype)], -1)
        for _ in range(self.config.disc_halvings):
            both = halve(both)
        return both

    def init(self, rng: jax.Array, batch: Batch) -> dict[str, Variables]:
        """Fresh variables from a batch's shapes."""
        first = {name: jnp.zeros((1, *item.shape[1:]), item.dtype) for name, item in batch.items()}
        one, two = jax.random.split(rng)
        judged = self._judged(unit(first["face"]), self._condition(first))
        return {
            "renderer": self.nets["renderer"].init(one, *_inputs(first)),
            "disc": self.nets["disc"].init(two, judged),
        }

    def fitted(self, samples: Callable[[], Iterable[Sample]]) -> Mapping[str, Variables]:
        """None."""
        del samples
        return {}

    def forward(
        self, variables: Mapping[str, Variables], batch: Batch, rng: jax.Array, *, train: bool
    ) -> tuple[Outputs, dict[str, PyTree]]:
        """image and colour (b, h, w, 3) and attention (b, h, w, 1), all in [0, 1]."""
        del rng, train
        rendered: Any = self.nets["renderer"].apply(variables["renderer"], *_inputs(batch))
        outputs = {
            "image": rendered.image,
            "attention": rendered.attention,
            "colour": rendered.colour,
        }
        return outputs, {}

    def frozen(self) -> dict[str, PyTree]:
        """The perceptual network, if its term has a weight.

        Raises:
          WeightsError: its file is missing or altered.
        """
        network = self.config.perceptual if self.config.perceptual_weight else "none"
        return image_terms.frozen_vgg(network, vgg19_path=self.config.vgg19_path)

    def metrics(self, outputs: Outputs, batch: Batch) -> dict[str, Any]:
        """L1, over the image and at mouth and eyes; what the identity as it is would score; PSNR;
        the attention's mean, and the shares of it that are saturated."""
        target, mask = unit(batch["face"]), batch["mask"]
        error = outputs["image"] - target
        region = mouth_and_eyes(batch["points"], size=target.shape[1])
        mse = jnp.mean(jnp.square(error), axis=(1, 2, 3))
        share = outputs["attention"]
        identity = unit(batch["identity"])
        return {
            "l1": Average.of(jnp.abs(error), mask),
            "l1_moving": Average.of(pixel.weighted_l1(outputs["image"], target, region), mask),
            "l1_moving_identity": Average.of(pixel.weighted_l1(identity, target, region), mask),
            "psnr": Average.of(-10.0 * jnp.log10(mse + 1e-8), mask),
            "attention_mean": Average.of(share, mask),
            "attention_high": Average.of(share > HIGH, mask),
            "attention_low": Average.of(share < LOW, mask),
        }

    def previews(self, outputs: Outputs, batch: Batch) -> Previews:
        """Identity, landmark maps, colour map, attention map, image and target side by side."""
        return previews.render(outputs, batch)


def _check(config: RenderConfig) -> None:
    if config.perceptual == "none" and config.perceptual_weight:
        raise ConfigError(
            "config.task: perceptual is none but perceptual_weight is not 0; set it to 0.0 or name "
            "a network"
        )
    _check_ranges(config)
    if config.net.size % (4 * config.net.fold):
        raise ConfigError(
            f"config.task.net: size {config.net.size} is no multiple of {4 * config.net.fold}, as "
            f"two stages and fold {config.net.fold} need; give another size"
        )
    if config.net.kernel % 2 == 0:
        raise ConfigError(
            f"config.task.net.kernel must be odd, not {config.net.kernel}; give another"
        )
    judged = config.net.size >> (config.disc_halvings + config.disc_scales - 1)
    if judged < _SMALLEST_JUDGED:
        raise ConfigError(
            f"config.task: halved by disc_halvings {config.disc_halvings} and disc_scales "
            f"{config.disc_scales} the images are {judged} pixels wide, less than "
            f"{_SMALLEST_JUDGED}; give smaller ones"
        )
    start = config.net.attention_start
    if not 0 < start < 1:
        raise ConfigError(
            f"config.task.net: attention_start must lie between 0 and 1, not {start}; give another"
        )


def _check_ranges(config: RenderConfig) -> None:
    """Each number by itself."""
    net, most = config.net, math.inf
    ranges = {
        "net.size": (net.size, 1, most),
        "net.line_width": (net.line_width, 0.1, most),
        "smooth": (config.smooth, 0, most),
        "colour_jitter": (config.colour_jitter, 0, 1),
        "closed_share": (config.closed_share, 0, 1),
        "region_weight": (config.region_weight, 0, most),
        "perceptual_layers": (config.perceptual_layers, 1, 5),
        "perceptual_scales": (config.perceptual_scales, 1, most),
        "perceptual_halvings": (config.perceptual_halvings, 0, most),
        "disc_scales": (config.disc_scales, 1, most),
        "disc_halvings": (config.disc_halvings, 0, most),
    }
    for name, (value, low, high) in ranges.items():
        if not low <= value <= high:
            wanted = f"at least {low}" if high == most else f"from {low} to {high}"
            raise ConfigError(
                f"config.task.{name} must be {wanted}, not {value}; give another "
                f"--config.task.{name}"
            )


def _inputs(batch: Batch) -> tuple[jax.Array, ...]:
    return unit(batch["identity"]), batch["identity_points"], batch["points"]


def _attention_mean(context: LossContext) -> jax.Array:
    return attention.mean_attention(context.outputs["attention"])


def _attention_variation(context: LossContext) -> jax.Array:
    return attention.total_variation(context.outputs["attention"])
