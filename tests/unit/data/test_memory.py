"""Reading for ten minutes holds no more memory at the end than soon after the start."""

import contextlib
import pathlib
import time

import pytest

from talkface_jax.data import pipeline
from talkface_jax.methods.iplap.views import RenderView

MINUTES = 10
MIB = 2**20


def resident_mib():
    (line,) = (
        line
        for line in pathlib.Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    return int(line.split()[1]) / 2**10


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
            if time.monotonic() - began > 10 * len(seen):
                seen.append(resident_mib())
    print(f"{count} batches; MiB every ten seconds: {[round(value) for value in seen]}")
    assert count > 100 and dataset.cache.size <= dataset.cache.limit
    assert dataset.cache.limit - dataset.cache.size < 4 * MIB, "the cache never filled"
    half = len(seen) // 2
    # The first minute fills buffers and the allocator's arenas.
    early, late = max(seen[6:half]), max(seen[half:])
    assert late < early + 64, (seen, count)
