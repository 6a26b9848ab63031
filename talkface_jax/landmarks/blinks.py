"""Eye blinks in landmark tracks: what of the motion is a blink, where blinks are, and their timing.

A *displacement track* holds 22 points of ibug68, 12 of the lids and 10 of the brows, relative to
the open eye, in the canonical frame of `landmarks.retarget` and person-independent (times S, those
of the lids over the person's own opening, see `OpenEyes`).
Its *closure* is the share by which the lids' gap has shrunk: 0 for open eyes, 1 where lids touch.

Source: Sinha et al., IJCNN 2020: blinks are displacements of the eye points, which replace those
  points; frequency, duration and interval describe them. The separation from other motion is ours.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

from talkface_jax.landmarks.retarget import MEAN_FACE, Normalised
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.records import FPS

_SCHEME = get_scheme("ibug68")
LIDS = np.concatenate([_SCHEME.groups["eye_right"], _SCHEME.groups["eye_left"]])
"""Positions in ibug68 of the 12 lid points."""
BROWS = np.concatenate([_SCHEME.groups["brow_right"], _SCHEME.groups["brow_left"]])
"""Positions in ibug68 of the 10 brow points."""
POINTS = np.concatenate([LIDS, BROWS])
"""Positions in ibug68 of a displacement track's points, in its order."""
OPEN_WINDOW = 31
"""Frames of the running median that stands for the open eye: more than twice a blink, so that a
blink never shows in it, even where a clip begins or ends with one."""
CLOSED = 0.5
"""Closure that a blink reaches."""
_LEAST_GAP = 0.3
_SHORTEST_BLINK = 2.0
EDGE = 0.2
"""Closure at which a blink begins and ends; the tracker's noise stays below a third of it."""


def _closing() -> Float32[np.ndarray, "22 2"]:
    """Weights of the points' displacements in the closure: of each eye the two pairs between the
    corners, upper lid down and lower lid up."""
    upper, lower = np.array([1, 2, 7, 8]), np.array([5, 4, 11, 10])
    gap = np.mean(MEAN_FACE[LIDS[lower], 1] - MEAN_FACE[LIDS[upper], 1])
    weights = np.zeros((len(POINTS), 2), np.float32)
    weights[upper, 1], weights[lower, 1] = 1 / (4 * gap), -1 / (4 * gap)
    weights.flags.writeable = False
    return weights


CLOSING = _closing()
"""The closure is linear in the displacements: the sum of their products with these weights."""


@dataclasses.dataclass(frozen=True)
class Blink:
    """One blink, in frames and fractions of them.

    Attributes:
      start, stop: where the closure crosses `EDGE`; the first or last frame where it is cut off.
      whole: whether both crossings lie within the track.
    """

    start: float
    stop: float
    whole: bool

    @property
    def duration(self) -> float:
        """In frames."""
        return self.stop - self.start


@dataclasses.dataclass(frozen=True, eq=False)
class OpenEyes:
    """A person's lids and brows while the eyes are open.

    Attributes:
      points: offsets of the points `POINTS` from the neutral face (`retarget.Normalised.offsets`).
      gap: distance of the lids, in gaps of the mean face; lids move in proportion to it, so that
        narrow eyes do not cross and wide ones close.
    """

    points: Float64[np.ndarray, "22 2"]
    gap: float

    def moved(self, track: Float[np.ndarray, "t 22 2"]) -> Float64[np.ndarray, "t 22 2"]:
        """Offsets of the points with a displacement track on them."""
        moved = np.array(track, np.float64)
        moved[:, : len(LIDS)] *= self.gap
        return self.points + moved


def open_eyes(normalised: Normalised, *, valid: Bool[np.ndarray, " t"]) -> OpenEyes:
    """The medians over a track, which blinks do not touch.

    Raises:
      ValueError: no frame is valid.
    """
    if not np.any(valid):
        raise ValueError("no valid frame to see the open eyes in")
    points = np.median(normalised.offsets[valid][:, POINTS], 0)
    there = normalised.neutral[POINTS] * normalised.scale + points
    return OpenEyes(points, max(float(-closure(there)), _LEAST_GAP))


def at_rest(normalised: Normalised, eyes: OpenEyes) -> Float64[np.ndarray, "68 2"]:
    """The person's face at rest with open eyes, in the canonical frame: the neutral face, but for
    lids and brows, which there hold a share of every blink."""
    face = np.array(normalised.neutral, np.float64)
    face[POINTS] += eyes.points / normalised.scale
    return face


def displacements(
    normalised: Normalised, *, valid: Bool[np.ndarray, " t"]
) -> Float32[np.ndarray, "t 22 2"]:
    """The fast motion of lids and brows: offsets minus their running median over `OPEN_WINDOW`,
    those of the lids in proportion to the person's open eye.

    Expression and head turns move lids and brows slowly and gaze shifts by steps: the median
    follows both, and only what comes and goes within half its window is left.
    """
    from scipy import ndimage

    points = normalised.offsets[:, POINTS]
    fast = points - ndimage.median_filter(points, size=(OPEN_WINDOW, 1, 1), mode="reflect")
    fast[:, : len(LIDS)] /= open_eyes(normalised, valid=valid).gap
    return fast.astype(np.float32)


