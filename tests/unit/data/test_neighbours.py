"""Views that see more than one segment: what they see, and that it is the same for all readers."""

import collections
import dataclasses
import logging
import pickle

import numpy as np
import pytest
from reading import AroundView, PairView, damage, interleaved, levels, take

from talkface_jax.data import pipeline, store
from talkface_jax.data.corrupt import CorruptRecords
from talkface_jax.data.mixture import Mixture
from talkface_jax.data.relations import Relations
from talkface_jax.data.schema import RecordMeta
from talkface_jax.errors import FaceError, RecordError

# Seed, clip, speaker, first frame, frames: clip 0 of three segments, 1 with a gap of 10 frames.
LAYOUT = {
    "train-0": [
        (1, 0, "ann", 12, 12),
        (2, 1, "ben", 0, 10),
        (3, 0, "ann", 0, 12),
        (4, 2, "ann", 0, 9),
    ],
    "train-1": [
        (5, 1, "ben", 20, 10),
        (6, 3, "ann", 0, 8),
        (7, 0, "ann", 24, 11),
        (8, 4, "cid", 0, 7),
        (9, 5, "ann", 0, 6),
    ],
}
FACELESS = 9
FIRST, SECOND, THIRD = 2, 0, 6
"""Records of clip 0 in order of time."""


@pytest.fixture(scope="module")
def make(make_segment):
    def made(seed, clip, speaker, start, frames):
        invalid = tuple(range(frames)) if seed == FACELESS else ()
        segment = make_segment(seed=seed, frames=frames, start=start, invalid=invalid)
        info = dataclasses.replace(segment.info, clip=f"clip{clip}", speaker=speaker)
        return dataclasses.replace(segment, info=info)

    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make, write):
    shards = {name: [make(*row) for row in rows] for name, rows in LAYOUT.items()}
    return write(tmp_path_factory.mktemp("around"), shards)


@pytest.fixture
def dataset(folder):
    return pipeline.open_dataset(folder, "train")


@pytest.fixture
def write_pairs(tmp_path, make, write):
    """One speaker's clips of a segment each; `broken` ones have no pictures."""

    def written(*, clips, frames=12, broken=()):
        segments = [make(20 + clip, clip, "ann", 0, frames) for clip in range(clips)]
        for clip in broken:
            segments[clip] = dataclasses.replace(segments[clip], frames=(b"no image",) * frames)
        return write(tmp_path, {"train-0": segments})

    return written


def iterator(dataset, view, batch_size=6, **options):
    return pipeline.train_iterator(dataset, view, batch_size=batch_size, seed=7, **options)


@pytest.mark.parametrize("options", [{"threads": 2}, {"workers": 2}], ids=["threads", "processes"])
def test_batches_do_not_depend_on_readers(dataset, options):
    alone = iterator(dataset, AroundView(), threads=0)
    expected = take(alone, 12)
    assert len({row[-1] for row in expected}) == len(expected)
    other = iterator(dataset, AroundView(), **options)
    try:
        assert take(other, 12) == expected
    finally:
        other.close()


def test_processes_share_the_order(dataset):
    expected = take(iterator(dataset, AroundView(), threads=0), 8)
    halves = [iterator(dataset, AroundView(), 3, process_index=k, process_count=2) for k in (0, 1)]
    assert interleaved(halves, 5) == expected[:30]
    alone = iterator(dataset, AroundView(), 6)
    alone.set_state(halves[0].get_state())
    assert take(alone, 3) == expected[30:]


def test_a_cache_too_small_for_anything_changes_nothing(folder, dataset):
    tight = pipeline.open_dataset(folder, "train", cache_mb=0)
    expected = take(iterator(dataset, AroundView()), 8)
    assert take(iterator(tight, AroundView()), 8) == expected


def test_frames_across_are_those_of_the_clip(dataset):
    clip = np.concatenate(
        [dataset.segment(r).landmarks.sum((1, 2)) for r in (FIRST, SECOND, THIRD)]
    )
    for record, start in ((FIRST, 0), (SECOND, 12), (THIRD, 24)):
        reader = dataset.reader(record)
        for first, stop in ((-40, 50), (0, 12), (-1, 2), (9, 16), (30, 33), (-30, -26), (4, 4)):
            rows, exists = reader.across(first, stop, levels)
            wanted = start + np.arange(first, stop)
            np.testing.assert_array_equal(rows, clip[np.clip(wanted, 0, len(clip) - 1)])
            np.testing.assert_array_equal(exists, (wanted >= 0) & (wanted < len(clip)))


