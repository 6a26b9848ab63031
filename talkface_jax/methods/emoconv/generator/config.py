"""Config of the generator stage."""

import dataclasses
from typing import Literal

from talkface_jax.methods.emoconv.generators import FaceVid2VidConfig, LivePortraitConfig
from talkface_jax.ranges import AT_LEAST_0, AT_LEAST_1, LAYERS, SHARE, Range, ranged


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
    """Which generator, its samples and its losses.

    Weights of the losses are those of Wang et al. (CVPR 2021, arXiv 2011.15126) as the unofficial
    code has them, but for those that are ours and 0 by default.

    Attributes:
      family: whose networks: "facevid2vid", which can be trained here, or "liveportrait", whose
        released weights `talkface convert` takes.
      keypoints: where they come from: "detected", canonical keypoints, pose and expression by
        networks, as published; "tracked", 78 points of the tracked mesh
        (scheme `ibug78`); ours, for networks too small to find them.
      facevid2vid, liveportrait: sizes of the networks; those of `family` count.
      size: height and width of the pictures.
      reach: side of the square that is cut out, in sides of the tracked face's box
        (`landmarks.boxes.record_boxes`).
      flip: whether half of the training samples are mirrored.
      colour_jitter: each colour channel of a training sample, source and target alike, is
        multiplied by a factor within 1 ± this.
      closed_share: how often a training sample's target is a frame with closed eyes.
      perceptual_weight: of the VGG term.
      matching_weight: of feature matching on the discriminator.
      adversarial_weight: of the GAN term; at 0, as `matching_weight`, there is no discriminator.
      gan: "hinge" as published, or "least_squares".
      equivariance_weight: of keypoints that a warped picture should move alike.
      keypoint_weight: of keypoints that lie apart, at a mean depth.
      head_pose_weight: of the angles against the tracker's, in degrees.
      expression_weight: of the sizes of the expressions.
      l1_weight: of the pixels; ours.
      region_weight: how much more the L1 counts at mouth and eyes; ours.
      mouth_weight: of the VGG term once more, of a close-up of the mouth; ours.
      perceptual: which frozen network gives perceptual features; "vgg19" needs its file.
      vgg19_path: file with torchvision's VGG-19 weights, where `perceptual` is "vgg19".
      perceptual_layers: depth of the features, 1 (relu1_1) to 5 (relu5_1).
      perceptual_scales: image scales of the perceptual loss, halved each time.
      perceptual_halvings: how often the image is halved before the first scale.
      disc_channels, disc_scales: of the discriminator.
      disc_halvings: how often the images are halved before it.
    """

    family: Literal["facevid2vid", "liveportrait"] = "facevid2vid"
    keypoints: Literal["detected", "tracked"] = "detected"
    facevid2vid: FaceVid2VidConfig = dataclasses.field(default_factory=FaceVid2VidConfig)
    liveportrait: LivePortraitConfig = dataclasses.field(default_factory=LivePortraitConfig)
    size: int = ranged(256, AT_LEAST_1)
    reach: float = ranged(1.0, Range(least=0.5, most=1.0))
    flip: bool = False
    colour_jitter: float = ranged(0.0, SHARE)
    closed_share: float = ranged(0.0, SHARE)
    perceptual_weight: float = ranged(10.0, AT_LEAST_0)
    matching_weight: float = ranged(10.0, AT_LEAST_0)
    adversarial_weight: float = ranged(1.0, AT_LEAST_0)
    gan: Literal["hinge", "least_squares"] = "hinge"
    equivariance_weight: float = ranged(10.0, AT_LEAST_0)
    keypoint_weight: float = ranged(10.0, AT_LEAST_0)
    head_pose_weight: float = ranged(20.0, AT_LEAST_0)
    expression_weight: float = ranged(5.0, AT_LEAST_0)
    l1_weight: float = ranged(0.0, AT_LEAST_0)
    region_weight: float = ranged(0.0, AT_LEAST_0)
    mouth_weight: float = ranged(0.0, AT_LEAST_0)
    perceptual: Literal["vgg19", "vgg16", "none"] = "vgg19"
    vgg19_path: str = ""
    perceptual_layers: int = ranged(5, LAYERS)
    perceptual_scales: int = ranged(4, AT_LEAST_1)
    perceptual_halvings: int = ranged(0, AT_LEAST_0)
    disc_channels: int = ranged(64, AT_LEAST_1)
    disc_scales: int = ranged(1, AT_LEAST_1)
    disc_halvings: int = ranged(0, AT_LEAST_0)
