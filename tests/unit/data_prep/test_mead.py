"""MEAD's raw tree with its traps, and the authors' split."""

import collections
import shutil

import pytest

from data_prep import datasets, prepare, tree
from data_prep.datasets import mead, splits
from talkface_jax.cli.main import main
from talkface_jax.errors import ConfigError, MediaError
from talkface_jax.records import EMOTIONS


@pytest.fixture(scope="module")
def raw(tmp_path_factory, write_mead):
    return write_mead(tmp_path_factory.mktemp("mead") / "raw")


@pytest.fixture(scope="module")
def listing(raw):
    return datasets.get_adapter("mead").list_clips(tree.scan(raw))


def _list(root):
    return mead.list_clips(tree.scan(root))


def test_every_video_is_a_clip(raw, listing):
    views = collections.Counter((c.speaker, c.view) for c in listing.clips)
    assert views["M003", "front"] == 30 + 37
    assert views["M003", "left_60"] == 29 + 37
    assert {view for actor, view in views if actor == "M003"} == set(mead.VIEWS)
    assert views["W009", "front"] == views["W009", "left_30"] == 38
    assert (views["W011", "top"], views["M030", "front"]) == (8, 7)
    assert len(views) == 7 + 2 + 1 + 1
    assert listing.problems == ()
    names = [clip.clip for clip in listing.clips]
    assert names == sorted(set(names))
    scanned = tree.scan(raw)
    assert all(scanned.entry(clip.video).size == 5 for clip in listing.clips)


def test_what_a_path_tells(listing):
    clips = {clip.clip: clip for clip in listing.clips}
    clip = clips["M003_left_30_neutral_1_077"]
    assert clip.video == "M003/video/left_30/neutral/level_1/077.mp4"
    assert clip.audio == "M003/audio/neutral/level_1/077.m4a"
    assert (clip.dataset, clip.speaker, clip.view) == ("mead", "M003", "left_30")
    assert (EMOTIONS[clip.emotion], clip.level, clip.text) == ("neutral", 1, "")
    assert clips["W009_front_surprised_3_058"].video == "W009/1/front/surprised/level_3/058.mp4"
    assert clips["W011_top_sad_2_008"].video == "W011/top/sad/level_2/008.mp4"
    packed = clips["M030_front_happy_2_003"]
    assert packed.video == "M030/video.tar/front/happy/level_2/003.mp4"
    assert packed.audio == "M030/audio.tar/happy/level_2/003.m4a"
    assert {"non-commercial research only" in clip.licence for clip in listing.clips} == {True}


def test_one_sound_serves_the_views_and_may_be_missing(listing):
    views = [c for c in listing.clips if c.clip.endswith("_angry_1_005") and c.speaker == "M003"]
    assert len(views) == 7
    assert {clip.audio for clip in views} == {"M003/audio/angry/level_1/005.m4a"}
    mute = [clip.clip for clip in listing.clips if not clip.audio]
    assert mute == sorted(f"M003_{view}_angry_1_004" for view in mead.VIEWS)
    assert listing.notes == (
        "Without a sound file, so the video's own track is used: 7 clips "
        "(M003_down_angry_1_004, M003_front_angry_1_004, M003_left_30_angry_1_004, ...).",
    )


def test_authors_split_is_by_number_over_all_views(listing):
    tests = collections.defaultdict(set)
    for clip in listing.clips:
        if clip.split == "test":
            emotion = EMOTIONS[clip.emotion]
            tests[clip.speaker, clip.view, emotion].add(int(clip.clip.rpartition("_")[2]))
        else:
            assert clip.split == "train"
    last = {25, 26, 27, 28, 29, 30}
    assert tests["M003", "front", "angry"] == last
    assert tests["M003", "left_60", "angry"] == last - {30}  # and not 024 in its place
    assert tests["M003", "top", "neutral"] == {28, 29, *range(70, 78)}
    assert tests["W009", "left_30", "surprised"] == set(range(53, 59))
    assert tests["W011", "top", "sad"] == set(range(3, 9))
    assert tests["M030", "front", "happy"] == set(range(2, 8))


@pytest.mark.parametrize(
    ("path", "take", "view"),
    [
        ("MEAD/Part1/W015/2/right_60/fear/level_2/012.mp4", ("W015", "fear", 2, 12), "right_60"),
        ("M003.tar/video/down/happy/level_3/001.mp4", ("M003", "happy", 3, 1), "down"),
        ("Original_video/M003#angry#level_1#001.mp4", ("M003", "angry", 1, 1), "front"),
        ("M003_ang_1_001.mp4", ("M003", "angry", 1, 1), "front"),
        ("x/W009_sur_3_058.mp4", ("W009", "surprised", 3, 58), "front"),
        ("M003_disgusted_level_2_030.mp4", ("M003", "disgusted", 2, 30), "front"),
        ("left_30/M003_con_2_007.mp4", ("M003", "contempt", 2, 7), "left_30"),
    ],
)
def test_layouts_of_other_copies(tmp_path, write_files, path, take, view):
    if ".tar" in path:
        assert mead.read_take(path) == mead.Take(*take)
        return
    (clip,) = _list(write_files(tmp_path / "raw", {path: b""})).clips
    actor, emotion, level, number = take
    assert clip.clip == f"{actor}_{view}_{emotion}_{level}_{number:03d}"
    assert (clip.speaker, clip.view, clip.level) == (actor, view, level)


