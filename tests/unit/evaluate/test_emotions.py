"""The report on emotions tells methods that show them and go on speaking from those that do not."""

import dataclasses
import html
import json
from types import SimpleNamespace

import numpy as np
import pytest

from talkface_jax import capabilities, emotions
from talkface_jax.capabilities import EMOTION_GOALS, Declaration, Table
from talkface_jax.data import memory
from talkface_jax.errors import FaceError, RecordError
from talkface_jax.evaluate import emotion_cases, emotion_clip, emotion_page, goals
from talkface_jax.evaluate import emotions as evaluate
from talkface_jax.landmarks import boxes, retarget, schemes
from talkface_jax.records import EMOTIONS, SAMPLES_PER_FRAME, ClipInfo, Motion, Segment

SCHEME = schemes.get_scheme("ibug68")
FRAMES, EYES = 60, 60.0
LOWER = (402, 14, 178, 405, 314, 17, 84, 181)
AT = [SCHEME.position(mesh) for mesh in LOWER]
DECLARATION = Declaration(
    name="mood",
    paper="none",
    stages={},
    controls=(capabilities.EMOTION, capabilities.LEVEL, capabilities.FACE_EMOTION),
)
MOMENTS = np.array([0.46, 1.26, 1.94])
"""Seconds at which p, b or m are said."""


def _fields():
    """Where each emotion moves the 68 points, in eye distances at level 3; lips part nowhere."""
    rng = np.random.default_rng(5)
    fields = rng.normal(0, 0.04, (8, 68, 2))
    fields[:, [*SCHEME.groups["lips"], SCHEME.position(33), SCHEME.position(263)]] = 0
    corners = [SCHEME.position(61), SCHEME.position(291)]
    fields[:, corners, 1] = 0.04 * rng.normal(size=(8, 1))
    fields[emotions.NEUTRAL] = 0
    return fields


FIELDS = _fields()


def loudness(samples):
    return np.sqrt(np.square(samples.reshape(-1, SAMPLES_PER_FRAME)).mean(1))


def face(opening, vector):
    """(t, 68, 2) pixels: a mouth that is so far open, in eye distances, and shows the emotion."""
    points = np.repeat(retarget.MEAN_FACE[None], len(opening), 0)
    inner = [SCHEME.position(13), SCHEME.position(14)]
    points[:, AT, 1] += (points[:, inner[0], 1] - points[:, inner[1], 1] + opening)[:, None]
    return 128 + EYES * (points + np.einsum("k,kpd->pd", vector, FIELDS))


def segment(number, *, emotion, level, speaker):
    """Somebody says something of their own, with p, b and m at `MOMENTS`."""
    rng = np.random.default_rng(number)
    envelope = np.convolve(rng.uniform(0, 0.4, FRAMES + 2), np.ones(3) / 3, "valid")
    for frame in (25 * MOMENTS).astype(int):
        envelope[frame - 1 : frame + 2] = 0
    times = np.arange(FRAMES * SAMPLES_PER_FRAME) / 16_000
    samples = np.repeat(envelope, SAMPLES_PER_FRAME) * np.sin(2 * np.pi * 200 * times)
    shown = face(loudness(samples), emotions.of_label(emotion, level))
    mesh = np.zeros((FRAMES, 478, 3))
    mesh[:, :, :2] = 128 + EYES * retarget.mean_mesh()
    mesh[:, SCHEME.indices, :2] = shown + rng.normal(0, 0.3, shown.shape)
    box = np.tile(np.float32([0, 0, 256, 256]), (FRAMES, 1))
    return Segment(
        info=ClipInfo(
            "fake",
            f"clip{number}",
            speaker,
            "v.mp4",
            text=f"{number}",
            emotion=emotion,
            level=level,
        ),
        start=0,
        frames=(b"",) * FRAMES,
        audio=(32767 * samples).astype(np.int16),
        landmarks=(mesh / 256).astype(np.float32),
        head=np.tile(np.eye(4, dtype=np.float32), (FRAMES, 1, 1)),
        blendshapes=np.zeros((FRAMES, 52), np.float32),
        box=box,
        valid=np.arange(FRAMES) != 3,
        context=(np.zeros(0, np.int16), np.zeros(0, np.int16)),
    )


