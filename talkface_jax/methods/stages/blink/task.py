"""The blink stage: noise to blinks, by the distribution of tracked eyes (Sinha et al., IJCNN 2020).

No blink is labelled: what is compared are sets of windows, real and generated, by MMD.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.landmarks import blinks
from talkface_jax.losses import blink_features as features
from talkface_jax.losses.distribution import mmd
from talkface_jax.losses.terms import LossTerm, weighted
from talkface_jax.methods.base import Inputs, StageTask, inputs, view_of
from talkface_jax.methods.stages.blink import preview
from talkface_jax.methods.stages.blink.config import BlinkConfig
from talkface_jax.methods.stages.blink.view import BlinkView
from talkface_jax.metrics.base import Average
from talkface_jax.models.motion.blink_lstm import BlinkLstm
from talkface_jax.records import FPS
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

_NEARLY = 0.9


class BlinkTask(StageTask):
    """White noise to displacements of lids and brows, for every method that chains it."""

    config_class = BlinkConfig
    name = "stages/blink"
    generators = ("blink",)
    # Sets are compared: an MMD of a part of the batch is another loss.
    means_of_items = False

    def networks(self, config: BlinkConfig) -> Mapping[str, nn.Module]:
        """The LSTM."""
        return {"blink": BlinkLstm(config.net)}

    @cached_property
    def view(self) -> BlinkView:
        """Windows of tracked lids and brows."""
        return view_of(BlinkView, self.config)

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """One MMD for each set of features of the windows, and the range regulariser."""
        config = self.config

        def compared(function: Callable[[jax.Array], jax.Array]) -> Callable[..., jax.Array]:
            def term(context: LossContext) -> jax.Array:
                made, real = _curves(context)
                return mmd(function(made), function(real), bandwidths=config.bandwidths)

            return term

        def shape(context: LossContext) -> jax.Array:
            tracks = context.outputs["blink"], context.batch["blink"]
            made, real = map(features.shape, tracks, _curves(context))
            return mmd(made, real, bandwidths=config.bandwidths)

        def out_of_range(context: LossContext) -> jax.Array:
            return features.out_of_range(context.outputs["blink"], context.batch["blink"])

        sets = (
            ("position", compared(features.positions), config.position_weight),
            ("interval", compared(features.lagged_products), config.interval_weight),
            ("patch", compared(features.patches), config.patch_weight),
            ("count", compared(features.counts), config.count_weight),
            ("pause", compared(features.pauses), config.pause_weight),
            ("shape", shape, config.shape_weight),
        )
        terms = [LossTerm(name, term, config.mmd_weight * weight) for name, term, weight in sets]
        within = LossTerm("range", out_of_range, config.range_weight)
        return (Objective(("blink",), (*weighted(*terms), within)),)

    def inputs_of(self, batch: Batch) -> Mapping[str, Inputs]:
        """Noise; the batch's shapes do not matter."""
        del batch
        return {"blink": inputs(jnp.zeros((1, 2, self.config.net.noise)))}

    def fitted(self, samples: Callable[[], Iterable[Sample]]) -> Mapping[str, Variables]:
        """Where the points of the real tracks are while eyes are closed, at the closure that blinks
        reach on average: mean and deviation over the samples.

        Nothing where no frame of the samples is closed.
        """
        shut = []
        for sample in samples():
            track = np.asarray(sample["blink"], np.float64)
            curve = blinks.closure(track)
            # The frames that are nearly as closed as the sample's most closed one.
            if curve.max() > blinks.CLOSED:
                shut.append(track[curve > _NEARLY * curve.max()].mean(0))
        if not shut:
            return {}
        constants = {"closing": np.mean(shut, 0), "variety": np.std(shut, 0)}
        return {"blink": {"constants": {key: x.astype(np.float32) for key, x in constants.items()}}}

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
        """blink (b, t, 22, 2): windows of generated tracks, as many as the batch has real ones."""
        del frozen, step, train
        count, frames = batch["blink"].shape[:2]
        rounds = self.config.rounds
        rows = -(-count // rounds)
        noise = jax.random.normal(rng, (rows, rounds * frames, self.config.net.noise))
        tracks, _ = self.run("blink", variables, inputs(noise))
        windows = tracks.reshape(rows * rounds, frames, *tracks.shape[2:])
        return {"blink": windows[:count]}, {}

    def metrics(
        self, outputs: Outputs, batch: Batch, frozen: Mapping[str, PyTree]
    ) -> dict[str, Any]:
        """Blinks a second and the share of closed frames, generated and real."""
        del frozen
        found: dict[str, Any] = {}
        for prefix, track in (("", outputs["blink"]), ("true_", batch["blink"])):
            curve = _closure(track)
            seconds = curve.shape[1] / FPS
            rate = features.onsets(curve) / seconds
            found[f"{prefix}rate"] = Average.of(rate, batch["mask"])
            found[f"{prefix}closed"] = Average.of(features.closed(curve), batch["mask"])
        return found

    def previews(self, outputs: Outputs, batch: Batch) -> Previews:
        """Closure over time and moving eyes, real and generated."""
        return preview.blink(outputs, batch)


def _closure(track: jax.Array) -> jax.Array:
    """`landmarks.blinks.closure`, traceable: (b, t, 22, 2) -> (b, t)."""
    return jnp.einsum("btpd,pd->bt", track, jnp.asarray(blinks.CLOSING))


def _curves(context: LossContext) -> tuple[jax.Array, jax.Array]:
    """Closure of the generated and of the real windows, once for all terms."""
    made = context.once("closure/made", lambda: _closure(context.outputs["blink"]))
    real = context.once("closure/real", lambda: _closure(context.batch["blink"]))
    return made, real
