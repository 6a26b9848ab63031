"""Graph layers with full matrices, and an LSTM by its loop, in NumPy."""

import numpy as np


def dense_adjacency(logits, level):
    """D^-1/2 A D^-1/2 by the definition."""
    weights = np.zeros((len(level), len(level)))
    for logit, (a, b) in zip(logits, level.edges, strict=True):
        weights[a, b] = weights[b, a] = np.log1p(np.exp(logit))
    inverse_root = np.diag(weights.sum(1) ** -0.5)
    return inverse_root @ weights @ inverse_root


def layer_norm(params, x):
    """Over the last axis."""
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return x * params["scale"] + params["bias"]


def dense_layer(params, x, level):
    """ReLU(LayerNorm(Â x W + b)) of one face (n, c)."""
    x = dense_adjacency(params["edge_logits"], level) @ x @ params["dense"]["kernel"]
    return np.maximum(layer_norm(params["norm"], x + params["bias"]), 0)


def dense_pool(x, cluster_of):
    """Means of the clusters of one face (n, c)."""
    return np.stack([x[cluster_of == k].mean(0) for k in range(cluster_of.max() + 1)])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(gates, recurrent, cell, hidden):
    """Hidden states (t, width) of one sequence of gates (t, 4·width)."""
    states = []
    for row in gates:
        take, keep, new, show = np.split(row + hidden @ recurrent, 4)
        cell = sigmoid(keep) * cell + sigmoid(take) * np.tanh(new)
        hidden = sigmoid(show) * np.tanh(cell)
        states.append(hidden)
    return np.stack(states)
