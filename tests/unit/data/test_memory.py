"""Reading for ten minutes: memory fills in the first ones and then stays."""

import contextlib
import pathlib
import time

import numpy as np
import pytest

from talkface_jax.data import pipeline
from talkface_jax.methods.iplap.render.view import RenderView

MINUTES = 10
JUDGED = 6
A_MINUTE = 6
MIB = 2**20
# A flat run of ten minutes gave slopes from -0.5 to 0.9 over any six of them.
LIMIT = 1.5


def resident_mib():
    (line,) = (
        line
        for line in pathlib.Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    return int(line.split()[1]) / 2**10


def growth(seen):
    """MiB a minute over the last minutes: the slope through their medians, since single readings
    stray by 20 MiB as batches come and go."""
    minutes = np.median(np.reshape(seen[-JUDGED * A_MINUTE :], (JUDGED, A_MINUTE)), axis=1)
    return float(np.polyfit(np.arange(JUDGED), minutes, 1)[0])


def test_growth_tells_a_leak_from_noise():
    rng = np.random.default_rng(0)
    minutes = np.arange(MINUTES * A_MINUTE) / A_MINUTE
    for _ in range(20):
        noise = rng.choice([-20, -8, -4, 0, 3, 6, 10], len(minutes))
        start = np.where(minutes < 2, -30, 0)
        assert growth(400 + start + 0.5 * noise) < LIMIT < growth(400 + 4 * minutes + 0.5 * noise)


@pytest.mark.slow
@pytest.mark.timeout(60 * MINUTES + 300)
@pytest.mark.skipif(not pathlib.Path("/proc/self/status").is_file(), reason="needs /proc")
def test_memory_is_flat_over_ten_minutes(tmp_path, make_segment, write):
    """With a cache that holds a part of the segments, so that it drops and fills all the time."""
    segments = [make_segment(seed=seed, frames=125) for seed in range(24)]
    dataset = pipeline.open_dataset(write(tmp_path, {"train-0": segments}), "train", cache_mb=16)
    batches = pipeline.train_iterator(dataset, RenderView(), batch_size=32, seed=0, threads=2)
    seen, began, count = [], time.monotonic(), 0
    with contextlib.closing(batches):
        while time.monotonic() - began < 60 * MINUTES:
            next(batches)
            count += 1
            if time.monotonic() - began > 60 / A_MINUTE * len(seen):
                seen.append(resident_mib())
    print(f"{count} batches; MiB every ten seconds: {[round(value) for value in seen]}")
    assert count > 100 and dataset.cache.size <= dataset.cache.limit
    assert dataset.cache.limit - dataset.cache.size < 4 * MIB, "the cache never filled"
    assert growth(seen) < LIMIT, seen
