"""Measurements on small made-up inputs, run by `make bench`; no time is asserted.

Every figure is a median of repeats with minimum and maximum. Jitted functions are called once
before; that first call, mostly compilation, has its own column. Networks hold random weights.
"""

import itertools

import jax
import measure
import numpy as np
import pytest

from talkface_jax import api
from talkface_jax.data import pipeline
from talkface_jax.methods import registry
from talkface_jax.methods.iplap import programs as iplap
from talkface_jax.models import counts

pytestmark = pytest.mark.bench


def _experiment(repository, stage, size, *overrides):
    config = api.load_experiment(f"{repository}/configs/iplap/{stage}.py:{size}", overrides)
    return config, registry.build_task(config.method, config.stage, config.task)


def test_synthetic_frame(board, actor, frames):
    size = "x".join(map(str, frames[0].shape[:2]))
    board.per_item("synthetic head, frame", actor, items=len(frames), repeats=3, detail=size)


def test_tracker(board, frames):
    from talkface_jax.media.tracker import FaceTracker

    with FaceTracker() as tracker:
        assert all(len(tracker.detect(frame)) == 1 for frame in frames)

        def track():
            for frame in frames:
                tracker.detect(frame)

        size = "x".join(map(str, frames[0].shape[:2]))
        board.per_item("face tracker, frame", track, items=len(frames), repeats=3, detail=size)


@pytest.mark.parametrize(
    ("stage", "batches", "unit"), [("motion", 40, "window"), ("render", 8, "frame")]
)
def test_pipeline(board, repository, prepared_faces, stage, batches, unit):
    config, task = _experiment(repository, stage, "tiny")
    data, size = config.data, config.data.batch_size
    dataset = pipeline.open_dataset(prepared_faces, "train", cache_mb=data.cache_mb)
    iterator = pipeline.train_iterator(
        dataset,
        task.view,
        batch_size=size,
        seed=0,
        threads=data.threads,
        prefetch=data.prefetch,
    )
    try:
        batch = next(iterator)
        spec = task.view.spec(size)
        assert {name: array.shape for name, array in batch.items()} == {
            name: leaf.shape for name, leaf in spec.items()
        }

        def take():
            for _ in itertools.islice(iterator, batches):
                pass

        take()
        detail = f"batches of {size}, {data.threads} threads, segments cached"
        name = f"pipeline, {stage}: {unit}s"
        board.per_second(name, take, items=batches * size, detail=detail)
    finally:
        iterator.close()


@pytest.mark.parametrize(("stage", "repeats"), [("motion", 20), ("render", 8)])
def test_train_step(board, repository, stage, repeats):
    from talkface_jax.train import sharding
    from talkface_jax.train.programs import Programs

    config, task = _experiment(repository, stage, "tiny")
    mesh = sharding.make_mesh(config.mesh, devices=jax.devices()[:1])
    programs = Programs(task, config, mesh)
    start = max(objective.start for objective in task.objectives)
    step = programs.step_at(start)
    frozen = programs.put_frozen(task.frozen())
    batch = sharding.put_batch(measure.inputs(task.view.spec(config.data.batch_size)), mesh)
    held = {
        "state": jax.device_put(measure.filled(programs.state_shapes), programs.state_shardings)
    }

    def update():
        held["state"], metrics = step(held["state"], frozen, batch)
        return metrics

    flops = counts.count_flops(step, programs.state_shapes, frozen, batch)
    first = measure.first_call(update)
    players = " + ".join(item.name for item in task.objectives if item.active(start))
    board.per_item(
        f"training step, {stage}:tiny",
        update,
        repeats=repeats,
        flops=flops,
        first_call_s=first,
        detail=f"{players}, batch {config.data.batch_size}",
    )
    assert all(np.isfinite(value) for value in jax.device_get(update()).values())


@pytest.mark.parametrize("references", [3, 25])
def test_synthesis(board, repository, references):
    """The renderer's two programs, as they are exported; tracking and encoding are apart."""
    config, _ = _experiment(repository, "render", "tiny")
    frames = 8
    dims = {"b": frames, "r": references}

    def make(program):
        spec = {
            name: jax.ShapeDtypeStruct([dims.get(dim, dim) for dim in shape], dtype)
            for name, (shape, dtype) in program.inputs.items()
        }
        return jax.jit(program.function), measure.inputs(spec)

    encode, render = iplap.references_program(config.task), iplap.render_program(config.task)
    variables = jax.device_put(measure.filled(render.variables()))
    for program, items, what in (
        (encode, references, "synthesis, encode a reference"),
        (render, frames, "synthesis, render a frame"),
    ):
        function, given = make(program)
        first = measure.first_call(lambda f=function, g=given: f(variables, g))
        board.per_item(
            what,
            lambda f=function, g=given: f(variables, g),
            items=items,
            flops=counts.count_flops(function, variables, given) / items,
            first_call_s=first,
            detail=f"render:tiny, {references} references",
        )


@pytest.mark.parametrize(("stage", "batch", "repeats"), [("motion", 8, 10), ("render", 1, 3)])
def test_full_size_forward(board, repository, stage, batch, repeats):
    config, task = _experiment(repository, stage, "base", f"--config.data.batch_size={batch}")
    given = measure.inputs(task.view.spec(batch))
    rng = jax.random.key(0)
    shapes = jax.eval_shape(task.init, rng, given)
    generating = {player: shapes[player] for player in task.generators}
    variables = jax.device_put(measure.filled(generating))

    @jax.jit
    def forward(variables, batch):
        return task.forward(variables, {}, batch, rng, step=0, train=False)[0]

    flops = counts.count_flops(forward, variables, given)
    first = measure.first_call(lambda: forward(variables, given))
    detail = f"batch {batch}, {config.task.references} references, {flops / 1e9:.1f} GFLOP"
    board.per_item(
        f"forward, {stage}:base",
        lambda: forward(variables, given),
        repeats=repeats,
        flops=flops,
        first_call_s=first,
        detail=detail,
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(forward(variables, given)))
