"""Person-independent landmarks of `sinha2020` from speech (Sinha et al., IJCNN 2020; after VOCA).

base: the paper's features have 29 values a row; network and schedule are VOCA's (unverified
defaults), batch 64. Not trained here:
  talkface train --config=configs/sinha2020/motion.py:base --workdir=DIR \
    --config.data.directory=SHARDS
  The paper's own features: --config.task.feature=deepspeech --config.task.feature_weights=FILE
tiny: what `make demo METHOD=sinha2020` trains on two CPU cores in two minutes:
  talkface train --config=configs/sinha2020/motion.py:tiny --workdir=out/demo/sinha2020/motion \
    --config.data.directory=out/demo/data
Results of tiny on held-out identities and sentences: talkface_jax/methods/sinha2020/README.md.
Steps, noise and lip_weight were chosen on 32 clips of another seed (talkface prepare
--dataset=synthetic --clips=1 --test-clips=32 --seed=11), lips over those of silence there:
  400 steps, noise 0.7, lip_weight 1  0.650   800 steps, noise 0.4, lip_weight 1    0.673
  1200 steps, noise 0.7, lip_weight 1 0.642   1000 steps, noise 1.0, lip_weight 3   0.634
  800 steps, noise 0.7, lip_weight 3  0.634   1500 steps, noise 1.5, lip_weight 3   0.611
"""

from talkface_jax import config as c
from talkface_jax.methods.sinha2020.motion.config import MotionConfig
from talkface_jax.models.motion.speech_landmarks import SpeechLandmarksConfig


def _base() -> c.ExperimentConfig:
    return c.ExperimentConfig(
        method="sinha2020",
        stage="motion",
        task=MotionConfig(feature="ctc29"),
        data=c.DataConfig(batch_size=64, threads=8, prefetch=16),
        optim=c.OptimConfig(lr=1e-4),
        train=c.TrainConfig(
            steps=100_000,
            log_every=100,
            eval_every=5_000,
            preview_every=5_000,
            checkpoint_every=5_000,
            best_metric="lip_distance",
        ),
    )


def _tiny() -> c.ExperimentConfig:
    return c.ExperimentConfig(
        method="sinha2020",
        stage="motion",
        task=MotionConfig(
            net=SpeechLandmarksConfig(basis=24, dropout=0.2, noise=1.5),
            velocity_weight=2.0,
            lip_weight=3.0,
            flip=True,
        ),
        data=c.DataConfig(batch_size=64),
        optim=c.OptimConfig(lr=1e-3, schedule="cosine", warmup_steps=50, clip_norm=1.0),
        train=c.TrainConfig(
            steps=1_500,
            log_every=25,
            eval_every=500,
            preview_every=500,
            checkpoint_every=500,
            best_metric="lip_distance",
        ),
    )


def get_config(size: str = ""):
    """The experiment of one size."""
    return c.to_config_dict(c.pick({"base": _base, "tiny": _tiny}, size))
