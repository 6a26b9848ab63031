import numpy as np
import pytest

from talkface_jax.features import alphabet
from talkface_jax.metrics import closure
from talkface_jax.metrics.closure import Closures


def mouth(frames, shut):
    """Wide open but in some frames."""
    opening = np.full(frames, 0.2)
    opening[list(shut)] = 0.01
    return opening


def test_moments_are_the_middles_of_p_b_and_m():
    found = closure.spoken(["p", "a", "m", "b"], np.array([[0, 1], [1, 2], [2, 2.5], [3, 4]]))
    np.testing.assert_allclose(found, [0.5, 2.25, 3.5])
    assert closure.spoken([], np.zeros((0, 2))).shape == (0,)


def test_heard_moments_are_the_middles_of_runs_on_the_best_path():
    text = [alphabet.BLANK] * 40
    for row, letter in ((4, "b"), (5, "b"), (10, "a"), (11, "m"), (20, "p"), (22, "p")):
        text[row] = int(alphabet.encode(letter)[0])
    logits = np.full((40, 29), -1.0)
    logits[np.arange(40), text] = 3
    np.testing.assert_allclose(closure.heard(logits), [0.1, 0.23, 0.41, 0.45])
    assert closure.heard(np.zeros((0, 29))).shape == (0,)


def test_a_frame_counts_where_its_middle_is_near():
    # Frame 10 is shown from 0.40 to 0.44 s.
    opening = mouth(50, [10])
    hits = [closure.closures(opening, np.array([x])).closed for x in (0.3, 0.37, 0.42, 0.47, 0.5)]
    assert hits == [0, 1, 1, 1, 0]
    whole = closure.closures(opening, np.array([0.37, 0.42, 1.0]))
    assert whole == Closures(2, 3) and whole.share == pytest.approx(2 / 3)
    assert closure.closures(opening, np.array([0.3]), window=0.15).closed == 1


def test_the_bound_is_relative_to_the_clips_own_motion():
    opening = mouth(50, [10])
    opening[10] = 0.04 - 1e-6
    assert closure.closures(opening, np.array([0.42])).closed == 1
    opening[10] = 0.04 + 1e-6
    assert closure.closures(opening, np.array([0.42])).closed == 0
    assert closure.closures(opening, np.array([0.42]), bound=25).closed == 1


@pytest.mark.parametrize("level", [0.0, 0.01, 0.1])
def test_a_mouth_that_does_not_move_closes_on_nothing(level):
    assert closure.closures(np.full(50, level), np.array([0.4, 1.0])) == Closures(0, 2)


def test_frames_without_a_face_are_left_out():
    opening = mouth(50, [10])
    valid = np.ones(50, bool)
    valid[8:14] = False
    assert closure.closures(opening, np.array([0.42, 1.0]), valid=valid) == Closures(0, 1)
    holed = np.where(valid, opening, np.nan)
    assert closure.closures(holed, np.array([0.42, 1.0])) == Closures(0, 1)
    nothing = closure.closures(opening, np.array([0.42]), valid=valid & False)
    assert nothing == Closures(0, 0) and np.isnan(nothing.share)
    with pytest.raises(ValueError, match="50 openings for 49"):
        closure.closures(opening, np.array([1.0]), valid=valid[1:])


def test_moments_beyond_the_clip_do_not_count_and_clips_add_up():
    found = closure.closures(mouth(50, [10]), np.array([0.42, 9.0]))
    assert found == Closures(1, 1)
    assert found.merge(Closures(2, 5)) == Closures(3, 6)


def test_the_recogniser_hears_them_in_the_synthetic_voice():
    """Spoken and heard moments of one sentence with many p, b and m agree."""
    from scipy.signal import resample_poly

    from data_prep.synthetic import speech
    from talkface_jax.features import ctc29

    said = speech.speak("My mother put a big brown bag by the pump.")
    logits = ctc29.load()(resample_poly(said.samples, 2, 3).astype(np.float32))
    times = np.array([(item.start, item.end) for item in said.phonemes])
    spoken = closure.spoken([item.symbol for item in said.phonemes], times)
    heard = closure.heard(logits)
    apart = np.abs(heard[:, None] - spoken)
    assert len(spoken) >= 8
    assert (apart.min(1) < 0.1).mean() > 0.7 and (apart.min(0) < 0.1).mean() > 0.5
