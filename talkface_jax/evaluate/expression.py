"""What a face expresses in a clip whose emotion is known, in the truth and in any other row.

The emotion that the tracker's blendshapes show, how far landmarks and their velocities are from the
true ones (M-LD, F-LD, M-LVD, F-LVD), and whether lips meet on p, b and m.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from talkface_jax.errors import FaceError
from talkface_jax.features import ctc29, emotion
from talkface_jax.landmarks import schemes
from talkface_jax.metrics import closure, landmark, landmark_dynamics
from talkface_jax.metrics.landmark_dynamics import LandmarkDynamics
from talkface_jax.records import EMOTIONS, RECORD_SIZE, FaceTrack

CONVENTIONS: Mapping[str, str] = {
    "emotion": (
        "share of the clips in which the packaged reader (assets/emotion_blendshapes.md), given "
        "the blendshapes of all frames with a face, finds the emotion that --metadata names; of "
        f"{len(EMOTIONS)}; trained on synthetic faces only, so read it beside the truth's row"
    ),
    "landmark dynamics": landmark_dynamics.CONVENTION
    + "; neither turned nor scaled, in pixels of the truth's face crop at "
    f"{RECORD_SIZE}x{RECORD_SIZE}; of a prediction in another framing, after its scale",
    "closures": closure.CONVENTION,
}
LEGACY_CONVENTIONS: Mapping[str, str] = {
    "landmark dynamics, legacy": landmark_dynamics.LEGACY_CONVENTION
}


@dataclasses.dataclass(frozen=True, eq=False)
class Expected:
    """The truth of a clip, as the other rows need it.

    Attributes:
      emotion: index of `records.EMOTIONS`; None where it is not known.
      mesh: the truth's mesh points in its pixels (t, 478, 2).
      valid: its frames with a face.
      pixel: width of a pixel of its face crop at 256x256, in its own pixels.
      moments: seconds at which p, b or m is heard; None without sound.
      legacy: whether the public script's numbers are wanted too.
    """

    emotion: int | None
    mesh: Float[np.ndarray, "t 478 2"]
    valid: Bool[np.ndarray, " t"]
    pixel: float
    moments: Float[np.ndarray, " k"] | None
    legacy: bool = False

    @classmethod
    def of(
        cls,
        track: FaceTrack,
        *,
        emotion: int | None,
        audio: Float[np.ndarray, " s"] | None,
        legacy: bool = False,
    ) -> "Expected":
        """From the truth's track and its 16 kHz sound."""
        sides = (track.box[:, 2] - track.box[:, 0])[track.valid]
        moments = None
        if emotion is not None and audio is not None:
            moments = closure.heard(ctc29.load()(audio))
        mesh = np.asarray(track.landmarks[..., :2], np.float64)
        pixel = float(np.median(sides)) / RECORD_SIZE
        return cls(emotion, mesh, track.valid, pixel, moments, legacy)

    @property
    def wanted(self) -> bool:
        """Whether there is anything to measure."""
        return self.emotion is not None or self.legacy


def shown(expected: Expected, track: FaceTrack) -> tuple[dict[str, float], tuple[str, ...]]:
    """Whether a video shows the emotion (1 or 0), and a sentence where it shows another."""
    if expected.emotion is None:
        return {}, ()
    try:
        found = emotion.load().classify(track.blendshapes, track.valid)
    except FaceError:
        return {}, ()
    right = found == expected.emotion
    told = f"its face reads as {EMOTIONS[found]}, not {EMOTIONS[expected.emotion]}"
    return {"emotion_accuracy": float(right)}, () if right else (told,)


def closed(expected: Expected, opening: Float[np.ndarray, " t"]) -> dict[str, float]:
    """At which share of the moments a mouth is shut; `opening` is NaN without a face."""
    if expected.emotion is None or expected.moments is None:
        return {}
    share = closure.closures(opening, expected.moments).share
    return {"closures": share} if np.isfinite(share) else {}


def moved(
    expected: Expected, mesh: Float[np.ndarray, "t 478 2"], *, valid: Bool[np.ndarray, " t"]
) -> dict[str, float]:
    """Distances of landmarks and velocities, in pixels of the crop.

    Args:
      expected: the truth.
      mesh: of another row, of the truth's first frames and in its pixels (up to a shift a frame).
      valid: frames of the row with a face.
    """
    if not expected.wanted:
        return {}
    frames = len(mesh)
    scheme = schemes.get_scheme(landmark_dynamics.SCHEME)
    ours, theirs = (
        schemes.select(np.asarray(points[:frames], np.float64), scheme) / expected.pixel
        for points in (mesh, expected.mesh)
    )
    both = valid & expected.valid[:frames]
    found = {}
    if expected.emotion is not None:
        found |= _named(landmark_dynamics.measure(ours, theirs, valid=both), "")
    if expected.legacy:
        legacy = landmark_dynamics.measure_legacy(ours, theirs, valid=both)
        found |= _named(legacy, "_legacy")
    return found


def with_points(
    expected: Expected, points: Float[np.ndarray, "t 131 2"]
) -> Float[np.ndarray, "t 478 2"]:
    """The truth's mesh with the points of iplap131 replaced: of rows that have no more."""
    mesh = expected.mesh[: len(points)].copy()
    mesh[:, schemes.get_scheme(landmark.SCHEME).indices] = points
    return mesh


def _named(found: LandmarkDynamics, suffix: str) -> dict[str, float]:
    values = {
        "mld": found.mouth,
        "fld": found.face,
        "mlvd": found.mouth_velocity,
        "flvd": found.face_velocity,
    }
    return {f"{name}{suffix}": value for name, value in values.items() if np.isfinite(value)}
