import dataclasses

import numpy as np
import pytest

from talkface_jax.errors import TalkfaceError
from talkface_jax.evaluate import landmarks, rows, scores
from talkface_jax.landmarks import boxes, schemes

SCHEME = schemes.get_scheme("iplap131")
CONTENT = SCHEME.groups["content"]
MADE = (
    *(scores.MODEL, scores.GROUND_TRUTH, scores.NOISE_FLOOR),
    *(scores.STATIC_MOUTH, scores.SHIFTED_AUDIO, scores.SILENCE),
)


def case_of(points, name, *, late=2, scale=1.0):
    """A clip in coordinates of its crop boxes; the "model" is late and `scale` times as lively."""
    valid = np.ones(len(points), bool)
    place = boxes.crop_boxes(points, valid=valid)
    local = boxes.to_box(points, place)
    still = local[:, CONTENT].mean(0)
    model = still + scale * (np.roll(local[:, CONTENT], late, axis=0) - still)
    noise = np.random.default_rng(0).normal(0, 0.3, points.shape)
    return landmarks.MotionCase(
        name=name,
        truth=local,
        valid=valid,
        predictions={
            scores.MODEL: model,
            scores.SHIFTED_AUDIO: np.roll(model, -10, axis=0),
            scores.SILENCE: np.repeat(still[None], len(points), 0),
        },
        retracked=boxes.to_box(points + noise, place),
        boxes=place,
    )


@pytest.fixture
def result(faces):
    cases = [case_of(points, f"clip{i}") for i, points in enumerate(faces)]
    return landmarks.evaluate_motion(cases, command="test")


def value(result, row, metric):
    return result.rows[row].metrics[metric].value


def test_rows_stand_in_order_with_their_clips(result):
    assert list(result.rows) == [row for row in scores.ROWS if row in MADE]
    assert all(row.clips == 6 and row.failed == 0 for row in result.rows.values())


def test_ground_truth_is_perfect(result):
    assert value(result, scores.GROUND_TRUTH, "lip_distance") == pytest.approx(0, abs=1e-4)
    assert value(result, scores.GROUND_TRUTH, "opening_correlation") == pytest.approx(1)
    assert value(result, scores.GROUND_TRUTH, "deviation") == pytest.approx(1)
    assert value(result, scores.GROUND_TRUTH, "lag") == 0


def test_a_static_mouth_is_worse_than_the_truth_and_does_not_follow_it(result):
    assert value(result, scores.STATIC_MOUTH, "lip_distance") > 1
    assert value(result, scores.STATIC_MOUTH, "deviation") < 0.1
    assert value(result, scores.STATIC_MOUTH, "jaw_distance") > 0.5


def test_noise_floor_is_the_size_of_the_noise(result):
    eyes = 90
    expected = 100 * 0.3 * np.sqrt(np.pi / 2) / eyes
    assert value(result, scores.NOISE_FLOOR, "lip_distance") == pytest.approx(expected, rel=0.05)


def test_lag_has_its_sign(result):
    assert value(result, scores.MODEL, "lag") == 2
    assert value(result, scores.SHIFTED_AUDIO, "lag") == -8


def test_distances_are_in_pixels_not_in_stretched_boxes(faces):
    """A prediction off by 3 px sideways and 4 px down is off by 5 px whatever the box's shape."""
    case = case_of(faces[0], "clip")
    place = np.array(case.boxes)
    place[:, 2] += 100
    truth = boxes.to_box(faces[0], place)
    pred = boxes.to_box(faces[0] + (3, 4), place)[:, CONTENT]
    found = landmarks.score_case(
        dataclasses.replace(case, truth=truth, boxes=place, predictions={scores.MODEL: pred})
    )
    model = next(clip for clip in found if clip.row == scores.MODEL)
    assert model.values["lip_distance"] == pytest.approx(100 * 5 / 90, rel=1e-3)
    assert model.values["face_distance"] == pytest.approx(100 * 5 / 90 * 57 / 131, rel=1e-3)


def test_ratios_are_paired(result):
    model = [clip.values["lip_distance"] for clip in result.of_row(scores.MODEL)]
    still = [clip.values["lip_distance"] for clip in result.of_row(scores.STATIC_MOUTH)]
    ratio = result.ratios()[scores.MODEL, scores.STATIC_MOUTH]
    assert ratio.value == pytest.approx(np.mean(model) / np.mean(still))
    assert ratio.low <= ratio.value <= ratio.high


def test_half_the_articulation_shows_in_the_deviation(faces):
    found = landmarks.evaluate_motion(
        [case_of(p, str(i), late=0, scale=0.5) for i, p in enumerate(faces)], command="test"
    )
    assert value(found, scores.MODEL, "deviation") == pytest.approx(0.5, abs=0.1)


