"""The synthetic head: geometry, speech, performance, rendering."""

import numpy as np
import pytest

from data_prep.synthetic import identity, performance, raster, renderer, scene, speech, visemes
from data_prep.synthetic.mesh import PARTS, load_head
from data_prep.synthetic.sentences import held_out_sentences, train_sentences
from talkface_jax.records import EMOTIONS, FPS

TEXT = "My baby popped the big blue bubble by the pool."
UPPER_LIP, LOWER_LIP = 91 + 25, 91 + 35  # inner lips, on the midline


@pytest.fixture(scope="module")
def model():
    return load_head()


@pytest.fixture(scope="module")
def said():
    return speech.speak(TEXT).padded(0.1, 0.2)


@pytest.fixture(scope="module")
def head(model):
    return renderer.make_head(identity.CAST[0], model)


def _weights(model, **shapes):
    weights = np.zeros(len(model.shapes.names), np.float32)
    for name, weight in shapes.items():
        weights[model.shapes.names.index(name)] = weight
    return weights


def _gap(model, points):
    return points[model.iplap131[UPPER_LIP], 1] - points[model.iplap131[LOWER_LIP], 1]


def test_head_has_all_shapes_and_parts(model):
    assert len(model.shapes.names) == 52
    assert set(np.unique(model.parts)) == set(range(len(PARTS)))
    assert model.triangles.max() < len(model.base)
    assert np.linalg.norm(model.template[model.joint_neck].mean(0)) == pytest.approx(1.4, abs=0.01)
    eyes = (model.template[model.left_eye].mean(0) + model.template[model.right_eye].mean(0)) / 2
    np.testing.assert_allclose(eyes, 0, atol=1e-3)


def test_jaw_opens_downwards_and_smile_is_on_its_side(model):
    open_mouth = model.shapes.add(model.base, {"jawOpen": 1.0})
    assert _gap(model, open_mouth) - _gap(model, model.base) > 0.15
    moved = np.linalg.norm(
        model.shapes.add(model.base, {"mouthSmileLeft": 1.0}) - model.base, axis=1
    )
    assert moved[model.base[:, 0] > 0.15].max() > 5 * moved[model.base[:, 0] < -0.15].max()


def test_cast_is_large_and_split_by_person(model):
    cast = identity.divide_cast(0)
    assert len(cast.train) >= 10 and len(cast.test) >= 4
    assert len({person.name for person in identity.CAST}) == len(identity.CAST)
    heads = np.stack([identity.neutral_head(person, model) for person in identity.CAST])
    face = (
        (model.vertex_parts == 0) & (model.template[:, 1] > -0.85) & (model.template[:, 2] > -0.4)
    )
    for i in range(len(heads)):
        for j in range(i):
            assert np.abs(heads[i, face] - heads[j, face]).mean() > 0.007


def test_sentences_are_many_and_disjoint():
    train = train_sentences(400, rng=np.random.default_rng(0))
    assert len(set(train)) == 400
    assert len(set(held_out_sentences())) >= 20
    everything = set(train_sentences(3000, rng=np.random.default_rng(1)))
    assert not everything & set(held_out_sentences())


def test_speech_repeats_itself_and_times_its_phonemes(said):
    again = speech.speak(TEXT).padded(0.1, 0.2)
    np.testing.assert_array_equal(said.samples, again.samples)
    starts = [p.start for p in said.phonemes]
    assert starts == sorted(starts)
    assert said.phonemes[-1].end <= said.duration + 0.1
    loud = []
    for phoneme in said.phonemes:
        part = said.samples[int(phoneme.start * speech.RATE) : int(phoneme.end * speech.RATE)]
        if len(part):
            loud.append((phoneme.symbol, float(np.sqrt((part**2).mean()))))
    vowels = np.mean([v for s, v in loud if visemes.VISEME_OF.get(s) in ("aa", "ih", "E", "oh")])
    closures = np.mean([v for s, v in loud if s in "pb"])
    assert vowels > 2 * closures


def test_pitch_and_speed_change_the_voice(said):
    assert speech.speak(TEXT, speed=1.3).duration < 0.9 * speech.speak(TEXT).duration
    low = speech.speak(TEXT, pitch=0.7).samples
    assert not np.allclose(low, speech.speak(TEXT).samples)


def test_visemes_open_on_vowels_and_coarticulate(model):
    phonemes = (
        speech.Phoneme("m", 0.4, 0.5),
        speech.Phoneme("ɑ", 0.5, 0.7),
        speech.Phoneme("m", 0.7, 0.8),
    )
    jaw = visemes.mouth_weights(phonemes, 30, names=model.shapes.names)
    jaw = jaw[:, model.shapes.names.index("jawOpen")]
    assert np.argmax(jaw) == 15
    assert jaw[15] == pytest.approx(0.6, abs=0.02)
    assert jaw[10] < 0.1
    assert 0.2 < jaw[12] < 0.45  # half way into the vowel: smoothed, not a step
    assert jaw[0] == 0


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_lips_close_on_bilabials_in_every_emotion(emotion, model, head, said):
    frames = int(said.duration * FPS)
    acted = performance.perform(
        said,
        emotion=emotion,
        level=3,
        frames=frames,
        names=model.shapes.names,
        rng=np.random.default_rng(0),
    )
    assert acted.weights.shape == (frames, 52)
    assert acted.weights.min() >= 0 and acted.weights.max() <= 1
    gaps = np.array([_gap(model, renderer.deform(head, w, np.zeros(3))) for w in acted.weights])
    rest = _gap(model, head.neutral)
    for phoneme in said.phonemes:
        if phoneme.symbol in "pbm":
            middle = round((phoneme.start + phoneme.end) / 2 * FPS)
            assert gaps[middle - 1 : middle + 2].min() < rest + 0.01
    assert np.ptp(gaps) > 0.04


