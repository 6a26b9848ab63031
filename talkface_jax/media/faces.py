"""Which face is which: following faces from frame to frame, and choosing one. NumPy only."""

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32

from talkface_jax.errors import FaceError, counted
from talkface_jax.landmarks import measures, schemes
from talkface_jax.records import AUDIO_RATE, FPS

_LOG = logging.getLogger(__name__)
# A detection continues a path if their boxes overlap by this much.
_SAME_FACE_IOU = 0.2
# Paths seen in a smaller share of the frames than the longest one are flukes and are not offered.
_FLUKE_SHARE = 0.2
# The speaker's mouth must follow the sound this many times better than the next one's.
_CLEAR_LEAD = 1.25
_SMOOTH_FRAMES = 5
CHOICES = "speaker, largest or a number (0 is the leftmost)"


@dataclasses.dataclass(frozen=True)
class FaceDetection:
    """One face in one image.

    Attributes:
      landmarks: the 478 mesh points in pixels (z in the unit of x).
      blendshapes: 52 ARKit scores, mediapipe's order.
      head: rigid head-to-camera transform.
    """

    landmarks: Float32[np.ndarray, "478 3"]
    blendshapes: Float32[np.ndarray, "52"]
    head: Float32[np.ndarray, "4 4"]

    @property
    def box(self) -> Float32[np.ndarray, "4"]:
        """Tight box of the points: x0, y0, x1, y1."""
        points = self.landmarks[:, :2]
        return np.concatenate([points.min(0), points.max(0)])


@dataclasses.dataclass
class FacePath:
    """One face followed through a video: its detections by frame."""

    frames: list[int]
    detections: list[FaceDetection]

    @property
    def last(self) -> Float32[np.ndarray, "4"]:
        """The box where the face was seen last."""
        return self.detections[-1].box

    def add(self, frame: int, detection: FaceDetection) -> None:
        """Append what was seen in a frame."""
        self.frames.append(frame)
        self.detections.append(detection)


