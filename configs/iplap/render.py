"""IP-LAP's reference-warping renderer (Zhong et al., CVPR 2023, section 3.3).

base: the published networks and schedule (19.0 M + 5.5 M parameters, batch 96, about 300 epochs,
the first 25 on the warping loss alone). Needs VGG-19 by file (task.vgg19_path). Not trained here:
  talkface train --config=configs/iplap/render.py:base --workdir=DIR \
    --config.data.directory=SHARDS --config.task.vgg19_path=FILE
tiny: what `make demo` trains on two CPU cores in a few minutes. The references are warped by the
landmarks alone, and a U-Net redraws a window about the mouth; there lie most of the losses, with
VGG-16 features from a packaged file and no discriminator (in so few steps it learned nothing):
  talkface train --config=configs/iplap/render.py:tiny --workdir=out/demo/iplap/render \
    --config.data.directory=out/demo/data
"""

from talkface_jax import config as c
from talkface_jax.methods.iplap.render.config import RenderConfig
from talkface_jax.models.render.reference_warping import SMALL


def _base() -> c.ExperimentConfig:
    return c.ExperimentConfig(
        method="iplap",
        stage="render",
        # 25 epochs of the released code over LRS2: a default in steps, unverified.
        task=RenderConfig(warmup_steps=12_000),
        data=c.DataConfig(batch_size=96, threads=16, prefetch=8),
        optim=c.OptimConfig(lr=1e-4),
        players={"disc": c.OptimConfig(lr=1e-4, betas=(0.5, 0.999))},
        train=c.TrainConfig(
            steps=150_000,
            log_every=100,
            eval_every=5_000,
            preview_every=5_000,
            checkpoint_every=5_000,
            best_metric="mouth_perceptual",
        ),
    )


def _tiny() -> c.ExperimentConfig:
    return c.ExperimentConfig(
        method="iplap",
        stage="render",
        task=RenderConfig(
            net=SMALL,
            references=5,
            inference_references=12,
            warp_loss="l1",
            warp_weight=2.0,
            l1_weight=2.0,
            mouth_weight=20.0,
            perceptual="vgg16",
            perceptual_region="mouth",
            perceptual_range="imagenet",
            perceptual_scales=1,
            perceptual_layers=3,
            perceptual_weight=1.0,
            style_weight=0.0,
            adversarial_weight=0.0,
            matching_weight=0.0,
        ),
        data=c.DataConfig(batch_size=8),
        optim=c.OptimConfig(lr=3e-3, schedule="cosine", warmup_steps=20, clip_norm=1.0),
        train=c.TrainConfig(
            steps=600,
            log_every=20,
            eval_every=300,
            preview_every=300,
            checkpoint_every=300,
            best_metric="mouth_perceptual",
        ),
    )


def get_config(size: str = ""):
    """The experiment of one size."""
    return c.to_config_dict(c.pick({"base": _base, "tiny": _tiny}, size))
