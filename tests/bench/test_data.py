"""Reading: the store beside ArrayRecord, every view's samples, and what a training step needs."""

import contextlib
import itertools
import os

import jax
import measure
import numpy as np
import pytest

from talkface_jax import api
from talkface_jax.data import pipeline
from talkface_jax.data.kept import KeptArrays
from talkface_jax.data.sampler import Sampler, make_parts
from talkface_jax.data.schema import RecordMeta
from talkface_jax.data.store import ShardSource, ShardWriter
from talkface_jax.methods import registry

pytestmark = pytest.mark.bench

BATCH = 32
RECORDS = 96
# What a stage's base size needs besides its file; nothing that its view depends on.
OVERRIDES = {("iplap", "render", "base"): ["--config.task.perceptual=vgg16"]}
# Threads, processes, MiB of cache.
READERS = ((1, 0, 1024), (2, 0, 1024), (0, 2, 1024), (1, 0, 0), (0, 2, 0))
STAGES = [(*stage, size) for stage in sorted(registry.tasks()) for size in ("base", "tiny")]


def experiment(repository, method, stage, size):
    path = f"{repository}/configs/{method}/{stage}.py:{size}"
    config = api.load_experiment(path, OVERRIDES.get((method, stage, size), []))
    return config, registry.build_task(method, stage, config.task)


def sampler_of(dataset, view):
    windows = pipeline.enumerate_windows(dataset, window=view.window, faces=view.faces)
    return Sampler(make_parts([dataset], [windows]), view, seed=0), windows


@pytest.mark.parametrize(("method", "stage", "size"), STAGES)
def test_view(board, repository, prepared_faces, method, stage, size):
    """Warm with threads and processes, and as where the data are far larger than the cache."""
    _, task = experiment(repository, method, stage, size)
    name = f"{method}/{stage}:{size}, samples"
    for threads, workers, cache_mb in READERS:
        dataset = pipeline.open_dataset(prepared_faces, "train", cache_mb=cache_mb)
        batches = pipeline.train_iterator(
            dataset,
            task.view,
            batch_size=BATCH,
            seed=0,
            threads=threads,
            workers=workers,
            prefetch=2,
        )
        with contextlib.closing(batches):
            # More than is read ahead, so that what is timed was also made in that time.
            rounds = 6

            def take(batches=batches, rounds=rounds):
                for _ in itertools.islice(batches, rounds):
                    pass

            take()
            state = "warm" if cache_mb else "nothing cached"
            how = f"{workers} processes" if workers else f"{threads} threads"
            detail = f"batches of {BATCH}, {how}, {state}"
            board.per_second(name, take, items=rounds * BATCH, repeats=3, detail=detail)


def test_features_on_disk(board, repository, prepared_faces, tmp_path):
    """Data far larger than the cache, whose costly features an earlier run kept."""
    _, task = experiment(repository, "sinha2020", "motion", "tiny")
    kept = KeptArrays.open(str(tmp_path))
    dataset = pipeline.open_dataset(prepared_faces, "train", cache_mb=0, kept=kept)
    sampler, windows = sampler_of(dataset, task.view)
    numbers = np.random.default_rng(0).permutation(len(windows))[: 8 * BATCH]

    def run():
        for position, window in enumerate(numbers):
            sampler(position, int(window))

    run()  # makes what is read from now on
    detail = "one thread, nothing cached, features on disk"
    board.per_second(
        "sinha2020/motion:tiny, samples", run, items=len(numbers), repeats=3, detail=detail
    )


@pytest.mark.parametrize(("method", "stage"), sorted(registry.tasks()))
def test_what_a_step_needs(board, repository, method, stage):
    from talkface_jax.train import sharding
    from talkface_jax.train.programs import Programs

    config, task = experiment(repository, method, stage, "tiny")
    programs = Programs(task, config, sharding.make_mesh(config.mesh, devices=jax.devices()[:1]))
    step = programs.step_at(max(objective.start for objective in task.objectives))
    frozen = programs.put_frozen(task.frozen())
    size = config.data.batch_size
    batch = sharding.put_batch(measure.inputs(task.view.spec(size)), programs.mesh)
    filled = measure.filled(programs.state_shapes)
    held = {"state": jax.device_put(filled, programs.state_shardings)}

    def update():
        held["state"], metrics = step(held["state"], frozen, batch)
        return metrics

    measure.first_call(update)
    name = f"{method}/{stage}:tiny, samples"
    board.per_second(name, update, items=size, detail=f"needed by a step of batch {size}")


