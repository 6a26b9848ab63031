"""Loss terms on the window about the lips, where the picture is hardest and looked at most."""

from collections.abc import Callable

import jax

from talkface_jax.losses import image_terms, perceptual, pixel
from talkface_jax.models.render.mouth_detail import cut, window_start
from talkface_jax.models.render.reference_warping import ReferenceWarpingConfig
from talkface_jax.task import Batch, LossContext

Cut = Callable[[Batch, jax.Array], jax.Array]
"""The window of images (b, h, w, 3), placed by the batch's points."""


def cutter(net: ReferenceWarpingConfig) -> Cut:
    """Cuts the window that the design "mouth" draws, (b, window, window, 3); of a smaller crop all
    of it."""
    side = min(net.window, net.size)

    def function(batch: Batch, image: jax.Array) -> jax.Array:
        points = batch["points"]
        middle = points[:, points.shape[1] // 2]
        return cut(image, window_start(middle, size=net.size, window=side), side)

    return function


def l1_term(window: Cut) -> Callable[[LossContext], jax.Array]:
    """Mean absolute difference of the image and the true one in the window."""

    def term(context: LossContext) -> jax.Array:
        return pixel.l1(*_windows(window, context))

    return term


def perceptual_term(
    features: perceptual.PerceptualFeatures, window: Cut
) -> Callable[[LossContext], jax.Array]:
    """`perceptual.perceptual` of the two windows."""

    def term(context: LossContext) -> jax.Array:
        params = context.frozen["vgg"]
        ours, theirs = (features(params, image) for image in _windows(window, context))
        return perceptual.perceptual(ours, theirs)

    return term


def _windows(window: Cut, context: LossContext) -> tuple[jax.Array, jax.Array]:
    def make() -> tuple[jax.Array, jax.Array]:
        images = (context.outputs["image"], image_terms.target(context))
        ours, theirs = (window(context.batch, image) for image in images)
        return ours, theirs

    return context.once("mouth", make)
