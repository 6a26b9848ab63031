"""A picture follows a driving video: where motion starts, how it is put onto the picture."""

import dataclasses

import numpy as np
import pytest

from talkface_jax.errors import FaceError
from talkface_jax.landmarks import boxes
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.methods.emoconv import chain as chains
from talkface_jax.methods.emoconv import programs
from talkface_jax.methods.emoconv.generator.config import GeneratorConfig
from talkface_jax.methods.emoconv.generators import SMALL
from talkface_jax.records import FaceTrack

SIZE, LENGTH = 64, 12
TRACKED = GeneratorConfig(keypoints="tracked", facevid2vid=SMALL, size=SIZE)
DETECTED = GeneratorConfig(size=SIZE)
SCHEME = get_scheme("ibug78")


def track_of(landmarks, *, valid=None, blendshapes=None, size=(200, 240)):
    frames = len(landmarks)
    valid = np.ones(frames, bool) if valid is None else valid
    return FaceTrack(
        landmarks=np.where(valid[:, None, None], landmarks, 0).astype(np.float32),
        blendshapes=np.zeros((frames, 52), np.float32) if blendshapes is None else blendshapes,
        head=np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1)),
        box=boxes.record_boxes(landmarks, valid=valid, size=size),
        valid=valid,
        size=size,
    )


@pytest.fixture
def face():
    """A made-up mesh about the middle of the frame."""
    rng = np.random.default_rng(0)
    return (rng.normal(0, 15, (478, 3)) + np.array([120, 100, 0])).astype(np.float32)


@pytest.fixture
def frame():
    return np.random.default_rng(1).integers(0, 255, (200, 240, 3)).astype(np.uint8)


class Calls:
    """Programs that remember what they were given, and draw grey."""

    def __init__(self, *, count):
        self.seen, self.count = {}, count

    def __call__(self, name, inputs):
        self.seen.setdefault(name, []).append(inputs)
        rows = len(next(iter(inputs.values())))
        if name == programs.KEYPOINTS:
            # Crops of the driver are told apart by their first pixel: yaw 0 but a larger scale.
            grey = inputs["picture"][:, 0, 0, 0].astype(np.float32)
            canonical = np.random.default_rng(2).normal(0, 0.3, (self.count, 3))
            return {
                "canonical": np.tile(canonical, (rows, 1, 1)),
                "rotation": np.tile(np.eye(3), (rows, 1, 1)),
                "translation": np.stack([grey / 1000, 0 * grey, 0 * grey], -1),
                "scale": 1 + grey / 255,
                "expression": np.zeros((rows, self.count, 3)),
            }
        if name == programs.STITCHING:
            return {"driving": inputs["driving"] + 1}
        if name == programs.APPEARANCE:
            return {"volume": np.zeros((1, 1))}
        frames = len(inputs["driving"])
        return {"image": np.full((frames, SIZE, SIZE, 3), 0.5)}


def follow(config, picture, driver, frame, *, driver_frame_at=None, calls=None):
    calls = calls or Calls(count=programs.keypoint_count(config))
    chain = chains.ReenactmentChain(config, call=calls)
    session = chain.follow(
        picture,
        frame_at=lambda _: frame,
        driver=driver,
        driver_frame_at=driver_frame_at or (lambda _: frame),
    )
    return session, calls


def driven(calls):
    return np.concatenate([given["driving"] for given in calls.seen[programs.FRAMES]])


def test_a_picture_of_the_driver_gets_the_drivers_keypoints(face, frame):
    """Motion starts at the frame that is most like the picture: there it is the picture."""
    moved = face + np.arange(LENGTH)[:, None, None] * np.float32([0.4, 0.2, 0])
    scores = np.tile(np.linspace(1, 0, LENGTH, dtype=np.float32)[:, None], (1, 52))
    driver = track_of(moved, blendshapes=scores)
    picture = track_of(moved[4:5], blendshapes=scores[4:5])
    session, calls = follow(TRACKED, picture, driver, frame)
    assert session.sources.tolist() == [0] * LENGTH
    for start in range(0, LENGTH, 5):
        session.patches(start, [frame] * min(5, LENGTH - start))
    source = calls.seen[programs.FRAMES][0]["source"]
    found, box = driven(calls), picture.box[0]
    np.testing.assert_allclose(found[4], source[0], atol=1e-4)
    wanted = boxes.to_box(moved[:, SCHEME.indices], np.tile(box, (LENGTH, 1)))
    # But for the limit of how far the face may leave, which hardly matters so near.
    np.testing.assert_allclose((found[..., :2] + 1) / 2, wanted[..., :2], atol=2e-3)
    np.testing.assert_allclose(
        source[0],
        2 * boxes.to_box(face[None] + moved[4] - face, box[None])[0, SCHEME.indices] - [1, 1, 0],
        atol=1e-4,
    )


