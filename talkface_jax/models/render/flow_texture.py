"""One picture of a person moved by a flow and painted anew (Sinha et al., IJCAI 2022).

A motion branch sees how landmarks differ between the picture and the target, and the emotion; it
gives a flow and an occlusion map. A texture branch encodes the picture, moves its features by the
flow, takes away what is occluded and decodes the image:
  image = decode(occlusion * warp(encode(picture), flow)).
The paper states no sizes; those of the texture branch follow the first-order motion model's code
(Siarohin et al., NeurIPS 2019). For small networks, and ours: a flow by landmarks under the learned
one, painting on the warped picture, landmark maps for the decoder, and the folded stem.
"""

import dataclasses
from typing import Literal

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.models.blocks import (
    ResidualBlock,
    conv,
    double,
    fold,
    halve,
    instance_norm,
    like_params,
    unfold,
    widen,
)
from talkface_jax.models.landmark_maps import heatmaps, landmark_maps
from talkface_jax.models.render.point_flow import DEFAULT_FLOW, PointFlowConfig, point_flow
from talkface_jax.models.warp import warp
from talkface_jax.ranges import ABOVE_0, AT_LEAST_0, AT_LEAST_1, FINITE, Range, ranged

QUARTER = 4
"""Pixels of the crop for one of the flow and of the occlusion that the motion branch gives."""
RATE = 20.0
"""Of the share of the flow by landmarks to its parameter: Adam moves this one number as fast as it
needs."""
MULTIPLE = 8
"""Of which the crop's size must be a multiple: both branches halve it three times at most."""
_NEAR_ZERO = nn.initializers.normal(1e-3)


@dataclasses.dataclass(frozen=True)
class FlowTextureConfig:
    """Sizes of the network.

    Attributes:
      size: height and width of the crop, a multiple of `MULTIPLE`.
      channels: of the texture branch at full size; doubled at each of the two stages below.
      blocks: residual blocks at a quarter of the size.
      kernel: of the texture branch's first and last convolution. Unverified default.
      fold: pixels of a square of this side become channels before the texture branch's first
        convolution, and its last one unfolds them; 1 as published.
      paint: "absolute", the image by itself, as published; or "warped", a correction of the warped
        picture.
      guide: "none" as published; or "landmarks", maps of the target's landmarks for the decoder.
      flow: "learned", all of it by the motion branch, as published; or "landmarks", the motion
        branch corrects a flow by the landmarks, of which it takes a learned share, none at the
        start.
      kernels: of that flow.
      motion_channels: of the motion branch at a half of the size; twice as many at a quarter, four
        times at an eighth. Unverified default.
      sigma: deviation of a landmark's Gaussian, in pixels of the crop. Unverified default.
      step: pixels of the crop for one of the heatmaps. Unverified default.
      emotion_width: of the emotion embedding. Unverified default.
      face_emotion: whether the motion branch also sees the emotion that the picture shows; False as
        published, where it is neutral.
      occlusion_start: logit of the fresh network's occlusion map, everywhere; 1 is visible.
        Unverified default.
    """

    size: int = ranged(256, AT_LEAST_1)
    channels: int = ranged(64, AT_LEAST_1)
    blocks: int = ranged(6, AT_LEAST_0)
    kernel: int = ranged(7, Range(least=1, parity="odd"))
    fold: Literal[1, 2] = 1
    paint: Literal["absolute", "warped"] = "absolute"
    guide: Literal["none", "landmarks"] = "none"
    flow: Literal["learned", "landmarks"] = "learned"
    kernels: PointFlowConfig = DEFAULT_FLOW
    motion_channels: int = ranged(64, AT_LEAST_1)
    sigma: float = ranged(3.0, ABOVE_0)
    step: Literal[1, 2, 4] = 1
    emotion_width: int = ranged(64, AT_LEAST_1)
    face_emotion: bool = False
    occlusion_start: float = ranged(2.0, FINITE)


SMALL = FlowTextureConfig(
    channels=12,
    blocks=2,
    kernel=3,
    fold=2,
    paint="warped",
    guide="landmarks",
    flow="landmarks",
    motion_channels=8,
    sigma=6.0,
    step=4,
    face_emotion=True,
)
"""Trains on a CPU; the flow by landmarks does what the width cannot."""


