"""What the engine needs of a method's chain; `Method.chain` returns it."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from talkface_jax.media.composite import Patch
from talkface_jax.records import NO_CONTROLS, Controls, FaceTrack, Motion

Frame = UInt8[np.ndarray, "h w 3"]


class Session(Protocol):
    """One face and one recording. Output frames are asked for in order, each once."""

    @property
    def references(self) -> int:
        """Reference frames in use."""
        ...

    def patches(self, start: int, frames: Sequence[Frame]) -> list[Patch | None]:
        """Generated faces of output frames from `start` on; None where the source shows no face.

        `frames` are the source frames that are shown there.
        """
        ...


class Chain(Protocol):
    """A method's networks in a row."""

    def prepare(self, track: FaceTrack, *, references: Bool[np.ndarray, " t"] | None = None) -> Any:
        """The face as the method sees it: at least a `methods.base.TrackedFace`.

        Args:
          track: the face.
          references: the frames that may show what the person looks like (references, the neutral
            face, the picture); None for all. Of the others only the head's pose is used.

        Raises:
          FaceError: no frame of the track has a face, or none of `references`.
        """
        ...

    def predict_motion(
        self,
        track: FaceTrack,
        *,
        samples: Float32[np.ndarray, " s"],
        controls: Controls = NO_CONTROLS,
        references: Bool[np.ndarray, " t"] | None = None,
    ) -> Motion:
        """Landmarks of every frame of a track if it spoke `samples` (16 kHz), in the crop boxes of
        `prepare`: (t, n, 2).

        Rows of frames without a face hold the prediction on the pose of the nearest frame with one.
        `references` are those of `prepare`.

        Raises:
          FaceError: as `prepare`.
        """
        ...

    def start(
        self,
        track: FaceTrack,
        *,
        samples: Float32[np.ndarray, " s"],
        sources: Int[np.ndarray, " n"],
        frame_at: Callable[[int], Frame],
        controls: Controls = NO_CONTROLS,
    ) -> Session:
        """Begins a synthesis.

        Args:
          track: the face in the source video.
          samples: the recording, 16 kHz mono.
          sources: index of the source frame that each output frame shows.
          frame_at: reads a source frame.
          controls: those that the method declares, checked.

        Raises:
          FaceError: no frame of the track has a face.
          ConfigError: controls that do not fit each other.
        """
        ...


@runtime_checkable
class MakesBlinks(Protocol):
    """What the chain of a method that declares `Aspect.BLINKS` can do besides."""

    def blinks(self, frames: int, *, seed: int) -> Float32[np.ndarray, " t"]:
        """Closure of the eyes in a track made from noise alone, 0 open to 1 closed."""
        ...


class Follower(Session, Protocol):
    """A session whose output frames all show one frame of the source."""

    @property
    def sources(self) -> Int[np.ndarray, " n"]:
        """Index of the source frame that each output frame shows."""
        ...


@runtime_checkable
class Follows(Protocol):
    """What the chain of a method that declares `Driven.VIDEO` can do."""

    def follow(
        self,
        track: FaceTrack,
        *,
        frame_at: Callable[[int], Frame],
        driver: FaceTrack,
        driver_frame_at: Callable[[int], Frame],
        controls: Controls = NO_CONTROLS,
    ) -> Follower:
        """Begins a synthesis as long as the driving video.

        Args:
          track: the face in the source, of which one frame is moved.
          frame_at: reads a source frame.
          driver: the face in the driving video; where it shows none, the nearest frame stands in.
          driver_frame_at: reads a frame of the driving video.
          controls: those that the method declares, checked.

        Raises:
          FaceError: no frame of a track has a face.
        """
        ...
