"""sinha2022 at inference: speech and emotion move a face's graph, noise its lids, flow its pixels.

Source: Sinha, Biswas, Yadav, Bhowmick, IJCAI 2022 (arXiv 2205.01155). Ours: any head pose and video
  (`stages.portrait.chain`), blinks, and faces that are not neutral: what the face already shows is
  said, or read off the tracker's blendshapes.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from talkface_jax import emotions
from talkface_jax.features import content
from talkface_jax.features import emotion as reader
from talkface_jax.landmarks import blinks, lips
from talkface_jax.methods.base import ChainMethod, in_parts
from talkface_jax.methods.sinha2022 import DECLARATION, programs
from talkface_jax.methods.sinha2022.motion.config import MotionConfig
from talkface_jax.methods.sinha2022.render.config import RenderConfig
from talkface_jax.methods.stages.blink.chain import blink_program
from talkface_jax.methods.stages.blink.config import BlinkConfig
from talkface_jax.methods.stages.portrait.chain import (
    MOTION_BATCH,
    Face,
    PortraitChain,
    Script,
    open_feature,
)
from talkface_jax.records import Controls
from talkface_jax.task import Program, Programs

_LEAST_GAP = 0.3
"""Of the lids, in gaps of the mean face: eyes that an emotion narrows still close."""


@dataclasses.dataclass(frozen=True)
class EmotionScript(Script):
    """What one synthesis is to show.

    Attributes:
      emotion: of every output frame (`talkface_jax.emotions`).
      face_emotion: what the face at rest, and the picture, already show.
    """

    emotion: Float32[np.ndarray, "n 8"]
    face_emotion: Float32[np.ndarray, "8"]


class EmotionChain(PortraitChain):
    """The three networks in a row."""

    motion_config: MotionConfig

    def write_script(
        self,
        face: Face,
        *,
        samples: Float32[np.ndarray, " s"],
        length: int,
        controls: Controls,
    ) -> EmotionScript:
        """What `length` frames are to show. Without an emotion in the controls it is the face's
        own.

        Raises:
          ConfigError: controls that do not fit each other.
        """
        plain = super().write_script(face, samples=samples, length=length, controls=controls)
        shown = emotions.of_face(controls)
        if shown is None:
            shown = reader.load().estimate(face.blendshapes)
        wanted = emotions.requested(controls, length)
        if wanted is None:
            wanted = np.tile(shown, (length, 1))
        return EmotionScript(
            rows=plain.rows,
            lids=plain.lids,
            emotion=np.asarray(wanted, np.float32),
            face_emotion=np.asarray(shown, np.float32),
        )

    def offsets(
        self, face: Face, script: Script, frames: Int[np.ndarray, " t"]
    ) -> Float32[np.ndarray, "t 68 2"]:
        """Motion of the frames from the face at rest; lips touch and go no further."""
        assert isinstance(script, EmotionScript)
        windows = content.content_windows(script.rows, frames, length=self.motion_config.rows)
        rest = blinks.at_rest(face.normalised, face.eyes).astype(np.float32)

        def move(part: np.ndarray) -> Any:
            inputs = {
                "content": windows[part],
                "emotion": script.emotion[frames[part]],
                "face_emotion": script.face_emotion,
                "face": rest,
            }
            return self.call(programs.MOTION, inputs)["offsets"]

        offsets = in_parts(move, len(windows), size=MOTION_BATCH)
        return lips.touching(rest + offsets) - rest

    def blinking(
        self,
        face: Face,
        offsets: Float32[np.ndarray, "t 68 2"],
        lids: Float32[np.ndarray, "t 22 2"],
    ) -> np.ndarray:
        """The motion with the generated blinks on top: lids close by as far as the emotion leaves
        them open."""
        moved, eyes = np.array(offsets, np.float64), face.eyes
        gap = np.maximum(eyes.gap - blinks.closure(offsets[:, blinks.POINTS]), _LEAST_GAP)
        closing = np.array(lids, np.float64)
        closing[:, : len(blinks.LIDS)] *= gap[:, None, None]
        moved[:, blinks.POINTS] += eyes.points + closing
        return moved

    def render_inputs(
        self, script: Script, frames: Int[np.ndarray, " m"]
    ) -> Mapping[str, np.ndarray]:
        """The emotions of the frames and of the picture."""
        assert isinstance(script, EmotionScript)
        shown = np.tile(script.face_emotion, (len(frames), 1))
        return {"emotion": script.emotion[frames], "face_emotion": shown}


class EmotionMethod(ChainMethod):
    """The method's entry in the registry."""

    declaration = DECLARATION
    config_classes = MappingProxyType(
        {"motion": MotionConfig, "blink": BlinkConfig, "render": RenderConfig}
    )

    def requires(self, configs: Mapping[str, Any]) -> Mapping[str, str]:
        """The speech-content feature and the emotion network, with their weights.

        Raises:
          WeightsError: weights that are missing, altered or incompatible.
        """
        return {
            "speech features": open_feature(configs["motion"]).cache_key(),
            "emotion network": reader.load().cache_key(),
        }

    def programs(self, configs: Mapping[str, Any]) -> Sequence[Program]:
        """What to export."""
        return (
            programs.motion_program(configs["motion"]),
            blink_program(configs["blink"]),
            programs.render_program(configs["render"]),
        )

    def chain(self, configs: Mapping[str, Any], programs: Programs) -> EmotionChain:
        """The runnable chain.

        Raises:
          WeightsError: weights of the features that are missing or altered.
        """
        stages = (configs[stage] for stage in self.declaration.stages)
        return EmotionChain(*stages, call=programs.call)


METHOD = EmotionMethod()
