"""Thresholds, and what is measured on a real clip with two people and on what is made from it."""

import dataclasses
import json
import math

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data_prep import gates, quality
from data_prep.gates import Gates
from data_prep.quality import Quality, face
from talkface_jax.errors import ConfigError, FaceError, MediaError
from talkface_jax.media.audio import read_clip_audio
from talkface_jax.media.images import crop_resize, decode_jpeg, encode_jpeg
from talkface_jax.media.tracker import FaceTracker, track_video
from talkface_jax.media.video import open_video
from talkface_jax.records import FaceTrack

FRAMES = 75
CUT = 40
GOOD = Quality(
    face_share=1.0,
    face_size=90.0,
    sharpness=0.8,
    identity_change=0.3,
    identity_frame=12,
    level=-20.0,
    speech_share=0.6,
    av_offset_frames=0,
    av_offset_ms=0.0,
    av_confidence=0.2,
)
BAD = {
    "min_face_share": ({"face_share": 0.62}, FaceError, "62.0% of the frames, fewer than 90.0%"),
    "min_face_size": ({"face_size": 31.4}, FaceError, "31.4 pixels high, less than 40"),
    "min_sharpness": ({"sharpness": 0.4}, FaceError, r"sharpness 0\.400, less than 0\.5"),
    "max_identity_change": (
        {"identity_change": 1.3, "identity_frame": 30},
        FaceError,
        r"second 1\.20 \(change 1\.30, more than 1\)",
    ),
    "min_level": ({"level": -71.0}, MediaError, r"silent \(-71\.0 dBFS"),
    "min_speech_share": ({"speech_share": 0.02}, MediaError, r"2\.0% of the clip, less than 10"),
}


@dataclasses.dataclass
class Footage:
    """A tracked clip: what `measure` takes."""

    track: FaceTrack
    frames: list
    audio: np.ndarray

    @property
    def crops(self):
        at = quality.sample_frames(self.track.valid)
        return [crop_resize(self.frames[t], self.track.box[t], (256, 256)) for t in at]

    def measure(self, change=lambda crop: crop):
        return quality.measure(self.track, audio=self.audio, crops=[change(c) for c in self.crops])


@pytest.fixture(scope="module")
def people(data_dir):
    """The first three seconds of the two people of the real clip."""
    path = data_dir / "obama_speech.mp4"
    with open_video(path) as video, FaceTracker() as tracker:
        frames = [video[t] for t in range(FRAMES)]
        audio = read_clip_audio(path, None, FRAMES)
        return [
            Footage(track_video(frames, face=k, audio=audio, tracker=tracker), frames, audio)
            for k in (1, 0)
        ]


@pytest.fixture(scope="module")
def speaker(people):
    return people[0]


def _joined(first, second, cut):
    """One track: the first person until the frame `cut`, then the second."""
    parts = ("landmarks", "blendshapes", "head", "box", "valid")
    a, b = first.track, second.track
    joined = {n: np.concatenate([getattr(a, n)[:cut], getattr(b, n)[cut:]]) for n in parts}
    return Footage(FaceTrack(**joined, size=a.size), first.frames, first.audio)


def _with(footage, **changes):
    return dataclasses.replace(footage, track=dataclasses.replace(footage.track, **changes))


def _blurred(sigma):
    return lambda crop: cv2.GaussianBlur(crop, (0, 0), sigma)


def test_every_gate_is_a_flag_with_help():
    for field in dataclasses.fields(Gates):
        assert field.metadata["help"] and isinstance(field.default, float)
        assert gates.flag(field.name).startswith(("--min-", "--max-"))
    assert gates.flag("min_face_share") == "--min-face-share"
    assert set(BAD) == {field.name for field in dataclasses.fields(Gates)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_face_share", 1.1),
        ("min_face_share", -0.1),
        ("min_face_size", -1.0),
        ("min_sharpness", math.nan),
        ("max_identity_change", math.inf),
        ("min_level", 3.0),
        ("min_speech_share", 90.0),
    ],
)
def test_thresholds_out_of_range_name_their_flag(name, value):
    with pytest.raises(ConfigError, match=f"{gates.flag(name)}=.* is no threshold; give a number"):
        Gates(**{name: value})


@pytest.mark.parametrize("gate", BAD)
def test_each_gate_refuses_and_can_be_switched_off(gate):
    values, error, words = BAD[gate]
    bad = dataclasses.replace(GOOD, **values)
    quality.check(GOOD, Gates(), name="clip a")
    with pytest.raises(error, match=f"^clip a: .*{words}.*{gates.flag(gate)}\\.$"):
        quality.check(bad, Gates(), name="clip a")
    quality.check(bad, Gates(**{gate: 0.0}), name="clip a")
    at_limit = {name: value for name, value in values.items() if name != "identity_frame"}
    limit = dataclasses.replace(GOOD, **{next(iter(at_limit)): getattr(Gates(), gate)})
    quality.check(limit, Gates(), name="clip a")


def test_sampled_frames_have_a_face_and_are_spread():
    valid = np.ones(1000, bool)
    valid[300:420] = False
    at = quality.sample_frames(valid)
    assert valid[at].all()
    assert len(at) == len(valid[valid]) // 12
    assert np.diff(at[at < 300]).max() == np.diff(at[at > 420]).max() == 12
    assert len(quality.sample_frames(valid[:25])) >= 8
    np.testing.assert_array_equal(quality.sample_frames(valid[:3]), [0, 1, 2])
    assert len(quality.sample_frames(np.zeros(50, bool))) == 0


