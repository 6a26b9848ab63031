import numpy as np

from talkface_jax.evaluate import noise
from talkface_jax.records import FaceTrack


def track_of(points, size, valid):
    n = len(points)
    return FaceTrack(
        landmarks=points,
        blendshapes=np.zeros((n, 52), np.float32),
        head=np.zeros((n, 4, 4), np.float32),
        box=np.zeros((n, 4), np.float32),
        valid=valid,
        size=size,
    )


def centroid(frame):
    weights = frame[..., 0].astype(float)
    y, x = np.indices(weights.shape)
    return np.array([(weights * x).sum(), (weights * y).sum()]) / weights.sum()


def test_jitter_moves_every_frame_otherwise_and_undo_moves_points_back():
    """A bright blob, found again by its centroid in the jittered frames."""
    y, x = np.indices((120, 160))
    blob = (200 * np.exp(-((x - 100) ** 2 + (y - 50) ** 2) / 40)).astype(np.uint8)
    frames = [np.repeat(blob[..., None], 3, -1)] * 6
    jittered = noise.Jittered(frames, seed=3)
    found = np.array([centroid(frame) for frame in jittered])
    assert np.ptp(found, axis=0).min() > 1, "the frames move"
    assert np.abs(found - (100, 50)).max() < 120 * noise.SHIFT + 60 * noise.SCALE + 1

    points = np.zeros((6, 478, 3), np.float32)
    points[..., :2] = found[:, None]
    valid = np.array([True] * 5 + [False])
    back = jittered.undo(track_of(points, (120, 160), valid))
    np.testing.assert_allclose(back[:5, 0, :2] - (100, 50), 0, atol=0.15)
    assert np.isnan(back[5]).all()


def test_the_seed_determines_the_frames_and_light_changes():
    frames = [np.full((32, 32, 3), 100, np.uint8)] * 8
    a, b, c = (noise.Jittered(frames, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a[5], b[5])
    levels = [frame[16, 16, 0] for frame in a]
    assert levels != [frame[16, 16, 0] for frame in c]
    assert 92 <= min(levels) < max(levels) <= 108