def test_rows_keep_their_shape_and_type(dataset):
    rows, _ = dataset.reader(SECOND).across(-3, 20, lambda reader: reader.segment.landmarks)
    assert rows.shape == (23, 478, 3) and rows.dtype == np.float32
    rows, _ = dataset.reader(SECOND).across(3, 3, lambda reader: reader.segment.landmarks)
    assert rows.shape == (0, 478, 3)
    with pytest.raises(ValueError, match="11 rows for a segment of 12 frames"):
        dataset.reader(SECOND).across(0, 1, lambda reader: reader.segment.landmarks[1:])


def test_a_gap_in_a_clip_has_no_frames_and_repeats_the_nearest(dataset):
    before, after = (dataset.segment(record).landmarks.sum((1, 2)) for record in (1, 4))
    rows, exists = dataset.reader(1).across(8, 22, levels)
    np.testing.assert_array_equal(exists, [True] * 2 + [False] * 10 + [True] * 2)
    np.testing.assert_array_equal(rows[:2], before[8:])
    np.testing.assert_array_equal(rows[2:7], np.full(5, before[9]))
    np.testing.assert_array_equal(rows[7:12], np.full(5, after[0]))
    np.testing.assert_array_equal(rows[12:], after[:2])


def test_only_the_segments_that_are_needed_are_read(dataset, monkeypatch):
    read = []
    segment = pipeline.PreparedDataset.segment
    monkeypatch.setattr(
        pipeline.PreparedDataset, "segment", lambda s, r: read.append(r) or segment(s, r)
    )
    reader = dataset.reader(SECOND)
    assert reader.meta == dataset.metas[SECOND] and not read
    reader.across(2, 30, levels)
    reader.across(4, 30, lambda other: other.segment.audio[::640])
    assert sorted(read) == [SECOND, THIRD], "each once"


def test_metas_and_neighbours_are_those_of_the_index(dataset):
    for record, meta in enumerate(dataset.metas):
        assert dataset.reader(record).meta == meta
    chain = [FIRST, SECOND, THIRD]
    for place, record in enumerate(chain):
        for offset in range(-4, 5):
            found = dataset.reader(record).neighbour(offset)
            if 0 <= place + offset < 3:
                assert found.meta == dataset.metas[chain[place + offset]]
                np.testing.assert_array_equal(
                    found.segment.audio, dataset.segment(chain[place + offset]).audio
                )
            else:
                assert found is None
    assert dataset.reader(FIRST).neighbour(1).neighbour(1).meta == dataset.metas[THIRD]


def drawn(dataset, record, which, count=3000, **options):
    rng = np.random.default_rng(3)
    readers = [getattr(dataset.reader(record), which)(rng, **options) for _ in range(count)]
    return collections.Counter(dataset.metas.index(reader.meta) for reader in readers)


def test_other_clips_are_of_the_same_speaker_and_as_likely_as_each_other(dataset):
    for record in (FIRST, SECOND, THIRD):
        counts = drawn(dataset, record, "other_clip")
        assert set(counts) == {3, 5}, "clips 2 and 3"
        assert abs(counts[3] - 1500) < 150
    counts = drawn(dataset, 3, "other_clip")
    assert set(counts) == {FIRST, SECOND, THIRD, 5}
    assert abs(counts[5] - 1500) < 150, "a clip of three segments is one clip"
    assert all(abs(counts[record] - 500) < 100 for record in (FIRST, SECOND, THIRD))
    assert 8 in drawn(dataset, 3, "other_clip", faces=False)
    assert set(drawn(dataset, 8, "other_clip")) == {FIRST, SECOND, THIRD, 3, 5}
    for alone in (1, 7):
        assert dataset.reader(alone).other_clip(np.random.default_rng(0)) is None


def test_other_speakers_are_others_and_their_clips_as_likely_as_each_other(dataset):
    for record in (1, 4):
        counts = drawn(dataset, record, "other_speaker")
        assert set(counts) == {FIRST, SECOND, THIRD, 3, 5, 7}
        for own in ((FIRST, SECOND, THIRD), (3,), (5,), (7,)):
            assert abs(sum(counts[r] for r in own) - 750) < 120
    assert set(drawn(dataset, FIRST, "other_speaker")) == {1, 4, 7}
    assert 8 in drawn(dataset, 7, "other_speaker", faces=False)


