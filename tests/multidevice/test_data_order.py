"""Two real processes read what one reads, each its half; and one goes on where two stopped."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent
READER = HERE / "reader.py"
LAUNCH = HERE.parents[1] / "launch" / "local.py"
BEFORE, AFTER = 3, 4


def support(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Two segments of 20 windows in all, so that the batches below run into a third epoch."""
    unit = support("unit_support", HERE.parent / "unit" / "conftest.py")
    segments = [unit.build_segment(seed=seed, frames=14) for seed in (1, 2)]
    return unit.write_prepared(tmp_path_factory.mktemp("order"), {"train-0": segments})


def in_two_processes(directory, out):
    launch = [sys.executable, str(LAUNCH), "--processes=2", "--cpu-devices=1", "--"]
    command = [*launch, sys.executable, str(READER), str(directory), str(out), str(BEFORE)]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return [np.load(f"{out}-{process}.npz") for process in (0, 1)]


def test_two_processes_read_the_order_of_one_and_one_goes_on(directory, tmp_path):
    reader = support("reader", READER)
    reader.main(str(directory), str(tmp_path / "one"), BEFORE + AFTER)
    one = np.load(tmp_path / "one-0.npz")["own"]
    assert (
        len(np.unique(one.reshape(len(one) * reader.BATCH, -1), axis=0))
        == one.size // one[0, 0].size
    ), "jitter makes every sample another"
    two = in_two_processes(directory, tmp_path / "two")
    shares = np.stack([part["own"] for part in two], 2)
    np.testing.assert_array_equal(shares.reshape(one[:BEFORE].shape), one[:BEFORE])
    for part in two:
        # The global batch holds process 0's rows first, then process 1's.
        rows = np.concatenate([two[0]["own"], two[1]["own"]], 1)
        np.testing.assert_array_equal(part["whole"], rows)
    states = {str(part["state"]) for part in two}
    assert len(states) == 1
    state = states.pop()
    assert json.loads(state)["global_next_index"] == BEFORE * reader.BATCH
    reader.main(str(directory), str(tmp_path / "on"), AFTER, state)
    np.testing.assert_array_equal(np.load(tmp_path / "on-0.npz")["own"], one[BEFORE:])
