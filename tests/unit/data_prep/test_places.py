"""Local and remote places; the remote one is a file system of Beam's kind over a folder."""

import errno
import gzip
import os
import pathlib
import shutil
import sys

import numpy as np
import pytest
from apache_beam.io import filesystem
from apache_beam.io.filesystem import BeamIOError, FileMetadata

from data_prep import places, prepare
from talkface_jax.errors import ConfigError, MediaError, RecordError, TalkfaceError
from talkface_jax.media.audio import read_clip_audio
from talkface_jax.media.video import VideoWriter, open_visual


class Shelf(filesystem.FileSystem):
    """An object store: flat names below "shelf://", kept in a folder."""

    folder = pathlib.Path()
    writes = 0

    @classmethod
    def scheme(cls):
        return "shelf"

    def _file(self, path):
        return self.folder / path.removeprefix("shelf://")

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        return tuple(path.rsplit("/", 1))

    def mkdirs(self, path):
        raise AssertionError("an object store has no folders")

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        for path in sorted(self.folder.rglob("*")):
            name = f"shelf://{path.relative_to(self.folder).as_posix()}"
            if path.is_file() and name.startswith(dir_or_prefix):
                yield self.metadata(name)

    def create(self, path, mime_type="", compression_type="auto"):
        assert compression_type == filesystem.CompressionTypes.UNCOMPRESSED
        type(self).writes += 1
        file = self._file(path)
        if file.name == "forbidden":
            raise OSError(errno.EACCES, "Forbidden")
        file.parent.mkdir(parents=True, exist_ok=True)
        return open(file, "wb")

    def open(self, path, mime_type="", compression_type="auto"):
        assert compression_type == filesystem.CompressionTypes.UNCOMPRESSED
        if not self.exists(path):
            raise BeamIOError("no such object", {path: "404"})
        return open(self._file(path), "rb")

    def copy(self, source_file_names, destination_file_names):
        raise NotImplementedError

    def rename(self, source_file_names, destination_file_names):
        raise NotImplementedError

    def exists(self, path):
        return self._file(path).is_file()

    def size(self, path):
        return self._file(path).stat().st_size

    def last_updated(self, path):
        return 12.5

    def metadata(self, path):
        return FileMetadata(path, self.size(path), self.last_updated(path))

    def delete(self, paths):
        for path in paths:
            self._file(path).unlink()


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setattr(Shelf, "folder", folder)
    return folder


@pytest.fixture(params=["local", "remote"])
def place(request, tmp_path, shelf):
    """A place of either kind, empty."""
    if request.param == "remote":
        return "shelf://bucket/a b"
    (tmp_path / "local").mkdir()
    return str(tmp_path / "local")


