"""Made-up blinks, for all tests of the stage that learns them."""

import numpy as np
import pytest

from talkface_jax.landmarks import blinks


def build_closures(count, frames, seed=0):
    """A renewal process of blinks: intervals uniform between 1.8 and 3.9 s, in random phase."""
    rng = np.random.default_rng(seed)
    pulse = np.array([0.3, 1.1, 1.2, 1.2, 0.9, 0.3])
    curves = rng.normal(0, 0.03, (count, frames + 200))
    for curve in curves:
        start = rng.uniform(0, 97.5)
        while start < frames + 190:
            curve[int(start) : int(start) + len(pulse)] += pulse
            start += rng.uniform(45, 97.5)
    return curves[:, 150 : frames + 150]


@pytest.fixture(scope="session")
def closing():
    """The displacement (22, 2) of the mean face's eyes whose closure is 1."""
    return blinks.CLOSING / np.sum(np.square(blinks.CLOSING))


@pytest.fixture(scope="session")
def closures():
    """`build_closures`."""
    return build_closures


@pytest.fixture(scope="session")
def tracks_of(closing):
    """Gives displacement tracks with given closures."""
    return lambda curves: (np.asarray(curves)[..., None, None] * closing).astype(np.float32)
