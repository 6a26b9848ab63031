import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from data_prep import job as jobs
from data_prep import prepare, segments, worker
from data_prep.gates import Gates
from data_prep.quality import Quality
from talkface_jax.data import manifest, schema, store
from talkface_jax.errors import ConfigError, FaceError, RecordError, TalkfaceError
from talkface_jax.media.audio import read_clip_audio, to_int16
from talkface_jax.media.images import crop_resize, decode_jpeg
from talkface_jax.media.video import VideoWriter, open_video
from talkface_jax.records import segment_spans


def test_spans():
    assert segment_spans(0) == []
    assert segment_spans(125) == [(0, 125)]
    assert segment_spans(126) == [(0, 63), (63, 126)]
    for frames in (26, 250, 251, 999):
        cuts = segment_spans(frames)
        lengths = [b - a for a, b in cuts]
        assert [a for a, _ in cuts] == [0, *np.cumsum(lengths)[:-1]]
        assert sum(lengths) == frames
        assert max(lengths) <= 125
        assert max(lengths) - min(lengths) <= 1
    valid = np.ones(300, bool)
    valid[100:200] = False
    assert segments.usable_spans(valid) == [(0, 100), (200, 300)]
    assert segments.usable_spans(valid[:24]) == []


NO_VAL = prepare.ValSplit(share=0.0)


@pytest.fixture(scope="module")
def raw(tmp_path_factory, data_dir):
    """The real clip twice (train and test), and three clips that cannot be used."""
    root = tmp_path_factory.mktemp("raw")
    (root / "obama").mkdir()
    shutil.copy(data_dir / "obama_speech.mp4", root / "obama" / "iran.mp4")
    with open_video(data_dir / "obama_speech.mp4") as video:
        frames = [video[i] for i in range(40)]
    sound = read_clip_audio(data_dir / "obama_speech.mp4", None, 40)
    for name, count, audio in (("short", 20, sound), ("mute", 30, None), ("second", 40, sound)):
        with VideoWriter(root / f"{name}.mp4", size=(240, 320), audio=audio) as writer:
            for frame in frames[:count]:
                writer.write(frame)
    (root / "text.mp4").write_text("no video\n" * 50)
    (root / "metadata.csv").write_text(
        "path,split,emotion,level,speaker,licence\n"
        "obama/iran.mp4,train,neutral,1,Obama,US government work\n"
        "second.mp4,test,,,Obama,US government work\n"
    )
    return root


