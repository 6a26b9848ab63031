"""Least-squares and hinge GAN losses, feature matching: multi-scale discriminators (pix2pixHD)."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.losses.terms import per_item_mean

Features = Sequence[Sequence[jax.Array]]
"""Per scale the features of every layer, the last being the map of scores."""


def _least_squares(judged: Features, target: float) -> jax.Array:
    return sum(
        (per_item_mean(jnp.square(scale[-1] - target)) for scale in judged), start=jnp.zeros(())
    )


def lsgan_generator(fake: Features) -> jax.Array:
    """Sum over scales of mean (score - 1)² -> (b,)."""
    return _least_squares(fake, 1.0)


def lsgan_discriminator(real: Features, fake: Features) -> jax.Array:
    """Half of [Σ mean (real - 1)² + Σ mean fake²] over scales -> (b,).

    `fake` comes from images that carry no gradient to the generator.
    """
    return 0.5 * (_least_squares(real, 1.0) + _least_squares(fake, 0.0))


def hinge_generator(fake: Features) -> jax.Array:
    """Sum over scales of -mean score -> (b,) (Lim & Ye, arXiv 1705.02894)."""
    return sum((-per_item_mean(scale[-1]) for scale in fake), start=jnp.zeros(()))


def hinge_discriminator(real: Features, fake: Features) -> jax.Array:
    """Σ over scales of mean max(0, 1 - real) + mean max(0, 1 + fake) -> (b,); `fake` as in
    `lsgan_discriminator`."""
    return sum(
        (
            per_item_mean(nn.relu(1 - theirs[-1])) + per_item_mean(nn.relu(1 + ours[-1]))
            for theirs, ours in zip(real, fake, strict=True)
        ),
        start=jnp.zeros(()),
    )


def feature_matching(fake: Features, real: Features) -> jax.Array:
    """Mean over scales of the sum over layers, scores left out, of mean |fake - real| -> (b,).

    The real features are a target: they get no gradient.
    """
    total = sum(
        (
            per_item_mean(jnp.abs(ours - jax.lax.stop_gradient(theirs)))
            for fake_scale, real_scale in zip(fake, real, strict=True)
            for ours, theirs in zip(fake_scale[:-1], real_scale[:-1], strict=True)
        ),
        start=jnp.zeros(()),
    )
    return total / len(fake)
