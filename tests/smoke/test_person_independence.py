"""Person independence of sinha2020: two faces, or two voices, move alike for the same words.

Slow: without TALKFACE_DEMO=DIR (output of `talkface demo --method=sinha2020`) the demo runs here
first. TALKFACE_VOICES=DIR with Kokoro's voices (see `talkface prepare --help`) compares those too;
else the second voice is the packaged one at another pitch and pace.
"""

import itertools
import json
import os
import pathlib

import numpy as np
import pytest

from talkface_jax.cli.main import main
from talkface_jax.evaluate import person_independence as persons
from talkface_jax.export.load import load_bundle
from talkface_jax.synthesize.run import build_chain

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

TEXTS = (
    "We should buy a bigger boat before the summer.",
    "Please bring my blue umbrella tomorrow morning.",
    "The old farmer watched people moving past his window.",
    "Five very big balloons floated above the empty market.",
    "I never thought that paper maps would be so useful.",
)
KOKORO = ("af_bella", "am_michael", "bm_george")
PEOPLE = ("W131", "M132", "M133")
SPEAKER = "W134"
ALIKE = 0.6
"""Largest ratio of `Comparison`."""


@pytest.fixture(scope="module")
def chain(sinha_demo):
    return build_chain(load_bundle(sinha_demo / "sinha2020" / "bundle"))


@pytest.fixture(scope="module")
def clips(sinha_demo):
    """By speaker the neutral held-out clips: paths of video and sound."""
    raw = sinha_demo / "data" / "raw"
    found = {}
    for clip in json.loads((raw / "metadata.json").read_text())["clips"]:
        if (clip["split"], clip["emotion"]) == ("test", "neutral"):
            paths = {kind: raw / clip[kind] for kind in ("video", "audio")}
            found.setdefault(clip["actor"], []).append(paths)
    return found


def _motions(bundle, clips, out):
    """Three held-out people say two sentences of a fourth: rendered as users do, tracked anew."""
    motions = {}
    for person, (number, voice) in itertools.product(PEOPLE, enumerate(clips[SPEAKER][:2])):
        path = out / f"{person}_{number}.mp4"
        out.mkdir(exist_ok=True)
        given = {"bundle": bundle, "face": clips[person][0]["video"], "audio": voice["audio"]}
        flags = [f"--{name}={value}" for name, value in {**given, "out": path}.items()]
        assert main(["synthesize", *flags]) == 0
        motions[person, str(number)] = persons.read_lip_motion(path)
    return motions


@pytest.fixture(scope="module")
def motions(sinha_demo, clips, tmp_path_factory):
    return _motions(sinha_demo / "sinha2020" / "bundle", clips, tmp_path_factory.mktemp("said"))


@pytest.fixture(scope="module")
def true(clips):
    """The fourth person's own lips at the two sentences."""
    return {
        (SPEAKER, str(number)): persons.read_lip_motion(clip["video"])
        for number, clip in enumerate(clips[SPEAKER][:2])
    }


def _with_the_truth(motions, true):
    """Generated lips against those of the person whose voice they hear: one sentence, and two."""
    pairs = {
        shared: [
            persons.compare_pair(made, said)
            for (_, sentence), made in motions.items()
            for (_, spoken), said in true.items()
            if (sentence == spoken) == shared
        ]
        for shared in (True, False)
    }
    same, other = (np.mean([pair.distance for pair in pairs[shared]]) for shared in (True, False))
    opening = np.mean([pair.opening for pair in pairs[True]])
    print(
        f"with the true speaker: {same:.2f} %, at the other sentence {other:.2f} %, r {opening:.2f}"
    )
    return same / other, opening


def test_people_who_say_one_sentence_move_their_lips_alike(motions, true):
    found = persons.compare(motions)
    print(f"\n{found}")
    assert found.apart and found.ratio <= ALIKE
    assert np.mean([pair.opening for pair in found.sentence]) >= 0.9
    # Alike, and not by standing still or by chattering: as the person who says it.
    ratio, opening = _with_the_truth(motions, true)
    assert ratio <= 0.75 and opening >= 0.7


def test_a_motion_of_the_persons_own_is_seen(motions):
    """Everyone moves as always, whatever the sound."""
    own = {
        (person, sentence): motions[person, str(PEOPLE.index(person) % 2)]
        for person, sentence in motions
    }
    found = persons.compare(own)
    print(f"\na motion of the person's own:\n{found}")
    assert not found.apart and found.ratio > ALIKE


def test_an_untrained_motion_is_seen(sinha_demo, clips, true, repository, tmp_path):
    demo, motion = sinha_demo / "sinha2020", tmp_path / "motion"
    config = repository / "configs" / "sinha2020" / "motion.py"
    small = [f"--config.{flag}" for flag in ("train.steps=1", "optim.lr=1e-12")]
    data = f"--config.data.directory={sinha_demo / 'data'}"
    assert main(["train", f"--config={config}:tiny", f"--workdir={motion}", data, *small]) == 0
    stages = {"motion": motion, "blink": demo / "blink", "render": demo / "render"}
    flags = [f"--{stage}={folder}" for stage, folder in stages.items()]
    assert main(["export", *flags, f"--out={tmp_path / 'bundle'}"]) == 0
    motions = _motions(tmp_path / "bundle", clips, tmp_path / "said")
    found = persons.compare(motions)
    print(f"\nan untrained motion:\n{found}")
    ratio, opening = _with_the_truth(motions, true)
    assert found.ratio > ALIKE and not found.apart
    assert ratio > 0.75 and opening < 0.7


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
