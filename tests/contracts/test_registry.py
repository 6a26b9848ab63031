"""Every registered stage and method keeps its contract; a new one is covered with no change
here."""

import dataclasses
import importlib.util
import pathlib

import jax
import numpy as np
import pytest

from talkface_jax import api
from talkface_jax.capabilities import Aspect, Driven
from talkface_jax.config import DataConfig, OptimConfig
from talkface_jax.errors import RecordError
from talkface_jax.methods import registry
from talkface_jax.synthesize.contract import Follows, MakesBlinks
from talkface_jax.train.evaluation import evaluate
from talkface_jax.train.programs import Programs
from talkface_jax.train.sharding import make_mesh, put_batch
from talkface_jax.train.source import PreparedSource
from talkface_jax.train.state import evaluation_variables, leaf_names

ROOT = pathlib.Path(__file__).parents[2]
SIZES = ("tiny", "base")
STAGES = tuple(registry.tasks())
CASES = [(m, s, size) for m, s in STAGES for size in SIZES]
ROWS = 4


def _experiment(method, stage, size):
    return api.load_experiment(f"{ROOT}/configs/{method}/{stage}.py:{size}")


def _task(method, stage, size):
    return registry.build_task(method, stage, _experiment(method, stage, size).task)


@pytest.mark.parametrize(("method", "stage", "size"), CASES)
def test_task_keeps_its_contract(method, stage, size):
    config = _experiment(method, stage, size)
    assert (config.method, config.stage) == (method, stage)
    task = registry.build_task(method, stage, config.task)
    assert (task.method, task.stage) == (method, stage)
    batch = task.view.spec(2)
    assert all(item.shape[0] == 2 for item in batch.values())
    rng = jax.eval_shape(lambda: jax.random.key(0))
    variables = jax.eval_shape(task.init, rng, batch)
    assert set(variables) == set(task.nets)
    assert all(set(item) <= {"params", "batch_stats", "constants"} for item in variables.values())
    assert set(task.generators) <= set(task.nets)
    assert {player for item in task.objectives for player in item.players} <= set(task.nets)
    assert set(config.players) <= set(task.nets) and set(task.trained) <= set(task.nets)


@pytest.mark.parametrize(("method", "stage", "size"), CASES)
def test_every_objective_is_active_where_it_says_and_never_two_of_a_player(method, stage, size):
    config = _experiment(method, stage, size)
    task = registry.build_task(method, stage, config.task)
    steps = config.train.steps
    borders = {0, steps - 1, *(item.start for item in task.objectives)}
    borders |= {item.stop for item in task.objectives if item.stop is not None}
    for step in sorted({near for edge in borders for near in (edge - 1, edge, edge + 1)}):
        if not 0 <= step < steps:
            continue
        active = [item for item in task.objectives if item.active(step)]
        inside = [
            item
            for item in task.objectives
            if item.start <= step and (item.stop is None or step < item.stop)
        ]
        assert active == inside
        players = [player for item in active for player in item.players]
        assert len(players) == len(set(players))
        assert set(players) & set(task.generators), f"nothing is trained at step {step}"
    for item in task.objectives:
        assert any(item.active(step) for step in range(item.start, min(item.start + 1, steps)))
    moved = {player for item in task.objectives for player in item.players}
    untrained = {player for player, patterns in task.trained.items() if not patterns}
    assert moved == set(task.nets) - untrained


def _spoken(folder):
    """Made-up segments that are whole and have a text, for views that want both."""
    path = ROOT / "tests" / "unit" / "conftest.py"
    spec = importlib.util.spec_from_file_location("unit_support", path)
    support = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(support)
    segments = {}
    for seed, split in enumerate(("train", "val")):
        made = support.build_segment(seed=seed, frames=125, split=split)
        info = dataclasses.replace(made.info, text="a mouth is seen to speak")
        segments[f"{split}-0"] = [dataclasses.replace(made, info=info)]
    return support.write_prepared(folder, segments)


def _source(task, data, folder):
    """The synthetic heads, or made-up segments where these are too short for the stage."""
    config = DataConfig(directory=str(data), batch_size=ROWS, eval_batches=1)
    try:
        source = PreparedSource(dataclasses.replace(config, threads=1))
        batches = source.train(task.view, batch_size=ROWS, seed=0)
    except RecordError:
        config = dataclasses.replace(config, directory=str(_spoken(folder)))
        source = PreparedSource(dataclasses.replace(config, threads=1))
        batches = source.train(task.view, batch_size=ROWS, seed=0)
    batch = next(batches)
    batches.close()
    return source, batch


