"""IP-LAP's landmark generator: audio and pose to lip and jaw points by a transformer encoder.

Source: Zhong et al., CVPR 2023 (arXiv 2305.08293), section 3.2, and the released code. The residual
head and the dense encoders are ours, for small networks and small data.
"""

import dataclasses
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.models.blocks import EPSILON, ConvSpec, ConvStack, Dropout, mel_specs, sinusoid
from talkface_jax.models.geometry import apply_affine, fit_affine

_xavier_normal = nn.initializers.xavier_normal()


@dataclasses.dataclass(frozen=True)
class LandmarkTransformerConfig:
    """Sizes of the landmark generator; the defaults are the published network (13,724,394
    parameters).

    Attributes:
      width: token width.
      layers, heads, mlp: transformer encoder.
      dropout: on the tokens and on the output of both halves of a layer.
      inner_dropout: on attention weights and inside the feed-forward half.
      encoder: "conv" as published; "dense" are two-layer perceptrons, 10 times as fast on a CPU.
      mel_channels: the mel encoder's four widths before `width` ("conv" only).
      point_channels: the point encoders' seven widths before `width` ("conv" only).
      positions: position encoding of audio and pose tokens, "sinusoid" as published.
      head: "absolute" coordinates as published, or a "residual" from the mean reference mouth,
        affinely aligned to each frame by the pose points; its last layers start near zero, so
        training starts from a static mouth.
      residual_scale: factor of the residual.
      pose_features: what the network sees of the frame's pose: its "points" as published, or only
        the "affine" motion of the mean reference head (residual head only). Tracked upper-face
        points follow the mouth a little, so a network that sees them learns to read the mouth of
        the driving video instead of the sound.
      lips, jaw: predicted points.
    """

    width: int = 512
    layers: int = 4
    heads: int = 4
    mlp: int = 1024
    dropout: float = 0.1
    inner_dropout: float = 0.1
    encoder: Literal["conv", "dense"] = "conv"
    mel_channels: tuple[int, int, int, int] = (32, 64, 128, 256)
    point_channels: tuple[int, int, int, int, int, int, int] = (4, 8, 16, 32, 64, 128, 256)
    positions: Literal["sinusoid", "learned"] = "sinusoid"
    head: Literal["absolute", "residual"] = "absolute"
    residual_scale: float = 0.1
    pose_features: Literal["points", "affine"] = "points"
    lips: int = 40
    jaw: int = 17


SMALL = LandmarkTransformerConfig(
    width=128,
    layers=2,
    mlp=256,
    inner_dropout=0.0,
    encoder="dense",
    positions="learned",
    head="residual",
    pose_features="affine",
)
"""0.7 M parameters; learns lips from minutes of video in minutes on a CPU."""


def _point_specs(
    channels: tuple[int, ...], width: int, *, first_stride: int, last_residual: int, tail: bool
) -> tuple[ConvSpec, ...]:
    """1-D encoder of a point list: `first_stride` of the second stage, `last_residual` blocks in
    the last stage; `tail`: whether the closing 1x1 block adds its input."""
    specs = [ConvSpec(channels[0], (3,), (1,), 1)]
    for index, features in enumerate(channels[1:]):
        stride = first_stride if index == 0 else 2
        repeats = last_residual if index == len(channels) - 2 else 2
        specs.append(ConvSpec(features, (3,), (stride,), 1))
        specs += [ConvSpec(features, (3,), (1,), 1, True)] * repeats
    specs.append(ConvSpec(width, (3,), (1,), 0))
    return (*specs, ConvSpec(width, (1,), (1,), 0, tail, "tanh"))


class DenseMelEncoder(nn.Module):
    """(b, 80, 16) mel windows -> (b, width): two strided layers over time as matrix products."""

    width: int
    dropout: float

    @nn.compact
    def __call__(self, mel: jax.Array, *, train: bool) -> jax.Array:
        """Halved, in pairs of mel frames: windows of 4 frames, then of 3 such steps, then all."""
        x = jnp.swapaxes(mel, 1, 2).reshape(mel.shape[0], 8, 160) / 2
        x = nn.relu(nn.Dense(self.width, name="step_1")(jnp.concatenate([x[:, :-1], x[:, 1:]], -1)))
        x = jnp.concatenate([x[:, 0:5:2], x[:, 1:6:2], x[:, 2:7:2]], -1)
        x = nn.relu(nn.Dense(self.width, name="step_2")(x)).reshape(mel.shape[0], -1)
        x = Dropout(self.dropout)(x, train=train)
        return nn.Dense(self.width, name="out")(x)


class DensePointEncoder(nn.Module):
    """(…, features) -> (…, width) by one hidden layer of twice the width."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Embeds point coordinates that are already scaled to about 1."""
        return nn.Dense(self.width, name="out")(nn.relu(nn.Dense(2 * self.width, name="hidden")(x)))


class EncoderLayer(nn.Module):
    """Post-norm transformer encoder layer, ReLU feed-forward (torch.nn.TransformerEncoderLayer)."""

    config: LandmarkTransformerConfig

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """(b, tokens, width) -> the same shape."""
        config = self.config
        y = nn.MultiHeadDotProductAttention(
            config.heads,
            kernel_init=nn.initializers.xavier_uniform(),
            dropout_rate=config.inner_dropout,
            broadcast_dropout=False,
            deterministic=not train,
            name="attention",
        )(x, x, x)
        x = x + Dropout(config.dropout)(y, train=train)
        x = nn.LayerNorm(EPSILON, name="norm_1")(x)
        y = nn.relu(nn.Dense(config.mlp, kernel_init=_xavier_normal, name="mlp_in")(x))
        y = Dropout(config.inner_dropout)(y, train=train)
        y = nn.Dense(config.width, kernel_init=_xavier_normal, name="mlp_out")(y)
        x = x + Dropout(config.dropout)(y, train=train)
        return nn.LayerNorm(EPSILON, name="norm_2")(x)


