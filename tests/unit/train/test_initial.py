"""Runs that start from other parameters, and directories that hold nothing else."""

import dataclasses
import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys

import jax
import numpy as np
import pytest
import toy

from talkface_jax.config import DataConfig, ExperimentConfig, MeshConfig, OptimConfig, TrainConfig
from talkface_jax.errors import CheckpointError
from talkface_jax.train import checkpoint, initial, loop
from talkface_jax.train.checkpoint import checkpoint_steps, load_params
from talkface_jax.train.programs import Programs
from talkface_jax.train.sharding import make_mesh
from talkface_jax.train.state import leaf_names

PLAN = TrainConfig(steps=2, eval_every=0, preview_every=0, checkpoint_every=1)


def experiment(stage="gan", *, width=8, **plan):
    return ExperimentConfig(
        method="toy",
        stage=stage,
        task=toy.ToyConfig(width=width),
        data=DataConfig(batch_size=4),
        optim=OptimConfig(lr=1e-2),
        train=dataclasses.replace(PLAN, **plan),
    )


def run(workdir, config, *, task=None, source=None):
    task = task or (toy.GanTask if config.stage == "gan" else toy.L1Task)(config.task)
    source = source or toy.ToySource()
    return loop.train(task, config, workdir=workdir, source=source)


def programs_of(config):
    task = (toy.GanTask if config.stage == "gan" else toy.L1Task)(config.task)
    return Programs(task, config, make_mesh(config.mesh, devices=jax.devices()[:1])), task


