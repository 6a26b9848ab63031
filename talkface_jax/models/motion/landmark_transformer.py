"""IP-LAP's landmark generator: audio and pose to lip and jaw points by a transformer encoder.

Source: Zhong et al., CVPR 2023 (arXiv 2305.08293), section 3.2, and the released code. The residual
head and the dense encoders are ours, for small networks and small data.
"""

import dataclasses
from typing import Any, Literal

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from talkface_jax.models.blocks import (
    EPSILON,
    ConvSpec,
    ConvStack,
    Dropout,
    like_params,
    mel_specs,
    sinusoid,
)
from talkface_jax.models.geometry import apply_affine, fit_affine
from talkface_jax.ranges import ABOVE_0, AT_LEAST_1, DROPOUT, Range, ranged

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
      window: frames of a window; "learned" positions have as many rows.
    """

    width: int = ranged(512, AT_LEAST_1)
    layers: int = ranged(4, AT_LEAST_1)
    heads: int = ranged(4, AT_LEAST_1)
    mlp: int = ranged(1024, AT_LEAST_1)
    dropout: float = ranged(0.1, DROPOUT)
    inner_dropout: float = ranged(0.1, DROPOUT)
    encoder: Literal["conv", "dense"] = "conv"
    mel_channels: tuple[int, int, int, int] = ranged((32, 64, 128, 256), AT_LEAST_1)
    point_channels: tuple[int, int, int, int, int, int, int] = ranged(
        (4, 8, 16, 32, 64, 128, 256), AT_LEAST_1
    )
    positions: Literal["sinusoid", "learned"] = "sinusoid"
    head: Literal["absolute", "residual"] = "absolute"
    residual_scale: float = ranged(0.1, ABOVE_0)
    pose_features: Literal["points", "affine"] = "points"
    lips: int = ranged(40, Range(least=40, most=40))
    jaw: int = ranged(17, Range(least=17, most=17))
    window: int = ranged(5, AT_LEAST_1)


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


def _weigh_values(equation: str, weights: jax.Array, values: jax.Array) -> jax.Array:
    """Attention's second product, in the number format of the values; its softmax is float32."""
    return jnp.einsum(equation, weights.astype(values.dtype), values)


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
            force_fp32_for_softmax=True,
            qk_attn_weights_einsum_cls=lambda: jnp.einsum,
            attn_weights_value_einsum_cls=lambda: _weigh_values,
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


@flax.struct.dataclass
class FrameTokens:
    """What the network knows of a frame by itself, whichever window it stands in.

    audio and pose: (…, width), before position and modality are added.
    """

    audio: jax.Array
    pose: jax.Array


