import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.data.dataset import SegmentReader, open_dataset
from talkface_jax.errors import ConfigError, RecordError
from talkface_jax.features import alphabet, ctc29
from talkface_jax.methods.speech import noises, scores
from talkface_jax.methods.speech.ctc29.config import Ctc29Config, SoundConfig
from talkface_jax.methods.speech.ctc29.task import Ctc29Task
from talkface_jax.methods.speech.ctc29.view import SpeechView
from talkface_jax.models.frozen.ctc import CtcConfig
from talkface_jax.task import LossContext

QUIET = SoundConfig(resample=0, gain=0, noise=0, echo=0, dull=0, masks=0)
NET = CtcConfig(bands=8, channels=8, dilations=(1,))
TEXT = "It's a blue moon."


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def spoken(make_segment):
    """A segment of which 2 s are not silent, without any face."""
    sound = np.zeros(125 * 640, np.int16)
    sound[: 2 * 16000] = np.random.default_rng(5).normal(0, 2000, 2 * 16000).astype(np.int16)
    sound[2 * 16000 - 1] = 7
    segment = make_segment(frames=125, invalid=tuple(range(125)), sound=sound)
    return dataclasses.replace(segment, info=dataclasses.replace(segment.info, text=TEXT))


def sample(segment, rng, *, train, **options):
    view = SpeechView(bands=8, most_characters=20, **options)
    out = view.sample(SegmentReader.of(segment), 0, rng, train=train)
    for key, item in view.spec(1).items():
        assert out[key].shape == item.shape[1:]
        assert out[key].dtype == item.dtype
    return out


def test_view_gives_the_sound_and_the_text(spoken, rng):
    out = sample(spoken, rng, train=False)
    samples = spoken.audio.astype(np.float32) / 32768
    np.testing.assert_array_equal(out["mel"], ctc29.log_mel(samples, bands=8))
    assert alphabet.decode(out["labels"]) == "it's a blue moon"
    assert (out["labels"][16:] == -1).all()


def test_training_moves_the_sound_and_loses_none_of_it(spoken):
    delays = set()
    for seed in range(4):
        rng = np.random.default_rng(seed)
        mel = sample(spoken, rng, train=True, sound=QUIET)["mel"]
        loud = np.flatnonzero(mel.max(-1) > -2.5)
        delays.add(int(loud[0]))
        assert 199 <= loud[-1] - loud[0] + 1 <= 203
    assert len(delays) == 4


def test_resampling_changes_the_length_within_its_bounds(spoken):
    lengths = []
    for seed in range(8):
        sound = dataclasses.replace(QUIET, resample=0.1)
        mel = sample(spoken, np.random.default_rng(seed), train=True, sound=sound)["mel"]
        lengths.append(int((mel.max(-1) > -2.5).sum()))
    assert min(lengths) < 195 and max(lengths) > 205
    assert min(lengths) >= 180 and max(lengths) <= 226


def test_the_end_of_full_length_speech_is_never_cut(make_segment):
    """It may be played faster; slower, its last 0.2 s would not fit."""
    sound = np.zeros(125 * 640, np.int16)
    sound[-3200:] = np.random.default_rng(1).normal(0, 2000, 3200).astype(np.int16)
    sound[-1] = 5
    segment = make_segment(frames=125, sound=sound)
    segment = dataclasses.replace(segment, info=dataclasses.replace(segment.info, text=TEXT))
    config = dataclasses.replace(QUIET, resample=0.2)
    for seed in range(6):
        mel = sample(segment, np.random.default_rng(seed), train=True, sound=config)["mel"]
        assert 16 <= (mel.max(-1) > -2.5).sum() <= 23


def test_noisy_evaluation_is_fixed_and_differs(spoken):
    loud = SoundConfig(noise=1.0, lowest_snr=0, highest_snr=1, noisy_evaluation=True)
    one, two = (sample(spoken, np.random.default_rng(3), train=False, sound=loud) for _ in "ab")
    np.testing.assert_array_equal(one["mel"], two["mel"])
    clean = sample(spoken, np.random.default_rng(3), train=False)["mel"]
    assert np.abs(one["mel"] - clean).mean() > 0.05


@pytest.mark.parametrize(("text", "what"), [("", "no text"), ("a" * 21, "21 characters")])
def test_a_segment_without_a_fitting_text_is_refused(spoken, rng, text, what):
    other = dataclasses.replace(spoken, info=dataclasses.replace(spoken.info, text=text))
    with pytest.raises(RecordError, match=what):
        sample(other, rng, train=False)


def test_view_is_picklable():
    view = SpeechView()
    assert pickle.loads(pickle.dumps(view)) == view
    assert not view.faces


@pytest.mark.parametrize("snr", [0.0, 20.0])
def test_noise_has_the_power_that_was_asked_for(rng, snr):
    tone = np.sin(np.arange(16000, dtype=np.float32) * 0.2)
    tone[8000:] = 0
    for _ in range(8):
        added = noises.add_noise(rng, tone, snr) - tone
        ratio = 10 * np.log10(np.mean(tone[:8000] ** 2) / np.mean(added**2))
        assert ratio == pytest.approx(snr, abs=0.1)


def test_silence_gets_no_noise(rng):
    silence = np.zeros(1000, np.float32)
    np.testing.assert_array_equal(noises.add_noise(rng, silence, 10.0), silence)


