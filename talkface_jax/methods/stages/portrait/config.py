"""What a renderer that is given one picture is trained on, and by which losses."""

import dataclasses
from typing import Literal

from talkface_jax.ranges import AT_LEAST_0, AT_LEAST_1, LAYERS, MARGIN, SHARE, SMOOTH, ranged


@dataclasses.dataclass(frozen=True)
class PictureLosses:
    """How generated pictures are judged in training.

    "As published" is as the papers are remembered, so unverified too.

    Attributes:
      l1_weight: weight of the pixels' L1. Unverified default.
      region_weight: how much more the L1 counts at mouth and eyes: pixels there weigh 1 plus this,
        falling off around the points; 0 as published.
      adversarial_weight: weight of the GAN term; at 0 there is no discriminator.
        Unverified default.
      perceptual_weight: weight of the VGG term. Unverified default.
      perceptual: which frozen network gives perceptual features; "vgg19" as published needs its
        file. Unverified default.
      vgg19_path: file with torchvision's VGG-19 weights, where `perceptual` is "vgg19".
      perceptual_layers: depth of the features, 1 (relu1_1) to 5 (relu5_1). Unverified default.
      perceptual_scales: image scales of the perceptual loss (halved each time). Unverified default.
      perceptual_halvings: how often the image is halved before the first scale.
      mouth_weight: weight of the VGG term once more, of a close-up of the mouth, halved once less
        than the image; 0 as published.
      disc_channels: width of the discriminator. Unverified default.
      disc_scales: patch discriminators, each on half the size. Unverified default.
      disc_halvings: how often the images are halved before the first of them.
    """

    l1_weight: float = ranged(10.0, AT_LEAST_0)
    region_weight: float = ranged(0.0, AT_LEAST_0)
    adversarial_weight: float = ranged(1.0, AT_LEAST_0)
    perceptual_weight: float = ranged(10.0, AT_LEAST_0)
    perceptual: Literal["vgg19", "vgg16", "none"] = "vgg19"
    vgg19_path: str = ""
    perceptual_layers: int = ranged(5, LAYERS)
    perceptual_scales: int = ranged(1, AT_LEAST_1)
    perceptual_halvings: int = ranged(0, AT_LEAST_0)
    mouth_weight: float = ranged(0.0, AT_LEAST_0)
    disc_channels: int = ranged(64, AT_LEAST_1)
    disc_scales: int = ranged(1, AT_LEAST_1)
    disc_halvings: int = ranged(0, AT_LEAST_0)


@dataclasses.dataclass(frozen=True)
class PortraitConfig(PictureLosses):
    """Samples, losses and the conditional PatchGAN; a method adds its network as `net`.

    "As published" is as the papers are remembered, so unverified too.

    Attributes:
      align: "affine" moves the picture of the identity onto the target's head pose first, in
        training and at inference; "none" as published.
      margin: crop margin relative to the tight box of the 68 points. Unverified default.
      smooth: deviation, in frames, of the smoothing of the crop box over time. Unverified default.
      flip: whether half of the training samples are mirrored; off as published.
      colour_jitter: each colour channel of a training sample, identity and target alike, is
        multiplied by a factor within 1 ± this; 0 as published.
      closed_share: how often a training sample's target is replaced by a frame with closed eyes; 0
        as published.
      measure_lpips: whether evaluation gives LPIPS of the whole picture too, with AlexNet.
    """

    align: Literal["affine", "none"] = "none"
    margin: float = ranged(0.2, MARGIN)
    smooth: float = ranged(12.0, SMOOTH)
    flip: bool = False
    colour_jitter: float = ranged(0.0, SHARE)
    closed_share: float = ranged(0.0, SHARE)
    measure_lpips: bool = False