def test_draws_come_from_the_given_generator_alone(dataset):
    one, two = (np.random.default_rng(5) for _ in range(2))
    np.random.default_rng(0).random()
    for _ in range(20):
        assert dataset.reader(3).other_clip(one).meta == dataset.reader(3).other_clip(two).meta
    assert one.random() == two.random()


def test_a_speaker_without_a_name_may_be_anybody():
    names = ["", "", "ann", "ann", "ben"]
    metas = [RecordMeta(f"c{k}", name, 0, 9, ((0, 9),)) for k, name in enumerate(names)]
    rng = np.random.default_rng(0)
    for relations in (Relations(metas), pickle.loads(pickle.dumps(Relations(metas)))):
        for unknown in (0, 1):
            assert relations.other_clip(unknown, rng, faces=True) is None
            assert relations.other_speaker(unknown, rng, faces=True) is None
        assert {relations.other_clip(2, rng, faces=True) for _ in range(50)} == {3}
        assert {relations.other_speaker(2, rng, faces=True) for _ in range(50)} == {4}
        assert {relations.other_speaker(4, rng, faces=True) for _ in range(50)} == {2, 3}


def test_a_lone_segment_has_nothing_beside_it(make):
    segment = make(1, 0, "ann", 12, 12)
    reader, rng = pipeline.SegmentReader.of(segment), np.random.default_rng(0)
    assert reader.meta == RecordMeta("fake/clip0", "ann", 12, 12, ((0, 12),))
    found = [reader.neighbour(1), reader.other_clip(rng), reader.other_speaker(rng)]
    assert found == [None] * 3
    rows, exists = reader.across(-2, 14, levels)
    np.testing.assert_array_equal(exists, [False] * 2 + [True] * 12 + [False] * 2)
    own = segment.landmarks.sum((1, 2))
    np.testing.assert_array_equal(rows, np.pad(own, 2, mode="edge"))


def test_a_mixture_draws_within_the_data_set_of_the_window(tmp_path, make, write):
    folders = []
    for name, clips in (("one", (0, 1)), ("two", (2, 3))):
        segments = [make(30 + clip, clip, "ann", 0, 12) for clip in clips]
        (tmp_path / name).mkdir()
        folders.append(write(tmp_path / name, {"train-0": segments}))
    parts = tuple(pipeline.open_dataset(found, "train") for found in folders)
    rows = take(iterator(Mixture(parts, (1.0, 1.0)), PairView()), 20)
    assert {row[:2] for row in rows} == {(0, 1), (1, 0), (2, 3), (3, 2)}


def report(dataset, view, caplog, *, limit, count=12, **options):
    """Rows of some batches, and the messages of the records that were skipped."""
    corrupt = CorruptRecords(limit)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        rows = take(iterator(dataset, view, corrupt=corrupt, **options), count)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == corrupt.count
    return rows, messages


def test_a_damaged_neighbour_is_named_and_not_the_window(write_pairs, caplog):
    dataset = pipeline.open_dataset(write_pairs(clips=4), "train")
    whole = take(iterator(dataset, PairView()), 12)
    damage(dataset.source, 1)
    damaged = pipeline.open_dataset(dataset.directory, "train")
    rows, messages = report(damaged, PairView(), caplog, limit=1)
    assert len(messages) == 1
    assert "(1 of at most 1)" in messages[0] and "record 1: the checksum is wrong" in messages[0]
    assert {clip for row in rows for clip in row[:2]} == {0, 2, 3}
    for before, after in zip(whole, rows, strict=True):
        if 1 not in before[:2]:
            assert after == before, "what can be read keeps its place and draws"
    with pytest.raises(RecordError, match=r"train-0\.tfrecord, record 1: the checksum is wrong"):
        take(iterator(damaged, PairView()), 12)
    again, _ = report(damaged, PairView(), caplog, limit=1, threads=0)
    assert again == rows


@pytest.mark.parametrize("options", [{"threads": 3}, {"workers": 2}], ids=["threads", "processes"])
def test_replacements_do_not_depend_on_readers(write_pairs, caplog, options):
    folder = write_pairs(clips=4, broken=(2,))
    dataset = pipeline.open_dataset(folder, "train")
    expected, messages = report(dataset, PairView(), caplog, limit=1, threads=0)
    assert len(messages) == 1
    corrupt = CorruptRecords(1)
    other = iterator(dataset, PairView(), corrupt=corrupt, **options)
    try:
        assert take(other, 12) == expected and corrupt.count == 1
    finally:
        other.close()


