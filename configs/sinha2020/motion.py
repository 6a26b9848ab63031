"""Person-independent landmarks of `sinha2020` from speech (Sinha et al., IJCNN 2020; after VOCA).

base: the paper's features have 29 values a row; network and schedule are VOCA's (unverified
defaults), batch 64. Not trained here:
  talkface train --config=configs/sinha2020/motion.py:base --workdir=DIR \
    --config.data.directory=SHARDS
  The paper's own features: --config.task.feature=deepspeech --config.task.feature_weights=FILE
tiny: what `make demo METHOD=sinha2020` trains on two CPU cores in about a minute:
  talkface train --config=configs/sinha2020/motion.py:tiny --workdir=out/demo/sinha2020/motion \
    --config.data.directory=out/demo/data
Results of tiny on held-out identities and sentences of the demo's set (32 clips, 20 lip points of
ibug68 in % of the outer-eye-corner distance; [95 % interval]; same config but for the feature):
  whisper_tiny  1.39 [1.30, 1.49]  0.57 of static mouth  0.57 of shifted audio  opening r 0.87
  ctc29         1.60 [1.48, 1.72]  0.65 of static mouth  0.70 of shifted audio  opening r 0.78
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
            net=SpeechLandmarksConfig(basis=24, dropout=0.2, noise=1.0),
            velocity_weight=2.0,
            lip_weight=3.0,
            flip=True,
        ),
        data=c.DataConfig(batch_size=64),
        optim=c.OptimConfig(lr=1e-3, schedule="cosine", warmup_steps=50, clip_norm=1.0),
        train=c.TrainConfig(
            steps=1_000,
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
