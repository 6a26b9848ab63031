"""The generators as they are exported: functions of weights and NumPy-friendly inputs.

Whichever the family, there are two or three programs: keypoints of pictures, where networks find
them; the appearance of one picture; and frames of that appearance, as many as are asked for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.methods.base import program, shapes_of
from talkface_jax.methods.emoconv.generator.config import GeneratorConfig
from talkface_jax.models.blocks import unit
from talkface_jax.models.render.latent_keypoints import placement
from talkface_jax.models.render.latent_keypoints.appearance import Appearance, AppearanceConfig
from talkface_jax.models.render.latent_keypoints.generator import (
    LatentGenerator,
    LatentGeneratorConfig,
)
from talkface_jax.models.render.latent_keypoints.head_pose import HeadPose
from talkface_jax.models.render.latent_keypoints.keypoints import KeypointDetector
from talkface_jax.models.render.latent_keypoints.motion_extractor import MotionExtractor
from talkface_jax.models.render.latent_keypoints.retargeting import Retargeting, stitch
from talkface_jax.models.render.latent_keypoints.spade_decoder import SpadeDecoder
from talkface_jax.models.render.latent_keypoints.warping import Warping
from talkface_jax.task import Program, Variables

STAGE = "generator"
KEYPOINTS, APPEARANCE, FRAMES, STITCHING = "keypoints", "appearance", "frames", "stitching"

Arrays = Mapping[str, jax.Array]
Given = Mapping[str, Variables]


def programs(config: GeneratorConfig) -> Sequence[Program]:
    """What is exported of a config."""
    if config.family == "liveportrait":
        return _liveportrait(config)
    return _facevid2vid(config)


def keypoint_count(config: GeneratorConfig) -> int:
    """Keypoints of the generator."""
    return generator_sizes(config).warping.motion.keypoints


def generator_sizes(config: GeneratorConfig) -> LatentGeneratorConfig:
    """Those of the family."""
    family = config.facevid2vid if config.family == "facevid2vid" else config.liveportrait
    return family.generator


def needs_picture(config: GeneratorConfig) -> bool:
    """Whether frames are made from the picture itself too."""
    return generator_sizes(config).decoder.paint == "correction"


def _apply(net: nn.Module, variables: Variables, *given: Any, **options: Any) -> Any:
    """What a network makes; without collections that change."""
    return net.apply(variables, *given, **options)


def _facevid2vid(config: GeneratorConfig) -> tuple[Program, ...]:
    sizes, size = config.facevid2vid, config.size
    net = LatentGenerator(sizes.generator)
    count, picture = keypoint_count(config), (1, size, size, 3)

    def appearance(variables: Variables, inputs: Arrays) -> Arrays:
        return {"volume": _apply(net, variables, unit(inputs["picture"]), method="encode")}

    def frames(variables: Variables, inputs: Arrays) -> Arrays:
        given = list(_spread(inputs))
        if needs_picture(config):
            given.append(unit(_for_every_frame(inputs, "picture")))
        made = _apply(net, variables, *given, method="render")
        return {"image": made.image}

    def variables() -> Any:
        return shapes_of(net, picture, (1, count, 3), (1, count, 3))

    options = {"player": "generator", "stage": STAGE, "variables": variables}
    found = [
        program(APPEARANCE, function=appearance, inputs=_picture(size), **options),
        program(FRAMES, function=frames, inputs=_frame_inputs(config), **options),
    ]
    if config.keypoints == "detected":
        found.insert(0, _facevid2vid_keypoints(config))
    return tuple(found)


def _picture(size: int, batch: int | str = 1) -> dict[str, Any]:
    return {"picture": ((batch, size, size, 3), jnp.uint8)}


def _frame_inputs(config: GeneratorConfig) -> dict[str, Any]:
    appearance, count = generator_sizes(config).appearance, keypoint_count(config)
    side = config.size // 2**appearance.halvings
    volume = (1, appearance.depth, side, side, appearance.volume_channels)
    inputs = {
        "volume": (volume, jnp.float32),
        "driving": (("b", count, 3), jnp.float32),
        "source": ((1, count, 3), jnp.float32),
    }
    return inputs | (_picture(config.size) if needs_picture(config) else {})


def _spread(inputs: Arrays) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The volume and keypoints that frames are made of, the picture's for every frame."""
    volume, source = (_for_every_frame(inputs, name) for name in ("volume", "source"))
    return volume, inputs["driving"], source


def _for_every_frame(inputs: Arrays, name: str) -> jax.Array:
    """What there is once, as often as there are driving keypoints."""
    item = inputs[name]
    return jnp.broadcast_to(item, (inputs["driving"].shape[0], *item.shape[1:]))


