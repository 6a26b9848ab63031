"""Sound, reference frames and augmentation: pure functions of records, arrays and generators."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float32, Int

from talkface_jax.features import mel
from talkface_jax.landmarks.schemes import Scheme
from talkface_jax.records import Segment

# A recording's level varies by about three times the deviation of its noise.
_LEVEL_PER_NOISE = 3.0
_MEL_RANGE = 4.0
_INT16 = np.float32(32768)


def segment_sound(segment: Segment, *, hop: int) -> tuple[Float32[np.ndarray, " s"], int]:
    """A segment's sound with its context, from a feature row of the clip on.

    Args:
      segment: the segment.
      hop: samples from row to row, counted from the start of the clip.

    Returns:
      Samples in [-1, 1], and the clip's number of the row that they begin on.
    """
    before, after = segment.context
    drop, first = mel.rows_of_part(segment.start, len(before), hop=hop)
    sound = np.concatenate([before, segment.audio, after])[drop:]
    return sound.astype(np.float32) / _INT16, first


def frames_outside(
    valid: Bool[np.ndarray, " t"], *, start: int, window: int
) -> Bool[np.ndarray, " t"]:
    """The valid frames outside a window; where there is none, all valid frames."""
    outside = valid.copy()
    outside[start : start + window] = False
    return outside if outside.any() else valid


def draw_references(
    rng: np.random.Generator, candidates: Bool[np.ndarray, " t"], count: int
) -> Int[np.ndarray, " count"]:
    """Random candidate frames; they repeat only where there are fewer than `count`."""
    frames = np.flatnonzero(candidates)
    return rng.choice(frames, count, replace=len(frames) < count)


@dataclasses.dataclass(frozen=True)
class PointJitter:
    """One random change of a face's points in box coordinates.

    The points are mirrored (x -> 1 - x, sides swapped) if `mirrored`, then scaled about the box's
    centre by `scale` and moved by `shift`.
    """

    mirrored: bool
    scale: Float32[np.ndarray, "2"]
    shift: Float32[np.ndarray, "2"]

    def __call__(
        self, points: Float32[np.ndarray, "*b n 2"], scheme: Scheme
    ) -> Float32[np.ndarray, "*b n 2"]:
        """The changed points; `points` are all those of the scheme."""
        if self.mirrored:
            points = scheme.mirror(points)
        return (points - np.float32(0.5)) * self.scale + (self.shift + np.float32(0.5))


def draw_jitter(
    rng: np.random.Generator, *, mirror: float, scale: float, shift: float
) -> PointJitter:
    """Mirrored with probability `mirror`; per axis a scale in 1 ± `scale`, a shift in ± `shift`."""
    return PointJitter(
        bool(rng.random() < mirror),
        rng.uniform(1 - scale, 1 + scale, 2).astype(np.float32),
        rng.uniform(-shift, shift, 2).astype(np.float32),
    )


def noisy_mel(
    rng: np.random.Generator, mel: Float32[np.ndarray, "*b 80 16"], deviation: float
) -> Float32[np.ndarray, "*b 80 16"]:
    """The log-mel windows with white noise of that deviation and one random level for all of them.

    The level is uniform within ± 3 deviations; the result stays in [-4, 4].
    """
    level = rng.uniform(-_LEVEL_PER_NOISE, _LEVEL_PER_NOISE) * deviation
    noisy = rng.standard_normal(mel.shape, np.float32)
    noisy *= np.float32(deviation)
    noisy += mel
    noisy += np.float32(level)
    return np.clip(noisy, -_MEL_RANGE, _MEL_RANGE, out=noisy)
