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


class Table(enum.Enum):
    """A report of `talkface evaluate`, by the file that holds its numbers."""

    LANDMARKS = "scores_motion/scores.json"
    """Predicted landmarks of the held-out clips."""
    VIDEOS = "scores_video/scores.json"
    """Rendered mp4s of some of them, tracked again."""
    BLINKS = "scores_blinks/blinks.json"
    """Blinks made from noise, against those of clips by which nothing was chosen."""
    EMOTIONS = "scores_motion/emotions.json"
    """Predicted landmarks of the held-out clips in every emotion."""
    EMOTION_VIDEOS = "scores_emotion_video/scores.json"
    """Rendered mp4s of held-out people in every emotion, tracked again."""


class Paired(enum.Enum):
    """How two rows are compared over the same clips: a key of the report's comparisons, and the
    value that says that they are alike."""

    RATIO = ("ratio", 1.0)
    DIFFERENCE = ("difference", 0.0)

    @property
    def key(self) -> str:
        """Of the comparison in scores.json."""
        return self.value[0]

    @property
    def alike(self) -> float:
        """What two equal rows give."""
        return self.value[1]


@dataclasses.dataclass(frozen=True)
class Goal:
    """A bound that a method must keep on the held-out clips of the demo.

    Attributes:
      what: for the reader.
      table: where its number stands.
      number: which one: a metric of the row, or in BLINKS and EMOTIONS the path of the field, parts
        joined by a dot.
      least, most: its bounds; None for none.
      row: of the table.
      over: another row: the number is that of `row` over that of `over`, and the two rows'
        intervals must be apart; "" for the number itself.
      either_way: the size of the number counts, not its sign.
      paired: with `over`: the number is the two rows' ratio or difference over the same clips, and
        its interval must lie wholly on the bound's side of what equal rows give.

    Raises:
      ValueError: `paired` without `over`.
    """

    what: str
    table: Table
    number: str
    least: float | None = None
    most: float | None = None
    row: str = "model"
    over: str = ""
    either_way: bool = False
    paired: Paired | None = None

    def __post_init__(self) -> None:
        if self.paired is not None and not self.over:
            raise ValueError(f"the goal {self.what!r} is paired, so it needs a row in over")


def motion_goals(
    *,
    static: float,
    shifted: float,
    silence: float = 0.65,
    ridge: float = 0.75,
    correlation: float = 0.78,
    deviation: float = 0.75,
) -> tuple[Goal, ...]:
    """The bounds of predicted landmarks, for a method that moves the mouth.

    A linear map of the sound must miss them: ridge regression from log-mel reaches 0.86 of a static
    mouth, a correlation of 0.69 and a deviation of 0.67 on the demo's clips.

    Args:
      static, shifted, silence, ridge: largest lip distance of the model over that of the row.
      correlation: smallest correlation of the mouth's opening with the true one.
      deviation: smallest deviation of the mouth's opening over the true one's.
    """
    ratios = {
        "static-mouth": static,
        "shifted-audio": shifted,
        "silence": silence,
        "ridge": ridge,
    }
    landmarks = Table.LANDMARKS
    return (
        *(
            Goal(f"lips, model / {row}", landmarks, "lip_distance", most=most, over=row)
            for row, most in ratios.items()
        ),
        Goal("mouth-opening correlation", landmarks, "opening_correlation", least=correlation),
        Goal(
            "the same with shifted audio",
            landmarks,
            "opening_correlation",
            most=0.35,
            row="shifted-audio",
        ),
        Goal("lag in frames", landmarks, "lag", most=1.0, either_way=True),
        Goal("opening deviation, predicted / true", landmarks, "deviation", least=deviation),
    )


def video_goals(*, psnr: float = 0.3, lpips: float = 0.85) -> tuple[Goal, ...]:
    """The bounds of rendered mp4s, tracked again, for a method that moves the mouth.

    The renderer with which training began keeps the first two, for a warp by the landmarks does the
    work; what training is for stands in the others.

    Args:
      psnr: smallest gain in dB of the mouth's crop by training.
      lpips: largest LPIPS of the mouth's crop over that without training.
    """
    videos, untrained = Table.VIDEOS, "untrained"
    return (
        Goal("rendered mp4s, opening correlation", videos, "opening_correlation", least=0.5),
        Goal("rendered mp4s, deviation", videos, "deviation", least=0.5),
        Goal(
            "rendered mouths, PSNR in dB, trained - untrained",
            videos,
            "psnr_mouth",
            least=psnr,
            over=untrained,
            paired=Paired.DIFFERENCE,
        ),
        Goal(
            "rendered mouths, LPIPS, trained / untrained",
            videos,
            "lpips_mouth",
            most=lpips,
            over=untrained,
            paired=Paired.RATIO,
        ),
    )


