"""Config of the motion stage."""

import dataclasses
from typing import Literal

from talkface_jax.features.content import WINDOW_ROWS
from talkface_jax.models.motion.landmark_graph import LandmarkGraphConfig
from talkface_jax.ranges import AT_LEAST_0, AT_LEAST_1, SHARE, Range, ranged


@dataclasses.dataclass(frozen=True)
class MotionConfig:
    """Speech, emotion and the graph of a face to the graph of the speaking face.

    Attributes:
      net: network sizes.
      feature: which speech-content features it hears: the better ones of those that need no file
        here; the paper's "deepspeech" needs its file.
      feature_weights: file with the weights of the features, where `feature` is "deepspeech".
      references: frames whose mean is the face that the motion starts from. Unverified default.
      rows: feature rows of the window around each frame, an even number. Unverified default.
      window: consecutive frames of a sample; a velocity term compares neighbours and needs 2. One
        as published.
      neutral_share: how often the face is that of a neutral clip of the speaker; 1 as published.
      other_share: how often it is that of any other clip of the speaker, whatever it shows there;
        else it is the clip's own. What the face shows the network is told.
      position_weight: weight of the squared position error. Unverified default.
      lip_weight: weight of the same of the lips alone (EmoVOCA: 5); 0 as published.
      velocity_weight: weight of the squared velocity error (VOCA: 10); 0 as published.
      closure_weight: weight of how much farther apart, where p, b and m are heard, the lips are in
        a drawn emotion than in a neutral face, squared; 0 as published.
      articulation_weight: weight of how differently the lips open and close in a drawn emotion and
        in a neutral face, squared; 0 as published.
      closure_gap: distance up to which inner lips are closed, in the unit of the canonical frame.
      flip: whether half of the training samples are mirrored, but for contempt, which shows on one
        side of the face.
      face_noise: deviation, in the unit of the canonical frame, by which the points of the face are
        moved in training, so that a few speakers' faces are not learned by heart; 0 as published.
      face_stretch: largest change of the face's width and height in training, as a share of them.
    """

    net: LandmarkGraphConfig = dataclasses.field(default_factory=LandmarkGraphConfig)
    feature: Literal["deepspeech", "whisper_tiny", "ctc29"] = "whisper_tiny"
    feature_weights: str = ""
    references: int = ranged(15, AT_LEAST_1)
    rows: int = ranged(WINDOW_ROWS, Range(least=2, parity="even"))
    window: int = ranged(5, AT_LEAST_1)
    neutral_share: float = ranged(0.5, SHARE)
    other_share: float = ranged(0.25, SHARE)
    position_weight: float = ranged(1.0, AT_LEAST_0)
    lip_weight: float = ranged(5.0, AT_LEAST_0)
    velocity_weight: float = ranged(10.0, AT_LEAST_0)
    closure_weight: float = ranged(0.0, AT_LEAST_0)
    articulation_weight: float = ranged(0.0, AT_LEAST_0)
    closure_gap: float = ranged(0.01, AT_LEAST_0)
    flip: bool = False
    face_noise: float = ranged(0.0, AT_LEAST_0)
    face_stretch: float = ranged(0.0, SHARE)