def test_invalid_frames_are_left_out_and_counted(faces):
    case = case_of(faces[0], "clip")
    valid = case.valid.copy()
    valid[10:15] = False
    truth = case.truth.copy()
    truth[10:15] = 0
    found = landmarks.score_case(dataclasses.replace(case, truth=truth, valid=valid))
    assert {(clip.frames, clip.faceless) for clip in found} == {(75, 5)}
    perfect = next(clip for clip in found if clip.row == scores.GROUND_TRUTH)
    assert perfect.values["lip_distance"] == pytest.approx(0, abs=1e-4)
    assert np.isnan(perfect.opening[10:15]).all()


def test_bad_cases_are_counted_failures(faces):
    good, bad = case_of(faces[0], "good"), case_of(faces[1], "bad")
    bad = dataclasses.replace(bad, predictions={scores.MODEL: bad.predictions[scores.MODEL][:-1]})
    with pytest.raises(TalkfaceError, match=r"bad.*\(80, 57, 2\)"):
        landmarks.score_case(bad)
    found = landmarks.evaluate_motion([good, bad], command="test")
    assert found.rows[scores.MODEL].clips == 1
    assert found.rows[scores.MODEL].failed == 1
    assert "predict (80, 57, 2)" in found.failures[0].reason


def test_scores_without_a_prediction_are_refused_with_a_reason(faces):
    good, bad = case_of(faces[0], "good"), scores.Failure("bad", scores.MODEL, "no face in it.")
    other = scores.Failure("truth", scores.GROUND_TRUTH, "another row")
    words = {"noun": "segment", "remedy": "give others"}
    clips = landmarks.score_case(good)
    scores.require_predictions(clips, failures=[bad], **words)
    clips = [clip for clip in clips if clip.row != scores.MODEL]
    for failures, line in [
        ([other, bad], "the only segment could not be scored: bad (no face in it); give others"),
        ([bad, bad], "none of 2 segments could be scored, for instance bad (no face in it); give"),
        ([other], "there is no segment to score; give others"),
    ]:
        with pytest.raises(TalkfaceError) as caught:
            scores.require_predictions(clips, failures=failures, **words)
        assert str(caught.value).startswith(line)


def test_shifted_row_is_ahead_and_sits_on_the_true_head(faces):
    truth = faces[0]
    ahead = rows.shifted(truth, truth)
    pose = SCHEME.groups["pose"]
    np.testing.assert_array_equal(ahead[:, pose], truth[:, pose])
    score = rows.compare("clip", "row", ahead, truth, valid=np.ones(len(truth), bool))
    assert score.values["lag"] == -rows.SHIFT
    assert score.values["lip_distance"] > 1


def test_static_mouth_follows_the_head_exactly(faces):
    """A face that only moves rigidly is its own static mouth."""
    rigid = np.repeat(faces[0][:1], 30, 0) + np.linspace(0, 20, 30)[:, None, None]
    still = rows.static_mouth(rigid, valid=np.ones(30, bool))
    np.testing.assert_allclose(still, rigid, atol=1e-2)


def test_another_scheme_is_scored_by_its_own_points(faces):
    scheme = schemes.get_scheme("ibug68")
    lips, content = scheme.groups["lips"], scheme.groups["content"]
    known = [SCHEME.position(mesh) for mesh in scheme.indices if mesh in SCHEME.indices]
    truth = np.full((len(faces[0]), 68, 2), 100.0)
    truth[:, np.isin(scheme.indices, SCHEME.indices)] = faces[0][:, known]
    wrong = truth[:, content].copy()
    wrong[:, np.flatnonzero(np.isin(content, lips))[:5], 0] += 4.0
    case = landmarks.MotionCase(
        name="clip",
        truth=truth,
        valid=np.ones(len(truth), bool),
        predictions={scores.MODEL: wrong, scores.SILENCE: truth[:, content]},
        scheme="ibug68",
    )
    result = landmarks.evaluate_motion([case], command="test")
    eyes = np.linalg.norm(truth[0, 36] - truth[0, 45])
    expected = 100 * 4.0 * 5 / 20 / eyes
    assert value(result, scores.MODEL, "lip_distance") == pytest.approx(expected, rel=1e-3)
    assert value(result, scores.MODEL, "jaw_distance") == 0
    assert value(result, scores.SILENCE, "face_distance") == 0
    assert "scheme ibug68" in result.conventions["landmarks"]
    with pytest.raises(TalkfaceError, match=r"predict \(80, 57, 2\)"):
        landmarks.score_case(dataclasses.replace(case, scheme="iplap131", truth=faces[0]))
