"""Every registered stage and method keeps its contract; a new one is covered with no change
here."""

import pathlib

import jax
import pytest

from talkface_jax import config as config_module
from talkface_jax.methods import registry

ROOT = pathlib.Path(__file__).parents[2]
SIZES = ("tiny", "base")
CASES = [(m, s, size) for m, s in registry.tasks() for size in SIZES]


def _experiment(method, stage, size):
    path = ROOT / "configs" / method / f"{stage}.py"
    values = config_module.parse_flags([f"--config={path}:{size}"])
    cls = registry.task_class(method, stage)
    return config_module.freeze(values, task_class=cls.config_class)


@pytest.mark.parametrize(("method", "stage", "size"), CASES)
def test_task_keeps_its_contract(method, stage, size):
    config = _experiment(method, stage, size)
    assert (config.method, config.stage) == (method, stage)
    task = registry.build_task(method, stage, config.task)
    batch = task.view.spec(2)
    assert all(item.shape[0] == 2 for item in batch.values())
    rng = jax.eval_shape(lambda: jax.random.key(0))
    variables = jax.eval_shape(task.init, rng, batch)
    assert set(variables) == set(task.nets)
    assert set(task.generators) <= set(task.nets)
    assert {item.player for item in task.objectives} <= set(task.nets)
    assert set(config.players) <= set(task.nets)

    def forward(variables, batch, rng):
        return task.forward(variables, {}, batch, rng, train=True)

    generating = {name: variables[name] for name in task.generators}
    _, stats = jax.eval_shape(forward, generating, batch, rng)
    for name, tree in stats.items():
        old = variables[name].get("batch_stats", {})
        assert jax.tree.structure(tree) == jax.tree.structure(old)


@pytest.mark.parametrize(("method", "stage", "size"), CASES)
def test_some_objective_is_active_at_every_step(method, stage, size):
    config = _experiment(method, stage, size)
    task = registry.build_task(method, stage, config.task)
    for step in (0, 1, config.train.steps // 2, config.train.steps - 1):
        players = {item.player for item in task.objectives if item.active(step)}
        assert players & set(task.generators)


@pytest.mark.parametrize("name", registry.methods())
def test_method_programs_match_the_trained_variables(name):
    method = registry.get_method(name)
    configs = {stage: _experiment(name, stage, "tiny").task for stage in method.stages}
    programs = method.programs(configs)
    assert {item.stage for item in programs} == set(method.stages)
    rng = jax.eval_shape(lambda: jax.random.key(0))
    for program in programs:
        task = registry.build_task(name, program.stage, configs[program.stage])
        trained = jax.eval_shape(task.init, rng, task.view.spec(2))[program.player]
        shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), program.variables())
        assert shapes == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), dict(trained))


def test_unknown_names_are_refused_with_the_known_ones():
    from talkface_jax.errors import ConfigError

    with pytest.raises(ConfigError, match="iplap/motion"):
        registry.build_task("iplap", "smell", None)
    with pytest.raises(ConfigError, match="iplap"):
        registry.get_method("wav2lip")
