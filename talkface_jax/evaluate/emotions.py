"""Whether a method shows the emotion that is asked for and goes on speaking, by its landmarks.

Everything is measured on labelled held-out clips, whose speech and head pose are given; nothing is
rendered. Schema of emotions.json (version 1; NaN is written as null): the fields of
`EmotionReport`, and its properties `worst` and `grows`.
"""

import dataclasses
import functools
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from talkface_jax.errors import RecordError
from talkface_jax.evaluate import bootstrap, emotion_clip, noise, scores, voices
from talkface_jax.evaluate.bootstrap import Interval
from talkface_jax.evaluate.emotion_cases import LEVELS, NEUTRAL, TOP, EmotionCase
from talkface_jax.evaluate.emotion_clip import (
    GROUND_TRUTH,
    METRICS,
    MODEL,
    ROWS,
    ClipEmotions,
    Example,
)
from talkface_jax.evaluate.scores import Comparison
from talkface_jax.metrics import closure, landmark, landmark_dynamics, sync
from talkface_jax.metrics.closure import Closures
from talkface_jax.records import EMOTIONS

SCHEMA = 1
EMOTIONAL = tuple(name for name in EMOTIONS if name != NEUTRAL)
STEPS = tuple(itertools.pairwise(range(1, TOP + 1)))


@dataclasses.dataclass(frozen=True)
class Row:
    """Distances from the truth, by metric, over so many clips."""

    clips: int
    metrics: dict[str, Interval]


@dataclasses.dataclass(frozen=True)
class Effect:
    """What an emotion does to a face that says the same; levels are text, for JSON.

    Attributes:
      correlation: by level, of the mouth's opening with that of neutral.
      closures: at the top level, at how many of the p, b and m the lips met.
      closures_over_neutral: at how many, over those of neutral.
      other_speech: at the top level, correlation of the opening with that for another recording.
      displacement: by level, mean distance of all points from those of neutral, in % of the eye
        distance.
      growth: by step ("1-2"), how much farther the higher level is over the same clips.
    """

    correlation: dict[str, Interval]
    closures: Closures
    closures_over_neutral: Interval
    other_speech: Interval
    displacement: dict[str, Interval]
    growth: dict[str, Interval]


@dataclasses.dataclass(frozen=True)
class Worst:
    """The emotion that does worst: NaN where one of them has no number.

    Attributes:
      correlation: least, at the top level.
      closures: least, over those of neutral.
      other_speech: greatest, neutral's among them.
    """

    correlation: float
    closures: float
    other_speech: float


