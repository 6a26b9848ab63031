"""Programs with state: many calls are one run, and the state stays where it is."""

import dataclasses

import choir
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.export import bundle, load, programs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("choir") / "bundle"
    bundle.write_bundle(
        choir.Choir(),
        choir.PROGRAMS,
        variables=choir.variables(),
        configs={},
        lineage={},
        out=out,
    )
    return out


@pytest.fixture
def loaded(folder):
    return load.load_bundle(folder)


def _heard(count, *shape):
    return np.random.default_rng(count).standard_normal((count, *shape, choir.SIZE), np.float32)


def _run(loaded, steps):
    """Every step through the bundle; what it said stays on the device."""
    state, said = loaded.start("walk", b=steps.shape[1]), []
    for x in steps:
        out = loaded.call("walk", {"x": x, **state})
        said.append(out.pop("y"))
        state = out
    return said, state


def test_many_calls_are_one_run_of_the_function(loaded):
    steps, networks = _heard(7, 3), choir.variables()

    def step(state, x):
        out = dict(choir.WALK.function(networks, {"x": x, **state}))
        said = out.pop("y")
        return out, said

    start = {"hidden": jnp.zeros((3, 3)), "heard": jnp.zeros((3, 3), jnp.bfloat16)}
    last, expected = jax.lax.scan(step, start, steps)
    said, state = _run(loaded, steps)
    np.testing.assert_allclose(np.stack(said), expected, rtol=1e-5, atol=1e-6)
    assert set(state) == {"hidden", "heard"}
    for name, value in state.items():
        assert value.shape == (3, 3) and value.dtype == last[name].dtype
        np.testing.assert_allclose(
            np.asarray(value, np.float32), np.asarray(last[name], np.float32), rtol=1e-5, atol=1e-6
        )
    # And the state matters: the same sounds in another order are heard otherwise.
    other, _ = _run(loaded, steps[::-1])
    assert not np.allclose(other[-1], said[0], atol=0.01)


def test_a_scan_of_any_length_goes_on_where_the_last_one_stopped(loaded):
    x = _heard(12)
    start = {"hidden": np.zeros(choir.SIZE, np.float32)}
    expected = choir.HEAR.function(choir.variables(), {"x": x, **start})
    for lengths in ((12,), (5, 7), (1, 1, 10)):
        state, said, first = loaded.start("hear"), [], 0
        for length in lengths:
            out = loaded.call("hear", {"x": x[first : first + length], **state})
            state, first = {"hidden": out["hidden"]}, first + length
            assert out["y"].shape == (length, choir.SIZE)
            said.append(np.asarray(out["y"]))
        np.testing.assert_allclose(np.concatenate(said), expected["y"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(state["hidden"], expected["hidden"], rtol=1e-5, atol=1e-6)


def test_the_state_that_went_in_is_donated_and_nothing_else_is(loaded):
    state = loaded.start("walk", b=2)
    x = jnp.ones((2, choir.SIZE))
    out = loaded.call("walk", {"x": x, **state})
    assert state["hidden"].is_deleted() and state["heard"].is_deleted()
    assert not x.is_deleted()
    with pytest.raises(RuntimeError, match="deleted"):
        np.asarray(state["hidden"])
    again = loaded.call("walk", {"x": x, "hidden": out["hidden"], "heard": out["heard"]})
    assert out["hidden"].is_deleted() and not out["y"].is_deleted()
    assert float(again["heard"][0, 0]) == 2.0
    # A program without state keeps all that it was given.
    loaded.call("sing", {"x": x})
    assert not x.is_deleted()


@pytest.fixture
def host_is_closed(monkeypatch):
    """Reading what lies on the device fails.

    On accelerators the transfer guard sees to that. For the CPU backend device and host are one, so
    that the guard lets everything pass; there NumPy is made to fail. It reads float32 through the
    buffer protocol, which cannot be closed, but bfloat16, which that knows not, by `__array__`.
    """

    def closed(*_, **__):
        raise AssertionError("a value of the device was read on the host")

    kind = type(jnp.zeros(1))
    with monkeypatch.context() as patch, jax.transfer_guard_device_to_host("disallow"):
        patch.setattr(kind, "__array__", closed)
        patch.setattr(kind, "_value", property(closed))
        yield


def test_what_is_read_on_the_host_would_be_noticed(host_is_closed):
    value = jnp.ones(2, jnp.bfloat16)
    for read in (np.asarray, np.isfinite, jax.device_get, lambda x: float(x[0])):
        with pytest.raises((AssertionError, RuntimeError), match=r"on the host|[Dd]isallowed"):
            read(value)


def test_state_stays_in_its_buffers_and_never_moves_through_the_host(loaded, host_is_closed):
    # Three rows are no power of two: a batch that is padded would be a copy.
    steps, state = _heard(6, 3), loaded.start("walk", b=3)
    buffers = {value.unsafe_buffer_pointer() for value in state.values()}
    assert len(buffers) == 2
    for x in steps:
        given = state
        out = loaded.call("walk", {"x": x, **given})
        state = {name: out[name] for name in given}
        # The very array that came out went in, not a copy of it.
        assert all(value.is_deleted() for value in given.values())
        assert {value.unsafe_buffer_pointer() for value in state.values()} == buffers


def test_state_starts_with_zeros_of_its_sizes(loaded):
    state = loaded.start("walk", b=5)
    assert {name: (x.shape, x.dtype.name) for name, x in state.items()} == {
        "hidden": ((5, 3), "float32"),
        "heard": ((5, 3), "bfloat16"),
    }
    assert not any(np.asarray(value, np.float32).any() for value in state.values())
    assert loaded.start("sing") == {}
    with pytest.raises(
        ValueError, match=r"walk: hidden has the dimensions \('b', 3\); give \['b'\]"
    ):
        loaded.start("walk")
    with pytest.raises(ValueError, match="no program 'dance'; the bundle has"):
        loaded.start("dance")


def test_state_that_does_not_fit_is_named(loaded):
    state, x = loaded.start("walk", b=2), np.zeros((2, choir.SIZE), np.float32)
    with pytest.raises(ValueError, match="heard is float32"):
        loaded.call("walk", {"x": x, **state, "heard": np.zeros((2, 3), np.float32)})
    with pytest.raises(ValueError, match=r"x is float32 \(3, 3\)|hidden is float32 \(2, 3\)"):
        loaded.call("walk", {"x": np.zeros((3, 3), np.float32), **state})
    with pytest.raises(ValueError, match="walk takes"):
        loaded.call("walk", {"x": x, "hidden": state["hidden"]})
    assert not any(value.is_deleted() for value in state.values())


@pytest.mark.parametrize(
    ("change", "comes_out"),
    [
        (lambda out: {**out, "hidden": out["hidden"].astype(jnp.bfloat16)}, r".*'bfloat16'\)"),
        (lambda out: {**out, "hidden": out["hidden"][:, :2]}, r"\(\('b', 2\), 'float32'\)"),
        (lambda out: {"y": out["y"], "heard": out["heard"]}, "None"),
    ],
)
def test_state_that_comes_out_otherwise_is_no_program(change, comes_out):
    broken = dataclasses.replace(
        choir.WALK, function=lambda networks, inputs: change(choir.WALK.function(networks, inputs))
    )
    with pytest.raises(
        ValueError, match=rf"program walk: state hidden goes in as .* comes out as {comes_out}$"
    ):
        programs.export_program(broken)
