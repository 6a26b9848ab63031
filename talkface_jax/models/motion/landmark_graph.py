"""Speech, a wanted emotion and a face's landmark graph to the displacements of its landmarks.

Source: Sinha et al., IJCAI 2022: an audio encoder, an emotion encoder and a graph encoder of the
  face; their embeddings are concatenated, and a graph decoder gives the landmarks, one frame at a
  time. The paper states no sizes; those of the graph follow EmoVOCA's code.
  Ours: the emotion that the given face already shows goes in beside the wanted one, so that the
  face need not be neutral; and a last layer with a map for every point.
"""

import dataclasses
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.landmarks.graph import CLUSTER_OF, LEVELS
from talkface_jax.models.blocks import Dropout, like_params, normalise_features, widen
from talkface_jax.models.graph import GraphLayer, pool
from talkface_jax.models.lstm import lstm
from talkface_jax.ranges import AT_LEAST_0, AT_LEAST_1, DROPOUT, ranged
from talkface_jax.records import EMOTIONS

_INTENSITIES = 3
# Not zero, so that the first step reaches what lies before it.
_NEAR_ZERO = nn.initializers.normal(1e-3)


@dataclasses.dataclass(frozen=True)
class LandmarkGraphConfig:
    """Sizes of the network.

    Attributes:
      lstm: width of the LSTM over the rows of a window. Unverified default.
      audio_width: of the audio embedding. Unverified default.
      emotion_hidden: width of the layer between an emotion and its embedding. Unverified default.
      emotion_width: of the emotion embedding. Unverified default.
      emotion_input: "vector", class weights times level / 3; "concat", class and level one-hot as
        in EmoVOCA, for the strongest class of a blend. Unverified default.
      face_emotion: whether the emotion encoder also sees the emotion that the face shows; False as
        published, where the face is neutral.
      channels: features a node on 68, 34 and 17 nodes; the last is the face embedding's width too.
        Unverified default.
      head: "shared", one map from features to displacement for all points, as in graph networks;
        "points", one for each point. Unverified default.
      dropout: on the three embeddings. Unverified default.
      noise: deviation of the white noise on the normalised features in training. Unverified
        default.
    """

    lstm: int = ranged(128, AT_LEAST_1)
    audio_width: int = ranged(128, AT_LEAST_1)
    emotion_hidden: int = ranged(64, AT_LEAST_1)
    emotion_width: int = ranged(128, AT_LEAST_1)
    emotion_input: Literal["vector", "concat"] = "vector"
    face_emotion: bool = False
    channels: tuple[int, int, int] = ranged((32, 64, 128), AT_LEAST_1)
    head: Literal["shared", "points"] = "shared"
    dropout: float = ranged(0.0, DROPOUT)
    noise: float = ranged(0.0, AT_LEAST_0)


