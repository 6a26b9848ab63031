"""What real raw data does to a preparation: every fault once, in one prepared set."""

import errno
import json
import os
import re
import shutil
import tempfile

import numpy as np
import pytest

from data_prep import prepare, quality
from data_prep.gates import Gates
from data_prep.quality import Quality
from talkface_jax.data import manifest, schema, store
from talkface_jax.errors import FaceError, MediaError, RecordError, TalkfaceError
from talkface_jax.media.audio import read_clip_audio, write_wav
from talkface_jax.media.tracker import FaceTracker
from talkface_jax.media.video import VideoWriter, open_visual

# The last three end a line for Python, and not for JSON.
ODD = 'it\'s a "ü 日本" name \x85\u2028\u2029 of a file'
GOOD = ("a/same", "b/same", ODD, "long sound", "lost")
REASONS = {
    "empty": (r"is empty \(0 bytes\)", "copy or download it again"),
    "mute": ("has no audio track", "give a file with sound"),
    "silent": ("its sound is silent", "lower --min-level"),
    "truncated": ("truncated", "copy or download it again"),
    "two people": ("2 faces were found", "choose one with --face"),
}


@pytest.fixture(scope="module")
def speech(data_dir):
    """Four seconds of a man who speaks, from where he begins."""
    return read_clip_audio(data_dir / "obama_speech.mp4", None, 125)[16_000:]


@pytest.fixture(scope="module")
def film(data_dir, speech):
    """Writes frames of a portrait (False: nobody) with that speech, or without a track."""
    with open_visual(data_dir / "astronaut.jpg") as image:
        portrait = np.ascontiguousarray(image[0][:256, 96:352])

    def write(path, seen, *, people=1, sound=speech):
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = np.concatenate([portrait] * people, 1)
        with VideoWriter(path, size=picture.shape[:2], audio=sound) as writer:
            for there in seen:
                writer.write(picture if there else np.zeros_like(picture))

    return write