@pytest.fixture(scope="module")
def stores(prepared_faces, tmp_path_factory):
    """The same records in our store and in an ArrayRecord file."""
    from array_record.python.array_record_module import ArrayRecordWriter

    folder = tmp_path_factory.mktemp("stores")
    source = pipeline.open_dataset(prepared_faces, "train").source
    meta = RecordMeta("clip", "speaker", 0, 72, ((0, 72),))
    theirs = ArrayRecordWriter(str(folder / "faces.array_record"), "group_size:1,uncompressed")
    with ShardWriter(folder / "faces.tfrecord") as ours:
        for number in range(RECORDS):
            # Alike in content, so both formats read what a run reads; not alike in bytes.
            data = source[number % len(source)] + number.to_bytes(4, "little")
            ours.write(data, meta)
            theirs.write(data)
    theirs.close()
    return folder


def forget(path):
    """Drops a file from the page cache (Linux)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("cached", [True, False], ids=["page cache", "disk"])
@pytest.mark.parametrize("order", ["in order", "at random"])
def test_store_beside_array_record(board, stores, order, cached):
    from array_record.python.array_record_module import ArrayRecordReader

    ours, theirs = stores / "faces.tfrecord", stores / "faces.array_record"
    numbers = np.arange(RECORDS)
    if order == "at random":
        numbers = np.random.default_rng(0).permutation(RECORDS)
    options = "" if order == "in order" else "readahead_buffer_size:0,max_parallelism:0"
    source = ShardSource([ours])
    reader = ArrayRecordReader(str(theirs), options)

    def read_ours():
        return sum(len(source[number]) for number in numbers)

    def read_theirs():
        if order == "in order":
            return sum(map(len, reader.read_all()))
        return sum(len(reader.read([number])[0]) for number in numbers)

    size = read_ours()
    assert size == read_theirs()
    place = "page cache" if cached else "disk"
    detail = f"{size / RECORDS / 1e3:.0f} kB each, {order}, from the {place}"
    for what, path, read in (("store", ours, read_ours), ("ArrayRecord", theirs, read_theirs)):

        def run(path=path, read=read):
            read()

        if cached:
            board.per_second(f"{what}, records", run, items=RECORDS, detail=detail)
            continue
        rates = []
        for _ in range(3):
            forget(path)
            rates.append(RECORDS / measure.first_call(run))
        board.value(f"{what}, records", "/s", float(np.median(rates)), detail=detail)
    source.close()
    reader.close()


@pytest.mark.parametrize(("method", "stage"), sorted(registry.tasks()))
def test_shuffling_costs_the_cache(board, repository, prepared_faces, method, stage):
    """Windows in the order of the records and shuffled, with room for two of eight segments."""
    _, task = experiment(repository, method, stage, "tiny")
    for order in ("in order", "shuffled"):
        dataset = pipeline.open_dataset(prepared_faces, "train")
        sampler, windows = sampler_of(dataset, task.view)
        record, _ = windows[0]
        for start in (0, 1):
            if windows[start][0] == record:
                sampler(0, start)
        held = dataset.cache.size
        dataset.cache.limit = 2 * held
        # Half of the windows; all where a segment is one window.
        numbers = np.arange(len(windows))[: max(len(windows) // 2, len(dataset))]
        if order == "shuffled":
            numbers = np.random.default_rng(0).permutation(len(windows))[: len(numbers)]

        def run(sampler=sampler, numbers=numbers):
            for position, window in enumerate(numbers):
                sampler(position, int(window))

        detail = f"windows {order}, cache of 2 of 8 segments, one thread"
        name = f"{method}/{stage}:tiny, samples"
        board.per_second(name, run, items=len(numbers), repeats=3, detail=detail)
