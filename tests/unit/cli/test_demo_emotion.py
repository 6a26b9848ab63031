"""The demo of a method that shows emotions: what it makes, how it asks, what it judges by."""

import dataclasses
import json
import pathlib

import pytest

from talkface_jax import capabilities
from talkface_jax.capabilities import EMOTION_GOALS, Aspect, Table
from talkface_jax.cli import demo, demo_emotion
from talkface_jax.cli.main import main
from talkface_jax.errors import TalkfaceError
from talkface_jax.evaluate import goals
from talkface_jax.media import grid
from talkface_jax.methods import registry
from talkface_jax.records import EMOTIONS

PEOPLE = ("W131", "M132")
METHOD = dataclasses.replace(
    registry.declaration("sinha2020"),
    generates=(Aspect.MOUTH, Aspect.BLINKS, Aspect.EMOTION),
    controls=(capabilities.EMOTION, capabilities.LEVEL, capabilities.SEED),
    goals=EMOTION_GOALS,
)


def _clip(actor, emotion, split="test", **more):
    name = f"{actor}_{emotion}_3_001"
    known = {"clip": name, "actor": actor, "emotion": emotion, "split": split}
    return {**known, "video": f"{name}.mp4", "audio": f"{name}.wav", **more}


def _write_set(folder, clips):
    folder.mkdir(parents=True)
    for clip in clips:
        (folder / clip["video"]).write_text(clip["clip"])
    (folder / "metadata.json").write_text(json.dumps({"clips": clips}))


@pytest.fixture
def raw(tmp_path):
    """The demo's own clips; neutral ones are no first ones."""
    folder = tmp_path / "data" / "raw"
    others = [_clip("W131", "neutral", "train", video="train.mp4")]
    emotional = [_clip(actor, "sad", video=f"sad{actor}.mp4") for actor in PEOPLE]
    calm = [_clip(actor, "neutral", video=f"calm{actor}.mp4") for actor in PEOPLE]
    _write_set(folder, [*others, *emotional, *calm])
    return folder


@pytest.fixture
def walked(monkeypatch, tmp_path):
    """The demo without its work: commands are only noted, and so is what is drawn."""
    commands = []
    monkeypatch.setattr(demo.Walk, "command", lambda self, *words: commands.append(words))
    made = [_clip(actor, emotion) for actor in PEOPLE for emotion in EMOTIONS]

    def generate(out, *, people, seed, workers, progress):
        assert people == demo_emotion.PEOPLE and workers == 3
        if not pathlib.Path(out).exists():
            _write_set(pathlib.Path(out), made)

    monkeypatch.setattr("data_prep.synthetic.emotional.generate_emotional", generate)
    monkeypatch.setattr(demo, "strip_of", lambda mp4, out: out)
    monkeypatch.setattr(registry, "declaration", lambda name: METHOD)
    for name in ("write_grid", "write_strip"):
        monkeypatch.setattr(
            grid, name, lambda videos, out, name=name: commands.append((name, videos)) or out
        )
    (tmp_path / "sinha2020").mkdir()
    return commands


def _run(tmp_path):
    return main(["demo", "--method=sinha2020", f"--out={tmp_path}", "--workers=3"])


def test_every_person_is_asked_for_every_emotion_with_a_neutral_face(walked, raw, tmp_path):
    assert _run(tmp_path) == 1  # nothing was measured
    pairs, made = tmp_path / "sinha2020" / "held_out_emotions", tmp_path / "data_emotions"
    asked = [
        words
        for words in walked
        if words[0] == "synthesize" and any("--emotion=" in word for word in words)
    ]
    assert len(asked) == len(PEOPLE) * len(EMOTIONS)
    wanted = [(actor, emotion) for actor in PEOPLE for emotion in EMOTIONS]
    for words, (actor, emotion) in zip(asked, wanted, strict=True):
        name = f"{actor}_{emotion}_3_001"
        assert words[1:] == (
            f"--bundle={tmp_path / 'sinha2020' / 'bundle'}",
            f"--face={raw / f'calm{actor}.mp4'}",
            f"--audio={made / f'{name}.wav'}",
            f"--emotion={emotion}",
            "--level=3",
            f"--out={pairs / 'pred' / f'{name}.mp4'}",
        )
        assert (pairs / "truth" / f"{name}.mp4").read_text() == name


def test_the_videos_are_scored_with_what_they_should_show(walked, raw, tmp_path):
    _run(tmp_path)
    out = tmp_path / "sinha2020"
    pairs = out / "held_out_emotions"
    (scored,) = (words for words in walked if f"--out={out / 'scores_emotion_video'}" in words)
    assert scored == (
        "evaluate",
        f"--pred={pairs / 'pred'}",
        f"--truth={pairs / 'truth'}",
        f"--metadata={pairs / 'clips.csv'}",
        "--workers=3",
        f"--out={out / 'scores_emotion_video'}",
    )
    table = (pairs / "clips.csv").read_text().splitlines()
    assert table[0] == "clip,speaker,sex,skin,emotion"
    assert [line.split(",")[-1] for line in table[1:]] == 2 * list(EMOTIONS)
    assert str(out / Table.EMOTION_VIDEOS.value) == str(
        out / "scores_emotion_video" / "scores.json"
    )


