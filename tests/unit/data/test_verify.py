import dataclasses
import json
import os
import shutil
import struct

import numpy as np
import pytest
from verifying import clip_of_two, flip, found, only, write

from talkface_jax.data import manifest, store, verify
from talkface_jax.errors import RecordError


@pytest.fixture(scope="module")
def segments(make_segment):
    return clip_of_two(make_segment)


@pytest.fixture(scope="module")
def intact(tmp_path_factory, segments):
    return write(tmp_path_factory.mktemp("intact") / "set", segments)


@pytest.fixture
def directory(intact, tmp_path):
    return shutil.copytree(intact, tmp_path / "set")


def test_an_intact_set_is_clean_and_counted(intact):
    calls = []
    result = verify.verify(intact, progress=lambda *call: calls.append(call))
    assert result.clean and result.defects == () and result.notes == ()
    total = result.statistics.total
    assert (total.clips, total.segments, total.speakers) == (4, 5, 4)
    assert (total.frames, total.valid) == (38, 36)
    assert total.hours == 38 / 25 / 3600 and total.face_share == 36 / 38
    assert {k: v.clips for k, v in result.statistics.splits.items()} == {"test": 1, "train": 3}
    assert result.statistics.emotions == {"unknown": 4}
    assert result.statistics.source_fps == {"25": 4}
    parts = result.statistics.parts
    assert parts["landmarks"] == 38 * 478 * 3 * 4 and parts["audio"] == 38 * 640 * 2
    assert list(parts.values()) == sorted(parts.values(), reverse=True)
    assert calls[-1] == ("records", 5, 5) and ("checksums", 3, 3) in calls


