"""The raw synthetic set on disk: layout, splits, determinism, resuming, refusals."""

import collections
import hashlib
import json

import numpy as np
import pytest

from data_prep import tree
from data_prep.datasets import synthetic as adapter
from data_prep.synthetic import dataset, identity
from talkface_jax.errors import ConfigError, MediaError
from talkface_jax.records import EMOTIONS, FPS


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("synthetic")
    summary = dataset.generate(out, clips=1, held_out_clips=1, val_clips=0, seed=3)
    return out, summary


def _digests(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.suffix in (".mp4", ".wav", ".json")
    }


def test_plan_separates_people_and_sentences():
    plans = dataset.plan_clips(clips=96, held_out_clips=32, seed=0)
    train = [p for p in plans if p.split == "train"]
    test = [p for p in plans if p.split == "test"]
    assert len(train) == 96 and len(test) == 32
    assert not {p.actor for p in train} & {p.actor for p in test}
    assert not {p.text for p in train} & {p.text for p in test}
    assert len({p.text for p in train}) == 96
    assert {p.emotion for p in train} == set(EMOTIONS)
    assert {p.level for p in train if p.emotion != "neutral"} == {1, 2, 3}
    assert {p.level for p in plans if p.emotion == "neutral"} == {1}
    assert len({p.video for p in plans}) == len(plans)
    assert len({p.actor for p in train}) >= 10 and len({p.actor for p in test}) >= 4


@pytest.mark.parametrize("seed", range(12))
def test_train_val_and_test_share_neither_people_nor_sentences(seed):
    plans = dataset.plan_clips(clips=80, held_out_clips=32, val_clips=10, seed=seed)
    people = {s: {p.actor for p in plans if p.split == s} for s in ("train", "val", "test")}
    said = {s: {p.text for p in plans if p.split == s} for s in people}
    assert {name: len(found) for name, found in people.items()} == {
        "train": 12,
        "val": 2,
        "test": 4,
    }
    assert len(set.union(*people.values())) == 18
    assert len(set.union(*said.values())) == sum(map(len, said.values()))
    assert {name[0] for name in people["val"]} == {"W", "M"}
    assert [p.index for p in plans] == list(range(122))
    assert len({p.clip for p in plans}) == 122


def test_the_seed_draws_who_is_in_val_and_only_their_turns_change():
    drawn, by_index = set(), {}
    for seed in range(20):
        cast = identity.divide_cast(seed)
        assert cast == identity.divide_cast(seed)
        drawn.update(person.name for person in cast.val)
        for turn, person in enumerate(cast.train):
            by_index.setdefault(turn, set()).add(person.name)
    assert len(drawn) >= 10
    for names in by_index.values():
        assert len(names - {"W113", "M114"}) == 1


def test_val_clips_come_beside_the_others():
    """So that the scores of a seed's test clips can be compared, whatever val is."""
    without = dataset.plan_clips(clips=20, held_out_clips=5, val_clips=0, seed=1)
    assert dataset.plan_clips(clips=20, held_out_clips=5, val_clips=7, seed=1)[:25] == without
    test = [(p.clip, p.text) for p in without if p.split == "test"]
    assert test == [
        ("W131_neutral_1_001", "Kick the ball straight and follow through."),
        ("M132_fear_1_001", "The wrist was badly strained and hung limp."),
        ("M133_neutral_1_001", "The stray cat gave birth to seven kittens."),
        ("W134_disgusted_2_001", "The soft cushion broke the man's fall."),
        ("W131_angry_2_001", "What joy there is in living here with them."),
    ]


def test_a_set_of_the_version_before_val_is_refused(tmp_path):
    before = {"version": 1, "clips": 1, "held_out_clips": 1, "seed": 3}
    (tmp_path / "request.json").write_text(json.dumps(before))
    with pytest.raises(
        ConfigError, match=r"holds a synthetic set made with .*'version': 1.* choose"
    ):
        dataset.generate(tmp_path, clips=1, held_out_clips=1, seed=3)
    assert [path.name for path in tmp_path.iterdir()] == ["request.json"]


def test_a_set_has_an_eighth_of_val_clips_by_default(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "make_clip", lambda *_: 25)
    dataset.generate(tmp_path, clips=17, seed=0)
    found = json.loads((tmp_path / "metadata.json").read_text())
    counts = collections.Counter(row["split"] for row in found["clips"])
    assert counts == {"train": 17, "test": 4, "val": 2}
    assert found["val"]["people"] == sorted(p.name for p in identity.divide_cast(0).val)