@flax.struct.dataclass
class Moved:
    """image (b, h, w, 3) in [0, 1]; flow (b, h, w, 2) in pixels, x before y, of where each pixel
    lies in the picture; occlusion (b, h, w, 1), 1 where the picture shows it; float32."""

    image: jax.Array
    flow: jax.Array
    occlusion: jax.Array


class FlowTexture(nn.Module):
    """A picture and two sets of landmarks -> the picture with the target's, and how it came."""

    config: FlowTextureConfig = FlowTextureConfig()

    @nn.compact
    def __call__(
        self,
        identity: jax.Array,
        identity_points: jax.Array,
        points: jax.Array,
        emotion: jax.Array,
        face_emotion: jax.Array,
    ) -> Moved:
        """The rendered crop.

        Args:
          identity: the picture, (b, size, size, 3) in [0, 1].
          identity_points: (b, 68, 2) of scheme ibug68, [0, 1] over the crop.
          points: (b, 68, 2), those of the target.
          emotion: (b, 8), what the target shows, as in `models.motion.landmark_graph`.
          face_emotion: (b, 8), what the picture shows.
        """
        config = self.config
        identity = identity.astype(jnp.float32)
        given = [emotion, face_emotion] if config.face_emotion else [emotion]
        motion = MotionBranch(config, name="motion")
        flow, occlusion = motion(identity_points, points, jnp.concatenate(given, -1))
        texture = TextureBranch(config, name="texture")
        return Moved(
            image=texture(identity, flow, occlusion, points), flow=flow, occlusion=occlusion
        )


