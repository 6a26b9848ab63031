import dataclasses
import json
import pickle
import shutil

import numpy as np
import pytest

from data_prep import datasets, places, prepare, segments, shards, worker
from data_prep import job as jobs
from data_prep.datasets import Listing
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
        "speaker_split": None,
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
    again = prepare.prepare("folder", raw=raw, out=out, face="speaker", shards=2, max_failures=3)
    assert again == summary
    with pytest.raises(ConfigError, match="other clips or options"):
        prepare.prepare("folder", raw=raw, out=out, face="largest", shards=2, max_failures=3)


@pytest.fixture(scope="module")
def small(tmp_path_factory, raw):
    """Three short clips and one that cannot be used; two clips are the training split."""
    root = tmp_path_factory.mktemp("small")
    for name in ("one", "two", "held out"):
        shutil.copy(raw / "second.mp4", root / f"{name}.mp4")
    shutil.copy(raw / "text.mp4", root)
    (root / "metadata.csv").write_text("path,split\nheld out.mp4,test\n")
    return {"raw": root, "face": "speaker", "shards": 2, "max_failures": 1}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, small):
    """The small set, prepared in one go."""
    out = tmp_path_factory.mktemp("whole")
    prepare.prepare("folder", out=out, **small)
    return out


def test_restart_continues_with_the_missing_clips(small, whole, tmp_path, monkeypatch):
    """A run that dies on its last clip keeps the others; failed clips are tried again."""
    true_prepare, made = worker._prepare, []

    def dies(job, task, tracker):
        if task.info.clip == "two":
            raise RecordError("disk full")
        return true_prepare(job, task, tracker)

    monkeypatch.setattr(worker, "_prepare", dies)
    with pytest.raises(RecordError, match=r"^disk full$"):
        prepare.prepare("folder", out=tmp_path, **small)
    assert not (tmp_path / "manifest.json").exists()
    assert len(list((tmp_path / ".parts").glob("*.tfrecord"))) == 2

    def counts(job, task, tracker):
        made.append(task.info.clip)
        return true_prepare(job, task, tracker)

    monkeypatch.setattr(worker, "_prepare", counts)
    prepare.prepare("folder", out=tmp_path, **small)
    assert sorted(made) == ["text", "two"]
    _assert_same(tmp_path, whole)


def test_killed_join_continues_and_makes_a_damaged_part_again(small, whole, tmp_path, monkeypatch):
    true_write = shards.write_shard

    def full(job, shard, *, plan):
        if shard.split == "train":
            raise RecordError("no space left; free some")
        true_write(job, shard, plan=plan)

    with monkeypatch.context() as patch:
        patch.setattr(shards, "write_shard", full)
        with pytest.raises(RecordError, match=r"^no space left; free some$"):
            prepare.prepare("folder", out=tmp_path, **small)
    # The test split is joined and its part gone; those of the training split are still needed.
    part, _ = (tmp_path / ".parts").glob("*.tfrecord")
    finished = tmp_path / "folder-test.tfrecord-00000-of-00001"
    before = finished.stat().st_mtime_ns
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    (tmp_path / "folder-train.tfrecord-00000-of-00009").touch()  # of a run with other --shards
    # Of a run that was killed while it wrote a shard.
    (tmp_path / ".folder-train.tfrecord-00000-of-00002.tmp-7").write_bytes(b"half")
    (tmp_path / ".features.json.tmp-7").touch()
    with pytest.raises(RecordError, match="checksum is wrong"):
        prepare.prepare("folder", out=tmp_path, **small)
    prepare.prepare("folder", out=tmp_path, **small)
    assert finished.stat().st_mtime_ns == before
    _assert_same(tmp_path, whole)


def _assert_same(one, other):
    """Two prepared directories hold the same files with the same bytes."""
    names = sorted(path.name for path in other.iterdir())
    assert sorted(path.name for path in one.iterdir()) == names
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_parts_of_other_tools_do_not_come_into_the_set(small, tmp_path, monkeypatch):
    """A run that was killed goes on with another mediapipe: no part and no plan is taken over."""
    seen = []

    def look(job, **_):
        seen.append((job, {task.key for task in jobs.read_tasks(job)}))
        if len(seen) == 1:
            shards.write_plan(job, shards.Plan(job.keys, (), {}))
        raise RecordError("killed")

    monkeypatch.setattr("data_prep.pipeline.run", look)
    for versions in ({"mediapipe": "one"}, {"mediapipe": "one"}, {"mediapipe": "another"}):
        monkeypatch.setattr(jobs, "record_versions", lambda versions=versions: versions)
        with pytest.raises(RecordError, match=r"^killed$"):
            prepare.prepare("folder", out=tmp_path, **small)
    (first, made), (again, wanted), (other, missing) = seen
    assert wanted == made
    assert not missing & made
    assert shards.read_plan(again) is not None
    assert shards.read_plan(other) is None
    assert first.fingerprint == other.fingerprint  # a finished set is still the same


def test_second_run_into_one_folder_is_refused(small, tmp_path):
    work = tmp_path / "out" / ".parts"
    with places.locked(str(work)) as alone:
        assert alone
        with pytest.raises(
            ConfigError, match=r"another `talkface prepare` is writing to \S+/out; w"
        ):
            prepare.prepare("folder", out=tmp_path / "out", **small)
        assert [path.name for path in work.iterdir()] == ["lock"]
        shutil.rmtree(work)  # as at the end of a run
        with places.locked(str(work)) as another:
            assert another
            assert (work / "lock").exists()


def test_thousands_of_problems_are_no_part_of_the_pipeline(small, tmp_path, monkeypatch):
    """Dataflow takes pipelines of 10 MB; every step carries the job."""
    problems = tuple(manifest.Failure(f"clip {i}", "odd\u2028; mend it") for i in range(9_999))
    jobs_seen = []

    class Adapter:
        def list_clips(self, tree):
            return Listing((), ("a note",), problems)

    def look(job, **_):
        jobs_seen.append(job)
        assert jobs.read_listing(job) == (["a note"], list(problems))
        raise RecordError("enough")

    monkeypatch.setattr(datasets, "get_adapter", lambda _: Adapter())
    monkeypatch.setattr("data_prep.pipeline.run", look)
    with pytest.raises(RecordError, match=r"^enough$"):
        prepare.prepare("folder", out=tmp_path, **small)
    assert len(pickle.dumps(jobs_seen)) < 10_000


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
