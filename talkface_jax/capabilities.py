"""What a method declares of itself: stages, what it generates, its controls and its goals.

The command line's flags, their checks and their messages follow from the declarations, and so does
what evaluation measures. Importing it loads nothing heavy: `talkface --help` reads declarations.
"""

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

from talkface_jax.controls import AUTO as AUTO
from talkface_jax.controls import BLINK as BLINK
from talkface_jax.controls import BLINK_DURATION as BLINK_DURATION
from talkface_jax.controls import BLINKS as BLINKS
from talkface_jax.controls import EMOTION as EMOTION
from talkface_jax.controls import EMOTION_TRACK as EMOTION_TRACK
from talkface_jax.controls import FACE_EMOTION as FACE_EMOTION
from talkface_jax.controls import LEVEL as LEVEL
from talkface_jax.controls import OFF as OFF
from talkface_jax.controls import REFERENCES as REFERENCES
from talkface_jax.controls import SEED as SEED
from talkface_jax.controls import Control as Control
from talkface_jax.controls import number as number
from talkface_jax.controls import whole as whole
from talkface_jax.errors import ConfigError
from talkface_jax.goals import BLINK_DURATIONS as BLINK_DURATIONS
from talkface_jax.goals import BLINK_GOALS as BLINK_GOALS
from talkface_jax.goals import BLINK_RATES as BLINK_RATES
from talkface_jax.goals import BLINK_VARIATION as BLINK_VARIATION
from talkface_jax.goals import CLOSURES as CLOSURES
from talkface_jax.goals import COPIED as COPIED
from talkface_jax.goals import EMOTION_ACCURACY as EMOTION_ACCURACY
from talkface_jax.goals import EMOTION_GOALS as EMOTION_GOALS
from talkface_jax.goals import OTHER_SPEECH as OTHER_SPEECH
from talkface_jax.goals import SAME_SPEECH as SAME_SPEECH
from talkface_jax.goals import Goal as Goal
from talkface_jax.goals import Paired as Paired
from talkface_jax.goals import Table as Table
from talkface_jax.goals import motion_goals as motion_goals
from talkface_jax.goals import reenactment_goals as reenactment_goals
from talkface_jax.goals import video_goals as video_goals


class Aspect(enum.Enum):
    """Something that a method generates, which evaluation measures."""

    MOUTH = "mouth"
    BLINKS = "blinks"
    """`synthesize.contract.MakesBlinks`: a chain that makes blinks of its own."""
    EMOTION = "emotion"
    GAZE = "gaze"
    POSE = "pose"


class Driven(enum.Enum):
    """What a method's faces move by."""

    AUDIO = "audio"
    VIDEO = "video"
    """`synthesize.contract.Follows`: a chain that follows a driving video."""


@dataclasses.dataclass(frozen=True)
class Declaration:
    """A method, or a family of stages that no method chains.

    Places are "module:attribute", imported when asked for: inference never imports training code.

    Attributes:
      name: registry name.
      paper: whose method it is, in one line.
      stages: the task class of each stage, in order of training.
      aside: those that are trained but in no bundle (a classifier that a loss asks).
      chain: the `task.Method`; "" where nothing chains the stages.
      driven_by: what its faces move by, one of them for each synthesis.
      generates: what it makes of speech and evaluation measures.
      controls: what a user may ask of it.
      goals: by which `talkface demo` judges it.
      networks: the PyTorch networks whose weights it takes (`interop.torch_network`,
        `interop.torch_release`), or "".
      parity: what must agree with official code (`interop.suites.Suite`), by a name for the code.
      finetuning: how it is trained further on one picture (`methods.finetuning.FineTuning`), or "".
    """

    name: str
    paper: str
    stages: Mapping[str, str]
    aside: tuple[str, ...] = ()
    chain: str = ""
    driven_by: tuple[Driven, ...] = (Driven.AUDIO,)
    generates: tuple[Aspect, ...] = ()
    controls: tuple[Control, ...] = ()
    goals: tuple[Goal, ...] = ()
    networks: str = ""
    parity: Mapping[str, str] = dataclasses.field(default_factory=dict)
    finetuning: str = ""

    @property
    def chained(self) -> tuple[str, ...]:
        """The stages that a bundle is made of."""
        return tuple(stage for stage in self.stages if stage not in self.aside)

    def require_driven_by(self, drive: Driven) -> None:
        """Looks whether the method's faces move by that.

        Raises:
          ConfigError: they do not.
        """
        if drive in self.driven_by:
            return
        if drive is Driven.VIDEO:
            raise ConfigError(
                f"{self.name} is driven by a recording, not by a video; leave --driver out and "
                "give --audio, or give a bundle of another method"
            )
        raise ConfigError(
            f"{self.name} is driven by a video, not by a recording; give --driver=VIDEO, or a "
            "bundle of another method"
        )

    def read_controls(self, controls: Mapping[str, Any]) -> dict[str, Any]:
        """The values of controls that were given, as flags' texts or by Python code.

        Raises:
          ConfigError: a control that the method does not have, one that is none or out of range, or
            that does not go with another, by its flag.
        """
        known = {control.name: control for control in self.controls}
        for name in controls:
            if name not in known:
                if name.replace("-", "_") in known:
                    raise ConfigError(f"{name!r} is no key; write {name.replace('-', '_')!r}")
                flag = f"--{name.replace('_', '-')}" if name.isidentifier() else repr(name)
                accepted = ", ".join(item.flag for item in self.controls) or "no controls"
                raise ConfigError(f"{self.name} has no {flag}; leave it out (it takes {accepted})")
        values = {name: known[name].read(given) for name, given in controls.items()}
        for name in values:
            known[name].check_beside(values)
        return values


def clip_controls(declaration: Declaration, *, emotion: int, level: int) -> dict[str, Any]:
    """What a clip's label asks of a method that shows emotions: the emotion that its face speaks
    with, of which the pictures of that same clip show as much already.

    Args:
      emotion: index into `records.EMOTIONS`, -1 where unknown.
      level: 1 to 3, -1 where unknown; a neutral clip needs none.

    Returns:
      `emotion`, `level` and `face_emotion`, of these what the method declares; nothing without
      `EMOTION` among its controls or without a label.
    """
    from talkface_jax import emotions

    declared = {control.name for control in declaration.controls}
    neutral = emotion == emotions.NEUTRAL
    if EMOTION.name not in declared or emotion < 0 or (level < 1 and not neutral):
        return {}
    name, strength = emotions.EMOTIONS[emotion], max(level, 1)
    asked = {
        EMOTION.name: name,
        LEVEL.name: strength,
        FACE_EMOTION.name: {name: strength / emotions.LEVELS},
    }
    return {name: value for name, value in asked.items() if name in declared}