class LandmarkTransformer(nn.Module):
    """Mel windows, pose points and reference landmarks to lip and jaw points."""

    config: LandmarkTransformerConfig = LandmarkTransformerConfig()

    @nn.compact
    def __call__(
        self,
        mel: jax.Array,
        pose: jax.Array,
        reference_pose: jax.Array,
        reference_content: jax.Array,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Predicts the content points of t consecutive frames.

        Args:
          mel: (b, t, 80, 16) log-mel windows of the frames.
          pose: (b, t, 74, 2) pose points of the frames, crop coordinates in [0, 1].
          reference_pose: (b, r, 74, 2) pose points of reference frames.
          reference_content: (b, r, 57, 2) their content points (17 jaw, 40 lips).
          train: dropout (rng "dropout") and batch statistics.

        Returns:
          (b, t, 57, 2) content points in crop coordinates.
        """
        config = self.config
        aligned = None
        if config.head == "residual":
            maps = fit_affine(reference_pose.mean(1), pose)
            aligned = (
                apply_affine(reference_pose.mean(1), maps),
                apply_affine(reference_content.mean(1), maps),
            )
            if config.pose_features == "affine":
                pose = aligned[0]
        references = jnp.concatenate([reference_pose, reference_content], 2)
        encode = self._conv_tokens if config.encoder == "conv" else self._dense_tokens
        tokens = encode(mel, pose, references, None if aligned is None else aligned[0], train)
        # One normalisation for the three kinds of token: what tells them apart is the modality row.
        normalise = nn.LayerNorm(EPSILON, name="token_norm")
        r, t = references.shape[1], pose.shape[1]
        x = self._fuse(*(normalise(token) for token in tokens), train=train)
        initial = _xavier_normal if aligned is None else nn.initializers.normal(0.01)
        lips = nn.Dense(2 * config.lips, kernel_init=initial, name="lips")(x[:, r : r + t])
        jaw = nn.Dense(2 * config.jaw, kernel_init=initial, name="jaw")(x[:, r + t :])
        points = jnp.concatenate([jaw, lips], -1).reshape(*pose.shape[:2], -1, 2)
        return points if aligned is None else aligned[1] + config.residual_scale * points

    def _conv_tokens(
        self,
        mel: jax.Array,
        pose: jax.Array,
        references: jax.Array,
        aligned: jax.Array | None,
        train: bool,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        config = self.config
        channels, width = config.point_channels, config.width
        specs = mel_specs(config.mel_channels, width, activation="tanh")

        def encode(x: jax.Array, specs: tuple[ConvSpec, ...], name: str) -> jax.Array:
            flat = x.reshape(-1, *x.shape[2:])
            return ConvStack(specs, name=name)(flat, train=train).reshape(*x.shape[:2], width)

        if aligned is not None:
            pose = jnp.concatenate([pose, 10 * (pose - aligned)], -1)
        reference_specs = _point_specs(channels, width, first_stride=2, last_residual=1, tail=False)
        pose_specs = _point_specs(channels, width, first_stride=1, last_residual=2, tail=True)
        return (
            encode(references, reference_specs, "reference_encoder"),
            encode(mel[..., None], specs, "mel_encoder"),
            encode(pose, pose_specs, "pose_encoder"),
        )

    def _dense_tokens(
        self,
        mel: jax.Array,
        pose: jax.Array,
        references: jax.Array,
        aligned: jax.Array | None,
        train: bool,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        width = self.config.width

        def flat(x: jax.Array) -> jax.Array:
            return x.reshape(*x.shape[:2], -1)

        # The factors bring coordinates and their small deviations to about unit size.
        mean = references.mean(1, keepdims=True)
        reference_features = jnp.concatenate(
            [4 * flat(references - 0.5), 20 * flat(references - mean)], -1
        )
        pose_features = 4 * flat(pose - 0.5)
        if aligned is not None:
            pose_features = jnp.concatenate([pose_features, 40 * flat(pose - aligned)], -1)
        windows = mel.reshape(-1, *mel.shape[2:])
        audio = DenseMelEncoder(width, self.config.dropout, name="mel_encoder")(
            windows, train=train
        )
        return (
            DensePointEncoder(width, name="reference_encoder")(reference_features),
            audio.reshape(*mel.shape[:2], width),
            DensePointEncoder(width, name="pose_encoder")(pose_features),
        )

    def _fuse(
        self, references: jax.Array, audio: jax.Array, pose: jax.Array, *, train: bool
    ) -> jax.Array:
        """Adds position and modality to the tokens and lets them attend to each other."""
        config, t = self.config, pose.shape[1]
        learned = config.positions == "learned"
        # Row 0 is padding in the released code; it is kept so that weights carry over.
        modality = self.param(
            "modality", nn.initializers.normal(0.5 if learned else 1.0), (4, config.width)
        )
        position = (
            self.param("positions", nn.initializers.normal(0.5), (t, config.width))
            if learned
            else jnp.asarray(sinusoid(t, config.width))
        )
        x = jnp.concatenate(
            [
                references + modality[3],
                audio + position + modality[2],
                pose + position + modality[1],
            ],
            1,
        )
        x = Dropout(config.dropout)(x, train=train)
        for index in range(config.layers):
            x = EncoderLayer(config, name=f"layer_{index}")(x, train=train)
        return x
