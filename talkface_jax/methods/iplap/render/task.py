"""IP-LAP's renderer as a trainable stage (Zhong et al., CVPR 2023, section 3.3).

Players: "renderer" and "disc". The discriminator's update is the corrected one: its gradients are
its own objective's only (the released code adds leftovers of the generator's).
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.errors import ConfigError
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.losses import image_terms, perceptual
from talkface_jax.losses.terms import LossTerm, weighted
from talkface_jax.methods.base import Inputs, StageTask, inputs, view_of
from talkface_jax.methods.iplap.render import mouth, preview
from talkface_jax.methods.iplap.render.config import RenderConfig
from talkface_jax.methods.iplap.render.view import RenderView
from talkface_jax.metrics.base import Average
from talkface_jax.metrics.perceptual import mouth_perceptual
from talkface_jax.metrics.pixel import pixel_errors
from talkface_jax.models.blocks import unit
from talkface_jax.models.discriminators import (
    MultiscaleDiscriminator,
    MultiscaleDiscriminatorConfig,
)
from talkface_jax.models.render.reference_warping import ReferenceWarping
from talkface_jax.task import Batch, Objective, Outputs, Previews, PyTree, Variables

_LIPS = get_scheme("iplap131").groups["lips"]


def _judged(config: RenderConfig) -> bool:
    return bool(config.adversarial_weight or config.matching_weight)


class RenderTask(StageTask):
    """Reference-warping renderer with a multi-scale discriminator."""

    config_class = RenderConfig
    name = "iplap/render"
    generators = ("renderer",)

    def check(self, config: RenderConfig) -> None:
        """Perceptual terms need a perceptual network, and sizes must be halved as often as the
        networks do.

        Raises:
          ConfigError: it is not so.
        """
        for name in ("size", "deep"):
            if getattr(config.net, name) % 4:
                raise ConfigError(
                    f"config.task.net.{name} must be a multiple of 4, not "
                    f"{getattr(config.net, name)}; give another --config.task.net.{name}"
                )
        drawn = config.net.design == "mouth"
        if drawn and (config.net.window % 4 or config.net.window > config.net.size):
            raise ConfigError(
                f"config.task.net.window must be a multiple of 4 of at most net.size "
                f"{config.net.size}, not {config.net.window}; give another --config.task.net.window"
            )
        wanted = bool(config.perceptual_weight or config.style_weight)
        if config.perceptual == "none" and (wanted or config.warp_loss == "perceptual"):
            raise ConfigError(
                "config.task: perceptual is none but perceptual_weight or style_weight is not 0, "
                "or warp_loss is perceptual; set both to 0.0 and warp_loss to l1, or name a network"
            )
        if config.perceptual != "none":
            image_terms.check_perceptual_size(
                config.net.size, depth=config.perceptual_layers, scales=config.perceptual_scales
            )

    def networks(self, config: RenderConfig) -> Mapping[str, nn.Module]:
        """Renderer, and the discriminator where a term needs it."""
        nets: dict[str, nn.Module] = {"renderer": ReferenceWarping(config.net)}
        if _judged(config):
            disc = MultiscaleDiscriminatorConfig(channels=config.disc_channels)
            nets["disc"] = MultiscaleDiscriminator(disc)
        return nets

    @cached_property
    def view(self) -> RenderView:
        """Single frames with their references."""
        return view_of(RenderView, self.config, size=self.config.net.size)

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """Warping alone, then everything; nothing of the second phase is computed in the first."""
        config, terms = self.config, image_terms
        features = terms.perceptual_features(
            config.perceptual,
            depth=config.perceptual_layers,
            scales=config.perceptual_scales,
            pixels=config.perceptual_range,
        )
        by_pixels = config.warp_loss == "l1" or features is None
        warp = terms.l1_term("warped") if by_pixels else terms.perceptual_term(features, "warped")
        window = mouth.cutter(config.net)
        warping = (
            LossTerm("warp", warp, config.warp_weight),
            *weighted(
                LossTerm("l1", terms.l1_term(), config.l1_weight),
                LossTerm("mouth", mouth.l1_term(window), config.mouth_weight),
            ),
        )
        start = config.warmup_steps
        first = (Objective(("renderer",), warping, stop=start),) if start else ()
        everything = (*warping, *self._seen(features, window))
        if not _judged(config):
            return (*first, Objective(("renderer",), everything, start=start))
        judged = (
            LossTerm("adversarial", terms.fool_term(), config.adversarial_weight),
            LossTerm("matching", terms.matching_term(), config.matching_weight),
        )
        full = Objective(("renderer",), (*everything, *judged), start=start)
        judge = Objective(("disc",), (LossTerm("lsgan", terms.judge_term()),), start=start)
        return (*first, full, judge)

    def _seen(
        self, features: perceptual.PerceptualFeatures | None, window: mouth.Cut
    ) -> tuple[LossTerm, ...]:
        """What the perceptual network says."""
        config, terms = self.config, image_terms
        if features is None:
            return ()
        term = (
            terms.perceptual_term(features)
            if config.perceptual_region == "face"
            else mouth.perceptual_term(features, window)
        )
        return weighted(
            LossTerm("perceptual", term, config.perceptual_weight),
            LossTerm("style", terms.style_term(features), config.style_weight),
        )

    def inputs_of(self, batch: Batch) -> Mapping[str, Inputs]:
        """Pictures in [0, 1], sound and points; for the discriminator the true picture."""
        pictures = (unit(batch[key]) for key in ("masked", "sketch", "ref_image", "ref_sketch"))
        middle = batch["points"][:, self.view.window // 2]
        given = inputs(*pictures, batch["mel"], points=middle, reference_points=batch["ref_points"])
        return {"renderer": given, "disc": inputs(unit(batch["face"]))}

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
        """image and warped (b, h, w, 3) in [0, 1], flow (b, r, h, w, 2) in pixels, weight."""
        del frozen, rng, step
        given = self.inputs_of(batch)["renderer"]
        rendered, stats = self.run("renderer", variables, given, train=train)
        outputs = {
            "image": rendered.image,
            "warped": rendered.aligned.image,
            "flow": rendered.aligned.flow,
            "weight": rendered.aligned.weight,
        }
        return outputs, stats

    def frozen(self) -> dict[str, PyTree]:
        """The perceptual network.

        Raises:
          WeightsError: its file is missing or altered.
        """
        return image_terms.frozen_vgg(self.config.perceptual, vgg19_path=self.config.vgg19_path)

    def metrics(
        self, outputs: Outputs, batch: Batch, frozen: Mapping[str, PyTree]
    ) -> dict[str, Any]:
        """L1 of the image, of its lower half and of the warped references; PSNR of the image and
        of the window about the lips; what a perceptual network, if there is one, sees at the
        mouth."""
        image, target, mask = outputs["image"], unit(batch["face"]), batch["mask"]
        half = target.shape[1] // 2
        lower = jnp.abs(image[:, half:] - target[:, half:])
        lips = batch["points"][:, self.view.window // 2, _LIPS]
        window = mouth.cutter(self.config.net)
        ours, theirs = (window(batch, item) for item in (image, target))
        found = {
            **pixel_errors(image, target, mask),
            "psnr_mouth": pixel_errors(ours, theirs, mask)["psnr"],
            "l1_lower": Average.of(lower, mask),
            "l1_warped": Average.of(jnp.abs(outputs["warped"] - target), mask),
        }
        if "vgg" in frozen:
            found["mouth_perceptual"] = mouth_perceptual(
                image,
                target,
                lips,
                mask,
                params=frozen["vgg"],
                network=image_terms.VGGS[self.config.perceptual],
            )
        return found

    def previews(self, outputs: Outputs, batch: Batch) -> Previews:
        """Masked input, sketch, a reference, warped references, image and target side by side."""
        return preview.render(outputs, batch)