def test_a_flipped_bit_costs_one_record(directory):
    path = directory / "train-0.tfrecord"
    entry = store.read_index(path).entries[1]
    flip(path, entry.offset + entry.length // 2)
    rows = found(directory)
    assert [(kind, place) for kind, place, _ in rows] == [
        ("shard", "train-0.tfrecord"),
        ("record", "train-0.tfrecord, record 1"),
    ]
    assert "SHA-256" in rows[0][2] and "checksum is wrong" in rows[1][2]
    result = verify.verify(directory)
    assert result.statistics.total.segments == 4
    assert any("could not be read" in note for note in result.notes)


@pytest.mark.parametrize("index", ["whole", "missing"])
def test_a_damaged_length_costs_one_record_where_there_is_an_index(directory, index):
    path = directory / "train-0.tfrecord"
    _, second, third = store.read_index(path).entries
    flip(path, second.offset - 12)
    if index == "missing":
        store.index_path(path).unlink()
    result = verify.verify(directory)
    reasons = [d.reason for d in result.defects if d.kind == "record"]
    if index == "whole":
        lost = f"bytes {second.offset - 12} to {third.offset - 13}"
        assert result.statistics.total.segments == 4
    else:
        lost = f"bytes {second.offset - 12} to {path.stat().st_size - 1}"
        assert result.statistics.total.segments == 3
    assert reasons == [f"no whole record in {lost}"]
    assert result.counts["manifest"] == 1 and result.counts["index"] == 1


def test_a_truncated_shard_keeps_its_first_records(directory):
    path = directory / "train-0.tfrecord"
    os.truncate(path, path.stat().st_size - 5)
    result = verify.verify(directory)
    assert result.counts == {"shard": 1, "index": 1, "record": 1, "manifest": 1}
    assert "truncated" in result.defects[0].reason
    assert result.statistics.total.segments == 4


def test_bytes_after_the_last_record(directory):
    path = directory / "train-1.tfrecord"
    with open(path, "ab") as file:
        file.write(b"more")
    result = verify.verify(directory)
    assert result.counts == {"shard": 1, "index": 1, "record": 1}
    assert result.statistics.total.segments == 5


def test_missing_files(directory):
    (directory / "train-1.tfrecord").unlink()
    store.index_path(directory / "test-0.tfrecord").unlink()
    (directory / "clips.jsonl").unlink()
    assert {(kind, place) for kind, place, _ in found(directory)} == {
        ("shard", "train-1.tfrecord"),
        ("index", "test-0.tfrecord"),
        ("clips", str(directory)),
    }
    shutil.rmtree(directory)
    with pytest.raises(RecordError, match=r"has no manifest\.json; give the output"):
        verify.verify(directory)


def test_an_index_that_says_something_else(directory):
    path = directory / "train-0.tfrecord"
    index = store.read_index(path)
    one, two, three = index.entries
    wrong = (
        dataclasses.replace(one, meta=dataclasses.replace(one.meta, runs=((0, 9),))),
        dataclasses.replace(two, crc=two.crc ^ 1),
        three,
    )
    store.write_index(path, dataclasses.replace(index, entries=wrong))
    rows = found(directory)
    assert [(kind, place) for kind, place, _ in rows] == [
        ("manifest", "train-0.tfrecord"),
        ("index", "train-0.tfrecord, record 0"),
        ("index", "train-0.tfrecord, record 1"),
    ]
    assert "valid_frames, the index" in rows[0][2] and "another checksum" in rows[2][2]


def test_an_index_with_other_borders(directory):
    """Its own checksum is right and its records fill the file, but lie elsewhere."""
    path = directory / "train-0.tfrecord"
    index = store.read_index(path)
    one, two, three = index.entries
    moved = (
        dataclasses.replace(one, length=one.length - 8),
        dataclasses.replace(two, offset=two.offset - 8, length=two.length + 8),
        three,
    )
    store.write_index(path, dataclasses.replace(index, entries=moved))
    result = verify.verify(directory)
    assert result.counts == {"index": 3}
    assert result.statistics.total.segments == 5


def test_the_framing_is_that_of_tfrecord(directory):
    """The walk's idea of a record against the file format, read by hand."""
    data = (directory / "train-1.tfrecord").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    (entry,) = store.read_index(directory / "train-1.tfrecord").entries
    assert (12, length, len(data)) == (entry.offset, entry.length, length + 16)


def _clip(segments, **changes):
    """The two segments of one clip, the second changed."""
    one, two, _ = segments["train-0"]
    return {"train-0": [one, dataclasses.replace(two, **changes)]}


def test_segments_that_overlap_or_leave_a_gap(segments, tmp_path):
    two = segments["train-0"][1]
    for start, words in ((9, "frames 9 to 9 are stored twice"), (13, "frames 10 to 12 are miss")):
        # The context before it must be as long as the place in the clip demands.
        context = (np.zeros(min(3200, start * 640), np.int16), two.context[1])
        shards = _clip(segments, start=start, context=context)
        directory = write(tmp_path / str(start), shards)
        only(directory, "segments", "clip fake/clip1", words)
    dropped = {"clip1": {"dropped_segments": 1}}
    assert found(write(tmp_path / "dropped", shards, rows=dropped)) == []
    late = write(tmp_path / "late", {"train-0": [two]})
    only(late, "segments", "clip fake/clip1", "frames 0 to 9 are missing")


def test_context_that_is_not_the_neighbours_sound(segments, tmp_path):
    one, two, _ = segments["train-0"]
    wrong = dataclasses.replace(two, context=(two.context[0] + np.int16(1), two.context[1]))
    directory = write(tmp_path / "before", {"train-0": [one, wrong]})
    only(directory, "audio", "clip fake/clip1", "the context after the border at frame 10")
    wrong = dataclasses.replace(one, context=(one.context[0], one.context[1] + np.int16(1)))
    directory = write(tmp_path / "after", {"train-0": [wrong, two]})
    only(directory, "audio", "clip fake/clip1", "the context before the border at frame 10")
    wrong = dataclasses.replace(one, context=(one.context[0], one.context[1][:9]))
    directory = write(tmp_path / "short", {"train-0": [wrong, two]})
    only(directory, "audio", "clip fake/clip1", "9 samples of context")


def test_segments_of_a_clip_that_disagree(segments, tmp_path):
    two = segments["train-0"][1]
    shards = _clip(segments, info=dataclasses.replace(two.info, speaker="other"))
    only(write(tmp_path / "set", shards), "segments", "clip fake/clip1", "disagree on speaker")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"frames": 21}, "says 21 frames, the records hold 20"),
        ({"valid_frames": 20}, "says 20 valid_frames, the records hold 18"),
        ({"speaker": "x"}, "says speaker 'x', the record 'speaker1'"),
        ({"emotion": 3}, "says emotion 3, the record -1"),
    ],
)
def test_a_line_of_the_table_that_says_something_else(segments, tmp_path, row, words):
    directory = write(tmp_path / "set", _clip(segments), rows={"clip1": row})
    only(directory, "clips", "clip fake/clip1", words)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"dropped_segments": None}, "says None dropped_segments"),
        ({"dropped_segments": "1"}, "says '1' dropped_segments"),
        ({"dropped_segments": -1}, "says -1 dropped_segments"),
        ({"quality": None}, "quality None, which is no measurement"),
        ({"quality": {"level": "loud"}}, "quality {'level': 'loud'}, which is no"),
        ({"quality": {"level": float("nan")}}, "quality {'level': nan}, which is no"),
    ],
)
def test_a_line_of_the_table_with_other_types(segments, tmp_path, row, words):
    directory = write(tmp_path / "set", _clip(segments), rows={"clip1": row})
    only(directory, "clips", "clip fake/clip1", words)


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85"])
def test_a_name_with_a_line_end_of_unicode_is_one_line(make_segment, tmp_path, end):
    segment = make_segment(frames=1)
    info = dataclasses.replace(segment.info, clip=f"a{end}b", text=f"one{end}two")
    directory = write(tmp_path / "set", {"train-0": [dataclasses.replace(segment, info=info)]})
    path = directory / "clips.jsonl"
    row = json.loads(path.read_text())
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    assert found(directory) == []


