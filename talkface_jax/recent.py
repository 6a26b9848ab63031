"""What was made last, kept for the next one who asks for the same."""

import collections
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Recent(Generic[Item]):
    """The items that were asked for last.

    Args:
      most: how many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: collections.OrderedDict[Hashable, Item] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: Hashable, make: Callable[[], Item]) -> Item:
        """The item of the key; made where it is not kept."""
        if key not in self._items:
            self._items[key] = make()
            while len(self._items) > self._most:
                self._items.popitem(last=False)
        self._items.move_to_end(key)
        return self._items[key]
