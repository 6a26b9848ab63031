"""IP-LAP's two trainable stages (Zhong et al., CVPR 2023, sections 3.2 and 3.3).

Players: "motion"; "renderer" and "disc". The discriminator's update is the corrected one: its
gradients are its own objective's only (the released code adds leftovers of the generator's).
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.errors import ConfigError
from talkface_jax.losses import image_terms, landmark, perceptual
from talkface_jax.losses.image_terms import unit
from talkface_jax.losses.terms import LossTerm
from talkface_jax.methods.iplap import previews
from talkface_jax.methods.iplap.config import MotionConfig, RenderConfig
from talkface_jax.methods.iplap.views import MotionView, RenderView
from talkface_jax.metrics.base import Average
from talkface_jax.models.discriminators import (
    MultiscaleDiscriminator,
    MultiscaleDiscriminatorConfig,
)
from talkface_jax.models.motion.landmark_transformer import LandmarkTransformer
from talkface_jax.models.render.reference_warping import ReferenceWarping
from talkface_jax.task import (
    Batch,
    LossContext,
    Objective,
    Outputs,
    Previews,
    PyTree,
    Sample,
    Variables,
)

WINDOW = 5
JAW = 17


class MotionTask:
    """Landmark generator: mel, pose and references to jaw and lip points."""

    config_class: ClassVar[type] = MotionConfig
    method = "iplap"
    stage = "motion"
    generators = ("motion",)

    def __init__(self, config: MotionConfig):
        """Builds networks, view and objective from the stage's config.

        Raises:
          ConfigError: affine pose features, which come with the residual head, without it.
        """
        if config.net.pose_features == "affine" and config.net.head != "residual":
            raise ConfigError(
                "config.task.net: pose_features affine needs head residual; set head to residual "
                "or pose_features to points"
            )
        self.config = config
        self.nets: Mapping[str, nn.Module] = {"motion": LandmarkTransformer(config.net)}
        self.view = MotionView(
            references=config.references,
            window=WINDOW,
            margin=config.margin,
            smooth=config.smooth,
            flip=config.flip,
            scale_jitter=config.scale_jitter,
            shift_jitter=config.shift_jitter,
            mel_noise=config.mel_noise,
        )

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """Position L1 plus velocity, as released (weight of the latter in the config)."""

        def position(context: LossContext) -> jax.Array:
            return landmark.landmark_l1(context.outputs["content"], context.batch["content"])

        def velocity(context: LossContext) -> jax.Array:
            return landmark.landmark_velocity(context.outputs["content"], context.batch["content"])

        terms = (
            LossTerm("position", position),
            LossTerm("velocity", velocity, self.config.velocity_weight),
        )
        return (Objective("motion", terms),)

    def init(self, rng: jax.Array, batch: Batch) -> dict[str, Variables]:
        """Fresh variables from a batch's shapes."""
        first = {name: jnp.zeros((1, *item.shape[1:]), item.dtype) for name, item in batch.items()}
        return {"motion": self.nets["motion"].init(rng, *self._inputs(first))}

    def fitted(self, samples: Callable[[], Iterable[Sample]]) -> Mapping[str, Variables]:
        """None: everything is drawn."""
        del samples
        return {}

    @staticmethod
    def _inputs(batch: Batch) -> tuple[jax.Array, ...]:
        return (batch["mel"], batch["pose"], batch["ref_pose"], batch["ref_content"])

    def forward(
        self, variables: Mapping[str, Variables], batch: Batch, rng: jax.Array, *, train: bool
    ) -> tuple[Outputs, dict[str, PyTree]]:
        """content (b, 5, 57, 2) in crop coordinates."""
        content, changed = self.nets["motion"].apply(
            variables["motion"],
            *self._inputs(batch),
            train=train,
            rngs={"dropout": rng},
            mutable=["batch_stats"],
        )
        stats = changed.get("batch_stats", {})
        return {"content": content}, ({"motion": stats} if train and stats else {})

    def frozen(self) -> dict[str, PyTree]:
        """None."""
        return {}

    def metrics(self, outputs: Outputs, batch: Batch) -> dict[str, Any]:
        """Mean distance of the middle frame's lip and jaw points, in widths of the crop."""
        middle = WINDOW // 2
        error = outputs["content"][:, middle] - batch["content"][:, middle]
        distance = jnp.linalg.norm(error, axis=-1)
        mask = batch["mask"]
        return {
            "lip_distance": Average.of(distance[:, JAW:], mask),
            "jaw_distance": Average.of(distance[:, :JAW], mask),
            "position_l1": Average.of(jnp.abs(error), mask),
        }

    def previews(self, outputs: Outputs, batch: Batch) -> Previews:
        """Predicted over true faces, and the same as a video."""
        return previews.motion(outputs, batch)


