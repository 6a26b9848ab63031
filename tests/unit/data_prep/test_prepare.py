import concurrent.futures
import json
import shutil
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np
import pytest

from data_prep import datasets, prepare, segments, worker
from data_prep.datasets import folder
from talkface_jax.data import manifest, schema, store
from talkface_jax.errors import ConfigError, MediaError, RecordError, TalkfaceError
from talkface_jax.media.audio import read_clip_audio, to_int16
from talkface_jax.media.images import crop_resize, decode_jpeg
from talkface_jax.media.video import VideoWriter, open_video


def test_spans():
    assert segments.spans(0) == []
    assert segments.spans(125) == [(0, 125)]
    assert segments.spans(126) == [(0, 63), (63, 126)]
    for frames in (26, 250, 251, 999):
        cuts = segments.spans(frames)
        lengths = [b - a for a, b in cuts]
        assert [a for a, _ in cuts] == [0, *np.cumsum(lengths)[:-1]]
        assert sum(lengths) == frames
        assert max(lengths) <= 125
        assert max(lengths) - min(lengths) <= 1
    valid = np.ones(300, bool)
    valid[100:200] = False
    assert segments.usable_spans(valid) == [(0, 100), (200, 300)]
    assert segments.usable_spans(valid[:24]) == []


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
        shards=2,
        max_failures=3,
        progress=lambda *row: seen.append(row),
    )
    assert seen == [("prepare", k, 5) for k in range(1, 6)]
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
        "failures.jsonl",
        "folder-test-00000-of-00001.tfrecord",
        "folder-test-00000-of-00001.tfrecord.index.json",
        "folder-train-00000-of-00002.tfrecord",
        "folder-train-00000-of-00002.tfrecord.index.json",
        "folder-train-00001-of-00002.tfrecord",
        "folder-train-00001-of-00002.tfrecord.index.json",
        "manifest.json",
    ]


def test_manifest(prepared, raw):
    out, _ = prepared
    made = manifest.read_manifest(out)
    manifest.check_hashes(out, made.shards)
    assert made.splits == ("test", "train")
    assert made.licences == ("US government work",)
    assert made.options == {"face": "speaker", "shards": 2}
    assert made.versions["av"] != "unknown"
    rows = [json.loads(line) for line in (out / "clips.jsonl").read_text().splitlines()]
    assert rows[0]["source_sha256"] == manifest.file_sha256(raw / "obama" / "iran.mp4")
    assert rows[0]["video"] == "obama/iran.mp4"


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


def test_number_of_workers_changes_no_byte(prepared, raw, tmp_path):
    out, _ = prepared
    prepare.prepare(
        "folder", raw=raw, out=tmp_path, face="speaker", shards=2, workers=2, max_failures=3
    )
    for path in sorted(out.iterdir()):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_finished_set_is_left_alone(prepared, raw, monkeypatch):
    out, summary = prepared
    monkeypatch.setattr(worker, "prepare_clip", None)
    again = prepare.prepare("folder", raw=raw, out=out, face="speaker", shards=2, max_failures=3)
    assert again == summary
    with pytest.raises(ConfigError, match="other clips or options"):
        prepare.prepare("folder", raw=raw, out=out, face="largest", shards=2, max_failures=3)


def test_restart_continues_with_the_missing_clips(prepared, raw, tmp_path, monkeypatch):
    """A run that dies on its second good clip keeps the first."""
    out, _ = prepared
    options = {"raw": raw, "out": tmp_path, "face": "speaker", "shards": 2, "max_failures": 3}
    true_prepare, made = worker._prepare, []

    def dies(task, tracker):
        if task.info.clip == "second":
            raise RecordError("disk full")
        return true_prepare(task, tracker)

    monkeypatch.setattr(worker, "_prepare", dies)
    with pytest.raises(RecordError, match="disk full"):
        prepare.prepare("folder", **options)
    assert not (tmp_path / "manifest.json").exists()
    assert len(list((tmp_path / ".parts").glob("*.tfrecord"))) == 1

    def counts(task, tracker):
        made.append(task.info.clip)
        return true_prepare(task, tracker)

    monkeypatch.setattr(worker, "_prepare", counts)
    prepare.prepare("folder", **options)
    assert "obama/iran" not in made
    assert "second" in made
    name = "folder-train-00001-of-00002.tfrecord"
    assert (tmp_path / name).read_bytes() == (out / name).read_bytes()


