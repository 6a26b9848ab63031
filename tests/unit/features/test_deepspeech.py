import math
import pathlib
import pickle

import numpy as np
import pytest

from talkface_jax.errors import WeightsError
from talkface_jax.features import content, deepspeech
from talkface_jax.interop.content_weights import DEEPSPEECH_VARIABLES, deepspeech_shapes

HIDDEN = 24
LSTM = "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"


def sound(seconds, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, int(16000 * seconds)).astype(np.float32)


def variables(seed=0):
    """Random ones; in every dense layer some values pass the clip at 20."""
    rng = np.random.default_rng(seed)
    arrays = {
        name: rng.normal(0, shape[0] ** -0.5, shape).astype(np.float32)
        for name, shape in deepspeech_shapes(HIDDEN).items()
    }
    for layer in (1, 2, 3, 5):
        arrays[f"layer_{layer}/bias"] *= 80
    return arrays


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "deepspeech.npz"
    np.savez(path, **variables())
    return str(path)


def tensorflow_mfcc(samples, rows):
    """Bin by bin as in TensorFlow's spectrogram.cc, mfcc_mel_filterbank.cc and mfcc_dct.cc."""

    def mel(hz):
        return 1127.0 * math.log1p(hz / 700.0)

    low, high = mel(20), mel(8000)
    centres = [low + (high - low) / 41 * (i + 1) for i in range(41)]
    taper = [0.5 - 0.5 * math.cos(2 * math.pi * i / 512) for i in range(512)]
    out = np.zeros((rows, 26))
    for row in range(rows):
        spectrum = np.fft.fft(samples[320 * row : 320 * row + 512].astype(np.float64) * taper)
        bands = [0.0] * 40
        channel = 0
        for i in range(int(1.5 + 20 / 31.25), int(8000 / 31.25) + 1):
            at = mel(i * 31.25)
            while channel < 40 and centres[channel] < at:
                channel += 1
            before = centres[channel - 1] if channel else low
            weight = (centres[channel] - at) / (centres[channel] - before)
            value = abs(spectrum[i])
            if channel:
                bands[channel - 1] += value * weight
            if channel < 40:
                bands[channel] += value * (1 - weight)
        logs = [math.log(max(band, 1e-12)) for band in bands]
        for i in range(26):
            terms = (logs[j] * math.cos(i * math.pi / 40 * (j + 0.5)) for j in range(40))
            out[row, i] = math.sqrt(2 / 40) * sum(terms)
    return out


def plain_network(inputs, arrays):
    """One row after the other, gate by gate."""

    def dense(x, layer):
        return x @ arrays[f"layer_{layer}/weights"] + arrays[f"layer_{layer}/bias"]

    def clipped(x):
        return np.minimum(np.maximum(x, 0), 20)

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    hidden = len(arrays["layer_1/bias"])
    cell = output = np.zeros(hidden)
    logits = []
    for x in inputs.astype(np.float64):
        for layer in (1, 2, 3):
            x = clipped(dense(x, layer))
        gates = np.concatenate([x, output]) @ arrays[f"{LSTM}/kernel"] + arrays[f"{LSTM}/bias"]
        i, ci, f, o = gates.reshape(4, hidden)
        cell = np.tanh(ci) * sigmoid(i) + cell * sigmoid(f)
        output = np.tanh(cell) * sigmoid(o)
        logits.append(dense(clipped(dense(output, 5)), 6))
    return np.stack(logits)


def test_cepstra_are_those_of_tensorflow():
    samples = sound(0.2) + np.sin(np.arange(3200) * 0.3).astype(np.float32)
    ours = deepspeech.mfcc(samples, 6)
    assert ours.shape == (6, 26) and ours.dtype == np.float32
    np.testing.assert_allclose(ours, tensorflow_mfcc(samples, 6), atol=1e-4)
    np.testing.assert_allclose(
        deepspeech.mfcc(np.zeros(100, np.float32), 2)[:, 0],
        math.sqrt(2 / 40) * 40 * math.log(1e-12),
        rtol=1e-5,
    )


