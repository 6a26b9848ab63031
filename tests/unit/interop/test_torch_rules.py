import errno
import json
import os
import struct

import ml_dtypes
import numpy as np
import pytest

from talkface_jax.errors import WeightsError
from talkface_jax.interop.torch_layouts import (
    CONV,
    LINEAR,
    SAME,
    attention_output,
    attention_projection,
    reversed_channels,
)
from talkface_jax.interop.torch_rules import (
    Rule,
    from_torch,
    ignored,
    to_torch,
    torch_keys,
    write_safetensors,
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


def zero_count(_scale):
    return np.zeros((), np.int64)


RULES = (
    Rule(r"junk\..*"),
    Rule(r"(a|b)\.first\.weight", (r"params/\1/0/kernel",), reversed_channels(0, 2, axis=1)),
    Rule(r"(a|b)\.weight", (r"params/\1/kernel",), LINEAR),
    Rule(r"(a|b)\.bias", (r"params/\1/bias",)),
    Rule(r"norm(\d+)_([12])\.scale", (r"params/\2/norm_\1/scale",)),
    Rule(r"norm(\d+)_([12])\.count", (r"params/\2/norm_\1/scale",), buffer=zero_count),
)
TEMPLATE = {
    "params": {
        "a": {"kernel": numbers(2, 3), "bias": numbers(3), "0": {"kernel": numbers(1, 2)}},
        "2": {"norm_10": {"scale": numbers(5)}},
    }
}


def tensors(**changed):
    found = {
        "a.weight": numbers(3, 2),
        "a.bias": numbers(3),
        "a.first.weight": numbers(1, 2),
        "norm10_2.scale": numbers(5),
        **changed,
    }
    return {key: tensor for key, tensor in found.items() if tensor is not None}


def test_round_trip():
    read = tensors(**{"junk.x": numbers(9), "norm10_2.count": np.array(3)})
    ours = from_torch(read, RULES, TEMPLATE)
    np.testing.assert_array_equal(ours["params"]["a"]["kernel"], numbers(3, 2).T)
    np.testing.assert_array_equal(ours["params"]["a"]["0"]["kernel"], [[1, 0]])
    back = to_torch(ours, RULES)
    assert set(back) == set(read) - {"junk.x"}
    for key in tensors():
        np.testing.assert_array_equal(back[key], read[key], err_msg=key)
    assert back["norm10_2.count"].shape == () and back["norm10_2.count"].dtype == np.int64
    assert ignored(read, RULES) == {
        "junk.x": r"junk\..*",
        "norm10_2.count": r"norm(\d+)_([12])\.count",
    }


def test_keys_follow_from_the_variables():
    assert torch_keys(RULES, TEMPLATE) == {
        "a.first.weight": ("params/a/0/kernel",),
        "a.weight": ("params/a/kernel",),
        "a.bias": ("params/a/bias",),
        "norm10_2.scale": ("params/2/norm_10/scale",),
    }


def test_first_rule_decides_both_ways():
    rules = (
        Rule(r"layer0\.weight", ("params/layer_0",), LINEAR),
        Rule(r"layer(\d+)\.weight", (r"params/layer_\1",)),
    )
    read = {"layer0.weight": numbers(2, 3), "layer1.weight": numbers(2, 3)}
    template = {"params": {"layer_0": numbers(3, 2), "layer_1": numbers(2, 3)}}
    ours = from_torch(read, rules, template)
    assert ours["params"]["layer_0"].shape == (3, 2)
    back = to_torch(ours, rules)
    assert set(back) == set(read)
    np.testing.assert_array_equal(back["layer0.weight"], read["layer0.weight"])


def test_one_key_may_fill_several_paths():
    paths = tuple(rf"params/\1/{name}/kernel" for name in ("query", "key", "value"))
    rules = (Rule(r"(x|y)\.in_proj", paths, attention_projection(2)),)
    read = {"x.in_proj": numbers(12, 4), "y.in_proj": -numbers(12, 4)}
    parts = {name: {"kernel": numbers(4, 2, 2)} for name in ("query", "key", "value")}
    ours = from_torch(read, rules, {"params": {"x": parts, "y": parts}})
    for key, tensor in to_torch(ours, rules).items():
        np.testing.assert_array_equal(tensor, read[key])
    del ours["params"]["y"]["value"]
    with pytest.raises(WeightsError, match=r"y\.in_proj fills params/y/value/kernel"):
        to_torch(ours, rules)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"c.bias": numbers(1)}, r"holds c\.bias, which this network does not have"),
        ({"a.bias": None}, r"lacks a\.bias, which fills params/a/bias;"),
        ({"a.bias": None, "a.weight": None}, r"lacks a\.weight, .*\(and 1 more keys\)"),
        ({"a.weight": numbers(2, 3)}, r"a\.weight has shape \(2, 3\), .* needs \(3, 2\)"),
        ({"a.weight": numbers(3, 2, 1)}, r"a\.weight has shape"),
        ({"a.bias": np.float32(1)}, r"a\.bias has shape \(\)"),
        ({"b.bias": numbers(3)}, r"holds b\.bias, which belongs at params/b/bias"),
        ({"norm3_1.count": np.array(0)}, r"holds norm3_1\.count, which belongs at"),
        ({"a.bias": np.arange(3)}, r"a\.bias holds int64 numbers"),
    ],
    ids=[
        *("unknown key", "unfilled", "two unfilled", "transposed", "more axes", "number"),
        *("no such layer", "constant of no layer", "integers"),
    ],
)
def test_nothing_is_guessed(changed, message):
    with pytest.raises(WeightsError, match=message):
        from_torch(tensors(**changed), RULES, TEMPLATE)
    with pytest.raises(WeightsError, match=r"old\.pth"):
        from_torch(tensors(**changed), RULES, TEMPLATE, source="old.pth")