class LandmarkTransformer(nn.Module):
    """Mel windows, pose points and reference landmarks to lip and jaw points.

    The whole is `__call__`. At inference its three steps run apart, for neighbouring windows share
    frames and all windows share the references: `encode_references` once a clip, `encode_frames`
    once a frame, `predict` once a window.
    """

    config: LandmarkTransformerConfig = LandmarkTransformerConfig()

    def setup(self) -> None:
        """Encoders, the transformer and both heads."""
        config = self.config
        channels, width = config.point_channels, config.width
        if config.encoder == "conv":
            specs = _point_specs(channels, width, first_stride=2, last_residual=1, tail=False)
            self.reference_encoder = ConvStack(specs)
            self.mel_encoder = ConvStack(mel_specs(config.mel_channels, width, activation="tanh"))
            specs = _point_specs(channels, width, first_stride=1, last_residual=2, tail=True)
            self.pose_encoder = ConvStack(specs)
        else:
            self.reference_encoder = DensePointEncoder(width)
            self.mel_encoder = DenseMelEncoder(width, config.dropout)
            self.pose_encoder = DensePointEncoder(width)
        # One normalisation for the three kinds of token: what tells them apart is the modality row.
        self.token_norm = nn.LayerNorm(EPSILON)
        learned = config.positions == "learned"
        # Row 0 is padding in the released code; it is kept so that weights carry over.
        self.modality = self.param(
            "modality", nn.initializers.normal(0.5 if learned else 1.0), (4, width)
        )
        if learned:
            shape = (config.window, width)
            self.positions = self.param("positions", nn.initializers.normal(0.5), shape)
        self.token_dropout = Dropout(config.dropout)
        for index in range(config.layers):
            setattr(self, f"layer_{index}", EncoderLayer(config))
        initial = _xavier_normal if config.head == "absolute" else nn.initializers.normal(0.01)
        self.lips = nn.Dense(2 * config.lips, kernel_init=initial)
        self.jaw = nn.Dense(2 * config.jaw, kernel_init=initial)

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
        references = self.encode_references(reference_pose, reference_content, train=train)
        frames = self.encode_frames(mel, pose, reference_pose, train=train)
        return self.predict(
            references, frames, pose, reference_pose, reference_content, train=train
        )

    def encode_references(
        self, reference_pose: jax.Array, reference_content: jax.Array, *, train: bool = False
    ) -> jax.Array:
        """(b, r, 74, 2) and (b, r, 57, 2) -> tokens (b, r, width)."""
        points = jnp.concatenate([reference_pose, reference_content], 2)
        if self.config.encoder == "conv":
            points = like_params(self, points)
            return self.token_norm(_each(self.reference_encoder, points, train=train))
        # The factors bring coordinates and their small deviations to about unit size.
        mean = points.mean(1, keepdims=True)
        features = jnp.concatenate([4 * _flat(points - 0.5), 20 * _flat(points - mean)], -1)
        return self.token_norm(_apply(self.reference_encoder, like_params(self, features)))

    def encode_frames(
        self, mel: jax.Array, pose: jax.Array, reference_pose: jax.Array, *, train: bool = False
    ) -> FrameTokens:
        """(b, t, 80, 16) and (b, t, 74, 2), with the references' pose (b, r, 74, 2), which only the
        residual head needs -> tokens (b, t, width)."""
        heard = like_params(self, self._mel_input(mel))
        audio = self.token_norm(_each(self.mel_encoder, heard, train=train))
        aligned = None
        if self.config.head == "residual":
            head = reference_pose.mean(1)
            aligned = apply_affine(head, fit_affine(head, pose))
            if self.config.pose_features == "affine":
                pose = aligned
        if self.config.encoder == "conv":
            if aligned is not None:
                pose = jnp.concatenate([pose, 10 * (pose - aligned)], -1)
            pose = like_params(self, pose)
            return FrameTokens(audio, self.token_norm(_each(self.pose_encoder, pose, train=train)))
        features = 4 * _flat(pose - 0.5)
        if aligned is not None:
            features = jnp.concatenate([features, 40 * _flat(pose - aligned)], -1)
        seen = _apply(self.pose_encoder, like_params(self, features))
        return FrameTokens(audio, self.token_norm(seen))

    def _mel_input(self, mel: jax.Array) -> jax.Array:
        return mel[..., None] if self.config.encoder == "conv" else mel

    def predict(
        self,
        references: jax.Array,
        frames: FrameTokens,
        pose: jax.Array,
        reference_pose: jax.Array,
        reference_content: jax.Array,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Content points (b, t, 57, 2) from the tokens; pose and references as in `__call__` are
        what a residual head starts from."""
        r, t = references.shape[1], pose.shape[1]
        x = self._fuse(references, frames, train=train)
        lips, jaw = self.lips(x[:, r : r + t]), self.jaw(x[:, r + t :])
        points = jnp.concatenate([jaw, lips], -1).reshape(*pose.shape[:2], -1, 2)
        points = points.astype(pose.dtype)
        if self.config.head == "absolute":
            return points
        maps = fit_affine(reference_pose.mean(1), pose)
        base = apply_affine(reference_content.mean(1), maps)
        return base + self.config.residual_scale * points

    def _fuse(self, references: jax.Array, frames: FrameTokens, *, train: bool) -> jax.Array:
        """Adds position and modality to the tokens and lets them attend to each other."""
        config, t, modality = self.config, frames.pose.shape[1], self.modality
        learned = config.positions == "learned"
        position = (
            self.positions if learned else like_params(self, jnp.asarray(sinusoid(t, config.width)))
        )
        x = jnp.concatenate(
            [
                references + modality[3],
                frames.audio + position + modality[2],
                frames.pose + position + modality[1],
            ],
            1,
        )
        x = self.token_dropout(x, train=train)
        for index in range(config.layers):
            x = getattr(self, f"layer_{index}")(x, train=train)
        return x


def _apply(encoder: Any, x: jax.Array, **options: Any) -> jax.Array:
    """An encoder whose class depends on the config."""
    return encoder(x, **options)


def _each(encoder: nn.Module, x: jax.Array, *, train: bool) -> jax.Array:
    """(b, t, …) -> (b, t, width) by an encoder of single items."""
    found = _apply(encoder, x.reshape(-1, *x.shape[2:]), train=train)
    return found.reshape(*x.shape[:2], found.shape[-1])


def _flat(x: jax.Array) -> jax.Array:
    return x.reshape(*x.shape[:2], -1)