@pytest.fixture(scope="module")
def raw(tmp_path_factory, film, data_dir, speech):
    """All faults of clips beside good clips."""
    root = tmp_path_factory.mktemp("faulty raw")
    seen = [True] * 25
    for name in ("a/same", "b/same", ODD, "long sound"):
        film(root / f"{name}.mp4", seen)
    film(root / "lost.mp4", [*seen, *[False] * 30, *seen])
    film(root / "two people.mp4", seen, people=2)
    film(root / "mute.mp4", seen, sound=None)
    film(root / "silent.mp4", seen, sound=np.full(16_000, 1e-5, np.float32))
    whole = (data_dir / "obama_speech.mp4").read_bytes()
    (root / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (root / "empty.mp4").touch()
    write_wav(root / "long.wav", speech[: 3 * 16_000])
    (root / "metadata.csv").write_text("path,audio\nlong sound.mp4,long.wav\n")
    return root


@pytest.fixture(scope="module")
def prepared(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared faults")
    summary = prepare.prepare(
        "folder", raw=raw, out=out, gates=Gates(min_face_share=0.5), max_failures="50%"
    )
    return out, summary


def _segments(out):
    shards = [out / shard.name for shard in manifest.read_manifest(out).shards]
    source = store.ShardSource(shards)
    found = [schema.decode(source[i]) for i in range(len(source))]
    source.close()
    return {segment.info.clip: segment for segment in found}


def test_each_bad_clip_is_a_row_with_its_reason(prepared):
    out, summary = prepared
    assert (summary.clips, summary.failures) == (len(GOOD), len(REASONS))
    rows = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert [row["clip"] for row in rows] == sorted(REASONS)
    for row in rows:
        what, remedy = REASONS[row["clip"]]
        assert re.search(f"{what}.*{remedy}", row["reason"]), row
        assert f"{row['clip']}.mp4" in row["reason"]


def test_names_are_kept_as_they_are(prepared):
    """Equal names in different folders, spaces, quotes, unicode."""
    out, _ = prepared
    assert set(_segments(out)) == set(GOOD)
    rows = [json.loads(line) for line in (out / "clips.jsonl").read_text("utf-8").split("\n")[:-1]]
    assert [row["clip"] for row in rows] == sorted(GOOD)
    assert f"{ODD}.mp4" in [row["video"] for row in rows]


def test_sound_that_outlasts_the_video_is_cut(prepared, speech):
    """By two seconds: sound and frames still begin together."""
    out, _ = prepared
    segment = _segments(out)["long sound"]
    assert len(segment) == 25
    assert len(segment.audio) == 25 * 640
    assert len(segment.context[1]) == 0
    np.testing.assert_allclose(segment.audio / 32768, speech[: 25 * 640], atol=2e-4)


def test_lost_face_is_marked_and_counts_against_the_clip(prepared):
    out, _ = prepared
    segment = _segments(out)["lost"]
    assert len(segment) == 80
    np.testing.assert_array_equal(np.flatnonzero(~segment.valid), np.arange(25, 55))
    assert not segment.landmarks[25:55].any()
    rows = [json.loads(line) for line in (out / "clips.jsonl").read_text().split("\n")[:-1]]
    (row,) = [row for row in rows if row["clip"] == "lost"]
    assert (row["frames"], row["valid_frames"]) == (80, 50)
    with pytest.raises(FaceError, match=r"found in 62\.5% of the frames, fewer than 90\.0%"):
        quality.check(Quality(**row["quality"]), Gates(), name="lost")


@pytest.fixture
def one_clip(raw, tmp_path):
    """A raw folder with one good clip."""
    folder = tmp_path / "one"
    folder.mkdir()
    shutil.copy(raw / "a" / "same.mp4", folder)
    return folder


def test_full_disk_ends_the_run_with_one_sentence(one_clip, tmp_path, monkeypatch, capfd, caplog):
    true_sync = os.fsync

    def full(descriptor):
        if os.fstat(descriptor).st_size > 100_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        true_sync(descriptor)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            RecordError, match=r"^[^\n<]*No space left on device\); free disk space[^\n>]*$"
        ):
            prepare.prepare("folder", raw=one_clip, out=out)
    printed = capfd.readouterr()
    assert (printed.out, printed.err, caplog.records) == ("", "", [])
    assert not (out / "manifest.json").exists()
    assert not (out / "failures.jsonl").exists()  # the clip is not to blame
    # Beam's own names of its local runners mean ours, which needs no download.
    options = ["--runner=direct"]
    assert prepare.prepare("folder", raw=one_clip, out=out, beam_options=options).clips == 1


def test_full_temporary_disk_is_not_the_clip_s_fault(one_clip, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("data_prep.worker.read_clip_audio", full)
    with pytest.raises(RecordError, match=r"same cannot be prepared here \(No space left"):
        prepare.prepare("folder", raw=one_clip, out=tmp_path / "out")


def test_unreadable_folder_is_named(one_clip, tmp_path, monkeypatch):
    secret = one_clip / "secret"
    secret.mkdir()
    true_scan = os.scandir

    def refuses(path="."):
        if os.fspath(path) == str(secret):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(secret))
        return true_scan(path)

    monkeypatch.setattr(os, "scandir", refuses)
    with pytest.raises(MediaError, match=r"secret cannot be listed \(Permission denied\); give"):
        prepare.prepare("folder", raw=one_clip, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_library_ends_the_run(one_clip, tmp_path, monkeypatch):
    def missing():
        raise TalkfaceError("the face tracker needs the system library libEGL.so.1; run it")

    monkeypatch.setattr("data_prep.pipeline.FaceTracker", missing)
    with pytest.raises(TalkfaceError, match=r"^the face tracker needs .* run it$"):
        prepare.prepare("folder", raw=one_clip, out=tmp_path / "out")


def test_tracker_without_a_disk_is_not_blamed_on_mediapipe(monkeypatch):
    def full(**_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(TalkfaceError, match=r"started here \(No space left on device\); free disk"):
        FaceTracker()


def test_split_name_that_tfds_reserves_is_refused_first(one_clip, tmp_path):
    (one_clip / "metadata.csv").write_text("path,split\nsame.mp4,all\n")
    with pytest.raises(RecordError, match=r"'all' is none that TensorFlow Datasets reads; use"):
        prepare.prepare("folder", raw=one_clip, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_splits_that_share_no_speaker(raw, prepared, tmp_path, monkeypatch):
    """Two speakers, one split each; another split is another data set."""
    folder = tmp_path / "two"
    for name in ("a", "b"):
        shutil.copytree(raw / name, folder / name)
    split = prepare.SpeakerSplit(test=0.5, seed=3)
    out = tmp_path / "out"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(temporary))
        summary = prepare.prepare("folder", raw=folder, out=out, speaker_split=split)
    assert not list(temporary.iterdir())  # Beam makes a folder for each pipeline
    assert summary.splits == {"test": 1, "train": 1}
    assert manifest.read_manifest(out).options["speaker_split"] == {
        "test": 0.5,
        "val": None,
        "seed": 3,
    }
    with pytest.raises(TalkfaceError, match="other clips or options"):
        prepare.prepare("folder", raw=folder, out=out)
