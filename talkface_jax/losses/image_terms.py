"""Terms on generated images that render stages of several methods share.

They read the target from `batch["face"]` (bytes), images from the outputs, the perceptual network's
parameters from `frozen["vgg"]`. What several terms of an objective need is computed once.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax

from talkface_jax.errors import ConfigError
from talkface_jax.interop import weights
from talkface_jax.losses import adversarial, perceptual, pixel
from talkface_jax.models.blocks import unit
from talkface_jax.models.frozen.vgg import VGG16, VGG19, VggConfig
from talkface_jax.task import LossContext, PyTree

PerceptualNetwork = Literal["vgg19", "vgg16", "none"]
Judge = Callable[[LossContext, jax.Array], Any]
"""Discriminator features of images (b, h, w, 3) in [0, 1], given the rest of the context."""
VGGS: dict[str, VggConfig] = {"vgg16": VGG16, "vgg19": VGG19}


def target(context: LossContext) -> jax.Array:
    """The true image, in [0, 1]."""
    return context.once("target", lambda: unit(context.batch["face"]))


def frozen_vgg(network: PerceptualNetwork, *, vgg19_path: str) -> dict[str, PyTree]:
    """What `Task.frozen` returns for a perceptual network.

    Raises:
      WeightsError: its file is missing or altered.
    """
    if network == "none":
        return {}
    if network == "vgg16":
        return {"vgg": weights.load_vgg16()}
    return {"vgg": weights.load_vgg19(vgg19_path)}


def perceptual_features(
    network: PerceptualNetwork,
    *,
    depth: int,
    scales: int,
    halvings: int = 0,
    pixels: Literal["released", "imagenet"] = "imagenet",
) -> perceptual.PerceptualFeatures | None:
    """The perceptual features of a network; None where it is "none"."""
    if network == "none":
        return None
    return perceptual.PerceptualFeatures(
        network=VGGS[network], depth=depth, scales=scales, halvings=halvings, pixels=pixels
    )


def check_perceptual_size(
    size: int, *, depth: int, scales: int, halvings: int = 0, field: str = "net.size"
) -> None:
    """Refuses pictures that cannot be halved so often, or are too small then for the network.

    `field` is where the task's config says the size.

    Raises:
      ConfigError: by the names that the fields have in render stages.
    """
    times = halvings + scales - 1
    least = 2 ** (depth - 1)  # The network halves as often between its stages.
    if size % 2**times or size >> times < least:
        halved = "perceptual_halvings and perceptual_scales" if halvings else "perceptual_scales"
        raise ConfigError(
            f"config.task: {field} {size} cannot be halved {times} times, as {halved} say, to a "
            f"whole number of pixels of at least {least}, as perceptual_layers {depth} needs; give "
            "smaller ones"
        )


def pyramid(
    features: perceptual.PerceptualFeatures, context: LossContext, name: str
) -> perceptual.Pyramid:
    """Perceptual features of an output."""
    return context.once(
        f"vgg/{name}", lambda: features(context.frozen["vgg"], context.outputs[name])
    )


def target_pyramid(
    features: perceptual.PerceptualFeatures, context: LossContext
) -> perceptual.Pyramid:
    """Perceptual features of the true image."""
    return context.once("vgg/target", lambda: features(context.frozen["vgg"], target(context)))


def perceptual_term(
    features: perceptual.PerceptualFeatures, name: str = "image"
) -> Callable[[LossContext], jax.Array]:
    """`perceptual.perceptual` of an output and the true image."""

    def term(context: LossContext) -> jax.Array:
        return perceptual.perceptual(
            pyramid(features, context, name), target_pyramid(features, context)
        )

    return term


def style_term(features: perceptual.PerceptualFeatures) -> Callable[[LossContext], jax.Array]:
    """`perceptual.style` of the image and the true one."""

    def term(context: LossContext) -> jax.Array:
        return perceptual.style(
            pyramid(features, context, "image"), target_pyramid(features, context)
        )

    return term


def l1_term(name: str = "image") -> Callable[[LossContext], jax.Array]:
    """Mean absolute difference of an output and the true image."""

    def term(context: LossContext) -> jax.Array:
        return pixel.l1(context.outputs[name], target(context))

    return term


def judge_plain(context: LossContext, image: jax.Array) -> Any:
    """The player "disc" on images alone."""
    return context.apply["disc"](image)


def _judged(judge: Judge, context: LossContext) -> tuple[Any, Any]:
    """Discriminator features of the image and of the true one."""
    fake = context.once("disc/fake", lambda: judge(context, context.outputs["image"]))
    real = context.once("disc/real", lambda: judge(context, target(context)))
    return fake, real


def fool_term(
    judge: Judge = judge_plain,
    loss: Callable[[adversarial.Features], jax.Array] = adversarial.lsgan_generator,
) -> Callable[[LossContext], jax.Array]:
    """The generator's side, by default of least squares."""

    def term(context: LossContext) -> jax.Array:
        return loss(_judged(judge, context)[0])

    return term


def matching_term(judge: Judge = judge_plain) -> Callable[[LossContext], jax.Array]:
    """Feature matching on the discriminator."""

    def term(context: LossContext) -> jax.Array:
        return adversarial.feature_matching(*_judged(judge, context))

    return term


def judge_term(
    judge: Judge = judge_plain,
    loss: Callable[..., jax.Array] = adversarial.lsgan_discriminator,
) -> Callable[[LossContext], jax.Array]:
    """The discriminator's side, by default of least squares: `loss` is given real, then fake."""

    def term(context: LossContext) -> jax.Array:
        fake, real = _judged(judge, context)
        return loss(real, fake)

    return term