def test_the_real_clip_passes_and_measures_are_plain_numbers(speaker):
    measured = speaker.measure()
    quality.check(measured, Gates(), name="real")
    row = dataclasses.asdict(measured)
    assert json.loads(json.dumps(row)) == row
    assert {type(value) for value in row.values()} == {int, float}
    assert measured == speaker.measure()
    tall = np.ptp(speaker.track.landmarks[..., 1], axis=1)
    assert measured.face_size == pytest.approx(np.median(tall), rel=0.02)
    with pytest.raises(ValueError, match="7 crops for 8"):
        quality.measure(speaker.track, audio=speaker.audio, crops=speaker.crops[:7])


def test_lost_frames_lower_the_share(speaker):
    valid = speaker.track.valid.copy()
    valid[10:40] = False
    points = np.where(valid[:, None, None], speaker.track.landmarks, 0)
    measured = _with(speaker, valid=valid, landmarks=points).measure()
    assert measured.face_share == pytest.approx(1 - 30 / FRAMES)
    assert measured.face_size == pytest.approx(speaker.measure().face_size, rel=0.03)
    with pytest.raises(FaceError, match="--min-face-share"):
        quality.check(measured, Gates(), name="lost")


def test_a_clip_without_a_face_is_measured_and_refused(speaker):
    nothing = _with(
        speaker,
        valid=np.zeros(FRAMES, bool),
        landmarks=np.zeros_like(speaker.track.landmarks),
    ).measure()
    assert (nothing.face_share, nothing.face_size, nothing.sharpness) == (0, 0, 0)
    with pytest.raises(FaceError, match=r"0\.0% of the frames"):
        quality.check(nothing, Gates(), name="empty")


def test_a_small_face_is_refused(speaker):
    half = np.array([0.5, 0.5, 0.5], np.float32)
    small = _with(speaker, landmarks=speaker.track.landmarks * half)
    assert face.size(small.track) == pytest.approx(face.size(speaker.track) / 2)
    measured = dataclasses.replace(speaker.measure(), face_size=face.size(small.track))
    with pytest.raises(FaceError, match="--min-face-size"):
        quality.check(measured, Gates(), name="small")


def test_sharpness_falls_with_blur_only(speaker):
    """Not with contrast, compression, or a resolution of 160 pixels as LRS2 has."""
    sharp = speaker.measure().sharpness
    levels = [speaker.measure(_blurred(sigma)).sharpness for sigma in (2, 4, 6, 8)]
    assert sharp > levels[0] > levels[1] > levels[2] > levels[3]
    assert levels[0] > Gates().min_sharpness > levels[2]

    def pale(crop):
        return (0.4 * crop + 70).astype(np.uint8)

    def as_in_lrs2(crop):
        small = cv2.resize(crop, (144, 144), interpolation=cv2.INTER_AREA)
        return cv2.resize(decode_jpeg(encode_jpeg(small, quality=30)), (256, 256))

    for change in (pale, as_in_lrs2):
        assert speaker.measure(change).sharpness == pytest.approx(sharp, rel=0.08)
    flat = speaker.measure(lambda crop: np.full_like(crop, 90))
    assert flat.sharpness == 0
    with pytest.raises(FaceError, match="blurred"):
        quality.check(speaker.measure(_blurred(6)), Gates(), name="blurred")


def test_another_person_is_found_at_the_cut(people):
    alone = [footage.measure().identity_change for footage in people]
    assert max(alone) < 0.9
    joined = []
    for first, second in (people, people[::-1]):
        for cut in (32, 40, 48):
            measured = _joined(first, second, cut).measure()
            # At 12 frames a second a face is the same for two or three of ours.
            assert abs(measured.identity_frame - cut) <= 3
            joined.append(measured)
    assert min(q.identity_change for q in joined) > max(alone)
    assert sum(q.identity_change > Gates().max_identity_change for q in joined) >= 5
    most = max(joined, key=lambda q: q.identity_change)
    with pytest.raises(
        FaceError, match=f"another face seems to follow .*{most.identity_change:.2f}"
    ):
        quality.check(most, Gates(), name="joined")


def _samples(colours):
    return [face.FaceSample(0.8, np.float32(c)) for c in colours]


def test_identity_needs_a_sudden_change_of_shape_and_colours(speaker):
    """Neither a sudden turn of the same head, nor light alone, nor one bad frame is another."""
    rng = np.random.default_rng(0)
    mesh = speaker.track.landmarks[0]
    still = np.repeat(mesh[None], FRAMES, 0)
    at = quality.sample_frames(np.ones(FRAMES, bool))
    skin = rng.uniform(60, 200, (50, 3))
    lit = _samples([skin + 15 * (t >= CUT) for t in at])

    def change(points, samples):
        track = dataclasses.replace(speaker.track, landmarks=points.astype(np.float32))
        return face.identity(track, samples, at)

    assert change(still, lit)[0] < 0.01
    turned = still.copy()
    turned[CUT:] = 1.4 * Rotation.from_euler("yx", (50, 20), degrees=True).apply(mesh) + 30
    assert change(turned, lit)[0] < 0.02
    wider = still.copy()
    wider[CUT:, :, 0] *= 1.15
    value, frame = change(wider, lit)
    assert value > 1 and frame == CUT
    assert change(wider, _samples([skin] * len(at)))[0] == 0
    once = still.copy()
    once[at[4]] += rng.normal(0, 4, mesh.shape)
    flash = _samples([skin + 60 * (i == 4) for i in range(len(at))])
    assert change(once, flash)[0] == 0
    slow = still * np.linspace(1, 1.15, FRAMES)[:, None, None] ** np.array([1, 0, 0])
    assert change(slow, lit)[0] < 0.25
    assert face.identity(speaker.track, lit[:3], at[:3]) == (0.0, 0)
