import numpy as np
import pytest

from talkface_jax.errors import WeightsError
from talkface_jax.interop.torch_rules import (
    CONV,
    LINEAR,
    SAME,
    Rule,
    attention_output,
    attention_projection,
    from_torch,
    reversed_channels,
    to_torch,
)


def numbers(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        (SAME, (3,)),
        (LINEAR, (3, 2)),
        (CONV, (4, 3, 5)),
        (CONV, (4, 3, 5, 7)),
        (reversed_channels(0, 3, axis=1).then(CONV), (4, 6, 3, 3)),
        (reversed_channels(0, 3, axis=0).then(CONV), (3, 4, 3, 3)),
        (attention_projection(2), (12, 4)),
        (attention_projection(2), (12,)),
        (attention_output(2), (4, 4)),
    ],
)
def test_layouts_are_undone_exactly(layout, shape):
    x = numbers(*shape)
    np.testing.assert_array_equal(layout.to_torch(layout.to_ours(x)), x)


def test_conv_layout_moves_the_right_axes():
    x = numbers(4, 3, 5, 7)
    (y,) = CONV.to_ours(x)
    assert y.shape == (5, 7, 3, 4)
    assert y[2, 6, 1, 3] == x[3, 1, 2, 6]


def test_reversed_channels_leave_the_others_alone():
    x = numbers(2, 5, 1, 1)
    (y,) = reversed_channels(0, 3, axis=1).to_ours(x)
    np.testing.assert_array_equal(y[0, :, 0, 0], [2, 1, 0, 3, 4])


def test_attention_is_split_by_heads():
    """q = W x, and head h takes rows h·d/heads onwards of W."""
    x = numbers(12, 4)
    query, _, value = attention_projection(2).to_ours(x)
    assert query.shape == (4, 2, 2)
    assert query[3, 1, 0] == x[2, 3]
    assert value[1, 0, 1] == x[9, 1]


RULES = (
    Rule(r"junk\..*"),
    Rule(r"(a|b)\.weight", (r"params/\1/kernel",), LINEAR),
    Rule(r"(a|b)\.bias", (r"params/\1/bias",)),
)
TEMPLATE = {"params": {"a": {"kernel": numbers(2, 3), "bias": numbers(3)}}}


def test_round_trip():
    tensors = {"a.weight": numbers(3, 2), "a.bias": numbers(3), "junk.x": numbers(9)}
    ours = from_torch(tensors, RULES, TEMPLATE)
    np.testing.assert_array_equal(ours["params"]["a"]["kernel"], numbers(3, 2).T)
    back = to_torch(ours, RULES, list(tensors))
    assert set(back) == {"a.weight", "a.bias"}
    np.testing.assert_array_equal(back["a.weight"], tensors["a.weight"])


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"a.weight": numbers(3, 2), "a.bias": numbers(3), "c.bias": numbers(1)}, "c.bias"),
        ({"a.weight": numbers(3, 2)}, "params/a/bias"),
        ({"a.weight": numbers(2, 3), "a.bias": numbers(3)}, "a.weight has shape"),
        (
            {"a.weight": numbers(3, 2), "a.bias": numbers(3), "b.bias": numbers(3)},
            "params/b/bias",
        ),
    ],
    ids=["unknown key", "unfilled", "shape", "no such layer"],
)
def test_nothing_is_guessed(tensors, message):
    with pytest.raises(WeightsError, match=message):
        from_torch(tensors, RULES, TEMPLATE)


def test_two_keys_for_one_place_are_refused():
    rules = (*RULES, Rule("again", ("params/a/bias",)))
    tensors = {"a.weight": numbers(3, 2), "a.bias": numbers(3), "again": numbers(3)}
    with pytest.raises(WeightsError, match="second time"):
        from_torch(tensors, rules, TEMPLATE)