def test_derived_names_find_their_sound(tmp_path, write_files):
    names = ("M003#angry#level_1#001", "M003#angry#level_1#002")
    files = {f"Original_video/{name}.mp4": b"" for name in names}
    listing = _list(write_files(tmp_path, files | {f"audio/{names[1]}.wav": b""}))
    assert [clip.audio for clip in listing.clips] == ["", f"audio/{names[1]}.wav"]
    assert listing.notes[0].startswith("Without a view in the path, so taken as front: 2 videos (")


def test_root_may_be_an_actor(tmp_path, write_files):
    root = write_files(tmp_path / "W023", {"video/top/fear/level_1/001.mp4": b""})
    assert _list(root).clips[0].clip == "W023_top_fear_1_001"


@pytest.mark.parametrize(
    ("path", "lacks"),
    [
        ("M003/video/front/angry/001.mp4", "names no level"),
        ("M003/video/front/bored/level_1/001.mp4", "names no emotion"),
        ("someone/front/angry/level_1/001.mp4", "names no actor"),
        ("M003/video/front/angry/level_1/001 (copy).mp4", "names no number"),
        ("M003/video/front/angry/level_4/final.mp4", "names no level and no number"),
        ("M003_bor_1_001.mp4", "names no emotion"),
        ("M003_an_1_001.mp4", "names no emotion"),
    ],
)
def test_videos_that_name_no_take_are_problems(tmp_path, write_files, path, lacks):
    good = "M003/video/front/angry/level_1/001.mp4"
    listing = _list(write_files(tmp_path, {path: b"", good: b""}))
    assert [clip.video for clip in listing.clips] == [good]
    (problem,) = listing.problems
    assert problem.clip == path
    assert f"{path} {lacks}" in problem.reason
    (tmp_path / good).unlink()
    with pytest.raises(MediaError, match=r"holds no clip of that data set \(first, .*names no"):
        _list(tmp_path)


def test_unpacked_files_win_over_their_archive(tmp_path, write_files, pack):
    spare = write_files(
        tmp_path / "s", {f"front/sad/level_1/{n:03d}.mp4": b"" for n in range(1, 9)}
    )
    root = write_files(tmp_path / "raw", {"M003/video/front/sad/level_1/002.mp4": b""})
    pack(spare, root / "M003" / "video.tgz")
    listing = _list(root)
    assert len(listing.clips) == 8
    videos = {clip.clip: clip.video for clip in listing.clips}
    assert videos["M003_front_sad_1_001"] == "M003/video.tgz/front/sad/level_1/001.mp4"
    assert videos["M003_front_sad_1_002"] == "M003/video/front/sad/level_1/002.mp4"
    assert any("video.tgz is compressed" in note for note in listing.notes)
    for n in range(1, 9):
        shutil.copy(spare / f"front/sad/level_1/{n:03d}.mp4", root / "M003/video/front/sad/level_1")
    listing = _list(root)
    assert {clip.video.split("/")[1] for clip in listing.clips} == {"video"}
    assert not any("compressed" in note for note in listing.notes)


def test_same_take_in_several_folders(tmp_path, write_files, pack):
    """The first is taken; the others are problems, unless a file wins over archives."""
    files = {f"M003/{k}/front/sad/level_1/002.mp4": b"" for k in (1, 2)}
    files |= {f"M003/{k}/sad/level_1/002.wav": b"" for k in (1, 2)}
    root = write_files(tmp_path / "raw", files)
    spare = write_files(tmp_path / "s", {"front/sad/level_1/002.mp4": b""})
    pack(spare, root / "M003" / "0.tar")
    listing = _list(root)
    (clip,) = listing.clips
    assert clip.video == "M003/1/front/sad/level_1/002.mp4"
    assert clip.audio == "M003/1/sad/level_1/002.wav"
    assert [problem.clip for problem in listing.problems] == [
        "M003/2/front/sad/level_1/002.mp4",
        "M003/2/sad/level_1/002.wav",
    ]
    reason = listing.problems[0].reason
    assert "M003/2/front" in reason and "is the same clip as M003/1/front" in reason
    for k in (1, 2):
        (root / f"M003/{k}/front/sad/level_1/002.mp4").unlink()
    pack(spare, root / "M003" / "9.tar")
    listing = _list(root)
    assert listing.clips[0].video == "M003/0.tar/front/sad/level_1/002.mp4"
    assert listing.problems[0].clip == "M003/9.tar/front/sad/level_1/002.mp4"


