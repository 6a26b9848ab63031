"""The benchmark on a real clip: late, resized, framed anew, faceless, missing, broken and short."""

import dataclasses
import json
import pathlib
import shutil

import cv2
import numpy as np
import pytest

from talkface_jax.errors import MediaError
from talkface_jax.evaluate import benchmark, scores, summary, tracks
from talkface_jax.evaluate.benchmark import Options, System
from talkface_jax.evaluate.metadata import Metadata
from talkface_jax.media.audio import read_clip_audio
from talkface_jax.media.video import open_video
from talkface_jax.media.writer import VideoWriter
from talkface_jax.records import SAMPLES_PER_FRAME

LATE = 3
SPANS = {
    "late": (25, 65),
    "sub/large": (110, 146),
    "reframed": (60, 96),
    "lost": (90, 120),
    "gone": (0, 8),
    "text": (0, 8),
    "cut": (0, 12),
}
LOST = slice(8, 14)
WHO = Metadata(
    {
        "late": {"speaker": "a", "view": "front"},
        "large": {"speaker": "a", "view": "side"},
        "reframed": {"speaker": "b", "view": "side"},
    }
)


def write(path: pathlib.Path, frames, audio):
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, size=frames[0].shape[:2], audio=audio) as writer:
        for frame in frames:
            writer.write(frame)


@pytest.fixture(scope="module")
def footage(data_dir):
    path = data_dir / "obama_speech.mp4"
    with open_video(path) as video:
        frames = [np.array(video[i]) for i in range(160)]
    return frames, read_clip_audio(path, None, 160)


def zoomed(frame):
    """Another framing of the same size: the part around the face, enlarged."""
    height, width = frame.shape[:2]
    part = frame[
        round(0.06 * height) : round(0.86 * height), round(0.1 * width) : round(0.9 * width)
    ]
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def directories(footage, tmp_path_factory):
    """True clips; "exact" predictions of them; and "ours", in which something is wrong."""
    frames, audio = footage
    root = tmp_path_factory.mktemp("benchmark")
    for name, (a, b) in SPANS.items():
        sound = audio[a * SAMPLES_PER_FRAME : b * SAMPLES_PER_FRAME]
        own = frames[a:b]
        write(root / "truth" / f"{name}.mp4", own, sound)
        if b - a > 12:
            write(root / "exact" / f"{name}.mp4", own, sound)
        made = {
            "late": [frames[max(a, i - LATE)] for i in range(a, b)],
            "sub/large": [cv2.resize(frame, (480, 360)) for frame in own],
            "reframed": [zoomed(frame) for frame in own],
            "lost": [
                np.full_like(frame, 128) if LOST.start <= i < LOST.stop else frame
                for i, frame in enumerate(own)
            ],
            "cut": own[:-6],
        }
        if name in made:
            path = root / "pred" / f"{pathlib.PurePosixPath(name).name}.mp4"
            write(path, made[name], sound[: len(made[name]) * SAMPLES_PER_FRAME])
        if name == "sub/large":
            write(root / "silent/large.mp4", [own[0]] * (b - a), sound)
    (root / "pred/text.mp4").write_text("not a video")
    return root


def run(root, out, *, tracks, made=None, metadata: Metadata | None = WHO, systems=(), **options):
    folders = {"ours": "pred", "exact": "exact"}
    return benchmark.benchmark(
        {name: System(root / folders[name]) for name in systems or folders},
        root / "truth",
        out,
        made=made,
        metadata=metadata,
        options=Options(tracks=tracks, **options),
        command="test",
    )


@pytest.fixture(scope="module")
def result(directories):
    made = benchmark.Rows({scores.SILENCE: directories / "silent"})
    return run(directories, directories / "out", tracks=directories / "tracks", made=made)


def some_clips(directories, to, names):
    """A folder of a few clips alone, for images are scored anew by every run: `names` are old names
    and new ones."""
    for folder in ("truth", "pred", "exact"):
        for old, new in names.items():
            source = directories / folder / f"{old}.mp4"
            if source.exists():
                (to / folder).mkdir(parents=True, exist_ok=True)
                shutil.copy(source, to / folder / f"{new}.mp4")
    return to


@pytest.fixture
def one_clip(directories, tmp_path):
    return some_clips(directories, tmp_path, {"lost": "lost"})


def values(result, row):
    return {item.clip: item.values for item in result.of_row(row)}


