"""What stages share that paint a face over one picture of a person: losses, discriminator,
metrics."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.errors import ConfigError
from talkface_jax.interop import lpips_weights
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.losses import image_terms, perceptual, pixel
from talkface_jax.losses.terms import LossTerm, weighted
from talkface_jax.methods.base import Inputs, StageTask, inputs
from talkface_jax.methods.stages.portrait.config import PortraitConfig
from talkface_jax.metrics import lpips
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
from talkface_jax.task import Batch, LossContext, Objective, Outputs, PyTree, Variables

SMALLEST_JUDGED = 8
"""Pixels of which three layers of stride 2 leave one."""
_LIPS = get_scheme("ibug68").groups["lips"]


class PortraitTask(StageTask):
    """A network that paints the target's face, and a conditional patch discriminator.

    Players: "renderer", and "disc" where the adversarial term has a weight. A stage gives
    `renderer`, the network of its config's `net`; `outputs`, which fields of its result are
    outputs, `image` among them; and `regularisers`, terms of its own.
    """

    generators = ("renderer",)
    outputs: ClassVar[tuple[str, ...]]

    def renderer(self, config: Any) -> nn.Module:
        """The network."""
        raise NotImplementedError

    def regularisers(self) -> tuple[LossTerm, ...]:
        """None."""
        return ()

    def rendered(self, batch: Batch) -> Inputs:
        """What the network is given: the picture and both sets of landmarks."""
        return inputs(unit(batch["identity"]), batch["identity_points"], batch["points"])

    def line_width(self) -> float:
        """Deviation in pixels of the landmarks' lines that the discriminator is shown."""
        return 1.5

    def check(self, config: Any) -> None:
        """A perceptual weight needs a perceptual network, and sizes must be halved as often as the
        networks do.

        Raises:
          ConfigError: it is not so.
        """
        _check(config, size=config.net.size)

    def networks(self, config: Any) -> Mapping[str, nn.Module]:
        """Renderer and discriminator."""
        nets = {"renderer": self.renderer(config)}
        if config.adversarial_weight:
            disc = MultiscaleDiscriminatorConfig(
                channels=config.disc_channels, scales=config.disc_scales
            )
            nets["disc"] = MultiscaleDiscriminator(disc)
        return nets

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """L1, perceptual and adversarial terms and the regularisers; LSGAN."""
        config = self.config
        fool = image_terms.fool_term(self._judge)
        terms = (
            LossTerm("l1", self._l1, config.l1_weight),
            *self._perceptual_terms(),
            LossTerm("adversarial", fool, config.adversarial_weight),
            *self.regularisers(),
        )
        painting = Objective(("renderer",), weighted(*terms))
        if not config.adversarial_weight:
            return (painting,)
        judge = LossTerm("lsgan", image_terms.judge_term(self._judge))
        return (painting, Objective(("disc",), (judge,)))

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
            LossTerm("mouth", mouth_term(features), config.mouth_weight),
        )

    def _judge(self, context: LossContext, image: jax.Array) -> Any:
        """The discriminator on an image, given the identity and the target's landmark maps."""
        condition = context.once("condition", lambda: self._condition(context.batch))
        return context.apply["disc"](self._judged(image, condition))

    def _condition(self, batch: Batch) -> jax.Array:
        maps = landmark_maps(batch["points"], size=self.config.net.size, width=self.line_width())
        return jnp.concatenate([unit(batch["identity"]), maps], -1)

    def _judged(self, image: jax.Array, condition: jax.Array) -> jax.Array:
        both = jnp.concatenate([image, condition.astype(image.dtype)], -1)
        for _ in range(self.config.disc_halvings):
            both = halve(both)
        return both

    def inputs_of(self, batch: Batch) -> Mapping[str, Inputs]:
        """Those of the renderer; for the discriminator the true picture."""
        found = {"renderer": self.rendered(batch)}
        if "disc" in self.nets:
            found["disc"] = inputs(self._judged(unit(batch["face"]), self._condition(batch)))
        return found

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
        """The fields of the renderer's result that `outputs` names, (b, h, w, …)."""
        del frozen, rng, step, train
        made, stats = self.run("renderer", variables, self.rendered(batch))
        return {key: getattr(made, key) for key in self.outputs}, stats

    def frozen(self) -> dict[str, PyTree]:
        """The perceptual network, if its term has a weight, and that of LPIPS, if it is measured.

        Raises:
          WeightsError: a file is missing or altered.
        """
        network = _perceptual_network(self.config)
        found = image_terms.frozen_vgg(network, vgg19_path=self.config.vgg19_path)
        if self.config.measure_lpips:
            found["lpips"] = lpips_weights.load_lpips("alex")
        return found

    def metrics(
        self, outputs: Outputs, batch: Batch, frozen: Mapping[str, PyTree]
    ) -> dict[str, Any]:
        """L1, over the image and at mouth and eyes; what the identity as it is would score; PSNR;
        what a perceptual network, if there is one, sees at the mouth; LPIPS, if asked for."""
        return portrait_metrics(outputs["image"], batch, frozen, network=self.config.perceptual)


