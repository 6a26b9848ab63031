"""How the face in any video behaves, without a truth beside it: blinks, head, mouth, silence.

In: a `FaceTrack`, and for silence the sound. Frames without a face are left out everywhere. A value
that cannot be had from a clip is NaN: no blink has no duration, a clip without a pause no silence.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Float64

from talkface_jax.landmarks import blinks, measures, retarget
from talkface_jax.landmarks.references import spread_of_mesh
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.metrics import blink as blink_metric
from talkface_jax.metrics.blink import ClipBlinks
from talkface_jax.records import FPS, SAMPLES_PER_FRAME, FaceTrack

REACH = 2
"""Frames before and after a frame to which a line is fitted for its speed."""
UNDER_PEAK = 40.0
QUIET_CLIP = -50.0
MARGIN = 3
CLOSED = 10.0
_LOUD_PERCENTILE = 95
_LEAST_POWER = 1e-12

CONVENTIONS: Mapping[str, str] = {
    "blinks": "closure of the eyes from the tracked lids; " + blink_metric.CONVENTION,
    "head motion": (
        "root mean square over frames of the head's angular speed in degrees a second, and of the "
        "speed of the point between the outer eye corners in eye distances a second; speeds are "
        f"slopes of lines through {2 * REACH + 1} frames that all show a face"
    ),
    "mean opening": "inner-lip gap (mesh 13-14) in % of the outer-eye-corner distance, mean",
    "silence": (
        f"a frame is silent where its 40 ms and those of {MARGIN} frames on either side are more "
        f"than {UNDER_PEAK:g} dB below the clip's loudest 40 ms, or in a clip whose loudest 40 ms "
        f"are below {QUIET_CLIP:g} dBFS; mean opening of the silent frames in % of the eye distance"
        f" and of the {_LOUD_PERCENTILE}th percentile of the others; closed: below {CLOSED:g} % of "
        "the latter"
    ),
}
"""What each number means, to be printed with it."""


@dataclasses.dataclass(frozen=True)
class HeadMotion:
    """How much a head moves, as root mean squares over the frames; NaN without any.

    Attributes:
      rotation: angular speed in degrees a second.
      translation: speed in the image plane in eye distances a second, turns included.
      frames: how many had neighbours enough.
    """

    rotation: float
    translation: float
    frames: int


@dataclasses.dataclass(frozen=True)
class Silence:
    """The mouth while nothing is said; NaN where the clip has no such frames.

    Attributes:
      frames: silent frames that show a face.
      opening: their mean opening in per cent of the eye distance.
      share: the same in per cent of the 95th percentile of the opening in all other frames.
      closed: share of them, 0 to 1, whose opening is below a tenth of that percentile.
    """

    frames: int
    opening: float
    share: float
    closed: float


@dataclasses.dataclass(frozen=True, eq=False)
class Behaviour:
    """What one clip shows.

    Attributes:
      seconds: with a face.
      blinks: of each stretch of frames with a face; `metrics.blink.summarise` pools those of any
        number of clips.
      head: its motion.
      opening: mean opening of the mouth in per cent of the eye distance.
      silence: None where no sound was given.
    """

    seconds: float
    blinks: tuple[ClipBlinks, ...]
    head: HeadMotion
    opening: float
    silence: Silence | None

    @property
    def blink_rate(self) -> float:
        """Blinks a second; 0 where there are none."""
        return blink_metric.summarise(self.blinks).rate

    @property
    def blink_duration(self) -> float:
        """Mean duration in seconds; NaN without a whole blink."""
        return blink_metric.summarise(self.blinks).duration


def measure(track: FaceTrack, *, samples: Float[np.ndarray, " s"] | None = None) -> Behaviour:
    """Everything of one clip.

    Args:
      track: of the face.
      samples: the clip's sound at 16 kHz in [-1, 1], sample 0 at frame 0; where it ends before the
        picture does, nothing is said.

    Raises:
      ValueError: the samples are integers or not finite.
    """
    valid = np.asarray(track.valid, bool)
    opening = measures.mouth_opening(np.asarray(track.landmarks, np.float64), get_scheme("mesh478"))
    opening = np.where(valid, opening, np.nan)
    silence = None
    if samples is not None:
        silent = np.ones(len(track), bool)
        heard = silent_frames(samples)[: len(track)]
        silent[: len(heard)] = heard
        silence = opening_in_silence(opening, silent)
    return Behaviour(
        seconds=int(valid.sum()) / FPS,
        blinks=blinks_of(track),
        head=head_motion(track),
        opening=_mean(100 * opening[valid]),
        silence=silence,
    )


def blinks_of(track: FaceTrack) -> tuple[ClipBlinks, ...]:
    """The blinks of every stretch of frames with a face; nothing is counted across a hole."""
    if not track.valid.any():
        return ()
    chosen = spread_of_mesh(track.landmarks, valid=track.valid, count=retarget.REFERENCES)
    normalised = retarget.normalise(track.landmarks, valid=track.valid, references=chosen)
    curve = blinks.closure(blinks.displacements(normalised, valid=track.valid))
    edges = np.flatnonzero(np.diff(track.valid, prepend=False, append=False))
    return tuple(blink_metric.measure(curve[first:end]) for first, end in edges.reshape(-1, 2))


def head_motion(track: FaceTrack) -> HeadMotion:
    """Speeds of the head, each the slope of a line through five frames.

    The tracker's jitter is up to a fifth of a degree about each axis: as the difference of
    neighbours it would be as fast as the head of someone who talks. A line through five frames
    leaves 3 of its 12 degrees a second, and of a motion of 1 Hz 97 %, of 2 Hz 87 %.
    """
    from scipy.spatial.transform import Rotation

    valid = np.asarray(track.valid, bool)
    whole = np.lib.stride_tricks.sliding_window_view(np.pad(valid, REACH), 2 * REACH + 1).all(-1)
    frames = np.flatnonzero(whole)
    if not len(frames):
        return HeadMotion(float("nan"), float("nan"), 0)
    heads = np.asarray(track.head[:, :3, :3], np.float64)
    scheme = get_scheme("mesh478")
    points = np.asarray(track.landmarks, np.float64)
    eyes = np.median(measures.eye_distance(points[valid], scheme))
    centre = points[:, [scheme.position(33), scheme.position(263)], :2].mean(1) / eyes
    turning, moving = np.zeros((2, len(frames), 3))
    for step in range(1, REACH + 1):
        before, after = frames - step, frames + step
        turned = Rotation.from_matrix(np.swapaxes(heads[before], 1, 2) @ heads[after])
        turning += step * turned.as_rotvec(degrees=True)
        moving[:, :2] += step * (centre[after] - centre[before])
    per_second = FPS / (2 * sum(step**2 for step in range(1, REACH + 1)))
    return HeadMotion(
        rotation=_root_mean_square(turning * per_second),
        translation=_root_mean_square(moving * per_second),
        frames=len(frames),
    )


def silent_frames(
    samples: Float[np.ndarray, " s"], *, margin: int = MARGIN
) -> Bool[np.ndarray, " t"]:
    """The frames of 40 ms in which, and around which, nothing is heard.

    Levels are relative to the clip's loudest frame, so that quiet recordings have their pauses too,
    unless that is below -50 dBFS: then nothing is said at all. The margin leaves out the stops
    within words, and the mouth's way to and from a sound; before its beginning and after its end a
    clip is silent.

    Args:
      samples: 16 kHz, in [-1, 1]; a last frame may be short.
      margin: frames on either side that must be quiet too.

    Raises:
      ValueError: the samples are integers or not finite.
    """
    if not np.issubdtype(samples.dtype, np.floating):
        raise ValueError(f"samples must be floating-point in [-1, 1], not {samples.dtype}")
    if not np.isfinite(samples).all():
        raise ValueError("samples must be finite; mend the sound first")
    if not len(samples):
        return np.zeros(0, bool)
    starts = np.arange(0, len(samples), SAMPLES_PER_FRAME)
    lengths = np.diff(np.append(starts, len(samples)))
    power = np.add.reduceat(np.square(samples, dtype=np.float64), starts) / lengths
    levels = 10 * np.log10(np.maximum(power, _LEAST_POWER))
    if levels.max() < QUIET_CLIP:
        return np.ones(len(levels), bool)
    quiet = np.pad(levels < levels.max() - UNDER_PEAK, margin, constant_values=True)
    windows = np.lib.stride_tricks.sliding_window_view(quiet, 2 * margin + 1)
    return np.all(windows, axis=-1)


def opening_in_silence(opening: Float[np.ndarray, " t"], silent: Bool[np.ndarray, " t"]) -> Silence:
    """The mouth in silent frames, against its opening while somebody speaks.

    Args:
      opening: inner-lip gap over the eye distance; NaN in frames that do not count.
      silent: `silent_frames` of the same frames.

    Raises:
      ValueError: the two differ in length.
    """
    if len(opening) != len(silent):
        raise ValueError(
            f"opening and silence must be of one length, not {len(opening)} and {len(silent)}"
        )
    seen = np.isfinite(opening)
    still = np.asarray(opening[seen & silent], np.float64)
    speech = np.asarray(opening[seen & ~silent], np.float64)
    wide = float(np.percentile(speech, _LOUD_PERCENTILE)) if len(speech) else float("nan")
    shares = 100 * still / wide if wide > 0 else np.zeros(0)
    return Silence(
        frames=len(still),
        opening=_mean(100 * still),
        share=_mean(shares),
        closed=_mean((shares < CLOSED).astype(np.float64)),
    )


def _mean(values: Float64[np.ndarray, " n"]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _root_mean_square(vectors: Float64[np.ndarray, "n 3"]) -> float:
    return float(np.sqrt(np.mean(np.sum(np.square(vectors), -1))))
