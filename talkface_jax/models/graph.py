"""Graph convolutions over a fixed graph, and pooling into fixed clusters of its nodes.

Source: graph convolution of Kipf and Welling, ICLR 2017, with a learned positive weight an edge
(Sinha et al., IJCAI 2022).
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

WEIGHT_ONE = math.log(math.e - 1)
"""softplus of it is 1."""


def adjacency(logits: jax.Array, edges: Int[np.ndarray, "e 2"], *, nodes: int) -> jax.Array:
    """D^-1/2 A D^-1/2, where A holds the weight softplus(logit) of each edge, both ways.

    Args:
      logits: (e,).
      edges: pairs of nodes, each pair once, every node with itself among them.
      nodes: n.

    Returns:
      (n, n), float32, symmetric; D is the diagonal of A's row sums.
    """
    number = np.zeros((nodes, nodes), np.int64)
    linked = np.zeros((nodes, nodes), np.float32)
    for a, b in (edges.T, edges.T[::-1]):
        number[a, b], linked[a, b] = np.arange(len(edges)), 1
    # Read by a table, so that both ways of an edge are one weight.
    weights = jax.nn.softplus(logits.astype(jnp.float32))[number] * linked
    root = jax.lax.rsqrt(jnp.sum(weights, -1))
    return weights * (root[:, None] * root)


def pool(x: jax.Array, cluster_of: Int[np.ndarray, " n"]) -> jax.Array:
    """The mean over the nodes of each cluster: (…, n, c) -> (…, k, c)."""
    members = np.arange(cluster_of.max() + 1)[:, None] == cluster_of
    shares = members / members.sum(1, keepdims=True)
    return jnp.einsum("kn,...nc->...kc", jnp.asarray(shares, x.dtype), x)


class GraphLayer(nn.Module):
    """ReLU(LayerNorm(Â x W + b)), Â = `adjacency` with weights of this layer's own, 1 at the start.

    LayerNorm, not BatchNorm: the nodes of one face must not depend on the others of the batch.

    Attributes:
      features: outputs a node.
      edges: as in `adjacency`.
    """

    features: int
    edges: Int[np.ndarray, "e 2"]

    @nn.compact
    def __call__(
        self, x: jax.Array, *, cluster_of: Int[np.ndarray, " n"] | None = None
    ) -> jax.Array:
        """(…, n, c) -> (…, n, features).

        With `cluster_of` x holds the features of clusters, (…, k, c), and every node begins with
        those of its own (unpooling), at the cost of k nodes instead of n.
        """
        nodes = x.shape[-2] if cluster_of is None else len(cluster_of)
        start = nn.initializers.constant(WEIGHT_ONE)
        logits = self.param("edge_logits", start, (len(self.edges),))
        mixing = adjacency(logits, self.edges, nodes=nodes)
        if cluster_of is not None:
            mixing = mixing @ (cluster_of[:, None] == np.arange(x.shape[-2])).astype(np.float32)
        x = nn.Dense(self.features, use_bias=False, name="dense")(x)
        x = jnp.einsum("nm,...mc->...nc", mixing.astype(x.dtype), x)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return nn.relu(nn.LayerNorm(name="norm")(x + bias))
