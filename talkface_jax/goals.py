"""What a method must reach on the held-out clips of the demo, and where the numbers stand.

Importing it loads nothing heavy.
"""

import dataclasses
import enum


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
            # LPIPS of the copy differs more from clip to clip than from the model.
            paired=Paired.RATIO,
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
