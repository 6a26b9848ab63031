"""Synthesis end to end with a tiny bundle: the real clip, a portrait, and what can go wrong."""

import json
import pathlib
import subprocess
import sys

import av
import numpy as np
import pytest

from talkface_jax.errors import FaceError, MediaError, TalkfaceError, WeightsError
from talkface_jax.media import audio, mark, tracker, video
from talkface_jax.synthesize import run


@pytest.fixture
def speech(tmp_path, data_dir):
    """The real clip's first 1.3 s of sound and a bit, as a WAV file: 33 frames."""
    path = tmp_path / "speech.wav"
    samples = audio.read_audio(data_dir / "obama_speech.mp4")[: 32 * 640 + 100]
    audio.write_wav(path, samples)
    return path


def _synthesize(tiny_bundle, face, speech, out, **options):
    request = run.SynthesisRequest(bundle=tiny_bundle, face=face, audio=speech, out=out, **options)
    return run.synthesize(request)


def test_video_speaks_the_recording(tiny_bundle, data_dir, speech, tmp_path):
    face, out, seen = data_dir / "obama_speech.mp4", tmp_path / "out.mp4", []
    request = run.SynthesisRequest(
        bundle=tiny_bundle, face=face, audio=speech, out=out, face_choice="speaker"
    )
    report = run.synthesize(request, progress=lambda *row: seen.append(row))
    assert (report.frames, report.tracked, report.references) == (33, 33, 2)
    assert seen[-1] == ("render", 33, 33)
    with video.open_video(out) as made, video.open_video(face) as source:
        assert len(made) == 33 and made.size == source.size and made.info.has_audio
        last, original = made[32].astype(int), source[32].astype(int)
    heard = audio.read_audio(out)
    true = audio.read_audio(speech)
    assert abs(len(heard) - 33 * 640) <= 2048
    assert np.corrcoef(heard[: len(true)], true)[0, 1] > 0.95
    # Far from the face and the mark, only the coder's losses.
    assert np.abs(last[:100, :40] - original[:100, :40]).mean() < 3
    with av.open(str(out)) as container:
        record = json.loads(container.metadata["comment"])
    assert record["weight_id"] == report.weight_id and record["method"] == "iplap"
    assert record["inputs"]["face"].startswith("obama_speech.mp4 sha256:")
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".mp4"] == ["out.mp4"]


def test_portrait_holds_its_pose(tiny_bundle, data_dir, speech, tmp_path):
    out = tmp_path / "out.mp4"
    report = _synthesize(tiny_bundle, data_dir / "astronaut.jpg", speech, out, mark="both", batch=5)
    assert (report.frames, report.untouched, report.tracked, report.references) == (33, 0, 1, 1)
    with video.open_visual(data_dir / "astronaut.jpg") as image, video.open_video(out) as made:
        track = tracker.track_video([image[0], made[0], made[20]])
    assert track.valid.all()
    # Upper face: where the portrait's is (within a coder's and tracker's noise of the 512 pixels).
    eyes = track.landmarks[:, [33, 133, 362, 263], :2]
    assert np.abs(eyes - eyes[0]).max() < 2.5
    assert mark.detect_mark(out) > mark.DETECTION_THRESHOLD


def test_frames_without_a_face_pass_through(tiny_bundle, data_dir, speech, tmp_path):
    face, out = tmp_path / "face.mp4", tmp_path / "out.mp4"
    with video.open_visual(data_dir / "astronaut.jpg") as image:
        portrait = np.ascontiguousarray(image[0][:256, 96:352])
    blank = np.full_like(portrait, 90)
    with video.VideoWriter(face, size=(256, 256)) as writer:
        for k in range(12):
            writer.write(blank if k in (4, 5) else portrait)
    report = _synthesize(tiny_bundle, face, speech, out)
    # 12 frames forwards and backwards over 33: frames 4 and 5 come at 4 5 17 18 26 27.
    assert (report.frames, report.untouched, report.tracked) == (33, 6, 12)
    with video.open_video(out) as made:
        for k in (4, 5, 17, 18, 26, 27):
            assert np.abs(made[k].astype(int) - 90).max() <= 4
        assert made[3].std() > 30 and made[19].std() > 30


