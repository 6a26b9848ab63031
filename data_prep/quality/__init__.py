"""Quality gates: what is measured on a tracked clip, and what a clip must reach to be kept.

The thresholds were set on the synthetic set and on the one real clip that the tests have, which all
pass; LRS2's faces (80 to 100 pixels, soft) were imitated by scaling and compressing the synthetic
ones. The functions say what their measures tell apart, and what they do not.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from data_prep.gates import Gates
from data_prep.quality import face, sound
from talkface_jax.errors import FaceError, MediaError
from talkface_jax.records import FPS, FaceTrack

_SAMPLE_EVERY = 12
_SAMPLES = 8


@dataclasses.dataclass(frozen=True)
class Quality:
    """What was measured on a clip, as plain numbers.

    Attributes:
      face_share: share of the frames with a face.
      face_size: height of the face in source pixels: the longer side of the box around the mesh,
        median over the frames.
      sharpness: energy of fine over coarse detail of the face (`face.sharpness`), median over the
        sampled frames.
      identity_change: largest sudden and lasting change of shape and colours (`face.identity`).
      identity_frame: the first frame after that change.
      level: of the loud parts of the sound, in dBFS (`sound.level`).
      speech_share: share of the clip with speech (`sound.speech_share`).
      av_offset_frames: frames by which the sound comes after the mouth (`sound.offset`); a hint and
        never a gate.
      av_offset_ms: the same in milliseconds, between frames.
      av_confidence: 0 (a guess) to 1. At 0.05 and more (3 to 4 of 5 clips) 9 of 10 clips of the
        synthetic set, which is in step, are found within one frame, and 8 of 10 when the sound is
        shifted by 5.
    """

    face_share: float
    face_size: float
    sharpness: float
    identity_change: float
    identity_frame: int
    level: float
    speech_share: float
    av_offset_frames: int
    av_offset_ms: float
    av_confidence: float


def sample_frames(valid: Bool[np.ndarray, " t"]) -> Int[np.ndarray, " s"]:
    """The frames whose crops `measure` looks at: every 12th with a face, or 8 of a short clip."""
    found = np.flatnonzero(valid)
    step = max(1, min(_SAMPLE_EVERY, len(found) // _SAMPLES))
    return found[step // 2 :: step]


def measure(
    track: FaceTrack,
    *,
    audio: Float32[np.ndarray, " s"],
    crops: Sequence[UInt8[np.ndarray, "256 256 3"]],
) -> Quality:
    """Measure a clip.

    Args:
      track: the face.
      audio: 16 kHz samples, sample 0 at frame 0.
      crops: the frames of `sample_frames(track.valid)`, cut by the track's boxes.

    Raises:
      ValueError: another number of crops.
    """
    at = sample_frames(track.valid)
    if len(crops) != len(at):
        raise ValueError(f"{len(crops)} crops for {len(at)} sampled frames")
    samples = [
        face.sample(crop, track.landmarks[t], track.box[t])
        for crop, t in zip(crops, at, strict=True)
    ]
    change, place = face.identity(track, samples, at)
    offset = sound.offset(track, audio=audio)
    return Quality(
        face_share=_plain(float(np.mean(track.valid))) if len(track) else 0.0,
        face_size=_plain(face.size(track)),
        sharpness=_plain(float(np.median([s.sharpness for s in samples]))) if samples else 0.0,
        identity_change=_plain(change),
        identity_frame=place,
        level=_plain(sound.level(audio)),
        speech_share=_plain(sound.speech_share(audio)),
        av_offset_frames=round(offset.frames),
        av_offset_ms=round(1000 / FPS * offset.frames, 1),
        av_confidence=_plain(offset.confidence),
    )


def check(quality: Quality, gates: Gates, *, name: str) -> None:
    """Refuse a clip that does not reach a threshold.

    Args:
      quality: what was measured.
      gates: the thresholds.
      name: what the errors call the clip.

    Raises:
      FaceError: about the face: share, size, sharpness, identity.
      MediaError: about the sound: level, speech.
    """
    q, g = quality, gates
    if g.min_face_share and q.face_share < g.min_face_share:
        raise FaceError(
            f"{name}: the face was found in {q.face_share:.1%} of the frames, fewer than "
            f"{g.min_face_share:.1%}; give other footage or lower --min-face-share."
        )
    if g.min_face_size and q.face_size < g.min_face_size:
        raise FaceError(
            f"{name}: the face is {q.face_size:.1f} pixels high, less than {g.min_face_size:g}; "
            "give footage of a higher resolution or lower --min-face-size."
        )
    if g.min_sharpness and q.sharpness < g.min_sharpness:
        raise FaceError(
            f"{name}: the face is blurred (sharpness {q.sharpness:.3f}, less than "
            f"{g.min_sharpness:g}); give footage in focus or lower --min-sharpness."
        )
    if g.max_identity_change and q.identity_change > g.max_identity_change:
        raise FaceError(
            f"{name}: another face seems to follow at second {q.identity_frame / FPS:.2f} "
            f"(change {q.identity_change:.2f}, more than {g.max_identity_change:g}); cut the clip "
            "there or raise --max-identity-change."
        )
    if g.min_level and q.level < g.min_level:
        raise MediaError(
            f"{name}: its sound is silent ({q.level:.1f} dBFS where it is loud, less than "
            f"{g.min_level:g}); give audible sound or lower --min-level."
        )
    if g.min_speech_share and q.speech_share < g.min_speech_share:
        raise MediaError(
            f"{name}: speech was heard in {q.speech_share:.1%} of the clip, less than "
            f"{g.min_speech_share:.1%}; give a clip with speech or lower --min-speech-share."
        )


def _plain(value: float) -> float:
    """A Python float of few digits, so that the last bits of a sum do not reach the files."""
    return round(value, 4)
