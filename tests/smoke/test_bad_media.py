"""Bad videos, sound and bundles, typed as commands: one sentence each, older files intact."""

import pathlib
import re
import shutil

import numpy as np
import pytest

from talkface_jax.cli.main import main
from talkface_jax.media.audio import write_wav


def _index_first(path):
    """The bytes of an mp4 whose index (moov) comes before its packets (mdat)."""
    import av

    out = path.with_name("indexed.mp4")
    options = {"movflags": "faststart"}
    with av.open(str(path)) as source, av.open(str(out), "w", options=options) as target:
        streams = {
            stream.index: target.add_stream_from_template(stream) for stream in source.streams
        }
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    data = out.read_bytes()
    out.unlink()
    assert data.index(b"moov") < data.index(b"mdat")
    return data


@pytest.fixture(scope="module")
def bad(tmp_path_factory, data_dir, portrait, film):
    """A folder of files that are not what they should be, by name; `good` ones beside them."""
    folder = tmp_path_factory.mktemp("bad")
    film(folder / "good.mp4", portrait)
    film(folder / "no_face.mp4", np.full((128, 128, 3), 90, np.uint8))
    film(folder / "two_faces.mp4", np.concatenate([portrait, portrait], 1))
    film(folder / "no_sound.mp4", portrait, sound=False)
    (folder / "text.mp4").write_text("Dear diary, this is not a video.\n" * 40)
    whole = (data_dir / "obama_speech.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    # With the index in front, the header is whole and only packets are missing.
    indexed = _index_first(folder / "good.mp4")
    (folder / "cut.mp4").write_bytes(indexed[: len(indexed) * 2 // 3])
    (folder / "zero.mp4").write_bytes(b"")
    write_wav(folder / "no_samples.wav", np.zeros(0, np.float32))
    (folder / "zero.wav").write_bytes(b"")
    write_wav(folder / "good.wav", np.full(3 * 640, 0.01, np.float32))
    return folder


MEDIA = [
    ("no_face.mp4", r"no face was found.*; give footage"),
    ("two_faces.mp4", r"2 faces were found; choose one with --face=speaker, largest or a number"),
    ("no_sound.mp4", r"has no audio track; give a file with sound"),
    ("text.mp4", r"; (copy|give|convert)"),
    ("truncated.mp4", r"truncated.*; copy or download it again"),
    ("cut.mp4", r"is truncated or damaged.*; copy or download it again"),
    ("zero.mp4", r"is empty \(0 bytes\); copy or download it again"),
]


@pytest.mark.parametrize(("name", "words"), MEDIA)
def test_prepare_names_the_bad_clip_and_why(bad, tmp_path, refused, contents, name, words):
    raw, out = tmp_path / "raw", tmp_path / "data"
    raw.mkdir()
    shutil.copy(bad / name, raw)
    line = refused("prepare", "--dataset=folder", f"--raw={raw}", f"--out={out}")
    assert name in line and re.search(words, line), line
    # The reason is kept for the user; nothing looks like a data set.
    assert list(contents(out)) == ["failures.jsonl"]


@pytest.mark.parametrize("name", ["no_samples.wav", "zero.wav", "missing.wav"])
def test_prepare_names_bad_sound_of_a_clip(bad, tmp_path, refused, contents, name):
    raw, out = tmp_path / "raw", tmp_path / "data"
    raw.mkdir()
    shutil.copy(bad / "good.mp4", raw)
    if (bad / name).exists():
        shutil.copy(bad / name, raw)
    (raw / "metadata.csv").write_text(f"path,audio\ngood.mp4,{name}\n")
    line = refused("prepare", "--dataset=folder", f"--raw={raw}", f"--out={out}")
    assert name in line
    assert "train" not in "".join(contents(out)) and "manifest.json" not in contents(out)


def test_a_mended_set_goes_on_with_what_was_done(bad, tmp_path, refused, contents, capfd):
    raw, out = tmp_path / "raw", tmp_path / "data"
    raw.mkdir()
    shutil.copy(bad / "good.mp4", raw)
    shutil.copy(bad / "text.mp4", raw)
    command = ["prepare", "--dataset=folder", f"--raw={raw}", f"--out={out}"]
    command.append("--min-speech-share=0")  # its sound is noise
    line = refused(*command)
    assert "1 of 2 clips" in line and "raise --max-failures" in line
    parts = [name for name in contents(out) if name.endswith(".tfrecord")]
    assert len(parts) == 1 and parts[0].startswith(".parts/")
    (raw / "text.mp4").unlink()
    assert main(command) == 0
    assert "1 clip (train 1)" in capfd.readouterr().out
    before = contents(out)
    assert "failures.jsonl" not in before
    # The finished set is not touched by a run that would make another one.
    shutil.copy(bad / "two_faces.mp4", raw)
    assert "another --out" in refused(*command)
    assert contents(out) == before


def test_prepare_without_its_folders(tiny_prepared, tmp_path, refused, contents):
    file, before = tmp_path / "file", contents(tiny_prepared)
    file.write_text("in the way")
    (tmp_path / "empty").mkdir()
    folder = ("prepare", "--dataset=folder")
    assert "is no folder" in refused(*folder, f"--raw={tmp_path / 'no'}", f"--out={tmp_path}/o")
    assert "holds no video" in refused(*folder, f"--raw={tmp_path}/empty", f"--out={tmp_path}/o")
    assert "give --raw=DIR" in refused(*folder, f"--out={tmp_path}/o")
    assert "is unknown" in refused("prepare", "--dataset=meat", f"--out={tmp_path}/o")
    synthetic = ("prepare", "--dataset=synthetic")
    assert "give --clips=N" in refused(*synthetic, f"--out={tmp_path}/o")
    assert "is a file" in refused(*synthetic, "--clips=1", f"--out={file}/o")
    assert "is a file" in refused(*synthetic, "--clips=1", f"--out={tmp_path}/o", f"--raw={file}")
    assert contents(tiny_prepared) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]


def _synthesize(bundle, face, audio, out):
    return [
        "synthesize",
        f"--bundle={bundle}",
        f"--face={face}",
        f"--audio={audio}",
        f"--out={out}",
    ]


SYNTHESIS = [
    ("no_face.mp4", "good.wav", r"no_face\.mp4: no face was found"),
    ("two_faces.mp4", "good.wav", r"two_faces\.mp4: 2 faces were found; .*--face-choice=speaker"),
    ("text.mp4", "good.wav", r"text\.mp4.*; "),
    ("truncated.mp4", "good.wav", r"truncated\.mp4 is a truncated mp4.*; copy"),
    ("cut.mp4", "good.wav", r"cut\.mp4 is truncated or damaged.*; copy"),
    ("missing.mp4", "good.wav", r"missing\.mp4: no such file; check"),
    ("good.mp4", "no_sound.mp4", r"no_sound\.mp4 has no audio track; give"),
    ("good.mp4", "no_samples.wav", r"no_samples\.wav.*; "),
    ("good.mp4", "zero.wav", r"zero\.wav is empty \(0 bytes\); "),
    ("good.mp4", "text.mp4", r"text\.mp4.*; "),
    ("good.mp4", "missing.wav", r"missing\.wav: no such file; check"),
]


@pytest.mark.parametrize(("face", "audio", "words"), SYNTHESIS)
def test_synthesize_names_the_bad_file_and_keeps_the_older_mp4(
    tiny_bundle, bad, tmp_path, refused, contents, face, audio, words
):
    out = tmp_path / "out.mp4"
    out.write_bytes(b"older")
    line = refused(*_synthesize(tiny_bundle, bad / face, bad / audio, out))
    assert re.search(words, line), line
    assert contents(tmp_path) == {"out.mp4": b"older"}


def test_synthesize_without_its_folders(tiny_bundle, bad, tmp_path, refused, contents):
    face, audio = bad / "good.mp4", bad / "good.wav"
    cases = [
        (tiny_bundle, tmp_path / "no" / "out.mp4", "does not exist; make it first"),
        (tiny_bundle, tmp_path / "out.gif", "must end in .mp4"),
        (tiny_bundle, face, "is one of the inputs; choose another path"),
        (tmp_path / "no", tmp_path / "out.mp4", "is not a bundle"),
        (face, tmp_path / "out.mp4", "is not a bundle"),
    ]
    for bundle, out, words in cases:
        line = refused(*_synthesize(bundle, face, audio, out))
        assert words in line, line
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    "name", ["manifest.json", "config.json", "renderer.safetensors", "*.stablehlo"]
)
def test_bundle_with_a_changed_byte(
    tiny_bundle, tiny_prepared, bad, tmp_path, refused, contents, altered, flip, name
):
    copy, out = tmp_path / "bundle", tmp_path / "out.mp4"
    shutil.copytree(tiny_bundle, copy)
    out.write_bytes(b"older")
    victim: pathlib.Path = sorted(copy.glob(name))[0]
    with altered(victim, flip):
        line = refused(*_synthesize(copy, bad / "good.mp4", bad / "good.wav", out))
        assert victim.name in line and "export or copy the bundle again" in line
        scores = tmp_path / "scores"
        data = ("evaluate", f"--bundle={copy}", f"--data={tiny_prepared}", f"--out={scores}")
        assert victim.name in refused(*data)
    assert contents(copy) == contents(tiny_bundle)
    assert out.read_bytes() == b"older" and not scores.exists()
    victim.unlink()
    missing = refused(*_synthesize(copy, bad / "good.mp4", bad / "good.wav", out))
    assert victim.name in missing or "is not a bundle" in missing


def test_evaluate_without_its_folders(tiny_bundle, tiny_prepared, bad, tmp_path, refused, contents):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("in the way")
    before = contents(tmp_path)
    truth, out = f"--truth={bad}", f"--out={tmp_path / 'scores'}"
    landmarks = ("evaluate", f"--bundle={tiny_bundle}", f"--data={tiny_prepared}")
    cases = [
        (("evaluate", f"--pred={tmp_path / 'no'}", truth, out), "is not a directory; name"),
        (("evaluate", f"--pred={tmp_path / 'empty'}", truth, out), "has no video"),
        ((*landmarks, f"--out={tmp_path / 'file' / 'scores'}"), "is a file; choose another"),
        (("evaluate", f"--pred={bad}", truth, out, "--face=big"), "--face=big is no choice; use"),
        ((*landmarks, "--split=none", out), "no split 'none'; use one of"),
        (("evaluate", landmarks[1], f"--data={bad}", out), "has no manifest.json; give"),
    ]
    for arguments, words in cases:
        line = refused(*arguments)
        assert words in line, line
    assert contents(tmp_path) == before and not (tmp_path / "scores").exists()


EVALUATE_USAGE = [
    ("", "give --bundle and --data, or --pred and --truth"),
    ("--truth=t", "--truth needs --pred=DIR"),
    ("--bundle=b --pred=p", "--pred needs --truth=DIR"),
    ("--bundle=b", "--bundle needs --data=DIR, or --pred and --truth"),
    ("--data=d", "--data needs --bundle=DIR"),
    ("--data=d --truth=t", "--data does not go with --pred and --truth"),
    ("--pred=p --truth=t --split=val", "--split does not go with --pred and --truth"),
    ("--bundle=b --data=d --face=0", "--face goes with --pred and --truth only"),
]


@pytest.mark.parametrize(("flags", "words"), EVALUATE_USAGE)
def test_evaluate_with_flags_that_do_not_go_together(tmp_path, refused, flags, words):
    line = refused("evaluate", f"--out={tmp_path / 'scores'}", *flags.split(), status=2)
    assert line == f"{words}; see `talkface evaluate --help`"
    assert not list(tmp_path.iterdir())


def test_evaluate_of_a_set_without_a_face_is_refused(tiny_bundle, faceless, tmp_path, refused):
    out = tmp_path / "new" / "scores"
    line = refused("evaluate", f"--bundle={tiny_bundle}", f"--data={faceless}", f"--out={out}")
    assert "none of 2 segments could be scored" in line and "no frame with a face" in line
    assert not out.parent.exists()


def test_evaluate_names_the_failure_that_is_about_the_face(bad, tmp_path, refused):
    pred, truth = tmp_path / "pred", tmp_path / "truth"
    for folder in (pred, truth):
        folder.mkdir()
        shutil.copy(bad / "text.mp4", folder / "a_first.mp4")
        shutil.copy(bad / "good.mp4", folder)
    shutil.copy(bad / "good.mp4", pred / "a_stranger.mp4")
    folders = (f"--pred={pred}", f"--truth={truth}", f"--out={tmp_path / 'scores'}")
    line = refused("evaluate", *folders, "--face=9")
    assert "none of 3 clips" in line and "face 9 was asked for" in line and "--face=0" in line
    assert "good.mp4" in line and not (tmp_path / "scores").exists()


def test_evaluate_asks_for_a_face_by_its_own_flag(tiny_bundle, bad, tmp_path, refused):
    """Baseline rows are synthesized, and the flag of `talkface synthesize` has another name."""
    truth = tmp_path / "truth"
    truth.mkdir()
    shutil.copy(bad / "two_faces.mp4", truth)
    folders = (f"--pred={truth}", f"--truth={truth}", f"--out={tmp_path / 'scores'}")
    line = refused("evaluate", *folders, f"--bundle={tiny_bundle}")
    assert "two_faces.mp4: 2 faces were found; choose one with --face=speaker" in line


def test_evaluate_of_broken_videos_alone_is_refused(bad, tmp_path, refused):
    pred, truth = tmp_path / "pred", tmp_path / "truth"
    for folder in (pred, truth):
        folder.mkdir()
        shutil.copy(bad / "text.mp4", folder)
    out = tmp_path / "scores"
    line = refused("evaluate", f"--pred={pred}", f"--truth={truth}", f"--out={out}")
    assert "the only clip could not be scored" in line and "text.mp4 is a text file" in line
    assert not out.exists()


NUMBERS = [
    ("prepare", "--workers=0"),
    ("prepare", "--workers=-2"),
    ("prepare", "--shards=0"),
    ("prepare", "--max-failures=-1"),
    ("prepare", "--clips=0"),
    ("prepare", "--clips=-3"),
    ("prepare", "--test-clips=-1"),
    ("prepare", "--seed=-1"),
    ("prepare", "--clips=many"),
    ("synthesize", "--batch=0"),
    ("demo", "--workers=0"),
]


@pytest.mark.parametrize(("command", "flag"), NUMBERS)
def test_numbers_out_of_range(tmp_path, refused, command, flag):
    given = {
        "prepare": ("--dataset=synthetic", "--clips=1"),
        "synthesize": ("--bundle=b", "--face=f", "--audio=a"),
        "demo": (),
    }[command]
    line = refused(command, *given, f"--out={tmp_path / 'out.mp4'}", flag, status=2)
    name, _, value = flag.partition("=")
    assert re.search(rf"{name}: must be a whole number of at least [01], not {value}; see", line)
    assert not list(tmp_path.iterdir())


CONTROLS = [
    ("--references=0", "must be at least 1, but is 0; give another"),
    ("--references=-1", "must be at least 1, but is -1; give another"),
    ("--references=two", "must be a whole number, not two; give another"),
    ("--blink=-1", "must be at least 0, but is -1; give another"),
    ("--blink-duration=0", "must be above 0, but is 0; give another"),
    ("--blink-duration=nan", "must be a finite number, but is nan; give another"),
    ("--seed=-1", "must be at least 0, but is -1; give another"),
    ("--seed=0.5", "must be a whole number, not 0.5; give another"),
]


@pytest.mark.parametrize(("flag", "words"), CONTROLS)
def test_controls_out_of_range(tmp_path, refused, flag, words):
    """Before any file is looked at: there is none of these."""
    given = ("--bundle=b", "--face=f", "--audio=a", f"--out={tmp_path / 'out.mp4'}")
    name, _, _ = flag.partition("=")
    assert refused("synthesize", *given, flag) == f"{name} {words}"
    assert not list(tmp_path.iterdir())


def test_a_control_of_another_method_is_refused(tiny_bundle, data_dir, tmp_path, refused):
    face, speech = data_dir / "astronaut.jpg", tmp_path / "a.wav"
    write_wav(speech, np.zeros(1600, np.float32))
    files = (f"--face={face}", f"--audio={speech}", f"--out={tmp_path / 'out.mp4'}")
    line = refused("synthesize", f"--bundle={tiny_bundle}", *files, "--blink=0.3")
    assert line == "iplap has no --blink; leave it out (it takes --references)"
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize(
    "command", ["prepare", "train", "export", "synthesize", "evaluate", "describe"]
)
def test_a_forgotten_flag_is_named_in_one_line(command, refused):
    line = refused(command, status=2)
    assert "are required: --" in line and f"`talkface {command} --help`" in line