@pytest.fixture(scope="module")
def prepared(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "set"
    seen = []
    summary = prepare.prepare(
        "folder",
        raw=raw,
        out=out,
        face="speaker",
        val_split=NO_VAL,
        shards=2,
        max_failures=3,
        progress=lambda *row: seen.append(row),
    )
    assert {(what, total) for what, _, total in seen} == {("prepare", 5)}
    done = [k for _, k, _ in seen]
    assert done == sorted(done)
    assert done[-1] == 5
    return out, summary


def test_summary(prepared):
    out, summary = prepared
    assert (summary.clips, summary.failures, summary.segments) == (2, 3, 3)
    assert summary.frames == 219 + 40
    assert 0.95 * summary.frames < summary.valid_frames <= summary.frames
    assert summary.splits == {"test": 1, "train": 1}
    assert "2 clips (test 1, train 1) in 3 segments" in str(summary)
    assert sorted(path.name for path in out.iterdir()) == [
        "clips.jsonl",
        "dataset_info.json",
        "failures.jsonl",
        "features.json",
        "folder-test.tfrecord-00000-of-00001",
        "folder-test.tfrecord-00000-of-00001.index.json",
        "folder-train.tfrecord-00000-of-00002",
        "folder-train.tfrecord-00000-of-00002.index.json",
        "folder-train.tfrecord-00001-of-00002",
        "folder-train.tfrecord-00001-of-00002.index.json",
        "manifest.json",
    ]


def test_manifest(prepared, raw):
    out, _ = prepared
    made = manifest.read_manifest(out)
    manifest.check_hashes(out, made.shards)
    assert made.splits == ("test", "train")
    assert made.licences == ("US government work",)
    assert made.options == {
        "face": "speaker",
        "gates": dataclasses.asdict(Gates()),
        "shards": 2,
        "protocol": "",
        "speaker_split": None,
        "val_split": {"share": 0.0, "seed": 0},
    }
    assert made.versions["av"] != "unknown"
    rows = [json.loads(line) for line in (out / "clips.jsonl").read_text().splitlines()]
    assert rows[0]["source_sha256"] == manifest.file_sha256(raw / "obama" / "iran.mp4")
    assert rows[0]["video"] == "obama/iran.mp4"
    measured = Quality(**rows[0]["quality"])
    assert measured.face_share > 0.95
    assert 40 < measured.face_size < 70
    assert measured.speech_share > 0.5


def test_failures_have_reasons(prepared):
    out, _ = prepared
    rows = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    reasons = {row["clip"]: row["reason"] for row in rows}
    assert set(reasons) == {"mute", "short", "text"}
    assert "no audio track" in reasons["mute"]
    assert "20 frames at 25 fps, fewer than 25" in reasons["short"]
    assert "text file" in reasons["text"]


def _segments(out, split):
    shards = [out / shard.name for shard in manifest.read_manifest(out).of_split(split)]
    source = store.ShardSource(shards)
    found = [schema.decode(source[i]) for i in range(len(source))]
    metas = source.metas()
    source.close()
    return found, metas


def test_records_hold_the_clip(prepared, raw):
    """Sound, crops and landmarks of the records are those of the raw clip, on one clock."""
    out, _ = prepared
    found, metas = _segments(out, "train")
    assert [len(s) for s in found] == [109, 110]
    assert [s.start for s in found] == [0, 109]
    assert [m.frames for m in metas] == [109, 110]
    info = found[0].info
    assert (info.dataset, info.clip, info.speaker) == ("folder", "obama/iran", "Obama")
    assert (info.emotion, info.level) == (5, 1)
    assert found[0].source_fps == pytest.approx(12)
    assert found[0].source_rate == 24_000
    sound = to_int16(read_clip_audio(raw / "obama" / "iran.mp4", None, 219))
    np.testing.assert_array_equal(np.concatenate([s.audio for s in found]), sound)
    border = 109 * 640
    np.testing.assert_array_equal(found[0].context[1], sound[border : border + 3200])
    np.testing.assert_array_equal(found[1].context[0], sound[border - 3200 : border])
    assert len(found[0].context[0]) == len(found[1].context[1]) == 0
    with open_video(raw / "obama" / "iran.mp4") as video:
        for segment, t in ((found[0], 7), (found[1], 100)):
            crop = crop_resize(video[segment.start + t], segment.box[t], (256, 256))
            stored = decode_jpeg(segment.frames[t])
            assert np.abs(stored.astype(float) - crop).mean() < 3
    for segment in found:
        points = segment.landmarks[segment.valid][..., :2]
        assert points.min() > 0
        assert points.max() < 1
        width = np.ptp(points[..., 0], axis=-1)
        assert 0.3 < width.min() < width.max() < 0.8


def test_finished_set_is_left_alone(prepared, raw, monkeypatch):
    out, summary = prepared
    monkeypatch.setattr(worker, "prepare_clip", None)
    monkeypatch.setattr(jobs, "record_versions", lambda: {"mediapipe": "another"})
    again = prepare.prepare(
        "folder", raw=raw, out=out, face="speaker", shards=2, max_failures=3, val_split=NO_VAL
    )
    assert again == summary
    assert "not read again, which `talkface verify" in str(again)
    assert "verify" not in str(summary)
    with pytest.raises(ConfigError, match="other clips or options"):
        prepare.prepare(
            "folder", raw=raw, out=out, face="largest", shards=2, max_failures=3, val_split=NO_VAL
        )


@pytest.mark.parametrize(
    ("name", "edit", "words"),
    [
        (
            "manifest.json",
            lambda data: data[:-50],
            "cannot be read .*; remove the folder {out} and",
        ),
        (
            "folder-test.tfrecord-00000-of-00001",
            lambda data: data[:-50],
            "; remove the folder {out} ",
        ),
        ("folder-train.tfrecord-00001-of-00002.index.json", None, "has no index .*; rebuild its"),
        ("folder-train.tfrecord-00001-of-00002.index.json", lambda data: b"", "cannot be used: "),
    ],
)
def test_damage_of_a_finished_set_is_told_with_what_mends_it(
    prepared, raw, tmp_path, name, edit, words
):
    out = shutil.copytree(prepared[0], tmp_path / "set")
    if edit:
        (out / name).write_bytes(edit((out / name).read_bytes()))
    else:
        (out / name).unlink()
    before = sorted(path.name for path in out.iterdir())
    with pytest.raises(RecordError, match=words.format(out=re.escape(str(out)))):
        prepare.prepare(
            "folder", raw=raw, out=out, face="speaker", shards=2, max_failures=3, val_split=NO_VAL
        )
    assert sorted(path.name for path in out.iterdir()) == before


def test_too_many_failures(raw, tmp_path):
    bad = tmp_path / "raw"
    bad.mkdir()
    shutil.copy(raw / "second.mp4", bad)
    shutil.copy(raw / "text.mp4", bad / "te\u2028xt.mp4")
    with pytest.raises(TalkfaceError, match=r"1 of 2 clips.*text file.*raise --max-failures\.$"):
        prepare.prepare("folder", raw=bad, out=tmp_path / "out", face="largest")
    assert json.loads((tmp_path / "out" / "failures.jsonl").read_text())["clip"] == "te\u2028xt"
    assert not (tmp_path / "out" / "manifest.json").exists()
    (bad / "second.mp4").unlink()
    with pytest.raises(TalkfaceError, match="1 of 1 clips"):
        prepare.prepare("folder", raw=bad, out=tmp_path / "out", max_failures=9)


def test_bug_in_one_clip_is_a_row(raw, tmp_path, monkeypatch):
    def breaks(*_, **__):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(worker, "track_video", breaks)
    only = tmp_path / "raw"
    only.mkdir()
    shutil.copy(raw / "second.mp4", only)
    with pytest.raises(TalkfaceError, match=r"second \(ZeroDivisionError: oops\)"):
        prepare.prepare("folder", raw=only, out=tmp_path / "out")


def test_two_faces_without_a_choice(raw, tmp_path):
    only = tmp_path / "raw"
    shutil.copytree(raw / "obama", only / "obama")
    with pytest.raises(TalkfaceError, match="2 faces were found; choose one with --face"):
        prepare.prepare("folder", raw=only, out=tmp_path / "out")


def test_clip_without_a_face(raw, tmp_path):
    blank = np.zeros((64, 64, 3), np.uint8)
    with VideoWriter(
        tmp_path / "a.mp4", size=(64, 64), audio=np.full(9, 0.1, np.float32)
    ) as writer:
        for _ in range(30):
            writer.write(blank)
    with pytest.raises(TalkfaceError, match=r"a\.mp4: no face was found"):
        prepare.prepare("folder", raw=tmp_path, out=tmp_path / "out", face="largest")


def test_arguments(raw, tmp_path):
    with pytest.raises(ConfigError, match="--dataset=nothing is unknown; use one of: folder, "):
        prepare.prepare("nothing", raw=raw, out=tmp_path)
    with pytest.raises(ConfigError, match="at least 1"):
        prepare.prepare("folder", raw=raw, out=tmp_path, workers=0)
    with pytest.raises(ConfigError, match="unknown --oops"):
        prepare.prepare("folder", raw=raw, out=tmp_path, beam_options=["--oops"])
    with pytest.raises(FaceError, match="--face=bob is no choice; use speaker"):
        prepare.prepare("folder", raw="nowhere", out=tmp_path, face="bob")
    with pytest.raises(ConfigError, match=r"--raw and --out are both .*; give another --out"):
        prepare.prepare("folder", raw=raw, out=f"{raw}/obama/..")
    with pytest.raises(ConfigError, match="--raw and --out are both"):
        prepare.prepare("folder", raw="gs://b/raw", out="gs://b/raw/")
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match="cannot be written"):
        prepare.prepare("folder", raw=raw, out=tmp_path / "file" / "out", face="largest")


@pytest.mark.parametrize(
    ("limit", "clips", "allowed"),
    [(0, 9, 0), (3, 9, 3), ("3", 9, 3), ("5%", 99, 4), ("29%", 100, 29)],
)
def test_allowed_failures(limit, clips, allowed):
    assert prepare.allowed_failures(limit, clips) == allowed


@pytest.mark.parametrize("limit", [-1, "-1%", "101%", "%", "many", "nan%"])
def test_allowed_failures_that_are_none(limit):
    with pytest.raises(ConfigError, match=f"--max-failures={limit} is neither"):
        prepare.allowed_failures(limit, 9)
