"""A made-up face of 131 points that nods, turns and talks."""

import numpy as np
import pytest

from talkface_jax.landmarks import schemes

SCHEME = schemes.get_scheme("iplap131")


def talking_face(seed: int, *, frames: int = 80) -> np.ndarray:
    """(t, 131, 2) pixels: a fixed shape, slow head motion, a mouth that opens by a smooth curve."""
    rng = np.random.default_rng(seed)
    shape = rng.uniform(60, 190, (131, 2))
    for mesh, place in {33: (80, 90), 263: (170, 90), 13: (125, 150), 14: (125, 151)}.items():
        shape[SCHEME.position(mesh)] = place
    opening = np.convolve(rng.normal(size=frames + 4), np.ones(5) / 5, "valid")
    opening = 20 * (opening - opening.min())
    points = np.repeat(shape[None], frames, 0)
    lower = [SCHEME.position(mesh) for mesh in (14, 17, 87, 178, 317, 402, 84, 314)]
    points[:, lower, 1] += opening[:, None]
    points[:, SCHEME.groups["jaw"], 1] += 0.5 * opening[:, None]
    t = np.arange(frames) / 25
    turn = 0.05 * np.sin(2 * np.pi * 0.3 * t)
    rotation = np.stack(
        [np.stack([np.cos(turn), -np.sin(turn)], -1), np.stack([np.sin(turn), np.cos(turn)], -1)],
        -2,
    )
    return points @ rotation + 5 * np.stack([np.sin(t), np.cos(t)], -1)[:, None]


@pytest.fixture
def faces():
    return [talking_face(seed) for seed in range(6)]
