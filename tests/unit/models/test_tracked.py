"""The flow by tracked keypoints: what it carries, where it stops, and irises behind lids."""

import functools

import cv2
import jax
import numpy as np
import pytest

from talkface_jax.models.landmark_maps import landmark_maps
from talkface_jax.models.render.latent_keypoints import tracked as network
from talkface_jax.models.render.point_flow import DEFAULT_FLOW

SIZE = 96
SCHEME = network.SCHEME
IRISES = np.concatenate([SCHEME.groups[f"iris_{side}"] for side in ("right", "left")])
CENTRES = IRISES[[0, 5]]


@functools.cache
def compiled():
    return jax.jit(
        lambda driving, source: network.tracked_flow(
            driving, source, size=SIZE, config=DEFAULT_FLOW
        )
    )


def flow_of(driving, source):
    return np.asarray(compiled()(driving, source))[0]


def at(flow, keypoints):
    """The flow at keypoints (n, 3), bilinear between pixel centres."""
    where = ((keypoints[:, :2] + 1) / 2 * SIZE - 0.5).astype(np.float32)[None]
    return cv2.remap(flow, where, None, cv2.INTER_LINEAR)[0]


def moved(keypoints, x, y):
    return keypoints + np.array([x, y, 0], np.float32)


def test_equal_keypoints_are_no_flow(tracked):
    assert np.abs(flow_of(tracked(), tracked())).max() < 0.1 * 2 / SIZE
    # Depth alone does not show.
    assert np.abs(flow_of(tracked() + np.float32([0, 0, 0.3]), tracked())).max() < 0.1 * 2 / SIZE


def test_a_moved_keypoint_comes_from_where_it_was(tracked):
    """The mouth opens, and a brow goes up."""
    source, driving = tracked(lips=0.03), tracked(lips=0.08)
    brow = SCHEME.groups["brow_left"]
    driving[:, brow, 1] -= 0.06
    flow = flow_of(driving, source)
    chosen = np.concatenate([SCHEME.groups["lips"], brow[1:-1]])
    wanted = (source - driving)[0, chosen, :2]
    assert np.abs(wanted).max() > 0.09
    assert np.linalg.norm(at(flow, driving[0, chosen]) - wanted, axis=1).max() < 0.015
    other = np.concatenate([SCHEME.groups[name] for name in ("brow_right", "nose")])
    np.testing.assert_allclose(at(flow, driving[0, other]), 0, atol=0.006)


def test_each_item_has_its_own_flow(tracked):
    source = np.concatenate([tracked(), tracked()])
    driving = np.concatenate([tracked(), moved(tracked(), 0.1, 0)])
    both = np.asarray(compiled()(driving, source))
    assert both.shape == (2, SIZE, SIZE, 2) and both.dtype == np.float32
    assert np.abs(both[0]).max() < 0.003 and np.abs(both[1]).max() > 0.09


