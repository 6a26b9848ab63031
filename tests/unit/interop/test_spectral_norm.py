"""Spectral normalisation taken out of state_dicts and put back."""

import numpy as np
import pytest

from talkface_jax.errors import WeightsError
from talkface_jax.interop.spectral_norm import fold, unfold


def triple(seed=0, shape=(4, 3, 2, 2), dtype=np.float32):
    rng = np.random.default_rng(seed)
    u, v = rng.normal(size=shape[0]), rng.normal(size=int(np.prod(shape[1:])))
    parts = (rng.normal(size=shape), u / np.linalg.norm(u), v / np.linalg.norm(v))
    names = ("weight_orig", "weight_u", "weight_v")
    return {f"a.b.{name}": part.astype(dtype) for name, part in zip(names, parts, strict=True)}


def test_the_weight_is_what_the_stored_vectors_give():
    tensors = triple() | {"a.b.bias": np.ones(4, np.float32), "c.weight": np.zeros(2)}
    folded = fold(tensors)
    assert set(folded) == {"a.b.weight", "a.b.bias", "c.weight"}
    weight, u, v = (tensors[f"a.b.weight_{part}"] for part in ("orig", "u", "v"))
    expected = weight / (u @ weight.reshape(4, -1) @ v)
    np.testing.assert_allclose(folded["a.b.weight"], expected, rtol=1e-5)
    assert folded["a.b.weight"].dtype == np.float32
    assert folded["a.b.bias"] is tensors["a.b.bias"]


def test_a_layer_at_the_top():
    tensors = {key.removeprefix("a.b."): tensor for key, tensor in triple().items()}
    assert set(fold(tensors)) == {"weight"}


@pytest.mark.parametrize("norm", [0.3, 1.0, 20.0])
def test_written_triples_give_the_weight_again(norm):
    weight = np.random.default_rng(1).normal(size=(4, 3, 2, 2)).astype(np.float32)
    weight *= norm / np.linalg.norm(weight.reshape(4, -1), 2)
    tensors = {"a.weight": weight, "a.bias": np.ones(4, np.float32), "b.weight": weight}
    written = unfold(tensors, ["a.weight"])
    assert set(written) == {
        *("a.weight_orig", "a.weight_u", "a.weight_v"),
        *("a.bias", "b.weight"),
    }
    assert written["a.weight_u"].shape == (4,) and written["a.weight_v"].shape == (12,)
    np.testing.assert_allclose(np.linalg.norm(written["a.weight_u"]), 1, rtol=1e-6)
    folded = fold(written)
    for key, tensor in tensors.items():
        np.testing.assert_allclose(folded[key], tensor, rtol=1e-5, atol=1e-7)


def test_a_weight_of_zeros_cannot_be_written():
    with pytest.raises(WeightsError, match=r"a\.weight is zero"):
        unfold({"a.weight": np.zeros((2, 3), np.float32)}, ["a.weight"])


def without(name):
    return lambda tensors: tensors.pop(f"a.b.{name}")


def put(name, value):
    return lambda tensors: tensors.update({f"a.b.{name}": value})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without("weight_u"), r"but not a\.b\.weight_u"),
        (without("weight_v"), r"but not a\.b\.weight_v"),
        (without("weight_orig"), r"but not a\.b\.weight_orig"),
        (put("weight", np.ones((4, 3, 2, 2))), r"both a\.b\.weight and"),
        (put("weight_u", np.ones(5, np.float32)), r"\(5,\) and \(12,\)"),
        (put("weight_v", np.ones((12, 1), np.float32)), r"\(12, 1\)"),
        (put("weight_orig", np.ones(4, np.float32)), r"do not fit \(4,\)"),
        (put("weight_u", np.ones(4, np.int64)), "not floating-point"),
        (put("weight_u", np.zeros(4, np.float32)), r"spectral norm of .* is 0\.0"),
        (put("weight_u", np.full(4, np.nan, np.float32)), "is nan"),
    ],
)
def test_triples_that_do_not_fit_are_a_sentence(spoil, words):
    tensors = triple()
    spoil(tensors)
    with pytest.raises(WeightsError, match=rf"file\.pth.*{words}.*; use") as error:
        fold(tensors, source="file.pth")
    assert "\n" not in str(error.value)
