"""Rules that carry weights of LivePortrait over and back (github.com/KwaiVGI/LivePortrait).

Pictures are RGB in [0, 1] there too.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from talkface_jax.interop.torch_layouts import simple
from talkface_jax.interop.torch_modules import affine, layer, linear
from talkface_jax.interop.torch_network import Place, TorchNetwork, require
from talkface_jax.interop.torch_rules import Rule
from talkface_jax.methods.emoconv.generators import LivePortraitConfig
from talkface_jax.methods.emoconv.torch_parts import (
    SIZE,
    SPECTRAL,
    appearance_rules,
    decoder_rules,
    shapes,
    warping_rules,
)
from talkface_jax.models.render.latent_keypoints.appearance import Appearance
from talkface_jax.models.render.latent_keypoints.motion_extractor import MotionExtractor
from talkface_jax.models.render.latent_keypoints.retargeting import Retargeting, RetargetingConfig
from talkface_jax.models.render.latent_keypoints.spade_decoder import SpadeDecoder
from talkface_jax.models.render.latent_keypoints.warping import Warping

_PICTURE = (SIZE, SIZE, 3)
_CORRECTIONS = "retargeting_models/stitching_retargeting_module.pth"
_RESPONSE = simple(lambda x: x.reshape(-1), lambda x: np.reshape(x, (1, 1, 1, -1)))
_HEADS = {
    "canonical": "fc_kp",
    "scale": "fc_scale",
    "yaw": "fc_yaw",
    "pitch": "fc_pitch",
    "roll": "fc_roll",
    "translation": "fc_t",
    "expression": "fc_exp",
}


def _motion_rules(config: LivePortraitConfig) -> tuple[Rule, ...]:
    """`MotionExtractor` -> ours."""
    require("motion.backbone: ", config.motion.backbone, {"blocks": (3, 3, 9, 3)})
    halve = r"detector\.downsample_layers\.([123])"
    torch, ours = r"detector\.stages\.(\d+)\.(\d+)", r"backbone/stage_\1_\2"
    rules = [
        *layer(r"detector\.downsample_layers\.0\.0", "backbone/stem"),
        *affine(r"detector\.downsample_layers\.0\.1", "backbone/stem_norm"),
        *affine(rf"{halve}\.0", r"backbone/halve_\1_norm"),
        *layer(rf"{halve}\.1", r"backbone/halve_\1"),
        *layer(rf"{torch}\.dwconv", f"{ours}/depthwise"),
        *affine(rf"{torch}\.norm", f"{ours}/norm"),
        *linear(rf"{torch}\.pwconv1", f"{ours}/widen"),
        Rule(rf"{torch}\.grn\.gamma", (f"params/{ours}/response/scale",), _RESPONSE),
        Rule(rf"{torch}\.grn\.beta", (f"params/{ours}/response/bias",), _RESPONSE),
        *linear(rf"{torch}\.pwconv2", f"{ours}/narrow"),
        *affine(r"detector\.norm", "backbone/norm"),
    ]
    for name, head in _HEADS.items():
        rules += linear(rf"detector\.{head}", name)
    return tuple(rules)


def _decoder_rules(config: LivePortraitConfig) -> tuple[Rule, ...]:
    """`SPADEDecoder` -> `SpadeDecoder`."""
    require("generator.decoder: ", config.generator.decoder, {"blocks": 6, "hidden": 128})
    colour = r"conv_img\.0" if config.generator.decoder.unfold == 2 else "conv_img"
    return decoder_rules("", "", colour=colour)


def _retargeting_rules(config: RetargetingConfig) -> tuple[Rule, ...]:
    """`StitchingRetargetingNetwork`, whose every second layer is a ReLU -> `Retargeting`."""
    rules: list[Rule] = []
    for index in range(len(config.hidden)):
        rules += linear(rf"mlp\.{2 * index}", f"hidden_{index}")
    return (*rules, *linear(rf"mlp\.{2 * len(config.hidden)}", "last"))


def _retargeting_shapes(config: RetargetingConfig, goal: int) -> Mapping[str, object]:
    return shapes(Retargeting(config), (config.keypoints, 3), (goal,))


def _warping_shapes(config: LivePortraitConfig) -> Mapping[str, object]:
    appearance, warping = config.generator.appearance, config.generator.warping
    side, keypoints = SIZE // 2**appearance.halvings, (warping.motion.keypoints, 3)
    volume = (appearance.depth, side, side, appearance.volume_channels)
    return shapes(Warping(warping), volume, keypoints, keypoints)


def _decoder_shapes(config: LivePortraitConfig) -> Mapping[str, object]:
    decoder = config.generator.decoder
    return shapes(SpadeDecoder(decoder), (SIZE // 4, SIZE // 4, decoder.width))


NETWORKS: Mapping[str, TorchNetwork] = MappingProxyType(
    {
        "appearance_feature_extractor": TorchNetwork(
            stage="generator",
            player="appearance",
            config=LivePortraitConfig,
            place=Place("base_models/appearance_feature_extractor.pth"),
            rules=lambda config: appearance_rules(""),
            template=lambda config: shapes(Appearance(config.generator.appearance), _PICTURE),
        ),
        "motion_extractor": TorchNetwork(
            stage="generator",
            player="motion",
            config=LivePortraitConfig,
            place=Place("base_models/motion_extractor.pth"),
            rules=_motion_rules,
            template=lambda config: shapes(MotionExtractor(config.motion), _PICTURE),
        ),
        "warping_module": TorchNetwork(
            stage="generator",
            player="warping",
            config=LivePortraitConfig,
            place=Place("base_models/warping_module.pth"),
            rules=lambda config: warping_rules(""),
            template=_warping_shapes,
        ),
        "spade_generator": TorchNetwork(
            stage="generator",
            player="decoder",
            config=LivePortraitConfig,
            place=Place("base_models/spade_generator.pth"),
            rules=_decoder_rules,
            template=_decoder_shapes,
            spectral=SPECTRAL,
        ),
        "stitching": TorchNetwork(
            stage="generator",
            player="stitching",
            config=LivePortraitConfig,
            place=Place(_CORRECTIONS, "retarget_shoulder"),
            rules=lambda config: _retargeting_rules(config.stitching),
            template=lambda config: _retargeting_shapes(
                config.stitching, 3 * config.stitching.keypoints
            ),
        ),
        "lip": TorchNetwork(
            stage="generator",
            player="lips",
            config=LivePortraitConfig,
            place=Place(_CORRECTIONS, "retarget_mouth"),
            rules=lambda config: _retargeting_rules(config.lips),
            template=lambda config: _retargeting_shapes(config.lips, 2),
        ),
        "eye": TorchNetwork(
            stage="generator",
            player="eyes",
            config=LivePortraitConfig,
            place=Place(_CORRECTIONS, "retarget_eye"),
            rules=lambda config: _retargeting_rules(config.eyes),
            template=lambda config: _retargeting_shapes(config.eyes, 3),
        ),
    }
)
"""The released networks by their names there; the config is a `LivePortraitConfig`."""
