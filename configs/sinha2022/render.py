"""Flow-guided texture of `sinha2022` (Sinha et al., IJCAI 2022), 256 x 256.

base: the published design at sizes of our own (unverified defaults), batch 4; the picture is of a
neutral clip of the speaker. A step takes 3.9 GiB of one device (`talkface describe --compile` on a
CPU, VGG-16 in the place of VGG-19). Needs VGG-19 by file (task.vgg19_path). Not trained here; with
MEAD prepared by the first of these:
  talkface prepare --dataset=mead --raw=MEAD --out=SHARDS --workers=32 --max-failures=2%
  talkface train --config=configs/sinha2022/render.py:base --workdir=DIR \
    --config.data.directory=SHARDS --config.task.vgg19_path=FILE
tiny: a thin network on a folded picture that corrects a warp by the landmarks, of which it takes a
learned share; what `make demo METHOD=sinha2022` trains on two CPU cores, with VGG-16 features from
a packaged file. The picture is of the clip itself, for the light of made-up clips differs:
  talkface train --config=configs/sinha2022/render.py:tiny --workdir=out/demo/sinha2022/render \
    --config.data.directory=out/demo/data
Results: talkface_jax/methods/sinha2022/README.md.
"""

from talkface_jax import config as c
from talkface_jax.methods.sinha2022.render.config import RenderConfig
from talkface_jax.models.render.flow_texture import SMALL, FlowTextureConfig


def _base() -> c.ExperimentConfig:
    return c.ExperimentConfig(
        method="sinha2022",
        stage="render",
        task=RenderConfig(net=FlowTextureConfig(face_emotion=True)),
        data=c.DataConfig(batch_size=4, threads=16, prefetch=8),
        optim=c.OptimConfig(lr=2e-4, betas=(0.5, 0.999)),
        train=c.TrainConfig(
            steps=200_000,
            log_every=100,
            eval_every=5_000,
            preview_every=5_000,
            checkpoint_every=5_000,
            best_metric="mouth_perceptual",
        ),
    )


def _tiny() -> c.ExperimentConfig:
    return c.ExperimentConfig(
        method="sinha2022",
        stage="render",
        task=RenderConfig(
            net=SMALL,
            source="clip",
            align="affine",
            flip=True,
            colour_jitter=0.1,
            closed_share=0.25,
            l1_weight=20.0,
            region_weight=8.0,
            adversarial_weight=0.1,
            perceptual="vgg16",
            perceptual_layers=3,
            perceptual_halvings=2,
            perceptual_weight=1.0,
            mouth_weight=1.0,
            disc_channels=16,
            disc_halvings=1,
        ),
        data=c.DataConfig(batch_size=4),
        optim=c.OptimConfig(
            lr=1.5e-3, schedule="cosine", warmup_steps=30, betas=(0.5, 0.999), clip_norm=1.0
        ),
        players={
            "disc": c.OptimConfig(lr=2e-4, schedule="cosine", betas=(0.5, 0.999), clip_norm=1.0)
        },
        train=c.TrainConfig(
            steps=100,
            log_every=25,
            eval_every=50,
            preview_every=50,
            checkpoint_every=50,
            best_metric="mouth_perceptual",
        ),
    )


def get_config(size: str = ""):
    """The experiment of one size."""
    return c.to_config_dict(c.pick({"base": _base, "tiny": _tiny}, size))
