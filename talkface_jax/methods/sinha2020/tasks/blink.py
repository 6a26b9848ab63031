"""The blink stage: noise to blinks, by the distribution of tracked eyes (Sinha et al., IJCNN 2020).

No blink is labelled: what is compared are sets of windows, real and generated, by MMD.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.errors import ConfigError
from talkface_jax.landmarks import blinks
from talkface_jax.losses import blink_features as features
from talkface_jax.losses.distribution import mmd
from talkface_jax.losses.terms import LossTerm
from talkface_jax.methods.sinha2020.config import BlinkConfig
from talkface_jax.methods.sinha2020.previews import blink as previews
from talkface_jax.methods.sinha2020.views.blink import BlinkView
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
# Patches and the longest smoothing must fit a window.
_MIN_WINDOW = 2 * features.PATCH


class BlinkTask:
    """White noise to displacements of lids and brows."""

    config_class: ClassVar[type] = BlinkConfig
    method = "sinha2020"
    stage = "blink"
    generators = ("blink",)

    def __init__(self, config: BlinkConfig):
        """Builds network, view and objective from the stage's config.

        Raises:
          ConfigError: windows too short for a blink, no reference, round or kernel width, or
            another number of points than a track has.
        """
        _check(config)
        self.config = config
        self.nets: Mapping[str, nn.Module] = {"blink": BlinkLstm(config.net)}
        self.view = BlinkView(window=config.window, references=config.references)

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

        weighted = (
            ("position", compared(features.positions), config.position_weight),
            ("interval", compared(features.lagged_products), config.interval_weight),
            ("patch", compared(features.patches), config.patch_weight),
            ("count", compared(features.counts), config.count_weight),
            ("pause", compared(features.pauses), config.pause_weight),
            ("shape", shape, config.shape_weight),
        )
        terms = [
            LossTerm(name, function, config.mmd_weight * weight)
            for name, function, weight in weighted
            if config.mmd_weight * weight
        ]
        terms.append(LossTerm("range", out_of_range, config.range_weight))
        return (Objective("blink", tuple(terms)),)

    def init(self, rng: jax.Array, batch: Batch) -> dict[str, Variables]:
        """Fresh variables; the batch's shapes do not matter."""
        del batch
        noise = jnp.zeros((1, 2, self.config.net.noise))
        return {"blink": self.nets["blink"].init(rng, noise)}

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
        return {
            "blink": {
                "batch_stats": {key: x.astype(np.float32) for key, x in constants.items()},
            }
        }

    def forward(
        self, variables: Mapping[str, Variables], batch: Batch, rng: jax.Array, *, train: bool
    ) -> tuple[Outputs, dict[str, PyTree]]:
        """blink (b, t, 22, 2): windows of generated tracks, as many as the batch has real ones."""
        del train
        count, frames = batch["blink"].shape[:2]
        rounds = self.config.rounds
        rows = -(-count // rounds)
        noise = jax.random.normal(rng, (rows, rounds * frames, self.config.net.noise))
        tracks = self.nets["blink"].apply(variables["blink"], noise)
        assert isinstance(tracks, jax.Array)
        windows = tracks.reshape(rows * rounds, frames, *tracks.shape[2:])
        return {"blink": windows[:count]}, {}

    def frozen(self) -> dict[str, PyTree]:
        """None."""
        return {}

    def metrics(self, outputs: Outputs, batch: Batch) -> dict[str, Any]:
        """Blinks a second and the share of closed frames, generated and real."""
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
        return previews.blink(outputs, batch)


def _closure(track: jax.Array) -> jax.Array:
    """`landmarks.blinks.closure`, traceable: (b, t, 22, 2) -> (b, t)."""
    return jnp.einsum("btpd,pd->bt", track, jnp.asarray(blinks.CLOSING))


def _curves(context: LossContext) -> tuple[jax.Array, jax.Array]:
    """Closure of the generated and of the real windows, once for all terms."""
    made = context.once("closure/made", lambda: _closure(context.outputs["blink"]))
    real = context.once("closure/real", lambda: _closure(context.batch["blink"]))
    return made, real


def _check(config: BlinkConfig) -> None:
    least = {
        "window": (config.window, _MIN_WINDOW),
        "references": (config.references, 1),
        "rounds": (config.rounds, 1),
    }
    for name, (value, low) in least.items():
        if value < low:
            raise ConfigError(
                f"config.task.{name} must be at least {low}, not {value}; "
                f"give another --config.task.{name}"
            )
    if not config.bandwidths or min(config.bandwidths) <= 0:
        raise ConfigError(
            "config.task.bandwidths must be numbers above 0, at least one, not "
            f"{config.bandwidths}; give other ones"
        )
    if config.net.points != len(blinks.POINTS):
        raise ConfigError(
            f"config.task.net.points must be {len(blinks.POINTS)}, not {config.net.points}; "
            "leave it out"
        )