class LandmarkGraph(nn.Module):
    """One frame from one window of speech; nothing is carried from frame to frame.

    Variables that training does not change but `Task.fitted` gives lie in `constants`:
    `feature_mean` and `feature_deviation`, both (f,).
    """

    config: LandmarkGraphConfig = LandmarkGraphConfig()

    @nn.compact
    def __call__(
        self,
        content: jax.Array,
        emotion: jax.Array,
        face_emotion: jax.Array,
        face: jax.Array,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Moves the points of a face.

        Args:
          content: (b, t, rows, f) windows of speech features centred on their frames.
          emotion: (b, t, 8), what each frame shall show: class weights times level / 3 in the order
            of `records.EMOTIONS`; zeros for neutral. Or (b, k t, 8): the frames k times, each time
            with other emotions; they are heard once.
          face_emotion: (b, 8), what the given face shows, likewise.
          face: (b, 68, 2) of scheme ibug68 in the canonical frame of `landmarks.retarget`, whose
            unit is the mean face's distance between the outer eye corners.
          train: dropout and noise (rng "dropout").

        Returns:
          (b, k t, 68, 2) displacements of the face's points in the same frame, float32; near zero
          at the start.
        """
        config = self.config
        b, t, *window = content.shape
        content = normalise_features(self, content.reshape(-1, *window))
        if train and config.noise > 0:
            content += config.noise * jax.random.normal(self.make_rng("dropout"), content.shape)
        content, emotion, face_emotion, face = (
            like_params(self, x) for x in (content, emotion, face_emotion, face)
        )
        sound = AudioEncoder(config, name="audio")(content).reshape(b, t, -1)
        times = emotion.shape[1] // t
        sound, t = jnp.tile(sound, (1, times, 1)), times * t
        given = [encode_emotion(emotion, config.emotion_input)]
        if config.face_emotion:
            shown = encode_emotion(face_emotion, config.emotion_input)[:, None]
            given.append(jnp.broadcast_to(shown, (b, t, shown.shape[-1])))
        wanted = EmotionEncoder(config, name="emotion")(jnp.concatenate(given, -1))
        shape = GraphEncoder(config, name="face")(face)[:, None]
        shape = jnp.broadcast_to(shape, (b, t, shape.shape[-1]))
        joint = jnp.concatenate([sound, wanted, shape], -1)
        joint = Dropout(config.dropout, name="dropout")(joint, train=train)
        return widen(GraphDecoder(config, name="decoder")(joint))


def encode_emotion(emotion: jax.Array, form: Literal["vector", "concat"]) -> jax.Array:
    """How an emotion (…, 8) goes into the encoder.

    Returns:
      "vector": itself. "concat": (…, 11), the strongest class one-hot, then the nearest level of 1
      to 3 one-hot; zeros are neutral at level 1.
    """
    if form == "vector":
        return emotion
    strongest = jnp.max(emotion, -1)
    neutral = EMOTIONS.index("neutral")
    kind = jnp.where(strongest > 0, jnp.argmax(emotion, -1), neutral)
    level = jnp.clip(jnp.round(_INTENSITIES * strongest), 1, _INTENSITIES).astype(jnp.int32)
    parts = (
        jax.nn.one_hot(kind, len(EMOTIONS), dtype=emotion.dtype),
        jax.nn.one_hot(level - 1, _INTENSITIES, dtype=emotion.dtype),
    )
    return jnp.concatenate(parts, -1)


class AudioEncoder(nn.Module):
    """The last state of an LSTM over the rows of a window, and a linear layer."""

    config: LandmarkGraphConfig

    @nn.compact
    def __call__(self, content: jax.Array) -> jax.Array:
        """(n, rows, f) -> (n, audio_width)."""
        width = self.config.lstm
        gates = nn.Dense(4 * width, bias_init=_remembering, name="input")(content)
        recurrent = self.param("recurrent", nn.initializers.orthogonal(), (width, 4 * width))
        nothing = jnp.zeros((content.shape[0], width))
        states = lstm(gates, recurrent, (nothing, nothing.astype(gates.dtype)))
        return nn.Dense(self.config.audio_width, name="embedding")(states[:, -1])


class EmotionEncoder(nn.Module):
    """Linear, ReLU, linear."""

    config: LandmarkGraphConfig

    @nn.compact
    def __call__(self, emotion: jax.Array) -> jax.Array:
        """(…, any) -> (…, emotion_width)."""
        x = nn.relu(nn.Dense(self.config.emotion_hidden, name="hidden")(emotion))
        return nn.Dense(self.config.emotion_width, name="embedding")(x)


class GraphEncoder(nn.Module):
    """Graph layers on 68, 34 and 17 nodes with pooling between them, and the mean of the last."""

    config: LandmarkGraphConfig

    @nn.compact
    def __call__(self, face: jax.Array) -> jax.Array:
        """(b, 68, 2) -> (b, channels[-1])."""
        x = face
        for index, (features, level) in enumerate(zip(self.config.channels, LEVELS, strict=True)):
            x = GraphLayer(features, level.edges, name=f"layer_{index}")(x)
            if index < len(CLUSTER_OF):
                x = pool(x, CLUSTER_OF[index])
        return jnp.mean(x, -2)


class GraphDecoder(nn.Module):
    """A linear layer onto 17 nodes, then unpooling and a graph layer twice, and the points."""

    config: LandmarkGraphConfig

    @nn.compact
    def __call__(self, joint: jax.Array) -> jax.Array:
        """(…, any) -> (…, 68, 2)."""
        fine, middle, coarse = self.config.channels
        x = nn.Dense(len(LEVELS[2]) * coarse, name="start")(joint)
        x = x.reshape(*joint.shape[:-1], len(LEVELS[2]), coarse)
        x = nn.relu(nn.LayerNorm(name="norm")(x))
        for index, features in ((1, middle), (0, fine)):
            layer = GraphLayer(features, LEVELS[index].edges, name=f"layer_{index}")
            x = layer(x, cluster_of=CLUSTER_OF[index])
        if self.config.head == "shared":
            return nn.Dense(2, kernel_init=_NEAR_ZERO, name="displacement")(x)
        kernel = self.param("kernels", _NEAR_ZERO, (len(LEVELS[0]), fine, 2))
        return jnp.einsum("...nc,ncd->...nd", x, kernel) + self.param(
            "bias", nn.initializers.zeros, (len(LEVELS[0]), 2)
        )


def _remembering(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32):
    """Biases of the gates: 1 for the forget gate, else 0."""
    del key
    return jnp.repeat(jnp.asarray([0.0, 1.0, 0.0, 0.0], dtype), shape[0] // 4)