def test_a_head_that_moves_takes_all_with_it_but_the_edge_of_the_picture(tracked):
    shift = np.array([0.1, -0.06])
    flow = flow_of(moved(tracked(), *shift), tracked())
    places = (np.arange(SIZE) + 0.5) / SIZE
    inner = np.flatnonzero(np.minimum(places, 1 - places) > network.EDGE)
    expected = np.broadcast_to(-shift, (len(inner), len(inner), 2))
    np.testing.assert_allclose(flow[np.ix_(inner, inner)], expected, atol=0.003)
    edges = np.concatenate([flow[0], flow[-1], flow[:, 0], flow[:, -1]])
    assert np.abs(edges).max() < 0.01 * np.abs(shift).max()
    # It stops softly: ever more towards the middle, by no more than a few pixels' worth a step.
    ramp = -flow[SIZE // 2, : inner[0] + 1, 0]
    assert (np.diff(ramp) > 0).all() and np.diff(ramp).max() < 3 * shift[0] / inner[0]


def test_the_outline_of_a_head_that_turns_stays_where_it_is(tracked):
    """Half a sphere of a face, turned about the axis between its ears."""
    source = tracked()
    jaw = source[0, SCHEME.groups["jaw"]]
    middle = (jaw[0] + jaw[-1]) / 2
    across = np.linalg.norm(jaw[-1] - jaw[0]) / 2
    apart = np.square(source[0, :, :2] - middle[:2]).sum(-1)
    source[0, :, 2] = -np.sqrt(np.maximum(1.3 * across**2 - apart, 0))
    angle = np.deg2rad(15)
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
    middle[2] = source[0, SCHEME.groups["jaw"][[0, -1]], 2].mean()
    driving = ((source[0] - middle) @ turn.T + middle).astype(np.float32)[None]
    flow = flow_of(driving, source)
    tip = SCHEME.groups["nose"][[2, 3]]
    wanted = (source - driving)[0, tip, :2]
    assert np.abs(wanted[:, 0]).min() > 0.1
    np.testing.assert_allclose(at(flow, driving[0, tip]), wanted, atol=0.02)
    # What a turned disc shows of its own edge: nothing moves at its top, its sides come nearer.
    edge = np.deg2rad([40, 90, 140])
    over = np.stack([across * np.cos(edge), -1.2 * across * np.sin(edge), 0 * edge], -1)
    shown = over @ turn.T + middle
    np.testing.assert_allclose(at(flow, shown)[:, 0], (over + middle - shown)[:, 0], atol=0.02)
    np.testing.assert_allclose(at(flow, shown)[:, 1], 0, atol=0.02)


@pytest.mark.parametrize("look", [(0.02, 0.0), (-0.015, 0.004)])
def test_irises_move_alone_where_lids_are_open(tracked, look):
    flow = flow_of(tracked(look=look), tracked())
    irises = tracked(look=look)[0, CENTRES]
    np.testing.assert_allclose(at(flow, irises), np.tile(-2 * np.array(look), (2, 1)), atol=0.006)
    rest = np.setdiff1d(
        np.arange(68), np.concatenate([SCHEME.groups["eye_right"], SCHEME.groups["eye_left"]])
    )
    np.testing.assert_allclose(at(flow, tracked()[0, rest]), 0, atol=0.004)


def test_irises_stay_behind_closed_lids_and_move_less_behind_half_closed_ones(tracked):
    look, across = (0.02, 0.0), {}
    for eye in (0.0, 0.015, 0.03, 0.05):
        driving = tracked(look=look, eye=eye)
        across[eye] = at(flow_of(driving, tracked(eye=0.03)), driving[0, CENTRES])[:, 0] / -0.04
    np.testing.assert_allclose(across[0.0], 0, atol=0.05)
    assert np.all(across[0.015] > 0.3) and np.all(across[0.015] < across[0.03] + 0.05)
    np.testing.assert_allclose(across[0.03], 1, atol=0.15)
    np.testing.assert_allclose(across[0.05], 1, atol=0.15)  # Not farther than they look.


def test_each_eye_closes_by_itself(tracked):
    driving, shut = tracked(look=(0.02, 0)), tracked(look=(0.02, 0), eye=0.0)
    driving[:, SCHEME.groups["eye_left"]] = shut[:, SCHEME.groups["eye_left"]]
    right, left = at(flow_of(driving, tracked()), driving[0, CENTRES])[:, 0]
    assert right == pytest.approx(-0.04, abs=0.006)
    assert left == pytest.approx(0, abs=0.003)


def test_a_picture_with_closed_eyes_gives_finite_flow(tracked):
    assert np.isfinite(flow_of(tracked(eye=0.03, look=(0.02, 0)), tracked(eye=0.0))).all()


def test_face_maps_are_drawn_where_the_keypoints_are(tracked, face):
    found = network.face_maps(tracked(), size=32)
    np.testing.assert_allclose(found, landmark_maps(face()[None], size=32), atol=1e-4)