def test_a_late_prediction_is_found_late(result):
    found = values(result, "ours")["late"]
    assert found["lag"] == LATE
    assert found["opening_correlation"] < 0.9
    assert found["deviation"] == pytest.approx(1, abs=0.15)
    still = values(result, scores.STATIC_MOUTH)["late"]
    assert still["deviation"] < 0.2


def test_what_is_late_by_as_much_as_the_alignment_may_move_is_aligned(result):
    found, exact = values(result, "ours")["late"], values(result, "exact")["late"]
    assert found["lip_distance_aligned"] < 0.6 * found["lip_distance"]
    assert exact["lip_distance_aligned"] <= exact["lip_distance"]


@pytest.mark.parametrize("name", ["sub/large", "reframed"])
def test_neither_resolution_nor_framing_matters(result, name):
    """The same frames at another size, or framed otherwise at the same size: what is left is the
    tracker's noise and what resampling costs."""
    found, exact = values(result, "ours")[name], values(result, "exact")[name]
    floor = values(result, scores.NOISE_FLOOR)[name]
    still = values(result, scores.STATIC_MOUTH)[name]
    assert exact["lip_distance"] == 0, "the same bytes"
    assert found["lip_distance"] < 1.5 * floor["lip_distance"] < still["lip_distance"]
    assert found["lag"] == 0
    # Cut alike by frame size instead of by the face, the re-framed clip gets 14 dB.
    assert found["psnr_face"] > 28
    assert found["ssim_face"] > 0.9
    (score,) = (item for item in result.of_row("ours") if item.clip == name)
    assert any("reframed" in note for note in score.notes) == (name == "reframed")


def test_frames_that_lose_the_face_count_against_the_system(result):
    (found,) = (item for item in result.of_row("ours") if item.clip == "lost")
    (exact,) = (item for item in result.of_row("exact") if item.clip == "lost")
    assert (found.lost, exact.lost) == (LOST.stop - LOST.start, 0)
    assert found.frames == exact.frames, "the same frames are compared"
    for name in ("lip_distance", "jaw_distance", "face_distance", "lip_distance_aligned"):
        assert found.values[name] > 1.2 * exact.values[name], name
    assert found.values["psnr_mouth"] < exact.values["psnr_mouth"] - 3
    assert found.values["lpips_mouth"] > exact.values["lpips_mouth"] + 0.05
    assert result.rows["ours"].lost == LOST.stop - LOST.start


def test_ground_truth_row_is_perfect(result):
    for found in values(result, scores.GROUND_TRUTH).values():
        assert found["lip_distance"] == 0
        assert found["ssim_mouth"] == 1
        assert found["lpips_mouth"] == 0
    assert result.rows[scores.GROUND_TRUTH].clips == len(SPANS)


def test_a_hole_of_faceless_frames_has_no_lag(tmp_path, footage):
    frames, audio = footage
    own = [np.full_like(f, 128) if 10 <= i < 20 else f for i, f in enumerate(frames[:70])]
    write(tmp_path / "truth/b.mp4", own, audio[: 70 * SAMPLES_PER_FRAME])
    shutil.copytree(tmp_path / "truth", tmp_path / "pred")
    out, tracks_of = tmp_path / "out", tmp_path / "tracks"
    found = run(tmp_path, out, tracks=tracks_of, metadata=None, systems=["ours"])
    for row in (scores.NOISE_FLOOR, "ours"):
        lag = found.rows[row].metrics["lag"].value
        assert np.isnan(lag) or lag == 0, row
    assert found.rows["ours"].faceless == 10


def test_shifted_audio_is_made_from_the_first_system(result):
    found = values(result, scores.SHIFTED_AUDIO)["late"]
    assert found["lag"] == LATE - 10 or np.isnan(found["lag"])
    assert found["lip_distance"] > values(result, "ours")["late"]["lip_distance"]
    assert "ssim_face" not in found


def test_every_failure_is_counted_with_its_reason(result):
    reasons = {f.clip: f.reason for f in result.failures if f.row == "ours"}
    assert set(reasons) == {"gone", "text", "cut"}
    assert "no video of this name was predicted" in reasons["gone"]
    assert "text.mp4" in reasons["text"]
    assert "6 frames at 25 fps and its truth 12" in reasons["cut"]
    assert "--tolerance" in reasons["cut"]
    for row, clips, failed in (
        ("ours", 4, 3),
        ("exact", 4, 3),
        (scores.SHIFTED_AUDIO, 4, 3),
        (scores.SILENCE, 1, 6),
        (scores.STATIC_MOUTH, 7, 0),
    ):
        assert (result.rows[row].clips, result.rows[row].failed) == (clips, failed), row