def test_two_faces_ask_for_a_choice(tiny_bundle, data_dir, speech, tmp_path):
    two, out = tmp_path / "two.png", tmp_path / "out.mp4"
    import cv2

    portrait = cv2.imread(str(data_dir / "astronaut.jpg"))[:300, 80:380]
    cv2.imwrite(str(two), np.concatenate([portrait, portrait], 1))
    with pytest.raises(FaceError, match="2 faces"):
        _synthesize(tiny_bundle, two, speech, out)
    assert not out.exists()


def test_bad_input_is_named_and_leaves_nothing(tiny_bundle, data_dir, speech, tmp_path):
    face, out = data_dir / "astronaut.jpg", tmp_path / "out.mp4"
    blank, text, empty = (tmp_path / name for name in ("blank.png", "text.mp4", "empty.wav"))
    import cv2

    cv2.imwrite(str(blank), np.full((128, 128, 3), 90, np.uint8))
    text.write_text("not a video")
    audio.write_wav(empty, np.zeros(0, np.float32))
    cases = [
        (FaceError, "no face", {"face": blank}),
        (MediaError, "text.mp4", {"face": text}),
        (MediaError, r"empty.wav", {"speech": empty}),
        (MediaError, "no audio", {"speech": face}),
        (MediaError, "missing", {"out": tmp_path / "missing" / "out.mp4"}),
        (MediaError, "end in .mp4", {"out": tmp_path / "out.gif"}),
        (WeightsError, "not a bundle", {"tiny_bundle": tmp_path}),
        (TalkfaceError, "references", {"controls": {"references": 0}}),
        (TalkfaceError, "iplap has no --blink", {"controls": {"blink": 0.3}}),
        (TalkfaceError, "batch", {"batch": 0}),
        (TalkfaceError, "mark", {"mark": "none"}),
    ]
    arguments = {"tiny_bundle": tiny_bundle, "face": face, "speech": speech, "out": out}
    for error, words, change in cases:
        with pytest.raises(error, match=words):
            _synthesize(**{**arguments, **change})
        assert not out.exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_failure_midway_keeps_the_older_output(
    tiny_bundle, data_dir, speech, tmp_path, monkeypatch
):
    out, count = tmp_path / "out.mp4", []
    out.write_bytes(b"older")

    def fail(frame, *, patch):
        count.append(1)
        if len(count) > 10:
            raise MemoryError
        return frame

    monkeypatch.setattr(run.composite, "paste", fail)
    with pytest.raises(MemoryError):
        _synthesize(tiny_bundle, data_dir / "astronaut.jpg", speech, out)
    assert out.read_bytes() == b"older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4", "speech.wav"]


PEAK = """
import sys
from talkface_jax.cli.main import main
names = ("bundle", "face", "audio", "out")
files = [f"--{name}={value}" for name, value in zip(names, sys.argv[1:], strict=True)]
assert main(["synthesize", *files, "--face-choice=largest"]) == 0
# Not getrusage: there a child begins with the peak of the process that started it.
lines = open("/proc/self/status").read().splitlines()
print(*[line.split()[1] for line in lines if line.startswith("VmHWM")])
"""


def _peak(tiny_bundle, data_dir, folder: pathlib.Path, seconds: int) -> int:
    """Peak memory, in KiB, of a process that synthesizes a recording of that length."""
    speech = folder / f"{seconds}.wav"
    noise = np.random.default_rng(0).standard_normal(16_000 * seconds) * 0.05
    audio.write_wav(speech, noise.astype(np.float32))
    face, out = data_dir / "obama_speech.mp4", folder / f"{seconds}.mp4"
    arguments = [str(path) for path in (tiny_bundle, face, speech, out)]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *arguments], capture_output=True, text=True, check=True
    )
    with video.open_video(out) as made:
        assert len(made) == 25 * seconds
    return int(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_memory_does_not_grow_with_the_recording(tiny_bundle, data_dir, tmp_path):
    short, long = (_peak(tiny_bundle, data_dir, tmp_path, seconds) for seconds in (10, 600))
    assert long < 1.2 * short
