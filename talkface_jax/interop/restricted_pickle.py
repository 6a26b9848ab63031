"""Unpickling that runs nothing of the file: it may name only what a table holds.

A pickle is a program. It imports what it names, calls it with arguments of its own, and may set
attributes of whatever it got hold of. Here every name is looked up in a table; everything in such a
table should be a `Call` or another tuple, for a bare function or class could be changed by a file
for the rest of the process.
"""

import io
import pickle
import pickletools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from talkface_jax.errors import WeightsError

Names = Mapping[tuple[str, str], Any]
"""(module, name) as the pickle spells it -> what it gets."""
_MEMO_WRITES = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_MEMO_READS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_DEEPEST = 100
_LONGEST = 100


class Call(NamedTuple):
    """A function that a pickle may call, and can do nothing else with."""

    function: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        """The function's result."""
        return self.function(*arguments)


class _Unpickler(pickle.Unpickler):
    def __init__(
        self,
        data: bytes,
        names: Names,
        persistent: Callable[[Any], Any] | None,
        refusal: Callable[[str], WeightsError],
    ) -> None:
        super().__init__(io.BytesIO(data))
        self._names, self._persistent, self._refusal = names, persistent, refusal

    def find_class(self, module_name: str, global_name: str) -> Any:
        """What the table holds under that name; nothing is imported."""
        found = self._names.get((module_name, global_name))
        if found is None:
            raise self._refusal(shown(f"{module_name}.{global_name}"))
        return found

    def persistent_load(self, pid: Any) -> Any:
        """What lies outside of the pickle, by its id."""
        if self._persistent is None:
            raise pickle.UnpicklingError("it refers to data outside of the pickle")
        return self._persistent(pid)


def shown(text: str) -> str:
    """A text out of a file that nobody vouches for, fit for a one-line message."""
    line = "".join(letter if letter.isprintable() else "?" for letter in text[: _LONGEST + 1])
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _check(data: bytes) -> None:
    """Refuses what would break the reader itself, before it reads.

    A pickle numbers the objects that it uses again, and the reader keeps as many places as the
    largest number: one number alone could take the whole memory. And a tuple of tuples that is a
    dict's key is hashed by recursion, which ends the process where it is deep enough; so the pickle
    is walked with the depth of every tuple in the place of its value.
    """
    stack: list[int] = []
    marks: list[int] = []
    memo: dict[int, int] = {}
    for opcode, argument, position in pickletools.genops(data):
        if opcode.name in _MEMO_WRITES:
            number = len(memo) if argument is None else argument
            if number > len(data):
                raise pickle.UnpicklingError(f"object number {number} at byte {position}")
            memo[number] = stack[-1]
        elif opcode.name in _MEMO_READS:
            stack.append(memo[argument or 0])
        elif opcode.name == "MARK":
            marks.append(len(stack))
        elif opcode.name == "POP" and marks and marks[-1] == len(stack):
            marks.pop()
        else:
            # With a mark: everything above it, and what the opcode takes from below.
            taken = opcode.stack_before
            marked = pickletools.markobject in taken
            below = taken.index(pickletools.markobject) if marked else len(taken)
            first = (marks.pop() if marked else len(stack)) - below
            if first < (marks[-1] if marks else 0):
                raise pickle.UnpicklingError(f"nothing to take at byte {position}")
            depth = max(stack[first:], default=0) + opcode.name.startswith("TUPLE")
            if depth > _DEEPEST:
                raise pickle.UnpicklingError(f"tuples in tuples at byte {position}")
            del stack[first:]
            stack.extend(depth for _ in opcode.stack_after)


def load(
    data: bytes,
    names: Names,
    *,
    source: str,
    content: str,
    remedy: str,
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """The object of a pickle that names nothing beyond a table.

    Args:
      data: the pickle.
      names: what it may name.
      source: the file, for messages.
      content: what the file should hold ("tensors"), for messages.
      remedy: what to do about a refusal, for messages.
      persistent: resolves references to data outside of the pickle; none: there are no such
        references.

    Raises:
      WeightsError: it names something else (nothing of it has run), or it is damaged.
    """

    def refusal(name: str) -> WeightsError:
        return WeightsError(
            f"{source} wants to call {name}, which {content} do not need; nothing of it was run:"
            f" {remedy}"
        )

    try:
        _check(data)
        return _Unpickler(data, names, persistent, refusal).load()
    except WeightsError:
        raise
    # Not a narrower class: damaged bytes are calls with any arguments, which can fail in any way.
    except Exception as error:
        known = isinstance(error, pickle.UnpicklingError)
        reason = shown(str(error) if known else f"{type(error).__name__}: {error}")
        raise WeightsError(f"{source} is damaged ({reason}); {remedy}") from error
