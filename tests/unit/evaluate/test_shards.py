"""What each row of the landmark table is fed: whose sound, and whose frames as references."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from talkface_jax.data import memory
from talkface_jax.errors import FaceError, RecordError
from talkface_jax.evaluate import landmarks, ridge, scores, shards
from talkface_jax.landmarks import align, boxes, schemes
from talkface_jax.landmarks.references import candidates
from talkface_jax.records import Motion

GROUPS = schemes.get_scheme("iplap131").groups
CONTENT, POSE = GROUPS["content"], GROUPS["pose"]


class Chain:
    """Tells what it was given: x of every content point is the sound's mean square, y the mean
    number of its reference frames."""

    def prepare(self, track, *, references=None):
        geometry = boxes.crop_geometry(track.landmarks, valid=track.valid)
        order = np.flatnonzero(candidates(track.valid, references))
        return SimpleNamespace(geometry=geometry, order=order)

    def predict_motion(self, track, *, samples, references=None):
        face = self.prepare(track, references=references)
        points = face.geometry.points.copy()
        points[:, CONTENT] = np.mean(np.square(samples)), face.order.mean()
        return Motion("iplap131", points)


def _segment(make_segment, number, *, text="", speaker=None, invalid=(), **info):
    """Clip number k is as loud as k."""
    made = make_segment(seed=number, frames=20, invalid=invalid)
    audio = np.where(np.arange(made.audio.size) % 2, 100, -100) * number
    who = f"speaker{number}" if speaker is None else speaker
    known = dataclasses.replace(made.info, speaker=who, text=text, **info)
    return dataclasses.replace(made, audio=audio.astype(np.int16), info=known)


def _loudness(number):
    return np.float32((100 * number / 32768) ** 2)


def _cases(segments, **options):
    failures = []
    found = list(
        shards.motion_cases(
            memory.hold(segments), Chain(), failures=failures, noise_clips=0, **options
        )
    )
    return found, failures


def _heard(case):
    return {row: points[0, 0, 0] for row, points in case.predictions.items()}


def test_each_row_hears_what_it_says(make_segment):
    texts = {1: "one", 2: "two", 3: "One", 4: "four"}
    segments = [_segment(make_segment, number, text=text) for number, text in texts.items()]
    found, failures = _cases(segments)
    assert failures == []
    # The next one, cyclically, who says something else: case does not count.
    for case, own, other in zip(found, (1, 2, 3, 4), (2, 3, 4, 1), strict=True):
        heard = _heard(case)
        assert heard[scores.MODEL] == pytest.approx(_loudness(own), rel=1e-3)
        assert heard[scores.SHIFTED_AUDIO] == pytest.approx(_loudness(own), rel=1e-3)
        assert heard[scores.MISMATCHED] == pytest.approx(_loudness(other), rel=1e-3)
        assert heard[scores.SILENCE] == 0
        assert scores.RIDGE not in heard


def test_the_mismatched_sentence_is_another_speakers_and_another_one(make_segment):
    given = [
        _segment(make_segment, 1, text="same", speaker="a"),
        _segment(make_segment, 2, text="other", speaker="a"),
        _segment(make_segment, 3, text="same", speaker="b"),
        _segment(make_segment, 4, text="new", speaker="b"),
    ]
    found, failures = _cases(given)
    heard = [round(float(_heard(case)[scores.MISMATCHED] / _loudness(1)) ** 0.5) for case in found]
    assert heard == [4, 3, 2, 1] and failures == []
    # Without words, clips of one file name are taken for one sentence.
    nameless = [
        _segment(make_segment, 1, clip="a/001"),
        _segment(make_segment, 2, clip="b/001"),
        _segment(make_segment, 3, clip="c/002"),
    ]
    heard = [_heard(case)[scores.MISMATCHED] / _loudness(1) for case in _cases(nameless)[0]]
    assert np.sqrt(heard) == pytest.approx([3, 3, 1], rel=1e-2)


def test_where_nobody_else_says_anything_else_there_is_no_mismatched_row(make_segment):
    alone = [_segment(make_segment, 1, speaker="a"), _segment(make_segment, 2, speaker="a")]
    found, failures = _cases(alone)
    assert not failures and all(scores.MISMATCHED not in case.predictions for case in found)
    assert shards.speakers_of(memory.hold(alone)) == 1
    chorus = [_segment(make_segment, number, text="we all") for number in (1, 2)]
    found, failures = _cases(chorus)
    assert [(item.row, item.reason) for item in failures] == 2 * [
        (scores.MISMATCHED, "nobody else says another sentence")
    ]


def test_another_sentence_is_repeated_and_begins_in_its_middle():
    own, other = np.zeros(10, np.float32), np.arange(4, dtype=np.float32)
    np.testing.assert_array_equal(shards.mismatched(own, other), [1, 2, 3, 0, 1, 0, 1, 2, 3, 0])
    # The pauses with which both clips begin do not meet.
    begins = np.concatenate([np.zeros(50), np.ones(150)]).astype(np.float32)
    assert shards.mismatched(begins, begins)[:50].all()


def test_the_other_half_shows_what_each_half_is_predicted_from(make_segment):
    segment = _segment(make_segment, 1, invalid=(3, 15))
    track, chain = shards.track_of(segment), Chain()
    made = shards.other_half_rows(track, chain, samples=shards.samples_of(segment))
    seen = made[scores.MODEL_OTHER_HALF][:, 0, 1]
    early = np.setdiff1d(np.arange(10), 3).mean()
    late = np.setdiff1d(np.arange(10, 20), 15).mean()
    np.testing.assert_allclose(seen, 10 * [late] + 10 * [early], rtol=1e-6)
    points = chain.prepare(track).geometry.points
    for half, others in ((slice(0, 10), range(10, 20)), (slice(10, 20), range(10))):
        known = points[[index for index in others if segment.valid[index]]]
        still = align.static_mouth(known[:, POSE], known[:, CONTENT], points[half][:, POSE])
        there = segment.valid[half]
        np.testing.assert_allclose(
            made[scores.STATIC_OTHER_HALF][half][there], still[there], atol=1e-5
        )


def test_a_half_without_a_face_costs_the_rows_of_the_halves_alone(make_segment):
    found, failures = _cases([_segment(make_segment, 1, invalid=range(10))])
    rows = {scores.MODEL_OTHER_HALF, scores.STATIC_OTHER_HALF}
    assert {item.row for item in failures} == rows and "reference" in failures[0].reason
    assert not rows & set(found[0].predictions) and scores.MODEL in found[0].predictions


def test_a_segment_that_the_chain_refuses_fails_in_every_row(make_segment):
    train = [_segment(make_segment, number) for number in (5, 6)]
    linear = shards.fit_ridge(memory.hold(train), Chain())
    given = [_segment(make_segment, 1, invalid=range(20)), _segment(make_segment, 2)]
    found, failures = _cases(given, linear=linear)
    rows = set(scores.ROWS) - {scores.NOISE_FLOOR, scores.UNTRAINED}
    assert {item.row for item in failures} == rows and len(failures) == len(rows)
    (case,) = found
    assert case.name == "clip2+0" and {clip.row for clip in landmarks.score_case(case)} == rows


def test_references_are_frames_with_a_face_of_those_allowed():
    valid = np.array([True, False, True, True])
    allowed = np.array([True, True, False, True])
    np.testing.assert_array_equal(candidates(valid), valid)
    np.testing.assert_array_equal(candidates(valid, allowed), [True, False, False, True])
    with pytest.raises(FaceError, match="reference"):
        candidates(valid, ~valid)
    with pytest.raises(ValueError, match="shape"):
        candidates(valid, allowed[:3])


def test_the_ridge_row_is_what_the_regression_predicts(make_segment):
    train = [_segment(make_segment, number) for number in (5, 6)]
    linear = shards.fit_ridge(memory.hold(train), Chain())
    assert (linear.scheme, linear.frames, linear.speakers) == ("iplap131", 40, 2)
    segment = _segment(make_segment, 1)
    (case,), failures = _cases([segment], linear=linear)
    assert not failures and case.references is not None
    wanted = linear.predict(
        case.truth, references=case.references, samples=shards.samples_of(segment)
    )
    np.testing.assert_array_equal(case.predictions[scores.RIDGE], wanted)
    result = landmarks.evaluate_motion([case], command="test")
    assert result.rows[scores.RIDGE].clips == 1


def test_the_ridge_regression_takes_so_many_frames_of_a_large_set(make_segment):
    segments = [_segment(make_segment, number, invalid=(0,)) for number in range(1, 9)]
    segments[4] = _segment(make_segment, 5, invalid=range(20))
    done = []
    linear = shards.fit_ridge(
        memory.hold(segments),
        Chain(),
        frames=60,
        progress=lambda what, made, total: done.append((made, total)),
    )
    assert linear.frames == 57 and done == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(RecordError, match="no frame of the training split has a face"):
        shards.fit_ridge(memory.hold([segments[4]]), Chain())


def test_speaker_and_groups_reach_every_score(make_segment):
    segment = _segment(make_segment, 1, speaker="ann", emotion=4, level=2, view="left_30")
    (case,), _ = _cases([segment])
    found = landmarks.score_case(case)
    assert {clip.speaker for clip in found} == {"ann"}
    groups = {"emotion": "happy", "level": "2", "view": "left_30"}
    assert all(clip.groups == groups for clip in found)
    unknown = dataclasses.replace(segment.info, emotion=-1, level=-1, view="")
    assert shards.groups_of(unknown) == {}


def test_rows_with_the_same_references_are_divided_by_each_other(make_segment):
    segments = [_segment(make_segment, number) for number in (1, 2)]
    found = landmarks.evaluate_motion(_cases(segments)[0], command="test")
    lips = {row: found.rows[row].metrics["lip_distance"].value for row in found.rows}
    wanted = lips[scores.MODEL_OTHER_HALF] / lips[scores.STATIC_OTHER_HALF]
    assert found.ratios()[scores.OTHER_HALF].value == pytest.approx(wanted)
    shown = found.to_dict()["comparisons"]
    assert list(shown["model-other-half"]) == ["static-other-half"]
    assert "silence" in shown["model"] and "static-other-half" not in shown["model"]


def test_every_row_is_described_and_no_description_is_of_another():
    assert len(set(scores.ROWS.values())) == len(scores.ROWS)
    assert scores.SILENCE == "silence" and "without sound" in scores.ROWS[scores.SILENCE]
    assert ridge.PENALTY in ridge.PENALTIES


def test_labelled_clips_are_asked_for_their_own_emotion_in_every_row(make_segment):
    """And a method without that control is asked for nothing, as a chain without controls is."""
    from talkface_jax import capabilities
    from talkface_jax.records import EMOTIONS

    class Moody(Chain):
        def __init__(self):
            self.asked = []

        def predict_motion(self, track, *, samples, controls=None, references=None):
            self.asked.append(controls)
            return super().predict_motion(track, samples=samples, references=references)

    happy = {"emotion": EMOTIONS.index("happy"), "level": 2}
    given = [_segment(make_segment, 1, **happy), _segment(make_segment, 2, emotion=-1, level=-1)]
    controls = (capabilities.EMOTION, capabilities.LEVEL, capabilities.FACE_EMOTION)
    for taken, wanted in (
        (controls, {"emotion": "happy", "level": 2, "face_emotion": {"happy": 2 / 3}}),
        ((), None),
    ):
        chain = Moody()
        declared = capabilities.Declaration("moody", "none", {}, controls=taken)
        cases = shards.motion_cases(
            memory.hold(given), chain, failures=[], noise_clips=0, declaration=declared
        )
        assert len(list(cases)) == 2
        # The model, shifted, silent and mismatched; both halves.
        assert chain.asked == 6 * [wanted] + 6 * [None]


def test_a_static_face_is_the_mean_reference_on_every_head():
    from talkface_jax.evaluate import rows

    rng = np.random.default_rng(0)
    references = rng.normal(size=(5, 131, 2))
    mean = references.mean(0)
    turn = np.array([[0.9, 0.2], [-0.1, 1.2]])
    points = np.stack([mean @ turn + 3, mean + 1])
    moved = points.copy()
    moved[:, CONTENT] += 5
    found = rows.static_face(moved, references=references)
    np.testing.assert_allclose(found, points, atol=1e-9)
