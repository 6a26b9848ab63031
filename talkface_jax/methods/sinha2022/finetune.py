"""Fine-tuning on one picture (Sinha et al., IJCAI 2022: "adaptation with one image").

With one picture the source is the target, so that flow and heatmaps are zero and only an
autoencoder of a closed mouth would be trained. So the motion branch is left alone, and three
quarters of every batch are replay faces whose mouths open (ours; the paper does not say how it
keeps what the network knew).
"""

import dataclasses

from talkface_jax.config import DataConfig, ExperimentConfig, OptimConfig, TrainConfig
from talkface_jax.methods.sinha2022.render.config import RenderConfig

LEARNING_RATE = 3e-4
"""A fifth of that of the demo's training."""
EVERY = 10
PATIENCE = 4
"""Evaluations without a better LPIPS of the picture, one every `EVERY` steps."""


class RenderTuning:
    """How the render stage is trained further (`methods.finetuning.FineTuning`)."""

    stage = "render"

    def experiment(self, task: RenderConfig, *, seed: int, steps: int) -> ExperimentConfig:
        """The texture branch alone, without a discriminator; perceptual features of a packaged
        network, whatever those of the training were, for a user has no other.

        The changes of the picture are made before (`data.variants`), so the view makes none.
        """
        perceptual = "vgg16" if task.perceptual != "none" else "none"
        return ExperimentConfig(
            method="sinha2022",
            stage=self.stage,
            task=dataclasses.replace(
                task,
                adversarial_weight=0.0,
                perceptual=perceptual,
                vgg19_path="",
                measure_lpips=True,
                flip=False,
                colour_jitter=0.0,
                closed_share=0.0,
            ),
            seed=seed,
            data=DataConfig(batch_size=4),
            optim=OptimConfig(lr=LEARNING_RATE, warmup_steps=10, clip_norm=1.0, only=("texture",)),
            train=TrainConfig(
                steps=steps,
                log_every=EVERY,
                eval_every=EVERY,
                preview_every=0,
                checkpoint_every=EVERY,
                best_metric="lpips",
                patience=PATIENCE,
            ),
        )


FINETUNING = RenderTuning()
