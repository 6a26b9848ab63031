"""What stages that draw a face share: losses on the picture, metrics, and what these need of a
config."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from talkface_jax.errors import ConfigError
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.losses import image_terms, perceptual, pixel
from talkface_jax.losses.terms import LossTerm
from talkface_jax.methods.stages.portrait.config import PictureLosses
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
from talkface_jax.models.landmark_maps import mouth_and_eyes
from talkface_jax.task import Batch, LossContext, PyTree

SMALLEST_JUDGED = 8
"""Pixels of which three layers of stride 2 leave one."""
_LIPS = get_scheme("ibug68").groups["lips"]


def perceptual_network(config: PictureLosses) -> image_terms.PerceptualNetwork:
    """The network that the terms need; none where they have no weight."""
    return config.perceptual if config.perceptual_weight or config.mouth_weight else "none"


def discriminator(config: PictureLosses) -> MultiscaleDiscriminator:
    """Of pictures."""
    return MultiscaleDiscriminator(
        MultiscaleDiscriminatorConfig(channels=config.disc_channels, scales=config.disc_scales)
    )


def halved(images: jax.Array, times: int) -> jax.Array:
    """Images (b, h, w, c), half as high and wide so many times."""
    for _ in range(times):
        images = halve(images)
    return images


def picture_terms(config: PictureLosses, *, size: int) -> tuple[LossTerm, ...]:
    """L1 of the output `image`, more at mouth and eyes where it is asked for, and the perceptual
    terms of the whole and of the mouth; `size` is its height and width."""

    def l1(context: LossContext) -> jax.Array:
        image, target = context.outputs["image"], image_terms.target(context)
        if not config.region_weight:
            return pixel.l1(image, target)
        region = mouth_and_eyes(context.batch["points"], size=size)
        return pixel.weighted_l1(image, target, 1.0 + config.region_weight * region)

    first = LossTerm("l1", l1, config.l1_weight)
    features = image_terms.perceptual_features(
        perceptual_network(config),
        depth=config.perceptual_layers,
        scales=config.perceptual_scales,
        halvings=config.perceptual_halvings,
    )
    if features is None:
        return (first,)
    return (
        first,
        LossTerm("perceptual", image_terms.perceptual_term(features), config.perceptual_weight),
        LossTerm("mouth", _mouth_term(features), config.mouth_weight),
    )


def _closer(features: perceptual.PerceptualFeatures) -> perceptual.PerceptualFeatures:
    """Those of the close-up of the mouth: one scale, halved once less than the whole image."""
    return dataclasses.replace(features, scales=1, halvings=max(0, features.halvings - 1))


def _mouth_term(features: perceptual.PerceptualFeatures) -> Callable[[LossContext], jax.Array]:
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


def portrait_metrics(
    image: jax.Array,
    batch: Batch,
    frozen: Mapping[str, PyTree],
    *,
    network: image_terms.PerceptualNetwork,
) -> dict[str, Any]:
    """L1, over the picture and at mouth and eyes; what the identity as it is would score; PSNR;
    what a perceptual network, if there is one, sees at the mouth; LPIPS, if its network is there.

    Args:
      image: (b, h, w, 3) in [0, 1].
      batch: with face, identity and points.
      frozen: networks.
      network: which one is the perceptual one.
    """
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


def check_losses(config: PictureLosses, *, size: int, field: str = "net.size") -> None:
    """Looks whether pictures can be halved as often as losses and discriminator do.

    Args:
      config: the fields.
      size: height and width of the pictures.
      field: of the task's config that says so.

    Raises:
      ConfigError: they cannot, or a term has a weight but no network.
    """
    for weight in ("perceptual_weight", "mouth_weight"):
        if config.perceptual == "none" and getattr(config, weight):
            raise ConfigError(
                f"config.task: perceptual is none but {weight} is not 0; set it to 0.0 or name a "
                "network"
            )
    if perceptual_network(config) != "none":
        image_terms.check_perceptual_size(
            size,
            depth=config.perceptual_layers,
            scales=config.perceptual_scales,
            halvings=config.perceptual_halvings,
            field=field,
        )
    if config.mouth_weight:
        _check_close_up(config, size=size, field=field)
    if size % 2**config.disc_halvings:
        raise ConfigError(
            f"config.task: {field} {size} cannot be halved disc_halvings = "
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


def _check_close_up(config: PictureLosses, *, size: int, field: str) -> None:
    place, _, name = f"config.task.{field}".rpartition(".")
    if size % close_up.STEP:
        raise ConfigError(
            f"{place}: {name} {size} is no multiple of {close_up.STEP}, as the "
            "close-up of the mouth (mouth_weight) needs; give another size or set mouth_weight to "
            "0.0"
        )
    halvings = max(0, config.perceptual_halvings - 1)
    sides = close_up.window(size)
    least = 2 ** (config.perceptual_layers - 1)  # As for whole images.
    if any(side % 2**halvings or side >> halvings < least for side in sides):
        raise ConfigError(
            f"config.task: mouth_weight asks for a close-up of the mouth, {sides[1]}x{sides[0]} "
            f"pixels where {field} is {size}, which cannot be halved {halvings} times "
            f"(perceptual_halvings less one) to a whole number of pixels of at least {least}, as "
            f"perceptual_layers {config.perceptual_layers} needs; set mouth_weight to 0.0 or give "
            "smaller ones"
        )
