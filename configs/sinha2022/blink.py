"""Blinks of `sinha2022` from noise, the stage that sinha2020 chains too (Sinha et al., IJCNN 2020), learned without labels by MMD.

base: 75-frame windows and an LSTM of 128 units, sizes and schedule of our own (unverified
defaults). Not trained here:
  talkface train --config=configs/sinha2022/blink.py:base --workdir=DIR \
    --config.data.directory=SHARDS
tiny: an LSTM of 48 units; what `make demo METHOD=sinha2022` trains on two CPU cores in two to
three minutes. Its rate of blinks depends on the training seed (0.21 to 0.38 a second by five):
  talkface train --config=configs/sinha2022/blink.py:tiny --workdir=out/demo/sinha2022/blink \
    --config.data.directory=out/demo/data
"""

from talkface_jax import config as c
from talkface_jax.methods.stages.blink.config import BlinkConfig
from talkface_jax.models.motion.blink_lstm import BlinkLstmConfig


def _base() -> c.ExperimentConfig:
    return c.ExperimentConfig(
        method="sinha2022",
        stage="blink",
        task=BlinkConfig(),
        data=c.DataConfig(batch_size=256, threads=8, prefetch=16),
        optim=c.OptimConfig(
            lr=1e-3, schedule="cosine", warmup_steps=200, betas=(0.9, 0.99), clip_norm=1.0
        ),
        train=c.TrainConfig(
            steps=20_000,
            log_every=100,
            eval_every=2_000,
            preview_every=2_000,
            checkpoint_every=2_000,
        ),
    )


def _tiny() -> c.ExperimentConfig:
    return c.ExperimentConfig(
        method="sinha2022",
        stage="blink",
        task=BlinkConfig(net=BlinkLstmConfig(width=48), interval_weight=2.0, count_weight=2.0),
        data=c.DataConfig(batch_size=256),
        optim=c.OptimConfig(
            lr=4e-3, schedule="cosine", warmup_steps=50, betas=(0.9, 0.99), clip_norm=1.0
        ),
        train=c.TrainConfig(
            steps=1_000,
            log_every=50,
            eval_every=500,
            preview_every=500,
            checkpoint_every=500,
        ),
    )


def get_config(size: str = ""):
    """The experiment of one size."""
    return c.to_config_dict(c.pick({"base": _base, "tiny": _tiny}, size))
