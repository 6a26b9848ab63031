import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.metrics import text


def levenshtein(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        new = [i]
        for j, y in enumerate(b, 1):
            new.append(min(row[j] + 1, new[-1] + 1, row[j - 1] + (x != y)))
        row = new
    return row[-1]


def padded(words, length):
    out = np.full((len(words), length), -1, np.int32)
    for row, word in enumerate(words):
        out[row, : len(word)] = word
    return jnp.asarray(out)


def test_edit_distance_beside_the_textbook():
    rng = np.random.default_rng(0)
    found = [list(rng.integers(0, 4, rng.integers(0, 12))) for _ in range(40)]
    wanted = [list(rng.integers(0, 4, rng.integers(1, 9))) for _ in range(40)]
    expected = [levenshtein(a, b) for a, b in zip(found, wanted, strict=True)]
    np.testing.assert_array_equal(
        jax.jit(text.edit_distance)(padded(found, 12), padded(wanted, 9)), expected
    )


def test_best_path_merges_and_drops_blanks():
    path = np.asarray([[4, 0, 0, 4, 0, 1, 1, 4], [2, 2, 2, 2, 2, 2, 2, 2], [4] * 8])
    found = text.best_path(jax.nn.one_hot(path, 5), blank=4)
    np.testing.assert_array_equal(found[:, :4], [[0, 0, 1, -1], [2, -1, -1, -1], [-1] * 4])


def test_rate_is_of_all_characters_and_without_padding_items():
    path = np.asarray([[0, 1, 2, 4], [0, 4, 4, 4], [3, 3, 3, 3]])
    labels = padded([[0, 1, 2], [0, 1], [0, 0, 0]], 3)
    rate = text.character_error_rate(
        jax.nn.one_hot(path, 5), labels, blank=4, mask=jnp.asarray([1.0, 1.0, 0.0])
    )
    assert rate.compute() == pytest.approx(1 / 5)
