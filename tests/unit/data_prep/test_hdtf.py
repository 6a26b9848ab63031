"""HDTF's flat clips and its fifteen lists with their traps."""

import pytest

from data_prep import datasets, tree
from data_prep.datasets import hdtf, splits
from talkface_jax.errors import MediaError


@pytest.fixture(scope="module")
def raw(tmp_path_factory, write_hdtf):
    return write_hdtf(tmp_path_factory.mktemp("hdtf"))


@pytest.fixture(scope="module")
def listing(raw):
    return datasets.get_adapter("hdtf").list_clips(tree.scan(raw))


def _list(root):
    return hdtf.list_clips(tree.scan(root))


def test_clips(listing):
    clips = {clip.clip: clip for clip in listing.clips}
    assert len(clips) == len(listing.clips) == 9
    clip = clips["WRA_AdamKinzinger2_002"]
    assert (clip.video, clip.audio) == ("clips/WRA_AdamKinzinger2_002.mp4", "")
    assert (clip.dataset, clip.speaker, clip.split) == ("hdtf", "AdamKinzinger", "train")
    assert (clip.emotion, clip.level, clip.view) == (-1, -1, "unknown")
    assert "CC BY 4.0" in clip.licence
    assert listing.problems == ()


def test_lists_are_read_past_their_traps(raw):
    lists = hdtf.read_lists(tree.scan(raw))
    assert len(lists.rows) == 15
    assert ("WDA", "CarolynMaloney2") in lists.of("video_url")  # behind a byte-order mark
    assert lists.of("annotion_time")["WRA", "AdamKinzinger2"] == (
        "00:40-01:20",
        "02:00-02:40",
        "03:30-03:50",
    )
    assert lists.of("crop_wh")["RD", "Radio11_0"] == ("412", "599", "0", "599")
    assert lists.of("crop_ratio")["WDA", "WhipJimClyburn_0"] == ("1.2",)
    assert len(lists.clips) == 1 + 2 + 4 + 3 + 1
    assert lists.subsets["LucilleRoybal-Allard"] == "WDA"


def test_notes(listing):
    assert set(listing.notes) == {
        "Absent although listed: 2 of 11 clips (RD_Radio11_001, WRA_AdamKinzinger2_001).",
        "Of these, left out by downloaders for want of a crop window: 1 clip (RD_Radio11_001).",
        "Listed without times: 1 video (RD_Radio24).",
        "Listed with resolution 0: 1 video (WRA_KevinMcCarthy1).",
        "Left out, as clips are cut from them: 1 whole video (RD_Radio1).",
        "HDTF has no official split, so there is no test unless it is split by speaker.",
        "Nobody says who speaks in the RD videos, so they count as one speaker.",
    }


@pytest.mark.parametrize(
    ("name", "speaker"),
    [
        ("AmyKlobuchar0", "AmyKlobuchar"),
        ("JimMcGovern", "JimMcGovern"),
        ("Radio1", "Radio"),
        ("Radio57", "Radio"),
        ("WhipJimClyburn", "JamesClyburn"),
        ("JamesClyburn1", "JamesClyburn"),
        ("LucilleRoybal-Allard", "LucilleRoybal-Allard"),
        ("2020", "2020"),
    ],
)
def test_speaker_is_the_person(name, speaker):
    assert hdtf.speaker_of(name) == speaker


def test_a_person_stays_on_one_side(listing):
    for seed in range(5):
        split = splits.by_speaker(listing.clips, seed=seed, test=0.3)
        sides = {
            (clip.split, clip.speaker)
            for clip in split
            if "Radio" in clip.clip or "Cly" in clip.clip
        }
        assert len(sides) == 2


def test_clips_without_lists(tmp_path, write_files):
    names = ("RD_Radio1_000", "WDA_Some_One_012", "XX_Radio1_000")
    listing = _list(write_files(tmp_path, {f"{name}.mp4": b"" for name in names}))
    assert [clip.clip for clip in listing.clips] == ["RD_Radio1_000", "WDA_Some_One_012"]
    assert "None of HDTF's lists is in the tree" in listing.notes[0]
    (problem,) = listing.problems
    assert problem.clip == "XX_Radio1_000.mp4"
    assert "named like no clip" in problem.reason


def test_clips_that_are_not_listed_are_used(raw, tmp_path, write_hdtf, write_files):
    root = write_hdtf(tmp_path)
    write_files(root, {"clips/WRA_Nobody_000.mp4": b"", "clips/RD_Radio1_007.mp4": b""})
    (root / "HDTF_dataset" / "RD_crop_ratio.txt").unlink()
    listing = _list(root)
    assert len(listing.clips) == 11
    assert "Used although in no list: 2 clips (RD_Radio1_007, WRA_Nobody_000)." in listing.notes
    assert "Absent of HDTF's lists: 1 of 15 lists (RD_crop_ratio.txt)." in listing.notes


def test_names_without_a_subset_need_the_lists(tmp_path, write_hdtf, write_files):
    """The authors' own naming: <name>_<clip>.mp4."""
    root = write_hdtf(tmp_path)
    write_files(root, {"more/Radio11_1.mp4": b"", "more/Radio24.mp4": b"", "more/Who_1.mp4": b""})
    listing = _list(root)
    clips = {clip.clip: clip.video for clip in listing.clips}
    assert clips["RD_Radio11_001"] == "more/Radio11_1.mp4"
    assert [problem.clip for problem in listing.problems] == ["more/Who_1.mp4"]
    assert any("2 whole videos (RD_Radio1, Radio24)" in note for note in listing.notes)


def test_pieces_and_their_sound(tmp_path, write_files):
    files = {
        "split_5s_video/RD_Radio1_000#1.mp4": b"",
        "split_5s_video/RD_Radio1_000#2.mp4": b"",
        "split_5s_audio/RD_Radio1_000#2.wav": b"",
        "split_5s_video/WRA_PaulRyan_001#1.mp4": b"",
        "original_videos/WRA_PaulRyan_001.mp4": b"",
        "audios/WRA_PaulRyan_001.wav": b"",
    }
    listing = _list(write_files(tmp_path, files))
    assert [(clip.clip, clip.audio) for clip in listing.clips] == [
        ("RD_Radio1_000#1", ""),
        ("RD_Radio1_000#2", "split_5s_audio/RD_Radio1_000#2.wav"),
        ("WRA_PaulRyan_001", "audios/WRA_PaulRyan_001.wav"),
    ]
    assert {clip.speaker for clip in listing.clips} == {"Radio", "PaulRyan"}
    assert (
        "Left out, as the clip is there as a whole: 1 piece (WRA_PaulRyan_001#1)." in listing.notes
    )


def test_a_clip_in_two_folders_and_none_at_all(tmp_path, write_files):
    names = [f"{folder}/RD_Radio1_000.{kind}" for kind in ("mp4", "wav") for folder in "ab"]
    root = write_files(tmp_path, dict.fromkeys(names, b""))
    listing = _list(root)
    assert [(clip.video, clip.audio) for clip in listing.clips] == [(names[0], names[2])]
    assert [problem.clip for problem in listing.problems] == [names[1], names[3]]
    assert "is the same clip as a/RD_Radio1_000.mp4; keep one" in listing.problems[0].reason
    for name in (names[0], names[2], names[3]):
        (root / name).unlink()
    (root / "b" / "RD_Radio1_000.mp4").rename(root / "b" / "RD_Radio1.mp4")
    with pytest.raises(MediaError, match="holds no clip of that data set; check the path"):
        _list(root)