def test_broken_pictures_of_a_neighbour_are_its_own(write_pairs, caplog):
    """They are met by the view, outside of what knows whose they are."""
    dataset = pipeline.open_dataset(write_pairs(clips=3, broken=(2,)), "train")
    rows, messages = report(dataset, PairView(), caplog, limit=1)
    assert {row[:2] for row in rows} == {(0, 1), (1, 0)}
    (message,) = messages
    assert "record 2: 8 bytes that should be a JPEG" in message


class RefusingView(PairView):
    """Finds no face in the sound of clip 1, wherever it comes across it."""

    name = "refusing"

    def sample(self, segment, start, rng, *, train):
        clips = [segment, segment.other_clip(rng)]
        return {"row": np.concatenate([reader.stored("v1", self.make)[0] for reader in clips])}

    def make(self, segment):
        if segment.info.clip == "clip1":
            raise FaceError("nobody; give another")
        return (np.array([int(segment.info.clip.removeprefix("clip"))]),)


def test_what_is_made_of_a_neighbour_is_told_of_under_its_name(write_pairs, caplog):
    dataset = pipeline.open_dataset(write_pairs(clips=3), "train")
    rows, messages = report(dataset, RefusingView(), caplog, limit=1)
    assert set(rows) == {(0, 2), (2, 0)}
    (message,) = messages
    assert "record 1: nobody; give another" in message


def test_a_window_far_from_the_damage_is_found_in_the_same_record(tmp_path, make, write, caplog):
    """The clip's other segment is damaged, and windows near it cannot be had."""

    class NearView(AroundView):
        def sample(self, segment, start, rng, *, train):
            rows, _ = segment.across(start, start + 12, levels)
            return {"row": np.array([start, rows[0]])}

    segments = [make(40, 0, "ann", 0, 20), make(41, 0, "ann", 20, 20)]
    dataset = pipeline.open_dataset(write(tmp_path, {"train-0": segments}), "train")
    damage(dataset.source, 1)
    rows, messages = report(dataset, NearView(), caplog, limit=1)
    assert {row[0] for row in rows} == set(range(9))
    assert len(messages) == 1 and "record 1: the checksum" in messages[0]


def test_where_every_sample_needs_what_is_damaged_the_record_is_named(write_pairs):
    dataset = pipeline.open_dataset(write_pairs(clips=2), "train")
    damage(dataset.source, 1)
    batches = iterator(dataset, PairView(), corrupt=CorruptRecords(5))
    with pytest.raises(
        RecordError, match=r"hardly a sample without the damaged .*, record 1; remove the folder"
    ):
        take(batches, 1)


def test_evaluation_masks_windows_whose_neighbour_is_damaged(write_pairs, caplog):
    dataset = pipeline.open_dataset(write_pairs(clips=3), "train")
    damage(dataset.source, 0)
    corrupt = CorruptRecords(1)
    batches = list(pipeline.eval_batches(dataset, PairView(), batch_size=6, corrupt=corrupt))
    mask, rows = batches[0]["mask"], batches[0]["row"]
    assert len(batches) == 1 and corrupt.count == 1
    assert not mask[:2].any() and 0 not in rows[:, :2]
    (message,) = (record.getMessage() for record in caplog.records)
    assert "record 0: the checksum" in message


def test_a_reader_process_need_not_read_the_indices(dataset, monkeypatch):
    sent = pickle.dumps(dataset)
    with monkeypatch.context() as without:
        without.setattr(store, "read_index", None)
        copy = pickle.loads(sent)
        rng = np.random.default_rng(0)
        assert copy.reader(SECOND).neighbour(-1).meta.start == 0
        assert copy.reader(SECOND).other_clip(rng).meta.speaker == "ann"


def test_relations_take_some_dozen_bytes_a_record():
    metas = [
        RecordMeta(f"set/{k // 5}", f"{k // 500}", 125 * (k % 5), 125, ((0, 125),))
        for k in range(20_000)
    ]
    relations = Relations(metas)
    relations.other_clip(0, np.random.default_rng(0), faces=True)
    sent = pickle.dumps(relations)
    assert len(sent) < 20_000 * 45 and b"RecordMeta" not in sent
