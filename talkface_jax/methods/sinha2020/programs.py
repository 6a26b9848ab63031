"""sinha2020's networks as they are exported: functions of weights and NumPy-friendly inputs."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from talkface_jax.features.content import SIZES
from talkface_jax.methods.base import network_program, program, shapes_of
from talkface_jax.methods.sinha2020.motion.config import MotionConfig
from talkface_jax.methods.sinha2020.render.config import RenderConfig
from talkface_jax.methods.stages.portrait.chain import RENDER
from talkface_jax.models.blocks import unit
from talkface_jax.models.motion.speech_landmarks import SpeechLandmarks
from talkface_jax.models.render.attention_texture import AttentionTexture, Rendered
from talkface_jax.task import Program, Variables

MOTION = "motion"

Arrays = Mapping[str, jax.Array]


def motion_program(config: MotionConfig) -> Program:
    """Feature windows of single frames -> person-independent displacements of the landmarks."""
    return network_program(
        MOTION,
        SpeechLandmarks(config.net),
        player="motion",
        stage="motion",
        inputs={"content": ("b", config.rows, SIZES[config.feature])},
        output="offsets",
    )


def render_program(config: RenderConfig) -> Program:
    """The identity's picture and two sets of landmarks -> the crop, and where it was painted."""
    net, size = AttentionTexture(config.net), config.net.size

    def function(variables: Variables, inputs: Arrays) -> Arrays:
        points = inputs["identity_points"], inputs["points"]
        rendered = net.apply(variables, unit(inputs["identity"]), *points)
        assert isinstance(rendered, Rendered)
        return {"image": rendered.image, "attention": rendered.attention}

    return program(
        RENDER,
        player="renderer",
        stage="render",
        function=function,
        inputs={
            "identity": (("b", size, size, 3), jnp.uint8),
            "identity_points": (("b", 68, 2), jnp.float32),
            "points": (("b", 68, 2), jnp.float32),
        },
        variables=lambda: shapes_of(net, (1, size, size, 3), (1, 68, 2), (1, 68, 2)),
    )
