"""Blinks at inference: a program that turns noise into lids and brows, and how it is asked."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from talkface_jax.capabilities import AUTO, BLINK_DURATION, OFF, SEED
from talkface_jax.capabilities import BLINK as BLINK_CONTROL
from talkface_jax.errors import ConfigError
from talkface_jax.landmarks import blinks
from talkface_jax.methods.base import Call, program, shapes_of
from talkface_jax.methods.stages.blink.config import BlinkConfig
from talkface_jax.models.motion.blink_lstm import BlinkLstm
from talkface_jax.records import Controls
from talkface_jax.task import Program, Variables

BLINK = "blink"
WARMUP = 75
"""Frames made and thrown away: the LSTM's first state is only about as likely as later ones."""
# Noise is drawn in whole pieces, so that few lengths of the program are compiled.
_PIECE = 250
# A minute: enough blinks to tell their rate.
_RETIMED_FRAMES = 1500


def blink_program(config: BlinkConfig) -> Program:
    """White noise of t frames -> displacements of the lids and brows, made frame after frame."""
    net = BlinkLstm(config.net)

    def function(variables: Variables, inputs: Mapping[str, jax.Array]) -> Mapping[str, jax.Array]:
        return {"displacements": net.apply(variables, inputs["noise"][None])[0]}  # type: ignore

    return program(
        BLINK,
        player="blink",
        stage="blink",
        function=function,
        inputs={"noise": (("t", config.net.noise), jnp.float32)},
        variables=lambda: shapes_of(net, (1, config.window, config.net.noise)),
    )


class Blinker:
    """Lids and brows of any number of frames.

    Args:
      config: of the stage.
      call: runs a program by name.
    """

    def __init__(self, config: BlinkConfig, *, call: Call) -> None:
        self._config, self._call = config, call

    def track(self, frames: int, controls: Controls) -> Float32[np.ndarray, "t 22 2"]:
        """Displacements of lids and brows, from noise alone; see `blinks.retime` for a rate and a
        duration. With blinks off they are zero.

        A longer track begins like a shorter one of the same seed, unless it is retimed.

        Raises:
          ConfigError: a rate and a duration that do not fit each other.
        """
        asked, duration = controls.get(BLINK_CONTROL.name, AUTO), controls.get(BLINK_DURATION.name)
        if asked == OFF:
            return np.zeros((frames, len(blinks.POINTS), 2), np.float32)
        rate = None if asked == AUTO else asked
        retimed = rate is not None or duration is not None
        least = max(frames, _RETIMED_FRAMES) if retimed else frames
        rng = np.random.default_rng(controls.get(SEED.name, 0))
        pieces = -(-(WARMUP + least) // _PIECE)
        noise = rng.standard_normal((pieces * _PIECE, self._config.net.noise), np.float32)
        track = np.asarray(self._call(BLINK, {"noise": noise})["displacements"])[WARMUP:]
        if not retimed:
            return track[:frames]
        try:
            return blinks.retime(track, rate=rate, duration=duration, frames=frames)
        except ValueError as error:
            raise ConfigError(
                f"--blink and --blink-duration cannot be had ({error}); give others or "
                "leave them out"
            ) from error

    def closure(self, frames: int, *, seed: int) -> Float32[np.ndarray, " t"]:
        """Closure of the eyes in a track of that seed, 0 open to 1 closed."""
        return blinks.closure(self.track(frames, {SEED.name: seed})).astype(np.float32)
