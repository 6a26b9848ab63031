"""The reader of emotions from blendshapes, trained on synthetic talking heads.

Data: talkface prepare --dataset=synthetic --clips=420 --test-clips=96 --val-clips=42 --seed=21 \
    --workers=2 --max-failures=20 --out=out/emotions
base: 7,561 parameters; two minutes on two CPU cores. The last checkpoint is taken: with two
people in its val split, no other can be told to be better.
  talkface train --config=configs/emotion/blendshapes.py:base --workdir=out/emotion \
    --config.data.directory=out/emotions
  talkface pack --workdir=out/emotion --data=out/emotions --out=emotion_blendshapes.safetensors
Result: talkface_jax/assets/emotion_blendshapes.md.
tiny: one small layer, for trying the stage out.
"""

from talkface_jax import config as c
from talkface_jax.methods.emotion.blendshapes.config import EmotionTaskConfig
from talkface_jax.models.frozen.emotion import EmotionConfig


def _base() -> c.ExperimentConfig:
    return c.ExperimentConfig(
        method="emotion",
        stage="blendshapes",
        task=EmotionTaskConfig(),
        data=c.DataConfig(batch_size=128, eval_batches=0),
        optim=c.OptimConfig(lr=2e-3, schedule="cosine", warmup_steps=50, weight_decay=1e-2),
        train=c.TrainConfig(
            steps=1_500,
            log_every=100,
            eval_every=250,
            preview_every=750,
            checkpoint_every=250,
            ema_decay=0.99,
        ),
    )


def _tiny() -> c.ExperimentConfig:
    return c.ExperimentConfig(
        method="emotion",
        stage="blendshapes",
        task=EmotionTaskConfig(net=EmotionConfig(hidden=(16,))),
        data=c.DataConfig(batch_size=32),
        optim=c.OptimConfig(lr=5e-3, schedule="cosine", warmup_steps=10),
        train=c.TrainConfig(
            steps=300,
            log_every=50,
            eval_every=100,
            preview_every=100,
            checkpoint_every=100,
            best_metric="cross_entropy",
        ),
    )


def get_config(size: str = ""):
    """The experiment of one size."""
    return c.to_config_dict(c.pick({"base": _base, "tiny": _tiny}, size))
