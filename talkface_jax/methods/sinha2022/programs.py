"""sinha2022's networks as they are exported: functions of weights and NumPy-friendly inputs."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from talkface_jax.emotions import EMOTIONS
from talkface_jax.features.content import SIZES
from talkface_jax.methods.base import program, shapes_of
from talkface_jax.methods.sinha2022.motion.config import MotionConfig
from talkface_jax.methods.sinha2022.render.config import RenderConfig
from talkface_jax.methods.stages.portrait.chain import RENDER
from talkface_jax.models.blocks import unit
from talkface_jax.models.motion.landmark_graph import LandmarkGraph
from talkface_jax.models.render.flow_texture import FlowTexture
from talkface_jax.task import Program, Variables

MOTION = "motion"
_POINTS, _KINDS = 68, len(EMOTIONS)

Arrays = Mapping[str, jax.Array]


def motion_program(config: MotionConfig) -> Program:
    """Feature windows and emotions of the frames of one face -> displacements of its landmarks."""
    net, width = LandmarkGraph(config.net), SIZES[config.feature]

    def function(variables: Variables, inputs: Arrays) -> Arrays:
        frames = (inputs[name][None] for name in ("content", "emotion"))
        face = (inputs[name][None] for name in ("face_emotion", "face"))
        return {"offsets": net.apply(variables, *frames, *face)[0]}  # type: ignore[index]

    return program(
        MOTION,
        player="motion",
        stage="motion",
        function=function,
        inputs={
            "content": (("t", config.rows, width), jnp.float32),
            "emotion": (("t", _KINDS), jnp.float32),
            "face_emotion": ((_KINDS,), jnp.float32),
            "face": ((_POINTS, 2), jnp.float32),
        },
        variables=lambda: shapes_of(
            net, (1, 1, config.rows, width), (1, 1, _KINDS), (1, _KINDS), (1, _POINTS, 2)
        ),
    )


def render_program(config: RenderConfig) -> Program:
    """The picture, two sets of landmarks and two emotions -> the crop, and how it was warped."""
    net, size = FlowTexture(config.net), config.net.size

    def function(variables: Variables, inputs: Arrays) -> Arrays:
        names = ("identity_points", "points", "emotion", "face_emotion")
        made = net.apply(variables, unit(inputs["identity"]), *(inputs[name] for name in names))
        return {name: getattr(made, name) for name in ("image", "flow", "occlusion")}

    return program(
        RENDER,
        player="renderer",
        stage="render",
        function=function,
        inputs={
            "identity": (("b", size, size, 3), jnp.uint8),
            "identity_points": (("b", _POINTS, 2), jnp.float32),
            "points": (("b", _POINTS, 2), jnp.float32),
            "emotion": (("b", _KINDS), jnp.float32),
            "face_emotion": (("b", _KINDS), jnp.float32),
        },
        variables=lambda: shapes_of(
            net, (1, size, size, 3), (1, _POINTS, 2), (1, _POINTS, 2), (1, _KINDS), (1, _KINDS)
        ),
    )
