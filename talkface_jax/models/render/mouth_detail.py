"""The small renderer: references warped by landmarks alone, and a network that redraws the mouth.

Ours, not IP-LAP's. Of the published network the alignment is the dear part, and in minutes of
training it learns less than the landmarks know. Here the flow is `landmark_flow` with kernels that
are learned; what training buys goes into a U-Net over a window about the mouth.
"""

import dataclasses

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.models.blocks import conv, like_params, pixel_shuffle, widen
from talkface_jax.models.render.landmark_flow import LandmarkFlowConfig, landmark_flow
from talkface_jax.models.warp import Grid, sampling_grid, warp_by_grid

_SCHEME = get_scheme("iplap131")
_LIPS = _SCHEME.groups["lips"]
_INNER = _SCHEME.groups["lips_inner"]
_RATE = 10.0
"""Of a kernel's logarithm to its parameter: Adam moves these few as fast as they need."""
_TAPER = 4
"""Pixels over which the window's drawing fades into the warped face around it."""
_NEAR_ZERO = nn.initializers.normal(1e-3)
PICKS = 2
"""References that are shown singly: the nearest mouth, and the most open one."""


@flax.struct.dataclass
class MouthReferences:
    """images (b, r, h, w, 3): the references as they are; constant over a clip."""

    images: jax.Array


@flax.struct.dataclass
class MouthAligned:
    """The references moved onto the target.

    image (b, h, w, 3): their weighted mean; singles (b, h, w, 6): the `PICKS` ones; flow
    (b, r, h, w, 2) in pixels, x before y; weight (b, r, h, w, 1) in [0, 1]; points (b, 131, 2): the
    target's, which place the window.
    """

    image: jax.Array
    singles: jax.Array
    flow: jax.Array
    weight: jax.Array
    points: jax.Array


def window_start(points: jax.Array, *, size: int, window: int) -> jax.Array:
    """First row and column (b, 2) of the window that is centred on the lips, within the crop.

    points: (b, 131, 2) in crop coordinates; size, window: of crop and window in pixels.
    """
    lips = points[:, _LIPS, ::-1]
    centre = (lips.min(1) + lips.max(1)) / 2
    start = jnp.round(centre * size - window / 2).astype(jnp.int32)
    return jnp.clip(start, 0, size - window)


