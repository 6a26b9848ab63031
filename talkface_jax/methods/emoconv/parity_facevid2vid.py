"""What ours and the unofficial face-vid2vid code must agree on, file by file of a parity case.

The published sizes, in evaluation mode. Tolerances are for float32 throughout; an intermediate
tensor without one may differ by a thousandth of its deviation.
"""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from talkface_jax.interop.cases import Case, Check
from talkface_jax.interop.outputs import compare_outputs
from talkface_jax.interop.suites import Suite
from talkface_jax.methods.emoconv.generators import FaceVid2VidConfig
from talkface_jax.methods.emoconv.tapped import (
    case_variables,
    channels_first,
    pictures,
    pose_outputs,
    run_tapped,
)
from talkface_jax.methods.emoconv.torch_map_facevid2vid import NETWORKS, antialias_kernel
from talkface_jax.models.render.latent_keypoints import placement
from talkface_jax.models.render.latent_keypoints.generator import LatentGenerator
from talkface_jax.models.render.latent_keypoints.head_pose import HeadPose
from talkface_jax.models.render.latent_keypoints.keypoints import (
    KeypointDetector,
    shrink_smoothed,
)

DETECTOR = "kp_detector.npz"
POSE = "he_estimator.npz"
GENERATOR = "generator.npz"

TOLERANCES = {
    DETECTOR: {"kp_canonical": 2e-4},
    POSE: {
        **dict.fromkeys(("yaw", "pitch", "roll", "t", "exp", "kp_transformed"), 1e-4),
        **dict.fromkeys(("yaw_degrees", "pitch_degrees", "roll_degrees"), 1e-3),
    },
    GENERATOR: {"mask": 2e-4, "occlusion_map": 1e-4, "prediction": 5e-4},
}
"""Absolute, by file and output."""
_CONFIG = FaceVid2VidConfig()
_PICTURE = ("b", 3, 256, 256)


def _variables(case: Case, name: str) -> object:
    return case_variables(case, name, NETWORKS[name], _CONFIG)


def _check_detector(case: Case) -> Iterator[Check]:
    kernel = antialias_kernel(_CONFIG.detector.shrink)
    names = {"in_image_u8": _PICTURE, "in_antialias_kernel": kernel.shape}
    given = case.arrays(DETECTOR, names)
    image = pictures(given["in_image_u8"])
    points, found = run_tapped(
        KeypointDetector(_CONFIG.detector),
        _variables(case, "kp_detector"),
        image,
        taps={
            "down_0": "down_0",
            "bottleneck": "bottom",
            "up_0": "up_0",
            "feature_map": "up_4",
            "kp_logits": "logits",
        },
    )
    smaller = shrink_smoothed(jnp.asarray(image), _CONFIG.detector.shrink)
    found["antialias_down"] = channels_first(smaller)
    found["kp_canonical"] = np.asarray(points)
    error = float(np.max(np.abs(kernel - given["in_antialias_kernel"])))
    yield Check(DETECTOR, "in_antialias_kernel", error, 1e-6)
    yield from compare_outputs(case, DETECTOR, found, tolerances=TOLERANCES[DETECTOR])


def _check_pose(case: Case) -> Iterator[Check]:
    names = {"in_image_u8": _PICTURE, "in_kp_canonical": ("b", _CONFIG.pose.keypoints, 3)}
    given = case.arrays(POSE, names)
    pose, found = run_tapped(
        HeadPose(_CONFIG.pose),
        _variables(case, "he_estimator"),
        pictures(given["in_image_u8"]),
        taps={
            "block1": "stage_0_2",
            "block2": "stage_1_halve",
            "block4": "stage_2_halve",
            "block6": "stage_3_halve",
            "block7": "stage_3_1",
        },
    )
    found |= pose_outputs(
        pose,
        degrees=placement.facevid2vid_degrees,
        rotation=placement.facevid2vid_rotation,
    )
    moved = placement.facevid2vid_keypoints(jnp.asarray(given["in_kp_canonical"]), pose)
    found["kp_transformed"] = np.asarray(moved)
    yield from compare_outputs(case, POSE, found, tolerances=TOLERANCES[POSE])


def _check_generator(case: Case) -> Iterator[Check]:
    keypoints = ("b", _CONFIG.generator.warping.motion.keypoints, 3)
    names = {"in_source_u8": _PICTURE, "in_kp_driving": keypoints, "in_kp_source": keypoints}
    given = case.arrays(GENERATOR, names)
    out, found = run_tapped(
        LatentGenerator(_CONFIG.generator),
        _variables(case, "generator"),
        pictures(given["in_source_u8"]),
        given["in_kp_driving"],
        given["in_kp_source"],
        taps={
            "first": "appearance/first",
            "second": "appearance/second",
            "feature_3d": "appearance",
            "hourglass": "warping/dense_motion/hourglass",
            "mask_logits": "warping/dense_motion/mask",
            "third": "warping/third",
            "fourth": "warping/fourth",
            "G_middle_0": "decoder/middle_0",
            "G_middle_5": "decoder/middle_5",
            "up_0": "decoder/up_0",
            "up_1": "decoder/up_1",
            "conv_img": "decoder/colour",
        },
    )
    found["mask"] = channels_first(out.motion.mask)
    found["occlusion_map"] = channels_first(out.motion.occlusion)
    found["prediction"] = channels_first(out.image)
    yield from compare_outputs(case, GENERATOR, found, tolerances=TOLERANCES[GENERATOR])


CHECKS: Suite = {
    DETECTOR: _check_detector,
    POSE: _check_pose,
    GENERATOR: _check_generator,
}
"""By file of a parity case."""
