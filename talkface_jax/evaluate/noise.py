"""The tracker's noise floor: the same frames, slightly moved and relit, tracked again.

Each frame is scaled by 0.97 to 1.03, shifted by up to 1.6 % of its short side (4 px of 256) in x
and y, and its brightness multiplied by 0.92 to 1.08; the points are mapped back. What then differs
is the tracker's.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from talkface_jax.records import FaceTrack

SCALE = 0.03
SHIFT = 4 / 256
LIGHT = 0.08
CONVENTION = (
    f"true frames scaled by 1 +- {SCALE}, shifted by +-{SHIFT:.1%} of the short side, brightness "
    f"1 +- {LIGHT}, drawn anew for each frame; tracked again and mapped back"
)


@dataclasses.dataclass(frozen=True)
class Jittered(Sequence[np.ndarray]):
    """A video, each frame seen through a small random change that the seed determines."""

    frames: Any
    seed: int = 0

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: Any) -> UInt8[np.ndarray, "h w 3"]:
        import cv2

        frame = self.frames[index]
        height, width = frame.shape[:2]
        scale, move, light = self.change(index, (height, width))
        warped = cv2.warpAffine(
            frame,
            np.array([[scale, 0, move[0]], [0, scale, move[1]]]),
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.clip(np.rint(warped.astype(np.float32) * light), 0, 255).astype(np.uint8)

    def change(self, index: int, size: tuple[int, int]) -> tuple[float, np.ndarray, float]:
        """Scale, translation (x, y pixels), brightness of a frame: p -> scale * p + move."""
        height, width = size
        rng = np.random.default_rng((self.seed, index))
        scale = rng.uniform(1 - SCALE, 1 + SCALE)
        shift = rng.uniform(-SHIFT, SHIFT, 2) * min(size)
        centre = np.array([width, height]) / 2
        return scale, (1 - scale) * centre + shift, rng.uniform(1 - LIGHT, 1 + LIGHT)

    def undo(self, track: FaceTrack) -> Float[np.ndarray, "t 478 3"]:
        """The track's points in the pixels of the unchanged frames; NaN where no face was found."""
        points = np.array(track.landmarks, np.float32)
        for index in range(len(points)):
            scale, move, _ = self.change(index, track.size)
            points[index, :, :2] = (points[index, :, :2] - move) / scale
            points[index, :, 2] /= scale
        points[~track.valid] = np.nan
        return points


def retrack(
    frames: Any,
    *,
    face: str | None,
    audio: np.ndarray | None = None,
    seed: int = 0,
    tracker: Any = None,
) -> Float[np.ndarray, "t 478 3"]:
    """Points of the jittered frames, in pixels of the frames; NaN where there is no face.

    Raises:
      FaceError: no face in any frame, or several and no choice.
    """
    from talkface_jax.media.tracker import track_video

    jittered = Jittered(frames, seed=seed)
    return jittered.undo(track_video(jittered, face=face, audio=audio, tracker=tracker))