SEGMENTS = [
    segment(number, emotion=(3 * number) % 8, level=1 + number % 3, speaker=f"s{number % 4}")
    for number in range(16)
]


class Chain:
    """Shows what it is asked and opens the mouth as the sound is loud: what a method should do."""

    def __init__(self):
        self.asked = []

    def prepare(self, track, *, references=None):
        geometry = boxes.crop_geometry(track.landmarks, valid=track.valid, scheme="ibug68")
        return SimpleNamespace(geometry=geometry, order=np.flatnonzero(track.valid)[::5])

    def predict_motion(self, track, *, samples, controls, references=None):
        self.asked.append(dict(controls))
        vector = emotions.requested(controls, 1)[0]
        points = face(self.opening(samples, vector), self.shown(vector))
        at = self.prepare(track).geometry.boxes
        return Motion("ibug68", boxes.to_box(points.astype(np.float32), at))

    def opening(self, samples, vector):
        return loudness(samples)

    def shown(self, vector):
        return vector


class Blank(Chain):
    def shown(self, vector):
        return 0 * vector


class Swapped(Chain):
    def shown(self, vector):
        moods = np.delete(np.arange(8), emotions.NEUTRAL)
        swapped = np.zeros(8)
        swapped[moods] = np.roll(vector[moods], 1)
        return swapped


class Flat(Chain):
    def shown(self, vector):
        return np.sign(vector)


class Deaf(Chain):
    def opening(self, samples, vector):
        return 0.2 + 0.1 * np.sin(np.arange(FRAMES) ** 1.5)


class Still(Chain):
    def opening(self, samples, vector):
        return np.zeros(FRAMES)


class Agape(Chain):
    def opening(self, samples, vector):
        return loudness(samples) + 0.1 * vector.max()


class Angered(Chain):
    """Moody: what it says changes with one emotion."""

    def opening(self, samples, vector):
        shift = 7 if vector[EMOTIONS.index("sad")] else 0
        return np.roll(loudness(samples), shift)


class Startled(Chain):
    """Closes its mouth where a voice is loud."""

    def opening(self, samples, vector):
        loud = loudness(samples)
        return np.where(loud > 0.2, 0.0, loud)


FACE, SAME, CLOSED, OTHER, GROWS, VOICE, _ = (goal.what for goal in EMOTION_GOALS)


def judge(chain, folder, **options):
    failures = {}
    options.setdefault("moments", lambda samples: MOMENTS)
    cases = emotion_cases.emotion_cases(
        memory.hold(SEGMENTS), chain, DECLARATION, failures=failures, noise_clips=0, **options
    )
    report = evaluate.evaluate_emotions(cases, failures=failures)
    (folder / "scores_motion").mkdir(exist_ok=True)
    (folder / "scores_motion" / "emotions.json").write_text(report.to_json())
    wanted = [goal for goal in EMOTION_GOALS if goal.table is Table.EMOTIONS]
    return report, [item.goal.what for item in goals.judge(wanted, folder) if not item.met]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    chain = Chain()
    return *judge(chain, folder), chain, folder / "scores_motion"


def test_who_shows_what_is_asked_and_speaks_on_keeps_all_goals(good):
    report, missed, _, _ = good
    assert missed == [] and report.grows
    assert (report.clips, report.speakers, report.failures) == (16, 4, {})
    ratio = report.comparisons["model"]["wrong-emotion"]["face_distance"].ratio
    assert ratio.high < 0.6
    assert report.worst.correlation > 0.99 and report.worst.closures == 1
    assert report.voice.value > 0.9 and report.worst.other_speech < 0.5


@pytest.mark.parametrize(
    ("kind", "missed"),
    [
        (Blank, [FACE, GROWS]),
        (Swapped, [FACE]),
        (Flat, [GROWS]),
        (Deaf, [CLOSED, OTHER]),
        (Still, [SAME, CLOSED, VOICE]),
        (Agape, [CLOSED]),
        (Angered, [SAME, CLOSED]),
        (Startled, [VOICE]),
    ],
)
def test_every_goal_can_be_missed(kind, missed, tmp_path):
    assert judge(kind(), tmp_path)[1] == missed


