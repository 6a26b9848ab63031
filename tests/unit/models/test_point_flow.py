import functools

import cv2
import jax
import numpy as np
import pytest

from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.models.render.point_flow import DEFAULT_FLOW, Pairs, point_flow

SCHEME = get_scheme("ibug68")
SIZE = 128


@functools.cache
def compiled():
    return jax.jit(lambda *both: point_flow(*both, size=SIZE, config=DEFAULT_FLOW))


def flow_of(target, source):
    both = (np.asarray(x, np.float32)[None] for x in (target, source))
    return np.asarray(compiled()(*both))[0]


def at(flow, points):
    """Flow at the points, bilinear between pixel centres."""
    where = (points * SIZE - 0.5).astype(np.float32)[None]
    return cv2.remap(flow, where, None, cv2.INTER_LINEAR)[0]


def test_no_motion_is_no_flow(face):
    assert np.abs(flow_of(face(), face())).max() < 0.1


def test_head_motion_alone_is_followed_everywhere(face):
    turn = np.array([[1.04, 0.06], [-0.05, 0.97]])
    source = (face() - 0.5) @ turn + (0.52, 0.47)
    centres = (np.arange(SIZE) + 0.5) / SIZE
    grid = np.stack(np.meshgrid(centres, centres), -1)
    expected = SIZE * ((grid - 0.5) @ turn + (0.52, 0.47) - grid)
    inner = np.s_[20:-20, 20:-20]  # The border leads outside the picture.
    np.testing.assert_allclose(flow_of(face(), source)[inner], expected[inner], atol=0.15)


LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))
LIPS = ((61, 67), (62, 66), (63, 65))


def covering(target, source):
    """The source with lids and lips that close taken from further out."""
    moved = source.copy()
    for pairs, share in ((LIDS, DEFAULT_FLOW.lid_cover), (LIPS, DEFAULT_FLOW.lip_cover)):
        for above, below in pairs:
            there, here = (x[below, 1] - x[above, 1] for x in (source, target))
            push = share * max(there - here, 0)
            moved[above, 1] -= push
            moved[below, 1] += push
    return moved


@pytest.mark.parametrize(
    ("target", "source"),
    [
        ({"eye": 0.014}, {"eye": 0.05}),
        ({"eye": 0.05}, {"eye": 0.014}),
        ({"lips": 0.08}, {"lips": 0.01}),
        ({"lips": 0.02}, {"lips": 0.07}),
    ],
    ids=["eyes-close", "eyes-open", "lips-open", "lips-close"],
)
def test_points_that_move_are_carried_all_the_way(face, target, source):
    """Both lids and both lips, though they lie close together and move apart."""
    a, b = face(**target), face(**source)
    moved = at(flow_of(a, b), a)
    wanted = SIZE * (covering(a, b) - a)
    assert np.abs(wanted).max() > 3
    assert np.linalg.norm(moved - wanted, axis=1).max() < 0.15 * np.abs(wanted).max()


def test_lids_that_lie_on_each_other_come_from_two_places(face):
    """Just above the line is the upper lid's skin, just below it the lower one's."""
    closed, wide = face(eye=0.0), face(eye=0.05)
    flow = flow_of(closed, wide)
    wanted = SIZE * (covering(closed, wide) - closed)[:, 1]
    step = DEFAULT_FLOW.gap / 2
    for above, below in LIDS[:2]:
        for lid, side in ((above, -step), (below, step)):
            found = at(flow, closed[[lid]] + np.float32([0, side]))[0, 1]
            assert found == pytest.approx(wanted[lid] - SIZE * side, rel=0.2)


def test_what_is_far_from_the_motion_stays(face):
    flow = flow_of(face(lips=0.08), face(lips=0.0))
    assert np.abs(at(flow, np.array([[0.1, 0.1], [0.3, 0.2], [0.5, 0.05]]))).max() < 0.2


def test_no_pixel_comes_from_outside_the_picture(face):
    flow = flow_of(face(), face() + np.float32([0.3, -0.4]))
    places = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1) + flow
    assert places.min() > -0.01 and places.max() < SIZE - 0.99
    assert (places[..., 0] > SIZE - 1.01).any() and (places[..., 1] < 0.01).any()


EXTRA = np.array([[0.5, 0.1], [0.12, 0.25]], np.float32)
"""Places away from all points of the face."""


@functools.cache
def compiled_with_more():
    def flow(target, source, *more):
        return point_flow(target, source, size=SIZE, config=DEFAULT_FLOW, more=Pairs(*more))

    return jax.jit(flow)


def flow_with_more(target, source, points, source_points, weight):
    given = (target, source, points, source_points, np.asarray(weight))
    given = (np.asarray(x, np.float32)[None] for x in given)
    return np.asarray(compiled_with_more()(*given))[0]


def test_points_besides_count_as_far_as_they_weigh(face):
    """The head turns, and they move by themselves beyond that; at 0 they are not there."""
    turn = np.array([[1.03, 0.04], [-0.03, 0.98]])

    def head(points):
        return (points - 0.5) @ turn + (0.52, 0.48)

    own = np.array([[0.03, -0.02], [-0.02, 0.03]])
    for weight in (0.0, 1.0):
        flow = flow_with_more(face(), head(face()), EXTRA, head(EXTRA) + own, [weight] * 2)
        expected = SIZE * (head(EXTRA) + weight * own - EXTRA)
        np.testing.assert_allclose(at(flow, EXTRA), expected, atol=0.15 + 0.4 * weight)
    each = at(flow_with_more(face(), face(), EXTRA, EXTRA + own, [0.0, 1.0]), EXTRA)
    np.testing.assert_allclose(each[0], 0, atol=0.1)
    np.testing.assert_allclose(each[1], SIZE * own[1], atol=0.4)


def test_points_besides_leave_those_of_the_face_where_they_are(face):
    target, source = face(lips=0.08), face(lips=0.03)
    plain = at(flow_of(target, source), target)
    more = at(flow_with_more(target, source, EXTRA, EXTRA + 0.02, [1.0, 1.0]), target)
    np.testing.assert_allclose(more, plain, atol=0.3)
