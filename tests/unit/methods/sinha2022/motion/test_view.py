"""What the motion stage takes of labelled clips: faces, emotions and the way between them."""

import dataclasses
import pickle

import numpy as np
import pytest

from talkface_jax.data.memory import hold
from talkface_jax.data.reader import Opened, SegmentReader
from talkface_jax.emotions import EMOTIONS, of_label
from talkface_jax.errors import ConfigError
from talkface_jax.features import content
from talkface_jax.landmarks import blinks, retarget
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.methods.sinha2022.motion import view as views
from talkface_jax.methods.sinha2022.motion.view import MotionView
from talkface_jax.methods.stages.portrait import sound as hearing

HAPPY, NEUTRAL, CONTEMPT = map(EMOTIONS.index, ("happy", "neutral", "contempt"))
LIPS = get_scheme("ibug68").groups["lips"]
SIZE = content.SIZES["ctc29"]
FRAMES = 40


class Rows:
    """Stands in for a speech feature."""

    def cache_key(self):
        return "rows"

    def __call__(self, samples):
        count = -(-len(samples) // 320)
        return np.tile(np.arange(count, dtype=np.float32)[:, None], (1, SIZE))


@pytest.fixture(autouse=True)
def feature(monkeypatch):
    monkeypatch.setattr(hearing, "_feature", lambda name, weights: Rows())


def _clip(make_segment, name, emotion, *, level=2, smile=0.0, closed=()):
    """The mean face as a speaker of that label: mouth corners drawn up by `smile`."""
    made = make_segment(seed=1, frames=FRAMES)
    mesh = np.concatenate([retarget.mean_mesh(), np.zeros((478, 1))], -1)
    rng = np.random.default_rng(0)
    mesh[:, 2] = rng.uniform(-0.2, 0.2, 478)
    points = np.repeat(mesh[None], FRAMES, 0)
    for corner, side in ((61, -1), (291, 1)):
        points[:, corner, :2] += [side * smile / 2, -smile]
    points[:, 14, 1] += 0.05 * (np.arange(FRAMES) % 5)
    upper = get_scheme("ibug68").indices[blinks.LIDS[[1, 2, 7, 8]]]
    lower = get_scheme("ibug68").indices[blinks.LIDS[[5, 4, 11, 10]]]
    for frame in closed:
        points[frame, upper] = points[frame, lower]
    info = dataclasses.replace(made.info, clip=name, speaker="M1", emotion=emotion, level=level)
    box = np.tile(np.array([0, 0, 256, 256], np.float32), (FRAMES, 1))
    scaled = (points * [0.25, 0.25, 0.25] + [0.5, 0.5, 0]).astype(np.float32)
    return dataclasses.replace(made, info=info, landmarks=scaled, box=box)


def test_frames_near_a_bilabial_are_told(clips, monkeypatch):
    """Of the frames from 0.28 s on the middles of three lie within 0.06 s of 0.41 s."""
    monkeypatch.setattr(views.closure, "heard", lambda logits: np.array([0.41]))
    sample = _view(bilabials=True).sample(_reader(clips), 7, _rng(), train=False)
    np.testing.assert_array_equal(sample["bilabial"], [0, 0, 1, 1, 1])


@pytest.fixture(scope="module")
def clips(make_segment):
    return (
        _clip(make_segment, "smiling", HAPPY, level=3, smile=0.1, closed=(20, 21)),
        _clip(make_segment, "still", NEUTRAL, level=1),
        _clip(make_segment, "sneering", CONTEMPT),
    )


def _reader(clips, record=0):
    return Opened(hold(clips))[record]


def _rng(seed=0):
    return np.random.default_rng(seed)


def _view(**fields):
    return MotionView(feature="ctc29", **fields)


def test_samples_fit_the_spec_and_views_are_picklable(clips):
    view = pickle.loads(
        pickle.dumps(_view(flip=True, face_noise=0.01, face_stretch=0.1, bilabials=True))
    )
    for train in (True, False):
        sample = view.sample(_reader(clips), 3, _rng(), train=train)
        for key, leaf in view.spec(1).items():
            assert (sample[key].shape, sample[key].dtype) == (leaf.shape[1:], leaf.dtype), key


def test_motion_starts_from_the_face_that_is_given(clips):
    """From its own face a smile is no motion, from a neutral one it is; both are told."""
    own = _view(neutral_share=0, other_share=0).sample(_reader(clips), 0, _rng(), train=False)
    np.testing.assert_array_equal(own["emotion"], np.tile(of_label(HAPPY, 3), (5, 1)))
    np.testing.assert_array_equal(own["face_emotion"], of_label(HAPPY, 3))
    still = _view(neutral_share=1, other_share=0).sample(_reader(clips), 0, _rng(), train=False)
    np.testing.assert_array_equal(still["emotion"], own["emotion"])
    assert not still["face_emotion"].any()
    corners = [get_scheme("ibug68").position(mesh) for mesh in (61, 291)]
    assert np.abs(own["offsets"][:, corners]).max() < 0.02
    np.testing.assert_allclose(still["offsets"][:, corners, 1], -0.1, atol=0.02)
    # The same face either way: where it starts and how far it goes from there.
    there = [item["face"] + item["offsets"] for item in (own, still)]
    np.testing.assert_allclose(there[0][:, LIPS], there[1][:, LIPS], atol=0.01)


def test_another_clip_is_drawn_as_often_as_asked(clips):
    view = _view(neutral_share=0.5, other_share=0.25)
    drawn = [
        tuple(view.sample(_reader(clips), 0, _rng(seed), train=False)["face_emotion"])
        for seed in range(80)
    ]
    share = {kind: drawn.count(kind) / len(drawn) for kind in set(drawn)}
    assert share[tuple(of_label(NEUTRAL, 1))] == pytest.approx(0.625, abs=0.17)
    assert share[tuple(of_label(HAPPY, 3))] == pytest.approx(0.25, abs=0.15)
    assert share[tuple(of_label(CONTEMPT, 2))] == pytest.approx(0.125, abs=0.12)


def test_closing_eyes_do_not_teach_the_lids(clips):
    view = _view(neutral_share=0, other_share=0)
    seen = view.sample(_reader(clips), 18, _rng(), train=False)["seen"]
    np.testing.assert_array_equal(seen[[0, 1, 4]], 1)
    assert not seen[2:4, blinks.POINTS].any()
    assert seen[:, np.setdiff1d(np.arange(68), blinks.POINTS)].all()
    # Nor does a blink lower the lids at rest.
    shut = _view(neutral_share=0, other_share=0).sample(_reader(clips), 0, _rng(), train=False)
    gap = shut["face"][blinks.LIDS[5], 1] - shut["face"][blinks.LIDS[1], 1]
    assert gap == pytest.approx(np.ptp(retarget.MEAN_FACE[blinks.LIDS[[1, 5]], 1]), rel=0.1)


def test_a_mirrored_sample_is_the_mirrored_motion_but_never_of_contempt(clips):
    plain, flipping = (_view(neutral_share=1, other_share=0, flip=flip) for flip in (False, True))
    mirrored = 0
    for seed in range(20):
        one, two = (v.sample(_reader(clips), 0, _rng(seed), train=True) for v in (plain, flipping))
        if not np.array_equal(one["offsets"], two["offsets"]):
            mirrored += 1
            np.testing.assert_allclose(two["offsets"], retarget.mirror(one["offsets"]))
            np.testing.assert_allclose(two["face"], retarget.mirror(one["face"]))
        same = [v.sample(_reader(clips, 2), 0, _rng(seed), train=True) for v in (plain, flipping)]
        np.testing.assert_array_equal(same[0]["offsets"], same[1]["offsets"])
    assert 4 <= mirrored <= 16


def test_the_face_is_changed_in_training_alone_and_the_motion_never(clips):
    view = _view(neutral_share=1, other_share=0, face_noise=0.02, face_stretch=0.1)
    trained, fixed = (view.sample(_reader(clips), 0, _rng(), train=t) for t in (True, False))
    np.testing.assert_array_equal(trained["offsets"], fixed["offsets"])
    assert 0.005 < np.abs(trained["face"] - fixed["face"]).mean() < 0.1


def test_a_clip_without_a_label_is_refused_by_name(make_segment):
    unknown = _clip(make_segment, "who", -1)
    with pytest.raises(ConfigError, match="clip who of data set fake has no emotion"):
        _view().sample(SegmentReader.of(unknown), 0, _rng(), train=True)
