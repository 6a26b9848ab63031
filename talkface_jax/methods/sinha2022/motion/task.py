"""The motion stage: speech, emotion and a face's graph to the graph of the speaking face (Sinha et
al., IJCAI 2022; loss of EmoVOCA and VOCA)."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.emotions import NEUTRAL
from talkface_jax.errors import ConfigError
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.losses import landmark
from talkface_jax.losses.terms import LossTerm, weighted
from talkface_jax.methods.base import StageTask, view_of
from talkface_jax.methods.sinha2022.motion import preview
from talkface_jax.methods.sinha2022.motion.config import MotionConfig
from talkface_jax.methods.sinha2022.motion.view import MotionView
from talkface_jax.methods.stages.portrait.moments import FeatureMoments
from talkface_jax.metrics.base import Average
from talkface_jax.models.motion.landmark_graph import LandmarkGraph
from talkface_jax.task import (
    Batch,
    LossContext,
    Objective,
    Outputs,
    Previews,
    PyTree,
    Sample,
    Variables,
)

_SCHEME = get_scheme("ibug68")
_LIPS = _SCHEME.groups["lips"]
_UPPER, _LOWER = _SCHEME.position(13), _SCHEME.position(14)
# Of the inner lips, left to right.
_ABOVE = np.array([_SCHEME.position(mesh) for mesh in (81, 13, 311)])
_BELOW = np.array([_SCHEME.position(mesh) for mesh in (178, 14, 402)])


class MotionTask(StageTask):
    """Speech windows, emotions and a face to landmark displacements."""

    config_class = MotionConfig
    name = "sinha2022/motion"
    generators = ("motion",)
    entries = ("content", "emotion", "face_emotion", "face")
    output = "offsets"
    """offsets (b, t, 68, 2) from the face, in the canonical frame."""

    def check(self, config: MotionConfig) -> None:
        """A velocity needs two frames, and shares are parts of one whole.

        Raises:
          ConfigError: it is not so.
        """
        if config.velocity_weight and config.window < 2:
            raise ConfigError(
                f"config.task: velocity_weight {config.velocity_weight:g} compares neighbouring "
                f"frames, but window is {config.window}; give --config.task.window=2 or more, or "
                "--config.task.velocity_weight=0.0"
            )
        if config.neutral_share + config.other_share > 1:
            raise ConfigError(
                f"config.task: neutral_share {config.neutral_share:g} and other_share "
                f"{config.other_share:g} come to more than 1; give smaller ones"
            )

    def networks(self, config: MotionConfig) -> Mapping[str, nn.Module]:
        """The graph network."""
        return {"motion": LandmarkGraph(config.net)}

    @cached_property
    def view(self) -> MotionView:
        """Windows of consecutive frames."""
        return view_of(MotionView, self.config, weights=self.config.feature_weights)

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """Squared error of position, once more that of the lips, and that of velocity; lips that do
        not close where they must."""
        config = self.config

        def position(context: LossContext) -> jax.Array:
            return landmark.seen_mse(*_compared(context), seen=context.batch["seen"])

        def lips(context: LossContext) -> jax.Array:
            return landmark.landmark_mse(*(x[:, :, _LIPS] for x in _compared(context)))

        def velocity(context: LossContext) -> jax.Array:
            seen = context.batch["seen"]
            changes = (jnp.diff(x, axis=1) for x in _compared(context))
            return landmark.seen_mse(*changes, seen=seen[:, 1:] * seen[:, :-1])

        terms = (
            LossTerm("position", position, config.position_weight),
            LossTerm("lips", lips, config.lip_weight),
            LossTerm("velocity", velocity, config.velocity_weight),
            LossTerm("closure", self._apart, config.closure_weight),
        )
        return (Objective(("motion",), weighted(*terms)),)

    def _apart(self, context: LossContext) -> jax.Array:
        """Squared distance of the inner lips beyond that of closed ones where p, b and m are heard:
        (b,)."""
        face = context.batch["face"][:, None]
        near, gap = context.batch["bilabial"], self.config.closure_gap
        excess = [
            jnp.square(jnp.maximum(_gaps(face + context.outputs[name]) - gap, 0)).mean(-1)
            for name in ("offsets", "others")
        ]
        return (sum(excess) * near).sum(-1) / jnp.maximum(near.sum(-1), 1)

    def forward(
        self,
        variables: Mapping[str, Variables],
        frozen: Mapping[str, PyTree],
        batch: Batch,
        rng: jax.Array,
        *,
        step: jax.Array,
        train: bool,
    ) -> tuple[Outputs, dict[str, PyTree]]:
        """offsets (b, t, 68, 2); in training, where lips are to close in every emotion, also
        others (b, t, 68, 2), of the same speech in an emotion that is drawn."""
        if not (train and self.config.closure_weight):
            return super().forward(variables, frozen, batch, rng, step=step, train=train)
        own = batch["emotion"]
        kind, level, dropout = jax.random.split(rng, 3)
        drawn = jax.random.randint(kind, own.shape[:1], 0, own.shape[-1])
        drawn = jnp.where(drawn == NEUTRAL, 0.0, 1.0)[:, None] * jax.nn.one_hot(
            drawn, own.shape[-1]
        )
        drawn *= jax.random.uniform(level, (len(own), 1))
        both = jnp.concatenate([own, jnp.broadcast_to(drawn[:, None], own.shape)], 1)
        given = {**batch, "emotion": both}
        made, stats = super().forward(variables, frozen, given, dropout, step=step, train=train)
        offsets, others = jnp.split(made["offsets"], 2, 1)
        return {"offsets": offsets, "others": others}, stats

    def fitted(self, samples: Callable[[], Iterable[Sample]]) -> Mapping[str, Variables]:
        """Mean and deviation of the features."""
        features = FeatureMoments()
        for sample in samples():
            features.add(sample["content"])
        return {"motion": {"constants": features.constants()}}

    def metrics(
        self, outputs: Outputs, batch: Batch, frozen: Mapping[str, PyTree]
    ) -> dict[str, Any]:
        """Mean distance of the lip and of all points, and error of the mouth's opening, in the unit
        of the canonical frame."""
        del frozen
        predicted, true, mask = outputs["offsets"], batch["offsets"], batch["mask"]
        distance = jnp.linalg.norm(predicted - true, axis=-1)
        return {
            "lip_distance": Average.of(distance[..., _LIPS], mask),
            "face_distance": Average.of(distance, mask),
            "opening_error": Average.of(jnp.abs(_opening(predicted) - _opening(true)), mask),
        }

    def previews(self, outputs: Outputs, batch: Batch) -> Previews:
        """Predicted over true faces, and the same as a video."""
        return preview.motion(outputs, batch)


def _compared(context: LossContext) -> tuple[jax.Array, jax.Array]:
    return context.outputs["offsets"], context.batch["offsets"]


def _gaps(face: jax.Array) -> jax.Array:
    """How far the inner lips are apart at three places: (…, 68, 2) -> (…, 3)."""
    return face[..., _BELOW, 1] - face[..., _ABOVE, 1]


def _opening(offsets: jax.Array) -> jax.Array:
    """How much further apart than in the face at rest the inner lips are: (b, t)."""
    return offsets[..., _LOWER, 1] - offsets[..., _UPPER, 1]