def variables_of(task, *, seed=1):
    """Random variables of every player, batch statistics too."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(task.init, jax.random.key(0), toy.make_batch(4, 0))
    return jax.tree.map(lambda leaf: rng.uniform(0.5, 2, leaf.shape).astype(np.float32), shapes)


def info(**lineage):
    return {"method": "toy", "stage": "gan", "lineage": {"terms": "ask", **lineage}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An L1 run with averaged parameters."""
    workdir = tmp_path_factory.mktemp("trained") / "l1"
    run(workdir, experiment("l1", ema_decay=0.5))
    return workdir


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two directories of variables alone: the generator's, the judge's; and what is in them."""
    folder, config = tmp_path_factory.mktemp("written"), experiment()
    variables = variables_of(toy.GanTask(config.task))
    for player in ("net", "disc"):
        part = {player: variables[player]}
        initial.write_variables(folder / player, config, part, info(player=player))
    return folder, variables


def start(config, *directories):
    programs, task = programs_of(config)
    found = initial.load_initial(task, [str(path) for path in directories], programs.state_shapes)
    return initial.start_state(programs, found), programs.init(), found


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def differ(a, b):
    return any(jax.tree.leaves(jax.tree.map(lambda x, y: bool((x != y).any()), a, b)))


def test_every_leaf_of_the_players_is_replaced_and_nothing_else(written):
    folder, variables = written
    state, fresh, found = start(experiment(ema_decay=0.9), folder / "net")
    assert_same(state.nets["net"].params, variables["net"]["params"])
    assert_same(state.nets["net"].stats, variables["net"]["batch_stats"])
    average = state.ema["net"]
    assert set(state.ema) == {"net"}
    assert_same(average.params, variables["net"]["params"])
    assert_same(average.stats, variables["net"]["batch_stats"])
    assert_same(state.nets["net"].opt_state, fresh.nets["net"].opt_state)
    assert_same(state.nets["disc"], fresh.nets["disc"])
    assert differ(fresh.nets["net"].params, variables["net"]["params"])
    assert int(state.step) == 0
    assert_same(jax.random.key_data(state.rng), jax.random.key_data(fresh.rng))
    assert jax.tree.structure(state) == jax.tree.structure(fresh)
    (origin,) = found.lineage
    assert (origin["players"], origin["step"], origin["averaged"]) == (["net"], 0, [])
    assert origin["lineage"] == {"terms": "ask", "player": "net"}


def test_players_from_two_directories(written):
    folder, variables = written
    state, _, found = start(experiment(), folder / "net", folder / "disc")
    for player in ("net", "disc"):
        assert_same(dict(state.nets[player].variables), variables[player])
    assert [item["players"] for item in found.lineage] == [["net"], ["disc"]]
    one, two = (item["weights_sha256"] for item in found.lineage)
    assert one != two and len(one) == 64


def test_averages_of_a_run_are_taken_where_it_keeps_them(trained):
    variables, stored = load_params(trained, ("net",))
    assert stored["averaged"] == ["net"] and stored["step"] == 2
    state, _, found = start(experiment("gan"), trained)
    assert_same(dict(state.nets["net"].variables), variables["net"])
    assert found.lineage[0]["averaged"] == ["net"]
    assert found.lineage[0]["lineage"]["dataset"] == "toy"


def test_training_never_writes_into_what_it_started_from(written):
    folder, variables = written
    config = experiment(ema_decay=0.9)
    programs, task = programs_of(config)
    found = initial.load_initial(task, [str(folder / "net")], programs.state_shapes)
    state = initial.start_state(programs, found)
    batch = toy.make_batch(4, 0)
    for step in range(2):
        state, _ = programs.step_at(step)(state, {}, batch)
    assert_same(found.variables["net"], variables["net"])
    assert differ(state.nets["net"].params, variables["net"]["params"])
    assert differ(state.nets["net"].params, state.ema["net"].params)
    assert differ(state.nets["net"].stats, state.ema["net"].stats)


def test_a_run_says_where_it_started_and_resumes_without_it(written, tmp_path):
    folder, _ = written
    away = shutil.copytree(folder / "net", tmp_path / "net")
    config = experiment(init_from=(str(away),), steps=4)

    def crash(position):
        if position == 3:
            raise RuntimeError("power cut")

    run(tmp_path / "whole", config)
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "cut", config, source=toy.ToySource(on_draw=crash))
    away.rename(tmp_path / "gone")
    run(tmp_path / "cut", config)
    ends = [load_params(tmp_path / name) for name in ("whole", "cut")]
    assert_same(ends[0][0], ends[1][0])
    run(tmp_path / "fresh", dataclasses.replace(config, train=experiment(steps=4).train))
    assert differ(ends[0][0], load_params(tmp_path / "fresh")[0])
    assert "init_from" not in load_params(tmp_path / "fresh")[1]["lineage"]
    for _, found in ends:
        (origin,) = found["lineage"]["init_from"]
        assert found["lineage"]["dataset"] == "toy"
        assert origin["directory"] == str(away) and origin["lineage"]["terms"] == "ask"
    other = dataclasses.replace(config, train=dataclasses.replace(config.train, init_from=()))
    with pytest.raises(CheckpointError, match=r"another config \(it differs in train\.init_from\)"):
        run(tmp_path / "cut", other)


def test_terms_are_carried_over_several_runs(written, tmp_path):
    folder, _ = written
    run(tmp_path / "one", experiment(init_from=(str(folder / "net"),), steps=1))
    run(tmp_path / "two", experiment(init_from=(str(tmp_path / "one"),), steps=1))
    (origin,) = load_params(tmp_path / "two")[1]["lineage"]["init_from"]
    assert origin["players"] == ["disc", "net"]
    assert origin["lineage"]["init_from"][0]["lineage"]["terms"] == "ask"


def _bad(variables, change):
    net = jax.tree.map(np.copy, variables["net"])
    change(net)
    return net


def _transposed(net):
    net["params"]["Dense_0"]["kernel"] = net["params"]["Dense_0"]["kernel"].T


def _missing(net):
    del net["batch_stats"]["BatchNorm_0"]["var"]


def _extra(net):
    net["params"]["Dense_7"] = {"bias": np.zeros(3, np.float32)}


def _half(net):
    net["params"]["Dense_1"]["bias"] = net["params"]["Dense_1"]["bias"].astype(np.float16)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_transposed, r"net's params\.Dense_0\.kernel is float32 \(8, 6\), .* float32 \(6, 8\);"),
        (_missing, r"net's batch_stats\.BatchNorm_0\.var is missing;"),
        (_extra, r"net's params\.Dense_7\.bias has no place in the network of this config;"),
        (_half, r"net's params\.Dense_1\.bias is float16 \(6,\), .* float32 \(6,\);"),
    ],
)
def test_leaf_that_does_not_fit_is_named_and_the_workdir_stays_free(
    written, tmp_path, change, words
):
    bad = tmp_path / "bad"
    initial.write_variables(bad, experiment(), {"net": _bad(written[1], change)}, info())
    with pytest.raises(CheckpointError, match=rf"--init-from={bad}: {words}"):
        run(tmp_path / "run", experiment(init_from=(str(bad),)))
    assert not (tmp_path / "run").exists()


def test_directories_that_do_not_fit_the_stage(written, trained, tmp_path):
    folder, _ = written
    cases = [
        ((folder / "disc",), "l1", r"disc holds disc, but the players of toy/l1 are net;"),
        ((folder / "net", trained), "gan", r"net and --init-from=.*l1 both hold net; give one"),
        ((tmp_path / "none",), "gan", r"none/config\.json is missing or damaged; point at"),
    ]
    for directories, stage, words in cases:
        with pytest.raises(CheckpointError, match=words):
            start(experiment(stage), *directories)


def test_variables_alone_are_read_back(written):
    folder, variables = written
    back, stored = load_params(folder / "net")
    assert_same(back, {"net": variables["net"]})
    assert (stored["step"], stored["stage"], stored["metrics"]) == (0, "gan", {})
    names = set(checkpoint.read_document(folder / "net" / "checkpoints" / "0")["crc32c"])
    assert names == {f"nets.net.{name}" for name in leaf_names(_renamed(variables["net"]))}
    assert json.loads((folder / "net" / "config.json").read_text())["stage"] == "gan"
    assert stat.S_IMODE((folder / "net").stat().st_mode) & 0o055 == 0o055
    assert sorted(path.name for path in folder.iterdir()) == ["disc", "net"]


def _renamed(variables):
    return {"params": variables["params"], "stats": variables["batch_stats"]}


def test_flipped_bit_of_variables_is_found(written, tmp_path):
    copy = shutil.copytree(written[0] / "net", tmp_path / "net")
    victims = [path for path in copy.glob("checkpoints/0/state/**/d/*") if path.is_file()]
    assert victims
    for path in victims:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged"):
        start(experiment(), copy)


def test_nothing_is_overwritten_or_left_half_written(written, tmp_path, monkeypatch):
    part = {"net": written[1]["net"]}
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "note").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("taken", "file"):
        with pytest.raises(CheckpointError, match=rf"{name} exists and is not empty; choose"):
            initial.write_variables(tmp_path / name, experiment(), part, info())
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(CheckpointError, match=rf"in {tmp_path}/new/checkpoints .*are free"):
        initial.write_variables(tmp_path / "new", experiment(), part, info())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken"]
    monkeypatch.undo()
    (tmp_path / "empty").mkdir()
    initial.write_variables(tmp_path / "empty", experiment(), part, info())
    assert checkpoint_steps(tmp_path / "empty" / "checkpoints") == [0]


def test_variables_alone_cannot_be_resumed(written, tmp_path):
    copy = shutil.copytree(written[0] / "net", tmp_path / "net")
    before = sorted(path.relative_to(copy) for path in copy.rglob("*"))
    with pytest.raises(CheckpointError, match=rf"another --workdir and --init-from={copy}"):
        run(copy, experiment())
    assert sorted(path.relative_to(copy) for path in copy.rglob("*")) == before


SHARDED = """
import sys, jax, numpy as np
sys.path.insert(0, sys.argv[1])
import toy, test_initial
from talkface_jax.train import initial
from talkface_jax.train.programs import Programs
from talkface_jax.train.sharding import make_mesh
config = test_initial.sharded()
task = toy.GanTask(config.task)
programs = Programs(task, config, make_mesh(config.mesh))
found = initial.load_initial(task, sys.argv[2:], programs.state_shapes)
state = initial.start_state(programs, found)
places = jax.tree.map(lambda leaf, place: leaf.sharding == place, state, programs.state_shardings)
assert all(jax.tree.leaves(places)), places
split = sum(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state.nets))
assert split > 10 and jax.device_count() == 4
for player, item in found.variables.items():
    assert player in state.ema or player == "disc"
    jax.tree.map(np.testing.assert_array_equal, dict(state.nets[player].variables), item)
