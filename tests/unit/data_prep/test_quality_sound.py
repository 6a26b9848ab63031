"""Level, speech, and the offset of the sound from the mouth."""

import numpy as np
import pytest

from data_prep.quality import sound
from talkface_jax.media.audio import read_clip_audio
from talkface_jax.records import AUDIO_RATE, SAMPLES_PER_FRAME, FaceTrack

FRAMES = 120
SECONDS = np.arange(4 * AUDIO_RATE) / AUDIO_RATE


@pytest.fixture(scope="module")
def speech(data_dir):
    return read_clip_audio(data_dir / "obama_speech.mp4", None, 200)


def _noise(seed, slope):
    """Noise whose power falls with frequency to the `slope`: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=len(SECONDS)))
    shaped = np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)), 1) ** (slope / 2))
    return (0.3 * shaped / np.abs(shaped).max()).astype(np.float32)


def test_level_is_that_of_the_loud_parts():
    sine = np.sin(2 * np.pi * 200 * SECONDS).astype(np.float32)
    assert sound.level(sine) == pytest.approx(-3.01, abs=0.01)
    assert sound.level(sine * np.float32(0.01)) == pytest.approx(-43.01, abs=0.01)
    half = sine * (SECONDS < 1)
    assert sound.level(half) == pytest.approx(-3.01, abs=0.01)
    assert sound.level(np.zeros_like(sine)) == sound.level(sine[:100]) == sound.SILENCE


def test_speech_is_heard_at_any_loudness_and_in_noise(speech):
    clean = sound.speech_share(speech)
    assert 0.6 < clean < 0.9
    for gain in (1e-2, 0.1, 2):
        assert sound.speech_share(speech * np.float32(gain)) == pytest.approx(clean, abs=0.05)
    noise = np.random.default_rng(0).normal(size=len(speech)) * np.sqrt(np.mean(speech**2))
    assert sound.speech_share((speech + 0.5 * noise).astype(np.float32)) > 0.15
    rare = np.concatenate([speech[:AUDIO_RATE], np.zeros(19 * AUDIO_RATE, np.float32)])
    assert sound.speech_share(rare) < 0.06


@pytest.mark.parametrize("slope", [0, 1, 2])
def test_noise_is_no_speech(slope):
    assert max(sound.speech_share(_noise(seed, slope)) for seed in range(4)) < 0.05


@pytest.mark.parametrize("frequency", [50, 440])
def test_hum_and_tones_are_no_speech(frequency):
    assert sound.speech_share(np.float32(0.2 * np.sin(2 * np.pi * frequency * SECONDS))) == 0


def test_silence_is_no_speech():
    assert sound.speech_share(np.zeros(16_000, np.float32)) == 0
    assert sound.speech_share(np.zeros(0, np.float32)) == 0


def _opening(seed):
    """A mouth that opens and closes like a speaker's, with pauses; in eye distances."""
    rng = np.random.default_rng(seed)
    syllables = np.convolve(rng.random(FRAMES + 8) < 0.25, np.hanning(9)[1:-1], mode="valid")
    return 0.25 * syllables[:FRAMES]


def _track(opening, valid=None):
    landmarks = np.zeros((len(opening), 478, 3), np.float32)
    landmarks[:, 263, 0] = 80.0
    landmarks[:, 14, 1] = 80.0 * opening
    frames = len(opening)
    return FaceTrack(
        landmarks=landmarks,
        blendshapes=np.zeros((frames, 52), np.float32),
        head=np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1)),
        box=np.tile(np.float32([0, 0, 200, 200]), (frames, 1)),
        valid=np.ones(frames, bool) if valid is None else valid,
        size=(200, 200),
    )


def _voice(opening, late=0.0):
    """Noise that is loud while the mouth moves, `late` frames after it."""
    at = np.arange(len(opening) * SAMPLES_PER_FRAME) / SAMPLES_PER_FRAME - late
    gain = np.interp(at, np.arange(len(opening)), np.abs(np.gradient(opening)), left=0, right=0)
    noise = np.random.default_rng(1).normal(size=len(at))
    return (0.1 * (gain / gain.max() + 0.01) * noise).astype(np.float32)


@pytest.mark.parametrize("late", [-9, -2, 0, 3, 11])
def test_offset_is_found(late):
    """Within half a frame on one clip, and without bias over several."""
    found = [
        sound.offset(_track(_opening(seed)), audio=_voice(_opening(seed), late))
        for seed in range(6)
    ]
    frames = np.array([f.frames for f in found])
    assert np.abs(frames - late).max() < 0.5
    assert abs(frames.mean() - late) < 0.2
    assert min(f.confidence for f in found) > 0.15


def test_offset_is_found_between_frames():
    opening = _opening(2)
    found = [
        sound.offset(_track(opening), audio=_voice(opening, late)).frames for late in (2, 2.5, 3)
    ]
    assert found[0] + 0.2 < found[1] < found[2] - 0.2


def test_offset_does_not_look_at_frames_without_a_face():
    opening = _opening(3)
    valid = np.ones(FRAMES, bool)
    valid[20:45] = False
    track = _track(opening, valid)
    track.landmarks[~valid] = 0
    found = sound.offset(track, audio=_voice(opening, 4))
    assert found.frames == pytest.approx(4, abs=0.5)
    # Noise while there is no face is not laid to the mouth's charge.
    loud = _voice(opening, 4)
    part = slice(20 * SAMPLES_PER_FRAME, 45 * SAMPLES_PER_FRAME)
    loud[part] = np.random.default_rng(0).normal(size=25 * SAMPLES_PER_FRAME)
    heard = sound.offset(track, audio=loud)
    assert heard.frames == pytest.approx(4, abs=0.5)
    assert heard.confidence > 0.15


def test_unrelated_sound_is_unsure():
    sure = sound.offset(_track(_opening(0)), audio=_voice(_opening(0))).confidence
    other = [sound.offset(_track(_opening(0)), audio=_voice(_opening(s))) for s in range(5, 13)]
    assert np.median([o.confidence for o in other]) < 0.3 * sure


@pytest.mark.parametrize("case", ["still", "silent", "faceless", "short"])
def test_offset_of_nothing_is_zero_without_confidence(case):
    opening = _opening(0)
    track, audio = _track(opening), _voice(opening)
    if case == "still":
        track = _track(np.full(FRAMES, 0.1))
    elif case == "silent":
        audio = np.zeros_like(audio)
    elif case == "faceless":
        track = _track(opening, np.zeros(FRAMES, bool))
    else:
        track, audio = _track(opening[:2]), audio[:1280]
    assert sound.offset(track, audio=audio) == sound.Offset(0.0, 0.0)