def test_truncated_archive_costs_its_rest_only(raw, tmp_path, pack, write_files):
    root = write_files(tmp_path / "raw", {"M003/front/sad/level_1/001.mp4": b""})
    data = (raw / "M030" / "video.tar").read_bytes()
    (root / "M030").mkdir()
    (root / "M030" / "video.tar").write_bytes(data[: len(data) // 3])
    listing = _list(root)
    assert 1 < len(listing.clips) < 8
    assert [problem.clip for problem in listing.problems] == ["M030/video.tar"]


def test_actor_without_training_clips_is_noted(listing, tmp_path, write_files):
    assert not any("leaves none for training" in note for note in listing.notes)
    files = {f"M003/front/sad/level_1/{n:03d}.mp4": b"" for n in range(1, 7)}
    listing = _list(write_files(tmp_path, files))
    assert {clip.split for clip in listing.clips} == {"test"}
    assert any("leaves none for training: 1 actor (M003)" in note for note in listing.notes)


FOUR = ("M003", "M030", "W009", "W015")


@pytest.fixture
def write_actors(tmp_path, write_files):
    """A tree of the given actors, each with 8 takes of anger and 12 neutral ones."""

    def written(actors):
        counts = {"angry": 8, "neutral": 12}
        paths = [
            f"{actor}/video/front/{emotion}/level_1/{n:03d}.mp4"
            for actor in actors
            for emotion, count in counts.items()
            for n in range(1, count + 1)
        ]
        return write_files(tmp_path / "actors", dict.fromkeys(paths, b""))

    return written


def _prepared_listing(root, protocol, val=None):
    wanted = splits.ValSplit() if val is None else splits.ValSplit(share=val)
    return prepare._listing("mead", tree.scan(root), wanted, protocol)


def test_four_actors_test_and_nobody_of_them_trains(write_actors):
    root = write_actors([*FOUR, "M005", "M007", "W011", "W014"])
    listing = _prepared_listing(root, "four-actors")
    actors = collections.defaultdict(set)
    for clip in listing.clips:
        actors[clip.split].add(clip.speaker)
    assert actors["test"] == set(FOUR)
    assert len(actors["val"]) == 1 and len(actors["train"]) == 3
    assert not actors["val"] & actors["train"]
    counts = collections.Counter(clip.split for clip in listing.clips)
    assert counts == {"test": 4 * 20, "val": 20, "train": 60}, "all takes"
    without = _prepared_listing(root, "four-actors", val=0.0)
    assert {clip.split for clip in without.clips} == {"train", "test"}


def test_the_authors_split_is_a_function_of_the_clips(write_actors):
    listing = _list(write_actors(["M003", "W009"]))
    assert mead.by_authors([*reversed(listing.clips)]) == [*reversed(listing.clips)]
    counts = collections.Counter((EMOTIONS[c.emotion], c.split) for c in listing.clips)
    assert counts == {
        ("angry", "train"): 4,
        ("angry", "test"): 12,
        ("neutral", "train"): 4,
        ("neutral", "test"): 20,
    }
    moved = mead.by_four_actors(_list(write_actors([*FOUR, "M005"])).clips)
    assert collections.Counter(clip.split for clip in moved) == {"test": 80, "train": 20}


def test_four_actors_of_whom_some_are_missing(write_actors):
    root = write_actors(["M003", "W009", "M005"])
    said = (
        "--split=four-actors tests on M003, M030, W009, W015, but there is no clip of M030, W015; "
        "add them to --raw or give another --split."
    )
    with pytest.raises(ConfigError) as refused:
        _prepared_listing(root, "four-actors")
    assert str(refused.value) == said


def test_a_protocol_of_another_data_set(tmp_path, write_files, capsys):
    out = tmp_path / "out"
    cases = {
        "folder": "--dataset=folder has no --split=four-actors; give one of official, speaker.\n",
        "mead": "--split=four-actors tests on M003, M030, W009, W015, but there is no clip of M030",
    }
    for name, said in cases.items():
        root = write_files(tmp_path / name, {"M003/front/sad/level_1/001.mp4": b""})
        flags = [f"--raw={root}", f"--out={out}", "--split=four-actors"]
        assert main(["prepare", f"--dataset={name}", *flags]) == 1
        assert f"talkface prepare: {said}" in capsys.readouterr().err
    assert not out.exists()


def test_it_is_refused_before_clips_are_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("data_prep.synthetic.dataset.generate", None)
    flags = ["--clips=1", f"--out={tmp_path / 'out'}", "--split=four-actors"]
    assert main(["prepare", "--dataset=synthetic", *flags]) == 1
    assert "--dataset=synthetic has no --split=four-actors; give" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
