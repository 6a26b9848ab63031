"""What ours and LivePortrait's code must agree on, file by file of a parity case.

The released sizes, in evaluation mode. Tolerances are for float32 throughout; an intermediate
tensor without one may differ by a thousandth of its deviation.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.interop.cases import Case, Check
from talkface_jax.interop.outputs import compare_outputs
from talkface_jax.interop.suites import Suite
from talkface_jax.methods.emoconv.generators import LivePortraitConfig
from talkface_jax.methods.emoconv.tapped import (
    case_variables,
    channels_first,
    pictures,
    pose_outputs,
    run_tapped,
)
from talkface_jax.methods.emoconv.torch_map_liveportrait import NETWORKS
from talkface_jax.models.blocks import pixel_shuffle
from talkface_jax.models.render.latent_keypoints import placement
from talkface_jax.models.render.latent_keypoints.appearance import Appearance
from talkface_jax.models.render.latent_keypoints.motion_extractor import MotionExtractor
from talkface_jax.models.render.latent_keypoints.retargeting import Retargeting, stitch
from talkface_jax.models.render.latent_keypoints.spade_decoder import SpadeDecoder
from talkface_jax.models.render.latent_keypoints.warping import Warping

APPEARANCE = "appearance_feature_extractor.npz"
MOTION = "motion_extractor.npz"
WARPING = "warping_module.npz"
DECODER = "spade_generator.npz"
RETARGETING = "stitching_retargeting.npz"
PIPELINE = "pipeline.npz"

_ANGLES = ("pitch", "yaw", "roll")
TOLERANCES = {
    APPEARANCE: {"feature_3d": 1e-4},
    MOTION: {
        **dict.fromkeys((*_ANGLES, "t", "exp", "scale", "kp"), 1e-4),
        **dict.fromkeys((f"{name}_degrees" for name in _ANGLES), 1e-3),
        **dict.fromkeys(("rotation", "kp_transformed"), 1e-4),
    },
    WARPING: {"deformation": 1e-4, "occlusion_map": 1e-4, "out": 5e-4},
    DECODER: {"image": 1e-4},
    RETARGETING: dict.fromkeys(
        ("stitch_delta", "stitched_kp_driving", "eye_delta", "lip_delta"), 1e-4
    ),
    PIPELINE: {
        **dict.fromkeys(("kp_source", "kp_driving"), 1e-4),
        **dict.fromkeys(("deformation", "occlusion_map"), 2e-4),
        "feature": 2e-3,
        "image": 4e-3,
    },
}
"""Absolute, by file and output."""
_CONFIG = LivePortraitConfig()
_GENERATOR = _CONFIG.generator
_PICTURE = ("b", 3, 256, 256)
_KEYPOINTS = ("b", _CONFIG.motion.keypoints, 3)
_CORRECTIONS = "stitching_retargeting_module."


def _variables(case: Case, name: str) -> Any:
    network = NETWORKS[name.removeprefix(_CORRECTIONS)]
    return case_variables(case, name, network, _CONFIG)


def _check_appearance(case: Case) -> Iterator[Check]:
    given = case.arrays(APPEARANCE, {"in_image_u8": _PICTURE})
    volume, found = run_tapped(
        Appearance(_GENERATOR.appearance),
        _variables(case, "appearance_feature_extractor"),
        pictures(given["in_image_u8"]),
        taps={
            "first": "first",
            "down_0": "down_0",
            "down_1": "down_1",
            "second": "second",
            "res_0": "residual_0",
        },
    )
    found["feature_3d"] = channels_first(volume)
    yield from compare_outputs(case, APPEARANCE, found, tolerances=TOLERANCES[APPEARANCE])


def _check_motion(case: Case) -> Iterator[Check]:
    given = case.arrays(MOTION, {"in_image_u8": _PICTURE})
    blocks = enumerate(_CONFIG.motion.backbone.blocks)
    motion, found = run_tapped(
        MotionExtractor(_CONFIG.motion),
        _variables(case, "motion_extractor"),
        pictures(given["in_image_u8"]),
        taps={
            "stem": "backbone/stem_norm",
            **{f"stage_{n}": f"backbone/stage_{n}_{count - 1}" for n, count in blocks},
            "norm": "backbone/norm",
        },
    )
    pose, rows = motion.pose, len(given["in_image_u8"])
    found |= pose_outputs(
        pose,
        degrees=placement.liveportrait_degrees,
        rotation=placement.liveportrait_rotation,
    )
    found["scale"] = np.asarray(motion.scale)
    found["kp"] = np.asarray(motion.canonical).reshape(rows, -1)
    found["kp_transformed"] = np.asarray(motion.keypoints())
    yield from compare_outputs(case, MOTION, found, tolerances=TOLERANCES[MOTION])


def _check_warping(case: Case) -> Iterator[Check]:
    given = case.arrays(WARPING, {"in_kp_driving": _KEYPOINTS, "in_kp_source": _KEYPOINTS})
    volume = case.made_input(WARPING, "feature_3d", ("b", 32, 16, 64, 64))
    hourglass = "dense_motion/hourglass"
    out, found = run_tapped(
        Warping(_GENERATOR.warping),
        _variables(case, "warping_module"),
        np.moveaxis(volume, 1, -1),
        given["in_kp_driving"],
        given["in_kp_source"],
        taps={
            "compressed_norm": "dense_motion/compress_norm",
            "down_0": f"{hourglass}/down_0",
            "bottleneck": f"{hourglass}/down_4",
            "hourglass": hourglass,
            "mask_logits": "dense_motion/mask",
            "third": "third",
        },
    )
    found["deformation"] = np.asarray(out.motion.deformation)
    found["occlusion_map"] = channels_first(out.motion.occlusion)
    found["out"] = channels_first(out.features)
    yield from compare_outputs(case, WARPING, found, tolerances=TOLERANCES[WARPING])


def _check_decoder(case: Case) -> Iterator[Check]:
    features = case.made_input(DECODER, "feature", ("b", 256, 64, 64))
    image, found = run_tapped(
        SpadeDecoder(_GENERATOR.decoder),
        _variables(case, "spade_generator"),
        np.moveaxis(features, 1, -1),
        taps={
            "fc": "first",
            "G_middle_0": "middle_0",
            "G_middle_5": "middle_5",
            "up_0": "up_0",
            "up_1": "up_1",
            "conv_img": "colour",
        },
    )
    colour = jnp.moveaxis(jnp.asarray(found["conv_img"]), 1, -1)
    found["conv_img"] = channels_first(pixel_shuffle(colour))
    found["image"] = channels_first(image)
    yield from compare_outputs(case, DECODER, found, tolerances=TOLERANCES[DECODER])


def _check_retargeting(case: Case) -> Iterator[Check]:
    given = case.arrays(
        RETARGETING,
        {
            "in_kp_source": _KEYPOINTS,
            "in_kp_driving": _KEYPOINTS,
            "in_eye_close_ratio": ("b", 3),
            "in_lip_close_ratio": ("b", 2),
        },
    )
    source, driving = given["in_kp_source"], given["in_kp_driving"]

    def correction(name: str, config: Any, goal: np.ndarray) -> np.ndarray:
        variables = _variables(case, _CORRECTIONS + name)
        return np.asarray(Retargeting(config).apply(variables, source, goal))

    delta = correction("stitching", _CONFIG.stitching, driving)
    eyes = correction("eye", _CONFIG.eyes, given["in_eye_close_ratio"])
    lips = correction("lip", _CONFIG.lips, given["in_lip_close_ratio"])
    found = {
        "stitch_delta": delta,
        "stitched_kp_driving": np.asarray(stitch(jnp.asarray(driving), jnp.asarray(delta))),
        "eye_delta": eyes.reshape(source.shape),
        "lip_delta": lips.reshape(source.shape),
    }
    yield from compare_outputs(case, RETARGETING, found, tolerances=TOLERANCES[RETARGETING])


def _check_pipeline(case: Case) -> Iterator[Check]:
    """All networks in a row, from two pictures to the picture of one in the other's pose."""
    given = case.arrays(PIPELINE, {"in_source_u8": _PICTURE, "in_driving_u8": _PICTURE})

    def apply(net: Any, name: str, *inputs: Any) -> Any:
        return jax.jit(net.apply)(_variables(case, name), *inputs)

    source = pictures(given["in_source_u8"])
    both = np.concatenate([source, pictures(given["in_driving_u8"])])
    motion = apply(MotionExtractor(_CONFIG.motion), "motion_extractor", both)
    at, to = jnp.split(motion.keypoints(), 2)
    volume = apply(Appearance(_GENERATOR.appearance), "appearance_feature_extractor", source)
    warped = apply(Warping(_GENERATOR.warping), "warping_module", volume, to, at)
    image = apply(SpadeDecoder(_GENERATOR.decoder), "spade_generator", warped.features)
    found = {
        "kp_source": np.asarray(at),
        "kp_driving": np.asarray(to),
        "occlusion_map": channels_first(warped.motion.occlusion),
        "deformation": np.asarray(warped.motion.deformation),
        "feature": channels_first(warped.features),
        "image": channels_first(image),
    }
    yield from compare_outputs(case, PIPELINE, found, tolerances=TOLERANCES[PIPELINE])


CHECKS: Suite = {
    APPEARANCE: _check_appearance,
    MOTION: _check_motion,
    WARPING: _check_warping,
    DECODER: _check_decoder,
    RETARGETING: _check_retargeting,
    PIPELINE: _check_pipeline,
}
"""By file of a parity case."""