def test_lines_of_the_table_too_few_too_many_or_broken(directory):
    path = directory / "clips.jsonl"
    lines = path.read_text().splitlines()
    extra = json.dumps(json.loads(lines[1]) | {"clip": "ghost"})
    path.write_text("\n".join([lines[0], lines[0], lines[1], extra, "{", "[1]"]))
    reasons = sorted(reason for kind, _, reason in found(directory) if kind == "clips")
    assert len(reasons) == 6
    for words in (
        "has clip fake/clip1 twice",
        "lacks clip fake/clip3",
        "lacks clip fake/clip4",
        "clip fake/ghost of clips.jsonl has no record",
        "line 5 of clips.jsonl is malformed",
        "line 6 of clips.jsonl is malformed",
    ):
        assert any(words in reason for reason in reasons), (words, reasons)


def test_a_manifest_that_says_something_else(segments, tmp_path):
    failed = (manifest.Failure("x", "no face"),)
    directory = write(
        tmp_path / "set", segments, clips=5, licences=("other",), failures=failed, dataset="fakes"
    )
    kinds = [kind for kind, _, _ in found(directory)]
    assert kinds.count("info") == 5  # every record is of another data set
    reasons = [reason for kind, _, reason in found(directory) if kind in ("manifest", "failures")]
    assert len(reasons) == 3
    for words in ("counts 5 clips, the records hold 4", "failures.jsonl is miss", "licence 'unkn"):
        assert any(words in reason for reason in reasons), (words, reasons)


