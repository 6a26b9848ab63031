"""Whether people move their lips alike: videos tracked anew, compared without the person.

Of a method whose motion depends on the sound alone two people who say the same sentence must move
their lips alike, once head pose, proportions and the neutral face are taken away. Rendered and
tracked frames are compared, so nothing that puts the motion onto a person, or fails to, is undone
on the way. What "alike" means is told by a control: the lips at another sentence.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from talkface_jax.errors import FaceError, TalkfaceError
from talkface_jax.landmarks import retarget, schemes
from talkface_jax.landmarks.references import spread_of_mesh
from talkface_jax.metrics import sync
from talkface_jax.records import FaceTrack

_LIPS = schemes.get_scheme("ibug68").groups["lips"]
# Points of ibug68, as places among its lips: the inner lips' midpoints and the mouth's corners.
_UPPER, _LOWER, _RIGHT, _LEFT = (list(_LIPS).index(point) for point in (62, 66, 48, 54))
CONVENTION = (
    "mean distance of the 20 lip points of ibug68 in the canonical frame: head pose undone, "
    "displacements from neutral scaled by the mean face's width and height over the person's, the "
    "mean of the mouth's two sides, about its centre in each frame and its mean over the clip; "
    "in % of the mean face's outer-eye-corner distance, over the first frames that two videos share"
)


@dataclasses.dataclass(frozen=True, eq=False)
class LipMotion:
    """How the lips of one video move, without the person.

    Attributes:
      lips: displacement of the lip points in the canonical frame of `landmarks.retarget`, in % of
        its unit, the mean face's outer-eye-corner distance: alike on both sides of the mouth, 0 in
        the mean of the points of a frame and in that of the frames.
      valid: False where there is no face.
    """

    lips: Float64[np.ndarray, "t 20 2"]
    valid: Bool[np.ndarray, " t"]

    @property
    def opening(self) -> Float64[np.ndarray, " t"]:
        """How much more than in the mean the mouth is open, %."""
        return self.lips[:, _LOWER, 1] - self.lips[:, _UPPER, 1]

    @property
    def width(self) -> Float64[np.ndarray, " t"]:
        """How much wider than in the mean the mouth is, %."""
        return self.lips[:, _LEFT, 0] - self.lips[:, _RIGHT, 0]


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two videos, compared.

    Attributes:
      distance: of the lips, %; see `CONVENTION`.
      opening, width: correlation of the two curves.
    """

    distance: float
    opening: float
    width: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All pairs of videos, by what the two share.

    Attributes:
      sentence: two people, one sentence.
      person: one person, two sentences: the control.
      nothing: two people, two sentences.
    """

    sentence: tuple[Pair, ...]
    person: tuple[Pair, ...]
    nothing: tuple[Pair, ...]

    @property
    def ratio(self) -> float:
        """Mean distance of one sentence's pairs over that of the others: 0 where people differ in
        nothing, about 1 where the lips do not follow the sound."""
        others = [pair.distance for pair in (*self.person, *self.nothing)]
        return float(np.mean([pair.distance for pair in self.sentence]) / np.mean(others))

    @property
    def apart(self) -> bool:
        """Whether the farthest two people with one sentence are nearer than any two sentences."""
        others = [pair.distance for pair in (*self.person, *self.nothing)]
        return max(pair.distance for pair in self.sentence) < min(others)

    def __str__(self) -> str:
        """Three lines and the ratio."""
        rows = {
            "two people, one sentence": self.sentence,
            "one person, two sentences": self.person,
            "two people, two sentences": self.nothing,
        }
        lines = [f"{what}: {_summary(pairs)}" for what, pairs in rows.items()]
        return "\n".join([*lines, f"ratio {self.ratio:.2f}"])


def lip_motion(track: FaceTrack) -> LipMotion:
    """The lips of a tracked video in person-independent terms.

    Raises:
      FaceError: no frame shows a face.
    """
    if not track.valid.any():
        raise FaceError("no frame shows a face whose lips could be compared; leave the video out")
    chosen = spread_of_mesh(track.landmarks, valid=track.valid, count=retarget.REFERENCES)
    normalised = retarget.normalise(track.landmarks, valid=track.valid, references=chosen)
    # What is left of a turned head moves the mouth as a whole and its two sides apart; the pairs of
    # one person's videos would share it.
    both_sides = (normalised.offsets + retarget.mirror(normalised.offsets)) / 2
    lips = 100 * both_sides[:, _LIPS]
    lips -= lips.mean(1, keepdims=True)
    # The mean depends on the whole clip, the neutral face on the few frames that were chosen.
    return LipMotion(lips - lips[track.valid].mean(0), track.valid)


def read_lip_motion(
    path: pathlib.Path, *, face: str | None = None, tracker: Any = None
) -> LipMotion:
    """Tracks a video and gives its `lip_motion`.

    Args:
      path: of the video.
      face: of several: "largest", or an index from the left.
      tracker: an open `media.tracker.FaceTracker`; by default one is made.

    Raises:
      FaceError: no frame shows a face, or `face` is no choice.
      MediaError: a file that cannot be read.
    """
    from talkface_jax.media.tracker import track_video
    from talkface_jax.media.video import open_video

    with open_video(path) as video:
        return lip_motion(track_video(video, face=face, tracker=tracker))


def compare_pair(one: LipMotion, other: LipMotion) -> Pair:
    """Two videos over the frames that both have, from the first on.

    Raises:
      TalkfaceError: they have no frame with a face in common.
    """
    n = min(len(one.valid), len(other.valid))
    both = one.valid[:n] & other.valid[:n]
    if not both.any():
        raise TalkfaceError(
            "two videos show no face in a common frame; leave one of them out of the comparison"
        )
    apart = np.linalg.norm(one.lips[:n][both] - other.lips[:n][both], axis=-1)
    curves = (
        sync.correlation(getattr(one, name)[:n][both], getattr(other, name)[:n][both])
        for name in ("opening", "width")
    )
    return Pair(float(apart.mean()), *curves)


def compare(motions: Mapping[tuple[str, str], LipMotion]) -> Comparison:
    """All pairs of videos.

    Args:
      motions: by person and sentence; at least two people say the same sentence, and there are two
        sentences.

    Raises:
      TalkfaceError: a kind of pair is missing.
    """
    found: dict[tuple[bool, bool], list[Pair]] = {}
    for (one, first), (other, second) in itertools.combinations(motions.items(), 2):
        kind = one[0] == other[0], one[1] == other[1]
        found.setdefault(kind, []).append(compare_pair(first, second))
    kinds = [tuple(found.get(kind, ())) for kind in ((False, True), (True, False), (False, False))]
    if not all(kinds):
        raise TalkfaceError(
            f"{len(motions)} videos do not hold two people who say one sentence and one person who "
            "says two; give at least two people with the same two sentences"
        )
    return Comparison(*kinds)


def _summary(pairs: tuple[Pair, ...]) -> str:
    distances = [pair.distance for pair in pairs]
    opening, width = (
        np.mean([getattr(pair, name) for pair in pairs]) for name in ("opening", "width")
    )
    return (
        f"lips {np.mean(distances):.2f} % apart ({min(distances):.2f} to {max(distances):.2f}, "
        f"{len(pairs)} pairs), opening r {opening:.2f}, width r {width:.2f}"
    )
