"""Config of the motion stage."""

import dataclasses
from typing import Literal

from talkface_jax.features.content import WINDOW_ROWS
from talkface_jax.models.motion.speech_landmarks import SpeechLandmarksConfig
from talkface_jax.ranges import AT_LEAST_0, AT_LEAST_1, Range, ranged


@dataclasses.dataclass(frozen=True)
class MotionConfig:
    """Speech-content features to person-independent landmarks.

    "As published" is as the paper is remembered, so unverified too.

    Attributes:
      net: network sizes.
      feature: which speech-content features it hears: the better ones of those that need no file
        here; the paper's "deepspeech" needs its file.
      feature_weights: file with the weights of the features, where `feature` is "deepspeech".
      references: frames whose mean is a person's neutral face. Unverified default.
      rows: feature rows of the window around each frame, an even number. Unverified default.
      window: consecutive frames of a sample, at least 2: the velocity term compares neighbours.
        Unverified default.
      position_weight: weight of the squared position error (VOCA: 1). Unverified default.
      velocity_weight: weight of the squared velocity error (VOCA: 10). Unverified default.
      lip_weight: weight of the lip points within both terms, those of the other points being 1; 1
        as published.
      flip: whether half of the training samples have the mirrored motion; off as published.
    """

    net: SpeechLandmarksConfig = dataclasses.field(default_factory=SpeechLandmarksConfig)
    feature: Literal["deepspeech", "whisper_tiny", "ctc29"] = "whisper_tiny"
    feature_weights: str = ""
    references: int = ranged(15, AT_LEAST_1)
    rows: int = ranged(WINDOW_ROWS, Range(least=2, parity="even"))
    window: int = ranged(5, Range(least=2))
    position_weight: float = ranged(1.0, AT_LEAST_0)
    velocity_weight: float = ranged(10.0, AT_LEAST_0)
    lip_weight: float = ranged(1.0, AT_LEAST_0)
    flip: bool = False
