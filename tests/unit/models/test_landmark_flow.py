import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.models.render.landmark_flow import landmark_flow
from talkface_jax.models.warp import warp

SIZE = 64
SCHEME = get_scheme("iplap131")


def face(*, opening, shift=(0.0, 0.0), scale=1.0):
    """A schematic face: upper points on a grid, jaw on an arc, lips as two ellipses."""
    points = np.zeros((131, 2))
    rng = np.random.default_rng(5)
    points[SCHEME.groups["pose"]] = rng.uniform((0.15, 0.1), (0.85, 0.5), (74, 2))
    jaw = np.linspace(np.pi, 0, 17)
    points[SCHEME.groups["jaw"]] = np.stack([0.5 + 0.4 * np.cos(jaw), 0.55 + 0.4 * np.sin(jaw)], -1)
    # Both lip lists start at the left corner and run over the upper lip to the right one.
    turn = np.pi - np.linspace(0, 2 * np.pi, 20, endpoint=False)
    outer, inner = SCHEME.groups["lips_outer"], SCHEME.groups["lips_inner"]
    down = np.where(np.sin(turn) < 0, 1.0, 0.2)
    for group, width, height in ((outer, 0.15, 0.05), (inner, 0.12, 0.0)):
        tall = height + opening * down
        points[group] = np.stack([0.5 + width * np.cos(turn), 0.75 - tall * np.sin(turn)], -1)
    return (points - 0.5) * scale + 0.5 + np.asarray(shift)


def run(target, *references):
    stacked = jnp.asarray(np.stack(references)[None], jnp.float32)
    return landmark_flow(jnp.asarray(target[None], jnp.float32), stacked, size=SIZE)


def at(flow, points):
    """Flow (h, w, 2) at the pixels nearest to points (n, 2)."""
    pixels = np.clip((points * SIZE).astype(int), 0, SIZE - 1)
    return np.asarray(flow)[pixels[:, 1], pixels[:, 0]]


def test_head_motion_alone_is_followed_everywhere():
    target = face(opening=0.05)
    found = run(target, face(opening=0.05, shift=(0.05, -0.02), scale=1.1))
    centres = (np.arange(SIZE) + 0.5) / SIZE
    grid = np.stack(np.meshgrid(centres, centres), -1)
    expected = SIZE * ((grid - 0.5) * 0.1 + (0.05, -0.02))
    np.testing.assert_allclose(found.flow[0, 0], expected, atol=0.05)


@pytest.mark.parametrize(("target_opening", "reference_opening"), [(0.1, 0.0), (0.1, 0.04)])
def test_lip_points_are_carried_to_the_reference(target_opening, reference_opening):
    target, reference = face(opening=target_opening), face(opening=reference_opening)
    lips = SCHEME.groups["lips"]
    moved = at(run(target, reference).flow[0, 0], target[lips])
    wanted = SIZE * (reference - target)[lips]
    # The corners hardly move; the middle of the lower lip moves most and must be followed closely.
    most = np.abs(wanted[:, 1]) > 0.5 * np.abs(wanted[:, 1]).max()
    assert most.sum() >= 8
    ratio = moved[most, 1] / wanted[most, 1]
    assert ratio.min() > 0.7 and ratio.max() < 1.2
    away = at(run(target, reference).flow[0, 0], np.array([[0.5, 0.2], [0.2, 0.3]]))
    assert np.abs(away).max() < 0.2


def test_warped_reference_opens_its_mouth():
    """Lower-lip pixels of a closed mouth land where the target's open mouth has its lower lip."""
    target, reference = face(opening=0.1), face(opening=0.0)
    middle = SCHEME.groups["lips_inner"][15]
    rows = (np.arange(SIZE) + 0.5) / SIZE
    # Brightness grows with the row, so a brightness read back is the reference row it came from.
    image = jnp.broadcast_to(jnp.asarray(rows)[None, :, None, None], (1, SIZE, SIZE, 1))
    moved = warp(image, run(target, reference).flow[0], grid="aligned")
    x, y = (target[middle] * SIZE).astype(int)
    assert abs(float(moved[0, y, x, 0]) - reference[middle, 1]) < 0.02
    assert target[middle, 1] - reference[middle, 1] > 0.05


def test_likest_mouth_gets_the_largest_weight():
    found = run(face(opening=0.1), face(opening=0.0), face(opening=0.09), face(opening=0.2))
    logit = np.asarray(found.logit[0])
    assert logit[1] == 0
    assert logit[0] < -1 and logit[2] < -1
