"""What the engine needs of a method's chain; `Method.chain` returns it."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float32, Int, UInt8

from talkface_jax.media.composite import Patch
from talkface_jax.records import FaceTrack

Frame = UInt8[np.ndarray, "h w 3"]


class Session(Protocol):
    """One face and one recording. Output frames are asked for in order, each once."""

    @property
    def references(self) -> int:
        """Reference frames in use."""
        ...

    def patches(self, start: int, frames: Sequence[Frame]) -> list[Patch | None]:
        """Generated faces for output frames from `start` on, given the source frames shown there; None
        where the source shows no face."""
        ...


class Chain(Protocol):
    """A method's networks in a row."""

    def start(
        self,
        track: FaceTrack,
        *,
        samples: Float32[np.ndarray, " s"],
        sources: Int[np.ndarray, " n"],
        frame_at: Callable[[int], Frame],
        references: int | None = None,
    ) -> Session:
        """Begins a synthesis; arguments as in `methods.iplap.chain.IplapChain.start`."""
        ...