def overlap(a: Float[np.ndarray, "4"], b: Float[np.ndarray, "4"]) -> float:
    """Intersection over union of two boxes."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    both = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared
    return shared / both if both > 0 else 0.0


def assign(
    paths: Sequence[FacePath], detections: Sequence[FaceDetection]
) -> tuple[dict[int, int], list[int]]:
    """Match detections to paths, best overlap first.

    Returns:
      {path: detection} and the detections that belong to no path.
    """
    scores = sorted(
        (
            (overlap(path.last, detection.box), p, d)
            for p, path in enumerate(paths)
            for d, detection in enumerate(detections)
        ),
        key=lambda row: (-row[0], row[1], row[2]),
    )
    matched: dict[int, int] = {}
    for score, p, d in scores:
        if score >= _SAME_FACE_IOU and p not in matched and d not in matched.values():
            matched[p] = d
    return matched, [d for d in range(len(detections)) if d not in matched.values()]


def check_choice(face: str | int | None) -> str:
    """The choice of a face as `choose` knows it: "" for None, "speaker", "largest" or digits.

    Raises:
      FaceError: it is no choice, whatever the video.
    """
    word = "" if face is None else str(face).strip().lower()
    if word.isdecimal() or word in ("", "speaker", "largest"):
        return word
    raise FaceError(f"--face={face} is no choice; use {CHOICES}.")


def by_flag(error: FaceError, flag: str) -> FaceError:
    """The error for a command where the choice of a face has another flag than `--face`."""
    return FaceError(str(error).replace("--face=", f"{flag}="))


def choose(
    paths: Sequence[FacePath],
    *,
    face: str | int | None,
    frames: int,
    audio: Float32[np.ndarray, " s"] | None,
    name: str = "the video",
) -> FacePath:
    """The face that was asked for.

    Args:
      paths: all faces of the video.
      face: "largest" (mean box area times frames seen); an index from left to right by mean x;
        "speaker": the face whose mouth moves with the sound (`speaker_scores`), falling back on the
        largest one, with a warning, when there is no audible sound or no face leads clearly; None:
        the only face.
      frames: length of the video.
      audio: 16 kHz samples on the video's clock, for "speaker".
      name: what the errors call the video.

    Raises:
      FaceError: no face at all; several and `face` is None; an index that does not exist or a word
        that is no choice.
    """
    word = check_choice(face)
    if not paths:
        raise FaceError(
            f"{name}: no face was found in any of {frames} frames; give footage of a lit, "
            "frontal face that fills at least 5 % of the width."
        )
    longest = max(len(path.frames) for path in paths)
    real = [path for path in paths if len(path.frames) >= _FLUKE_SHARE * longest]
    real.sort(key=lambda path: float(np.mean([d.box[[0, 2]].mean() for d in path.detections])))
    if word.isdecimal():
        if int(word) >= len(real):
            last = f" to --face={len(real) - 1}" if len(real) > 1 else ""
            raise FaceError(
                f"{name}: face {word} was asked for, but it shows only "
                f"{counted(len(real), 'face')}; use --face=0{last}."
            )
        return real[int(word)]
    if len(real) == 1:
        return real[0]
    if not word:
        raise FaceError(f"{name}: {len(real)} faces were found; choose one with --face={CHOICES}.")
    largest = max(real, key=lambda path: sum(_area(d.box) for d in path.detections))
    return largest if word == "largest" else _speaker(real, frames, audio, largest, name)


def speaker_scores(
    paths: Sequence[FacePath], *, frames: int, audio: Float32[np.ndarray, " s"]
) -> Float[np.ndarray, " p"]:
    """How well each face's mouth follows the sound.

    The mean speed of the mouth opening (in eye distances a frame, smoothed over 5 frames) weighted
    by the sound's loudness, times 1 plus the positive part of the correlation of the two: a
    speaker's mouth moves, and moves more while there is sound. Frames without the face do not
    count.
    """
    loud = loudness(audio, frames)
    scheme = schemes.get_scheme("mesh478")
    scores = np.zeros(len(paths))
    for p, path in enumerate(paths):
        at = np.asarray(path.frames)
        points = np.stack([d.landmarks for d in path.detections])
        opening = np.interp(np.arange(frames), at, measures.mouth_opening(points, scheme))
        speed = _smooth(np.abs(np.gradient(opening))) if frames > 1 else np.zeros(frames)
        seen = np.zeros(frames, bool)
        seen[at] = True
        weight = loud[seen]
        if weight.sum() > 0 and seen.sum() > 2:
            together = 0.0
            if speed[seen].std() > 0 and weight.std() > 0:
                together = float(np.corrcoef(speed[seen], weight)[0, 1])
            scores[p] = np.average(speed[seen], weights=weight) * (1 + max(together, 0.0))
    return scores


def loudness(audio: Float32[np.ndarray, " s"], frames: int) -> Float[np.ndarray, " t"]:
    """Smoothed level of each frame in [0, 1]: 0 in silence and at 40 dB under the loudest."""
    step = AUDIO_RATE // FPS
    samples = np.zeros(frames * step)
    samples[: min(len(audio), len(samples))] = audio[: len(samples)]
    power = np.sqrt(np.mean(samples.reshape(frames, step) ** 2, axis=1))
    if power.max() < 1e-4:
        return np.zeros(frames)
    level = 20 * np.log10(np.maximum(power / power.max(), 1e-2))
    return _smooth(1 + level / 40)


def _speaker(
    paths: Sequence[FacePath],
    frames: int,
    audio: Float32[np.ndarray, " s"] | None,
    largest: FacePath,
    name: str,
) -> FacePath:
    if audio is None or not loudness(audio, frames).any():
        _LOG.warning("%s: no sound tells who speaks; the largest face is taken", name)
        return largest
    scores = speaker_scores(paths, frames=frames, audio=audio)
    order = np.argsort(-scores, kind="stable")
    if scores[order[0]] < _CLEAR_LEAD * scores[order[1]]:
        _LOG.warning("%s: no face clearly follows the sound; the largest one is taken", name)
        return largest
    return paths[int(order[0])]


def _smooth(values: np.ndarray) -> np.ndarray:
    if len(values) < _SMOOTH_FRAMES:
        return values
    pad = _SMOOTH_FRAMES // 2
    kernel = np.full(_SMOOTH_FRAMES, 1 / _SMOOTH_FRAMES)
    return np.convolve(np.pad(values, pad, mode="edge"), kernel, mode="valid")


def _area(box: np.ndarray) -> float:
    return float(np.prod(box[2:] - box[:2]))
