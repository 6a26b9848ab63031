"""Which numbers a field or a control may take: declared once, checked and worded in one place.

Importing it loads nothing heavy.
"""

import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import Any, Literal

from talkface_jax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Range:
    """An interval of numbers.

    Attributes:
      least, most: ends that belong to it; None for no such end.
      above, below: ends that do not.
      parity: "odd" or "even" whole numbers only; "" for any.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    parity: Literal["", "odd", "even"] = ""

    def __contains__(self, value: Any) -> bool:
        """Whether the number lies in it; NaN, infinities and what is no number never do."""
        if not isinstance(value, numbers.Real) or isinstance(value, bool):
            return False
        value = float(value)
        return (
            math.isfinite(value)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            and (not self.parity or value % 2 == (self.parity == "odd"))
        )

    def __str__(self) -> str:
        """As a sentence says it: "at least 1", "from 0 to below 1", "finite" without ends."""
        lows = {"at least": self.least, "above": self.above}
        highs = {"at most": self.most, "below": self.below}
        ends = [f"{word} {end:g}" for word, end in (lows | highs).items() if end is not None]
        words = " and ".join(ends or [self.parity or "finite"])
        if self.least is not None and self.least == self.most:
            words = f"{self.least:g}"
        if self.least is not None and len(ends) == 2:
            words = words.replace("at least", "from").replace(" and at most", " to")
            words = words.replace(" and below", " to below")
        return f"{words} and {self.parity}" if ends and self.parity else words


def ranged(default: Any, allowed: Range) -> Any:
    """A field whose number, or each number of whose tuple, must lie in a range (`check_ranges`)."""
    return dataclasses.field(default=default, metadata={"range": allowed})


def check_ranges(config: Any, *, where: str = "") -> None:
    """Checks every field that declares a range (`ranged`), those of nested configs too.

    Args:
      config: a dataclass.
      where: its own dotted name within the experiment, "" for the experiment.

    Raises:
      ConfigError: a number out of its range, by the field's dotted name.
    """
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{where}.{field.name}".lstrip(".")
        nested = value if isinstance(value, Mapping) else {"": value}
        if isinstance(value, tuple):
            nested = {str(index): item for index, item in enumerate(value)}
        for key, item in nested.items():
            if dataclasses.is_dataclass(item):
                check_ranges(item, where=f"{name}.{key}".rstrip("."))
        allowed = field.metadata.get("range")
        if allowed is None or value is None:
            continue
        given = value if isinstance(value, tuple) else (value,)
        if not given:
            raise ConfigError(f"config.{name} must not be empty; give numbers that are {allowed}")
        if wrong := [item for item in given if item not in allowed]:
            open_ended = allowed.most is None and allowed.below is None
            words = f"{allowed}, and finite" if open_ended and wrong[0] == math.inf else allowed
            raise ConfigError(
                f"config.{name} must be {words}, not {value!r}; give another --config.{name}"
            )


AT_LEAST_0 = Range(least=0)
AT_LEAST_1 = Range(least=1)
ABOVE_0 = Range(above=0)
SHARE = Range(least=0, most=1)
"""A share or probability."""
LAYERS = Range(least=1, most=5)
"""Depth of VGG features: relu1_1 to relu5_1."""
DROPOUT = Range(least=0, below=1)
FINITE = Range()
"""Any number but NaN and infinities."""
MARGIN = Range(least=0, most=2)
"""Of a crop, relative to the tight box of its points."""
SMOOTH = Range(least=0, most=250)
"""Deviation, in frames, of a smoothing over time."""
BATCH = Range(least=1, most=2**14)
"""Of items; losses over sets count their pairs in 32 bits."""
SEED = Range(least=0, most=4e9)
"""Of random numbers: 32 bits hold it."""