def test_emotions_differ_and_grow_with_level(model, said):
    def act(emotion, level):
        rng = np.random.default_rng(0)
        return performance.perform(
            said, emotion=emotion, level=level, frames=60, names=model.shapes.names, rng=rng
        ).weights

    means = {emotion: act(emotion, 3).mean(0) for emotion in EMOTIONS}
    for a in EMOTIONS:
        for b in EMOTIONS:
            assert a == b or np.abs(means[a] - means[b]).max() > 0.2
    smile = model.shapes.names.index("mouthSmileLeft")
    levels = [act("happy", level)[:, smile].mean() for level in (1, 2, 3)]
    assert levels[0] + 0.1 < levels[1] < levels[2] - 0.1


def test_blinks_and_gaze_at_natural_rates():
    rng = np.random.default_rng(0)
    closed = np.concatenate([performance.blinks(100, rng=rng) for _ in range(300)])
    onsets = np.sum((closed[1:] > 0.5) & (closed[:-1] <= 0.5))
    assert 0.28 <= onsets / (len(closed) / FPS) <= 0.45
    assert 0.1 <= (closed > 0.5).sum() / onsets / FPS <= 0.4
    look = np.concatenate([performance.gaze(100, down=0, rng=rng) for _ in range(50)])
    speed = np.abs(np.diff(look[:, 0]))
    assert (speed < 1e-6).mean() > 0.75  # fixations
    assert speed.max() > 0.3  # saccades
    assert np.abs(look).max() <= 1


def test_head_motion_is_slow_and_small():
    motion = performance.head_motion(200, rng=np.random.default_rng(3))
    assert np.abs(motion).max() < 0.35
    assert np.abs(np.diff(motion, axis=0)).max() < 0.03
    assert motion[:, 0].std() > 0.01


def test_z_buffer_keeps_the_nearest_triangle_and_covers_once():
    view = np.array(
        [[0, 0, 5], [0, 8, 5], [8, 0, 5], [8, 8, 5], [2, 2, 1], [2, 6, 1], [6, 2, 1]], np.float32
    )
    triangles = np.array([[0, 1, 2], [2, 1, 3], [4, 5, 6]], np.int32)
    depth = np.full((8, 8), raster.FAR, np.float32)
    ids = np.full((8, 8), -1, np.int32)
    weights = np.zeros((8, 8, 2), np.float32)
    raster.fill_triangles(view, triangles, depth, ids, weights, True)
    assert (ids >= 0).all()
    assert ids[2, 2] == 2 and depth[2, 2] == 1
    assert ids[7, 7] == 1 and ids[0, 0] == 0
    culled = np.full((8, 8), -1, np.int32)
    depth[:] = raster.FAR
    raster.fill_triangles(view, triangles[:, ::-1].copy(), depth, culled, weights, True)
    assert (culled == -1).all()


def test_normals_of_a_sphere_point_outwards(model):
    for eye in (model.left_eye, model.right_eye):
        normals = raster.vertex_normals(model.template, model.triangles)[eye]
        ray = model.template[eye] - (model.template[eye].min(0) + model.template[eye].max(0)) / 2
        ray /= np.linalg.norm(ray, axis=1, keepdims=True)
        assert (normals * ray).sum(1).min() > 0.8


def test_render_shows_the_mouth_open_where_the_truth_says(model, head):
    place = scene.sample_scene(np.random.default_rng(5))
    frames, centres = [], []
    for weights in (_weights(model), _weights(model, jawOpen=0.8)):
        points = renderer.deform(head, weights, np.zeros(3))
        frames.append(renderer.render(head, points, place).astype(float))
        centres.append(place.project(points[model.iplap131[111:131]])[:, :2].mean(0))
    x, y = centres[1].round().astype(int)
    closed, opened = (f[y - 2 : y + 3, x - 2 : x + 3].mean() for f in frames)
    assert opened < 0.5 * closed
    changed = np.abs(frames[1] - frames[0]).max(-1) > 25
    rows, columns = np.nonzero(changed)
    assert rows.min() > place.size[0] * 0.35  # brows and eyes stay
    assert abs(columns.mean() - x) < 12


def test_render_is_deterministic_and_antialiased(model, head):
    place = scene.sample_scene(np.random.default_rng(5))
    points = renderer.deform(head, _weights(model), np.array([0.2, 0.05, 0.02]))
    first = renderer.render(head, points, place)
    assert first.shape == (scene.SIZE, scene.SIZE, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, renderer.render(head, points, place))


def test_head_turns_to_the_subjects_left_for_positive_yaw(model, head):
    nose = model.iplap131[40]
    straight = renderer.deform(head, _weights(model), np.zeros(3))
    turned = renderer.deform(head, _weights(model), np.array([0.3, 0, 0]))
    assert turned[nose, 0] > straight[nose, 0] + 0.1
    low = head.neutral[:, 1] < -1.6
    np.testing.assert_allclose(turned[low], straight[low], atol=1e-5)


def test_projection_matches_the_field_of_view():
    place = scene.sample_scene(np.random.default_rng(1))
    distance = place.camera[2]
    edge = distance * np.tan(np.radians(place.fov) / 2)
    points = place.camera + np.array(
        [[0, edge, -distance], [0, 0, -distance], [edge, 0, -distance]]
    )
    np.testing.assert_allclose(
        place.project(points)[:, :2], [[128, 0], [128, 128], [256, 128]], atol=0.01
    )