def test_pink_noise_falls_by_3_db_an_octave(rng):
    spectrum = np.abs(np.fft.rfft(noises.pink(rng, np.zeros(2**16, np.float32)))) ** 2
    low, high = spectrum[1000:2000].mean(), spectrum[8000:16000].mean()
    assert 10 * np.log10(low / high) == pytest.approx(9.0, abs=0.7)


def test_echo_follows_and_keeps_the_direct_sound(rng):
    click = np.zeros(16000, np.float32)
    click[4000] = 1.0
    wet = noises.echo(rng, click)
    assert wet[4000] == pytest.approx(1.0, abs=1e-4)
    assert np.abs(wet[:4000]).max() < 1e-4
    tail = np.sum(wet[4001:] ** 2)
    assert 10 ** (-1.55) < tail < 10 ** (-0.25)


def test_low_pass_halves_the_power_at_its_frequency():
    time = np.arange(16000) / 16000
    for hertz, kept in ((500, 1.0), (2000, 0.5), (6000, 0.0)):
        tone = np.sin(2 * np.pi * hertz * time).astype(np.float32)
        power = np.mean(noises.low_pass(tone, 2000.0) ** 2) / 0.5
        assert power == pytest.approx(kept, abs=0.01)


def test_resample_scales_frequencies():
    tone = np.sin(2 * np.pi * 400 * np.arange(16000) / 16000).astype(np.float32)
    fast = noises.resample(tone, 1.25)
    assert len(fast) == 12800
    assert np.abs(np.fft.rfft(fast)).argmax() * 16000 / len(fast) == pytest.approx(500, abs=2)


def test_classes_must_be_the_alphabet():
    with pytest.raises(ConfigError, match="classes"):
        Ctc29Task(Ctc29Config(net=CtcConfig(classes=5)))


def test_task_learns_one_sentence(spoken):
    """A few steps of plain Adam on one sample bring the loss far down."""
    import optax

    task = Ctc29Task(Ctc29Config(net=NET, sound=QUIET, most_characters=20))
    one = task.view.sample(SegmentReader.of(spoken), 0, np.random.default_rng(0), train=False)
    batch = {key: jnp.asarray(item)[None] for key, item in one.items()}
    variables = task.init(jax.random.key(0), batch)
    optimiser = optax.adam(0.02)
    (objective,) = task.objectives

    def loss(params):
        outputs, _ = task.forward({"ctc": params}, {}, batch, jax.random.key(1), train=True)
        context = LossContext(outputs, batch, {}, {}, jnp.zeros((), jnp.int32))
        return sum(term(context) for term in objective.terms)

    @jax.jit
    def update(params, state):
        value, slope = jax.value_and_grad(loss)(params)
        change, state = optimiser.update(slope, state)
        return optax.apply_updates(params, change), state, value

    params, state = variables["ctc"], optimiser.init(variables["ctc"])
    values = []
    for _ in range(25):
        params, state, value = update(params, state)
        values.append(float(value))
    assert values[-1] < 0.3 * values[0]


def test_metrics_and_previews(spoken):
    task = Ctc29Task(Ctc29Config(net=NET, most_characters=20))
    one = task.view.sample(SegmentReader.of(spoken), 0, np.random.default_rng(0), train=False)
    batch = {key: jnp.asarray(np.stack([item, item])) for key, item in one.items()}
    batch["mask"] = jnp.asarray([1.0, 0.0])
    said = np.full((250, 29), -5.0, np.float32)
    said[:, alphabet.BLANK] = 0
    for place, number in enumerate(alphabet.encode(TEXT)[:-4]):
        said[5 * place, number] = 5
    outputs = {"logits": jnp.asarray(np.stack([said, said * 0]))}
    rates = {name: metric.compute() for name, metric in task.metrics(outputs, batch).items()}
    assert rates["cer"] == pytest.approx(4 / 16)
    assert rates["ctc"] > 0
    image = task.previews(outputs, batch).images["recognised"]
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    assert (image != 255).any()


def test_scores_are_by_voice(tmp_path, spoken):
    from talkface_jax.data.manifest import Manifest, shard_entry, write_manifest
    from talkface_jax.data.schema import encode, record_meta
    from talkface_jax.data.store import ShardWriter

    path = tmp_path / "test.tfrecord"
    with ShardWriter(path) as writer:
        for voice in ("b", "a", "b"):
            info = dataclasses.replace(spoken.info, speaker=voice, split="test")
            segment = dataclasses.replace(spoken, info=info)
            writer.write(encode(segment), record_meta(segment))
    write_manifest(tmp_path, Manifest("fake", (shard_entry(path, "test"),), 3))
    logits = np.full((250, 29), -5.0, np.float32)
    logits[:, alphabet.BLANK] = 0
    for place, number in enumerate(alphabet.encode(TEXT)):
        logits[5 * place, number] = 5
    clean = spoken.audio.astype(np.float32) / 32768

    def recognise(samples):
        return logits if np.array_equal(samples, clean) else logits[:20]

    rows = scores.score_voices(recognise, open_dataset(tmp_path, "test"), SoundConfig(gain=6.0))
    assert [(row.voice, row.clips, row.characters) for row in rows] == [
        ("a", 1, 16),
        ("b", 2, 32),
        ("all", 3, 48),
    ]
    assert rows[-1].clean == 0
    assert rows[-1].noisy == pytest.approx(12 / 16)
