import hashlib
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.errors import WeightsError
from talkface_jax.features import alphabet, content, ctc29
from talkface_jax.metrics.text import edit_distance
from talkface_jax.models.frozen.ctc import CtcConfig, CtcNetwork

SMALL = CtcConfig(bands=16, channels=8, dilations=(1, 2), dropout=0.0)


@pytest.fixture(scope="module")
def recogniser():
    mel = np.zeros((1, 8, SMALL.bands), np.float32)
    params = CtcNetwork(SMALL).init(jax.random.key(1), mel)["params"]
    return ctc29.Recogniser(SMALL, params, "0" * 64)


def test_log_mel_beside_numpy():
    sound = np.random.default_rng(0).normal(0, 0.1, 3 * 320 + 7).astype(np.float32)
    rows = ctc29.log_mel(sound, bands=16)
    assert rows.shape == (8, 16)
    assert rows.dtype == np.float32
    from talkface_jax.features.spectra import slaney_bank

    bank = slaney_bank(rate=16000, size=400, bands=16, low=60.0, high=7600.0)
    long = np.concatenate([np.zeros(400), sound, np.zeros(800)])
    for row in (0, 3, 7):
        # Centred on samples 160 row to 160 row + 160.
        first = 400 + 160 * row - 120
        taper = np.sin(np.pi * np.arange(400) / 400) ** 2
        power = np.abs(np.fft.rfft(long[first : first + 400] * taper)) ** 2
        expected = (np.log10(np.maximum(bank @ power, 1e-8)) + 3) / 2
        np.testing.assert_allclose(rows[row], expected, atol=2e-4)


def test_silence_has_one_value():
    np.testing.assert_array_equal(np.unique(ctc29.log_mel(np.zeros(1000, np.float32))), [-2.5])


@pytest.mark.parametrize("samples", [1, 320, 321, 640 * 125 + 6400])
def test_rows_are_begun_hops(recogniser, samples):
    rows = recogniser(np.full(samples, 0.1, np.float32))
    assert rows.shape == (-(-samples // 320), 29)
    assert rows.dtype == np.float32


def test_pieces_do_not_show(recogniser, monkeypatch):
    sound = np.random.default_rng(1).normal(0, 0.1, 320 * 151).astype(np.float32)
    whole = recogniser(sound)
    monkeypatch.setattr(ctc29, "PIECE_ROWS", 20)
    np.testing.assert_allclose(recogniser(sound), whole, atol=1e-4)


def test_a_part_with_context_gives_the_rows_of_the_whole(recogniser):
    sound = np.random.default_rng(2).normal(0, 0.1, 320 * 120).astype(np.float32)
    beside = 2 * SMALL.reach + 2
    part = recogniser(sound[320 * 20 : 320 * 80])
    np.testing.assert_allclose(
        part[beside:-beside], recogniser(sound)[20 + beside : 80 - beside], atol=1e-4
    )


def test_weights_survive_the_file(tmp_path):
    mel = np.zeros((1, 8, SMALL.bands), np.float32)
    params = CtcNetwork(SMALL).init(jax.random.key(1), mel)["params"]
    path = tmp_path / "w.safetensors"
    digest = ctc29.write_weights(path, SMALL, params)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest == ctc29.write_weights(tmp_path / "again", SMALL, params)
    network, read = ctc29.read_weights(path)
    assert network == SMALL
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), dict(params), read)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(read))


def test_bad_weights_are_named(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(WeightsError, match=r"w\.safetensors"):
        ctc29.read_weights(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match=r"w\.safetensors"):
        ctc29.read_weights(path)
    mel = np.zeros((1, 8, SMALL.bands), np.float32)
    params = CtcNetwork(SMALL).init(jax.random.key(1), mel)["params"]
    other = CtcConfig(bands=16, channels=16, dilations=(1, 2))
    ctc29.write_weights(path, other, params)
    with pytest.raises(WeightsError, match="do not fit"):
        ctc29.read_weights(path)


def test_the_packaged_feature_hears_what_is_said():
    """Most characters of held-out sentences of the synthetic voice, but not of it backwards."""
    from scipy.signal import resample_poly

    from data_prep.synthetic import sentences, speech

    feature = content.open_feature("ctc29")
    assert (feature.name, feature.size) == ("ctc29", 29)
    assert feature.cache_key().startswith("ctc29-v1-")
    copied = pickle.loads(pickle.dumps(feature))
    forward, backward, characters = 0.0, 0.0, 0
    for text in sentences.held_out_sentences()[:4]:
        sound = resample_poly(speech.speak(text).samples, 2, 3).astype(np.float32)
        wanted = alphabet.encode(text)
        forward += errors(copied(sound), wanted)
        backward += errors(copied(sound[::-1]), wanted)
        characters += len(wanted)
    assert forward < 0.4 * characters
    assert backward > 0.65 * characters


def errors(logits, wanted):
    padded = np.full((2, 250), -1, np.int32)
    for row, numbers in zip(
        padded, (alphabet.encode(alphabet.greedy_text(logits)), wanted), strict=True
    ):
        row[: len(numbers)] = numbers
    return float(edit_distance(jnp.asarray(padded[:1]), jnp.asarray(padded[1:]))[0])
