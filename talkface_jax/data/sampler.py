"""From a window's number and a position in the global order to a sample: pure, and picklable."""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from talkface_jax.data.cache import Cache
from talkface_jax.data.corrupt import CorruptRecords, DamagedRecord, too_many
from talkface_jax.data.dataset import Dataset, Windows
from talkface_jax.errors import FaceError, MediaError, RecordError
from talkface_jax.task import DataView

Sample = dict[str, np.ndarray]
SKIPPED = "skipped"
"""Key of a sample: how many windows were tried before the one that it holds."""
_VAIN = 1000
"""After so many windows on end of which each needs a record that is known to be damaged, there is
taken to be none that does not: one in a hundred would be met but for a chance of 4e-5."""


@functools.cache
def _use_one_blas_thread() -> None:
    """The filter bank's product is too small to share: 0.3 ms on one thread, 8 ms on two that wait
    for each other while the other readers run. Its result is the same."""
    from threadpoolctl import ThreadpoolController

    ThreadpoolController().limit(limits=1, user_api="blas")


@dataclasses.dataclass(frozen=True)
class Part:
    """A data set and its windows, numbered from `first` on in the whole mixture."""

    dataset: Dataset
    windows: Windows
    first: int

    def place(self, window: int) -> tuple[int, int]:
        """The record that a window lies in, and its first frame there."""
        return self.windows[window - self.first]

    def name(self, window: int) -> str:
        """File and number of the record that a window lies in, for messages."""
        return self.dataset.name_of(self.place(window)[0])


def make_parts(datasets: Sequence[Dataset], windows: Sequence[Windows]) -> tuple[Part, ...]:
    """The parts with their windows numbered through."""
    firsts = np.cumsum([0, *map(len, windows)])
    return tuple(
        Part(dataset, own, int(first))
        for dataset, own, first in zip(datasets, windows, firsts[:-1], strict=True)
    )


class Sampler:
    """Makes samples of windows.

    A window that needs a record that cannot be read, its own or one that its view came to from
    there, is replaced by another of the same data set: each position has its own sequence of
    windows to try, drawn from (seed, position) alone, so the replacement is the same for any number
    of threads, processes and resumes. `SKIPPED` says how many were tried in vain; who reads the
    batches reports the damaged records (`report`), each under its own name.
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
        damaged: set[int] = set()
        for skipped, (_, outcome) in enumerate(self._attempts(window, entropy, train=train)):
            if not isinstance(outcome, DamagedRecord):
                return outcome, skipped
            if not self._limit:
                raise outcome
            damaged.add(outcome.record)
            if len(damaged) > self._limit:
                raise too_many(outcome.name, len(damaged), limit=self._limit) from outcome
        raise AssertionError("attempts end with a sample or an error")

    def _attempts(
        self, window: int, entropy: tuple[int, int], *, train: bool
    ) -> Iterator[tuple[int, Sample | DamagedRecord]]:
        """Samples of the window itself, then of random ones, each of a record that is not known to
        be damaged; or, in place of a sample, the record that it could not be made for.

        Raises:
          RecordError: there is no window left to try.
        """
        part = self._part(window)
        rng = np.random.Generator(np.random.PCG64((*entropy, 1)))
        damaged: set[int] = set()
        missed = vain = 0
        while True:
            own = part.place(window)[0]
            # Where another record that was drawn is damaged, the same draws would lead there again.
            draws = (*entropy, 2, missed) if missed else entropy
            outcome = self._outcome(window, draws, train=train)
            yield window, outcome
            found = outcome.record if isinstance(outcome, DamagedRecord) else own
            missed += found != own
            vain = vain + 1 if found in damaged else 0
            damaged.add(found)
            if sum(map(part.windows.holds, damaged)) == part.windows.readable:
                raise self._none_left(part, "has no record that can be read")
            if vain == _VAIN:
                name = part.dataset.name_of(found)
                raise self._none_left(part, f"gives hardly a sample without the damaged {name}")
            window = self._another(part, rng, damaged)

    def _another(self, part: Part, rng: np.random.Generator, damaged: set[int]) -> int:
        while True:
            window = part.first + int(rng.integers(len(part.windows)))
            if part.place(window)[0] not in damaged:
                return window

    def _none_left(self, part: Part, what: str) -> RecordError:
        return RecordError(f"{part.dataset.title} {what}; {part.dataset.remedies[0]}")

    def _outcome(
        self, window: int, entropy: tuple[int, ...], *, train: bool
    ) -> Sample | DamagedRecord:
        _use_one_blas_thread()
        part = self._part(window)
        record, start = part.place(window)
        rng = np.random.Generator(np.random.PCG64(entropy))
        reader = part.dataset.reader(record)
        try:
            return self._view.sample(reader, start, rng, train=train)
        except DamagedRecord as error:
            return error
        except RecordError as error:  # a view's own, which names what it likes
            return DamagedRecord(str(error), record, part.name(window))
        except (MediaError, FaceError) as error:
            found = reader.blamed(error)
            found.__cause__ = error
            return found
        finally:
            reader.close()

    def _report(
        self,
        window: int,
        entropy: tuple[int, int],
        skipped: int,
        corrupt: CorruptRecords,
        *,
        train: bool,
    ) -> None:
        attempts = self._attempts(window, entropy, train=train)
        for candidate, outcome in itertools.islice(attempts, skipped):
            if isinstance(outcome, DamagedRecord):
                corrupt.add(outcome.name, str(outcome))
            else:
                name = self._part(candidate).name(candidate)
                corrupt.add(name, f"{name}: could not be read at first")
