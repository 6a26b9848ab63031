import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.landmarks.graph import CLUSTER_OF, LEVELS
from talkface_jax.models.graph import GraphLayer, adjacency, pool
from tests.helpers.dense_graph import dense_adjacency, dense_layer, dense_pool


def draw(tree, seed=0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), tree)


def fresh(level, features=5, inputs=3):
    layer = GraphLayer(features, level.edges)
    return layer, layer.init(jax.random.key(0), jnp.ones((1, len(level), inputs)))


@pytest.mark.parametrize("level", LEVELS, ids=len)
def test_layer_equals_the_dense_matrices(level):
    layer, variables = fresh(level)
    params = draw(variables["params"])
    x = np.random.default_rng(1).normal(size=(2, 3, len(level), 3)).astype(np.float32)
    found = layer.apply({"params": params}, x)
    for b in range(2):
        for t in range(3):
            np.testing.assert_allclose(found[b, t], dense_layer(params, x[b, t], level), atol=2e-5)


@pytest.mark.parametrize("level", LEVELS, ids=len)
def test_weights_are_positive_symmetric_and_only_on_edges(level):
    logits = np.random.default_rng(0).normal(0, 3, len(level.edges)).astype(np.float32)
    found = np.asarray(adjacency(jnp.asarray(logits), level.edges, nodes=len(level)))
    np.testing.assert_allclose(found, dense_adjacency(logits, level), rtol=1e-5)
    np.testing.assert_array_equal(found, found.T)
    linked = np.zeros(found.shape, bool)
    a, b = level.edges.T
    linked[a, b] = linked[b, a] = True
    np.testing.assert_array_equal(found > 0, linked)
    assert np.abs(np.linalg.eigvalsh(found)).max() == pytest.approx(1, abs=1e-5)


def test_fresh_weights_are_one():
    level = LEVELS[0]
    layer, variables = fresh(level)
    del layer
    logits = variables["params"]["edge_logits"]
    np.testing.assert_allclose(jax.nn.softplus(logits), 1, rtol=1e-6)
    degree = sum(np.bincount(ends, minlength=68) for ends in level.edges.T)
    degree = degree - 1  # A loop is one edge with two ends here.
    a, b = level.edges.T
    found = np.asarray(adjacency(logits, level.edges, nodes=68))
    np.testing.assert_allclose(found[a, b], (degree[a] * degree[b]) ** -0.5, rtol=1e-5)


@pytest.mark.parametrize("level", LEVELS, ids=len)
def test_fresh_layers_treat_both_sides_alike(level):
    layer, variables = fresh(level)
    x = np.random.default_rng(1).normal(size=(1, len(level), 3)).astype(np.float32)
    found = layer.apply(variables, x)
    mirrored = layer.apply(variables, x[:, level.mirror])
    np.testing.assert_allclose(mirrored, found[:, level.mirror], atol=1e-5)
    assert np.abs(mirrored - found).max() > 0.1


def test_information_travels_one_edge_a_layer():
    level = LEVELS[0]
    layer, variables = fresh(level)
    x = np.random.default_rng(1).normal(size=(1, 68, 3)).astype(np.float32)
    moved = x.copy()
    moved[0, 62] += 1
    change = np.abs(layer.apply(variables, moved) - layer.apply(variables, x)).max((0, 2))
    near = {int(a) for edge in level.edges.tolist() for a in edge if 62 in edge}
    assert set(np.flatnonzero(change > 1e-6).tolist()) <= near == {61, 62, 63}
    assert change[62] > 0.05


@pytest.mark.parametrize("cluster_of", CLUSTER_OF, ids=len)
def test_pooling(cluster_of):
    x = np.random.default_rng(0).normal(size=(2, len(cluster_of), 3)).astype(np.float32)
    pooled = pool(jnp.asarray(x), cluster_of)
    for item in range(2):
        np.testing.assert_allclose(pooled[item], dense_pool(x[item], cluster_of), atol=1e-6)
    back = pooled[:, cluster_of]
    np.testing.assert_allclose(pool(back, cluster_of), pooled, atol=1e-6)


@pytest.mark.parametrize("level", [0, 1])
def test_unpooling_gives_every_node_the_features_of_its_cluster(level):
    layer, variables = fresh(LEVELS[level])
    params = {"params": draw(variables["params"])}
    clusters = CLUSTER_OF[level]
    x = np.random.default_rng(2).normal(size=(2, clusters.max() + 1, 3)).astype(np.float32)
    found = layer.apply(params, x, cluster_of=clusters)
    np.testing.assert_allclose(found, layer.apply(params, x[:, clusters]), atol=2e-5)
    fresh_too = layer.init(jax.random.key(0), jnp.asarray(x), cluster_of=clusters)
    assert jax.tree.map(jnp.shape, fresh_too) == jax.tree.map(jnp.shape, variables)
