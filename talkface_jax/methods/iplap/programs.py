"""IP-LAP's networks as they are exported: pure functions of weights and NumPy-friendly inputs.

Images enter as bytes. What depends on a clip's references alone runs once a clip, and what depends
on a single frame once a frame, however many windows share it: each is a program of its own.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from talkface_jax.methods.base import program, shapes_of
from talkface_jax.methods.iplap.motion.config import MotionConfig
from talkface_jax.methods.iplap.references import WINDOW
from talkface_jax.methods.iplap.render.config import RenderConfig
from talkface_jax.models.blocks import unit
from talkface_jax.models.motion.landmark_transformer import FrameTokens, LandmarkTransformer
from talkface_jax.models.render.mouth_detail import MouthAligned, MouthReferences
from talkface_jax.models.render.reference_warping import (
    Aligned,
    ReferenceWarping,
    ReferenceWarpingConfig,
    RefFeatures,
)
from talkface_jax.task import Program, Variables

MOTION_REFERENCES = "motion_references"
MOTION_FRAMES = "motion_frames"
MOTION = "motion"
REFERENCES = "references"
RENDER = "render"

Arrays = Mapping[str, jax.Array]


def motion_references_program(config: MotionConfig) -> Program:
    """Landmark references -> their tokens, once a clip."""
    net = LandmarkTransformer(config.net)

    def function(variables: Variables, inputs: Arrays) -> Arrays:
        tokens = net.apply(
            variables,
            inputs["ref_pose"][None],
            inputs["ref_content"][None],
            method="encode_references",
        )
        return {"references": tokens[0]}  # type: ignore[index]

    return _motion(config, MOTION_REFERENCES, function, _reference_points(config))


def motion_frames_program(config: MotionConfig) -> Program:
    """Sound and pose of single frames -> their tokens; neighbouring windows share them."""
    net = LandmarkTransformer(config.net)

    def function(variables: Variables, inputs: Arrays) -> Arrays:
        tokens = net.apply(
            variables,
            inputs["mel"][None],
            inputs["pose"][None],
            inputs["ref_pose"][None],
            method="encode_frames",
        )
        assert isinstance(tokens, FrameTokens)
        return {"audio_tokens": tokens.audio[0], "pose_tokens": tokens.pose[0]}

    inputs = {
        "mel": (("b", 80, 16), jnp.float32),
        "pose": (("b", 74, 2), jnp.float32),
        "ref_pose": _reference_points(config)["ref_pose"],
    }
    return _motion(config, MOTION_FRAMES, function, inputs)


def motion_program(config: MotionConfig) -> Program:
    """Tokens of windows of five frames -> content points of the middle frame."""
    net, width = LandmarkTransformer(config.net), config.net.width

    def function(variables: Variables, inputs: Arrays) -> Arrays:
        batch = inputs["pose"].shape[0]

        def shared(points: jax.Array) -> jax.Array:
            return jnp.broadcast_to(points[None], (batch, *points.shape))

        content = net.apply(
            variables,
            shared(inputs["references"]),
            FrameTokens(audio=inputs["audio_tokens"], pose=inputs["pose_tokens"]),
            inputs["pose"],
            shared(inputs["ref_pose"]),
            shared(inputs["ref_content"]),
            method="predict",
        )
        return {"content": content[:, WINDOW // 2]}  # type: ignore[index]

    inputs = {
        "audio_tokens": (("b", WINDOW, width), jnp.float32),
        "pose_tokens": (("b", WINDOW, width), jnp.float32),
        "pose": (("b", WINDOW, 74, 2), jnp.float32),
        "references": ((config.references, width), jnp.float32),
        **_reference_points(config),
    }
    return _motion(config, MOTION, function, inputs)


def _reference_points(config: MotionConfig) -> dict[str, Any]:
    return {
        "ref_pose": ((config.references, 74, 2), jnp.float32),
        "ref_content": ((config.references, 57, 2), jnp.float32),
    }


def _motion(
    config: MotionConfig,
    name: str,
    function: Callable[[Variables, Arrays], Arrays],
    inputs: Mapping[str, Any],
) -> Program:
    """A program of the landmark generator; each takes the whole network's variables."""
    shapes = ((WINDOW, 80, 16), (WINDOW, 74, 2), (config.references, 74, 2))
    shapes = (*shapes, (config.references, 57, 2))
    net = LandmarkTransformer(config.net)
    return program(
        name,
        player="motion",
        stage="motion",
        function=function,
        inputs=inputs,
        variables=lambda: shapes_of(net, *((1, *shape) for shape in shapes)),
    )


