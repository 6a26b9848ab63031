"""A preparation that was stopped, and one that finds another at work, or parts of others."""

import pickle
import shutil

import pytest

from data_prep import datasets, places, prepare, shards, worker
from data_prep import job as jobs
from data_prep.datasets import Listing
from talkface_jax.data import manifest
from talkface_jax.errors import ConfigError, RecordError
from talkface_jax.media.audio import read_clip_audio
from talkface_jax.media.video import VideoWriter, open_video


@pytest.fixture(scope="module")
def small(tmp_path_factory, data_dir):
    """Three short clips and one that cannot be used; two clips are the training split."""
    root = tmp_path_factory.mktemp("small")
    with open_video(data_dir / "obama_speech.mp4") as video:
        frames = [video[i] for i in range(40)]
    sound = read_clip_audio(data_dir / "obama_speech.mp4", None, 40)
    with VideoWriter(root / "one.mp4", size=(240, 320), audio=sound) as writer:
        for frame in frames:
            writer.write(frame)
    for name in ("two", "held out"):
        shutil.copy(root / "one.mp4", root / f"{name}.mp4")
    (root / "text.mp4").write_text("no video\n" * 50)
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