def test_the_face_never_leaves_its_crop(face, frame):
    moved = face + np.arange(LENGTH)[:, None, None] * np.float32([40, 0, 0])
    session, calls = follow(TRACKED, track_of(face[None]), track_of(moved), frame)
    session.patches(0, [frame] * LENGTH)
    away = driven(calls).mean(1) - calls.seen[programs.FRAMES][0]["source"][0].mean(0)
    assert np.all(np.diff(away[:, 0]) >= -1e-5) and away[1, 0] > 0.1
    assert away[-1, 0] / 2 == pytest.approx(0.25, abs=1e-3)


def test_frames_without_a_face_hold_the_nearest(face, frame):
    moved = face + np.arange(LENGTH)[:, None, None] * np.float32([0.4, 0, 0])
    valid = np.ones(LENGTH, bool)
    valid[[0, 6, 7]] = False
    session, calls = follow(TRACKED, track_of(face[None]), track_of(moved, valid=valid), frame)
    session.patches(0, [frame] * LENGTH)
    found = driven(calls)
    np.testing.assert_array_equal(found[[0, 6, 7]], found[[1, 5, 8]])


def test_the_whole_crop_is_put_back_where_it_was(face, frame):
    picture = track_of(face[None])
    session, calls = follow(TRACKED, picture, track_of(np.tile(face, (3, 1, 1))), frame)
    patches = session.patches(0, [frame] * 3)
    for patch in patches:
        np.testing.assert_allclose(patch.box, picture.box[0], rtol=1e-5)
        np.testing.assert_allclose(patch.contour.min(0), patch.box[:2], rtol=1e-5)
        np.testing.assert_allclose(patch.contour.max(0), patch.box[2:], rtol=1e-5)
        assert np.all(patch.image == 128)
    assert len(calls.seen[programs.APPEARANCE]) == 1
    given = calls.seen[programs.FRAMES][0]
    np.testing.assert_array_equal(given["picture"], calls.seen[programs.APPEARANCE][0]["picture"])


def test_detected_keypoints_change_as_the_drivers_do(face, frame):
    """scale · (canonical · rotation + expression) + translation, relative to the reference."""
    driver = track_of(np.tile(face, (3, 1, 1)))
    frames = [np.full_like(frame, grey) for grey in (50, 50, 101)]
    still = np.full_like(frame, 20)
    session, calls = follow(
        DETECTED, track_of(face[None]), driver, still, driver_frame_at=lambda k: frames[k]
    )
    session.patches(0, [still] * 3)
    found = driven(calls)
    source = calls.seen[programs.FRAMES][0]["source"][0]
    np.testing.assert_allclose(found[:2], np.tile(source, (2, 1, 1)), atol=1e-6)
    canonical = np.random.default_rng(2).normal(0, 0.3, (15, 3))
    scale = (1 + 20 / 255) * (1 + 101 / 255) / (1 + 50 / 255)
    wanted = scale * canonical + [(20 + 101 - 50) / 1000, 0, 0]
    np.testing.assert_allclose(found[2], wanted, atol=1e-5)
    assert "picture" not in calls.seen[programs.FRAMES][0]


def test_liveportrait_is_stitched(face, frame):
    config = dataclasses.replace(DETECTED, family="liveportrait")
    driver = track_of(np.tile(face, (2, 1, 1)))
    session, calls = follow(config, track_of(face[None]), driver, frame)
    session.patches(0, [frame] * 2)
    (given,) = calls.seen[programs.STITCHING]
    np.testing.assert_allclose(driven(calls), given["driving"] + 1)


def test_no_face_is_an_error_on_either_side(face, frame):
    none = np.zeros(1, bool)
    some, nobody = track_of(face[None]), track_of(face[None], valid=none)
    with pytest.raises(FaceError, match="no frame shows a face"):
        follow(TRACKED, nobody, some, frame)
    with pytest.raises(FaceError, match="driving video shows no face"):
        follow(TRACKED, some, nobody, frame)
