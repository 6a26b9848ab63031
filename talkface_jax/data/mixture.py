"""Several data sets read as one, each with its share of the samples."""

import dataclasses
import sys
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from talkface_jax.data.dataset import Dataset
from talkface_jax.errors import RecordError

_BITS = 32
_ONE = 1 << _BITS


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Data sets and their weights; a sample comes from part i with probability w_i / sum(w).

    Raises:
      RecordError: no part, or a part without a positive weight.
    """

    parts: tuple[Dataset, ...]
    weights: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not self.parts or len(self.parts) != len(self.weights):
            raise RecordError(
                f"{len(self.parts)} data sets and {len(self.weights)} weights make no mixture; "
                "give at least one data set, and as many weights as data sets"
            )
        if not all(np.isfinite(weight) and weight > 0 for weight in self.weights):
            raise RecordError(
                f"weights {self.weights} of a mixture are not all above 0; leave out the data set "
                "that is to give nothing"
            )


class Shares:
    """Which part gives the sample at a position of the global order, and its how-manieth.

    A pure function of weights, seed and position, in closed form, so that it can be entered
    anywhere. Among the positions below p, the first part has floor(a p + u) with its share a and an
    offset u in [0, 1) that the seed draws; the others divide what it leaves in the same way. So
    over the seeds a position belongs to each part with exactly the part's share (to 2^-33), and
    within any run of positions no part strays from its share by more than the number of parts.
    Integer arithmetic makes it exact at any position.
    """

    def __init__(self, weights: Sequence[float], *, seed: int) -> None:
        rng = np.random.Generator(np.random.PCG64((seed, len(weights))))
        rest = sum(map(Fraction, weights))
        self._steps: list[tuple[int, int]] = []
        for weight in weights[:-1]:
            share = round(Fraction(weight) / rest * _ONE)
            # The rest must keep something, however small.
            self._steps.append((min(max(share, 1), _ONE - 1), int(rng.integers(_ONE))))
            rest -= Fraction(weight)

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, position: int) -> tuple[int, int]:
        """Number of the part, and how many samples it gave before."""
        for part, (share, offset) in enumerate(self._steps):
            before = (position * share + offset) >> _BITS
            if ((position + 1) * share + offset) >> _BITS > before:
                return part, before
            position -= before
        return len(self._steps), position
