"""What a clip must reach to be kept. No numerical library is loaded: the command line reads it."""

import dataclasses
import math

from talkface_jax.errors import ConfigError


def _gate(default: float, text: str, *, low: float, high: float) -> float:
    """A field of `Gates`; its metadata are the help of its flag and the range of its values."""
    return dataclasses.field(default=default, metadata={"help": text, "range": (low, high)})


@dataclasses.dataclass(frozen=True)
class Gates:
    """What a clip must reach. 0 switches a gate off.

    Each field is a flag of the command line (`flag`), described by `metadata["help"]`.

    Attributes:
      min_face_share: frames in which the face is found.
      min_face_size: `quality.Quality.face_size`. LRS2's faces have 80 to 100 pixels.
      min_sharpness: `quality.Quality.sharpness`. A Gaussian blur of 3 % of the face's height brings
        a sharp face here.
      max_identity_change: `quality.Quality.identity_change`.
      min_level: `quality.Quality.level`.
      min_speech_share: `quality.Quality.speech_share`.

    Raises:
      ConfigError: a value out of its range, naming the flag.
    """

    min_face_share: float = _gate(
        0.9, "share of the frames in which the face must be found", low=0, high=1
    )
    min_face_size: float = _gate(
        40.0, "height of the face in pixels of the source", low=0, high=math.inf
    )
    min_sharpness: float = _gate(
        0.5,
        "fine over coarse detail of the face: 0.7 to 1 in focus, under 0.5 strongly blurred",
        low=0,
        high=math.inf,
    )
    max_identity_change: float = _gate(
        1.0,
        "largest sudden change of the face's shape and colours; a cut to somebody else is over 1",
        low=0,
        high=math.inf,
    )
    min_level: float = _gate(
        -50.0, "level of the loud parts of the sound in dBFS", low=-120, high=0
    )
    min_speech_share: float = _gate(
        0.1, "share of the clip in which somebody must speak", low=0, high=1
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, (low, high) = getattr(self, field.name), field.metadata["range"]
            if not (math.isfinite(value) and low <= value <= high):
                limits = f"from {low:g}" + (f" to {high:g}" if math.isfinite(high) else " on")
                raise ConfigError(
                    f"{flag(field.name)}={value:g} is no threshold; give a number {limits} "
                    "(0: no such gate)."
                )


def flag(field: str) -> str:
    """The command-line flag of a field of `Gates`: min_level -> --min-level."""
    return f"--{field.replace('_', '-')}"
