import numpy as np
import pytest

from talkface_jax.landmarks.identity import frame_of, identity_frame
from talkface_jax.records import FaceTrack

LIPS = np.array([0.5, 0.1, 0.9, 0.3, 0.2, 0.4])
EYES = np.array([0.2, 0.2, 0.2, 0.0, 0.2, 0.01])


def test_median_lips_among_open_eyes():
    """Frames 3 and 5 blink; of 0.1, 0.2, 0.5 and 0.9 the upper median is 0.5."""
    assert identity_frame(lips=LIPS, eyes=EYES, valid=np.ones(6, bool)) == 0


def test_only_valid_frames_are_chosen():
    valid = np.array([0, 1, 0, 0, 1, 1], bool)
    assert identity_frame(lips=LIPS, eyes=EYES, valid=valid) == 4
    only = np.arange(6) == 3
    assert identity_frame(lips=LIPS, eyes=EYES, valid=only) == 3
    with pytest.raises(ValueError, match="no valid frame"):
        identity_frame(lips=LIPS, eyes=EYES, valid=np.zeros(6, bool))


def test_of_a_track_the_eyes_and_lips_of_the_mesh_count():
    """The eyes of frame 1 are shut; frame 3 shows no face."""
    mesh = np.zeros((4, 478, 3), np.float32)
    mesh[:, 263, 0] = 10
    mesh[:, 14, 1] = [3, 2, 1, 0.5]
    for lid in (145, 374):
        mesh[:, lid, 1] = [2, 0, 2, 2]
    track = FaceTrack(
        landmarks=mesh,
        blendshapes=np.zeros((4, 52), np.float32),
        head=np.tile(np.eye(4, dtype=np.float32), (4, 1, 1)),
        box=np.zeros((4, 4), np.float32),
        valid=np.array([1, 1, 1, 0], bool),
        size=(9, 9),
    )
    assert frame_of(track) == 0
    assert frame_of(track, valid=np.ones(4, bool)) == 2
    assert frame_of(track, valid=np.arange(4) == 1) == 1
