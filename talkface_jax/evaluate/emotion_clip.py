"""The numbers of one clip in the report on emotions, and what is shown of it."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from talkface_jax.evaluate import scores
from talkface_jax.evaluate.emotion_cases import (
    GRID,
    NEUTRAL,
    NEUTRAL_LEVEL,
    WRONG_LEVEL,
    EmotionCase,
    Points,
    at_top,
)
from talkface_jax.landmarks import measures, schemes
from talkface_jax.metrics import closure, landmark, landmark_dynamics, sync
from talkface_jax.metrics.closure import Closures
from talkface_jax.records import EMOTIONS

FACE_DISTANCE = "face_distance"
METRICS: Mapping[str, str] = {
    FACE_DISTANCE: "face",
    "mld": "M-LD",
    "fld": "F-LD",
    "mlvd": "M-LVD",
    "flvd": "F-LVD",
}
"""Of a row, with the words for a table; all in % of the eye distance (a frame, for velocities)."""
MODEL, GROUND_TRUTH, NOISE_FLOOR = scores.MODEL, scores.GROUND_TRUTH, scores.NOISE_FLOOR
WRONG, NO_EMOTION, STATIC_FACE = "wrong-emotion", "no-emotion", "static-face"
ROWS: Mapping[str, str] = {
    MODEL: "the prediction with the clip's own emotion and level",
    WRONG: "the same with another emotion, drawn for each clip, at the same level (of a neutral "
    f"clip at level {WRONG_LEVEL})",
    NO_EMOTION: "the same with neutral, of the clips that are not",
    STATIC_FACE: "a face that never moves: mean reference, affinely aligned to each frame",
    GROUND_TRUTH: scores.ROWS[GROUND_TRUTH],
    NOISE_FLOOR: scores.ROWS[NOISE_FLOOR],
}


@dataclasses.dataclass(frozen=True)
class ClipEmotions:
    """The numbers of one clip.

    Attributes:
      name, speaker: of the clip.
      rows: of each row that it has, its distances from the truth by metric.
      correlation: of the mouth's opening with neutral's, by emotion and level.
      closures: on p, b and m, by emotion at the top level.
      other_speech: correlation of the opening with that for another recording, likewise.
      displacement: mean distance of all points from neutral's in % of the eye distance, by emotion
        and level.
      voice: correlation of the opening with that for the recording made angry.
    """

    name: str
    speaker: str
    rows: dict[str, dict[str, float]]
    correlation: dict[tuple[str, int], float]
    closures: dict[str, Closures]
    other_speech: dict[str, float]
    displacement: dict[tuple[str, int], float]
    voice: float


@dataclasses.dataclass(frozen=True)
class Example:
    """One clip, for the figures.

    Attributes:
      clip: its name.
      scheme: of the landmarks.
      openings: by emotion at the top level, the mouth's opening over the eye distance.
      faces: by emotion and level the points of one frame in which the mouth is open as usual, in
        eye distances, their mean at 0.
    """

    clip: str
    scheme: str
    openings: dict[str, list[float]]
    faces: dict[str, dict[str, list[list[float]]]]


def measure(case: EmotionCase) -> ClipEmotions:
    """All numbers of a clip."""
    valid = case.valid

    def opening(points: Points) -> np.ndarray:
        return landmark.mouth_opening(points, scheme=case.scheme)

    def follows(points: Points, others: Points) -> float:
        return sync.correlation(opening(points)[valid], opening(others)[valid])

    neutral = case.asked[NEUTRAL, NEUTRAL_LEVEL]
    shown = {
        MODEL: case.asked[case.own],
        WRONG: case.asked[case.wrong],
        STATIC_FACE: case.still,
        GROUND_TRUTH: case.truth,
    }
    if case.own[0] != NEUTRAL:
        shown[NO_EMOTION] = neutral
    if case.retracked is not None:
        shown[NOISE_FLOOR] = case.retracked
    moods = [asked for asked in GRID if asked[0] != NEUTRAL]
    return ClipEmotions(
        name=case.name,
        speaker=case.speaker,
        rows={name: _distances(points, case) for name, points in shown.items()},
        correlation={asked: follows(case.asked[asked], neutral) for asked in moods},
        closures={
            name: closure.closures(opening(case.asked[at_top(name)]), case.moments, valid=valid)
            for name in EMOTIONS
        },
        other_speech={
            name: follows(points, case.asked[at_top(name)])
            for name, points in case.other_speech.items()
        },
        displacement={asked: _moved(case.asked[asked], neutral, case) for asked in moods},
        voice=follows(case.angry_voice, case.asked[case.own]),
    )


def _moved(points: Points, others: Points, case: EmotionCase) -> float:
    """Mean distance of all points in the frames with a face, in % of the true eye distance."""
    shifted = case.truth + points - others
    moved = landmark.point_distances(shifted, case.truth, scheme=case.scheme)
    return float(moved[case.valid].mean())


def example(case: EmotionCase) -> Example:
    """The figures of a clip; its face of the frame in which neutral's mouth is open as usual."""
    tracks = {
        name: landmark.mouth_opening(case.asked[at_top(name)], scheme=case.scheme)
        for name in EMOTIONS
    }
    seen = np.flatnonzero(case.valid)
    frame = seen[np.argsort(tracks[NEUTRAL][seen], kind="stable")[len(seen) // 2]]
    eyes = measures.eye_distance(case.truth[frame], schemes.get_scheme(case.scheme))

    def face(points: Points) -> list[list[float]]:
        shape = (points[frame] - case.truth[frame].mean(0)) / eyes
        return np.round(shape, 4).tolist()

    faces: dict[str, dict[str, list[list[float]]]] = {}
    for (name, level), points in case.asked.items():
        faces.setdefault(name, {})[str(level)] = face(points)
    hidden = np.where(case.valid, 0, np.nan)
    return Example(
        clip=case.name,
        scheme=case.scheme,
        openings={name: (track + hidden).round(4).tolist() for name, track in tracks.items()},
        faces=faces,
    )


def _distances(points: Points, case: EmotionCase) -> dict[str, float]:
    """How far a row is from the truth; frames in which it has a NaN are left out."""
    valid = case.valid & np.isfinite(points).all((1, 2))
    if not valid.any():
        return {}
    shown = np.where(valid[:, None, None], points, case.truth)
    every = landmark.point_distances(shown, case.truth, scheme=case.scheme)
    found = {FACE_DISTANCE: float(every[valid].mean())}
    if case.scheme == landmark_dynamics.SCHEME:
        eyes = measures.eye_distance(case.truth[valid], schemes.get_scheme(case.scheme))
        unit = np.median(eyes) / 100
        moved = landmark_dynamics.measure(shown / unit, case.truth / unit, valid=valid)
        found |= {
            "mld": moved.mouth,
            "fld": moved.face,
            "mlvd": moved.mouth_velocity,
            "flvd": moved.face_velocity,
        }
    return found
