"""The motion stage: speech, emotion and a face's graph to the graph of the speaking face (Sinha et
al., IJCAI 2022; loss of EmoVOCA and VOCA)."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.emotions import EMOTIONS, LEVELS, NEUTRAL
from talkface_jax.errors import ConfigError
from talkface_jax.landmarks import lips
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.losses import landmark
from talkface_jax.losses.terms import LossTerm, weighted
from talkface_jax.methods.base import StageTask, view_of
from talkface_jax.methods.sinha2022.motion import preview
from talkface_jax.methods.sinha2022.motion.config import MotionConfig
from talkface_jax.methods.sinha2022.motion.view import MotionView
from talkface_jax.methods.stages.portrait.errors import motion_errors
from talkface_jax.methods.stages.portrait.moments import FeatureMoments
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
_MOODS = np.delete(np.arange(len(EMOTIONS)), NEUTRAL)


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
        for name in ("velocity_weight", "articulation_weight"):
            weight = getattr(config, name)
            if not weight or config.window > 1:
                continue
            raise ConfigError(
                f"config.task: {name} {weight:g} compares neighbouring frames, but window is "
                f"{config.window}; give --config.task.window=2 or more, or --config.task.{name}=0.0"
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
        config = self.config
        return view_of(
            MotionView,
            config,
            weights=config.feature_weights,
            bilabials=bool(config.closure_weight),
        )

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """Squared error of position, once more that of the lips, and that of velocity; what an
        emotion does to the closing and to the moving of the lips."""
        config = self.config

        def position(context: LossContext) -> jax.Array:
            return landmark.seen_mse(*_compared(context), seen=context.batch["seen"])

        def lip_position(context: LossContext) -> jax.Array:
            return landmark.landmark_mse(*(x[:, :, _LIPS] for x in _compared(context)))

        def velocity(context: LossContext) -> jax.Array:
            seen = context.batch["seen"]
            changes = (jnp.diff(x, axis=1) for x in _compared(context))
            return landmark.seen_mse(*changes, seen=seen[:, 1:] * seen[:, :-1])

        terms = (
            LossTerm("position", position, config.position_weight),
            LossTerm("lips", lip_position, config.lip_weight),
            LossTerm("velocity", velocity, config.velocity_weight),
            LossTerm("closure", self._apart, config.closure_weight),
            LossTerm("articulation", _articulation, config.articulation_weight),
        )
        return (Objective(("motion",), weighted(*terms)),)

    def _apart(self, context: LossContext) -> jax.Array:
        """Where p, b and m are heard, by how much the inner lips are farther apart in a drawn
        emotion than in a neutral face or than closed ones, squared: (b,)."""
        face, near = context.batch["face"][:, None], context.batch["bilabial"]
        drawn, neutral = (lips.gaps(face + context.outputs[name]) for name in ("drawn", "neutral"))
        # The neutral mouth is learned from data; it is the one to follow.
        least = jnp.maximum(jax.lax.stop_gradient(neutral), self.config.closure_gap)
        excess = jnp.square(jnp.maximum(drawn - least, 0)).mean(-1)
        return (excess * near).sum(-1) / jnp.maximum(near.sum(-1), 1)

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
        """offsets (b, t, 68, 2); in training, where an emotion may not change the speech, also
        drawn and neutral, of the same speech in a drawn emotion and in a neutral face."""
        config = self.config
        if not (train and (config.closure_weight or config.articulation_weight)):
            return super().forward(variables, frozen, batch, rng, step=step, train=train)
        draw, dropout = jax.random.split(rng)
        own = batch["emotion"]
        drawn = jnp.broadcast_to(_draw_emotions(draw, len(own))[:, None], own.shape)
        given = {**batch, "emotion": jnp.concatenate([own, drawn, jnp.zeros_like(own)], 1)}
        made, stats = super().forward(variables, frozen, given, dropout, step=step, train=train)
        names = ("offsets", "drawn", "neutral")
        parts = jnp.split(made["offsets"], len(names), 1)
        return dict(zip(names, parts, strict=True)), stats

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
        return motion_errors(outputs["offsets"], batch["offsets"], batch["mask"])

    def previews(self, outputs: Outputs, batch: Batch) -> Previews:
        """Predicted over true faces, and the same as a video."""
        return preview.motion(outputs, batch)


def _compared(context: LossContext) -> tuple[jax.Array, jax.Array]:
    return context.outputs["offsets"], context.batch["offsets"]


def _articulation(context: LossContext) -> jax.Array:
    """Squared difference of how the inner lips open and close in a drawn emotion and in a neutral
    face: (b,)."""
    drawn, neutral = (
        jnp.diff(lips.gaps(context.outputs[key]), axis=1) for key in ("drawn", "neutral")
    )
    return jnp.square(drawn - jax.lax.stop_gradient(neutral)).mean((1, 2))


def _draw_emotions(rng: jax.Array, count: int) -> jax.Array:
    """Random emotions other than neutral, of levels 1 to 4, beyond the data's: (count, 8)."""
    kind, level = jax.random.split(rng)
    kinds = jax.random.choice(kind, _MOODS, (count,))
    levels = jax.random.uniform(level, (count, 1), minval=1 / LEVELS, maxval=(LEVELS + 1) / LEVELS)
    return levels * jax.nn.one_hot(kinds, len(EMOTIONS))
