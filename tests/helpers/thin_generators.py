"""The public latent-keypoint generators in sizes for tests; the structure is the published one.

The face-vid2vid code has no other sizes of its decoder than the published ones, so rules refuse the
thin one (`torch_map_facevid2vid.require`).
"""

import dataclasses

import numpy as np

from talkface_jax.interop.torch_rules import flatten, unflatten
from talkface_jax.methods.emoconv.generators import FaceVid2VidConfig, LivePortraitConfig
from talkface_jax.models.convnext import ConvNextConfig
from talkface_jax.models.render.latent_keypoints.appearance import AppearanceConfig
from talkface_jax.models.render.latent_keypoints.dense_motion import DenseMotionConfig
from talkface_jax.models.render.latent_keypoints.generator import LatentGeneratorConfig
from talkface_jax.models.render.latent_keypoints.head_pose import HeadPoseConfig
from talkface_jax.models.render.latent_keypoints.keypoints import KeypointDetectorConfig
from talkface_jax.models.render.latent_keypoints.motion_extractor import MotionExtractorConfig
from talkface_jax.models.render.latent_keypoints.retargeting import RetargetingConfig
from talkface_jax.models.render.latent_keypoints.spade_decoder import SpadeDecoderConfig
from talkface_jax.models.render.latent_keypoints.warping import WarpingConfig

_MOTION = DenseMotionConfig(keypoints=2, compress=2, channels=2, most=6, levels=2, kernel=3)
GENERATOR = LatentGeneratorConfig(
    appearance=AppearanceConfig(channels=2, volume_channels=3, depth=2, blocks=1),
    warping=WarpingConfig(motion=_MOTION, width=4),
    decoder=SpadeDecoderConfig(width=4, last=2, unfold=2),
)
_CORRECTION = RetargetingConfig(hidden=(4, 3), keypoints=2, shifts=0)
FACEVID2VID = FaceVid2VidConfig(
    detector=KeypointDetectorConfig(
        keypoints=2, channels=2, most=6, levels=2, volume_channels=3, depth=2
    ),
    pose=HeadPoseConfig(channels=2, widths=(4, 8, 12, 16), bins=3, keypoints=2),
    generator=dataclasses.replace(
        GENERATOR, decoder=dataclasses.replace(GENERATOR.decoder, unfold=1)
    ),
)
LIVEPORTRAIT = LivePortraitConfig(
    motion=MotionExtractorConfig(ConvNextConfig(widths=(2, 3, 4, 5)), bins=3, keypoints=2),
    generator=GENERATOR,
    stitching=dataclasses.replace(_CORRECTION, shifts=2),
    lips=_CORRECTION,
    eyes=dataclasses.replace(_CORRECTION, hidden=(4, 4, 3)),
)


def filled(template, *, seed=0):
    """Variables of these shapes, at random."""
    rng = np.random.default_rng(seed)
    return unflatten(
        {
            path: rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
            for path, leaf in flatten(template).items()
        }
    )
