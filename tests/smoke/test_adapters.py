"""MEAD, HDTF and LRS2 from their published trees to prepared sets in which nothing is wrong."""

import importlib.util
import pathlib
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from data_prep import prepare
from data_prep.synthetic import dataset as synthetic
from talkface_jax.data import manifest, schema, store, verify
from talkface_jax.landmarks.measures import mouth_opening
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.media.audio import read_clip_audio
from talkface_jax.records import EMOTIONS

SECONDS = 1.12
FRAMES = 28
RATE = 44_100
# Presentation times count in 1/30,000 s.
SECOND = 30_000
STEPS = {"25": [1200], "29.97": [1001], "30": [1000], "60": [500], "variable": [700, 1700, 1200]}


def _trees():
    """The raw trees that the adapters' own tests list."""
    path = pathlib.Path(__file__).parents[1] / "unit" / "data_prep" / "conftest.py"
    spec = importlib.util.spec_from_file_location("raw_trees", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TREES = _trees()


def _stamps(rate):
    """Presentation times of the frames of a film of `SECONDS`, and how many a second."""
    steps, stamps = STEPS[rate], [0]
    while stamps[-1] + steps[len(stamps) % len(steps)] < SECONDS * SECOND:
        stamps.append(stamps[-1] + steps[len(stamps) % len(steps)])
    return stamps


def _add_sound(out, stream, samples):
    at = np.arange(round(len(samples) * RATE / 16_000)) * 16_000 / RATE
    wave = np.interp(at, np.arange(len(samples)), samples).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), 0
    out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


@pytest.fixture(scope="module")
def speech(data_dir):
    """Two stretches of speech: of the videos' own tracks, and of the separate sound files."""
    samples = read_clip_audio(data_dir / "obama_speech.mp4", None, 125)
    length = round(SECONDS * 16_000)
    return {"track": samples[16_000:][:length], "file": samples[40_000:][:length]}


@pytest.fixture(scope="module")
def film(tmp_path_factory, portrait, speech):
    """Bytes of a film of a portrait at a rate, made once for each."""
    folder, made = tmp_path_factory.mktemp("films"), {}

    def make(rate, *, size=256, sound=True):
        key = f"{rate}-{size}-{sound}"
        if key not in made:
            path = folder / f"{key}.mp4"
            picture = cv2.resize(portrait, (size, size), interpolation=cv2.INTER_AREA)
            with av.open(str(path), "w") as out:
                video = out.add_stream("libx264", rate=25, options={"crf": "18"})
                video.height, video.width, video.pix_fmt = size, size, "yuv420p"
                video.codec_context.time_base = Fraction(1, SECOND)
                heard = out.add_stream("aac", rate=RATE, layout="mono") if sound else None
                for stamp in _stamps(rate):
                    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                    frame.pts, frame.time_base = stamp, Fraction(1, SECOND)
                    out.mux(video.encode(frame))
                out.mux(video.encode(None))
                if heard is not None:
                    _add_sound(out, heard, speech["track"])
            made[key] = path.read_bytes()
        return made[key]

    return make


@pytest.fixture(scope="module")
def sound_file(tmp_path_factory, speech):
    """Bytes of an .m4a with other speech than the films' own."""
    path = tmp_path_factory.mktemp("sounds") / "sound.m4a"
    with av.open(str(path), "w", format="mp4") as out:
        _add_sound(out, out.add_stream("aac", rate=RATE, layout="mono"), speech["file"])
    return path.read_bytes()


def _segments(out):
    paths = [out / shard.name for shard in manifest.read_manifest(out).shards]
    source = store.ShardSource(paths)
    found = [schema.decode(source[i]) for i in range(len(source))]
    source.close()
    assert len({segment.info.clip for segment in found}) == len(found)
    return {segment.info.clip: segment for segment in found}


def _prepared(dataset, raw, out, **options):
    """The segments of a set that `verify` finds clean, its failures, and the notes."""
    summary = prepare.prepare(dataset, raw=raw, out=out, shards=1, **options)
    checked = verify.verify(out)
    assert checked.clean, checked.defects
    found = _segments(out)
    assert summary.clips == len(found)
    for segment in found.values():
        assert len(segment) == FRAMES and segment.valid.all()
        assert len(segment.audio) == FRAMES * 640
    return found, manifest.read_manifest(out).failures, summary.notes


def _likeness(segment, samples):
    return np.corrcoef(segment.audio, samples)[0, 1]


