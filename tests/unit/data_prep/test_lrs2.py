"""LRS2's raw tree: lists, texts, and what is listed or present alone."""

import shutil

import pytest

from data_prep import datasets, tree
from data_prep.datasets import lrs2
from talkface_jax.errors import MediaError

FIRST, SECOND, THIRD = "5535415699068794046", "5536038039829982468", "6330311066473698535"


@pytest.fixture(scope="module")
def raw(tmp_path_factory, write_lrs2):
    return write_lrs2(tmp_path_factory.mktemp("lrs2"))


@pytest.fixture(scope="module")
def listing(raw):
    return datasets.get_adapter("lrs2").list_clips(tree.scan(raw))


def _list(root):
    return lrs2.list_clips(tree.scan(root))


def test_clips(listing):
    assert [(clip.clip, clip.split, clip.text) for clip in listing.clips] == [
        (f"main/{FIRST}/00001", "train", "WHEN YOU'RE COOKING CHIPS AT HOME"),
        (f"main/{FIRST}/00002", "train", "THE TRADITIONAL CHIP PAN"),
        (f"main/{SECOND}/00008", "val", "IN OTHER WORDS"),
        (f"main/{THIRD}/00003", "test", "YES"),
        (f"main/{THIRD}/00004", "test", ""),
        (f"pretrain/{FIRST}/00005", "pretrain", "HE'S REALLY"),
    ]
    assert listing.problems == ()
    clip = listing.clips[0]
    assert clip.video == f"mvlrs_v1/main/{FIRST}/00001.mp4"
    assert (clip.dataset, clip.audio, clip.view, clip.emotion) == ("lrs2", "", "unknown", -1)
    assert "non-commercial" in clip.licence and "unverified" in clip.licence


def test_speaker_is_the_broadcast_in_main_and_pretrain_alike(listing):
    assert {clip.speaker for clip in listing.clips} == {FIRST, SECOND, THIRD}
    assert all(clip.speaker in clip.video for clip in listing.clips)
    assert [c.speaker for c in listing.clips if c.split == "pretrain"] == [FIRST]


def test_notes(listing):
    assert listing.notes == (
        f"Absent although in train.txt: 1 of 3 clips (main/{FIRST}/00099).",
        f"Left out because no list names them: 1 clip (main/{THIRD}/00011).",
        f"Without words: 1 clip (main/{THIRD}/00004).",
    )


def test_root_may_be_mvlrs_v1_or_any_folder_above(raw, tmp_path, listing):
    deep = tmp_path / "BBC" / "LRS2"
    shutil.copytree(raw, deep)
    assert [c.clip for c in _list(tmp_path).clips] == [c.clip for c in listing.clips]
    inner = deep / "mvlrs_v1"
    with pytest.raises(MediaError, match=r"none of LRS2's lists .*put them beside main"):
        _list(inner)
    for name in ("train", "val", "test", "pretrain"):
        (deep / f"{name}.txt").rename(inner / f"{name}.txt")
    found = _list(inner)
    assert [c.clip for c in found.clips] == [c.clip for c in listing.clips]
    assert found.clips[0].video == f"main/{FIRST}/00001.mp4"
    # Of two lists the nearer one counts.
    (deep / "test.txt").write_text(f"{THIRD}/00011\n")
    assert [c.clip for c in _list(deep).clips] == [c.clip for c in listing.clips]


def test_part_of_the_lists(raw, tmp_path):
    root = tmp_path / "raw"
    shutil.copytree(raw, root)
    for name in ("train", "val", "pretrain"):
        (root / f"{name}.txt").unlink()
    found = _list(root)
    assert {clip.split for clip in found.clips} == {"test"}
    assert any(
        note.startswith("Left out because no list names them: 5 clips") for note in found.notes
    )


def test_a_clip_in_two_lists_is_refused(raw, tmp_path):
    root = tmp_path / "raw"
    shutil.copytree(raw, root)
    with open(root / "test.txt", "a") as file:
        file.write(f"{FIRST}/00001 NF\n")
    with pytest.raises(MediaError, match=rf"{FIRST}/00001 is both in train\.txt and in test\.txt"):
        _list(root)


def test_other_files(raw, tmp_path, write_files):
    root = tmp_path / "raw"
    shutil.copytree(raw, root)
    write_files(
        root,
        {
            "mvlrs_v1/main/notes/film.mp4": b"",
            f"mvlrs_v1/main/{FIRST}/00001.txt": b"\xff\xfeT\0e\0x\0t\0",
            f"mvlrs_v1/main/{FIRST}/00002.txt": "no words here\n",
            f"mvlrs_v1/main/{SECOND}/00008.txt": b"Text:  CAF\xc9\n",
        },
    )
    found = _list(root)
    assert [clip.text for clip in found.clips[:3]] == [""] * 3
    assert any(note.startswith("Without words: 4 clips") for note in found.notes)
    assert found.notes[-1].startswith("Left out for not lying in main/<broadcast> or")
    assert "1 video (mvlrs_v1/main/notes/film.mp4)" in found.notes[-1]


def test_archive_of_everything(raw, tmp_path, listing, pack):
    pack(raw, tmp_path / "lrs2_v1.tar")
    found = _list(tmp_path)
    assert [(c.clip, c.text) for c in found.clips] == [(c.clip, c.text) for c in listing.clips]
    assert found.clips[0].video == f"lrs2_v1.tar/mvlrs_v1/main/{FIRST}/00001.mp4"


def test_a_clip_in_two_folders(tmp_path, write_files, write_lrs2):
    root = write_lrs2(tmp_path)
    write_files(root, {f"copy/main/{SECOND}/00008.mp4": b""})
    listing = _list(root)
    (clip,) = [clip for clip in listing.clips if clip.split == "val"]
    assert clip.video == f"copy/main/{SECOND}/00008.mp4"
    (problem,) = listing.problems
    assert problem.clip == f"mvlrs_v1/main/{SECOND}/00008.mp4"


def test_empty_tree(tmp_path, write_files):
    with pytest.raises(MediaError, match="holds no clip of that data set"):
        _list(write_files(tmp_path, {"train.txt": ""}))