def test_where_no_p_b_or_m_is_heard_no_closure_is_counted(tmp_path):
    report, missed = judge(Chain(), tmp_path, moments=lambda samples: np.zeros(0))
    assert missed == [CLOSED] and np.isnan(report.worst.closures)
    stored = json.loads((tmp_path / "scores_motion" / "emotions.json").read_text())
    assert stored["worst"]["closures"] is None
    assert stored["effects"]["happy"]["closures"] == {"closed": 0, "moments": 0}


def test_the_numbers_are_those_of_the_points():
    cases = emotion_cases.emotion_cases(
        memory.hold(SEGMENTS), Chain(), DECLARATION, failures={}, noise_clips=0
    )
    case = next(case for case in cases if case.own[0] == "happy")
    report = evaluate.evaluate_emotions([case])
    seen = case.valid
    eyes = np.linalg.norm(
        case.truth[:, SCHEME.position(33)] - case.truth[:, SCHEME.position(263)], axis=1
    )

    def distance(points, others):
        return (100 * np.linalg.norm(points - others, axis=-1) / eyes[:, None])[seen].mean()

    wanted = {
        "model": case.asked[case.own],
        "wrong-emotion": case.asked[case.wrong],
        "no-emotion": case.asked["neutral", 0],
        "static-face": case.still,
        "ground-truth": case.truth,
    }
    assert report.rows.keys() == wanted.keys()
    for row, points in wanted.items():
        found = report.rows[row].metrics["face_distance"].value
        assert found == pytest.approx(distance(points, case.truth), rel=1e-4, abs=1e-9)
    lips = SCHEME.groups["lips"]
    ours, theirs = (points[seen][:, lips] for points in (case.asked[case.own], case.truth))
    error = ours - ours.mean(1, keepdims=True) - theirs + theirs.mean(1, keepdims=True)
    mld = 100 * np.linalg.norm(error, axis=-1).mean() / np.median(eyes[seen])
    assert report.rows["model"].metrics["mld"].value == pytest.approx(mld, rel=1e-4)
    neutral = case.asked["neutral", 0]
    for level in (1, 2, 3, 4):
        moved = distance(case.asked["sad", level], neutral)
        assert report.effects["sad"].displacement[str(level)].value == pytest.approx(
            moved, rel=1e-4
        )
        # The made-up chain is linear in the level, beyond the data's as well.
        field = np.linalg.norm(FIELDS[EMOTIONS.index("sad")], axis=-1).mean() * level / 3
        assert moved == pytest.approx(100 * field * EYES / eyes[seen].mean(), rel=0.05)


def test_a_face_is_asked_for_everything_and_told_what_it_shows(good):
    _, _, chain, _ = good
    happy = EMOTIONS.index("happy")
    numbers = [k for k, item in enumerate(SEGMENTS) if item.info.emotion == happy]
    each = len(chain.asked) // len(SEGMENTS)
    # 7 emotions at 4 levels and neutral; 8 with other speech; the own one in another voice.
    assert each == 29 + 8 + 1
    asked = chain.asked[numbers[0] * each : (numbers[0] + 1) * each]
    level = SEGMENTS[numbers[0]].info.level
    assert all(item["face_emotion"] == {"happy": level / 3} for item in asked)
    assert {(item["emotion"], item["level"]) for item in asked[:29]} == {
        ("neutral", 1),
        *((name, k) for name in EMOTIONS if name != "neutral" for k in (1, 2, 3, 4)),
    }
    assert [item["emotion"] for item in asked[29:37]] == list(EMOTIONS)
    assert (asked[37]["emotion"], asked[37]["level"]) == ("happy", level)