class RenderTask:
    """Reference-warping renderer with a multi-scale discriminator."""

    config_class: ClassVar[type] = RenderConfig
    method = "iplap"
    stage = "render"
    generators = ("renderer",)

    def __init__(self, config: RenderConfig):
        """Builds networks, view and objectives from the stage's config.

        Raises:
          ConfigError: perceptual weights without a perceptual network.
        """
        weighted = bool(config.perceptual_weight or config.style_weight)
        if config.perceptual == "none" and (weighted or config.warp_loss == "perceptual"):
            raise ConfigError(
                "config.task: perceptual is none but perceptual_weight or style_weight is not 0, "
                "or warp_loss is perceptual; set both to 0.0 and warp_loss to l1, or name a network"
            )
        self.config = config
        disc = MultiscaleDiscriminatorConfig(channels=config.disc_channels)
        self.nets: Mapping[str, nn.Module] = {
            "renderer": ReferenceWarping(config.net),
            "disc": MultiscaleDiscriminator(disc),
        }
        self.view = RenderView(
            references=config.references,
            size=config.net.size,
            margin=config.margin,
            smooth=config.smooth,
        )

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """Warping alone, then everything; nothing of the second phase is computed in the first."""
        config = self.config
        features = self._features()
        warp = LossTerm("warp", self._warp_term(features), config.warp_weight)
        l1 = (LossTerm("l1", image_terms.l1_term(), config.l1_weight),) if config.l1_weight else ()
        adversarial_terms = (
            LossTerm("adversarial", image_terms.fool_term(), config.adversarial_weight),
            LossTerm("matching", image_terms.matching_term(), config.matching_weight),
        )
        full = Objective(
            "renderer",
            (warp, *l1, *self._perceptual_terms(features), *adversarial_terms),
            start=config.warmup_steps,
        )
        judge = Objective(
            "disc", (LossTerm("lsgan", image_terms.judge_term()),), start=config.warmup_steps
        )
        if not config.warmup_steps:
            return (full, judge)
        return (Objective("renderer", (warp, *l1), stop=config.warmup_steps), full, judge)

    def _features(self) -> perceptual.PerceptualFeatures | None:
        config = self.config
        if config.perceptual == "none":
            return None
        return perceptual.PerceptualFeatures(
            network=image_terms.VGGS[config.perceptual],
            depth=config.perceptual_layers,
            scales=config.perceptual_scales,
            pixels=config.perceptual_range,
        )

    def _warp_term(
        self, features: perceptual.PerceptualFeatures | None
    ) -> Callable[[LossContext], jax.Array]:
        if self.config.warp_loss == "l1" or features is None:
            return image_terms.l1_term("warped")
        return image_terms.perceptual_term(features, "warped")

    def _perceptual_terms(
        self, features: perceptual.PerceptualFeatures | None
    ) -> tuple[LossTerm, ...]:
        config = self.config
        if features is None:
            return ()

        terms = (
            LossTerm("perceptual", image_terms.perceptual_term(features), config.perceptual_weight),
            LossTerm("style", image_terms.style_term(features), config.style_weight),
        )
        return tuple(term for term in terms if term.weight)

    def init(self, rng: jax.Array, batch: Batch) -> dict[str, Variables]:
        """Fresh variables from a batch's shapes."""
        first = {name: jnp.zeros((1, *item.shape[1:]), item.dtype) for name, item in batch.items()}
        one, two = jax.random.split(rng)
        arguments, points = self._inputs(first)
        return {
            "renderer": self.nets["renderer"].init(one, *arguments, **points),
            "disc": self.nets["disc"].init(two, unit(first["face"])),
        }

    def fitted(self, samples: Callable[[], Iterable[Sample]]) -> Mapping[str, Variables]:
        """None: everything is drawn."""
        del samples
        return {}

    @staticmethod
    def _inputs(batch: Batch) -> tuple[tuple[jax.Array, ...], dict[str, Any]]:
        arguments = (
            unit(batch["masked"]),
            unit(batch["sketch"]),
            unit(batch["ref_image"]),
            unit(batch["ref_sketch"]),
            batch["mel"],
        )
        middle = batch["points"][:, WINDOW // 2]
        return arguments, {"points": middle, "reference_points": batch["ref_points"]}

    def forward(
        self, variables: Mapping[str, Variables], batch: Batch, rng: jax.Array, *, train: bool
    ) -> tuple[Outputs, dict[str, PyTree]]:
        """image and warped (b, h, w, 3) in [0, 1], flow (b, r, h, w, 2) in pixels, weight."""
        del rng
        arguments, points = self._inputs(batch)
        rendered, changed = self.nets["renderer"].apply(
            variables["renderer"], *arguments, **points, train=train, mutable=["batch_stats"]
        )
        outputs = {
            "image": rendered.image,
            "warped": rendered.aligned.image,
            "flow": rendered.aligned.flow,
            "weight": rendered.aligned.weight,
        }
        return outputs, ({"renderer": changed["batch_stats"]} if train else {})

    def frozen(self) -> dict[str, PyTree]:
        """The perceptual network.

        Raises:
          WeightsError: its file is missing or altered.
        """
        return image_terms.frozen_vgg(self.config.perceptual, vgg19_path=self.config.vgg19_path)

    def metrics(self, outputs: Outputs, batch: Batch) -> dict[str, Any]:
        """L1 of the image, of its lower half, and of the warped references; PSNR of the image."""
        target, mask = unit(batch["face"]), batch["mask"]
        half = target.shape[1] // 2
        error = outputs["image"] - target
        mse = jnp.mean(jnp.square(error), axis=(1, 2, 3))
        return {
            "l1": Average.of(jnp.abs(error), mask),
            "l1_lower": Average.of(jnp.abs(error[:, half:]), mask),
            "l1_warped": Average.of(jnp.abs(outputs["warped"] - target), mask),
            "psnr": Average.of(-10.0 * jnp.log10(mse + 1e-8), mask),
        }

    def previews(self, outputs: Outputs, batch: Batch) -> Previews:
        """Masked input, sketch, a reference, warped references, image and target side by side."""
        return previews.render(outputs, batch)