def test_values_become_float32():
    for dtype in (np.float16, np.float64, ml_dtypes.bfloat16):
        changed = {key: tensor.astype(dtype) for key, tensor in tensors().items()}
        read = from_torch(changed, RULES, TEMPLATE)["params"]["a"]["kernel"]
        assert read.dtype == np.float32 and read.flags.c_contiguous
        np.testing.assert_array_equal(read, numbers(3, 2).T)


def test_two_keys_for_one_place_are_refused():
    rules = (*RULES, Rule("again", ("params/a/bias",)))
    with pytest.raises(ValueError, match=r"both a\.bias and again fill params/a/bias"):
        from_torch(tensors(again=numbers(3)), rules, TEMPLATE)


def test_a_variable_without_counterpart_is_refused():
    template = {"params": {**TEMPLATE["params"], "positions": numbers(2)}}
    with pytest.raises(WeightsError, match="params/positions has no counterpart"):
        from_torch(tensors(), RULES, template)


def test_parts_are_written_only_where_that_is_said():
    part = {"params": {"a": TEMPLATE["params"]["a"]}}
    with pytest.raises(WeightsError, match=r"hold nothing at params/\\2/norm_\\1/scale"):
        to_torch(part, RULES)
    assert set(to_torch(part, RULES, partial=True)) == {"a.weight", "a.bias", "a.first.weight"}
    # Gradients have no constants.
    assert set(to_torch(TEMPLATE, RULES, partial=True)) == set(tensors())


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        (r"a.b", ("x",)),
        (r"a\.b+", ("x",)),
        (r"a[12]", ("x",)),
        (r"a(?:1|2)", ("x",)),
        (r"a(.*)", (r"x\1",)),
        (r"a.*", ("x",)),
        (r"a(\d+)", ("x",)),
        (r"a(\d+)", (r"x\1\2",)),
        (r"a(\d+", (r"x\1",)),
        (r"^a$", ("x",)),
    ],
)
def test_patterns_that_cannot_be_read_backwards_are_refused(pattern, paths):
    with pytest.raises(ValueError):
        Rule(pattern, paths)


def header(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length])


def test_written_files_hold_values_shapes_and_metadata(tmp_path):
    from safetensors.numpy import load_file

    written = {
        "t": numbers(2, 3).T,
        "n": np.array(3, np.int64),
        "f": np.asfortranarray(numbers(2, 3)),
    }
    path = tmp_path / "new" / "x.safetensors"
    write_safetensors(path, written, {"method": "iplap"})
    read = load_file(path)
    assert read["n"].shape == () and read["n"].dtype == np.int64
    for key, tensor in written.items():
        np.testing.assert_array_equal(read[key], tensor, err_msg=key)
    assert header(path)["__metadata__"] == {"method": "iplap"}
    assert os.listdir(path.parent) == [path.name]


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    write_safetensors(path, {"a": numbers(2)}, {})
    before = path.read_bytes()

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WeightsError, match=r"x\.safetensors cannot be written \(No space left"):
        write_safetensors(path, {"a": numbers(3)}, {})
    assert os.listdir(tmp_path) == [path.name] and path.read_bytes() == before
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match="choose another place"):
        write_safetensors(tmp_path / "file" / "x", {"a": numbers(3)}, {})


def test_a_pipe_is_not_replaced_by_a_file(tmp_path):
    """As /dev/null, which root may rename away."""
    os.mkfifo(pipe := tmp_path / "pipe")
    with pytest.raises(WeightsError, match=r"pipe is no file that could be replaced; choose"):
        write_safetensors(pipe, {"a": numbers(2)}, {})
    assert pipe.is_fifo() and os.listdir(tmp_path) == ["pipe"]
