"""The render stage: attention and colour maps over a picture of the identity (Sinha et al., IJCNN
2020, section on texture generation)."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.errors import ConfigError
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.losses import attention, image_terms, perceptual, pixel
from talkface_jax.losses.terms import LossTerm, weighted
from talkface_jax.methods.base import Inputs, StageTask, inputs, view_of
from talkface_jax.methods.sinha2020.render import preview
from talkface_jax.methods.sinha2020.render.config import RenderConfig
from talkface_jax.methods.stages.portrait.view import PortraitView
from talkface_jax.metrics.base import Average
from talkface_jax.metrics.perceptual import mouth_perceptual
from talkface_jax.metrics.pixel import pixel_errors
from talkface_jax.models import close_up
from talkface_jax.models.blocks import halve, unit
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
    Variables,
)

HIGH, LOW = 0.95, 0.05
"""An attention above or below these is called saturated."""
# Three layers of stride 2 leave one pixel of it.
_SMALLEST_JUDGED = 8
_LIPS = get_scheme("ibug68").groups["lips"]


class RenderTask(StageTask):
    """Attention-based texture with a conditional patch discriminator.

    Players: "renderer" and "disc".
    """

    config_class = RenderConfig
    name = "sinha2020/render"
    generators = ("renderer",)

    def check(self, config: RenderConfig) -> None:
        """A perceptual weight needs a perceptual network, and sizes must be halved as often as the
        networks do.

        Raises:
          ConfigError: it is not so.
        """
        _check(config)

    def networks(self, config: RenderConfig) -> Mapping[str, nn.Module]:
        """Renderer and discriminator."""
        disc = MultiscaleDiscriminatorConfig(
            channels=config.disc_channels, scales=config.disc_scales
        )
        return {
            "renderer": AttentionTexture(config.net),
            "disc": MultiscaleDiscriminator(disc),
        }

    @cached_property
    def view(self) -> PortraitView:
        """Single frames with a picture of the identity."""
        return view_of(
            PortraitView, self.config, size=self.config.net.size, name="sinha2020/render"
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
            Objective(("renderer",), weighted(*terms)),
            Objective(("disc",), (judge,)),
        )

    def _l1(self, context: LossContext) -> jax.Array:
        image, target = context.outputs["image"], image_terms.target(context)
        if not self.config.region_weight:
            return pixel.l1(image, target)
        region = mouth_and_eyes(context.batch["points"], size=self.config.net.size)
        return pixel.weighted_l1(image, target, 1.0 + self.config.region_weight * region)

    def _perceptual_terms(self) -> tuple[LossTerm, ...]:
        config = self.config
        features = image_terms.perceptual_features(
            _perceptual_network(config),
            depth=config.perceptual_layers,
            scales=config.perceptual_scales,
            halvings=config.perceptual_halvings,
        )
        if features is None:
            return ()
        return (
            LossTerm("perceptual", image_terms.perceptual_term(features), config.perceptual_weight),
            LossTerm("mouth", _mouth_term(features), config.mouth_weight),
        )

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

    def inputs_of(self, batch: Batch) -> Mapping[str, Inputs]:
        """The identity and both sets of landmarks; for the discriminator the true picture."""
        return {
            "renderer": self._rendered(batch),
            "disc": inputs(self._judged(unit(batch["face"]), self._condition(batch))),
        }

    @staticmethod
    def _rendered(batch: Batch) -> Inputs:
        return inputs(unit(batch["identity"]), batch["identity_points"], batch["points"])

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
        """image and colour (b, h, w, 3) and attention (b, h, w, 1), all in [0, 1]."""
        del frozen, rng, step, train
        rendered, stats = self.run("renderer", variables, self._rendered(batch))
        outputs = {key: getattr(rendered, key) for key in ("image", "attention", "colour")}
        return outputs, stats

    def frozen(self) -> dict[str, PyTree]:
        """The perceptual network, if its term has a weight.

        Raises:
          WeightsError: its file is missing or altered.
        """
        network = _perceptual_network(self.config)
        return image_terms.frozen_vgg(network, vgg19_path=self.config.vgg19_path)

    def metrics(
        self, outputs: Outputs, batch: Batch, frozen: Mapping[str, PyTree]
    ) -> dict[str, Any]:
        """L1, over the image and at mouth and eyes; what the identity as it is would score; PSNR;
        the attention's mean, and the shares of it that are saturated; what a perceptual network,
        if there is one, sees at the mouth."""
        target, mask = unit(batch["face"]), batch["mask"]
        region = mouth_and_eyes(batch["points"], size=target.shape[1])
        identity, share = unit(batch["identity"]), outputs["attention"]
        found = {
            **pixel_errors(outputs["image"], target, mask),
            "l1_moving": Average.of(pixel.weighted_l1(outputs["image"], target, region), mask),
            "l1_moving_identity": Average.of(pixel.weighted_l1(identity, target, region), mask),
            "attention_mean": Average.of(share, mask),
            "attention_high": Average.of(share > HIGH, mask),
            "attention_low": Average.of(share < LOW, mask),
        }
        if "vgg" in frozen:
            found["mouth_perceptual"] = mouth_perceptual(
                outputs["image"],
                target,
                batch["points"][:, _LIPS],
                mask,
                params=frozen["vgg"],
                network=image_terms.VGGS[self.config.perceptual],
            )
        return found

    def previews(self, outputs: Outputs, batch: Batch) -> Previews:
        """Identity, landmark maps, colour map, attention map, image and target side by side."""
        return preview.render(outputs, batch)


def _perceptual_network(config: RenderConfig) -> image_terms.PerceptualNetwork:
    """The network that the terms need; none where they have no weight."""
    return config.perceptual if config.perceptual_weight or config.mouth_weight else "none"


def _closer(features: perceptual.PerceptualFeatures) -> perceptual.PerceptualFeatures:
    """Those of the close-up of the mouth: one scale, halved once less than the whole image."""
    return dataclasses.replace(features, scales=1, halvings=max(0, features.halvings - 1))


def _mouth_term(features: perceptual.PerceptualFeatures) -> Callable[[LossContext], jax.Array]:
    close = _closer(features)

    def term(context: LossContext) -> jax.Array:
        """The perceptual distance of the mouths, as large in the sum as that of whole images."""
        ours, theirs = (
            close(context.frozen["vgg"], close_up.mouth(images, context.batch["points"]))
            for images in (context.outputs["image"], image_terms.target(context))
        )
        return perceptual.perceptual(ours, theirs)

    return term


def _check(config: RenderConfig) -> None:
    for field in ("perceptual_weight", "mouth_weight"):
        if config.perceptual == "none" and getattr(config, field):
            raise ConfigError(
                f"config.task: perceptual is none but {field} is not 0; set it to 0.0 or name a "
                "network"
            )
    if config.net.size % (4 * config.net.fold):
        raise ConfigError(
            f"config.task.net: size {config.net.size} is no multiple of {4 * config.net.fold}, as "
            f"two stages and fold {config.net.fold} need; give another size"
        )
    if _perceptual_network(config) != "none":
        image_terms.check_perceptual_size(
            config.net.size,
            depth=config.perceptual_layers,
            scales=config.perceptual_scales,
            halvings=config.perceptual_halvings,
        )
    if config.mouth_weight:
        _check_close_up(config)
    if config.net.size % 2**config.disc_halvings:
        raise ConfigError(
            f"config.task: net.size {config.net.size} cannot be halved disc_halvings = "
            f"{config.disc_halvings} times to whole pixels; give a smaller "
            "--config.task.disc_halvings"
        )
    judged = config.net.size >> (config.disc_halvings + config.disc_scales - 1)
    if judged < _SMALLEST_JUDGED:
        raise ConfigError(
            f"config.task: halved by disc_halvings {config.disc_halvings} and disc_scales "
            f"{config.disc_scales} the images are {judged} pixels wide, less than "
            f"{_SMALLEST_JUDGED}; give smaller ones"
        )


def _check_close_up(config: RenderConfig) -> None:
    if config.net.size % close_up.STEP:
        raise ConfigError(
            f"config.task.net: size {config.net.size} is no multiple of {close_up.STEP}, as the "
            "close-up of the mouth (mouth_weight) needs; give another size or set mouth_weight to "
            "0.0"
        )
    halvings = max(0, config.perceptual_halvings - 1)
    sides = close_up.window(config.net.size)
    least = 2 ** (config.perceptual_layers - 1)  # As for whole images.
    if any(side % 2**halvings or side >> halvings < least for side in sides):
        raise ConfigError(
            f"config.task: mouth_weight asks for a close-up of the mouth, {sides[1]}x{sides[0]} "
            f"pixels where net.size is {config.net.size}, which cannot be halved {halvings} times "
            f"(perceptual_halvings less one) to a whole number of pixels of at least {least}, as "
            f"perceptual_layers {config.perceptual_layers} needs; set mouth_weight to 0.0 or give "
            "smaller ones"
        )


def _attention_mean(context: LossContext) -> jax.Array:
    return attention.mean_attention(context.outputs["attention"])


def _attention_variation(context: LossContext) -> jax.Array:
    return attention.total_variation(context.outputs["attention"])