def cut(x: jax.Array, start: jax.Array, window: int) -> jax.Array:
    """(b, h, w, c) -> (b, window, window, c), each row from its own `start` (b, 2)."""

    def one(plane: jax.Array, at: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(plane, (at[0], at[1], 0), (window, window, plane.shape[-1]))

    return jax.vmap(one)(x, start)


def put(x: jax.Array, start: jax.Array, size: int) -> jax.Array:
    """The inverse of `cut`, with zeros around: (b, window, window, c) -> (b, size, size, c)."""

    def one(plane: jax.Array, at: jax.Array) -> jax.Array:
        empty = jnp.zeros((size, size, plane.shape[-1]), plane.dtype)
        return jax.lax.dynamic_update_slice(empty, plane, (at[0], at[1], 0))

    return jax.vmap(one)(x, start)


def _fade(window: int) -> np.ndarray:
    edge = np.minimum(np.arange(window), np.arange(window)[::-1]) + 1
    ramp = np.minimum(edge / (_TAPER + 1), 1.0).astype(np.float32)
    return (ramp[:, None] * ramp[None, :])[..., None]


def _opening(points: jax.Array) -> jax.Array:
    """Mean height of the inner lips' outline, (…, 131, 2) -> (…); it orders frames of one face."""
    inner = points[..., _INNER, 1]
    return jnp.abs(inner - inner.mean(-1, keepdims=True)).mean(-1)


class LandmarkAlignment(nn.Module):
    """Warps the references by the landmark flow, whose kernels are learned.

    Attributes:
      size: height and width of the crop.
      grid: sampling convention.
      prior: the kernels to start from.
    """

    size: int
    grid: Grid
    prior: LandmarkFlowConfig

    @nn.compact
    def __call__(
        self, references: MouthReferences, points: jax.Array, reference_points: jax.Array
    ) -> MouthAligned:
        """Points (b, 131, 2) of the target and (b, r, 131, 2) of the references, in [0, 1]."""
        images = references.images
        names = [field.name for field in dataclasses.fields(LandmarkFlowConfig)]
        logs = widen(self.param("kernels", nn.initializers.zeros, (len(names),)))
        kernels = LandmarkFlowConfig(
            **{
                name: getattr(self.prior, name) * jnp.exp(_RATE * logs[k])
                for k, name in enumerate(names)
            }
        )
        prior = landmark_flow(points, reference_points, size=self.size, config=kernels)
        b, r, h, w, _ = images.shape
        positions = sampling_grid(prior.flow.reshape(b * r, h, w, 2), grid=self.grid)
        moved = warp_by_grid(images.reshape(b * r, h, w, 3), positions).reshape(images.shape)
        weight = nn.sigmoid(prior.logit)[:, :, None, None, None]
        mean = (moved * weight).sum(1) / weight.sum(1)
        picked = [prior.logit.argmax(1), _opening(reference_points).argmax(1)]
        singles = [
            jnp.take_along_axis(moved, pick[:, None, None, None, None], 1)[:, 0] for pick in picked
        ]
        return MouthAligned(
            image=mean,
            singles=jnp.concatenate(singles, -1),
            flow=prior.flow,
            weight=jnp.broadcast_to(weight, (b, r, h, w, 1)),
            points=points,
        )


class MouthTranslation(nn.Module):
    """Redraws a window about the mouth of the warped face: a U-Net that blends the references that
    it is shown and adds what none of them has.

    Attributes:
      window: side of the square that is drawn.
      channels: features at full size, twice as many at half; deep: at a quarter.
      audio_width: audio embedding.
    """

    window: int
    channels: int
    deep: int
    audio_width: int

    @nn.compact
    def __call__(
        self,
        masked_face: jax.Array,
        sketch: jax.Array,
        aligned: MouthAligned,
        mel: jax.Array,
    ) -> jax.Array:
        """masked_face (b, h, w, 3), sketch (b, h, w, any), mel (b, 80, 16) -> (b, h, w, 3) in
        [0, 1]."""
        size, half = masked_face.shape[1], masked_face.shape[1] // 2
        face = jnp.concatenate([masked_face[:, :half], aligned.image[:, half:]], 1)
        start = window_start(aligned.points, size=size, window=self.window)
        base, singles = (cut(x, start, self.window) for x in (face, aligned.singles))
        differences = singles - jnp.tile(base, (1, 1, 1, PICKS))
        given = [2 * base - 1, 2 * differences, cut(sketch, start, self.window)]
        x = like_params(self, jnp.concatenate(given, -1))
        drawn = widen(self._network(x, like_params(self, mel)))
        blends, added = jnp.split(drawn, [PICKS], -1)
        change = added + sum(
            blends[..., k : k + 1] * differences[..., 3 * k : 3 * k + 3] for k in range(PICKS)
        )
        return jnp.clip(face + put(change * _fade(self.window), start, size), 0.0, 1.0)

    def _network(self, x: jax.Array, mel: jax.Array) -> jax.Array:
        fine, middle, deep = self.channels, 2 * self.channels, self.deep

        def layer(x: jax.Array, features: int, name: str, stride: int = 1) -> jax.Array:
            return nn.leaky_relu(conv(features, size=3, stride=stride, name=name)(x), 0.2)

        first = layer(layer(x, fine, "fine_1"), fine, "fine_2")
        second = layer(layer(first, middle, "middle_1", 2), middle, "middle_2")
        x = layer(second, deep, "deep_1", 2)
        sound = nn.relu(nn.Dense(self.audio_width, name="audio")(mel.reshape(mel.shape[0], -1)))
        x = x + nn.Dense(deep, kernel_init=_NEAR_ZERO, name="sound")(sound)[:, None, None]
        x = layer(layer(x, deep, "deep_2"), 4 * middle, "up_1")
        x = jnp.concatenate([pixel_shuffle(x), second], -1)
        x = layer(layer(x, middle, "middle_3"), 4 * fine, "up_2")
        x = jnp.concatenate([pixel_shuffle(x), first], -1)
        x = layer(x, fine, "fine_3")
        return nn.Conv(PICKS + 3, (3, 3), 1, 1, kernel_init=_NEAR_ZERO, name="to_change")(x)