def references_program(config: RenderConfig) -> Program:
    """Reference images and sketches -> their features."""
    net, size = ReferenceWarping(config.net), config.net.size

    def function(variables: Variables, inputs: Arrays) -> Arrays:
        features = net.apply(
            variables,
            unit(inputs["images"])[None],
            unit(inputs["sketches"])[None],
            method="encode_references",
        )
        assert isinstance(features, RefFeatures | MouthReferences)
        return {name: value[0] for name, value in vars(features).items()}

    image = (("r", size, size, 3), jnp.uint8)
    return _render(config, REFERENCES, function, {"images": image, "sketches": image})


def render_program(config: RenderConfig) -> Program:
    """Target frame, sketches and sound, with the references' features -> the generated crop."""
    net, size = ReferenceWarping(config.net), config.net.size
    half, shapes = size // 2, _feature_shapes(config.net)

    def function(variables: Variables, inputs: Arrays) -> Arrays:
        kind = MouthReferences if config.net.design == "mouth" else RefFeatures
        features = kind(**{name: inputs[name][None] for name in shapes})

        # Frame by frame: with 25 references one frame fills a device, and a batch would need 25
        # times its features at once. The second half has no references: it takes all frames.
        def align(frame: Arrays) -> Aligned | MouthAligned:
            moved = net.apply(
                variables,
                features,
                unit(frame["sketches"])[None],
                points=frame["points"][None],
                reference_points=inputs["ref_points"][None],
                method="align",
            )
            assert isinstance(moved, Aligned | MouthAligned)
            # Flow and weight are large, and nothing that follows looks at them.
            empty = jnp.zeros((1, 0))
            return jax.tree.map(
                lambda x: x[0], dataclasses.replace(moved, flow=empty, weight=empty)
            )

        aligned = jax.lax.map(align, {key: inputs[key] for key in ("sketches", "points")})
        masked = unit(inputs["face"]).at[:, half:].set(0.0)
        sketches = unit(inputs["sketches"])
        image = net.apply(variables, masked, sketches, aligned, inputs["mel"], method="translate")
        return {"image": image}  # type: ignore[dict-item]

    inputs = {
        "face": (("b", size, size, 3), jnp.uint8),
        "sketches": (("b", WINDOW, size, size, 3), jnp.uint8),
        "mel": (("b", 80, 16), jnp.float32),
        "points": (("b", 131, 2), jnp.float32),
        "ref_points": (("r", 131, 2), jnp.float32),
        **{name: (("r", *shape), jnp.float32) for name, shape in shapes.items()},
    }
    return _render(config, RENDER, function, inputs)


def _feature_shapes(net: ReferenceWarpingConfig) -> Mapping[str, tuple[int, int, int]]:
    """What `RefFeatures` holds of one reference."""
    size, half = net.size, net.size // 2
    images = {"images": (size, size, 3)}
    if net.design == "mouth":
        return images
    deep = (half, half, net.deep)
    return {**images, "shallow": (size, size, net.channels), "deep": deep, "normalised": deep}


def _render_variables(config: RenderConfig) -> Any:
    size = config.net.size
    image, references = (size, size, 3), (1, 1, size, size, 3)
    return shapes_of(
        ReferenceWarping(config.net),
        (1, *image),
        (1, WINDOW, *image),
        references,
        references,
        (1, 80, 16),
        points=(1, 131, 2),
        reference_points=(1, 1, 131, 2),
    )


def _render(
    config: RenderConfig,
    name: str,
    function: Callable[[Variables, Arrays], Arrays],
    inputs: Mapping[str, Any],
) -> Program:
    """A program of the renderer; each takes the whole network's variables."""
    return program(
        name,
        player="renderer",
        stage="render",
        function=function,
        inputs=inputs,
        variables=lambda: _render_variables(config),
    )