averages, given = state.ema["net"].params, found.variables["net"]["params"]
jax.tree.map(np.testing.assert_array_equal, averages, given)
programs.step_at(0)(state, {}, toy.make_batch(4, 0))
print("same values, split")
"""


def sharded():
    config = experiment(ema_decay=0.9)
    return dataclasses.replace(config, mesh=MeshConfig(fsdp=2, min_shard_size=2))


def test_values_lie_where_the_state_lies_on_any_mesh(written):
    here = pathlib.Path(__file__).parent
    places = [str(written[0] / player) for player in ("net", "disc")]
    flags = "--xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-c", SHARDED, str(here), *places],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert "same values, split" in done.stdout, done.stderr[-3000:]


class FittedTask(toy.GanTask):
    """The first layer's bias starts at the mean of the inputs that it is shown."""

    def fitted(self, samples):
        mean = np.stack([sample["x"] for sample in samples()]).mean()
        bias = np.full(self.config.width, mean, np.float32)
        return {"net": {"params": {"Dense_0": {"bias": bias}}}}


def test_a_run_starts_from_what_the_task_computes_from_data(tmp_path):
    config = experiment(ema_decay=0.9)
    programs, plain = programs_of(config)
    task, source = FittedTask(config.task), toy.ToySource()
    given = initial.fit_initial(task, source, initial.Initial(), programs.state_shapes)
    state, fresh = initial.start_state(programs, given), programs.init()
    mean = np.stack([sample["x"] for sample in source.spread(None, limit=2048)]).mean()
    for tree in (state.nets["net"].params, state.ema["net"].params):
        np.testing.assert_allclose(tree["Dense_0"]["bias"], mean, rtol=1e-6)
    changed = {"Dense_0.bias"}
    before, after = (leaf_names(item.nets["net"].params) for item in (fresh, state))
    for name in before:
        same = np.array_equal(before[name], after[name])
        assert same != any(name.endswith(item) for item in changed), name
    assert initial.fit_initial(plain, source, initial.Initial(), programs.state_shapes).fitted == {}


