"""The recogniser behind the speech feature `ctc29`, trained on synthesised speech."""

from talkface_jax import config as c
from talkface_jax.methods.speech.config import Ctc29Config
from talkface_jax.models.frozen.ctc import CtcConfig


def _base() -> c.ExperimentConfig:
    return c.ExperimentConfig(
        method="speech",
        stage="ctc29",
        task=Ctc29Config(),
        data=c.DataConfig(batch_size=16, eval_batches=0, threads=1, cache_mb=2048),
        optim=c.OptimConfig(lr=2e-3, schedule="cosine", warmup_steps=100, clip_norm=1.0),
        train=c.TrainConfig(
            steps=3_000,
            log_every=20,
            eval_every=250,
            preview_every=1_000,
            checkpoint_every=250,
            best_metric="cer",
            ema_decay=0.995,
        ),
    )


def _tiny() -> c.ExperimentConfig:
    return c.ExperimentConfig(
        method="speech",
        stage="ctc29",
        task=Ctc29Config(net=CtcConfig(bands=40, channels=64, dilations=(1, 2, 1))),
        data=c.DataConfig(batch_size=16),
        optim=c.OptimConfig(lr=3e-3, schedule="cosine", warmup_steps=50, clip_norm=1.0),
        train=c.TrainConfig(
            steps=600,
            log_every=20,
            eval_every=200,
            preview_every=200,
            checkpoint_every=200,
            best_metric="cer",
        ),
    )


def get_config(size: str = ""):
    """The experiment of one size."""
    return c.to_config_dict(c.pick({"base": _base, "tiny": _tiny}, size))
