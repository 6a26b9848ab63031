"""IP-LAP's networks as they are exported: pure functions of weights and NumPy-friendly inputs.

Images enter as bytes; what depends on a clip's references alone is a program of its own, so that
it runs once a clip.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from talkface_jax.methods.iplap.config import MotionConfig, RenderConfig
from talkface_jax.models.motion.landmark_transformer import LandmarkTransformer
from talkface_jax.models.render.reference_warping import ReferenceWarping, RefFeatures
from talkface_jax.task import Program, Variables

MOTION = "motion"
REFERENCES = "references"
RENDER = "render"
WINDOW = 5
"""Frames that the landmark generator predicts at once, and sketches that the renderer sees."""

Arrays = Mapping[str, jax.Array]


def motion_program(config: MotionConfig) -> Program:
    """Windows of five frames -> content points of the middle frame."""
    net = LandmarkTransformer(config.net)
    references = config.references

    def function(variables: Variables, inputs: Arrays) -> Arrays:
        batch = inputs["mel"].shape[0]

        def shared(points: jax.Array) -> jax.Array:
            return jnp.broadcast_to(points[None], (batch, *points.shape))

        content = net.apply(
            variables,
            inputs["mel"],
            inputs["pose"],
            shared(inputs["ref_pose"]),
            shared(inputs["ref_content"]),
        )
        return {"content": content[:, WINDOW // 2]}  # type: ignore[index]

    def variables() -> Any:
        return jax.eval_shape(
            net.init,
            jax.random.key(0),
            *(
                jax.ShapeDtypeStruct((1, *shape), jnp.float32)
                for shape in (
                    (WINDOW, 80, 16),
                    (WINDOW, 74, 2),
                    (references, 74, 2),
                    (references, 57, 2),
                )
            ),
        )

    return Program(
        name=MOTION,
        stage="motion",
        player="motion",
        function=function,
        inputs={
            "mel": (("b", WINDOW, 80, 16), jnp.float32),
            "pose": (("b", WINDOW, 74, 2), jnp.float32),
            "ref_pose": ((references, 74, 2), jnp.float32),
            "ref_content": ((references, 57, 2), jnp.float32),
        },
        variables=variables,
    )


def references_program(config: RenderConfig) -> Program:
    """Reference images and sketches -> their features."""
    net, size = ReferenceWarping(config.net), config.net.size

    def function(variables: Variables, inputs: Arrays) -> Arrays:
        features = net.apply(
            variables,
            _unit(inputs["images"])[None],
            _unit(inputs["sketches"])[None],
            method="encode_references",
        )
        assert isinstance(features, RefFeatures)
        return {
            "images": features.images[0],
            "shallow": features.shallow[0],
            "deep": features.deep[0],
        }

    image = (("r", size, size, 3), jnp.uint8)
    return Program(
        name=REFERENCES,
        stage="render",
        player="renderer",
        function=function,
        inputs={"images": image, "sketches": image},
        variables=lambda: _render_variables(config),
    )


def render_program(config: RenderConfig) -> Program:
    """Target frame, sketches and sound, with the references' features -> the generated crop."""
    net, size = ReferenceWarping(config.net), config.net.size
    half, channels, deep = size // 2, config.net.channels, config.net.deep

    def function(variables: Variables, inputs: Arrays) -> Arrays:
        features = RefFeatures(
            images=inputs["images"][None],
            shallow=inputs["shallow"][None],
            deep=inputs["deep"][None],
        )

        # Frame by frame: with 25 references one frame fills a device, and a batch would need 25
        # times its features at once.
        def one(frame: Arrays) -> jax.Array:
            sketches = _unit(frame["sketches"])[None]
            face = _unit(frame["face"])[None]
            aligned = net.apply(
                variables,
                features,
                sketches,
                points=frame["points"][None],
                reference_points=inputs["ref_points"][None],
                method="align",
            )
            masked = face.at[:, half:].set(0.0)
            image = net.apply(
                variables, masked, sketches, aligned, frame["mel"][None], method="translate"
            )
            return image[0]  # type: ignore[index]

        frames = {key: inputs[key] for key in ("face", "sketches", "mel", "points")}
        return {"image": jax.lax.map(one, frames)}

    return Program(
        name=RENDER,
        stage="render",
        player="renderer",
        function=function,
        inputs={
            "face": (("b", size, size, 3), jnp.uint8),
            "sketches": (("b", WINDOW, size, size, 3), jnp.uint8),
            "mel": (("b", 80, 16), jnp.float32),
            "points": (("b", 131, 2), jnp.float32),
            "ref_points": (("r", 131, 2), jnp.float32),
            "images": (("r", size, size, 3), jnp.float32),
            "shallow": (("r", size, size, channels), jnp.float32),
            "deep": (("r", half, half, deep), jnp.float32),
        },
        variables=lambda: _render_variables(config),
    )


def _unit(image: jax.Array) -> jax.Array:
    return image.astype(jnp.float32) / 255.0


def _render_variables(config: RenderConfig) -> Any:
    net, size = ReferenceWarping(config.net), config.net.size

    def shape(*dims: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(dims, jnp.float32)

    image = (size, size, 3)
    return jax.eval_shape(
        lambda *args: net.init(
            jax.random.key(0), *args[:5], points=args[5], reference_points=args[6]
        ),
        shape(1, *image),
        shape(1, WINDOW, *image),
        shape(1, 1, *image),
        shape(1, 1, *image),
        shape(1, 80, 16),
        shape(1, 131, 2),
        shape(1, 1, 131, 2),
    )