def _facevid2vid_keypoints(config: GeneratorConfig) -> Program:
    sizes, size = config.facevid2vid, config.size
    detector, poser = KeypointDetector(sizes.detector), HeadPose(sizes.pose)

    def function(given: Given, inputs: Arrays) -> Arrays:
        image = unit(inputs["picture"])
        pose = _apply(poser, given["pose"], image)
        angles = [
            placement.facevid2vid_degrees(logits) for logits in (pose.yaw, pose.pitch, pose.roll)
        ]
        turn = placement.facevid2vid_rotation(*angles).swapaxes(-1, -2)
        return {
            "canonical": _apply(detector, given["detector"], image),
            "rotation": turn,
            "translation": pose.translation,
            "scale": jnp.ones_like(angles[0]),
            "expression": pose.expression,
        }

    picture = (1, size, size, 3)
    return Program(
        name=KEYPOINTS,
        players={"detector": STAGE, "pose": STAGE},
        function=function,
        inputs=_picture(size, "b"),
        variables=lambda: {
            "detector": shapes_of(detector, picture),
            "pose": shapes_of(poser, picture),
        },
    )


def _liveportrait(config: GeneratorConfig) -> tuple[Program, ...]:
    sizes = config.liveportrait
    return (
        _liveportrait_keypoints(config),
        _liveportrait_appearance(sizes.generator.appearance, config.size),
        _liveportrait_frames(config),
        _stitching(config),
    )


def _liveportrait_keypoints(config: GeneratorConfig) -> Program:
    net = MotionExtractor(config.liveportrait.motion)

    def function(variables: Variables, inputs: Arrays) -> Arrays:
        motion = _apply(net, variables, unit(inputs["picture"]))
        pose = motion.pose
        angles = [
            placement.liveportrait_degrees(logits) for logits in (pose.yaw, pose.pitch, pose.roll)
        ]
        # Of the translation only x and y count there.
        return {
            "canonical": motion.canonical,
            "rotation": placement.liveportrait_rotation(*angles),
            "translation": pose.translation.at[:, 2].set(0),
            "scale": motion.scale[:, 0],
            "expression": pose.expression,
        }

    return program(
        KEYPOINTS,
        player="motion",
        stage=STAGE,
        function=function,
        inputs=_picture(config.size, "b"),
        variables=lambda: shapes_of(net, (1, config.size, config.size, 3)),
    )


def _liveportrait_appearance(sizes: AppearanceConfig, size: int) -> Program:
    net = Appearance(sizes)
    return program(
        APPEARANCE,
        player="appearance",
        stage=STAGE,
        function=lambda variables, inputs: {
            "volume": _apply(net, variables, unit(inputs["picture"]))
        },
        inputs=_picture(size),
        variables=lambda: shapes_of(net, (1, size, size, 3)),
    )


def _liveportrait_frames(config: GeneratorConfig) -> Program:
    sizes = config.liveportrait.generator
    warping, decoder = Warping(sizes.warping), SpadeDecoder(sizes.decoder)
    inputs = _frame_inputs(config)

    def function(given: Given, inputs: Arrays) -> Arrays:
        warped = _apply(warping, given["warping"], *_spread(inputs))
        return {"image": _apply(decoder, given["decoder"], warped.features)}

    volume, (_, count, _) = inputs["volume"][0], inputs["driving"][0]
    keypoints, side = (1, count, 3), volume[2]
    return Program(
        name=FRAMES,
        players={"warping": STAGE, "decoder": STAGE},
        function=function,
        inputs=inputs,
        variables=lambda: {
            "warping": shapes_of(warping, volume, keypoints, keypoints),
            "decoder": shapes_of(decoder, (1, side, side, sizes.warping.width)),
        },
    )


def _stitching(config: GeneratorConfig) -> Program:
    """Driving keypoints as the shoulders of the picture allow them."""
    net, count = Retargeting(config.liveportrait.stitching), keypoint_count(config)

    def function(variables: Variables, inputs: Arrays) -> Arrays:
        driving, source = inputs["driving"], _for_every_frame(inputs, "source")
        return {"driving": stitch(driving, _apply(net, variables, source, driving))}

    return program(
        STITCHING,
        player="stitching",
        stage=STAGE,
        function=function,
        inputs={
            "driving": (("b", count, 3), jnp.float32),
            "source": ((1, count, 3), jnp.float32),
        },
        variables=lambda: shapes_of(net, (1, count, 3), (1, count, 3)),
    )
