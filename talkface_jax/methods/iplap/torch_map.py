"""Rules that carry IP-LAP weights over from the released code and back
(github.com/Weizhi-Zhong/IP-LAP).

The released networks see BGR images, ours RGB: the layers that touch images have their colour
channels reversed here, so that the networks themselves know nothing of it. Sketches are grey and
need nothing.

The renderer's checkpoints hold a frozen VGG-19 besides (`perceptual.*`). It is ignored when weights
are read and is not written: the released Renderer loads what is written here with strict=False, and
keeps the VGG-19 of its own constructor.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.interop.torch_layouts import (
    CONV,
    LINEAR,
    SAME,
    Layout,
    attention_output,
    attention_projection,
    reversed_channels,
)
from talkface_jax.interop.torch_modules import affine, batch_norm, kernel, layer
from talkface_jax.interop.torch_network import TorchNetwork, require
from talkface_jax.interop.torch_rules import Rule
from talkface_jax.methods.iplap import programs
from talkface_jax.methods.iplap.motion.config import MotionConfig
from talkface_jax.methods.iplap.render.config import RenderConfig
from talkface_jax.models.discriminators import (
    MultiscaleDiscriminator,
    MultiscaleDiscriminatorConfig,
)

_POSITIONS = 512
_BGR_IN = reversed_channels(0, 3, axis=1).then(CONV)
_BGR_OUT = reversed_channels(0, 3, axis=0).then(CONV)


def _stack(torch: str, ours: str) -> tuple[Rule, ...]:
    """A `ConvStack`."""
    return (
        *layer(rf"{torch}\.(\d+)\.conv_block\.0", rf"{ours}/block_\1/conv"),
        *batch_norm(rf"{torch}\.(\d+)\.conv_block\.1", rf"{ours}/block_\1/norm"),
    )


def _positions(norm: np.ndarray) -> np.ndarray:
    """The position encoding that the released code keeps, (1, 512, width).

    Its network adds the first rows, as ours does. Rounded as there: angles in single precision.
    """
    width = len(norm)
    exponents = np.arange(0, width, 2, dtype=np.float32) * np.float32(-math.log(10_000.0) / width)
    rates = np.exp(exponents.astype(np.float64)).astype(np.float32)
    angles = (np.arange(_POSITIONS, dtype=np.float32)[:, None] * rates).astype(np.float64)
    both = np.stack([np.sin(angles), np.cos(angles)], -1)
    return both.reshape(1, _POSITIONS, width).astype(np.float32)


def motion_rules(heads: int) -> tuple[Rule, ...]:
    """`Landmark_generator` -> `LandmarkTransformer` with conv encoders and the absolute head."""
    torch = r"fusion_transformer\.transformer_encoder\.layers\.(\d+)"
    attention = r"layer_\1/attention"
    projections = ("query", "key", "value")
    return (
        Rule(
            r"fusion_transformer\.position_v\.pe", ("params/token_norm/scale",), buffer=_positions
        ),
        Rule(
            r"fusion_transformer\.position_a\.pe", ("params/token_norm/scale",), buffer=_positions
        ),
        *_stack("mel_encoder", "mel_encoder"),
        *_stack("ref_encoder", "reference_encoder"),
        *_stack("pose_encoder", "pose_encoder"),
        *affine("Norm", "token_norm"),
        Rule(r"fusion_transformer\.modality\.weight", ("params/modality",), SAME),
        Rule(
            rf"{torch}\.self_attn\.in_proj_weight",
            tuple(rf"params/{attention}/{name}/kernel" for name in projections),
            attention_projection(heads),
        ),
        Rule(
            rf"{torch}\.self_attn\.in_proj_bias",
            tuple(rf"params/{attention}/{name}/bias" for name in projections),
            attention_projection(heads),
        ),
        *layer(rf"{torch}\.self_attn\.out_proj", rf"{attention}/out", attention_output(heads)),
        *layer(rf"{torch}\.linear1", r"layer_\1/mlp_in", LINEAR),
        *layer(rf"{torch}\.linear2", r"layer_\1/mlp_out", LINEAR),
        *affine(rf"{torch}\.norm([12])", r"layer_\1/norm_\2"),
        *layer("mouse_keypoint_map", "lips", LINEAR),
        *layer("jaw_keypoint_map", "jaw", LINEAR),
    )


def _stem(torch: str, ours: str) -> tuple[Rule, ...]:
    """A `Stem`, its convolutions without their biases."""
    return (
        kernel(rf"{torch}\.conv1", f"{ours}/stem/conv_1", _BGR_IN),
        *batch_norm(rf"{torch}\.conv1_bn", f"{ours}/stem/norm_1"),
        kernel(rf"{torch}\.conv2", f"{ours}/stem/conv_2"),
        *batch_norm(rf"{torch}\.conv2_bn", f"{ours}/stem/norm_2"),
    )


def _spade(torch: str, ours: str, shared: Layout = CONV) -> tuple[Rule, ...]:
    inner = rf"{torch}\.spade_layer_([12])"
    return (
        *layer(rf"{torch}\.conv_([12])", rf"{ours}/conv_\1"),
        *layer(rf"{inner}\.conv1", rf"{ours}/modulation_\1/shared", shared),
        *layer(rf"{inner}\.gamma", rf"{ours}/modulation_\1/scale"),
        *layer(rf"{inner}\.beta", rf"{ours}/modulation_\1/offset"),
    )


def _adain(torch: str, ours: str) -> tuple[Rule, ...]:
    inner = rf"{torch}\.adain_layer_([12])"
    return (
        *layer(rf"{torch}\.conv_([12])", rf"{ours}/conv_\1"),
        *layer(rf"{inner}\.mlp_shared\.0", rf"{ours}/modulation_\1/shared", LINEAR),
        *layer(rf"{inner}\.mlp_gamma", rf"{ours}/modulation_\1/scale", LINEAR),
        *layer(rf"{inner}\.mlp_beta", rf"{ours}/modulation_\1/offset", LINEAR),
    )


RENDER_RULES: tuple[Rule, ...] = (
    Rule(r"perceptual\..*"),
    *_stem("flow_module", "alignment"),
    # Only this stem's convolutions have biases.
    Rule(r"flow_module\.conv([12])\.bias", (r"params/alignment/stem/conv_\1/bias",)),
    *_spade(r"flow_module\.spade_layer_1", "alignment/spade_1"),
    *_spade(r"flow_module\.spade_layer_2", "alignment/spade_2"),
    *_spade(r"flow_module\.spade_layer_4", "alignment/spade_3"),
    *layer(r"flow_module\.conv_4", "alignment/flow"),
    *layer(r"flow_module\.conv_5\.0", "alignment/weight_hidden"),
    *layer(r"flow_module\.conv_5\.2", "alignment/weight"),
    *_stack(r"translation\.audio_encoder", "translation/audio_encoder"),
    *_stem("translation", "translation"),
    *_spade(r"translation\.spade_1", "translation/spade_1"),
    *_spade(r"translation\.spade_2", "translation/spade_2"),
    # This one is conditioned on the warped image itself.
    *_spade(r"translation\.spade_4", "translation/spade_3", _BGR_IN),
    *_adain(r"translation\.adain_1", "translation/adain_1"),
    *_adain(r"translation\.adain_2", "translation/adain_2"),
    kernel(r"translation\.conv_last", "translation/to_rgb", _BGR_OUT),
)
"""`Renderer` -> `ReferenceWarping` of the published structure."""


def discriminator_rules(config: MultiscaleDiscriminatorConfig) -> tuple[Rule, ...]:
    """pix2pixHD's `MultiscaleDiscriminator` with intermediate features; it counts its scales from
    the smallest input, ours from the largest."""
    rules: list[Rule] = []
    for torch in range(config.scales):
        ours = f"scale_{config.scales - 1 - torch}"
        rules += layer(rf"scale{torch}_layer0\.0", f"{ours}/conv_0", _BGR_IN)
        for index in range(1, config.layers + 2):
            rules += layer(rf"scale{torch}_layer{index}\.0", f"{ours}/conv_{index}")
    return tuple(rules)


def _require(stage: str, net: Any, published: Mapping[str, Any]) -> None:
    require(f"{stage}: task.net.", net, published, code="the released IP-LAP code")


def _motion(config: MotionConfig) -> MotionConfig:
    published = {
        "head": "absolute",
        "pose_features": "points",
        "encoder": "conv",
        "positions": "sinusoid",
    }
    _require("motion", config.net, published)
    return config


def _render(config: RenderConfig) -> RenderConfig:
    published = {
        "design": "published",
        "sketch_channels": 3,
        "grid": "released",
    }
    _require("render", config.net, published)
    return config


def _render_rules(config: RenderConfig) -> tuple[Rule, ...]:
    _render(config)
    return RENDER_RULES


def _discriminator(config: RenderConfig) -> MultiscaleDiscriminatorConfig:
    return MultiscaleDiscriminatorConfig(channels=config.disc_channels)


def _discriminator_template(config: RenderConfig) -> Mapping[str, Any]:
    image = jax.ShapeDtypeStruct((1, config.net.size, config.net.size, 3), jnp.float32)
    net = MultiscaleDiscriminator(_discriminator(config))
    return jax.eval_shape(net.init, jax.random.key(0), image)


NETWORKS: Mapping[str, TorchNetwork] = MappingProxyType(
    {
        "motion": TorchNetwork(
            stage="motion",
            player="motion",
            config=MotionConfig,
            rules=lambda config: motion_rules(_motion(config).net.heads),
            template=lambda config: programs.motion_program(_motion(config)).variables()["motion"],
        ),
        "render": TorchNetwork(
            stage="render",
            player="renderer",
            config=RenderConfig,
            rules=_render_rules,
            template=lambda config: programs.render_program(_render(config)).variables()[
                "renderer"
            ],
        ),
        "discriminator": TorchNetwork(
            stage="render",
            player="disc",
            config=RenderConfig,
            rules=lambda config: discriminator_rules(_discriminator(config)),
            template=_discriminator_template,
        ),
    }
)
"""The released networks by the name that `talkface convert --stage` gives them."""
