"""Rules that carry the released IP-LAP weights over (github.com/Weizhi-Zhong/IP-LAP).

The released networks see BGR images, ours RGB: the layers that touch images have their colour
channels reversed here, so that the networks themselves know nothing of it. Sketches are grey and
need nothing.
"""

from talkface_jax.interop.torch_rules import (
    CONV,
    LINEAR,
    SAME,
    Layout,
    Rule,
    attention_output,
    attention_projection,
    reversed_channels,
)

_IGNORED = (Rule(r".*num_batches_tracked"),)
_BGR_IN = reversed_channels(0, 3, axis=1).then(CONV)
_BGR_OUT = reversed_channels(0, 3, axis=0).then(CONV)


def _affine(torch: str, ours: str) -> tuple[Rule, ...]:
    """A normalisation's learned scale and offset."""
    return (
        Rule(rf"{torch}\.weight", (f"params/{ours}/scale",)),
        Rule(rf"{torch}\.bias", (f"params/{ours}/bias",)),
    )


def _batch_norm(torch: str, ours: str) -> tuple[Rule, ...]:
    return (
        *_affine(torch, ours),
        Rule(rf"{torch}\.running_mean", (f"batch_stats/{ours}/mean",)),
        Rule(rf"{torch}\.running_var", (f"batch_stats/{ours}/var",)),
    )


def _layer(torch: str, ours: str, layout: Layout = CONV) -> tuple[Rule, ...]:
    """A convolution or a linear layer."""
    return (
        Rule(rf"{torch}\.weight", (f"params/{ours}/kernel",), layout),
        Rule(rf"{torch}\.bias", (f"params/{ours}/bias",)),
    )


def _stack(torch: str, ours: str) -> tuple[Rule, ...]:
    """A `ConvStack`."""
    return (
        *_layer(rf"{torch}\.(\d+)\.conv_block\.0", rf"{ours}/block_\1/conv"),
        *_batch_norm(rf"{torch}\.(\d+)\.conv_block\.1", rf"{ours}/block_\1/norm"),
    )


def motion_rules(heads: int) -> tuple[Rule, ...]:
    """`Landmark_generator` -> `LandmarkTransformer` with conv encoders and the absolute head."""
    torch = r"fusion_transformer\.transformer_encoder\.layers\.(\d+)"
    attention = r"layer_\1/attention"
    projections = ("query", "key", "value")
    return (
        *_IGNORED,
        Rule(r"fusion_transformer\.position_[va]\.pe"),
        *_stack("mel_encoder", "mel_encoder"),
        *_stack("ref_encoder", "reference_encoder"),
        *_stack("pose_encoder", "pose_encoder"),
        *_affine("Norm", "token_norm"),
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
        *_layer(rf"{torch}\.self_attn\.out_proj", rf"{attention}/out", attention_output(heads)),
        *_layer(rf"{torch}\.linear1", r"layer_\1/mlp_in", LINEAR),
        *_layer(rf"{torch}\.linear2", r"layer_\1/mlp_out", LINEAR),
        *_affine(rf"{torch}\.norm([12])", r"layer_\1/norm_\2"),
        *_layer("mouse_keypoint_map", "lips", LINEAR),
        *_layer("jaw_keypoint_map", "jaw", LINEAR),
    )


def _stem(torch: str, ours: str) -> tuple[Rule, ...]:
    return (
        *_layer(rf"{torch}\.conv1", f"{ours}/stem/conv_1", _BGR_IN),
        *_batch_norm(rf"{torch}\.conv1_bn", f"{ours}/stem/norm_1"),
        *_layer(rf"{torch}\.conv2", f"{ours}/stem/conv_2"),
        *_batch_norm(rf"{torch}\.conv2_bn", f"{ours}/stem/norm_2"),
    )


def _spade(torch: str, ours: str, shared: Layout = CONV) -> tuple[Rule, ...]:
    inner = rf"{torch}\.spade_layer_([12])"
    return (
        *_layer(rf"{torch}\.conv_([12])", rf"{ours}/conv_\1"),
        *_layer(rf"{inner}\.conv1", rf"{ours}/modulation_\1/shared", shared),
        *_layer(rf"{inner}\.gamma", rf"{ours}/modulation_\1/scale"),
        *_layer(rf"{inner}\.beta", rf"{ours}/modulation_\1/offset"),
    )


def _adain(torch: str, ours: str) -> tuple[Rule, ...]:
    inner = rf"{torch}\.adain_layer_([12])"
    return (
        *_layer(rf"{torch}\.conv_([12])", rf"{ours}/conv_\1"),
        *_layer(rf"{inner}\.mlp_shared\.0", rf"{ours}/modulation_\1/shared", LINEAR),
        *_layer(rf"{inner}\.mlp_gamma", rf"{ours}/modulation_\1/scale", LINEAR),
        *_layer(rf"{inner}\.mlp_beta", rf"{ours}/modulation_\1/offset", LINEAR),
    )


RENDER_RULES: tuple[Rule, ...] = (
    *_IGNORED,
    Rule(r"perceptual\..*"),
    *_stem("flow_module", "alignment"),
    *_spade(r"flow_module\.spade_layer_1", "alignment/spade_1"),
    *_spade(r"flow_module\.spade_layer_2", "alignment/spade_2"),
    *_spade(r"flow_module\.spade_layer_4", "alignment/spade_3"),
    *_layer(r"flow_module\.conv_4", "alignment/flow"),
    *_layer(r"flow_module\.conv_5\.0", "alignment/weight_hidden"),
    *_layer(r"flow_module\.conv_5\.2", "alignment/weight"),
    *_stack(r"translation\.audio_encoder", "translation/audio_encoder"),
    *_stem("translation", "translation"),
    *_spade(r"translation\.spade_1", "translation/spade_1"),
    *_spade(r"translation\.spade_2", "translation/spade_2"),
    # This one is conditioned on the warped image itself.
    *_spade(r"translation\.spade_4", "translation/spade_3", _BGR_IN),
    *_adain(r"translation\.adain_1", "translation/adain_1"),
    *_adain(r"translation\.adain_2", "translation/adain_2"),
    Rule(r"translation\.conv_last\.weight", ("params/translation/to_rgb/kernel",), _BGR_OUT),
)
"""`Renderer` -> `ReferenceWarping` at its published sizes; the frozen VGG-19 in the file is
ignored."""


def _discriminator_rules(scales: int) -> tuple[Rule, ...]:
    """pix2pixHD counts its scales from the smallest input, ours from the largest."""
    rules: list[Rule] = []
    for torch in range(scales):
        ours = f"scale_{scales - 1 - torch}"
        rules += _layer(rf"scale{torch}_layer0\.0", f"{ours}/conv_0", _BGR_IN)
        rules += _layer(rf"scale{torch}_layer(\d+)\.0", rf"{ours}/conv_\1")
    return tuple(rules)


DISCRIMINATOR_RULES: tuple[Rule, ...] = _discriminator_rules(2)
"""pix2pixHD's `MultiscaleDiscriminator` (2 scales, intermediate features)."""
