"""One segment as a view sees it, and from it the others of its clip, speaker and split."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool

from talkface_jax.data.cache import Cache
from talkface_jax.data.corrupt import DamagedRecord
from talkface_jax.data.kept import Arrays
from talkface_jax.data.relations import Relations
from talkface_jax.data.schema import RecordMeta, record_meta
from talkface_jax.errors import FaceError, MediaError, RecordError
from talkface_jax.records import Segment


class Records(Protocol):
    """What a reader uses of the data set that its record is in."""

    @property
    def relations(self) -> Relations:
        """Which records belong together."""
        ...

    def open(self, record: int, opened: "Opened") -> "SegmentReader":
        """A reader that shares `opened` with those that led to it."""
        ...

    def damaged(self, record: int, error: Exception) -> DamagedRecord:
        """The error that names a record, for one that does not."""
        ...


class Opened:
    """The readers that one sample opened: each record once, so that it is decoded once."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.readers: dict[int, SegmentReader] = {}

    def __getitem__(self, record: int) -> "SegmentReader":
        if record not in self.readers:
            self.readers[record] = self.records.open(record, self)
        return self.readers[record]


class SegmentReader:
    """One segment as a view sees it: decoded when needed, what is made of it remembered.

    The segments that it leads to are readers too. They are of the same data set, and what can be
    drawn depends on the split's index alone, so that a sample stays a function of seed and
    position.
    """

    def __init__(
        self,
        key: Any,
        load: Callable[[], Segment],
        cache: Cache,
        keep: Callable[[str, Callable[[], Arrays]], Arrays] | None = None,
        place: tuple[int, Opened] | None = None,
    ) -> None:
        """`keep(name, make)` gives what `make` does, from where it was kept for longer; `place` is
        the record's number, and the readers opened with this one."""
        self._key, self._load, self._cache, self._keep = key, load, cache, keep
        self._place = place
        self._segment: Segment | None = None

    @classmethod
    def of(cls, segment: Segment) -> "SegmentReader":
        """A reader of a segment that is already in memory, with no other beside it."""
        return cls(0, lambda: segment, Cache(2**62))

    @property
    def meta(self) -> RecordMeta:
        """The segment's clip, speaker, first frame, length, runs of frames with a face, emotion and
        level; from the index, without reading the record."""
        if self._place is None:
            return record_meta(self.segment)
        record, opened = self._place
        return opened.records.relations.meta(record)

    @property
    def segment(self) -> Segment:
        """The decoded record; not kept beyond the sample that this reader is for."""
        if self._segment is None:
            self._segment = self._load()
        return self._segment

    @property
    def frames(self) -> tuple[bytes, ...]:
        """The JPEG crops, kept in the cache."""
        return self.derived("frames", lambda segment: segment.frames)

    def derived(self, name: str, make: Callable[[Segment], Any]) -> Any:
        """`make(segment)`, kept in the cache under `name`, which must tell its options apart."""
        return self._cache.get((self._key, name), lambda: self._made(make))

    def stored(self, name: str, make: Callable[[Segment], Arrays]) -> Arrays:
        """The same for arrays that are costly to make: where a run keeps those on disk, they are
        read from there, and the segment is not.

        `name` must tell apart versions and weights too, for what is kept outlives the run.
        """

        def made() -> Arrays:
            return self._made(make)

        keep = self._keep
        load = made if keep is None else lambda: keep(name, made)
        return self._cache.get((self._key, name), load)

    def neighbour(self, offset: int) -> "SegmentReader | None":
        """The segment so many after this one in its clip, or before it; None beyond its ends.

        Counted are the segments that the split has: preparation leaves out those without a face.
        """
        return self._other(lambda relations, record: relations.neighbour(record, offset))

    def across(
        self, first: int, stop: int, part: Callable[["SegmentReader"], np.ndarray]
    ) -> tuple[np.ndarray, Bool[np.ndarray, " t"]]:
        """Rows of frames `first` to `stop`, counted from this segment's first one, from as many
        segments of its clip as hold them; only those are opened.

        Args:
          first: may be negative.
          stop: may lie beyond the segment's end.
          part: gives one row for each frame of a reader's segment.

        Returns:
          Rows (t, ...), and whether the clip has the frame (t,); where it has not, as beyond its
          ends, the row is that of the nearest frame that it has.
        """
        if self._place is None:
            wanted = np.arange(first, stop)
            numbers = np.zeros(len(wanted), np.int64)
            frames = np.clip(wanted, 0, len(self.segment) - 1)
            exists = frames == wanted
        else:
            record, opened = self._place
            numbers, frames, exists = opened.records.relations.frames_of(record, first, stop)
        parts = {int(number): self._beside(int(number)) for number in np.unique(numbers)}
        rows = {number: reader._rows(part) for number, reader in parts.items()}
        if not rows:
            return self._rows(part)[:0], exists
        found = np.stack([rows[n][t] for n, t in zip(numbers.tolist(), frames, strict=True)])
        return found, exists

    def other_clip(
        self, rng: np.random.Generator, *, faces: bool = True, emotion: int | None = None
    ) -> "SegmentReader | None":
        """A segment of another clip of the same speaker, every clip as likely as the other.

        Args:
          rng: the view's own, which alone decides.
          faces: draws only segments of which at least one frame shows a face.
          emotion: draws only clips that the index labels with this one (of `records.EMOTIONS`).

        Returns:
          None, without a draw, where there is none or the speaker has no name.
        """
        return self._other(
            lambda relations, own: relations.other_clip(own, rng, faces=faces, emotion=emotion)
        )

    def other_speaker(
        self, rng: np.random.Generator, *, faces: bool = True
    ) -> "SegmentReader | None":
        """A segment of another speaker, every clip as likely as the other; else as `other_clip`."""
        return self._other(lambda relations, own: relations.other_speaker(own, rng, faces=faces))

    def close(self) -> None:
        """Forgets the readers opened with this one, when the sample is made.

        They refer to each other, and with what they decoded would else wait for the garbage
        collector.
        """
        if self._place is not None:
            self._place[1].readers.clear()

    def blamed(self, error: Exception) -> DamagedRecord:
        """The error for a picture or face that a view met outside of `derived` and the like, where
        none of the opened segments is named: of the one whose pictures cannot be decoded, or else
        of this one.

        Raises:
          ValueError: the reader is of a lone segment.
        """
        if self._place is None:
            raise ValueError("a lone segment has no record to blame")
        record, opened = self._place
        others = [number for number in opened.readers if number != record]
        if others and not self._is_broken():
            record = next((n for n in others if opened.readers[n]._is_broken()), record)
        return opened.records.damaged(record, error)

    def _is_broken(self) -> bool:
        from talkface_jax.media.images import decode_jpeg

        try:
            for data in self.segment.frames:
                decode_jpeg(data)
        except (MediaError, RecordError):
            return True
        return False

    def _made(self, make: Callable[[Segment], Any]) -> Any:
        with self._naming():
            return make(self.segment)

    def _rows(self, part: Callable[["SegmentReader"], np.ndarray]) -> np.ndarray:
        with self._naming():
            rows = part(self)
        frames = self.meta.frames
        if len(rows) != frames:
            raise ValueError(f"{len(rows)} rows for a segment of {frames} frames")
        return rows

    @contextlib.contextmanager
    def _naming(self) -> Iterator[None]:
        """Errors of what is made of this segment name this record, whosever sample it is for."""
        try:
            yield
        except (MediaError, FaceError) as error:
            if self._place is None:
                raise
            record, opened = self._place
            raise opened.records.damaged(record, error) from error

    def _beside(self, record: int) -> "SegmentReader":
        return self if self._place is None else self._place[1][record]

    def _other(self, find: Callable[[Relations, int], int | None]) -> "SegmentReader | None":
        if self._place is None:
            return None
        record, opened = self._place
        found = find(opened.records.relations, record)
        return None if found is None else opened[found]