def test_mead(tmp_path, film, sound_file, speech):
    """An actor in archives, one under `1/`; a missing .m4a; the split by numbers of takes."""
    packed = {f"video/front/angry/level_2/{n:03d}.mp4": b"" for n in range(2, 7)}
    packed |= {"video/front/angry/level_2/001.mp4": film("30")}
    packed |= {"video/left_60/angry/level_2/007.mp4": film("60")}
    packed |= {f"audio/angry/level_2/{n:03d}.m4a": sound_file for n in (1, 7)}
    spare = TREES.write_files(tmp_path / "spare", packed)
    root = TREES.write_files(tmp_path / "raw", {"W009/1/down/neutral/level_1/070.mp4": film("30")})
    (root / "M003").mkdir()
    for kind in ("video", "audio"):
        TREES.pack(spare / kind, root / "M003" / f"{kind}.tar")
    out = tmp_path / "out"
    found, failures, notes = _prepared("mead", root, out, max_failures=5)
    told = {
        clip: (s.info.speaker, s.info.view, EMOTIONS[s.info.emotion], s.info.level, s.info.split)
        for clip, s in found.items()
    }
    assert told == {
        "M003_front_angry_2_001": ("M003", "front", "angry", 2, "train"),
        "M003_left_60_angry_2_007": ("M003", "left_60", "angry", 2, "test"),
        "W009_down_neutral_1_070": ("W009", "down", "neutral", 1, "test"),
    }
    rates = [round(found[clip].source_fps, 2) for clip in sorted(found)]
    assert rates == [30, 60, 30]
    for clip, segment in found.items():
        own = clip.startswith("W009")
        assert _likeness(segment, speech["track" if own else "file"]) > 0.9
        assert abs(_likeness(segment, speech["file" if own else "track"])) < 0.3
    assert found["M003_front_angry_2_001"].info.audio == "M003/audio.tar/angry/level_2/001.m4a"
    assert [failure.clip for failure in failures] == [
        f"M003_front_angry_2_{n:03d}" for n in range(2, 7)
    ]
    assert all("is empty (0 bytes)" in failure.reason for failure in failures)
    assert any(note.startswith("Without a sound file") for note in notes)