def test_a_shortfall_within_the_tolerance_is_scored_and_stated(directories, tmp_path):
    """Beside baselines of which nothing could be made: these are counted, whether or not there is a
    folder."""
    root = some_clips(directories, tmp_path, {"cut": "cut"})
    (tmp_path / "empty").mkdir()
    rows = {scores.SILENCE: tmp_path / "none", scores.MISMATCHED: tmp_path / "empty"}
    made = benchmark.Rows(rows, {(row, "cut"): f"not synthesized: no {row}" for row in rows})
    options = {"tracks": directories / "tracks", "metadata": None, "systems": ["ours"]}
    found = run(root, tmp_path / "out", made=made, tolerance=8, **options)
    (score,) = (item for item in found.of_row("ours") if item.clip == "cut")
    assert score.frames == 6
    assert score.notes[0] == "the last 6 frames of the truth not predicted"
    reasons = {failure.row: failure.reason for failure in found.failures}
    assert reasons == {row: f"not synthesized: no {row}" for row in rows}
    assert all((found.rows[row].clips, found.rows[row].failed) == (0, 1) for row in rows)


def test_a_baseline_without_videos_and_without_a_reason_is_refused(directories, one_clip):
    (one_clip / "empty").mkdir()
    made = benchmark.Rows({scores.SILENCE: one_clip / "empty"})
    with pytest.raises(MediaError, match="empty has no video"):
        run(one_clip, one_clip / "out", tracks=directories / "tracks", made=made, metadata=None)


def test_systems_are_compared_pairwise_over_the_clips_of_both(result):
    against = result.comparisons["ours", scores.STATIC_MOUTH]["lip_distance"]
    ours, still = values(result, "ours"), values(result, scores.STATIC_MOUTH)
    names = sorted(ours)
    means = [np.mean([rows[name]["lip_distance"] for name in names]) for rows in (ours, still)]
    assert against.ratio.value == pytest.approx(means[0] / means[1])
    assert against.difference.value == pytest.approx(means[0] - means[1])
    assert against.ratio.n == len(names)
    assert result.comparisons["ours", scores.SILENCE]["lip_distance"].ratio.n == 1
    assert ("exact", scores.STATIC_MOUTH) in result.comparisons
    assert list(result.rows)[:2] == ["ours", "exact"]


def test_a_baseline_that_could_not_be_made_says_why_for_every_clip(directories, tmp_path):
    reasons = {(scores.SILENCE, name): f"no sound in {name}" for name in SPANS}
    found = benchmark.benchmark(
        {"exact": System(directories / "exact")},
        directories / "truth",
        tmp_path / "out",
        made=benchmark.Rows({scores.SILENCE: tmp_path / "never made"}, reasons),
        options=Options(tracks=directories / "tracks"),
    )
    told = {item.clip: item.reason for item in found.failures if item.row == scores.SILENCE}
    assert told == {name: f"no sound in {name}" for name in SPANS}


def test_shifted_audio_is_compared_with_its_own_system_only(result):
    over = {row for row, other in result.comparisons if other == scores.SHIFTED_AUDIO}
    assert over == {"ours"}
    assert result.run["row shifted-audio"] == "from the track of ours"


def test_what_the_metadata_does_not_fit_is_stated(result):
    assert result.run["metadata"] == "4 clips without a row (cut, gone, lost and 1 more)"


def test_against_one_row(result):
    found = summary.summarise(
        "benchmark",
        clips=result.clips,
        failures=result.failures,
        conventions={},
        run={},
        systems=result.systems,
        against="exact",
    )
    assert list(found.comparisons) == [("ours", "exact")]
    for name, item in result.comparisons["ours", "exact"].items():
        assert found.comparisons["ours", "exact"][name].difference == item.difference


def test_groups_of_the_metadata_and_the_gap(result):
    (table,) = (t for t in result.groups if t.row == "exact")
    assert table.column == "view" and set(table.values) == {"front", "side"}
    means = {name: item["lip_distance"].value for name, item in table.values.items()}
    assert table.gaps["lip_distance"] == pytest.approx(abs(means["front"] - means["side"]))
    assert {item.speaker for item in result.of_row("exact")} == {"a", "b", ""}


