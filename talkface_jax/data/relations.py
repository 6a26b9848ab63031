"""Which records of a split belong together: those of a clip in order of time, those of a speaker.

Arrays of numbers, made from the index alone: 300 hours are 216,000 records, and every reader
process has a copy.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from talkface_jax.data.schema import RecordMeta


@dataclasses.dataclass(frozen=True)
class _Pool:
    """Records that can be drawn, clip by clip, and the clips in the order of their speakers.

    Attributes:
      records: clip after clip.
      clips, speakers: number of each clip that has a record here, and of its speaker; ascending.
      edges: where each clip's records begin, and at last where they all end.
    """

    records: Int[np.ndarray, " r"]
    clips: Int[np.ndarray, " c"]
    speakers: Int[np.ndarray, " c"]
    edges: Int[np.ndarray, " c+1"]

    def draw(
        self, rng: np.random.Generator, clips: tuple[int, int], *, but: tuple[int, int]
    ) -> int | None:
        """A record of one of `clips` (first, stop) that is not among `but`, each clip as likely as
        the other; None where none is left. Costs two draws, whatever the number of clips."""
        count = clips[1] - clips[0] - (but[1] - but[0])
        if count <= 0:
            return None
        clip = clips[0] + int(rng.integers(count))
        if clip >= but[0]:
            clip += but[1] - but[0]
        first, stop = self.edges[clip : clip + 2].tolist()
        return int(self.records[first + int(rng.integers(stop - first))])


class Relations:
    """Neighbours of a record in its clip, and draws of records of other clips.

    Records, clips and speakers are numbers here. A speaker without a name is unknown: it may be
    anybody, so its clips are neither of the same speaker as others nor surely of another one.
    """

    def __init__(self, metas: Sequence[RecordMeta]) -> None:
        """`metas` are those of all records, in order."""
        names = sorted({(meta.speaker, meta.clip) for meta in metas})
        speakers = sorted({speaker for speaker, _ in names})
        clip_number = {name: number for number, name in enumerate(names)}
        speaker_number = {name: number for number, name in enumerate(speakers)}
        self._clip_names = tuple(clip for _, clip in names)
        self._speaker_names = tuple(speakers)
        # Ascending, since the clips are sorted by their speakers first.
        self._speakers = np.array([speaker_number[name] for name, _ in names], np.int32)
        self._clips = np.array([clip_number[meta.speaker, meta.clip] for meta in metas], np.int32)
        self._starts = np.array([meta.start for meta in metas], np.int32)
        self._frames = np.array([meta.frames for meta in metas], np.int32)
        self._emotions = np.array([meta.emotion for meta in metas], np.int8)
        self._levels = np.array([meta.level for meta in metas], np.int8)
        runs = [run for meta in metas for run in meta.runs]
        self._runs = np.array(runs, np.int32).reshape(-1, 2)
        self._run_edges = np.cumsum([0, *(len(meta.runs) for meta in metas)], dtype=np.int32)
        self._order = np.lexsort((self._starts, self._clips)).astype(np.int32)
        self._places = np.empty_like(self._order)
        self._places[self._order] = np.arange(len(self._order), dtype=np.int32)
        every = np.arange(len(names) + 1)
        self._edges = np.searchsorted(self._clips[self._order], every).astype(np.int32)
        self._pools: dict[tuple[bool, int | None], _Pool] = {}

    def meta(self, record: int) -> RecordMeta:
        """The record's index entry."""
        clip = self._clips[record]
        runs = self._runs[self._run_edges[record] : self._run_edges[record + 1]]
        return RecordMeta(
            self._clip_names[clip],
            self._speaker_names[self._speakers[clip]],
            int(self._starts[record]),
            int(self._frames[record]),
            tuple((first, length) for first, length in runs.tolist()),
            int(self._emotions[record]),
            int(self._levels[record]),
        )

    def neighbour(self, record: int, offset: int) -> int | None:
        """The record so many after this one among those of its clip; None beyond its ends."""
        first, stop = self._span(record)
        place = int(self._places[record]) + offset
        return int(self._order[place]) if first <= place < stop else None

    def frames_of(
        self, record: int, first: int, stop: int
    ) -> tuple[Int[np.ndarray, " t"], Int[np.ndarray, " t"], Bool[np.ndarray, " t"]]:
        """Where the clip's frames `first` to `stop` lie, counted from the record's first one.

        Returns:
          Record, and frame in it, of each; of the nearest frame, the earlier of two, where the clip
          has none. And whether it has.
        """
        own = self._order[slice(*self._span(record))]
        starts = self._starts[own].astype(np.int64)
        ends = starts + self._frames[own]
        wanted = int(self._starts[record]) + np.arange(first, stop)
        before = np.searchsorted(starts, wanted, side="right") - 1
        after = np.minimum(before + 1, len(own) - 1)
        before = np.maximum(before, 0)
        last = np.clip(wanted, starts[before], ends[before] - 1)
        nearer = np.abs(starts[after] - wanted) < np.abs(last - wanted)
        chosen = np.where(nearer, after, before)
        found = np.where(nearer, starts[after], last)
        return own[chosen], found - starts[chosen], found == wanted

    def other_clip(
        self, record: int, rng: np.random.Generator, *, faces: bool, emotion: int | None = None
    ) -> int | None:
        """A record of another clip of the same speaker, drawn clip first; None if there is none.

        With `emotion`, of clips that are labelled with it.
        """
        pool, clip = self._pool(faces, emotion), self._clips[record]
        speaker = int(self._speakers[clip])
        if not self._speaker_names[speaker]:
            return None
        own = np.searchsorted(pool.clips, [clip, clip + 1])
        same = np.searchsorted(pool.speakers, [speaker, speaker + 1])
        return pool.draw(rng, (int(same[0]), int(same[1])), but=(int(own[0]), int(own[1])))

    def other_speaker(self, record: int, rng: np.random.Generator, *, faces: bool) -> int | None:
        """A record of a clip of another speaker, likewise."""
        pool, speaker = self._pool(faces), int(self._speakers[self._clips[record]])
        if not self._speaker_names[speaker]:
            return None
        same = np.searchsorted(pool.speakers, [speaker, speaker + 1])
        # The unknown speaker's name sorts before all others.
        known = int(np.searchsorted(pool.speakers, int(not self._speaker_names[0])))
        return pool.draw(rng, (known, len(pool.clips)), but=(int(same[0]), int(same[1])))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pools": {}}

    def _span(self, record: int) -> tuple[int, int]:
        clip = self._clips[record]
        return int(self._edges[clip]), int(self._edges[clip + 1])

    def _pool(self, faces: bool, emotion: int | None = None) -> _Pool:
        """The records that can be drawn, made when they are first drawn from. Threads that ask at
        once may each make it: the same."""
        key = faces, emotion
        if key not in self._pools:
            chosen = np.ones(len(self._order), bool)
            if faces:
                chosen &= np.diff(self._run_edges)[self._order] > 0
            if emotion is not None:
                chosen &= self._emotions[self._order] == emotion
            self._pools[key] = self._pool_of(chosen)
        return self._pools[key]

    def _pool_of(self, chosen: Bool[np.ndarray, " r"]) -> _Pool:
        records = self._order[chosen]
        clips, firsts = np.unique(self._clips[records], return_index=True)
        edges = np.append(firsts, len(records)).astype(np.int32)
        return _Pool(records, clips, self._speakers[clips], edges)


class LazyRelations:
    """The relations of some records, made when they are first asked for.

    A copy for another process takes them along made, for it would have to read the indices anew.
    """

    def __init__(self, metas: Callable[[], Sequence[RecordMeta]]) -> None:
        self._metas = metas

    @functools.cached_property
    def made(self) -> Relations:
        """The relations."""
        return Relations(self._metas())

    def __getstate__(self) -> dict[str, Any]:
        return {"made": self.made}