def test_context_is_nine_rows_on_either_side_and_zeros_beyond_the_ends():
    samples = sound(1.0)
    rows = np.pad(deepspeech.mfcc(samples, 50), ((9, 9), (0, 0)))
    expected = np.stack([rows[i : i + 19].ravel() for i in range(50)])
    whole = deepspeech.in_context(samples, 0, 50, rows=50)
    np.testing.assert_allclose(whole, expected, atol=1e-4)
    for start, stop in ((0, 7), (7, 30), (30, 50)):
        part = deepspeech.in_context(samples, start, stop, rows=50)
        np.testing.assert_allclose(part, expected[start:stop], atol=1e-4)


def test_logits_are_those_of_a_plain_loop(weights):
    samples = sound(1.01)
    feature = content.open_feature("deepspeech", weights=weights)
    logits = feature(samples)
    assert logits.shape == (51, 29) and feature.size == content.SIZES["deepspeech"] == 29
    inputs = deepspeech.in_context(samples, 0, 51, rows=51)
    expected = plain_network(inputs, variables())
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_state_goes_from_piece_to_piece(weights, monkeypatch):
    feature = content.open_feature("deepspeech", weights=weights)
    samples = sound(3.0, seed=1)
    whole = feature(samples)
    monkeypatch.setattr(deepspeech, "PIECE_ROWS", 64)
    np.testing.assert_allclose(feature(samples), whole, atol=1e-5)


@pytest.mark.parametrize("length", [1, 320, 321, 640])
def test_every_begun_row_is_there(weights, length):
    feature = content.open_feature("deepspeech", weights=weights)
    rows = feature(sound(1.0)[:length])
    assert rows.shape == (-(-length // 320), 29) and np.isfinite(rows).all()


def test_key_is_of_the_weights_and_the_feature_can_be_sent(weights, tmp_path):
    feature = content.open_feature("deepspeech", weights=weights)
    assert feature.cache_key() == f"deepspeech-v1-{feature.digest[:12]}"
    other = tmp_path / "other.npz"
    np.savez(other, **variables(seed=1))
    assert content.open_feature("deepspeech", weights=str(other)).cache_key() != feature.cache_key()
    sent = pickle.dumps(feature)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent)(sound(0.1)), feature(sound(0.1)))


def broken(tmp_path, change):
    arrays = variables()
    change(arrays)
    path = tmp_path / "broken.npz"
    np.savez(path, **arrays)
    return str(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("layer_3/bias"), r"lacks arrays of DeepSpeech \(layer_3/bias\)"),
        (lambda a: a.update(global_step=np.zeros(1)), r"unknown arrays \(global_step\)"),
        (
            lambda a: a.update({"layer_2/weights": np.zeros((3, 4), np.float32)}),
            r"layer_2/weights is float32\[3, 4\], not floating-point\[24, 24\]",
        ),
        (
            lambda a: a.update({"layer_6/bias": np.zeros(33, np.float32)}),
            r"layer_6/bias is float32\[33\], not floating-point\[29\]",
        ),
        (lambda a: a.update({"layer_6/bias": np.zeros(29, np.int32)}), r"layer_6/bias is int32"),
    ],
)
def test_wrong_variables_are_named(tmp_path, change, message):
    with pytest.raises(WeightsError, match=message):
        content.open_feature("deepspeech", weights=broken(tmp_path, change))


def test_files_that_are_no_weights_are_refused(tmp_path, weights):
    with pytest.raises(WeightsError, match="which no package ships"):
        content.open_feature("deepspeech")
    with pytest.raises(WeightsError, match=r"there is no file .*absent\.npz"):
        content.open_feature("deepspeech", weights=str(tmp_path / "absent.npz"))
    text = tmp_path / "text.npz"
    text.write_text("not an archive")
    cut = tmp_path / "cut.npz"
    cut.write_bytes(pathlib.Path(weights).read_bytes()[:5000])
    objects = tmp_path / "objects.npz"
    np.savez(objects, **{name: np.array([None]) for name in DEEPSPEECH_VARIABLES})
    array = tmp_path / "array.npy"
    np.save(array, np.zeros(3))
    for path in (text, cut, objects, array, tmp_path):
        with pytest.raises(WeightsError, match="no npz file of plain arrays"):
            content.open_feature("deepspeech", weights=str(path))
