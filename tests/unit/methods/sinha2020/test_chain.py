"""The inference chain against fake programs: what it feeds them, what it makes of the answers."""

from types import SimpleNamespace

import numpy as np
import pytest

from talkface_jax.errors import ConfigError, FaceError
from talkface_jax.features.content import content_windows
from talkface_jax.landmarks import blinks, boxes, retarget
from talkface_jax.landmarks import references as reference_frames
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.methods.sinha2020 import chain, programs
from talkface_jax.methods.sinha2020.motion.config import MotionConfig
from talkface_jax.methods.sinha2020.render.config import RenderConfig
from talkface_jax.methods.stages.blink.chain import BLINK, WARMUP
from talkface_jax.methods.stages.blink.config import BlinkConfig
from talkface_jax.methods.stages.portrait import chain as portrait
from talkface_jax.records import FaceTrack

LIPS = get_scheme("ibug68").groups["lips"]
SIZE = 256
# Of the frames below, behind the noise that is thrown away.
CLOSED_FRAME = (22 - WARMUP) % 60
# What closes the eyes of the mean face entirely, and nothing else.
CLOSED = blinks.CLOSING / np.sum(np.square(blinks.CLOSING))


class Feature:
    """29 numbers a row, none like another."""

    def __call__(self, samples):
        rows = -(-len(samples) // 320)
        return np.add.outer(np.arange(rows), np.linspace(0, 0.5, 29)).astype(np.float32)

    def cache_key(self):
        return "ears-v1"


@pytest.fixture(autouse=True)
def feature(monkeypatch):
    for module in (chain, portrait):
        monkeypatch.setattr(module, "open_feature", lambda config: Feature())


def _track(count=12, invalid=(), seed=0, size=1.0):
    """A mean face with its own depth and proportions that drifts and opens its mouth."""
    rng = np.random.default_rng(seed)
    face = np.concatenate([retarget.mean_mesh(), rng.uniform(-0.3, 0.3, (478, 1))], -1)
    face = 40 * size * face * [1, rng.uniform(0.9, 1.1), 1] + [110, 100, 0]
    landmarks = np.repeat(face[None], count, 0).astype(np.float32)
    landmarks[:, :, 0] += 2 * np.arange(count)[:, None]
    landmarks[:, 14, 1] += size * np.arange(count)
    valid = np.ones(count, bool)
    valid[list(invalid)] = False
    landmarks[~valid] = 0
    return FaceTrack(
        landmarks=landmarks,
        blendshapes=np.zeros((count, 52), np.float32),
        head=np.zeros((count, 4, 4), np.float32),
        box=np.zeros((count, 4), np.float32),
        valid=valid,
        size=(200, 240),
    )


class Programs:
    """Records its inputs. Lips move by the middle feature row; eyes close in frames 20 to 25 of 60;
    the image is the identity."""

    def __init__(self, *, lids=True, lips=True):
        self.calls, self.lids, self.lips = [], lids, lips

    def __call__(self, name, inputs):
        self.calls.append((name, inputs))
        if name == programs.MOTION:
            offsets = np.zeros((len(inputs["content"]), 68, 2), np.float32)
            if self.lips:
                offsets[:, LIPS, 1] = 0.01 * np.sin(inputs["content"][:, 8, :1])
            return {"offsets": offsets}
        if name == BLINK:
            phase = np.arange(len(inputs["noise"])) % 60
            way = self.lids * np.interp(phase, [19, 22, 23, 26], [0, 1, 1, 0])
            shift = 1e-3 * inputs["noise"][:, :1, None]
            return {"displacements": (way[:, None, None] * CLOSED + shift).astype(np.float32)}
        return {"image": inputs["identity"].astype(np.float32) / 255, "attention": None}

    def of(self, name):
        return [inputs for called, inputs in self.calls if called == name]


def _chain(call, *, align="affine"):
    render = RenderConfig(align=align, smooth=0.0)
    return chain.SinhaChain(MotionConfig(), BlinkConfig(), render, call=call)


def _speech(frames):
    return np.zeros(640 * frames, np.float32)


def _frame(index):
    return np.full((200, 240, 3), index, np.uint8)


def _pixels(made, face):
    return boxes.from_box(made.landmarks, face.geometry.boxes)


def test_each_frame_hears_its_own_window():
    call = Programs()
    made = _chain(call).predict_motion(_track(70), samples=_speech(70))
    fed = np.concatenate([inputs["content"] for inputs in call.of(programs.MOTION)])
    rows = Feature()(_speech(70))
    np.testing.assert_array_equal(fed, content_windows(rows, np.arange(70)))
    assert made.scheme == "ibug68" and made.landmarks.shape == (70, 68, 2)


def test_a_sentence_is_heard_once_however_often_it_is_asked_for(monkeypatch):
    heard = []

    class Ears(Feature):
        def __call__(self, samples):
            heard.append(len(samples))
            return super().__call__(samples)

    monkeypatch.setattr(portrait, "open_feature", lambda config: Ears())
    runner, own, other = _chain(Programs()), _speech(12), _speech(12) + 1
    first = runner.hear(own)
    assert runner.hear(own.copy()) is first and len(heard) == 1
    own[5] += 1  # another sentence in the same place
    runner.hear(own)
    runner.hear(other)
    runner.hear(own[:640])
    np.testing.assert_array_equal(runner.hear(np.zeros(0, np.float32)), Feature()(np.zeros(1)))
    assert heard == [12 * 640, 12 * 640, 12 * 640, 640, 1]


def test_without_motion_the_neutral_face_follows_the_head():
    runner = _chain(Programs(lids=False, lips=False))
    track = _track(12, invalid=(4,))
    face = runner.prepare(track)
    found = _pixels(runner.predict_motion(track, samples=_speech(12)), face)
    still = np.zeros((12, 68, 2))
    np.testing.assert_allclose(
        found[:, LIPS], retarget.retarget(still, face.normalised)[:, LIPS], atol=1e-2
    )
    # The head drifts by two pixels a frame; a frame without a face takes its neighbour's place.
    np.testing.assert_allclose(found[7] - found[6], np.tile([2, 0], (68, 1)), atol=0.1)
    np.testing.assert_allclose(found[4], found[3], atol=0.1)
    np.testing.assert_array_equal(
        face.order, reference_frames.spread_of_mesh(track.landmarks, valid=track.valid, count=15)
    )


def test_generated_lids_replace_the_eyes_and_nothing_else():
    track = _track(40)
    runner = _chain(Programs())
    face = runner.prepare(track)
    found = _pixels(runner.predict_motion(track, samples=_speech(40)), face)
    there = _chain(Programs(lids=False))
    open_eyes = _pixels(there.predict_motion(track, samples=_speech(40)), face)
    gaps = [
        points[CLOSED_FRAME, blinks.LIDS[5], 1] - points[CLOSED_FRAME, blinks.LIDS[1], 1]
        for points in (found, open_eyes)
    ]
    assert gaps[0] < 0.35 * gaps[1]
    others = np.setdiff1d(np.arange(68), blinks.POINTS)
    np.testing.assert_allclose(found[:, others], open_eyes[:, others], atol=1e-4)
    np.testing.assert_allclose(found[20], open_eyes[20], atol=1e-4)
    made = runner.predict_motion(track, samples=_speech(40))
    assert made.blink[CLOSED_FRAME] == pytest.approx(1, abs=0.05) and made.blink[20] < 0.05


def test_another_identity_makes_the_same_motion():
    """Taken off the face again, the lips of two people move alike, to the pixel's rounding."""
    motions = []
    for seed, size in ((1, 1.0), (2, 1.6)):
        runner, track = _chain(Programs(lids=False)), _track(30, seed=seed, size=size)
        face = runner.prepare(track)
        found = _pixels(runner.predict_motion(track, samples=_speech(30)), face)
        moved = found - retarget.retarget(np.zeros((30, 68, 2)), face.normalised)
        linear = np.linalg.inv(face.normalised.maps[:, :2])
        motions.append((moved @ linear)[:, LIPS] * face.normalised.scale)
    assert np.abs(motions[0]).max() > 5e-3
    assert np.abs(motions[0] - motions[1]).max() < 0.01 * np.abs(motions[0]).max()


def test_any_batch_gives_the_same_patches_from_one_picture():
    track = _track(6, invalid=(3,))
    sources = np.array([0, 1, 2, 3, 4, 5, 4, 3, 2, 1])
    results, asked = [], []

    def frame_at(index):
        asked.append(index)
        return np.random.default_rng(index).integers(0, 255, (200, 240, 3), np.uint8)

    for batch in (1, 4, 10):
        session = _chain(Programs()).start(
            track, samples=_speech(10), sources=sources, frame_at=frame_at
        )
        made = []
        for start in range(0, 10, batch):
            frames = [_frame(i) for i in sources[start : start + batch]]
            made += session.patches(start, frames)
        assert session.references == 1
        results.append(made)
    # Never the frame that is shown: its mouth would give the truth away.
    assert len(asked) == 3 and len(set(asked)) == 1 and track.valid[asked[0]]
    assert [patch is None for patch in results[0]] == [source == 3 for source in sources]
    for made in results[1:]:
        for one, two in zip(results[0], made, strict=True):
            assert (one is None) == (two is None)
            if one is not None:
                np.testing.assert_array_equal(one.image, two.image)
                np.testing.assert_array_equal(one.contour, two.contour)
                assert one.image.shape == (SIZE, SIZE, 3) and len(one.contour) == 136


@pytest.mark.parametrize("align", ["affine", "none"])
def test_the_picture_lies_as_the_network_was_trained(align):
    call, track = Programs(), _track(8)
    runner = _chain(call, align=align)
    face = runner.prepare(track)
    session = runner.start(track, samples=_speech(8), sources=np.arange(8), frame_at=_frame)
    session.patches(0, [_frame(i) for i in range(8)])
    (fed,) = call.of(portrait.RENDER)
    own = face.geometry.points[face.identity]
    if align == "none":
        np.testing.assert_allclose(fed["identity_points"], np.tile(own, (8, 1, 1)), atol=1e-5)
    else:
        # The head only drifts and the box with it: on every pose the picture's points are its own.
        np.testing.assert_allclose(fed["identity_points"][face.identity], own, atol=1e-4)
        rigid = np.setdiff1d(np.arange(68), [*range(3, 14), *range(48, 68)])
        target = face.geometry.points[:, rigid]
        np.testing.assert_allclose(fed["identity_points"][:, rigid], target, atol=1e-3)
    assert (fed["identity"] == face.identity).all()


def test_blinks_are_made_of_the_stage_as_it_is_asked():
    runner = _chain(Programs())
    assert len(blinks.find_blinks(runner.blinks(300, seed=3))) == 5
    session = runner.start(
        _track(40),
        samples=_speech(40),
        sources=np.arange(40),
        frame_at=_frame,
        controls={"seed": 3},
    )
    lids = session._script.lids
    np.testing.assert_array_equal(lids, runner.blinker.track(40, {"seed": 3}))
    assert not np.array_equal(lids, runner.blinker.track(40, {}))
    np.testing.assert_allclose(blinks.closure(lids), runner.blinks(40, seed=3), atol=1e-6)


def test_what_does_not_fit():
    refused = r"^sinha2020 has no --references; leave it out \(it takes --blink, "
    with pytest.raises(ConfigError, match=refused):
        chain.METHOD.declaration.read_controls({"references": 3})
    with pytest.raises(FaceError):
        _chain(Programs()).prepare(_track(3, invalid=(0, 1, 2)))


def test_a_bundle_says_what_it_hears():
    configs = {"motion": MotionConfig()}
    assert chain.METHOD.requires(configs) == {"speech features": "ears-v1"}


def test_the_method_runs_the_programs_of_a_bundle():
    configs = {"render": RenderConfig(), "blink": BlinkConfig(), "motion": MotionConfig()}
    bundle = SimpleNamespace(call=Programs())
    made = chain.METHOD.chain(configs, bundle)
    made.predict_motion(_track(3), samples=_speech(3))
    assert len(bundle.call.of(programs.MOTION)) == len(bundle.call.of(BLINK)) == 1
    assert made.render_config is configs["render"]


def test_the_person_is_seen_in_the_allowed_frames_alone():
    """Neutral face, open eyes and picture come from there; the head's pose from every frame."""
    track = _track(12, invalid=(7,))
    allowed = np.arange(12) >= 6
    runner = _chain(Programs())
    face = runner.prepare(track, references=allowed)
    assert set(face.order) == set(np.flatnonzero(allowed & track.valid))
    assert allowed[face.identity] and not allowed[runner.prepare(track).order].all()
    made = runner.predict_motion(track, samples=_speech(12), references=allowed)
    changed = _track(12, invalid=(7,))
    # Another mouth and closed eyes in frames that are not allowed.
    changed.landmarks[:6, 14, 1] += 5
    changed.landmarks[:6, 159, 1] += 2
    same = runner.predict_motion(changed, samples=_speech(12), references=allowed)
    np.testing.assert_array_equal(same.landmarks, made.landmarks)
    other = runner.predict_motion(changed, samples=_speech(12))
    assert np.abs(other.landmarks - made.landmarks).max() > 1e-3
    with pytest.raises(FaceError, match="reference"):
        runner.prepare(track, references=np.arange(12) == 7)
