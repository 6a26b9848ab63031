"""A schematic face in ibug68, for tests of what is drawn or moved by landmarks."""

import numpy as np
import pytest

from talkface_jax.landmarks.schemes import get_scheme

SCHEME = get_scheme("ibug68")


def build_face(*, eye=0.03, lips=0.05):
    """A schematic face; `eye` and `lips` are half heights of the openings."""
    points = np.zeros((68, 2))
    turn = np.linspace(np.pi, 0, 17)
    points[SCHEME.groups["jaw"]] = np.stack([0.5 + 0.4 * np.cos(turn), 0.5 + 0.4 * np.sin(turn)], 1)
    for name, x in (("brow_right", 0.3), ("brow_left", 0.7)):
        points[SCHEME.groups[name]] = np.stack([np.linspace(x - 0.1, x + 0.1, 5), [0.2] * 5], 1)
    points[SCHEME.groups["nose"][:4]] = np.stack([[0.5] * 4, np.linspace(0.3, 0.5, 4)], 1)
    points[SCHEME.groups["nose"][4:]] = np.stack([np.linspace(0.4, 0.6, 5), [0.55] * 5], 1)

    def ring(x, y, width, height, count):
        angle = np.pi + np.linspace(0, 2 * np.pi, count, endpoint=False)
        return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], 1)

    points[SCHEME.groups["eye_right"]] = ring(0.3, 0.32, 0.08, eye, 6)
    points[SCHEME.groups["eye_left"]] = ring(0.7, 0.32, 0.08, eye, 6)
    points[SCHEME.groups["lips_outer"]] = ring(0.5, 0.72, 0.15, lips + 0.04, 12)
    points[SCHEME.groups["lips_inner"]] = ring(0.5, 0.72, 0.12, lips, 8)
    return points.astype(np.float32)


@pytest.fixture(scope="session")
def face():
    """`build_face`."""
    return build_face


def build_tracked(*, look=(0.0, 0.0), **shape):
    """The schematic face with irises as keypoints (1, 78, 3) of ibug78, [-1, 1] over the picture;
    `look` moves the irises, in widths of it."""
    ring = 0.015 * np.array([[0, 0], [1, 0], [0, -1], [-1, 0], [0, 1]])
    irises = np.concatenate([ring + np.array([x, 0.32]) + look for x in (0.3, 0.7)])
    points = np.concatenate([build_face(**shape), irises])
    return np.pad(2 * points - 1, ((0, 0), (0, 1))).astype(np.float32)[None]


@pytest.fixture(scope="session")
def tracked():
    """`build_tracked`."""
    return build_tracked