@pytest.mark.slow
def test_a_minute_of_acted_mead(tmp_path):
    """Clips that the adapter lists itself: every frame tracked where the truth has the mouth."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    synthetic.generate(raw, clips=24, held_out_clips=0, seed=7, workers=2)
    plans = {p.clip: p for p in synthetic.plan_clips(clips=24, held_out_clips=0, seed=7)}
    summary = prepare.prepare("mead", raw=raw, out=out, workers=2)
    checked = verify.verify(out)
    assert checked.clean, checked.defects
    paths = [out / shard.name for shard in manifest.read_manifest(out).shards]
    source = store.ShardSource(paths)
    segments = [schema.decode(source[number]) for number in range(len(source))]
    source.close()
    assert summary.clips == len(plans)
    assert sum(map(len, segments)) / 25 >= 60
    lips, followed = get_scheme("iplap131"), []
    for segment in segments:
        plan = plans[segment.info.clip.replace("_front_", "_")]
        told = segment.info.speaker, EMOTIONS[segment.info.emotion], segment.info.level
        assert told == (plan.actor, plan.emotion, plan.level)
        assert segment.valid.all() and len(segment.audio) == 640 * len(segment)
        with np.load(raw / plan.truth) as stored:
            truth = stored["landmarks"][segment.start :][: len(segment)]
        corner, size = segment.box[:, None, :2], np.diff(segment.box[:, None, ::2])
        found = corner + size * segment.landmarks[:, lips.indices, :2]
        assert np.linalg.norm(found.mean(1) - truth.mean(1), axis=-1).max() < 0.06 * size.min()
        # The tracker's lips are not the mesh's: their openings go together, and are not the same.
        tracked, true = mouth_opening(found, lips), mouth_opening(truth, lips)
        followed.append(np.corrcoef(tracked, true)[0, 1])
    assert np.median(followed) > 0.9 and min(followed) > 0.7, followed
    print(np.round(sorted(followed), 2))


def test_hdtf(tmp_path, film, speech):
    """The published lists with their traps; a clip without sound is a row, no record."""
    root = TREES.write_hdtf(tmp_path / "raw", video=film("25"))
    clips = root / "clips"
    (clips / "WDA_CarolynMaloney2_000.mp4").write_bytes(film("29.97"))
    (clips / "WRA_KevinMcCarthy1_000.mp4").write_bytes(film("60"))
    (clips / "WRA_AdamKinzinger2_002.mp4").write_bytes(film("variable"))
    (clips / "RD_Radio11_000.mp4").write_bytes(film("25", sound=False))
    split = prepare.SpeakerSplit(test=0.3)
    found, (failure,), notes = _prepared(
        "hdtf", root, tmp_path / "out", speaker_split=split, max_failures=1
    )
    assert failure.clip == "RD_Radio11_000"
    assert "clips/RD_Radio11_000.mp4 has no audio track; give a file with sound" in failure.reason
    assert set(found) == set(TREES.HDTF_CLIPS) - {"RD_Radio11_000"}
    rates = {clip: round(segment.source_fps, 2) for clip, segment in found.items()}
    assert rates.pop("WDA_CarolynMaloney2_000") == 29.97
    assert rates.pop("WRA_KevinMcCarthy1_000") == 60
    assert set(rates.values()) == {25}  # the variable one has 25 a second on average
    for clip, segment in found.items():
        assert segment.info.video == f"clips/{clip}.mp4"
        assert _likeness(segment, speech["track"]) > 0.9
    splits = {}
    for segment in found.values():
        splits.setdefault(segment.info.split, set()).add(segment.info.speaker)
    assert set(splits) == {"test", "train", "val"}
    speakers = set.union(*splits.values())
    assert sum(map(len, splits.values())) == len(speakers), "no two splits share a speaker"
    assert "JamesClyburn" in speakers
    assert any("resolution 0: 1 video (WRA_KevinMcCarthy1)" in note for note in notes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "suffix"), [("mead", ".tar"), ("hdtf", ".tgz"), ("lrs2", ".tgz")]
)
def test_an_archive_of_everything_gives_the_same_records(
    tmp_path, film, sound_file, dataset, suffix
):
    """By two processes; only the paths differ."""
    if dataset == "mead":
        views = ("front", "right_30")
        names = [f"sad/level_3/{n:03d}" for n in range(1, 8)]
        rates = dict(zip(views, ("30", "variable"), strict=True))
        files = {f"M012/video/{v}/{n}.mp4": film(rates[v]) for v in views for n in names}
        files |= {f"M012/audio/{n}.m4a": sound_file for n in names}
        root = TREES.write_files(tmp_path / "raw", files)
    else:
        root = getattr(TREES, f"write_{dataset}")(tmp_path / "raw", video=film("29.97"))
    (tmp_path / "packed").mkdir()
    TREES.pack(root, tmp_path / "packed" / f"all{suffix}")
    plain, _, notes = _prepared(dataset, root, tmp_path / "plain")
    packed, _, packed_notes = _prepared(
        dataset, tmp_path / "packed", tmp_path / "from archive", workers=2
    )
    assert list(plain) == list(packed) and set(notes) <= set(packed_notes)
    for one, two in zip(plain.values(), packed.values(), strict=True):
        assert two.info.video == f"all{suffix}/{one.info.video}"
        assert two.frames == one.frames
        for name in ("audio", "landmarks", "head", "blendshapes", "box", "valid"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_lrs2(tmp_path, film, speech):
    """Frames of 160 x 160; words and splits by the lists."""
    root = TREES.write_lrs2(tmp_path / "raw", video=film("25", size=160))
    found, failures, notes = _prepared("lrs2", root, tmp_path / "out")
    first, second, third = TREES.LRS2_IDS
    assert {clip: (s.info.split, s.info.text) for clip, s in found.items()} == {
        f"main/{first}/00001": ("train", "WHEN YOU'RE COOKING CHIPS AT HOME"),
        f"main/{first}/00002": ("train", "THE TRADITIONAL CHIP PAN"),
        f"main/{second}/00008": ("val", "IN OTHER WORDS"),
        f"main/{third}/00003": ("test", "YES"),
        f"main/{third}/00004": ("test", ""),
        f"pretrain/{first}/00005": ("pretrain", "HE'S REALLY"),
    }
    for clip, segment in found.items():
        assert segment.info.speaker == clip.split("/")[1]
        assert segment.source_fps == 25
        assert _likeness(segment, speech["track"]) > 0.9
    assert not failures
    assert any(f"Absent although in train.txt: 1 of 3 clips (main/{first}" in n for n in notes)
