import pickle

import numpy as np
import pytest

from talkface_jax.errors import ConfigError
from talkface_jax.landmarks.schemes import SCHEMES, get_scheme, select

# From mediapipe's own connection lists, whose two sides run in parallel.
KNOWN_PAIRS = ((33, 263), (61, 291), (234, 454), (70, 300), (78, 308), (159, 386), (48, 278))
MIDLINE = (152, 13, 14, 0, 17, 168, 4, 5, 6)


@pytest.mark.parametrize("name", SCHEMES)
def test_flip_is_an_involution_that_maps_edges_and_groups(name):
    scheme = get_scheme(name)
    every = np.arange(len(scheme))
    np.testing.assert_array_equal(scheme.flip[scheme.flip], every)
    edges = {frozenset(edge) for edge in scheme.edges.tolist()}
    assert {frozenset(scheme.flip[list(edge)].tolist()) for edge in edges} == edges
    for group in ("jaw", "lips", "nose"):
        positions = scheme.groups[group]
        assert set(scheme.flip[positions]) == set(positions)
    for left, right in (("eye_left", "eye_right"), ("brow_left", "brow_right")):
        assert set(scheme.flip[scheme.groups[left]]) == set(scheme.groups[right])


@pytest.mark.parametrize(("a", "b"), KNOWN_PAIRS)
def test_flip_pairs_known_points(a, b):
    assert SCHEMES["mesh478"].flip[a] == b


def test_flip_keeps_the_midline():
    flip = SCHEMES["mesh478"].flip
    np.testing.assert_array_equal(flip[list(MIDLINE)], MIDLINE)
    assert flip[468] == 473  # the irises' centres


@pytest.mark.parametrize(
    ("name", "points", "dims"),
    [
        ("mesh478", 478, 3),
        ("iplap131", 131, 2),
        ("ibug68", 68, 2),
        ("ibug78", 78, 3),
        ("emoconv141", 141, 3),
    ],
)
def test_sizes(name, points, dims):
    scheme = get_scheme(name)
    mesh = np.random.default_rng(0).normal(size=(2, 478, 3))
    chosen = select(mesh, scheme)
    assert chosen.shape == (2, points, dims)
    np.testing.assert_array_equal(chosen[1, 7], mesh[1, scheme.indices[7], :dims])
    assert len(set(scheme.indices.tolist())) == points


def test_iplap_groups_split_the_points():
    groups = get_scheme("iplap131").groups
    sizes = {name: len(groups[name]) for name in ("oval", "jaw", "lips", "pose", "content")}
    assert sizes == {"oval": 25, "jaw": 17, "lips": 40, "pose": 74, "content": 57}
    both = np.concatenate([groups["pose"], groups["content"]])
    np.testing.assert_array_equal(np.sort(both), np.arange(131))
    np.testing.assert_array_equal(groups["content"][groups["content_jaw"]], groups["jaw"])
    np.testing.assert_array_equal(groups["content"][groups["content_lips"]], groups["lips"])


def test_ibug78_is_ibug68_with_irises():
    small, large = get_scheme("ibug68"), get_scheme("ibug78")
    np.testing.assert_array_equal(large.indices[:68], small.indices)
    np.testing.assert_array_equal(large.indices[68:], np.arange(468, 478))
    for name, positions in small.groups.items():
        np.testing.assert_array_equal(large.groups[name], positions, err_msg=name)
    np.testing.assert_array_equal(large.flip[:68], small.flip)
    np.testing.assert_array_equal(large.edges[: len(small.edges)], small.edges)
    # The pictured person's right iris first, as the eyes are; each its centre, then its ring.
    right, left = (large.groups[f"iris_{side}"] for side in ("right", "left"))
    assert (right.tolist(), left.tolist()) == (list(range(68, 73)), list(range(73, 78)))
    np.testing.assert_array_equal(large.flip[68:], [73, 76, 75, 74, 77, 68, 71, 70, 69, 72])
    rings = large.edges[len(small.edges) :]
    assert len(rings) == 8 and not np.isin(rings, (68, 73)).any()
    both = np.concatenate([large.groups["pose"], large.groups["content"]])
    np.testing.assert_array_equal(np.sort(both), np.arange(68))


def test_mirror_twice_is_the_same_and_once_swaps_sides():
    scheme = get_scheme("iplap131")
    points = np.random.default_rng(1).uniform(size=(3, 131, 2)).astype(np.float32)
    once = scheme.mirror(points)
    right, left = scheme.position(61), scheme.position(291)
    np.testing.assert_allclose(once[:, left, 0], 1 - points[:, right, 0])
    np.testing.assert_allclose(once[:, left, 1], points[:, right, 1])
    np.testing.assert_allclose(scheme.mirror(once), points, atol=1e-6)


def test_unknown_names_are_told():
    with pytest.raises(ConfigError, match=r"no landmark scheme 'dlib'.*iplap131"):
        get_scheme("dlib")
    with pytest.raises(ConfigError, match="ibug68 has no mesh point 468"):
        get_scheme("ibug68").position(468)


def test_a_scheme_pickles_as_itself():
    scheme = get_scheme("iplap131")
    assert pickle.loads(pickle.dumps(scheme)) is scheme
