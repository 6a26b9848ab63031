"""sinha2020's networks as they are exported: functions of weights and NumPy-friendly inputs."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from talkface_jax.features.content import SIZES
from talkface_jax.methods.sinha2020.config import BlinkConfig, MotionConfig, RenderConfig
from talkface_jax.models.motion.blink_lstm import BlinkLstm
from talkface_jax.models.motion.speech_landmarks import SpeechLandmarks
from talkface_jax.models.render.attention_texture import AttentionTexture, Rendered
from talkface_jax.task import Program, Variables

MOTION = "motion"
BLINK = "blink"
RENDER = "render"

Arrays = Mapping[str, jax.Array]


def motion_program(config: MotionConfig) -> Program:
    """Feature windows of single frames -> person-independent displacements of the landmarks."""
    net, shape = SpeechLandmarks(config.net), (config.rows, SIZES[config.feature])

    def function(variables: Variables, inputs: Arrays) -> Arrays:
        return {"offsets": net.apply(variables, inputs["content"])}  # type: ignore[dict-item]

    return Program(
        name=MOTION,
        stage="motion",
        player="motion",
        function=function,
        inputs={"content": (("b", *shape), jnp.float32)},
        variables=lambda: _shapes(net, (1, *shape)),
    )


def blink_program(config: BlinkConfig) -> Program:
    """White noise of t frames -> displacements of the lids and brows, made frame after frame."""
    net = BlinkLstm(config.net)

    def function(variables: Variables, inputs: Arrays) -> Arrays:
        return {"displacements": net.apply(variables, inputs["noise"][None])[0]}  # type: ignore

    return Program(
        name=BLINK,
        stage="blink",
        player="blink",
        function=function,
        inputs={"noise": (("t", config.net.noise), jnp.float32)},
        variables=lambda: _shapes(net, (1, config.window, config.net.noise)),
    )


def render_program(config: RenderConfig) -> Program:
    """The identity's picture and two sets of landmarks -> the crop, and where it was painted."""
    net, size = AttentionTexture(config.net), config.net.size

    def function(variables: Variables, inputs: Arrays) -> Arrays:
        identity = inputs["identity"].astype(jnp.float32) / 255.0
        rendered = net.apply(variables, identity, inputs["identity_points"], inputs["points"])
        assert isinstance(rendered, Rendered)
        return {"image": rendered.image, "attention": rendered.attention}

    return Program(
        name=RENDER,
        stage="render",
        player="renderer",
        function=function,
        inputs={
            "identity": (("b", size, size, 3), jnp.uint8),
            "identity_points": (("b", 68, 2), jnp.float32),
            "points": (("b", 68, 2), jnp.float32),
        },
        variables=lambda: _shapes(net, (1, size, size, 3), (1, 68, 2), (1, 68, 2)),
    )


def _shapes(net: Any, *inputs: tuple[int, ...]) -> Any:
    """Shapes of a network's variables."""
    given = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in inputs]
    return jax.eval_shape(net.init, jax.random.key(0), *given)
