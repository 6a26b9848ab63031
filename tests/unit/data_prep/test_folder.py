"""Any tree of videos, and what metadata.csv says of it."""

import pytest

from data_prep import datasets, tree
from data_prep.datasets import folder
from talkface_jax.errors import ConfigError, MediaError, TalkfaceError


def _list(root):
    return folder.list_clips(tree.scan(root))


def test_every_adapter_loads():
    assert set(datasets.ADAPTERS) == {"folder", "hdtf", "lrs2", "mead", "synthetic"}
    for name in datasets.ADAPTERS:
        assert callable(datasets.get_adapter(name).list_clips)
    names = ", ".join(sorted([*datasets.ADAPTERS, "speech"]))
    with pytest.raises(ConfigError, match=f"--dataset=vox is unknown; use one of: {names}\\."):
        datasets.get_adapter("vox")
    with pytest.raises(ConfigError, match="--dataset=speech has no raw files"):
        datasets.get_adapter("speech")


def test_defaults(tmp_path, write_files):
    names = ("b/c/x.mp4", "b/y.MOV", "z.avi", "twin.mp4", "twin.mkv", ".hidden.mp4", "note.txt")
    listing = _list(write_files(tmp_path, {name: b"" for name in names}))
    assert [(c.clip, c.speaker) for c in listing.clips] == [
        ("b/c/x", "b"),
        ("b/y", "b"),
        ("twin.mkv", "twin.mkv"),
        ("twin.mp4", "twin.mp4"),
        ("z", "z"),
    ]
    assert {(c.split, c.emotion, c.level, c.licence) for c in listing.clips} == {
        ("train", -1, -1, "unknown")
    }
    assert listing.notes == listing.problems == ()


def test_same_names_in_different_folders_and_odd_names(tmp_path, write_files):
    names = [
        "anna/take 1.mp4",
        "bob/take 1.mp4",
        "bob/sub/take 1.mp4",
        'zoë/l\'été "3" 映画.mp4',
        "100%/a#b?c&d.mp4",
        "line\nbreak.mp4",
    ]
    listing = _list(write_files(tmp_path, {name: b"" for name in names}))
    assert sorted(c.video for c in listing.clips) == sorted(names)
    assert sorted(c.clip for c in listing.clips) == sorted(n.removesuffix(".mp4") for n in names)
    assert {c.speaker for c in listing.clips} == {"anna", "bob", "zoë", "100%", "line\nbreak"}


def test_metadata(tmp_path, write_files):
    rows = (
        "\ufeffpath,speaker,split,emotion,level,text,audio,licence\r\n"
        'a b.mp4,Ann,test,sad,2,"Well, ""yes"".",./s/a.wav,CC0\r\n'
        "./c/../d.mp4,,,,,,,\r\n"
    )
    files = {"a b.mp4": b"", "d.mp4": b"", "e.mp4": b"", "s/a.wav": b"", "metadata.csv": rows}
    first, second, third = _list(write_files(tmp_path, files)).clips
    assert (first.speaker, first.split, first.emotion, first.level) == ("Ann", "test", 6, 2)
    assert (first.text, first.audio, first.licence) == ('Well, "yes".', "s/a.wav", "CC0")
    assert (second.clip, second.speaker, second.split) == ("d", "d", "train")
    assert third.clip == "e"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("video\na.mp4\n", "unknown column 'video'"),
        ("speaker\nme\n", "no column 'path'"),
        ("path\nb.mp4\n", r"line 2: there is no file 'b\.mp4'"),
        ("path\n../a.mp4\n", r"there is no file '../a\.mp4'"),
        ("path,audio\na.mp4,b.wav\n", r"line 2: there is no file 'b\.wav'"),
        ("path,emotion\na.mp4,bored\n", "emotion 'bored' is unknown"),
        ("path,level\na.mp4,4\n", "level '4' is unknown"),
        ("path,split\na.mp4,../x\n", "split '../x' is no name"),
        ("path,text\na.mp4,Well, yes.\n", "line 2: there are more cells than the 2 columns"),
        ("path,text\na.mp4,one\n./a.mp4,two\n", r"line 3: 'a\.mp4' has a row already"),
        (b"path,text\na.mp4,caf\xe9\n", "not UTF-8"),
    ],
)
def test_metadata_errors(tmp_path, write_files, table, words):
    write_files(tmp_path, {"a.mp4": b"", "metadata.csv": table})
    with pytest.raises(TalkfaceError, match=words):
        _list(tmp_path)


def test_archives_are_not_opened(tmp_path, write_files):
    root = write_files(tmp_path, {"a.mp4": b"", "more/old.tar": b"no archive at all"})
    listing = _list(root)
    assert [c.clip for c in listing.clips] == ["a"]
    assert listing.notes == (
        "Not looked into, unpack what is to be used: 1 archive (more/old.tar).",
    )
    assert listing.problems == ()


def test_without_videos(tmp_path):
    with pytest.raises(MediaError, match="holds no video"):
        _list(tmp_path)
    with pytest.raises(MediaError, match="no folder"):
        _list(tmp_path / "none")
