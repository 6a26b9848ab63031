"""The networks of the public latent-keypoint generators, by family."""

import dataclasses

from talkface_jax.models.render.latent_keypoints.appearance import AppearanceConfig
from talkface_jax.models.render.latent_keypoints.dense_motion import DenseMotionConfig
from talkface_jax.models.render.latent_keypoints.generator import (
    FACEVID2VID,
    LIVEPORTRAIT,
    LatentGeneratorConfig,
)
from talkface_jax.models.render.latent_keypoints.head_pose import DEFAULT_HEAD_POSE, HeadPoseConfig
from talkface_jax.models.render.latent_keypoints.keypoints import (
    DEFAULT_DETECTOR,
    KeypointDetectorConfig,
)
from talkface_jax.models.render.latent_keypoints.motion_extractor import (
    DEFAULT_EXTRACTOR,
    MotionExtractorConfig,
)
from talkface_jax.models.render.latent_keypoints.retargeting import (
    EYES,
    LIPS,
    STITCHING,
    RetargetingConfig,
)
from talkface_jax.models.render.latent_keypoints.spade_decoder import SpadeDecoderConfig
from talkface_jax.models.render.latent_keypoints.tracked import SCHEME
from talkface_jax.models.render.latent_keypoints.warping import WarpingConfig
from talkface_jax.models.render.point_flow import PointFlowConfig


@dataclasses.dataclass(frozen=True)
class FaceVid2VidConfig:
    """The unofficial face-vid2vid on 256² pictures; the defaults are its configuration vox-256.

    Attributes:
      detector: of canonical keypoints (41,940,047 parameters).
      pose: the head pose and expression estimator (30,254,838).
      generator: of pictures (100,988,176).
    """

    detector: KeypointDetectorConfig = DEFAULT_DETECTOR
    pose: HeadPoseConfig = DEFAULT_HEAD_POSE
    generator: LatentGeneratorConfig = FACEVID2VID


@dataclasses.dataclass(frozen=True)
class LivePortraitConfig:
    """LivePortrait, 256² to 512² pictures; the defaults are the released sizes.

    Attributes:
      motion: keypoints, pose and expression of a picture (28,118,728 parameters).
      generator: of pictures: appearance (836,224), warping (45,529,829) and decoder (55,365,388).
      stitching, lips, eyes: corrections of keypoints (45,249, 37,311 and 144,703).
    """

    motion: MotionExtractorConfig = DEFAULT_EXTRACTOR
    generator: LatentGeneratorConfig = LIVEPORTRAIT
    stitching: RetargetingConfig = STITCHING
    lips: RetargetingConfig = LIPS
    eyes: RetargetingConfig = EYES


SMALL = FaceVid2VidConfig(
    generator=LatentGeneratorConfig(
        appearance=AppearanceConfig(channels=8, halvings=3, volume_channels=4, depth=4, blocks=1),
        warping=WarpingConfig(
            motion=DenseMotionConfig(
                keypoints=len(SCHEME),
                compress=1,
                channels=8,
                most=32,
                levels=2,
                kernel=3,
                base="tracked",
                # More levels than for a mouth: the whole head moves by them.
                kernels=PointFlowConfig(
                    sigmas=(0.1, 0.07, 0.05, 0.035, 0.025, 0.0125, 0.006, 0.0035), background=0.03
                ),
                # Chin, nose, the corners and the middle of the lips, the irises.
                masked=(8, 30, 48, 54, 62, 66, 68, 73),
            ),
            width=16,
        ),
        decoder=SpadeDecoderConfig(
            width=16, blocks=1, last=16, hidden=16, unfold=2, paint="correction"
        ),
    ),
)
"""Trains on a CPU, on tracked keypoints; the flow by them does what the width cannot."""
