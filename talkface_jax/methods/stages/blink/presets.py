"""The blink stage's experiments, for the configs of every method that chains it."""

from talkface_jax import config as c
from talkface_jax.methods.stages.blink.config import BlinkConfig
from talkface_jax.models.motion.blink_lstm import BlinkLstmConfig


def base(method: str) -> c.ExperimentConfig:
    """75-frame windows and an LSTM of 128 units."""
    return c.ExperimentConfig(
        method=method,
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


def tiny(method: str) -> c.ExperimentConfig:
    """An LSTM of 48 units, for two CPU cores."""
    return c.ExperimentConfig(
        method=method,
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


def sizes(method: str, size: str) -> c.ExperimentConfig:
    """The experiment of one size, for a method.

    Raises:
      ConfigError: no such size.
    """
    return c.pick({"base": lambda: base(method), "tiny": lambda: tiny(method)}, size)
