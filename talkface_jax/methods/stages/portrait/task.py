"""What stages share that paint a face over one picture of a person: losses, discriminator,
metrics."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.interop import lpips_weights
from talkface_jax.losses import image_terms
from talkface_jax.losses.terms import LossTerm, weighted
from talkface_jax.methods.base import Inputs, StageTask, inputs
from talkface_jax.methods.stages.portrait import losses
from talkface_jax.models.blocks import unit
from talkface_jax.models.landmark_maps import landmark_maps
from talkface_jax.task import Batch, LossContext, Objective, Outputs, PyTree, Variables


class PortraitTask(StageTask):
    """A network that paints the target's face, and a conditional patch discriminator.

    Players: "renderer", and "disc" where the adversarial term has a weight. A stage gives
    `renderer`, the network of its config's `net`; `outputs`, which fields of its result are
    outputs, `image` among them; and `regularisers`, terms of its own.
    """

    generators = ("renderer",)
    outputs: ClassVar[tuple[str, ...]]

    def renderer(self, config: Any) -> nn.Module:
        """The network."""
        raise NotImplementedError

    def regularisers(self) -> tuple[LossTerm, ...]:
        """None."""
        return ()

    def rendered(self, batch: Batch) -> Inputs:
        """What the network is given: the picture and both sets of landmarks."""
        return inputs(unit(batch["identity"]), batch["identity_points"], batch["points"])

    def line_width(self) -> float:
        """Deviation in pixels of the landmarks' lines that the discriminator is shown."""
        return 1.5

    def check(self, config: Any) -> None:
        """A perceptual weight needs a perceptual network, and sizes must be halved as often as the
        networks do.

        Raises:
          ConfigError: it is not so.
        """
        losses.check_losses(config, size=config.net.size)

    def networks(self, config: Any) -> Mapping[str, nn.Module]:
        """Renderer and discriminator."""
        nets = {"renderer": self.renderer(config)}
        if config.adversarial_weight:
            nets["disc"] = losses.discriminator(config)
        return nets

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """L1, perceptual and adversarial terms and the regularisers; LSGAN."""
        config = self.config
        fool = image_terms.fool_term(self._judge)
        terms = (
            *losses.picture_terms(config, size=config.net.size),
            LossTerm("adversarial", fool, config.adversarial_weight),
            *self.regularisers(),
        )
        painting = Objective(("renderer",), weighted(*terms))
        if not config.adversarial_weight:
            return (painting,)
        judge = LossTerm("lsgan", image_terms.judge_term(self._judge))
        return (painting, Objective(("disc",), (judge,)))

    def _judge(self, context: LossContext, image: jax.Array) -> Any:
        """The discriminator on an image, given the identity and the target's landmark maps."""
        condition = context.once("condition", lambda: self._condition(context.batch))
        return context.apply["disc"](self._judged(image, condition))

    def _condition(self, batch: Batch) -> jax.Array:
        maps = landmark_maps(batch["points"], size=self.config.net.size, width=self.line_width())
        return jnp.concatenate([unit(batch["identity"]), maps], -1)

    def _judged(self, image: jax.Array, condition: jax.Array) -> jax.Array:
        both = jnp.concatenate([image, condition.astype(image.dtype)], -1)
        return losses.halved(both, self.config.disc_halvings)

    def inputs_of(self, batch: Batch) -> Mapping[str, Inputs]:
        """Those of the renderer; for the discriminator the true picture."""
        found = {"renderer": self.rendered(batch)}
        if "disc" in self.nets:
            found["disc"] = inputs(self._judged(unit(batch["face"]), self._condition(batch)))
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
        """The fields of the renderer's result that `outputs` names, (b, h, w, …)."""
        del frozen, rng, step, train
        made, stats = self.run("renderer", variables, self.rendered(batch))
        return {key: getattr(made, key) for key in self.outputs}, stats

    def frozen(self) -> dict[str, PyTree]:
        """The perceptual network, if its term has a weight, and that of LPIPS, if it is measured.

        Raises:
          WeightsError: a file is missing or altered.
        """
        network = losses.perceptual_network(self.config)
        found = image_terms.frozen_vgg(network, vgg19_path=self.config.vgg19_path)
        if self.config.measure_lpips:
            found["lpips"] = lpips_weights.load_lpips("alex")
        return found

    def metrics(
        self, outputs: Outputs, batch: Batch, frozen: Mapping[str, PyTree]
    ) -> dict[str, Any]:
        """See `losses.portrait_metrics`; LPIPS if asked for."""
        return losses.portrait_metrics(
            outputs["image"], batch, frozen, network=self.config.perceptual
        )
