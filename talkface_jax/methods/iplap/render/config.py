"""Config of IP-LAP's renderer (Zhong et al., CVPR 2023; arXiv 2305.08293)."""

import dataclasses
from typing import Literal

from talkface_jax.models.render.reference_warping import ReferenceWarpingConfig
from talkface_jax.ranges import AT_LEAST_0, AT_LEAST_1, LAYERS, MARGIN, SMOOTH, ranged


@dataclasses.dataclass(frozen=True)
class RenderConfig:
    """Reference-warping renderer and its discriminator.

    Attributes:
      net: network sizes.
      references, inference_references: reference frames in training and at inference.
      margin, smooth: as in the motion stage; both stages of one bundle must agree.
      warmup_steps: steps on the warping loss alone (released code: 25 epochs).
      warp_weight, perceptual_weight, style_weight, adversarial_weight, matching_weight: loss
        weights.
      warp_loss: how warped references are compared with the target: by perceptual features, as
        released, or by pixels.
      l1_weight: weight of an L1 term on the image; 0 as published.
      mouth_weight: weight of an L1 term on the window about the lips (`net.window`); 0 as
        published.
      perceptual_region: what the perceptual network sees: the whole face as published, or that
        window.
      perceptual: which frozen network gives perceptual features; "vgg19" as published needs its
        file.
      perceptual_range: range that the perceptual network is fed; "released" keeps the released
        code's mismatch (its normaliser assumes [-1, 1]).
      vgg19_path: file with torchvision's VGG-19 weights, where `perceptual` is "vgg19".
      perceptual_scales: image scales of the perceptual loss (halved each time).
      perceptual_layers: depth of the features, 1 (relu1_1) to 5 (relu5_1).
      disc_channels: width of the discriminator (published: 64).
    """

    net: ReferenceWarpingConfig = dataclasses.field(default_factory=ReferenceWarpingConfig)
    references: int = ranged(3, AT_LEAST_1)
    inference_references: int = ranged(25, AT_LEAST_1)
    margin: float = ranged(0.2, MARGIN)
    smooth: float = ranged(12.0, SMOOTH)
    warmup_steps: int = ranged(0, AT_LEAST_0)
    warp_weight: float = ranged(2.5, AT_LEAST_0)
    warp_loss: Literal["perceptual", "l1"] = "perceptual"
    perceptual_weight: float = ranged(4.0, AT_LEAST_0)
    style_weight: float = ranged(1000.0, AT_LEAST_0)
    adversarial_weight: float = ranged(0.25, AT_LEAST_0)
    matching_weight: float = ranged(2.5, AT_LEAST_0)
    l1_weight: float = ranged(0.0, AT_LEAST_0)
    mouth_weight: float = ranged(0.0, AT_LEAST_0)
    perceptual_region: Literal["face", "mouth"] = "face"
    perceptual: Literal["vgg19", "vgg16", "none"] = "vgg19"
    perceptual_range: Literal["released", "imagenet"] = "released"
    vgg19_path: str = ""
    perceptual_scales: int = ranged(2, AT_LEAST_1)
    perceptual_layers: int = ranged(5, LAYERS)
    disc_channels: int = ranged(64, AT_LEAST_1)