def test_one_person_is_shown_in_every_emotion_neutral_first(walked, raw, tmp_path, capsys):
    _run(tmp_path)
    shown = {words[0]: words[1] for words in walked if words[0].startswith("write_")}
    assert set(shown) == {"write_grid", "write_strip"}
    for videos in shown.values():
        assert list(videos) == ["neutral", *(name for name in EMOTIONS if name != "neutral")]
        assert {path.name[:4] for path in videos.values()} == {"W131"}
        assert videos["sad"].name == "W131_sad_3_001.mp4"
    printed = capsys.readouterr().out
    for name in ("emotions.mp4", "emotions_strip.png", "emotions.html"):
        assert name in printed


def test_emotions_are_not_measured_again_on_the_clips_that_judge_the_blinks(walked, raw, tmp_path):
    _run(tmp_path)
    scored = {words[-1].rpartition("/")[2]: words for words in walked if words[0] == "evaluate"}
    assert "--without=emotion" in scored["scores_blinks"]
    assert "--without=emotion" not in scored["scores_motion"]


def test_what_the_method_does_not_take_is_not_asked(raw):
    clip = _clip("W131", "fear")
    alone = dataclasses.replace(METHOD, controls=(capabilities.EMOTION,))
    assert demo_emotion._asked(alone, clip) == ["--emotion=fear"]
    assert demo_emotion._asked(METHOD, clip) == ["--emotion=fear", "--level=3"]
    knows = dataclasses.replace(METHOD, controls=(capabilities.FACE_EMOTION,))
    assert demo_emotion._asked(knows, clip) == ["--face-emotion=neutral"]


def test_a_person_without_a_neutral_clip_is_told(raw):
    assert demo_emotion._neutral_clip(raw, "M132")["video"] == "calmM132.mp4"
    with pytest.raises(TalkfaceError, match="no neutral test clip of W134; delete its folder"):
        demo_emotion._neutral_clip(raw, "W134")


def test_a_method_without_emotions_has_no_such_part(walked, raw, tmp_path, monkeypatch):
    calm = dataclasses.replace(METHOD, generates=(Aspect.MOUTH, Aspect.BLINKS))
    monkeypatch.setattr(registry, "declaration", lambda name: calm)
    _run(tmp_path)
    flags = [word for words in walked for word in words if word.startswith("--")]
    assert not any(word.startswith(("--emotion", "--without")) for word in flags)
    assert not (tmp_path / "data_emotions").exists()


GOOD = {
    "rows": {
        "model": {"metrics": {"face_distance": {"value": 1.4, "low": 1.2, "high": 1.6}}},
        "wrong-emotion": {"metrics": {"face_distance": {"value": 2.0, "low": 1.8, "high": 2.3}}},
    },
    "worst": {"correlation": 0.85, "closures": 0.95, "other_speech": 0.2},
    "grows": True,
    "voice": {"value": 0.9},
}


def _judge(folder, change, accuracy=0.7):
    report = json.loads(json.dumps(GOOD))
    for path, value in change.items():
        *parts, last = path.split(".")
        place = report
        for part in parts:
            place = place[part]
        place[last] = value
    videos = {"rows": {"model": {"metrics": {"emotion_accuracy": {"value": accuracy}}}}}
    for table, content in ((Table.EMOTIONS, report), (Table.EMOTION_VIDEOS, videos)):
        path = folder / table.value
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    return goals.judge(EMOTION_GOALS, folder)


def test_all_goals_of_emotion_can_be_met(tmp_path):
    told = [str(item) for item in _judge(tmp_path, {})]
    assert len(told) == 7 and all(line.startswith("met ") for line in told)
    assert "0.70 (wanted <= 1, intervals apart)" in told[0]
    assert told[4].endswith("yes (wanted yes)")


HIGHEST = "rows.model.metrics.face_distance.high"


@pytest.mark.parametrize(
    ("change", "accuracy", "missed"),
    [
        ({HIGHEST: 1.81}, 0.7, 0),
        ({"worst.correlation": 0.79}, 0.7, 1),
        ({"worst.correlation": None}, 0.7, 1),
        ({"worst.closures": 0.89}, 0.7, 2),
        ({"worst.other_speech": 0.51}, 0.7, 3),
        ({"grows": False}, 0.7, 4),
        ({"voice.value": 0.79}, 0.7, 5),
        ({}, 0.59, 6),
    ],
)
def test_each_goal_of_emotion_can_be_missed(tmp_path, change, accuracy, missed):
    verdicts = _judge(tmp_path, change, accuracy)
    assert [index for index, item in enumerate(verdicts) if not item.met] == [missed]