@pytest.mark.timeout(900)  # Compiling is most of it, and takes minutes on a slow machine.
@pytest.mark.parametrize(("method", "stage"), STAGES)
def test_a_step_on_a_real_batch(method, stage, synthetic_heads, tmp_path):
    """Losses are finite in every phase, gradients reach every trained parameter, metrics and
    previews come out: with plain gradient descent a gradient is how far a leaf moves."""
    config = _experiment(method, stage, "tiny")
    task = registry.build_task(method, stage, config.task)
    source, batch = _source(task, synthetic_heads, tmp_path)
    for key, leaf in task.view.spec(ROWS).items():
        assert (batch[key].shape, batch[key].dtype) == (leaf.shape, leaf.dtype), key
    plain = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, batch_size=ROWS),
        # So large that no gradient is lost in the rounding of what it moves.
        optim=OptimConfig(name="sgd", lr=1e6),
        players={},
    )
    programs = Programs(task, plain, make_mesh(plain.mesh, devices=jax.devices()[:1]))
    frozen = programs.put_frozen(task.frozen())
    placed = put_batch(batch, programs.mesh)
    last = max(item.start for item in task.objectives)
    state = programs.init()
    before = jax.device_get(state)
    after, metrics = programs.step_at(last)(state, frozen, placed)
    values = {name: float(value) for name, value in metrics.items()}
    assert all(map(np.isfinite, values.values())), values
    for objective in (item for item in task.objectives if item.active(last)):
        terms = {f"loss/{objective.name}/{term.name}" for term in objective.terms}
        assert terms <= set(values)
        for player in objective.players:
            old, new = (leaf_names(item.nets[player].params) for item in (before, after))
            still = [name for name in old if np.array_equal(old[name], new[name])]
            assert not still, f"no gradient reaches {player}'s {still}"
            assert all(leaf.dtype == np.float32 for leaf in new.values())
    variables = evaluation_variables(programs.init())
    (held_out,) = source.evaluation(task.view, batch_size=ROWS)
    seen = put_batch(held_out, programs.mesh)
    scores = evaluate(lambda rows: programs.evaluate(variables, frozen, rows), [seen])
    assert scores and all(map(np.isfinite, scores.values())), scores
    outputs, whole = jax.device_get(programs.preview(variables, frozen, seen))
    shown = task.previews(outputs, whole)
    pictures = [*shown.images.values(), *(frame for v in shown.videos.values() for frame in v)]
    assert pictures
    assert all(item.dtype == np.uint8 and item.shape[-1] == 3 for item in pictures)
    assert all(len(np.unique(item)) > 1 for item in shown.images.values())


@pytest.mark.parametrize("name", registry.methods())
def test_method_programs_match_the_trained_variables(name):
    method = registry.get_method(name)
    stages = method.declaration.chained
    assert method.declaration is registry.declaration(name)
    assert tuple(method.config_classes) == stages
    configs = {stage: _experiment(name, stage, "tiny").task for stage in stages}
    programs = method.programs(configs)
    assert {stage for item in programs for stage in item.players.values()} == set(stages)
    assert len({item.name for item in programs}) == len(programs)
    frozen = {item.name for item in method.frozen(configs)}
    rng = jax.eval_shape(lambda: jax.random.key(0))
    homes = {}
    for program in programs:
        shapes = program.variables()
        assert set(shapes) == {*program.players, *program.frozen}
        assert set(program.frozen) <= frozen and set(program.state) <= set(program.inputs)
        for player, stage in program.players.items():
            assert homes.setdefault(player, stage) == stage
            task = registry.build_task(name, stage, configs[stage])
            trained = jax.eval_shape(task.init, rng, task.view.spec(2))[player]
            own = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), dict(shapes[player]))
            assert own == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), dict(trained))


class _NoPrograms:
    """What a chain is made with here, where nothing is run."""

    def call(self, name, inputs):
        raise AssertionError(name)

    def start(self, name, **sizes):
        raise AssertionError(name)


@pytest.mark.parametrize("name", registry.methods())
def test_a_chain_can_what_its_method_declares(name):
    method = registry.get_method(name)
    configs = {stage: _experiment(name, stage, "tiny").task for stage in method.declaration.chained}
    chain = method.chain(configs, _NoPrograms())
    declared = method.declaration
    assert declared.driven_by
    if Driven.AUDIO in declared.driven_by:
        for attribute in ("prepare", "predict_motion", "start"):
            assert callable(getattr(chain, attribute))
    assert isinstance(chain, Follows) == (Driven.VIDEO in declared.driven_by)
    assert isinstance(chain, MakesBlinks) == (Aspect.BLINKS in declared.generates)
    # What is made of speech is measured as such.
    assert Driven.AUDIO in declared.driven_by or not declared.generates


def test_unknown_names_are_refused_with_the_known_ones():
    from talkface_jax.errors import ConfigError

    with pytest.raises(ConfigError, match="iplap/motion"):
        registry.build_task("iplap", "smell", None)
    with pytest.raises(ConfigError, match="iplap"):
        registry.get_method("wav2lip")
