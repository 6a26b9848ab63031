"""From a window's number and a position in the global order to a sample: pure, and picklable."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np

from talkface_jax.data import remedy
from talkface_jax.data.cache import Cache
from talkface_jax.data.corrupt import CorruptRecords, too_many
from talkface_jax.data.dataset import PreparedDataset, Windows
from talkface_jax.errors import FaceError, MediaError, RecordError
from talkface_jax.task import DataView

Sample = dict[str, np.ndarray]
SKIPPED = "skipped"
"""Key of a sample: how many windows were tried before the one that it holds."""


@functools.cache
def _use_one_blas_thread() -> None:
    """The filter bank's product is too small to share: 0.3 ms on one thread, 8 ms on two that wait
    for each other while the other readers run. Its result is the same."""
    from threadpoolctl import ThreadpoolController

    ThreadpoolController().limit(limits=1, user_api="blas")


@dataclasses.dataclass(frozen=True)
class Part:
    """A data set and its windows, numbered from `first` on in the whole mixture."""

    dataset: PreparedDataset
    windows: Windows
    first: int

    def place(self, window: int) -> tuple[int, int]:
        """The record that a window lies in, and its first frame there."""
        return self.windows[window - self.first]

    def name(self, window: int) -> str:
        """File and number of the record that a window lies in, for messages."""
        return self.dataset.name_of(self.place(window)[0])


def make_parts(datasets: Sequence[PreparedDataset], windows: Sequence[Windows]) -> tuple[Part, ...]:
    """The parts with their windows numbered through."""
    firsts = np.cumsum([0, *map(len, windows)])
    return tuple(
        Part(dataset, own, int(first))
        for dataset, own, first in zip(datasets, windows, firsts[:-1], strict=True)
    )


class Sampler:
    """Makes samples of windows.

    A window whose record cannot be read is replaced by another of the same data set: each position
    has its own sequence of windows to try, drawn from (seed, position) alone, so the replacement is
    the same for any number of threads, processes and resumes. `SKIPPED` says how many were tried in
    vain; who reads the batches reports them (`report`).
    """

    def __init__(
        self, parts: Sequence[Part], view: DataView, *, seed: int, max_corrupt: int = 0
    ) -> None:
        self._parts, self._view = tuple(parts), view
        self._seed, self._limit = seed, max_corrupt

    def with_own_cache(self, limit: int) -> "Sampler":
        """The same with a cache of that many bytes, for another process."""
        cache = Cache(limit)
        parts = [
            dataclasses.replace(part, dataset=dataclasses.replace(part.dataset, cache=cache))
            for part in self._parts
        ]
        return Sampler(parts, self._view, seed=self._seed, max_corrupt=self._limit)

    def __call__(self, position: int, window: int) -> Sample:
        """The training sample; with a budget for corrupt records it holds `SKIPPED` too."""
        sample, skipped = self._readable(int(window), (self._seed, int(position)), train=True)
        return {**sample, SKIPPED: np.array(skipped)} if self._limit else sample

    def fixed(self, window: int) -> tuple[Sample, int]:
        """The sample without augmentation, where any draw depends on the window alone; and how many
        windows were tried before."""
        return self._readable(window, (0, window), train=False)

    def report(self, position: int, window: int, skipped: int, corrupt: CorruptRecords) -> None:
        """Notes the records that the training sample at a position had to skip.

        Raises:
          RecordError: they are too many.
        """
        self._report(window, (self._seed, position), skipped, corrupt, train=True)

    def report_fixed(self, window: int, skipped: int, corrupt: CorruptRecords) -> None:
        """The same for `fixed`."""
        self._report(window, (0, window), skipped, corrupt, train=False)

    def _part(self, window: int) -> Part:
        return next(part for part in reversed(self._parts) if window >= part.first)

    def _readable(
        self, window: int, entropy: tuple[int, int], *, train: bool
    ) -> tuple[Sample, int]:
        part = self._part(window)
        for skipped, candidate in enumerate(self._tries(window, entropy)):
            try:
                return self._sample(candidate, entropy, train=train), skipped
            except RecordError as error:
                if not self._limit:
                    raise
                if skipped == self._limit:
                    raise too_many(part.name(candidate), skipped + 1, limit=self._limit) from error
        raise RecordError(
            f"split {part.dataset.split} of {part.dataset.directory} has no record that can be "
            f"read; {remedy.prepare_anew(part.dataset.directory)}"
        )

    def _tries(self, window: int, entropy: tuple[int, int]) -> Iterator[int]:
        """The window itself, then random ones, each of a record that was not tried before."""
        yield window
        part = self._part(window)
        tried = {part.place(window)[0]}
        rng = np.random.Generator(np.random.PCG64((*entropy, 1)))
        while len(tried) < part.windows.readable:
            window = part.first + int(rng.integers(len(part.windows)))
            record, _ = part.place(window)
            if record not in tried:
                tried.add(record)
                yield window

    def _sample(self, window: int, entropy: tuple[int, int], *, train: bool) -> Sample:
        _use_one_blas_thread()
        part = self._part(window)
        record, start = part.place(window)
        rng = np.random.Generator(np.random.PCG64(entropy))
        try:
            return self._view.sample(part.dataset.reader(record), start, rng, train=train)
        except (MediaError, FaceError) as error:
            raise RecordError(f"{part.dataset.name_of(record)}: {error}") from error

    def _report(
        self,
        window: int,
        entropy: tuple[int, int],
        skipped: int,
        corrupt: CorruptRecords,
        *,
        train: bool,
    ) -> None:
        part = self._part(window)
        for _, candidate in zip(range(skipped), self._tries(window, entropy), strict=False):
            name = part.name(candidate)
            try:
                self._sample(candidate, entropy, train=train)
                reason = f"{name}: could not be read at first"
            except RecordError as error:
                reason = str(error)
            corrupt.add(name, reason)
