import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.metrics.emotion import ClassAccuracy, confusion


def test_every_class_counts_alike_however_batches_are_cut():
    found = jnp.array([0, 0, 1, 1, 2, 2, 2, 0])
    true = jnp.array([0, 0, 0, 1, 1, 2, 2, -1])
    mask = jnp.array([1, 1, 1, 1, 1, 1, 0, 1])
    whole = ClassAccuracy.of(found, true, 4, mask=mask)
    # Class 0: 2 of 3; 1: 1 of 2; 2: 1 of 1; 3 does not occur.
    assert whole.compute() == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    parts = [ClassAccuracy.of(found[s], true[s], 4, mask=mask[s]) for s in (slice(3), slice(3, 8))]
    assert parts[0].merge(parts[1]).compute() == pytest.approx(whole.compute())


def test_nothing_seen_is_no_accuracy():
    assert np.isnan(ClassAccuracy.of(jnp.array([1]), jnp.array([-1]), 3).compute())


def test_confusion_has_true_rows():
    table = confusion(np.array([1, 1, 0]), np.array([0, 0, 2]), 3)
    np.testing.assert_array_equal(table, [[0, 2, 0], [0, 0, 0], [1, 0, 0]])
