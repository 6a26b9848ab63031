"""sinha2020 at inference: speech moves a mean face, noise its lids, and one picture its pixels.

Source: Sinha, Biswas, Bhowmick, IJCNN 2020 (arXiv 2005.12318). Ours: any head pose
  (`stages.portrait.chain`).
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from talkface_jax.features import content
from talkface_jax.methods.base import ChainMethod, in_parts
from talkface_jax.methods.sinha2020 import DECLARATION, programs
from talkface_jax.methods.sinha2020.motion.config import MotionConfig
from talkface_jax.methods.sinha2020.render.config import RenderConfig
from talkface_jax.methods.stages.blink.chain import blink_program
from talkface_jax.methods.stages.blink.config import BlinkConfig
from talkface_jax.methods.stages.portrait.chain import (
    MOTION_BATCH,
    Face,
    PortraitChain,
    Script,
    open_feature,
)
from talkface_jax.task import Program, Programs


class SinhaChain(PortraitChain):
    """The three networks in a row."""

    motion_config: MotionConfig

    def offsets(
        self, face: Face, script: Script, frames: Int[np.ndarray, " t"]
    ) -> Float32[np.ndarray, "t 68 2"]:
        """Person-independent motion of the frames, from the sound alone."""
        del face
        windows = content.content_windows(script.rows, frames, length=self.motion_config.rows)
        return in_parts(
            lambda part: self.call(programs.MOTION, {"content": windows[part]})["offsets"],
            len(windows),
            size=MOTION_BATCH,
        )


class SinhaMethod(ChainMethod):
    """The method's entry in the registry."""

    declaration = DECLARATION
    config_classes = MappingProxyType(
        {"motion": MotionConfig, "blink": BlinkConfig, "render": RenderConfig}
    )

    def requires(self, configs: Mapping[str, Any]) -> Mapping[str, str]:
        """The speech-content feature with its weights.

        Raises:
          WeightsError: its weights are missing, altered or incompatible.
        """
        return {"speech features": open_feature(configs["motion"]).cache_key()}

    def programs(self, configs: Mapping[str, Any]) -> Sequence[Program]:
        """What to export."""
        return (
            programs.motion_program(configs["motion"]),
            blink_program(configs["blink"]),
            programs.render_program(configs["render"]),
        )

    def chain(self, configs: Mapping[str, Any], programs: Programs) -> SinhaChain:
        """The runnable chain.

        Raises:
          WeightsError: weights of the speech features that are missing or altered.
        """
        stages = (configs[stage] for stage in self.declaration.stages)
        return SinhaChain(*stages, call=programs.call)


METHOD = SinhaMethod()