class MotionBranch(nn.Module):
    """The difference of heatmaps and the emotion -> flow and occlusion.

    Nothing is normalised on the way: how large the difference is says how far a point moves. Fresh,
    it moves nothing.
    """

    config: FlowTextureConfig

    @nn.compact
    def __call__(
        self, identity_points: jax.Array, points: jax.Array, emotion: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Landmarks (b, 68, 2) of picture and target, emotion (b, any) -> flow (b, h, w, 2) in
        pixels and occlusion (b, h, w, 1) in [0, 1], float32."""
        config, width = self.config, self.config.motion_channels
        size, sigma = config.size // config.step, config.sigma / config.step
        target, source = (
            heatmaps(places, size=size, sigma=sigma) for places in (points, identity_points)
        )
        x = like_params(self, target - source)
        if config.step == 1:
            x = nn.relu(conv(width, size=3, stride=2, name="half")(x))
        stride = 1 if config.step == QUARTER else 2
        quarter = nn.relu(conv(2 * width, size=3, stride=stride, name="quarter")(x))
        x = conv(4 * width, size=3, stride=2, name="eighth")(quarter)
        x = nn.relu(self._felt(x, like_params(self, emotion)))
        x = x + nn.relu(conv(4 * width, size=3, name="deep")(x))
        x = nn.relu(conv(2 * width, size=3, name="up")(jnp.concatenate([double(x), quarter], -1)))
        zero = nn.initializers.zeros
        flow = nn.Conv(2, (3, 3), kernel_init=zero, name="flow")(x)
        bias = nn.initializers.constant(config.occlusion_start)
        visible = nn.Conv(1, (3, 3), kernel_init=_NEAR_ZERO, bias_init=bias, name="occlusion")(x)
        flow, visible = (double(double(widen(map_))) for map_ in (flow, visible))
        flow = QUARTER * flow
        if config.flow == "landmarks":
            share = RATE * widen(self.param("share", zero, ()))
            by_points = point_flow(points, identity_points, size=config.size, config=config.kernels)
            flow += share * by_points
        return _inside(flow), nn.sigmoid(visible)

    def _felt(self, x: jax.Array, emotion: jax.Array) -> jax.Array:
        """The bottleneck scaled and moved by the emotion (FiLM; Perez et al., AAAI 2018)."""
        width = self.config.emotion_width
        hidden = nn.relu(nn.Dense(width, name="emotion")(emotion))
        modulation = nn.Dense(2 * x.shape[-1], name="film")(hidden)[:, None, None]
        scale, offset = jnp.split(modulation, 2, -1)
        return x * (1 + scale) + offset


class TextureBranch(nn.Module):
    """Encodes a picture, moves its features and decodes them."""

    config: FlowTextureConfig

    def setup(self) -> None:
        """Two stages down, residual blocks, two stages up."""
        config, width = self.config, self.config.channels
        area, guided = config.fold**2, config.guide == "landmarks"
        warped = config.paint == "warped"
        self.stem = conv(width, size=config.kernel)
        self.down = [conv(width * 2**k, size=3, stride=2) for k in (1, 2)]
        self.fuse = conv(4 * width, size=3) if guided else None
        self.block = [ResidualBlock(4 * width) for _ in range(config.blocks)]
        # A convolution after the resize: a transposed one leaves a checkerboard.
        self.up = [conv(width * 2**k, size=3) for k in (1, 0)]
        self.colour = nn.Conv(
            3 * area,
            (config.kernel, config.kernel),
            kernel_init=_NEAR_ZERO if warped else nn.linear.default_kernel_init,
        )

    def __call__(
        self, identity: jax.Array, flow: jax.Array, occlusion: jax.Array, points: jax.Array
    ) -> jax.Array:
        """The picture (b, h, w, 3), the flow (b, h, w, 2) and the occlusion (b, h, w, 1) of
        `Moved`, the target's landmarks (b, 68, 2) -> the image (b, h, w, 3) in [0, 1]."""
        features = self.encode(identity)
        # Those that skip the middle are moved too, or they would show the picture unmoved.
        moved = [_moved(x, flow, occlusion) for x in features]
        painted = self.decode(moved, points)
        if self.config.paint == "absolute":
            return nn.sigmoid(painted)
        return jnp.clip(warp(identity, flow, grid="aligned") + painted, 0.0, 1.0)

    def encode(self, identity: jax.Array) -> list[jax.Array]:
        """Features of the picture, three scales, the largest first."""
        x = like_params(self, fold(2 * identity - 1, self.config.fold))
        features = [nn.relu(instance_norm(self.stem(x)))]
        for layer in self.down:
            features.append(nn.relu(instance_norm(layer(features[-1]))))
        return features

    def decode(self, features: list[jax.Array], points: jax.Array) -> jax.Array:
        """What `encode` gave, moved -> (b, h, w, 3), float32, unbounded."""
        x, skips = features[-1], features[:-1]
        if self.fuse is not None:
            guides = [like_params(self, guide) for guide in self._guides(points)]
            x = nn.relu(instance_norm(self.fuse(jnp.concatenate([x, guides[2]], -1))))
            skips = [jnp.concatenate(pair, -1) for pair in zip(skips, guides[:2], strict=True)]
        for block in self.block:
            x = block(x)
        for layer, skip in zip(self.up, reversed(skips), strict=True):
            x = nn.relu(instance_norm(layer(jnp.concatenate([double(x), skip], -1))))
        return widen(unfold(self.colour(x), self.config.fold))

    def _guides(self, points: jax.Array) -> list[jax.Array]:
        """Maps of the target's landmarks at the three scales."""
        fine = landmark_maps(points, size=self.config.size // self.config.fold)
        middle = halve(fine)
        return [fine, middle, halve(middle)]


def _inside(flow: jax.Array) -> jax.Array:
    """The flow (b, h, w, 2) so that it leads to no place outside the picture."""
    h, w = flow.shape[1:3]
    x, y = np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32)
    base = np.stack(np.broadcast_arrays(x[None], y[:, None]), -1)
    return jnp.clip(base + flow, 0.0, np.array([w - 1, h - 1], np.float32)) - base


def _moved(x: jax.Array, flow: jax.Array, occlusion: jax.Array) -> jax.Array:
    """Features (b, h/k, w/k, c) moved by a flow in pixels of (h, w), less what is occluded."""
    scale = 1
    while flow.shape[1] > x.shape[1]:
        flow, occlusion, scale = halve(flow), halve(occlusion), 2 * scale
    moved = warp(widen(x), flow / scale, grid="aligned") * occlusion
    return moved.astype(x.dtype)
