"""The linear baseline: finds what is linear, in anybody's face, from the sound alone."""

import dataclasses

import numpy as np
import pytest

from talkface_jax.errors import RecordError
from talkface_jax.evaluate import ridge
from talkface_jax.landmarks import schemes

SCHEME = "ibug68"
GROUPS = schemes.get_scheme(SCHEME).groups
CONTENT = GROUPS["content"]
FRAMES = 60


@pytest.fixture(autouse=True)
def fewer_features(monkeypatch):
    monkeypatch.setattr(ridge, "STEP", 8)


def _sound(seed):
    """Noise whose loudness goes up and down."""
    rng = np.random.default_rng(seed)
    loud = np.interp(np.arange(640 * FRAMES) / 640, np.arange(FRAMES), rng.uniform(0, 1, FRAMES))
    return (0.3 * loud**3 * rng.standard_normal(640 * FRAMES)).astype(np.float32)


def _opening(samples):
    """Linear in the features: the mean of the rows, which hears the sound alone."""
    return ridge.features(samples, np.arange(FRAMES)).mean(1)


def _example(seed, *, gain=0.02, speaker=None):
    """A face of its own shape that drifts, turns and opens its mouth with the sound."""
    rng = np.random.default_rng(seed)
    shape = rng.uniform(0.2, 0.8, (68, 2))
    samples = _sound(seed)
    still = np.repeat(shape[None], FRAMES, 0)
    moved = still.copy()
    moved[:, CONTENT, 1] += gain * _opening(samples)[:, None]
    turn = 0.1 * np.sin(np.arange(FRAMES) / 9)
    matrix = np.stack(
        [np.stack([np.cos(turn), -np.sin(turn)], -1), np.stack([np.sin(turn), np.cos(turn)], -1)],
        -2,
    )
    return ridge.Example(
        speaker=speaker or f"speaker{seed}",
        points=(moved @ matrix).astype(np.float64),
        valid=np.ones(FRAMES, bool),
        references=shape[None],
        samples=samples,
    )


@pytest.fixture
def fitted():
    return ridge.fit([_example(seed) for seed in range(6)], scheme=SCHEME)


def _error(fitted, example):
    made = fitted.predict(example.points, references=example.references, samples=example.samples)
    return np.linalg.norm(made - example.points[:, CONTENT], axis=-1).mean()


def test_what_is_linear_is_found_in_a_face_that_was_never_seen(fitted):
    example = _example(20)
    nothing = dataclasses.replace(fitted, weights=0 * fitted.weights)
    assert _error(fitted, example) < 0.1 * _error(nothing, example)
    assert fitted.penalty == min(ridge.PENALTIES)
    assert (fitted.frames, fitted.speakers) == (6 * FRAMES, 6)
    assert str(fitted) == "fitted on 360 frames of 6 training speakers, penalty 0.03"


def test_the_true_mouth_is_not_looked_at(fitted):
    """Only the pose points of the frame, its references and the sound go in."""
    example, other = _example(20), _example(20).points.copy()
    other[:, CONTENT] = 0.5
    given = {"references": example.references, "samples": example.samples}
    np.testing.assert_array_equal(
        fitted.predict(example.points, **given), fitted.predict(other, **given)
    )
    silent = fitted.predict(
        example.points, references=example.references, samples=0 * example.samples
    )
    assert np.ptp((silent - fitted.predict(example.points, **given))[..., 1]) > 0.01


def test_the_prediction_follows_the_head(fitted):
    example = _example(20)
    matrix, shift = np.array([[0.0, 0.5], [-0.5, 0.0]]), np.array([3.0, -2.0])
    given = {"references": example.references, "samples": example.samples}
    there = fitted.predict(example.points @ matrix + shift, **given)
    np.testing.assert_allclose(there, fitted.predict(example.points, **given) @ matrix + shift)


def test_the_penalty_is_chosen_by_speakers_who_are_left_out():
    """Speakers who move oppositely have nothing in common: the more penalty the better."""
    examples = [_example(seed, gain=0.02 * (-1) ** seed) for seed in range(4)]
    assert ridge.fit(examples, scheme=SCHEME).penalty == max(ridge.PENALTIES)
    alone = [dataclasses.replace(item, speaker="one") for item in examples]
    assert ridge.fit(alone, scheme=SCHEME).penalty == ridge.PENALTY


def test_frames_without_a_face_are_not_fitted_on():
    examples = [_example(seed) for seed in range(2)]
    valid = np.arange(FRAMES) % 3 != 0
    garbage = []
    for filler in (0.0, 7.0):
        points = np.where(valid[:, None, None], examples[0].points, filler)
        part = dataclasses.replace(examples[0], points=points, valid=valid)
        garbage.append(ridge.fit([part, examples[1]], scheme=SCHEME))
    np.testing.assert_array_equal(garbage[0].weights, garbage[1].weights)
    assert garbage[0].frames == FRAMES + valid.sum()
    nobody = dataclasses.replace(examples[0], valid=np.zeros(FRAMES, bool))
    with pytest.raises(RecordError, match="no training frame has a face"):
        ridge.fit([nobody], scheme=SCHEME)


def test_features_are_centred_on_their_frame():
    """A click in the middle of frame 30 stands in the middle of its features."""
    samples = np.zeros(640 * FRAMES, np.float32)
    samples[30 * 640 : 30 * 640 + 320] = 0.5
    found = ridge.features(samples, np.arange(FRAMES)).reshape(FRAMES, -1, 80)
    loud = (found > -3).any(-1)
    assert loud[30].any() and not loud[[10, 50]].any()
    heard = np.flatnonzero(loud.any(1))
    assert abs(heard.mean() - 30) <= 1