@dataclasses.dataclass(frozen=True, eq=False)
class EmotionReport:
    """What `evaluate_emotions` found.

    Attributes:
      clips, speakers: how many were looked at.
      rows: distances from the truth.
      comparisons: the model against every other row, by metric, over the same clips.
      effects: by emotion.
      voice: correlation of the opening with that for the same recording made angry.
      failures: by clip, why it could not be predicted.
      conventions: how it was measured.
      example: of the figures.
    """

    clips: int
    speakers: int
    rows: dict[str, Row]
    comparisons: dict[str, dict[str, dict[str, Comparison]]]
    effects: dict[str, Effect]
    voice: Interval
    failures: dict[str, str]
    conventions: dict[str, str]
    example: Example

    @property
    def worst(self) -> Worst:
        """By which a method is judged."""
        moods = [self.effects[name] for name in EMOTIONAL]
        return Worst(
            float(np.min([mood.correlation[str(TOP)].value for mood in moods])),
            float(np.min([mood.closures_over_neutral.value for mood in moods])),
            float(np.max([mood.other_speech.value for mood in self.effects.values()])),
        )

    @property
    def grows(self) -> bool:
        """Whether every emotion surely moves the face farther at every higher level of the data."""
        moods = (self.effects[name] for name in EMOTIONAL)
        return all(step.low > 0 for mood in moods for step in mood.growth.values())

    def to_json(self) -> str:
        """All fields and both verdicts."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        document = {"schema": SCHEMA, **fields, "worst": self.worst, "grows": self.grows}
        return json.dumps(scores.plain(document), indent=1, allow_nan=False) + "\n"


def evaluate_emotions(
    cases: Iterable[EmotionCase], *, failures: Mapping[str, str] | None = None
) -> EmotionReport:
    """Measures what a method made of labelled clips.

    Args:
      cases: the clips (any iterable: they are used one at a time).
      failures: by clip, why it could not be predicted; read after the last case.

    Raises:
      RecordError: there is no case.
    """
    clips: list[ClipEmotions] = []
    example: Example | None = None
    for case in cases:
        clips.append(emotion_clip.measure(case))
        example = example or emotion_clip.example(case)
    if example is None:
        reasons = "; ".join(dict.fromkeys((failures or {}).values()))
        raise RecordError(f"no labelled clip could be predicted ({reasons or 'there is none'})")
    speakers = [clip.speaker for clip in clips]
    rows = [name for name in ROWS if any(name in clip.rows for clip in clips)]
    return EmotionReport(
        clips=len(clips),
        speakers=len(set(speakers)),
        rows={name: _row(clips, name) for name in rows},
        comparisons={
            MODEL: {
                name: _compare(clips, name) for name in rows if name not in (MODEL, GROUND_TRUTH)
            }
        },
        effects={name: _effect(clips, name) for name in EMOTIONS},
        voice=bootstrap.bootstrap(np.array([clip.voice for clip in clips]), speakers=speakers),
        failures=dict(failures or {}),
        conventions=_conventions(example.scheme),
        example=example,
    )


def _row(clips: Sequence[ClipEmotions], name: str) -> Row:
    def of(metric: str) -> Interval:
        return _mean(clips, lambda clip: _of_row(clip, name, metric))

    return Row(sum(name in clip.rows for clip in clips), {metric: of(metric) for metric in METRICS})


def _of_row(clip: ClipEmotions, row: str, metric: str) -> float:
    """NaN where the clip does not have the row."""
    return clip.rows.get(row, {}).get(metric, float("nan"))


def _mean(clips: Sequence[ClipEmotions], number: Callable[[ClipEmotions], float]) -> Interval:
    """Over the clips that have the number."""
    values = np.array([number(clip) for clip in clips])
    return bootstrap.bootstrap(values, speakers=[clip.speaker for clip in clips])


def _compare(clips: Sequence[ClipEmotions], other: str) -> dict[str, Comparison]:
    """The model against another row, over the clips that have it."""
    speakers = [clip.speaker for clip in clips]

    def values(row: str, metric: str) -> np.ndarray:
        return np.array([_of_row(clip, row, metric) for clip in clips])

    found = {}
    for metric in METRICS:
        pair = values(MODEL, metric), values(other, metric)
        found[metric] = Comparison(
            bootstrap.bootstrap_ratio(*pair, speakers=speakers),
            bootstrap.bootstrap_difference(*pair, speakers=speakers),
        )
    return found


def _effect(clips: Sequence[ClipEmotions], emotion: str) -> Effect:
    """One emotion over all clips."""
    missing = float("nan")
    closed = [clip.closures[emotion] for clip in clips]
    # Of a clip without p, b and m nothing is known.
    mine, neutrals = (
        np.array([found.closed if found.moments else missing for found in row])
        for row in (closed, [clip.closures[NEUTRAL] for clip in clips])
    )
    levels = () if emotion == NEUTRAL else LEVELS
    steps = () if emotion == NEUTRAL else STEPS

    def moved(level: int) -> Callable[[ClipEmotions], float]:
        return lambda clip: clip.displacement[emotion, level]

    def grown(low: int, high: int) -> Callable[[ClipEmotions], float]:
        return lambda clip: moved(high)(clip) - moved(low)(clip)

    def followed(level: int) -> Callable[[ClipEmotions], float]:
        return lambda clip: clip.correlation[emotion, level]

    return Effect(
        correlation={str(level): _mean(clips, followed(level)) for level in levels},
        closures=functools.reduce(Closures.merge, closed),
        closures_over_neutral=bootstrap.bootstrap_ratio(
            mine, neutrals, speakers=[clip.speaker for clip in clips]
        ),
        other_speech=_mean(clips, lambda clip: clip.other_speech.get(emotion, missing)),
        displacement={str(level): _mean(clips, moved(level)) for level in levels},
        growth={f"{low}-{high}": _mean(clips, grown(low, high)) for low, high in steps},
    )


def _conventions(scheme: str) -> dict[str, str]:
    return {
        "distances": landmark.convention(scheme) + "; all points, lids and brows among them; no "
        "alignment: the prediction has the true head pose as input",
        "mouth opening": sync.CONVENTION,
        "same speech": f"the opening with each emotion against that with neutral; level {TOP}, "
        "where none is told",
        "other speech": "the opening with the clip's recording against that with a sentence of "
        "another speaker, the emotion and the face the same",
        "closures": closure.CONVENTION,
        "landmark dynamics": landmark_dynamics.CONVENTION
        + "; in % of the clip's median eye distance",
        "displacement": "mean distance of all points from those with neutral, in % of the eye "
        f"distance; level {LEVELS[-1]} lies beyond the data's",
        "angry voice": voices.CONVENTION + "; the emotion that is asked is the clip's own",
        "face": "the pictures of a clip show its own emotion, and the method is told so",
        "tracker noise": noise.CONVENTION,
        "intervals": bootstrap.CONVENTION,
    }
