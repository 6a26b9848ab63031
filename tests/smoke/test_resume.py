"""A run killed with SIGKILL at a random step, and run again, ends as if nothing had happened."""

import importlib.util
import os
import pathlib
import random
import subprocess
import sys
import time

import pytest

from talkface_jax.stored.integrity import read_document
from talkface_jax.train.telemetry import METRICS_FILE, read_metrics

STEPS = 120
EVERY = 10


def command(workdir, data):
    return [
        sys.executable,
        "-m",
        "talkface_jax.cli.main",
        "train",
        "--config=configs/iplap/motion.py:tiny",
        f"--workdir={workdir}",
        "--no-progress",
        f"--config.data.directory={data}",
        "--config.data.batch_size=4",
        "--config.data.eval_batches=2",
        f"--config.train.steps={STEPS}",
        f"--config.train.checkpoint_every={EVERY}",
        "--config.train.log_every=1",
        "--config.train.eval_every=50",
        "--config.train.preview_every=0",
        "--config.train.ema_decay=0.9",
    ]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = pathlib.Path(__file__).parents[1] / "unit" / "conftest.py"
    spec = importlib.util.spec_from_file_location("unit_support", path)
    support = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(support)
    train = [support.build_segment(seed=seed) for seed in (1, 2, 3)]
    val = [support.build_segment(seed=4, frames=24, split="val")]
    directory = tmp_path_factory.mktemp("prepared")
    return support.write_prepared(directory, {"train-0": train, "val-0": val})


def to_the_end(workdir, data, repository):
    done = subprocess.run(
        command(workdir, data), cwd=repository, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr[-3000:]


def kill_at(step, workdir, data, repository):
    """Starts the run and kills it once it has logged `step`."""
    child = subprocess.Popen(
        command(workdir, data), cwd=repository, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    log = workdir / METRICS_FILE
    deadline = time.monotonic() + 200
    while child.poll() is None and time.monotonic() < deadline:
        if log.exists() and any(line["step"] >= step for line in read_metrics(log)):
            child.kill()
        time.sleep(0.005)
    assert child.wait(timeout=10) == -9, "the run ended before it was killed"


def final_checksums(workdir):
    return read_document(workdir / "checkpoints" / str(STEPS))["crc32c"]


def test_killed_run_ends_bit_identical(data, tmp_path, repository):
    to_the_end(tmp_path / "whole", data, repository)
    step = random.SystemRandom().randrange(EVERY + 1, STEPS - 3 * EVERY)
    killed = tmp_path / "killed"
    kill_at(step, killed, data, repository)
    left = sorted(path.name for path in (killed / "checkpoints").iterdir())
    to_the_end(killed, data, repository)
    # Every leaf: parameters, optimiser, averages, statistics, random key.
    assert final_checksums(killed) == final_checksums(tmp_path / "whole"), (step, left)
    whole, again = (
        [
            {k: v for k, v in line.items() if k not in ("steps_per_second", "data_wait")}
            for line in read_metrics(run / METRICS_FILE)
        ]
        for run in (tmp_path / "whole", killed)
    )
    assert [line["step"] for line in again if "loss/motion/total" in line] == [*range(1, STEPS + 1)]
    assert again == whole
    folders = [sorted(os.listdir(run / "checkpoints")) for run in (killed, tmp_path / "whole")]
    assert folders[0] == folders[1]
