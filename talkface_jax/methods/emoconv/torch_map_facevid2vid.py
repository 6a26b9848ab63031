"""Rules that carry weights of the unofficial face-vid2vid over and back
(github.com/zhanglonghao1992/One-Shot_Free-View_Neural_Talking_Head_Synthesis).

Pictures are RGB in [0, 1] there too. The released pose estimator names its heads of yaw and roll
the wrong way round: what it calls `fc_roll` gives the yaw. Here each has its own name.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from talkface_jax.interop.torch_modules import batch_norm, layer, linear
from talkface_jax.interop.torch_network import Place, TorchNetwork, require
from talkface_jax.interop.torch_rules import Rule
from talkface_jax.methods.emoconv.generators import FaceVid2VidConfig
from talkface_jax.methods.emoconv.torch_parts import (
    SIZE,
    SPECTRAL,
    appearance_rules,
    conv_norm,
    decoder_rules,
    shapes,
    warping_rules,
)
from talkface_jax.models.render.latent_keypoints.generator import LatentGenerator
from talkface_jax.models.render.latent_keypoints.head_pose import HeadPose
from talkface_jax.models.render.latent_keypoints.keypoints import (
    KeypointDetector,
    antialias_weights,
)

_PICTURE = (SIZE, SIZE, 3)
# Of each stage: the layer that widens, the block that halves, the plain blocks.
_STAGES = (
    ("2", "", r"block1\.b1_"),
    ("3", "block2", r"block3\.b3_"),
    ("4", "block4", r"block5\.b5_"),
    ("5", "block6", r"block7\.b7_"),
)
_HEADS = {
    "yaw": "fc_roll",
    "pitch": "fc_pitch",
    "roll": "fc_yaw",
    "translation": "fc_t",
    "expression": "fc_exp",
}


def antialias_kernel(shrink: int) -> np.ndarray:
    """The smoothing kernel (3, 1, n, n) that the released detector keeps as a buffer."""
    weights = antialias_weights(shrink)
    return np.broadcast_to(np.outer(weights, weights), (3, 1, len(weights), len(weights)))


def detector_rules(config: FaceVid2VidConfig) -> tuple[Rule, ...]:
    """`KPDetector` without Jacobians -> `KeypointDetector`."""
    shrink = config.detector.shrink
    return (
        Rule(
            r"down\.weight",
            ("params/logits/bias",),
            buffer=lambda _bias: antialias_kernel(shrink).copy(),
        ),
        *conv_norm(r"predictor\.down_blocks\.down(\d+)", r"down_\1/body"),
        *layer(r"predictor\.conv", "bottom"),
        *conv_norm(r"predictor\.up_blocks\.up(\d+)", r"up_\1/body"),
        *layer("kp", "logits"),
    )


def _bottleneck(torch: str, ours: str, groups: int) -> tuple[Rule, ...]:
    """A `Bottleneck`; its key holds `groups` groups."""
    place = rf"{ours}/body_\{groups + 1}"
    return (
        *layer(rf"{torch}\.conv([12])", f"{place}/conv"),
        *batch_norm(rf"{torch}\.norm([12])", f"{place}/norm"),
        *layer(rf"{torch}\.conv3", f"{ours}/conv_3"),
        *batch_norm(rf"{torch}\.norm3", f"{ours}/norm_3"),
    )


def _pose_rules(config: FaceVid2VidConfig) -> tuple[Rule, ...]:
    """`HEEstimator` -> `HeadPose`."""
    require("pose: ", config.pose, {"blocks": (3, 3, 5, 2)})
    rules = [*layer("conv1", "stem/conv"), *batch_norm("norm1", "stem/norm")]
    for stage, (number, halve, blocks) in enumerate(_STAGES):
        rules += layer(f"conv{number}", f"widen_{stage}/conv")
        rules += batch_norm(f"norm{number}", f"widen_{stage}/norm")
        if halve:
            ours = f"stage_{stage}_halve"
            rules += _bottleneck(halve, ours, 0)
            rules += layer(rf"{halve}\.skip", f"{ours}/skip")
            rules += batch_norm(rf"{halve}\.norm4", f"{ours}/skip_norm")
        rules += _bottleneck(rf"{blocks}(\d+)", rf"stage_{stage}_\1", 1)
    for ours, torch in _HEADS.items():
        rules += linear(torch, ours)
    return tuple(rules)


def _generator_rules(config: FaceVid2VidConfig) -> tuple[Rule, ...]:
    """`OcclusionAwareSPADEGenerator` -> `LatentGenerator`."""
    fixed = {"width": 256, "blocks": 6, "last": 64, "hidden": 128, "unfold": 1}
    require("generator.decoder: ", config.generator.decoder, fixed)
    return (
        *appearance_rules("appearance/"),
        *warping_rules("warping/"),
        *decoder_rules(r"decoder\.", "decoder/", colour="conv_img"),
    )


def _generator_shapes(config: FaceVid2VidConfig) -> Mapping[str, object]:
    keypoints = (config.generator.warping.motion.keypoints, 3)
    return shapes(LatentGenerator(config.generator), _PICTURE, keypoints, keypoints)


NETWORKS: Mapping[str, TorchNetwork] = MappingProxyType(
    {
        "kp_detector": TorchNetwork(
            stage="generator",
            player="detector",
            config=FaceVid2VidConfig,
            place=Place(entry="kp_detector"),
            rules=detector_rules,
            template=lambda config: shapes(KeypointDetector(config.detector), _PICTURE),
        ),
        "he_estimator": TorchNetwork(
            stage="generator",
            player="pose",
            config=FaceVid2VidConfig,
            place=Place(entry="he_estimator"),
            rules=_pose_rules,
            template=lambda config: shapes(HeadPose(config.pose), _PICTURE),
        ),
        "generator": TorchNetwork(
            stage="generator",
            player="generator",
            config=FaceVid2VidConfig,
            place=Place(entry="generator"),
            rules=_generator_rules,
            template=_generator_shapes,
            spectral=SPECTRAL,
        ),
    }
)
"""The released networks by their names there; the config is a `FaceVid2VidConfig`."""