def closure(track: Float[np.ndarray, "*b 22 2"]) -> Float[np.ndarray, "*b"]:
    """How far the eyes are closed; see the module."""
    return np.sum(np.asarray(track) * CLOSING, (-2, -1))


def find_blinks(curve: Float[np.ndarray, " t"]) -> tuple[Blink, ...]:
    """The stretches of a closure curve above `EDGE` that reach `CLOSED`, in order."""
    curve = np.asarray(curve, np.float64)
    above = np.concatenate([[False], curve > EDGE, [False]])
    firsts, ends = (np.flatnonzero(np.diff(above.astype(int)) == sign) for sign in (1, -1))
    found = []
    for first, end in zip(firsts.tolist(), ends.tolist(), strict=True):
        if curve[first:end].max() < CLOSED:
            continue
        start, stop = float(first), float(end - 1)
        if first > 0:
            start -= (curve[first] - EDGE) / (curve[first] - curve[first - 1])
        if end < len(curve):
            stop += (curve[end - 1] - EDGE) / (curve[end - 1] - curve[end])
        found.append(Blink(start, stop, first > 0 and end < len(curve)))
    return tuple(found)


def intervals(blinks: Sequence[Blink]) -> Float64[np.ndarray, " k"]:
    """Frames from each blink's start to the next one's."""
    return np.diff([blink.start for blink in blinks])


def retime(
    track: Float32[np.ndarray, "t 22 2"],
    *,
    rate: float | None = None,
    duration: float | None = None,
    frames: int,
) -> Float32[np.ndarray, "frames 22 2"]:
    """The track with its pauses and its blinks stretched, each by one factor of its own.

    Intervals keep their irregularity and blinks their shape. A track that becomes too short is
    played again from its start, so give a long one. A blink that is cut off at an end of the track
    is left out.

    Args:
      track: generated displacements with at least one whole blink.
      rate: wanted blinks a second over the whole track, 0 for none; None keeps the number of blinks
        a second.
      duration: wanted mean duration in seconds, from `EDGE` to `EDGE`; None keeps it.
      frames: length of the result.

    Raises:
      ValueError: no whole blink, a negative rate, a duration of less than two frames, or blinks
        that take more time than there is at that rate.
    """
    if rate == 0:
        return np.zeros((frames, *track.shape[1:]), np.float32)
    blinks = [blink for blink in find_blinks(closure(track)) if blink.whole]
    if not blinks:
        raise ValueError(f"a track of {len(track)} frames without a whole blink has no timing")
    begin, end = _open_ends(track)
    old = float(np.mean([blink.duration for blink in blinks])) / FPS
    new_rate = len(blinks) * FPS / (end - begin) if rate is None else rate
    new_duration = old if duration is None else duration
    if new_rate < 0 or new_rate * new_duration >= 1:
        raise ValueError(
            f"{new_rate:.2f} blinks a second of {new_duration:.2f} s each leave no open eyes"
        )
    if new_duration * FPS < _SHORTEST_BLINK:
        raise ValueError(f"blinks of {new_duration:.2f} s would fall between the frames")
    stretch = new_duration / old
    closed = sum(blink.duration for blink in blinks)
    pause = (len(blinks) * FPS / new_rate - closed * stretch) / (end - begin - closed)
    sources = _knots(blinks, begin, end)
    factors = np.where(np.arange(len(sources) - 1) % 2, stretch, pause)
    times = np.concatenate([[0.0], np.cumsum(np.diff(sources) * factors)])
    at = np.interp(np.arange(frames) % times[-1], times, sources)
    return _sampled(track, at)


def _open_ends(track: np.ndarray) -> tuple[int, int]:
    """The first and the last frame with open eyes: what is cut off lies outside."""
    open_frames = np.flatnonzero(closure(track) <= EDGE)
    return int(open_frames[0]), int(open_frames[-1])


def _knots(blinks: Sequence[Blink], begin: int, end: int) -> Float64[np.ndarray, " k"]:
    """Ends of pauses and blinks in turn, from `begin` to `end`."""
    edges = [edge for blink in blinks for edge in (blink.start, blink.stop)]
    return np.array([begin, *edges, end], np.float64)


def _sampled(track: np.ndarray, at: Float64[np.ndarray, " t"]) -> np.ndarray:
    """The track between its frames, linearly."""
    before = np.clip(np.floor(at).astype(int), 0, len(track) - 2)
    share = (at - before).astype(np.float32)[:, None, None]
    return (1 - share) * track[before] + share * track[before + 1]