def test_given_parameters_win_over_computed_ones(tmp_path):
    config = experiment()
    programs, _ = programs_of(config)
    task = FittedTask(config.task)
    initial.write_variables(tmp_path / "w", config, variables_of(task), info())
    loaded = initial.load_initial(task, [str(tmp_path / "w")], programs.state_shapes)
    assert initial.fit_initial(task, toy.ToySource(), loaded, programs.state_shapes).fitted == {}


def test_nothing_is_computed_where_every_player_is_given(tmp_path):
    class Costly(toy.GanTask):
        def fitted(self, samples):
            raise AssertionError("it was asked for values that nobody needs")

    config = experiment()
    programs, _ = programs_of(config)
    task, whole = Costly(config.task), initial.Initial(variables_of(toy.GanTask(config.task)))
    shapes = programs.state_shapes
    assert initial.fit_initial(task, toy.ToySource(), whole, shapes) is whole
    players = list(whole.variables)
    assert set(players) == set(shapes.nets) and len(players) > 1
    part = initial.Initial({players[0]: whole.variables[players[0]]})
    with pytest.raises(AssertionError, match="nobody needs"):
        initial.fit_initial(task, toy.ToySource(), part, shapes)


def test_computed_values_without_a_place_are_refused():
    class Lost(toy.GanTask):
        def fitted(self, samples):
            return {"net": {"params": {"Dense_9": {"bias": np.zeros(3, np.float32)}}}}

    config = experiment()
    programs, _ = programs_of(config)
    with pytest.raises(ValueError, match="Dense_9"):
        initial.fit_initial(
            Lost(config.task), toy.ToySource(), initial.Initial(), programs.state_shapes
        )
