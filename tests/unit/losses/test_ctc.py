import itertools

import jax.numpy as jnp
import numpy as np

from talkface_jax.losses.ctc import ctc

BLANK = 3


def collapse(path):
    return [k for k, _ in itertools.groupby(path) if k != BLANK]


def by_enumeration(logits, label):
    """-log of the summed probability of every path that says the label."""
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    total = sum(
        np.prod([p[t, k] for t, k in enumerate(path)])
        for path in itertools.product(range(logits.shape[-1]), repeat=len(logits))
        if collapse(path) == label
    )
    return -np.log(total)


def test_ctc_equals_the_sum_over_all_paths():
    logits = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)
    labels = [[0, 1], [2, 2, 0], [1]]
    padded = np.full((3, 4), -1, np.int32)
    for row, label in enumerate(labels):
        padded[row, : len(label)] = label
    expected = [
        by_enumeration(one.astype(np.float64), label) / len(label)
        for one, label in zip(logits, labels, strict=True)
    ]
    found = ctc(jnp.asarray(logits), jnp.asarray(padded), blank=BLANK)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
