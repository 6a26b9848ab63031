"""The budget for records that cannot be read."""

import logging

from talkface_jax.errors import RecordError

logger = logging.getLogger(__name__)


class DamagedRecord(RecordError):
    """A record that cannot be read, whosever sample it was for.

    Attributes:
      record: its number in its data set.
      name: its file and number, for messages.
    """

    def __init__(self, message: str, record: int, name: str) -> None:
        super().__init__(message, record, name)  # all of them, so that it pickles
        self.record, self.name = record, name

    def __str__(self) -> str:
        return self.args[0]


class CorruptRecords:
    """Counts the records that a process skipped, each once; one warning for each.

    Attributes:
      limit: how many records may be skipped; 0 lets the first one stop the run with its own error.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self._seen: set[str] = set()

    @property
    def count(self) -> int:
        """How many were skipped."""
        return len(self._seen)

    def add(self, name: str, reason: str) -> None:
        """Notes one record that was skipped.

        Args:
          name: file and number of the record.
          reason: the sentence that says what is wrong, which names the record too.

        Raises:
          RecordError: it is one too many.
        """
        if name in self._seen:
            return
        self._seen.add(name)
        if len(self._seen) > self.limit:
            raise too_many(name, len(self._seen), limit=self.limit)
        logger.warning(
            "skipped a corrupt record (%d of at most %d): %s", len(self._seen), self.limit, reason
        )


def too_many(name: str, count: int, *, limit: int) -> RecordError:
    """The error that ends a run whose budget is spent."""
    return RecordError(
        f"{name} is corrupt record number {count} and data.max_corrupt allows {limit}; prepare the "
        "data again, or raise --config.data.max_corrupt"
    )