def test_names_give_an_order_that_changes_no_number(directories, tmp_path, result):
    """Two of the videos under names that sort the other way."""
    renamed = {"late": "z", "lost": "a"}
    root = some_clips(directories, tmp_path, renamed)
    who = Metadata({"z": WHO.rows["late"]})
    options = {"tracks": directories / "tracks", "metadata": who, "systems": ["exact"]}
    found = run(root, tmp_path / "out", **options)
    expected = summary.summarise(
        "benchmark",
        clips=[item for item in result.clips if item.clip in renamed],
        failures=(),
        conventions={},
        run={},
        systems=("exact",),
    )
    for row in ("exact", scores.STATIC_MOUTH, scores.NOISE_FLOOR):
        assert found.rows[row].clips == expected.rows[row].clips == 2
        one, two = found.rows[row].metrics, expected.rows[row].metrics
        assert set(one) == set(two)
        for name, interval in one.items():
            np.testing.assert_allclose(
                dataclasses.astuple(interval),
                dataclasses.astuple(two[name]),
                rtol=1e-9,
                err_msg=f"{row} {name}",
            )


def test_a_track_is_made_once(directories, one_clip, result, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("tracked again")

    monkeypatch.setattr("talkface_jax.media.tracker.track_video", refuse)
    found = run(one_clip, one_clip / "out", tracks=directories / "tracks", metadata=None)
    for row in ("ours", "exact", scores.NOISE_FLOOR):
        assert list(values(found, row)) == ["lost"]
        before = values(result, row)["lost"]
        assert values(found, row)["lost"] == pytest.approx(before, abs=0, rel=0, nan_ok=True)


def test_a_damaged_track_is_made_anew(directories, one_clip, result):
    kept = one_clip / "tracks"
    shutil.copytree(directories / "tracks", kept)
    whole = {path: path.stat().st_size for path in kept.rglob("*.npz")}
    for path in whole:
        path.write_bytes(path.read_bytes()[:100])
    found = run(one_clip, one_clip / "out", tracks=kept, metadata=None, systems=["exact"])
    assert values(found, "exact")["lost"] == pytest.approx(
        values(result, "exact")["lost"], nan_ok=True
    )
    # That of the clip, which is that of its copy too, and that of the tracker's noise.
    mended = [path for path, size in whole.items() if path.stat().st_size == size]
    assert len(mended) == 2


def test_processes_give_the_same(directories, tmp_path, result):
    names = ("cut", "lost")
    root = some_clips(directories, tmp_path, dict(zip(names, names, strict=True)))
    options = {"tracks": directories / "tracks", "metadata": None, "against": "exact"}
    found = run(root, tmp_path / "out", workers=2, **options)
    expected = [item for item in result.clips if item.clip in names]
    assert {item.clip for item in expected} == set(names)
    assert [(item.clip, item.row) for item in found.clips] == [
        (item.clip, item.row) for item in expected
    ]
    for one, two in zip(found.clips, expected, strict=True):
        assert one.values == pytest.approx(two.values, rel=1e-4, nan_ok=True)
    assert [(item.clip, item.row, item.reason) for item in found.failures] == [
        (item.clip, item.row, item.reason.replace(str(directories), str(root)))
        for item in result.failures
        if item.clip in names and item.row != scores.SILENCE
    ]
    assert list(found.comparisons) == [("ours", "exact")]


def test_report_and_scores_are_written(result, directories):
    found = json.loads((directories / "out/scores.json").read_text())
    assert (found["schema"], found["kind"]) == (2, "benchmark")
    assert found["systems"] == ["ours", "exact"]
    assert found["counts"] == {
        "clips": 7,
        "scored": 4,
        "failures": len(result.failures),
        "frames": result.rows["ours"].frames + result.rows["exact"].frames,
        "lost": LOST.stop - LOST.start,
    }
    assert found["run"]["tracker"].startswith("mediapipe ")
    assert len(found["run"]["revision"]) >= 12
    assert set(tracks.tracker_facts()["model"]) <= set("0123456789abcdef")
    assert "upper faces" in found["conventions"]["crops"]
    page = (directories / "out/report.html").read_text()
    assert "gone" in page and "exact" in page