def reenactment_goals(*, lpips: float = 0.7, follows: float = 0.8) -> tuple[Goal, ...]:
    """The bounds of mp4s in which a picture of a person follows that person's own video, tracked
    again; the picture copied, and the renderer with which training began, must miss them.

    Args:
      lpips: largest LPIPS of the face over that of the picture copied.
      follows: smallest correlation of yaw, pitch, gaze and mouth opening with the driver's.
    """
    videos = Table.VIDEOS
    followed = {
        "head yaw": "yaw_correlation",
        "head pitch": "pitch_correlation",
        "gaze": "gaze_correlation",
        "mouth opening": "opening_correlation",
    }
    return (
        Goal(
            "face, LPIPS, model / picture copied",
            videos,
            "lpips_face",
            most=lpips,
            over=COPIED,
        ),
        Goal("face, PSNR, model / picture copied", videos, "psnr_face", least=1.0, over=COPIED),
        *(
            Goal(f"driver's {what}, correlation", videos, number, least=follows)
            for what, number in followed.items()
        ),
        *(
            Goal(f"the same, {what}, untrained", videos, number, most=follows, row="untrained")
            for what, number in followed.items()
        ),
    )


COPIED = "copied-picture"
"""Row of videos that show the picture unmoved."""
BLINK_RATES = (0.28, 0.45)
"""Blinks a second of people who talk; what a generator must keep to."""
BLINK_DURATIONS = (0.1, 0.4)
"""Mean duration in seconds."""
BLINK_VARIATION = 0.2
"""Least standard deviation of the intervals in seconds; a metronome of any interval has 0.02, the
made-up people of the demo have 0.6."""
BLINK_GOALS = (
    Goal("blinks a second", Table.BLINKS, "sequences.rate", *BLINK_RATES),
    Goal("seconds of a blink", Table.BLINKS, "sequences.duration", *BLINK_DURATIONS),
    Goal(
        "seconds by which the intervals between blinks vary",
        Table.BLINKS,
        "sequences.interval_deviation",
        least=BLINK_VARIATION,
    ),
    Goal("blinks nearer to tracked ones than a constant blinker", Table.BLINKS, "nearer", least=1),
)
"""Those of a method that makes blinks of its own."""

SAME_SPEECH = 0.8
"""Least correlation of the mouth's opening with that in another emotion, or in another voice."""
OTHER_SPEECH = 0.5
"""Largest correlation of the mouth's opening for two recordings, the emotion the same."""
CLOSURES = 0.9
"""Least share of the p, b and m that close the lips, of those that do in a neutral face."""
EMOTION_ACCURACY = 0.6
"""Least share of the generated videos whose emotion is read off their faces; by chance one in
eight."""
EMOTION_GOALS = (
    Goal(
        "face, right emotion / wrong one",
        Table.EMOTIONS,
        "face_distance",
        most=1.0,
        over="wrong-emotion",
    ),
    Goal(
        "same speech, worst emotion: opening correlation with neutral",
        Table.EMOTIONS,
        "worst.correlation",
        least=SAME_SPEECH,
    ),
    Goal(
        "p, b and m that close, worst emotion / neutral",
        Table.EMOTIONS,
        "worst.closures",
        least=CLOSURES,
    ),
    Goal(
        "other speech, worst emotion: opening correlation",
        Table.EMOTIONS,
        "worst.other_speech",
        most=OTHER_SPEECH,
    ),
    Goal("every level of every emotion moves the face farther", Table.EMOTIONS, "grows", least=1),
    Goal(
        "angry voice: opening correlation with the recording as it is",
        Table.EMOTIONS,
        "voice.value",
        least=SAME_SPEECH,
    ),
    Goal(
        "emotion read off the generated videos, share that is right",
        Table.EMOTION_VIDEOS,
        "emotion_accuracy",
        least=EMOTION_ACCURACY,
    ),
)
"""Those of a method that shows the emotion that is asked for."""


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
