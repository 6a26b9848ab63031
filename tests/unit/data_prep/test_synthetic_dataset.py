"""The raw synthetic set on disk: layout, splits, determinism, resuming, refusals."""

import hashlib
import json

import numpy as np
import pytest

from data_prep import tree
from data_prep.datasets import synthetic as adapter
from data_prep.synthetic import dataset
from talkface_jax.errors import ConfigError, MediaError
from talkface_jax.records import EMOTIONS, FPS


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("synthetic")
    summary = dataset.generate(out, clips=1, held_out_clips=1, seed=3)
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
        out, clips=1, held_out_clips=1, seed=3, progress=lambda *call: calls.append(call)
    )
    assert summary.made == 1 and lost.exists()
    assert _digests(out) == before
    assert calls == [("synthetic clips", 1, 2), ("synthetic clips", 2, 2)]


@pytest.mark.slow
def test_two_workers_write_the_same_bytes(made, tmp_path):
    dataset.generate(tmp_path / "again", clips=1, held_out_clips=1, seed=3, workers=2)
    assert _digests(tmp_path / "again") == _digests(made[0])


def test_a_folder_holds_one_set(made):
    out, _ = made
    with pytest.raises(ConfigError, match="choose another folder"):
        dataset.generate(out, clips=1, held_out_clips=1, seed=4)
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