def test_plan_depends_on_the_seed_only():
    first = dataset.plan_clips(clips=20, held_out_clips=5, seed=1)
    assert first == dataset.plan_clips(clips=20, held_out_clips=5, seed=1)
    assert first != dataset.plan_clips(clips=20, held_out_clips=5, seed=2)


def test_layout_lengths_and_truth(made):
    out, summary = made
    assert (summary.clips, summary.made) == (2, 2)
    clips = adapter.list_clips(tree.scan(out)).clips
    assert [clip.split for clip in clips] == ["train", "test"]
    for clip in clips:
        actor, kind, view, emotion, level, _ = clip.video.split("/")
        assert (kind, view) == ("video", "front")
        assert actor == clip.speaker
        assert EMOTIONS[clip.emotion] == emotion and level == f"level_{clip.level}"
        assert "no real person" in clip.licence
        with np.load(out / "truth" / f"{clip.clip}.npz", allow_pickle=False) as truth:
            frames = len(truth["weights"])
            assert truth["weights"].shape == (frames, 52) == (frames, len(truth["shape_names"]))
            assert truth["landmarks"].shape == (frames, 131, 2)
            assert truth["pose"].shape == (frames, 3) and truth["gaze"].shape == (frames, 2)
            assert truth["phoneme_times"].shape == (len(truth["phonemes"]), 2)
            assert str(truth["text"]) == clip.text
        seen, sound = _read(out / clip.video)
        assert seen.shape[0] == frames and seen.shape[1:3] == (256, 256)
        assert 2.0 < frames / FPS < 6.0
        assert abs(sound - frames / FPS) < 0.1


def _read(path):
    import av

    with av.open(str(path)) as container:
        frames = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    with av.open(str(path)) as container:
        seconds = sum(f.samples / f.sample_rate for f in container.decode(audio=0))
    return frames, seconds


def test_mouth_in_the_video_follows_the_truth(made):
    out, _ = made
    clip = adapter.list_clips(tree.scan(out)).clips[0]
    frames, _ = _read(out / clip.video)
    with np.load(out / "truth" / f"{clip.clip}.npz", allow_pickle=False) as truth:
        points = truth["landmarks"]
    gap = np.linalg.norm(points[:, 116] - points[:, 126], axis=1)
    dark = []
    for frame, lips in zip(frames, points[:, 91:131], strict=True):
        (x0, y0), (x1, y1) = lips.min(0).astype(int), lips.max(0).astype(int)
        dark.append((frame[y0 : y1 + 1, x0 : x1 + 1].mean(-1) < 50).sum())
    assert np.corrcoef(gap, dark)[0, 1] > 0.5


def test_a_lost_clip_is_made_again_with_the_same_bytes_and_the_others_are_kept(made):
    out, _ = made
    before = _digests(out)
    lost = next(out.glob("truth/*.npz"))
    lost.unlink()
    calls = []
    summary = dataset.generate(
        out,
        clips=1,
        held_out_clips=1,
        val_clips=0,
        seed=3,
        progress=lambda *call: calls.append(call),
    )
    assert summary.made == 1 and lost.exists()
    assert _digests(out) == before
    assert calls == [("synthetic clips", 1, 2), ("synthetic clips", 2, 2)]


@pytest.mark.slow
def test_two_workers_write_the_same_bytes(made, tmp_path):
    dataset.generate(tmp_path / "again", clips=1, held_out_clips=1, val_clips=0, seed=3, workers=2)
    assert _digests(tmp_path / "again") == _digests(made[0])


def test_a_folder_holds_one_set(made):
    out, _ = made
    with pytest.raises(ConfigError, match="choose another folder"):
        dataset.generate(out, clips=1, held_out_clips=1, val_clips=0, seed=4)
    with pytest.raises(ConfigError, match="at least 1"):
        dataset.generate(out, clips=0, seed=3)


def test_unfinished_or_damaged_sets_are_refused(tmp_path):
    with pytest.raises(MediaError, match=r"metadata\.json is missing"):
        adapter.list_clips(tree.scan(tmp_path))
    (tmp_path / "metadata.json").write_text('{"clips": [{}]')
    with pytest.raises(MediaError, match="generate it again"):
        adapter.list_clips(tree.scan(tmp_path))
    row = dict(
        clip="c",
        actor="M1",
        video="v.mp4",
        audio="a.wav",
        split="train",
        text="",
        emotion="sad",
        level=1,
    )
    (tmp_path / "metadata.json").write_text(json.dumps({"licence": "x", "clips": [row]}))
    with pytest.raises(MediaError, match=r"v\.mp4 is missing"):
        adapter.list_clips(tree.scan(tmp_path))