def test_the_wrong_emotion_is_another_at_the_same_level():
    rng = np.random.default_rng(0)
    drawn = {emotion_cases.wrong_for(("sad", 3), rng=rng) for _ in range(200)}
    assert drawn == {(name, 3) for name in EMOTIONS if name not in ("sad", "neutral")}
    drawn = {emotion_cases.wrong_for(("neutral", 0), rng=rng) for _ in range(200)}
    assert drawn == {(name, 2) for name in EMOTIONS if name != "neutral"}


def test_a_neutral_clip_has_no_row_without_emotion(good):
    report = good[0]
    neutral = sum(item.info.emotion == emotions.NEUTRAL for item in SEGMENTS)
    assert report.rows["no-emotion"].clips == 16 - neutral < 16
    gap = report.comparisons["model"]["no-emotion"]["face_distance"]
    assert gap.ratio.n == gap.difference.n == 16 - neutral and gap.ratio.high < 0.8


def test_unlabelled_clips_are_left_out_and_refused_where_there_are_no_others():
    unknown = [
        dataclasses.replace(item, info=dataclasses.replace(item.info, emotion=-1, level=-1))
        for item in SEGMENTS[:2]
    ]
    some = [*unknown, SEGMENTS[5]]
    found = emotion_cases.emotion_cases(
        memory.hold(some), Chain(), DECLARATION, failures={}, noise_clips=0
    )
    assert [case.name for case in found] == ["clip5+0"]
    with pytest.raises(RecordError, match="no clip of the split says which emotion it shows"):
        list(
            emotion_cases.emotion_cases(
                memory.hold(unknown), Chain(), DECLARATION, failures={}, noise_clips=0
            )
        )


def test_of_a_large_split_clips_are_taken_evenly():
    found = emotion_cases.emotion_cases(
        memory.hold(SEGMENTS), Chain(), DECLARATION, failures={}, noise_clips=0, limit=4
    )
    assert [case.name for case in found] == ["clip0+0", "clip5+0", "clip10+0", "clip15+0"]


def test_what_the_chain_refuses_is_told():
    class Picky(Chain):
        def prepare(self, track, *, references=None):
            if not track.valid.all():
                raise FaceError("no face")
            return super().prepare(track)

    whole = dataclasses.replace(SEGMENTS[0], valid=np.ones(FRAMES, bool))
    failures = {}
    found = emotion_cases.emotion_cases(
        memory.hold([whole, SEGMENTS[1]]), Picky(), DECLARATION, failures=failures, noise_clips=0
    )
    report = evaluate.evaluate_emotions(found, failures=failures)
    assert (report.clips, report.failures) == (1, {"clip1+0": "no face"})
    with pytest.raises(RecordError, match=r"no labelled clip could be predicted \(no face\)"):
        evaluate.evaluate_emotions([], failures=failures)


def test_without_another_speaker_there_is_no_other_speech():
    found = emotion_cases.emotion_cases(
        memory.hold(SEGMENTS[:1]), Chain(), DECLARATION, failures={}, noise_clips=0
    )
    report = evaluate.evaluate_emotions(found)
    assert np.isnan(report.worst.other_speech)


def test_the_report_is_json_and_one_page(good, tmp_path):
    report = good[0]
    emotion_page.write_report(report, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "emotions.json",
        "emotions.html",
    }
    stored = json.loads((tmp_path / "out" / "emotions.json").read_text())
    assert stored["schema"] == 1 and stored["grows"] is True
    assert stored["worst"]["correlation"] == pytest.approx(report.worst.correlation, abs=1e-6)
    # The frame without a face is a gap.
    assert stored["example"]["openings"]["happy"][3] is None
    page = (tmp_path / "out" / "emotions.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 3
    assert "http" not in page.split("</style>")[1] and 'class="failed"' not in page
    for text in (*emotion_clip.ROWS.values(), *report.conventions.values()):
        assert text in html.unescape(page) or "tracked again" in text


def test_a_page_marks_what_was_missed(tmp_path):
    cases = emotion_cases.emotion_cases(
        memory.hold(SEGMENTS), Blank(), DECLARATION, failures={}, noise_clips=0
    )
    page = emotion_page.render(evaluate.evaluate_emotions(cases))
    assert page.count('<p class="failed">') == 3  # wrong emotions, closures, levels