def test_files_of_a_place(place, tmp_path):
    assert places.is_remote(place) == place.startswith("shelf")
    places.make_folder(places.join(place, "deep"))
    for name in ("x.txt", "deep/ü 'y'.txt", "deep/z.tmp"):
        places.write_text(places.join(place, name), f"content of {name}")
    listed = places.list_files(place)
    assert [name for name, _, _ in listed] == ["deep/z.tmp", "deep/ü 'y'.txt", "x.txt"]
    assert [size for _, size, _ in listed] == [21, 26, 16]
    assert all(stamp > 1e9 for _, _, stamp in listed)
    assert places.names(place) == ["x.txt"]
    file = places.join(place, "x.txt")
    assert places.exists(file)
    assert places.size(file) == 16
    assert places.read_text(file) == "content of x.txt"
    places.fetch(file, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "content of x.txt"
    places.write_text(file, "again")
    assert places.read_text(file) == "again"
    places.delete(file)
    places.delete(file)
    assert not places.exists(file)
    assert places.size(file) == -1
    assert places.names(places.join(place, "nowhere")) == []
    places.delete_folder(place)
    assert places.names(place) == []


def test_bytes_are_kept_as_they_are(place, tmp_path):
    """A name that ends in .gz makes Beam pack and unpack, unless told not to."""
    data = gzip.compress(bytes(range(256)) * 9)
    (tmp_path / "source").write_bytes(data)
    file = places.join(place, "file.gz")
    places.publish(tmp_path / "source", file)
    with places.open_read(file) as stream:
        assert stream.read() == data


def test_what_cannot_be_read_is_one_sentence(place):
    with pytest.raises(MediaError, match=r"nothing cannot be read .*; check the path"):
        places.read_text(places.join(place, "nothing"))


def test_local_views_of_a_place(place):
    with places.local_folder(place) as folder:
        (folder / "a").write_text("A")
        (folder / "b").write_text("B")
    assert places.names(place) == ["a", "b"]
    with places.local_files(place, "b") as folder:
        assert (folder / "b").read_text() == "B"
    assert folder.exists() != places.is_remote(place)

    def interrupted():
        with places.local_folder(place) as folder:
            (folder / "c.tmp").write_text("C")
            raise RecordError("no")

    with pytest.raises(RecordError):
        interrupted()
    # Locally, a writer's own file is the writer's to remove; nothing unfinished is published.
    assert places.is_remote(place) != places.exists(places.join(place, "c.tmp"))


def test_what_cannot_be_written_is_one_sentence(tmp_path, shelf):
    (tmp_path / "file").touch()
    for file in (str(tmp_path / "file" / "x"), "shelf://b/forbidden"):
        with pytest.raises(RecordError, match=r"cannot be written .*; free disk space or give"):
            places.write_text(file, "text")
        assert not list(tmp_path.glob("*.tmp-*"))


def test_text_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    file = str(tmp_path / "x")
    places.write_text(file, "old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordError, match="No space left"):
        places.write_text(file, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert places.read_text(file) == "old"


def test_unknown_kind_of_place():
    with pytest.raises(ConfigError, match=r"nowhere://b/x: no installed .*apache-beam\[gcp\]"):
        places.exists("nowhere://b/x")


def test_without_beam(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(
        TalkfaceError, match=r"needs Apache Beam.*pip install 'talkface-jax\[beam\]'"
    ):
        prepare.prepare("folder", raw=tmp_path, out=tmp_path / "out")
    places.write_text(str(tmp_path / "x"), "local places do without it")
    assert places.names(str(tmp_path)) == ["x"]


def test_preparation_between_remote_places_gives_the_same_bytes(data_dir, tmp_path, shelf):
    """Raw data and output in an object store; nothing of it is left behind there or here."""
    raw = tmp_path / "raw"
    raw.mkdir()
    with open_visual(data_dir / "astronaut.jpg") as image:
        portrait = np.ascontiguousarray(image[0][:256, 96:352])
    speech = read_clip_audio(data_dir / "obama_speech.mp4", None, 60)[16_000:]
    for name in ("a b", "c"):
        with VideoWriter(raw / f"{name}.mp4", size=(256, 256), audio=speech) as writer:
            for _ in range(25):
                writer.write(portrait)
    (raw / "bad.mp4").write_text("no video\n" * 40)
    (raw / "metadata.csv").write_text("path,split\nc.mp4,test\n")
    local = tmp_path / "out"
    wanted = prepare.prepare("folder", raw=raw, out=local, max_failures=1)
    shutil.copytree(raw, shelf / "raw")
    options = {"raw": "shelf://raw", "out": "shelf://made/set", "max_failures": 1}
    found = prepare.prepare("folder", **options)
    assert (found.clips, found.frames, found.splits) == (2, 50, wanted.splits)
    names = sorted(path.name for path in local.iterdir())
    made = shelf / "made" / "set"
    assert (
        sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
        == names
    )
    for name in names:
        if name not in ("manifest.json", "failures.jsonl"):  # they name the raw place
            assert (made / name).read_bytes() == (local / name).read_bytes(), name
    assert "shelf://raw/bad.mp4 is a text file" in (made / "failures.jsonl").read_text()
    dataflow = ["--runner=DataflowRunner", "--project=p", "--region=r", "--temp_location=gs://b/t"]
    with pytest.raises(ConfigError, match=r"^--out=.*: Dataflow's machines cannot reach"):
        prepare.prepare("folder", raw="shelf://raw", out=tmp_path / "o", beam_options=dataflow)
    assert not (tmp_path / "o").exists()
    before = Shelf.writes
    again = prepare.prepare("folder", **options)
    assert again == found and "records were not read again" in str(again)
    for name, words in (
        ("folder-test.tfrecord-00000-of-00001.index.json", "its index is missing or altered"),
        ("manifest.json", "shelf://made/set/manifest.json cannot be read"),
    ):
        (made / name).write_bytes(b"")
        with pytest.raises(RecordError, match=f"{words}.*; remove the folder shelf://made/set and"):
            prepare.prepare("folder", **options)
    assert Shelf.writes == before
