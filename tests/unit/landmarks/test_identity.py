import numpy as np
import pytest

from talkface_jax.landmarks.identity import identity_frame

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
