"""Everything a face does besides articulating: emotion, blinks, gaze shifts, head motion."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32

from data_prep.synthetic import visemes
from data_prep.synthetic.speech import Speech
from talkface_jax.records import FPS

LEVELS = {1: 0.33, 2: 0.66, 3: 1.0}
BLINK_INTERVAL = (1.8, 3.9)
_BLINK_CLOSE, _BLINK_HOLD, _BLINK_OPEN = 0.09, 0.04, 0.15
_FIXATION = (0.5, 1.7)
_JAW_SHARE = 0.6
_GAZE_DOWN = 0.4


def _both(**weights: float) -> dict[str, float]:
    return {f"{k}{side}": w for k, w in weights.items() for side in ("Left", "Right")}


EMOTION_SHAPES: Mapping[str, Mapping[str, float]] = {
    "neutral": {},
    "happy": _both(mouthSmile=1.0, cheekSquint=0.8, mouthUpperUp=0.3, eyeSquint=0.3),
    "angry": _both(browDown=1.0, noseSneer=0.6, mouthPress=0.5, mouthFrown=0.6, eyeSquint=0.5)
    | {"jawForward": 0.3},
    "sad": _both(mouthFrown=1.0, eyeSquint=0.3) | {"browInnerUp": 1.0, "mouthShrugLower": 0.6},
    "surprised": _both(browOuterUp=1.0, eyeWide=1.0) | {"browInnerUp": 1.0, "jawOpen": 0.5},
    "fear": _both(browOuterUp=0.5, browDown=0.3, eyeWide=1.0, mouthStretch=0.9)
    | {"browInnerUp": 1.0, "jawOpen": 0.25},
    "disgusted": _both(
        noseSneer=1.0,
        browDown=0.6,
        mouthUpperUp=0.8,
        mouthFrown=0.4,
        cheekSquint=0.5,
        eyeSquint=0.5,
    ),
    "contempt": _both(eyeSquint=0.3)
    | {
        "mouthSmileLeft": 0.7,
        "mouthDimpleLeft": 1.0,
        "mouthPressLeft": 0.5,
        "cheekSquintLeft": 0.4,
        "browOuterUpLeft": 0.4,
    },
}


@dataclasses.dataclass(frozen=True)
class Performance:
    """Ground truth of a clip, t frames.

    Attributes:
      weights: ARKit shape weights in [0, 1].
      pose: head yaw (to the subject's left), pitch (down), roll in radians.
      gaze: yaw (to the subject's left) and pitch (up) relative to the head, as a share of the eye's
        range.
      blink: 0 open to 1 closed.
    """

    weights: Float32[np.ndarray, "t k"]
    pose: Float32[np.ndarray, "t 3"]
    gaze: Float32[np.ndarray, "t 2"]
    blink: Float32[np.ndarray, " t"]

    def __len__(self) -> int:
        return len(self.blink)


def blinks(frames: int, *, rng: np.random.Generator) -> Float32[np.ndarray, " t"]:
    """Lid closure: 0.28 s blinks that close faster than they open, about 0.35 a second."""
    times = np.arange(frames) / FPS
    closed = np.zeros(frames)
    start = rng.uniform(0, BLINK_INTERVAL[1]) - 0.5
    while start < times[-1]:
        edges = np.cumsum([start, _BLINK_CLOSE, _BLINK_HOLD, _BLINK_OPEN])
        closed = np.maximum(closed, np.interp(times, edges, (0, 1, 1, 0), left=0, right=0))
        # A frame that misses the closed phase would show half a blink: move the peak onto a frame.
        nearest = int(np.argmin(np.abs(times - (edges[1] + edges[2]) / 2)))
        if 0 <= edges[1] <= times[-1]:
            closed[nearest] = 1
        start += rng.uniform(*BLINK_INTERVAL)
    return (closed * closed * (3 - 2 * closed)).astype(np.float32)


def gaze(frames: int, *, down: float, rng: np.random.Generator) -> Float32[np.ndarray, "t 2"]:
    """Fixations of 0.5 to 1.7 s joined by two-frame saccades; 40 % of them are on the camera."""
    times = np.arange(frames) / FPS
    path = np.zeros((frames, 2))
    start = 0.0
    while start < frames / FPS:
        target = np.array([rng.uniform(-0.65, 0.65), rng.uniform(-0.3, 0.3)]) * (rng.random() < 0.6)
        path[times >= start] = target
        start += rng.uniform(*_FIXATION)
    kernel = np.array([0.2, 0.6, 0.2])
    padded = np.pad(path, ((1, 1), (0, 0)), mode="edge")
    path = np.stack([np.convolve(column, kernel, "valid") for column in padded.T], axis=1)
    path[:, 1] = np.clip(path[:, 1] - down, -1, 1)
    return path.astype(np.float32)


def head_motion(frames: int, *, rng: np.random.Generator) -> Float32[np.ndarray, "t 3"]:
    """Slow turns, nods and tilts: two sines each (0.1 to 0.6 Hz) around a resting pose."""
    times = np.arange(frames)[:, None, None] / FPS
    reach = np.array([0.13, 0.055, 0.04]) * rng.uniform(0.5, 1.2, 3)
    rates = rng.uniform([[0.1], [0.3]], [[0.3], [0.6]], (2, 3))
    waves = np.sin(2 * np.pi * (rates * times + rng.random((2, 3))))
    rest = rng.uniform(-1, 1, 3) * [0.08, 0.04, 0.03]
    return (rest + reach * (waves * [[0.75], [0.35]]).sum(1)).astype(np.float32)


def _eyes(weights: np.ndarray, look: np.ndarray, blink: np.ndarray, names: Sequence[str]) -> None:
    """Writes gaze and blink into the weights; a closing lid overrules squint and wide eyes."""
    yaw, pitch = look.T
    parts = {
        "eyeLookOutLeft": yaw,
        "eyeLookInRight": yaw,
        "eyeLookInLeft": -yaw,
        "eyeLookOutRight": -yaw,
        "eyeLookUpLeft": pitch,
        "eyeLookUpRight": pitch,
        "eyeLookDownLeft": -pitch,
        "eyeLookDownRight": -pitch,
    }
    for name, value in parts.items():
        weights[:, names.index(name)] = np.clip(value, 0, 1)
    for side in ("Left", "Right"):
        for name in ("eyeSquint", "eyeWide"):
            weights[:, names.index(name + side)] *= 1 - blink
        for name in ("eyeLookUp", "eyeLookDown"):
            weights[:, names.index(name + side)] *= 1 - 0.8 * blink
        weights[:, names.index("eyeBlink" + side)] = blink


def perform(
    speech: Speech,
    *,
    emotion: str,
    level: int,
    frames: int,
    names: Sequence[str],
    rng: np.random.Generator,
) -> Performance:
    """The performance of a sentence: visemes, emotion, lip closures, eyes, head.

    Args:
      speech: the sound with its phonemes.
      emotion: one of `talkface_jax.records.EMOTIONS`.
      level: intensity, 1 to 3.
      frames: length of the clip at 25 frames a second.
      names: the shapes of the head model, the columns of `weights`.
      rng: draws blinks, gaze and head motion.
    """
    weights = visemes.mouth_weights(speech.phonemes, frames, names=names)
    times = np.arange(frames) / FPS
    breath = 1 + 0.1 * np.sin(2 * np.pi * (0.3 * times + rng.random()))
    strength = LEVELS[level] * breath
    for name, weight in EMOTION_SHAPES[emotion].items():
        share = _JAW_SHARE if name == "jawOpen" else 1.0
        weights[:, names.index(name)] += strength * weight * share
    weights = np.clip(visemes.close_lips(weights, speech.phonemes, names=names), 0, 1)
    down = _GAZE_DOWN * LEVELS[level] if emotion == "sad" else 0.0
    look, blink = gaze(frames, down=down, rng=rng), blinks(frames, rng=rng)
    _eyes(weights, look, blink, names)
    pose = head_motion(frames, rng=rng)
    return Performance(weights.astype(np.float32), pose, look, blink)
