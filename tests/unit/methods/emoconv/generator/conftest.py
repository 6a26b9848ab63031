"""A thin generator of either kind, and a batch for it."""

import dataclasses

import numpy as np
import pytest

from talkface_jax.methods.emoconv.generator.config import GeneratorConfig
from talkface_jax.methods.emoconv.generators import SMALL, FaceVid2VidConfig
from talkface_jax.models.render.latent_keypoints.appearance import AppearanceConfig
from talkface_jax.models.render.latent_keypoints.dense_motion import DenseMotionConfig
from talkface_jax.models.render.latent_keypoints.generator import LatentGeneratorConfig
from talkface_jax.models.render.latent_keypoints.head_pose import HeadPoseConfig
from talkface_jax.models.render.latent_keypoints.keypoints import KeypointDetectorConfig
from talkface_jax.models.render.latent_keypoints.spade_decoder import SpadeDecoderConfig
from talkface_jax.models.render.latent_keypoints.warping import WarpingConfig

SIZE = 32
_APPEARANCE = AppearanceConfig(channels=4, volume_channels=2, depth=2, blocks=1)
_DECODER = SpadeDecoderConfig(width=4, blocks=1, last=4, hidden=4)
_MOTION = DenseMotionConfig(keypoints=3, compress=1, channels=4, most=8, levels=1, kernel=3)
_PLAIN = {"perceptual": "none", "perceptual_weight": 0.0, "disc_channels": 4, "size": SIZE}


@pytest.fixture(scope="session")
def detected() -> GeneratorConfig:
    """Keypoints by networks, all losses but the perceptual one."""
    sizes = FaceVid2VidConfig(
        detector=KeypointDetectorConfig(
            keypoints=3, shrink=2, channels=4, most=8, levels=2, volume_channels=4, depth=2
        ),
        pose=HeadPoseConfig(channels=4, widths=(8, 8), blocks=(1, 0), bins=66, keypoints=3),
        generator=LatentGeneratorConfig(_APPEARANCE, WarpingConfig(_MOTION, width=4), _DECODER),
    )
    return GeneratorConfig(facevid2vid=sizes, **_PLAIN)


@pytest.fixture(scope="session")
def tracked() -> GeneratorConfig:
    """Tracked keypoints, the picture corrected."""
    motion = dataclasses.replace(SMALL.generator.warping.motion, channels=4, most=8, levels=1)
    net = dataclasses.replace(
        SMALL.generator,
        appearance=dataclasses.replace(_APPEARANCE, halvings=3),
        warping=WarpingConfig(motion, width=4),
        decoder=dataclasses.replace(_DECODER, unfold=2, paint="correction"),
    )
    unused = ("equivariance", "keypoint", "head_pose", "expression")
    return GeneratorConfig(
        keypoints="tracked",
        facevid2vid=dataclasses.replace(SMALL, generator=net),
        l1_weight=1.0,
        gan="least_squares",
        **{f"{name}_weight": 0.0 for name in unused},
        **_PLAIN,
    )


@pytest.fixture
def batch(make_segment):
    """Two samples of made-up segments, with a mask."""
    from talkface_jax.data.reader import SegmentReader
    from talkface_jax.methods.emoconv.generator.view import GeneratorView

    view = GeneratorView(size=SIZE)
    samples = [
        view.sample(
            SegmentReader.of(make_segment(seed=seed)), 5, np.random.default_rng(seed), train=True
        )
        for seed in (1, 2)
    ]
    found = {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}
    return found | {"mask": np.ones(2, np.float32)}
