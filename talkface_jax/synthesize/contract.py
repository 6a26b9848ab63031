"""What the engine needs of a method's chain; `Method.chain` returns it."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32, Int, UInt8

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

    def prepare(self, track: FaceTrack) -> Any:
        """The face as the method sees it; has `geometry` (crop boxes and the scheme's points)."""
        ...

    def predict_motion(self, track: FaceTrack, *, samples: Float32[np.ndarray, " s"]) -> Motion:
        """Landmarks of every frame of a track if it spoke `samples`, in the boxes of `prepare`."""
        ...

    def blinks(self, frames: int, *, seed: int) -> Float32[np.ndarray, " t"] | None:
        """Closure of the eyes, 0 open to 1 closed, where the method makes blinks of its own."""
        ...

    def start(
        self,
        track: FaceTrack,
        *,
        samples: Float32[np.ndarray, " s"],
        sources: Int[np.ndarray, " n"],
        frame_at: Callable[[int], Frame],
        references: int | None = None,
        controls: Controls = NO_CONTROLS,
    ) -> Session:
        """Begins a synthesis; arguments as in `methods.iplap.chain.IplapChain.start`."""
        ...