def test_failures_are_counted_against_the_manifest(directory):
    made = manifest.read_manifest(directory)
    failed = (manifest.Failure("x", "no face"),)
    manifest.write_manifest(directory, dataclasses.replace(made, failures=failed))
    row = json.dumps({"clip": "x", "reason": "no face"})
    (directory / "failures.jsonl").write_text(f"{row}\n")
    assert found(directory) == []
    (directory / "failures.jsonl").write_text(f"{row}\n{row}\n")
    only(directory, "failures", str(directory), "2 rows, the manifest 1 failures")


def test_speakers_of_two_splits_are_a_note_or_a_defect(segments, tmp_path):
    test = segments["test-0"][0]
    known = dataclasses.replace(test, info=dataclasses.replace(test.info, speaker="speaker3"))
    directory = write(tmp_path / "set", {**segments, "test-0": [known]})
    result = verify.verify(directory)
    assert result.clean
    assert result.notes == ("splits test and train share 1 speaker (speaker3)",)
    only(directory, "speakers", str(directory), "(speaker3)", speakers_apart=True)


def test_notes_of_the_preparation_are_passed_on(segments, tmp_path):
    said = "3 of 9 listed clips are absent"
    directory = write(tmp_path / "set", segments, lineage={"notes": [said]})
    assert verify.verify(directory).notes == (said,)


@pytest.mark.parametrize("notes", [None, "text", [1], {"a": "b"}])
def test_notes_that_are_none(segments, tmp_path, notes):
    directory = write(tmp_path / "set", segments, lineage={"notes": notes})
    only(directory, "manifest", str(directory), "no list of sentences")


def test_offset_of_the_sound_is_a_weighted_median(segments, tmp_path):
    """A guess counts for nothing, a sure clip for more than two unsure ones."""
    measured = {
        "clip1": (-60.0, 0.9),
        "clip2": (20.0, 0.3),
        "clip3": (30.0, 0.3),
        "clip4": (500, 0),
    }
    rows = {
        clip: {"quality": {"av_offset_ms": ms, "av_confidence": sure}}
        for clip, (ms, sure) in measured.items()
    }
    result = verify.verify(write(tmp_path / "one", segments, rows=rows))
    offsets = result.statistics.offsets
    assert offsets is not None
    assert (offsets.all.ms, offsets.all.clips) == (-60, 3)
    assert [(name, offset.ms) for name, offset in offsets.farthest.items()] == [
        ("speaker1", -60),
        ("speaker3", 30),
        ("speaker2", 20),
    ]
    (note,) = result.notes
    assert note.startswith("the sound comes 60 ms before the mouth in the median of 3 clips")
    rows["clip1"]["quality"]["av_confidence"] = 0.5
    result = verify.verify(write(tmp_path / "two", segments, rows=rows))
    offsets = result.statistics.offsets
    assert offsets is not None and offsets.all.ms == 20 and result.notes == ()
    assert verify.verify(write(tmp_path / "none", segments)).statistics.offsets is None


def test_files_of_another_run_are_noted(directory):
    (directory / "train-9.tfrecord").write_bytes(b"old")
    (directory / ".manifest.json.tmp-12").write_bytes(b"")
    (note,) = verify.verify(directory).notes
    assert note == "2 files are not of the manifest: .manifest.json.tmp-12, train-9.tfrecord"


def test_many_defects_are_counted_and_the_first_listed(make_segment, tmp_path):
    segment = make_segment(frames=1)
    many = [
        dataclasses.replace(segment, info=dataclasses.replace(segment.info, clip=f"c{k}", level=7))
        for k in range(verify.KEPT + 5)
    ]
    result = verify.verify(write(tmp_path / "set", {"train-0": many}))
    assert result.counts == {"info": verify.KEPT + 5}
    assert len(result.defects) == verify.KEPT
    assert result.defects[-1].place == f"train-0.tfrecord, record {verify.KEPT - 1}"


def test_workers_change_nothing(directory):
    path = directory / "train-0.tfrecord"
    flip(path, store.read_index(path).entries[0].offset + 99)
    assert verify.verify(directory, workers=2) == verify.verify(directory)
