"""The convolutions of AlexNet as torchvision has them (Krizhevsky, arXiv:1404.5997), for LPIPS."""

import flax.linen as nn
import jax

from talkface_jax.models.blocks import like_params

_LAYERS = ((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))
"""Channels, window, stride and padding of each convolution."""
_POOLED = (1, 2)
"""Layers before which a pool of 3x3, stride 2, stands (counted from 0)."""


class AlexNet(nn.Module):
    """Five convolutions with ReLU; nothing after the fifth is computed."""

    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        """(b, h, w, 3), normalised as for VGG (`vgg.normalise`) -> "relu1" … "relu5"."""
        x = like_params(self, x)
        found: dict[str, jax.Array] = {}
        for index, (channels, window, stride, padding) in enumerate(_LAYERS):
            if index in _POOLED:
                x = nn.max_pool(x, (3, 3), (2, 2))
            conv = nn.Conv(
                channels,
                (window, window),
                (stride, stride),
                padding=padding,
                name=f"conv{index + 1}",
            )
            x = nn.relu(conv(x))
            found[f"relu{index + 1}"] = x
        return found
