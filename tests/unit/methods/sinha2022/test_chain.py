"""The inference chain against fake programs: what it feeds them, what it makes of the answers."""

import numpy as np
import pytest

from talkface_jax.emotions import EMOTIONS, of_label
from talkface_jax.errors import ConfigError
from talkface_jax.landmarks import blinks, boxes, lips, measures, retarget
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.methods.sinha2022 import chain, programs
from talkface_jax.methods.sinha2022.motion.config import MotionConfig
from talkface_jax.methods.sinha2022.render.config import RenderConfig
from talkface_jax.methods.stages.blink.chain import BLINK
from talkface_jax.methods.stages.blink.config import BlinkConfig
from talkface_jax.methods.stages.portrait import chain as portrait
from talkface_jax.records import FaceTrack

LIPS = get_scheme("ibug68").groups["lips"]
HAPPY, SAD = (of_label(EMOTIONS.index(name), 3) for name in ("happy", "sad"))
CLOSED = blinks.CLOSING / np.sum(np.square(blinks.CLOSING))
WIDER = np.zeros((22, 2), np.float32)
WIDER[: len(blinks.LIDS)] = -0.5 * CLOSED[: len(blinks.LIDS)]


class Feature:
    """29 numbers a row."""

    def __call__(self, samples):
        return np.zeros((-(-len(samples) // 320), 29), np.float32)

    def cache_key(self):
        return "ears-v1"


class Reader:
    """Sees what the first blendshape says of happiness."""

    def estimate(self, blendshapes):
        return HAPPY * blendshapes[:, 0].mean()

    def cache_key(self):
        return "eyes-v1"


@pytest.fixture(autouse=True)
def readers(monkeypatch):
    for module in (chain, portrait):
        monkeypatch.setattr(module, "open_feature", lambda config: Feature())
    monkeypatch.setattr(chain.reader, "load", Reader)


def _track(count=12, happy=0.0):
    face = np.concatenate([retarget.mean_mesh(), np.zeros((478, 1))], -1)
    face[:, 2] = np.random.default_rng(0).uniform(-0.3, 0.3, 478)
    landmarks = np.repeat((40 * face + [110, 100, 0])[None], count, 0).astype(np.float32)
    blendshapes = np.zeros((count, 52), np.float32)
    blendshapes[:, 0] = happy
    return FaceTrack(
        landmarks=landmarks,
        blendshapes=blendshapes,
        head=np.zeros((count, 4, 4), np.float32),
        box=np.zeros((count, 4), np.float32),
        valid=np.ones(count, bool),
        size=(200, 240),
    )


class Programs:
    """Records its inputs. Lips move by the wanted less the shown emotion; eyes are wider where
    anything is wanted; `shut` closes them throughout, `pressed` moves the lower lip up."""

    def __init__(self, shut=False, pressed=0.0):
        self.calls, self.shut, self.pressed = [], shut, pressed

    def __call__(self, name, inputs):
        self.calls.append((name, inputs))
        if name == programs.MOTION:
            offsets = np.zeros((len(inputs["content"]), 68, 2), np.float32)
            change = (inputs["emotion"] - inputs["face_emotion"]).sum(-1)
            offsets[:, LIPS, 1] = 0.1 * change[:, None]
            offsets[:, lips.BELOW, 1] -= self.pressed
            offsets[:, blinks.POINTS] = WIDER * (inputs["emotion"].sum(-1) > 0)[:, None, None]
            return {"offsets": offsets}
        if name == BLINK:
            way = np.full((len(inputs["noise"]), 1, 1), float(self.shut))
            return {"displacements": (way * CLOSED).astype(np.float32)}
        return {"image": inputs["identity"].astype(np.float32) / 255}

    def of(self, name):
        return [inputs for called, inputs in self.calls if called == name]


def _chain(call):
    render = RenderConfig(align="affine", smooth=0.0)
    return chain.EmotionChain(MotionConfig(feature="ctc29"), BlinkConfig(), render, call=call)


def _predict(call, *, happy=0.0, frames=12, **controls):
    runner, track = _chain(call), _track(frames, happy)
    found = runner.predict_motion(
        track, samples=np.zeros(640 * frames, np.float32), controls=controls
    )
    face = runner.prepare(track)
    return boxes.from_box(found.landmarks, face.geometry.boxes), face


def test_the_face_keeps_what_it_shows_unless_another_emotion_is_asked_for():
    smiling, _ = _predict(call := Programs(), happy=1.0, face_emotion="auto")
    (fed,) = call.of(programs.MOTION)
    np.testing.assert_allclose(fed["face_emotion"], HAPPY)
    np.testing.assert_allclose(fed["emotion"], np.tile(HAPPY, (12, 1)))
    asked = {"emotion": "sad", "level": 6, "face_emotion": "auto"}
    sad, _ = _predict(call := Programs(), happy=1.0, **asked)
    (fed,) = call.of(programs.MOTION)
    np.testing.assert_allclose(fed["face_emotion"], HAPPY)
    np.testing.assert_allclose(fed["emotion"], np.tile(2 * SAD, (12, 1)))
    # One more of it than the face shows moves the lips by a tenth of 40 pixels.
    np.testing.assert_allclose((sad - smiling)[:, LIPS, 1], 4, atol=1e-2)


def test_what_is_said_of_the_face_is_believed():
    _predict(call := Programs(), happy=1.0, emotion="sad", face_emotion="happy:0.5")
    (fed,) = call.of(programs.MOTION)
    np.testing.assert_allclose(fed["face_emotion"], 0.5 * HAPPY)
    # Where nothing is said the picture is neutral, as the paper wants it.
    _predict(call := Programs(), happy=1.0, emotion="sad")
    (fed,) = call.of(programs.MOTION)
    assert not fed["face_emotion"].any()


def test_an_emotion_may_change_from_frame_to_frame():
    weights = np.linspace(0, 1, 12)[:, None] * SAD
    _predict(call := Programs(), emotion=weights)
    (fed,) = call.of(programs.MOTION)
    np.testing.assert_allclose(fed["emotion"], weights, atol=1e-6)
    with pytest.raises(ConfigError, match="--level"):
        _predict(Programs(), level=2.0)


def test_lips_that_are_pressed_together_touch_and_go_no_further():
    """By the measure of p, b and m, lips that pass through each other are open."""
    ibug68 = get_scheme("ibug68")
    for pressed in (0.3, 0.0, -0.1):
        points, face = _predict(Programs(pressed=pressed))
        rest = lips.gaps(face.normalised.neutral)[1]
        expected = max(rest - pressed, 0)
        np.testing.assert_allclose(measures.mouth_opening(points, ibug68), expected, atol=0.01)


@pytest.mark.parametrize("emotion", ["neutral", "surprised"])
def test_blinks_close_the_eyes_that_an_emotion_opens(emotion):
    upper, lower = blinks.LIDS[[1, 2, 7, 8]], blinks.LIDS[[5, 4, 11, 10]]

    def gap(points):
        return (points[:, lower, 1] - points[:, upper, 1]).mean()

    open_eyes, _ = _predict(Programs(), emotion=emotion)
    shut, _ = _predict(Programs(shut=True), emotion=emotion)
    usual, _ = _predict(Programs(), emotion="neutral")
    assert gap(open_eyes) / gap(usual) == pytest.approx(1.5 if emotion == "surprised" else 1, 0.02)
    assert abs(gap(shut)) < 0.1 * gap(open_eyes)


def test_the_renderer_is_told_both_emotions_of_its_frames():
    call, track = Programs(), _track(6, happy=0.5)
    weights = np.linspace(0, 1, 6)[:, None] * SAD
    session = _chain(call).start(
        track,
        samples=np.zeros(640 * 6, np.float32),
        sources=np.arange(6),
        frame_at=lambda index: np.full((200, 240, 3), index, np.uint8),
        controls={"emotion": weights, "face_emotion": "auto"},
    )
    session.patches(0, [np.zeros((200, 240, 3), np.uint8)] * 2)
    session.patches(2, [np.zeros((200, 240, 3), np.uint8)] * 4)
    fed = call.of(portrait.RENDER)
    np.testing.assert_allclose(np.concatenate([x["emotion"] for x in fed]), weights, atol=1e-6)
    assert all((x["face_emotion"] == 0.5 * HAPPY).all() for x in fed)


def test_a_bundle_says_what_it_hears_and_sees():
    assert chain.METHOD.requires({"motion": MotionConfig()}) == {
        "speech features": "ears-v1",
        "emotion network": "eyes-v1",
    }
    with pytest.raises(ConfigError, match=r"^sinha2022 has no --references; leave it out \(it t"):
        chain.METHOD.declaration.read_controls({"references": 3})