def portrait_metrics(
    image: jax.Array,
    batch: Batch,
    frozen: Mapping[str, PyTree],
    *,
    network: image_terms.PerceptualNetwork,
) -> dict[str, Any]:
    """What `PortraitTask.metrics` gives of an image (b, h, w, 3) in [0, 1]; `network` is the
    perceptual one."""
    target, mask = unit(batch["face"]), batch["mask"]
    region = mouth_and_eyes(batch["points"], size=target.shape[1])
    identity = unit(batch["identity"])
    found = {
        **pixel_errors(image, target, mask),
        "l1_moving": Average.of(pixel.weighted_l1(image, target, region), mask),
        "l1_moving_identity": Average.of(pixel.weighted_l1(identity, target, region), mask),
    }
    if "lpips" in frozen:
        layers = lpips.layer_distances(frozen["lpips"], image, target, net="alex")
        found["lpips"] = Average.of(layers.sum(0), mask)
    if "vgg" in frozen:
        found["mouth_perceptual"] = mouth_perceptual(
            image,
            target,
            batch["points"][:, _LIPS],
            mask,
            params=frozen["vgg"],
            network=image_terms.VGGS[network],
        )
    return found


def _perceptual_network(config: PortraitConfig) -> image_terms.PerceptualNetwork:
    """The network that the terms need; none where they have no weight."""
    return config.perceptual if config.perceptual_weight or config.mouth_weight else "none"


def _closer(features: perceptual.PerceptualFeatures) -> perceptual.PerceptualFeatures:
    """Those of the close-up of the mouth: one scale, halved once less than the whole image."""
    return dataclasses.replace(features, scales=1, halvings=max(0, features.halvings - 1))


def mouth_term(features: perceptual.PerceptualFeatures) -> Callable[[LossContext], jax.Array]:
    """The perceptual term once more, of a close-up of the mouth, halved once less."""
    close = _closer(features)

    def term(context: LossContext) -> jax.Array:
        """The perceptual distance of the mouths, as large in the sum as that of whole images."""
        ours, theirs = (
            close(context.frozen["vgg"], close_up.mouth(images, context.batch["points"]))
            for images in (context.outputs["image"], image_terms.target(context))
        )
        return perceptual.perceptual(ours, theirs)

    return term


def _check(config: PortraitConfig, *, size: int) -> None:
    for field in ("perceptual_weight", "mouth_weight"):
        if config.perceptual == "none" and getattr(config, field):
            raise ConfigError(
                f"config.task: perceptual is none but {field} is not 0; set it to 0.0 or name a "
                "network"
            )
    if _perceptual_network(config) != "none":
        image_terms.check_perceptual_size(
            size,
            depth=config.perceptual_layers,
            scales=config.perceptual_scales,
            halvings=config.perceptual_halvings,
        )
    if config.mouth_weight:
        check_close_up(config, size=size)
    if size % 2**config.disc_halvings:
        raise ConfigError(
            f"config.task: net.size {size} cannot be halved disc_halvings = "
            f"{config.disc_halvings} times to whole pixels; give a smaller "
            "--config.task.disc_halvings"
        )
    judged = size >> (config.disc_halvings + config.disc_scales - 1)
    if judged < SMALLEST_JUDGED:
        raise ConfigError(
            f"config.task: halved by disc_halvings {config.disc_halvings} and disc_scales "
            f"{config.disc_scales} the images are {judged} pixels wide, less than "
            f"{SMALLEST_JUDGED}; give smaller ones"
        )


def check_close_up(config: Any, *, size: int) -> None:
    """Looks whether pictures have a close-up of the mouth as the losses need it.

    Args:
      config: with the fields of `PortraitConfig` that say which features.
      size: height and width of the pictures.

    Raises:
      ConfigError: they have none.
    """
    if size % close_up.STEP:
        raise ConfigError(
            f"config.task.net: size {size} is no multiple of {close_up.STEP}, as the "
            "close-up of the mouth (mouth_weight) needs; give another size or set mouth_weight to "
            "0.0"
        )
    halvings = max(0, config.perceptual_halvings - 1)
    sides = close_up.window(size)
    least = 2 ** (config.perceptual_layers - 1)  # As for whole images.
    if any(side % 2**halvings or side >> halvings < least for side in sides):
        raise ConfigError(
            f"config.task: mouth_weight asks for a close-up of the mouth, {sides[1]}x{sides[0]} "
            f"pixels where net.size is {size}, which cannot be halved {halvings} times "
            f"(perceptual_halvings less one) to a whole number of pixels of at least {least}, as "
            f"perceptual_layers {config.perceptual_layers} needs; set mouth_weight to 0.0 or give "
            "smaller ones"
        )
