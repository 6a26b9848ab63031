"""Config of the generator stage."""

import dataclasses
from typing import Literal

from talkface_jax.methods.emoconv.generators import FaceVid2VidConfig, LivePortraitConfig
from talkface_jax.methods.stages.portrait.config import PictureLosses
from talkface_jax.ranges import AT_LEAST_0, AT_LEAST_1, SHARE, Range, ranged


@dataclasses.dataclass(frozen=True)
class GeneratorConfig(PictureLosses):
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
      matching_weight: of feature matching on the discriminator, which is there for either term.
      gan: "hinge" as published, or "least_squares".
      equivariance_weight: of keypoints that a warped picture should move alike.
      keypoint_weight: of keypoints that lie apart, at a mean depth.
      head_pose_weight: of the angles against the tracker's, in degrees.
      expression_weight: of the sizes of the expressions.
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
    matching_weight: float = ranged(10.0, AT_LEAST_0)
    gan: Literal["hinge", "least_squares"] = "hinge"
    equivariance_weight: float = ranged(10.0, AT_LEAST_0)
    keypoint_weight: float = ranged(10.0, AT_LEAST_0)
    head_pose_weight: float = ranged(20.0, AT_LEAST_0)
    expression_weight: float = ranged(5.0, AT_LEAST_0)
    l1_weight: float = ranged(0.0, AT_LEAST_0)
    perceptual_scales: int = ranged(4, AT_LEAST_1)
