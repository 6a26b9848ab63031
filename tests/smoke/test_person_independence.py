"""Person independence of sinha2020: two faces, or two voices, move alike for the same words.

Slow: without TALKFACE_DEMO=DIR (output of `talkface demo --method=sinha2020`) the demo runs here
first. TALKFACE_VOICES=DIR with Kokoro's voices (see `talkface prepare --help`) compares those too;
else the second voice is the packaged one at another pitch and pace.
"""

import itertools
import os
import pathlib

import numpy as np
import pytest

from talkface_jax.cli.main import main
from talkface_jax.data.pipeline import open_dataset
from talkface_jax.evaluate.shards import track_of
from talkface_jax.export.load import load_bundle
from talkface_jax.landmarks import boxes, retarget
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.synthesize.run import build_chain

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

LIPS = get_scheme("ibug68").groups["lips"]
TEXTS = (
    "We should buy a bigger boat before the summer.",
    "Please bring my blue umbrella tomorrow morning.",
    "The old farmer watched people moving past his window.",
    "Five very big balloons floated above the empty market.",
    "I never thought that paper maps would be so useful.",
)
KOKORO = ("af_bella", "am_michael", "bm_george")


@pytest.fixture(scope="module")
def demo(tmp_path_factory, repository):
    """Folder of a walked demo."""
    given = os.environ.get("TALKFACE_DEMO")
    if given:
        return pathlib.Path(given)
    out = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        assert main(["demo", "--method=sinha2020", f"--out={out}"]) == 0
    return out


@pytest.fixture(scope="module")
def chain(demo):
    return build_chain(load_bundle(demo / "sinha2020" / "bundle"))


@pytest.fixture(scope="module")
def people(demo):
    """The longest held-out segment of each speaker."""
    dataset = open_dataset(demo / "data", "test")
    longest = {}
    for record, meta in enumerate(dataset.metas):
        if meta.frames > longest.get(meta.speaker, (0, 0))[0]:
            longest[meta.speaker] = meta.frames, record
    return [dataset.segment(record) for _, record in longest.values()]


def _lips(chain, track, samples):
    """Person-independent lip motion, read back off the predicted landmarks."""
    face = chain.prepare(track)
    points = chain.predict_motion(track, samples=samples).landmarks
    pixels = boxes.from_box(points, face.geometry.boxes)
    neutral = retarget.retarget(np.zeros((len(track), 68, 2)), face.normalised)
    linear = face.normalised.maps[:, :2]
    moved = (pixels - neutral) @ np.linalg.inv(linear) * face.normalised.scale
    return moved[:, LIPS]


def test_another_identity_moves_its_lips_alike(chain, people):
    assert len(people) >= 3
    samples = people[0].audio.astype(np.float32) / 32768
    tracks = [track_of(segment) for segment in people]
    frames = min(len(track) for track in tracks)
    motions = [_lips(chain, track, samples)[:frames] for track in tracks]
    norm = np.linalg.norm(motions[0])
    apart = [np.linalg.norm(motion - motions[0]) / norm for motion in motions[1:]]
    print("difference of the lip motion of two people:", np.round(apart, 4))
    assert norm > 0.1 and max(apart) <= 0.05
    # The faces themselves are not alike: their proportions differ by more than that.
    scales = np.stack([chain.prepare(track).normalised.scale for track in tracks])
    assert np.ptp(scales, 0).max() > 0.05


def _voices():
    from data_prep.synthetic import speech

    voices = {
        "hibari, low and slow": lambda text: speech.speak(text, pitch=0.75, speed=0.9),
        "hibari, high and fast": lambda text: speech.speak(text, pitch=1.3, speed=1.1),
    }
    folder = os.environ.get("TALKFACE_VOICES")
    if folder:
        from data_prep.speech import kokoro

        for name in KOKORO:
            voices[name] = lambda text, name=name: speech.Speech(
                kokoro.speak(text, folder=pathlib.Path(folder), voice=name), ()
            )
    return voices


def _heard(speech):
    """16 kHz, as loud as the others, a tenth of a second of silence around it."""
    from scipy.signal import resample_poly

    samples = resample_poly(speech.samples, 2, 3).astype(np.float32)
    return np.pad(samples / np.abs(samples).max() / 2, 1600)


def _openings(chain, samples):
    """Height of the mouth in the canonical frame, 25 a second."""
    frames = np.arange(len(samples) // 640)
    offsets = chain.offsets(chain.hear(samples), frames)
    return offsets[:, 66, 1] - offsets[:, 62, 1]


def _cepstra(samples):
    import librosa

    found = librosa.feature.mfcc(y=samples, sr=16000, n_mfcc=13, hop_length=640, n_fft=1280)
    found = found[1:, : len(samples) // 640]
    return (found - found.mean(1, keepdims=True)) / found.std(1, keepdims=True)


def test_two_voices_move_the_lips_alike(chain):
    import librosa

    heard = {
        (text, name): _heard(speak(text)) for name, speak in _voices().items() for text in TEXTS
    }
    openings = {key: _openings(chain, samples) for key, samples in heard.items()}
    cepstra = {key: _cepstra(samples) for key, samples in heard.items()}
    names = sorted({name for _, name in heard})
    found = {}
    for one, two in itertools.combinations(names, 2):
        values = []
        for text in TEXTS:
            path = librosa.sequence.dtw(cepstra[text, one], cepstra[text, two])[1]
            values.append(
                np.corrcoef(openings[text, one][path[:, 0]], openings[text, two][path[:, 1]])[0, 1]
            )
        found[one, two] = float(np.mean(values))
    for pair, value in found.items():
        print(f"{pair[0]} / {pair[1]}: {value:.3f}")
    assert np.mean(list(found.values())) >= 0.8
