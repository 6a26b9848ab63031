"""The generator stage: one frame of a clip moved onto the pose of another (Wang et al., CVPR 2021).

Self-supervised: both frames show one person, so the target is known.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.losses import adversarial, image_terms, keypoint
from talkface_jax.losses.terms import LossTerm, weighted
from talkface_jax.methods.base import Inputs, StageTask, inputs, view_of
from talkface_jax.methods.emoconv.generator import checks, preview
from talkface_jax.methods.emoconv.generator.config import GeneratorConfig
from talkface_jax.methods.emoconv.generator.view import GeneratorView
from talkface_jax.methods.stages.portrait import losses
from talkface_jax.models.blocks import unit
from talkface_jax.models.render.latent_keypoints import placement
from talkface_jax.models.render.latent_keypoints.generator import LatentGenerator
from talkface_jax.models.render.latent_keypoints.head_pose import HeadPose
from talkface_jax.models.render.latent_keypoints.keypoints import KeypointDetector
from talkface_jax.models.thin_plate import ThinPlate
from talkface_jax.task import (
    Batch,
    LossContext,
    Objective,
    Outputs,
    Previews,
    PyTree,
    Variables,
)

_GANS = {
    "hinge": (adversarial.hinge_generator, adversarial.hinge_discriminator),
    "least_squares": (adversarial.lsgan_generator, adversarial.lsgan_discriminator),
}


class GeneratorTask(StageTask):
    """Keypoints of two frames, and the generator that moves one onto the other.

    Players: "generator"; "detector" and "pose" where keypoints are detected; "disc" where the
    adversarial terms have a weight. All but "disc" are trained as one.

    Outputs: image (b, h, w, 3) in [0, 1], occlusion (b, h/4, w/4, 1), source and driving keypoints
    (b, k, 3); where keypoints are detected also degrees (b, 3), expression (b, k, 3), both of the
    target, and, in training, returned (b, k, 2): the keypoints of the warped target, brought back.
    """

    config_class = GeneratorConfig
    name = "emoconv/generator"

    def check(self, config: GeneratorConfig) -> None:
        """Sizes must fit each other, and losses what makes the keypoints.

        Raises:
          ConfigError: they do not, or `family` is one that is not trained here.
        """
        checks.check(config)

    @property
    def detects(self) -> bool:
        """Whether keypoints are found by networks."""
        return self.config.keypoints == "detected"

    @property
    def generators(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Players of the generating path."""
        return ("detector", "pose", "generator") if self.detects else ("generator",)

    def networks(self, config: GeneratorConfig) -> Mapping[str, nn.Module]:
        """Those of the config."""
        sizes, nets = config.facevid2vid, {}
        if config.keypoints == "detected":
            nets = {"detector": KeypointDetector(sizes.detector), "pose": HeadPose(sizes.pose)}
        nets["generator"] = LatentGenerator(sizes.generator)
        if config.adversarial_weight or config.matching_weight:
            nets["disc"] = losses.discriminator(config)
        return nets

    @cached_property
    def view(self) -> GeneratorView:
        """Two frames of one clip."""
        return view_of(GeneratorView, self.config, name=self.name)

    def inputs_of(self, batch: Batch) -> Mapping[str, Inputs]:
        """Pictures, and keypoints as tracked or, where they are detected, of no meaning."""
        picture, target = unit(batch["identity"]), unit(batch["face"])
        points = [batch[key] for key in ("keypoints", "identity_keypoints")]
        if self.detects:
            count = self.config.facevid2vid.detector.keypoints
            points = [jnp.zeros((len(picture), count, 3))] * 2
        found = {"detector": inputs(picture), "pose": inputs(target)} if self.detects else {}
        found["generator"] = inputs(picture, *points)
        if "disc" in self.nets:
            found["disc"] = inputs(self._judged(target))
        return found

    def forward(
        self,
        variables: Mapping[str, Variables],
        frozen: Mapping[str, PyTree],
        batch: Batch,
        rng: jax.Array,
        *,
        step: jax.Array,
        train: bool,
    ) -> tuple[Outputs, dict[str, PyTree]]:
        """See the class."""
        del frozen, step
        made: dict[str, jax.Array]
        if self.detects:
            made, stats = self._detected(variables, batch, rng, train=train)
        else:
            made, stats = {"driving": batch["keypoints"], "source": batch["identity_keypoints"]}, {}
        given = inputs(unit(batch["identity"]), made["driving"], made["source"])
        drawn, more = self.run("generator", variables, given, train=train)
        made |= {"image": drawn.image, "occlusion": drawn.motion.occlusion}
        return made, stats | more

    def _detected(
        self, variables: Mapping[str, Variables], batch: Batch, rng: jax.Array, *, train: bool
    ) -> tuple[dict[str, jax.Array], dict[str, PyTree]]:
        """Keypoints of both frames, and of the target warped."""
        picture, target = unit(batch["identity"]), unit(batch["face"])
        canonical, stats = self.run("detector", variables, inputs(picture), train=train)
        pictures, count = [picture, target], len(picture)
        warp = ThinPlate.draw(rng, count)
        if train and self.config.equivariance_weight:
            pictures.append(warp.picture(target))
        # As one batch: the statistics of BatchNorm are those of all frames.
        pose, more = self.run("pose", variables, inputs(jnp.concatenate(pictures)), train=train)
        poses = [
            jax.tree.map(lambda x, k=k: x[k * count : (k + 1) * count], pose)
            for k in range(len(pictures))
        ]
        source, driving, *rest = (
            placement.facevid2vid_keypoints(canonical, item) for item in poses
        )
        angles = (poses[1].yaw, poses[1].pitch, poses[1].roll)
        made = {
            "source": source,
            "driving": driving,
            "degrees": jnp.stack([placement.facevid2vid_degrees(item) for item in angles], -1),
            "expression": poses[1].expression,
        }
        if rest:
            made["returned"] = warp.points(rest[0][..., :2])
        return made, stats | more

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """Terms of the picture and of the keypoints; the GAN."""
        terms = weighted(
            *losses.picture_terms(self.config, size=self.config.size),
            *self._adversarial_terms(),
            *self._keypoint_terms(),
        )
        making = Objective(self.generators, terms)
        if "disc" not in self.nets:
            return (making,)
        judge = image_terms.judge_term(self._judge, _GANS[self.config.gan][1])
        return (making, Objective(("disc",), (LossTerm(self.config.gan, judge),)))

    def _adversarial_terms(self) -> tuple[LossTerm, ...]:
        config, judge = self.config, self._judge
        fool = image_terms.fool_term(judge, _GANS[config.gan][0])
        return (
            LossTerm("adversarial", fool, config.adversarial_weight),
            LossTerm("matching", image_terms.matching_term(judge), config.matching_weight),
        )

    def _keypoint_terms(self) -> tuple[LossTerm, ...]:
        config = self.config
        return (
            LossTerm("equivariance", _equivariance, config.equivariance_weight),
            LossTerm("keypoint", _spread, config.keypoint_weight),
            LossTerm("head_pose", _head_pose, config.head_pose_weight),
            LossTerm("expression", _expression, config.expression_weight),
        )

    def _judge(self, context: LossContext, image: jax.Array) -> Any:
        return context.apply["disc"](self._judged(image))

    def _judged(self, image: jax.Array) -> jax.Array:
        return losses.halved(image, self.config.disc_halvings)

    def frozen(self) -> dict[str, PyTree]:
        """The perceptual network, if a term has a weight.

        Raises:
          WeightsError: its file is missing or altered.
        """
        network = losses.perceptual_network(self.config)
        return image_terms.frozen_vgg(network, vgg19_path=self.config.vgg19_path)

    def metrics(
        self, outputs: Outputs, batch: Batch, frozen: Mapping[str, PyTree]
    ) -> dict[str, Any]:
        """As those of `PortraitTask`."""
        return losses.portrait_metrics(
            outputs["image"], batch, frozen, network=self.config.perceptual
        )

    def previews(self, outputs: Outputs, batch: Batch) -> Previews:
        """Picture, occlusion, image and target side by side, keypoints on them."""
        return preview.render(outputs, batch)


def _equivariance(context: LossContext) -> jax.Array:
    return keypoint.equivariance(context.outputs["driving"], context.outputs["returned"])


def _spread(context: LossContext) -> jax.Array:
    return keypoint.spread(context.outputs["driving"])


def _head_pose(context: LossContext) -> jax.Array:
    return keypoint.head_pose(context.outputs["degrees"], context.batch["angles"])


def _expression(context: LossContext) -> jax.Array:
    return keypoint.expression(context.outputs["expression"])
