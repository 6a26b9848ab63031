"""A state in parts on eight virtual devices is the state that lies whole on each of them."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent
WAYS = (1, 4, 8)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What sharded.py wrote."""
    folder = tmp_path_factory.mktemp("sharded")
    flags = "--xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, str(HERE / "sharded.py"), str(folder / "out.npz"), str(folder / "run")],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    with np.load(folder / "out.npz") as file:
        return {name: file[name] for name in file.files}


def part(found, prefix):
    """The entries behind a prefix."""
    chosen = {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}
    assert chosen
    return chosen


@pytest.mark.parametrize("ways", WAYS)
def test_a_device_holds_its_part_of_what_is_large_and_all_of_the_rest(found, ways):
    first, shared = part(found, "first/"), 0
    for name, held in part(found, f"{ways}/bytes/").items():
        leaf = first[name]
        parts = ways if leaf.size >= found["min_shard_size"] else 1
        shared += parts > 1
        np.testing.assert_array_equal(held, [leaf.nbytes // parts] * 8, err_msg=name)
    # Two layers' kernels of one player and one of the other, each with two moments of Adam.
    assert shared == (9 if ways > 1 else 0)


@pytest.mark.parametrize("ways", WAYS)
def test_a_stored_state_is_restored_into_any_number_of_parts(found, ways):
    first, restored = part(found, "first/"), part(found, f"{ways}/before/")
    assert set(restored) == set(first)
    for name, leaf in first.items():
        assert restored[name].dtype == leaf.dtype, name
        np.testing.assert_array_equal(restored[name], leaf, err_msg=name)


@pytest.mark.parametrize("ways", WAYS[1:])
def test_a_step_on_parts_is_the_step_on_the_whole(found, ways):
    whole, parts = part(found, "1/loss/"), part(found, f"{ways}/loss/")
    assert set(parts) == set(whole)
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-5, err_msg=name)
    whole, parts = part(found, "1/after/"), part(found, f"{ways}/after/")
    moments = [name for name in whole if ".mu." in name or ".stats." in name]
    for name in moments:
        scale = max(np.abs(whole[other]).max() for other in moments if ".mu." in other)
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-5, atol=1e-5 * scale)
    for name in (name for name in whole if ".params." in name and not name.endswith("bias")):
        moved = np.abs(whole[name] - found[f"first/{name}"]).max()
        assert moved > 0, name
        # Adam divides by the size of a gradient: a small one's rounding shows in its sign.
        share = np.mean(np.abs(parts[name] - whole[name]) < 1e-3 * moved)
        assert share > 0.98, name
    assert int(parts["step"]) == 1
