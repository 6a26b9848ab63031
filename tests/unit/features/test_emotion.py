import hashlib
import importlib.resources

import jax
import numpy as np
import pytest

from talkface_jax.errors import FaceError, WeightsError
from talkface_jax.features import emotion
from talkface_jax.landmarks.blendshapes import FLIP, POSITION, mirror
from talkface_jax.models.frozen.emotion import EmotionConfig, EmotionNetwork
from talkface_jax.records import EMOTIONS

SMALL = EmotionConfig(hidden=(4,))


@pytest.fixture(scope="module")
def variables():
    given = np.zeros((1, emotion.STATISTICS), np.float32)
    return jax.device_get(EmotionNetwork(SMALL).init(jax.random.key(3), given))


@pytest.fixture
def scores():
    return np.random.default_rng(0).uniform(0, 1, (40, 52)).astype(np.float32)


def test_statistics_beside_numpy(scores):
    valid = np.ones(40, bool)
    valid[::3] = False
    found = emotion.statistics(scores, valid)
    mean = scores[valid].astype(np.float64).mean(0)
    kept = [k for k in range(1, 52) if not 11 <= k <= 18 and FLIP[k] >= k]
    means = [(mean[k] + mean[FLIP[k]]) / 2 for k in kept]
    apart = [abs(mean[k] - mean[FLIP[k]]) for k in kept if FLIP[k] != k]
    assert found.dtype == np.float32 and emotion.STATISTICS == len(found) == 27 + 16
    np.testing.assert_allclose(found, [*means, *apart], atol=1e-6)


def test_gaze_does_not_matter(scores):
    one = scores[:1].copy()
    found = emotion.statistics(one)
    one[:, POSITION["eyeLookDownLeft"]] = 0.77
    one[:, POSITION["_neutral"]] = 0.3
    np.testing.assert_array_equal(emotion.statistics(one), found)


def test_a_mirrored_face_looks_the_same(scores):
    found = emotion.statistics(scores)
    np.testing.assert_allclose(emotion.statistics(mirror(scores)), found, atol=1e-6)
    scores[:, POSITION["mouthSmileLeft"]] += 0.2
    assert np.abs(emotion.statistics(scores) - found).max() > 0.05


def test_blinks_hardly_show(scores):
    still = np.tile(scores[:1], (100, 1))
    blinking = still.copy()
    blinking[[20, 21, 60, 61], POSITION["eyeBlinkLeft"]] = 1.0
    assert np.abs(emotion.statistics(blinking) - emotion.statistics(still)).max() < 0.05


def test_what_cannot_be_read(scores):
    with pytest.raises(FaceError, match="no frame shows a face"):
        emotion.statistics(scores, np.zeros(40, bool))
    with pytest.raises(ValueError, match=r"\(40, 51\)"):
        emotion.statistics(scores[:, 1:])


def test_reading_is_the_networks_and_its_vector_beside_numpy(variables, scores):
    reader = emotion.EmotionReader(SMALL, variables)
    found = reader.read(scores)
    given = emotion.statistics(scores)[None]
    logits, intensity = EmotionNetwork(SMALL).apply(variables, given)
    likely = np.asarray(jax.nn.softmax(logits[0]))
    np.testing.assert_allclose(found.probabilities, likely, atol=1e-6)
    assert found.intensity == pytest.approx(float(intensity[0]), abs=1e-6)
    assert reader.classify(scores) == found.emotion == likely.argmax()
    wanted = likely * float(intensity[0])
    wanted[EMOTIONS.index("neutral")] = 0
    np.testing.assert_allclose(reader.estimate(scores), wanted, atol=1e-6)
    assert reader.estimate(scores).dtype == np.float32


def test_weights_survive_the_file(tmp_path, variables):
    path = tmp_path / "w.safetensors"
    digest = emotion.write_weights(path, SMALL, variables)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest == emotion.write_weights(tmp_path / "again", SMALL, variables)
    network, read = emotion.read_weights(path)
    assert network == SMALL
    jax.tree.map(np.testing.assert_array_equal, dict(variables), read)


def test_bad_weights_are_named(tmp_path, variables):
    path = tmp_path / "w.safetensors"
    with pytest.raises(WeightsError, match=r"w\.safetensors"):
        emotion.read_weights(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match=r"w\.safetensors.*talkface pack"):
        emotion.read_weights(path)
    emotion.write_weights(path, EmotionConfig(hidden=(5,)), variables)
    with pytest.raises(WeightsError, match="do not fit"):
        emotion.read_weights(path)


def test_the_packaged_file_is_the_one_of_the_code_and_of_its_card():
    reader = emotion.load()
    assets = importlib.resources.files("talkface_jax.assets")
    assert reader.digest == emotion.SHA256
    assert reader.cache_key() == f"emotion_blendshapes-v1-{emotion.SHA256[:12]}"
    assert emotion.SHA256 in assets.joinpath("emotion_blendshapes.md").read_text()


def test_an_altered_packaged_file_is_refused(monkeypatch):
    monkeypatch.setattr(emotion, "SHA256", "0" * 64)
    emotion.load.cache_clear()
    with pytest.raises(WeightsError, match="was altered"):
        emotion.load()
    emotion.load.cache_clear()


def test_the_packaged_reader_knows_a_smile():
    face = np.zeros((1, 52), np.float32)
    for side in ("Left", "Right"):
        for name, value in (("mouthSmile", 0.9), ("cheekSquint", 0.3), ("eyeSquint", 0.5)):
            face[0, POSITION[f"{name}{side}"]] = value
    found = emotion.load().read(face)
    assert EMOTIONS[found.emotion] == "happy"
    assert found.vector[EMOTIONS.index("happy")] > 0.25
