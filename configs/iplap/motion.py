"""IP-LAP's landmark generator (Zhong et al., CVPR 2023, section 3.2).

base: the published network and schedule (13.7 M parameters, batch 128, 610,000 steps). Not trained
here:
  talkface train --config=configs/iplap/motion.py:base --workdir=DIR --config.data.directory=SHARDS
tiny: 0.7 M parameters with a residual head; what `make demo` trains on two CPU cores in about two
minutes:
  talkface train --config=configs/iplap/motion.py:tiny --workdir=out/demo/iplap/motion \
    --config.data.directory=out/demo/data
Results of tiny on held-out identities and sentences: talkface_jax/methods/iplap/README.md.
"""

from talkface_jax import config as c
from talkface_jax.methods.iplap.motion.config import MotionConfig
from talkface_jax.models.motion.landmark_transformer import SMALL


def _base() -> c.ExperimentConfig:
    return c.ExperimentConfig(
        method="iplap",
        stage="motion",
        task=MotionConfig(),
        data=c.DataConfig(batch_size=128, threads=8, prefetch=16),
        optim=c.OptimConfig(lr=1e-4),
        train=c.TrainConfig(
            steps=610_000,
            log_every=100,
            eval_every=5_000,
            preview_every=5_000,
            checkpoint_every=5_000,
            best_metric="lip_distance",
        ),
    )


def _tiny() -> c.ExperimentConfig:
    return c.ExperimentConfig(
        method="iplap",
        stage="motion",
        task=MotionConfig(
            net=SMALL,
            velocity_weight=0.1,
            flip=True,
            scale_jitter=0.07,
            shift_jitter=0.04,
            mel_noise=0.1,
        ),
        data=c.DataConfig(batch_size=48),
        optim=c.OptimConfig(lr=1e-3, schedule="cosine", warmup_steps=100, clip_norm=1.0),
        train=c.TrainConfig(
            steps=2_500,
            log_every=50,
            eval_every=1_250,
            preview_every=1_250,
            checkpoint_every=1_250,
            best_metric="lip_distance",
        ),
    )


def get_config(size: str = ""):
    """The experiment of one size."""
    return c.to_config_dict(c.pick({"base": _base, "tiny": _tiny}, size))