def test_damaged_part_is_made_again(prepared, raw, tmp_path, monkeypatch):
    out, _ = prepared
    options = {"raw": raw, "out": tmp_path, "face": "speaker", "shards": 2, "max_failures": 3}

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(prepare, "_join", full)
        with pytest.raises(RecordError, match=r"No space left on device.*free disk space"):
            prepare.prepare("folder", **options)
    part = max((tmp_path / ".parts").glob("*.tfrecord"), key=lambda path: path.stat().st_size)
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    (tmp_path / "folder-train-00000-of-00009.tfrecord").touch()  # of a run with other --shards
    with pytest.raises(RecordError, match="checksum is wrong"):
        prepare.prepare("folder", **options)
    prepare.prepare("folder", **options)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in out.iterdir())
    name = "folder-train-00001-of-00002.tfrecord"
    assert (tmp_path / name).read_bytes() == (out / name).read_bytes()


def test_too_many_failures(raw, tmp_path):
    bad = tmp_path / "raw"
    bad.mkdir()
    shutil.copy(raw / "second.mp4", bad)
    shutil.copy(raw / "text.mp4", bad)
    with pytest.raises(TalkfaceError, match=r"1 of 2 clips.*text file.*raise --max-failures\.$"):
        prepare.prepare("folder", raw=bad, out=tmp_path / "out", face="largest")
    assert json.loads((tmp_path / "out" / "failures.jsonl").read_text())["clip"] == "text"
    assert not (tmp_path / "out" / "manifest.json").exists()
    (bad / "second.mp4").unlink()
    with pytest.raises(TalkfaceError, match="1 of 1 clips"):
        prepare.prepare("folder", raw=bad, out=tmp_path / "out", max_failures=9)


def test_bug_in_one_clip_is_a_row(raw, tmp_path, monkeypatch):
    def breaks(*_, **__):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(worker, "track_video", breaks)
    (clip,) = [c for c in folder.list_clips(raw) if c.clip == "second"]
    unused: Any = None
    outcome = worker.prepare_clip(
        worker.ClipTask(clip, str(raw), str(tmp_path), None), tracker=unused
    )
    assert outcome.reason == "ZeroDivisionError: oops"


def test_dead_worker(raw, tmp_path, monkeypatch):
    """A worker that the system kills ends the run with a sentence, not a traceback."""

    class Pool(concurrent.futures.ThreadPoolExecutor):
        def __init__(self, workers, **_):
            super().__init__(workers)

    def dies(task):
        raise BrokenProcessPool("killed")

    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(worker, "run", dies)
    with pytest.raises(TalkfaceError, match=r"fewer than --workers=2 \(finished clips are kept\)"):
        prepare.prepare("folder", raw=raw, out=tmp_path, workers=2)


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
    with pytest.raises(
        ConfigError, match="--dataset=nothing is unknown; use one of: folder, synthetic"
    ):
        prepare.prepare("nothing", raw=raw, out=tmp_path)
    with pytest.raises(ConfigError, match="at least 1"):
        prepare.prepare("folder", raw=raw, out=tmp_path, workers=0)
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match="cannot be written"):
        prepare.prepare("folder", raw=raw, out=tmp_path / "file" / "out", face="largest")


def test_every_adapter_loads():
    for name in datasets.ADAPTERS:
        assert callable(datasets.get_adapter(name).list_clips)


def test_folder_defaults(tmp_path):
    for name in (
        "b/c/x.mp4",
        "b/y.MOV",
        "z.avi",
        "twin.mp4",
        "twin.mkv",
        ".hidden.mp4",
        "note.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    clips = folder.list_clips(tmp_path)
    assert [(c.clip, c.speaker) for c in clips] == [
        ("b/c/x", "b"),
        ("b/y", "b"),
        ("twin.mkv", "twin.mkv"),
        ("twin.mp4", "twin.mp4"),
        ("z", "z"),
    ]
    assert {(c.split, c.emotion, c.level, c.licence) for c in clips} == {
        ("train", -1, -1, "unknown")
    }


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("video\na.mp4\n", "unknown column 'video'"),
        ("speaker\nme\n", "no column 'path'"),
        ("path\nb.mp4\n", r"line 2: there is no file 'b\.mp4'"),
        ("path,audio\na.mp4,b.wav\n", r"line 2: there is no file 'b\.wav'"),
        ("path,emotion\na.mp4,bored\n", "emotion 'bored' is unknown"),
        ("path,level\na.mp4,4\n", "level '4' is unknown"),
        ("path,split\na.mp4,../x\n", "split '../x' is no name"),
    ],
)
def test_folder_metadata_errors(tmp_path, table, words):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "metadata.csv").write_text(table)
    with pytest.raises(TalkfaceError, match=words):
        folder.list_clips(tmp_path)


def test_folder_without_videos(tmp_path):
    with pytest.raises(MediaError, match="holds no video"):
        folder.list_clips(tmp_path)
    with pytest.raises(MediaError, match="no folder"):
        folder.list_clips(tmp_path / "none")
