"""What a user may ask of a method beyond the audio: controls, their values and their flags.

A method declares which of these it takes, or its own (`capabilities.Declaration`). Importing it
loads nothing heavy: `talkface --help` reads declarations.
"""

import dataclasses
import math
import numbers
import operator
from collections.abc import Callable, Collection
from typing import Any

from talkface_jax.errors import ConfigError
from talkface_jax.ranges import ABOVE_0, AT_LEAST_0, AT_LEAST_1, Range


def number(given: Any) -> float:
    """A flag's text, or any real number, as float; ValueError or TypeError for anything else."""
    if isinstance(given, bool):
        raise TypeError("a bool is no number")
    return float(given)


def whole(given: Any) -> int:
    """The same for whole numbers."""
    if isinstance(given, bool):
        raise TypeError("a bool is no number")
    return int(given) if isinstance(given, str) else operator.index(given)


_WORDS = {number: "a number", whole: "a whole number"}


@dataclasses.dataclass(frozen=True)
class Control:
    """Something that a user may ask beyond the audio; left out, the method decides.

    Attributes:
      name: key of `records.Controls`, an identifier; the flag is `--name` with hyphens.
      help: for the flag.
      parse: gives the value of a flag's text, and of what Python code gives; raises ValueError or
        TypeError, whose text says what it must be ("one of happy, sad"), where it is none, and
        OSError where it is a file that cannot be read.
      allowed: range of the value, where it is a number or an array of them.
      metavar: stands for the value in the help.
      needs: names of controls; without any of them this one says nothing.
      excludes: names of controls that it cannot stand beside.

    Raises:
      ValueError: a name that is no identifier.
    """

    name: str
    help: str
    parse: Callable[[Any], Any] = number
    allowed: Range = dataclasses.field(default_factory=Range)
    metavar: str = "X"
    needs: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"the control {self.name!r} must be named by an identifier")

    @property
    def flag(self) -> str:
        """As it is written on the command line."""
        return _flag(self.name)

    def check_beside(self, given: Collection[str]) -> None:
        """Looks at what was given beside it.

        Args:
          given: names of all controls that were given.

        Raises:
          ConfigError: without what it needs, or beside what it excludes.
        """
        if self.needs and not any(name in given for name in self.needs):
            raise ConfigError(
                f"{self.flag} says nothing without {' or '.join(map(_flag, self.needs))}; give "
                "one too, or leave it out"
            )
        for name in self.excludes:
            if name in given:
                raise ConfigError(
                    f"{self.flag} and {_flag(name)} contradict each other; leave one of them out"
                )

    def read(self, given: Any) -> Any:
        """The value of a flag's text, or of what Python code gives.

        Raises:
          ConfigError: it is none, or out of range.
        """
        shown = given if isinstance(given, str) and given else " ".join(repr(given).split())
        try:
            value = self.parse(given)
        except OSError as error:
            place = error.filename or shown
            raise ConfigError(
                f"{self.flag}: {place} cannot be read ({error.strerror or error}); give another"
            ) from error
        except (ValueError, TypeError) as error:
            wanted = _WORDS.get(self.parse, str(error))
            raise ConfigError(f"{self.flag} must be {wanted}, not {shown}; give another") from error
        for item in _numbers(value):
            if item not in self.allowed:
                words = self.allowed if math.isfinite(item) else "a finite number"
                raise ConfigError(f"{self.flag} must be {words}, but is {item:g}; give another")
        return value


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _numbers(value: Any) -> list[Any]:
    """The numbers in a value: itself, or an array's; none in anything else."""
    found: list[Any] = value.ravel().tolist() if hasattr(value, "ravel") else [value]
    return [item for item in found if isinstance(item, numbers.Real)]


def _blink(given: Any) -> str | float:
    """A word of `BLINKS`, or a number."""
    if isinstance(given, str) and given in BLINKS:
        return given
    try:
        return number(given)
    except (ValueError, TypeError):
        raise ValueError(f"{', '.join(BLINKS)} or a number of blinks a second") from None


def _face(given: Any) -> Any:
    """`AUTO`, or `emotions.read_mix`."""
    return given if isinstance(given, str) and given == AUTO else _mix(given)


def _mixes(given: Any) -> Any:
    """`emotions.read_mixes`; imported when asked for, as is NumPy with it."""
    from talkface_jax import emotions

    return emotions.read_mixes(given)


def _mix(given: Any) -> Any:
    """`emotions.read_mix`."""
    from talkface_jax import emotions

    return emotions.read_mix(given)


def _track(given: Any) -> Any:
    """`emotions.read_track`."""
    from talkface_jax import emotions

    return emotions.read_track(given)


AUTO, OFF = BLINKS = "auto", "off"
"""Words of the control `BLINK`."""
BLINK = Control(
    "blink",
    "auto as the network makes them, off for open eyes throughout, or a number of blinks a second "
    "(default: auto)",
    parse=_blink,
    allowed=AT_LEAST_0,
    metavar="auto|off|RATE",
)
BLINK_DURATION = Control(
    "blink_duration",
    "seconds that a blink lasts (default: as the network makes them)",
    allowed=ABOVE_0,
)
SEED = Control(
    "seed",
    "another seed gives another draw of all that is drawn (default: 0)",
    parse=whole,
    allowed=AT_LEAST_0,
    metavar="N",
)
REFERENCES = Control(
    "references",
    "frames in which the renderer sees the person (default: the config's)",
    parse=whole,
    allowed=AT_LEAST_1,
    metavar="N",
)

EMOTION = Control(
    "emotion",
    "what the face shows: an emotion's name, or a mix such as happy:0.6,surprised:0.4 (default: "
    "what it shows already)",
    parse=_mixes,
    metavar="NAME",
)
LEVEL = Control(
    "level",
    "how strong the emotion is: 1 to 3 as in the data, 0 for neutral, and up to 9 exaggerates "
    "(default: 3)",
    allowed=Range(least=0, most=9),
    needs=("emotion", "emotion_track"),
)
EMOTION_TRACK = Control(
    "emotion_track",
    "instead of --emotion, a CSV file with a column seconds and a column of weights for each "
    "emotion; linear between its lines, and --level multiplies it",
    parse=_track,
    metavar="FILE",
    excludes=("emotion",),
)
FACE_EMOTION = Control(
    "face_emotion",
    "what the face in the picture shows already, as --emotion, where 1 is level 3; or auto, read "
    "off the face (default: neutral)",
    parse=_face,
    metavar="auto|NAME",
)
