"""Latent-keypoint generator of `emoconv`: one picture moved by 3-D keypoints (Wang et al., CVPR
2021), 256 x 256. Two frames of a clip, nothing is labelled.

base: the networks of the unofficial face-vid2vid (vox-256) with its losses, batch 32; the head's
angles are the tracker's. Needs VGG-19 by file (task.vgg19_path). Not trained here; with MEAD
prepared by the first of these:
  talkface prepare --dataset=mead --raw=MEAD --out=SHARDS --workers=32 --max-failures=2%
  talkface train --config=configs/emoconv/generator.py:base --workdir=DIR \
    --config.data.directory=SHARDS
tiny: the same networks made thin, on tracked keypoints, as a correction of a warp by them, of which
a learned share is taken; trained on two CPU cores, with VGG-16 features from a packaged file:
  talkface train --config=configs/emoconv/generator.py:tiny --workdir=out/demo/emoconv/generator \
    --config.data.directory=out/demo/data
Results: talkface_jax/methods/emoconv/README.md.
"""

from talkface_jax import config as c
from talkface_jax.methods.emoconv.generator.config import GeneratorConfig
from talkface_jax.methods.emoconv.generators import SMALL


def _base() -> c.ExperimentConfig:
    return c.ExperimentConfig(
        method="emoconv",
        stage="generator",
        task=GeneratorConfig(),
        data=c.DataConfig(batch_size=32, threads=16, prefetch=8),
        optim=c.OptimConfig(lr=2e-4, betas=(0.5, 0.999)),
        train=c.TrainConfig(
            steps=200_000,
            log_every=100,
            eval_every=5_000,
            preview_every=5_000,
            checkpoint_every=5_000,
            best_metric="mouth_perceptual",
        ),
    )


def _tiny() -> c.ExperimentConfig:
    return c.ExperimentConfig(
        method="emoconv",
        stage="generator",
        task=GeneratorConfig(
            keypoints="tracked",
            facevid2vid=SMALL,
            flip=True,
            colour_jitter=0.1,
            closed_share=0.25,
            perceptual="vgg16",
            perceptual_layers=3,
            perceptual_scales=1,
            perceptual_halvings=2,
            perceptual_weight=1.0,
            mouth_weight=1.0,
            l1_weight=20.0,
            region_weight=8.0,
            adversarial_weight=0.1,
            gan="least_squares",
            matching_weight=0.1,
            equivariance_weight=0.0,
            keypoint_weight=0.0,
            head_pose_weight=0.0,
            expression_weight=0.0,
            disc_channels=16,
            disc_halvings=1,
        ),
        data=c.DataConfig(batch_size=4),
        # Not clipped: the slope of the flow's share would clip all others.
        optim=c.OptimConfig(lr=1.5e-3, schedule="cosine", warmup_steps=30, betas=(0.5, 0.99)),
        players={"disc": c.OptimConfig(lr=2e-4, schedule="cosine", betas=(0.5, 0.999))},
        train=c.TrainConfig(
            steps=200,
            log_every=25,
            eval_every=100,
            preview_every=100,
            checkpoint_every=100,
            best_metric="mouth_perceptual",
        ),
    )


def get_config(size: str = ""):
    """The experiment of one size."""
    return c.to_config_dict(c.pick({"base": _base, "tiny": _tiny}, size))
