"""Landmarks of `sinha2022` from speech and emotion on a graph (Sinha et al., IJCAI 2022).

base: the published design at sizes of our own (unverified defaults), batch 256 windows of 5 frames,
with EmoVOCA's and VOCA's loss; the face that motion starts from is of any clip of the speaker. Not
trained here; with MEAD prepared by
  talkface prepare --dataset=mead --raw=MEAD --out=SHARDS --workers=32 --max-failures=2%
  talkface train --config=configs/sinha2022/motion.py:base --workdir=DIR \
    --config.data.directory=SHARDS
paper: base, but single frames, the mean squared error alone and a neutral face, as the patent's
claims have it.
tiny: what `make demo METHOD=sinha2022` trains on two CPU cores in three to four minutes:
  talkface train --config=configs/sinha2022/motion.py:tiny --workdir=out/demo/sinha2022/motion \
    --config.data.directory=out/demo/data
Results of tiny on held-out identities and sentences: talkface_jax/methods/sinha2022/README.md.
"""

import dataclasses

from talkface_jax import config as c
from talkface_jax.methods.sinha2022.motion.config import MotionConfig
from talkface_jax.models.motion.landmark_graph import LandmarkGraphConfig


def _base() -> c.ExperimentConfig:
    return c.ExperimentConfig(
        method="sinha2022",
        stage="motion",
        task=MotionConfig(net=LandmarkGraphConfig(face_emotion=True), feature="ctc29"),
        data=c.DataConfig(batch_size=256, threads=16, prefetch=16),
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


def _paper() -> c.ExperimentConfig:
    base = _base()
    task = MotionConfig(
        feature="ctc29",
        window=1,
        neutral_share=1.0,
        other_share=0.0,
        lip_weight=0.0,
        velocity_weight=0.0,
    )
    return dataclasses.replace(base, task=task)


def _tiny() -> c.ExperimentConfig:
    return c.ExperimentConfig(
        method="sinha2022",
        stage="motion",
        task=MotionConfig(
            net=LandmarkGraphConfig(
                lstm=64, face_emotion=True, head="points", dropout=0.2, noise=1.5
            ),
            window=3,
            lip_weight=5.0,
            velocity_weight=2.0,
            closure_weight=8.0,
            closure_gap=0.005,
            articulation_weight=2.0,
            flip=True,
            face_noise=0.01,
            face_stretch=0.05,
        ),
        data=c.DataConfig(batch_size=64),
        optim=c.OptimConfig(lr=2e-3, schedule="cosine", warmup_steps=50, clip_norm=1.0),
        train=c.TrainConfig(
            steps=800,
            log_every=25,
            eval_every=400,
            preview_every=400,
            checkpoint_every=400,
            best_metric="lip_distance",
        ),
    )


def get_config(size: str = ""):
    """The experiment of one size."""
    return c.to_config_dict(c.pick({"base": _base, "paper": _paper, "tiny": _tiny}, size))
