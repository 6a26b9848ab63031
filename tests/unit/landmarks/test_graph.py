import numpy as np
import pytest

from talkface_jax.landmarks.graph import CLUSTER_OF, LEVELS
from talkface_jax.landmarks.schemes import get_scheme

SCHEME = get_scheme("ibug68")


def links(level):
    return {tuple(edge) for edge in level.edges.tolist()}


def test_the_finest_level_is_chains_mirror_pairs_and_loops():
    chains = {tuple(sorted(edge)) for edge in SCHEME.edges.tolist()}
    pairs = {tuple(sorted((a, int(b)))) for a, b in enumerate(SCHEME.flip)}
    loops = {(a, a) for a in range(68)}
    assert links(LEVELS[0]) == chains | pairs | loops
    assert (36, 41) in chains and (48, 59) in chains and (60, 67) in chains  # Closed rings.
    assert (0, 16) not in chains and len(chains) == 63
    assert len(links(LEVELS[0])) == 63 + 29 + 68


@pytest.mark.parametrize(("index", "sizes"), [(0, (68, 34)), (1, (34, 17))])
def test_clusters_and_the_links_between_them(index, sizes):
    fine, coarse, cluster_of = LEVELS[index], LEVELS[index + 1], CLUSTER_OF[index]
    assert (len(fine), len(coarse)) == sizes
    assert set(np.bincount(cluster_of).tolist()) <= {1, 2, 3}
    assert links(coarse) == {
        tuple(sorted((int(cluster_of[a]), int(cluster_of[b])))) for a, b in fine.edges
    }


@pytest.mark.parametrize("index", [0, 1])
def test_clusters_of_mirrored_nodes_are_mirrored(index):
    cluster_of = CLUSTER_OF[index]
    flipped = cluster_of[LEVELS[index].mirror]
    np.testing.assert_array_equal(flipped, LEVELS[index + 1].mirror[cluster_of])


@pytest.mark.parametrize("level", LEVELS, ids=len)
def test_levels_are_their_own_mirror_images(level):
    np.testing.assert_array_equal(level.mirror[level.mirror], np.arange(len(level)))
    assert {tuple(sorted(level.mirror[list(edge)].tolist())) for edge in links(level)} == links(
        level
    )
    assert len(links(level)) == len(level.edges)


def test_a_cluster_runs_along_a_chain():
    """Each is one piece of the chains, and lids and lips are not mixed across the opening."""
    chains = {tuple(sorted(edge)) for edge in SCHEME.edges.tolist()}
    for cluster in range(34):
        members = np.flatnonzero(CLUSTER_OF[0] == cluster).tolist()
        inside = [edge for edge in chains if set(edge) <= set(members)]
        assert len(inside) == len(members) - 1
    part = CLUSTER_OF[1][CLUSTER_OF[0]]
    upper, lower = part[[49, 51, 53, 61, 62, 63]], part[[56, 57, 58, 65, 66, 67]]
    assert not set(upper.tolist()) & set(lower.tolist())
    upper, lower = CLUSTER_OF[0][[37, 38, 43, 44]], CLUSTER_OF[0][[40, 41, 46, 47]]
    assert not set(upper.tolist()) & set(lower.tolist())
