"""What ours and public PyTorch code must agree on: the checks of a case's files, found and run.

A suite names the files that it knows, each with a function that yields one `Check` per tensor.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from talkface_jax.errors import RecordError
from talkface_jax.interop.cases import Case, Check

Key = TypeVar("Key")

Suite = Mapping[str, Callable[[Case], Iterable[Check]]]
"""File -> its checks, in the order in which they run."""


@dataclasses.dataclass(frozen=True)
class Report:
    """All checks of a case, and the files of the suite that it does not hold."""

    checks: tuple[Check, ...]
    absent: tuple[str, ...]

    @property
    def over(self) -> tuple[Check, ...]:
        """The checks that fail."""
        return tuple(check for check in self.checks if not check.ok)


def find_suite(case: Case, suites: Mapping[Key, Suite]) -> Key:
    """The suite of which the case holds most files.

    Raises:
      RecordError: the case holds no suite's files, or as many of several.
    """
    counts = {key: sum(map(case.has, suite)) for key, suite in suites.items()}
    most = max(counts.values(), default=0)
    best = [key for key, count in counts.items() if count == most]
    if not most:
        known = ", ".join(dict.fromkeys(name for suite in suites.values() for name in suite))
        raise RecordError(f"{case.folder} holds none of {known}; give the folder of a parity case")
    if len(best) > 1:
        raise RecordError(
            f"{case.folder} holds as many files of one suite as of another; leave only the files of"
            " one public network there, or name its method"
        )
    return best[0]


def run_suite(
    case: Case, suite: Suite, *, progress: Callable[[str, int, int], None] | None = None
) -> Report:
    """Runs the checks of every file that the case holds.

    In true float32: matrix products and convolutions in TF32 or bfloat16, which some devices take
    by default and no parity tolerance allows for, are off meanwhile
    (jax_default_matmul_precision = "highest").

    Args:
      case: the case.
      suite: what is compared.
      progress: called as progress(what, files done, files in all).

    Raises:
      RecordError: the case holds none of the suite's files, or one that cannot be used.
      WeightsError: its state_dict is not this network's.
    """
    import jax

    present = [name for name in suite if case.has(name)]
    if not present:
        raise RecordError(
            f"{case.folder} holds none of {', '.join(suite)}; give the folder of a parity case of"
            " this method"
        )
    checks: list[Check] = []
    with jax.default_matmul_precision("highest"):
        for done, name in enumerate(present):
            if progress:
                progress("parity", done, len(present))
            checks += suite[name](case)
    if progress:
        progress("parity", len(present), len(present))
    return Report(tuple(checks), tuple(name for name in suite if name not in present))
