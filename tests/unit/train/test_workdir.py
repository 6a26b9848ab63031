"""Another `train.steps` for a stored run, by schedule, player and how far the run has come."""

import dataclasses
import json
import re

import pytest
import toy

from talkface_jax.config import ExperimentConfig, OptimConfig, TrainConfig
from talkface_jax.errors import CheckpointError
from talkface_jax.task import Objective
from talkface_jax.train.workdir import prepare_workdir

CONSTANT = OptimConfig(lr=1e-3)
COSINE = OptimConfig(lr=5e-3, schedule="cosine")
WSD = OptimConfig(lr=1e-3, schedule="wsd", decay_steps=20)
INVERSE_SQRT = OptimConfig(lr=1e-3, schedule="inverse_sqrt", warmup_steps=5)


def experiment(steps, optim, **players):
    return ExperimentConfig(
        "toy",
        "gan",
        toy.ToyConfig(),
        optim=optim,
        players=players,
        train=TrainConfig(steps=steps),
    )


def resume(workdir, old, new, *, at, task=None):
    """Stores `old` at a step and goes on as `new`; the config is as it was where that fails."""
    task = task or toy.GanTask()
    prepare_workdir(workdir, old, task=task)
    for step in (1, at):
        (workdir / "checkpoints" / str(step)).mkdir(parents=True, exist_ok=True)
    before = (workdir / "config.json").read_text()
    try:
        prepare_workdir(workdir, new, task=task)
    except CheckpointError:
        assert (workdir / "config.json").read_text() == before
        raise
    assert json.loads((workdir / "config.json").read_text())["train"]["steps"] == new.train.steps


@pytest.mark.parametrize("steps", [50, 99, 101, 1000])
@pytest.mark.parametrize("at", [2, 40, 100])
def test_end_of_a_cosine_stays(tmp_path, steps, at):
    with pytest.raises(CheckpointError) as caught:
        resume(tmp_path, experiment(100, COSINE), experiment(steps, COSINE), at=at)
    assert str(caught.value) == (
        f"{tmp_path} was trained with train.steps = 100, not {steps}, and the rate of optim "
        "depends on that end by its schedule 'cosine'; keep --config.train.steps=100, give another "
        f"--workdir and --init-from={tmp_path}, or train anew with a schedule that does not depend "
        "on the end (--config.optim.schedule=constant)"
    )


@pytest.mark.parametrize("optim", [CONSTANT, INVERSE_SQRT])
@pytest.mark.parametrize("steps", [50, 1000])
def test_end_moves_where_no_rate_depends_on_it(tmp_path, optim, steps):
    resume(tmp_path, experiment(100, optim), experiment(steps, optim), at=40)


def test_the_player_is_named_whose_rate_depends_on_the_end(tmp_path):
    old, new = (experiment(steps, CONSTANT, disc=COSINE) for steps in (100, 200))
    with pytest.raises(CheckpointError, match=r"the rate of players\.disc .* 'cosine'") as caught:
        resume(tmp_path / "disc", old, new, at=40)
    assert "--config.players.disc.schedule=constant" in str(caught.value)
    # The default is no player's: both have their own.
    old, new = (experiment(n, COSINE, disc=CONSTANT, net=CONSTANT) for n in (100, 200))
    resume(tmp_path / "default", old, new, at=40)


@pytest.mark.parametrize(
    ("at", "steps", "allowed"),
    [
        (80, 200, True),
        (81, 200, False),
        (100, 200, False),
        # Lowered: the new decay must not have begun already.
        (40, 60, True),
        (41, 60, False),
        (70, 60, False),
    ],
)
def test_end_of_wsd_moves_until_the_decay_begins(tmp_path, at, steps, allowed):
    old, new = experiment(100, WSD), experiment(steps, WSD)
    if allowed:
        resume(tmp_path, old, new, at=at)
        return
    message = re.escape(f"train.steps = 100, not {steps}, and the rate of optim ")
    with pytest.raises(CheckpointError, match=message + ".* 'wsd'; keep"):
        resume(tmp_path, old, new, at=at)


def test_decay_is_counted_in_the_players_own_updates(tmp_path):
    """Every fifth step: 20 updates in all, of which the last four begin to decay at step 80."""
    task = toy.GanTask(every=5)
    decay = dataclasses.replace(WSD, decay_steps=4)
    old, new = (experiment(steps, CONSTANT, disc=decay) for steps in (100, 200))
    resume(tmp_path / "before", old, new, at=80, task=task)
    with pytest.raises(CheckpointError, match=r"players\.disc"):
        resume(tmp_path / "within", old, new, at=81, task=task)


def test_a_player_that_ends_before_both_ends_does_not_bind(tmp_path):
    task = toy.GanTask()
    net, disc = task.objectives
    task.objectives = (net, Objective(("disc",), disc.terms, stop=30))
    old, new = (experiment(steps, CONSTANT, disc=COSINE) for steps in (100, 200))
    resume(tmp_path / "a", old, new, at=40, task=task)
    with pytest.raises(CheckpointError, match=r"train\.steps = 100, not 20,"):
        resume(tmp_path / "b", old, experiment(20, CONSTANT, disc=COSINE), at=10, task=task)


def test_end_is_free_until_something_is_stored_and_the_same_end_always_goes_on(tmp_path):
    task = toy.GanTask()
    for steps in (100, 1000, 10):
        prepare_workdir(tmp_path, experiment(steps, COSINE), task=task)
    resume(tmp_path, experiment(10, COSINE), experiment(10, COSINE), at=7)


def test_other_fields_are_named_first(tmp_path):
    new = dataclasses.replace(experiment(200, COSINE), seed=3)
    with pytest.raises(CheckpointError, match=r"another config \(it differs in seed\)"):
        resume(tmp_path, experiment(100, COSINE), new, at=40)


@pytest.mark.parametrize("written", [True, False])
def test_a_run_that_was_evaluated_by_its_test_split_goes_on_so(tmp_path, written):
    """Also where its config.json is older than the field."""
    config = experiment(100, COSINE)
    before = dataclasses.replace(config, data=dataclasses.replace(config.data, eval_split="test"))
    prepare_workdir(tmp_path, before, task=toy.GanTask())
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    if not written:
        del values["data"]["eval_split"]
        path.write_text(json.dumps(values))
    with pytest.raises(
        CheckpointError, match=r"differs in data\.eval_split\); use .* or the values"
    ):
        prepare_workdir(tmp_path, config, task=toy.GanTask())
    prepare_workdir(tmp_path, before, task=toy.GanTask())
    assert json.loads(path.read_text())["data"]["eval_split"] == "test"


def test_a_run_from_before_the_newer_fields_goes_on(tmp_path):
    config = experiment(100, COSINE, disc=CONSTANT)
    prepare_workdir(tmp_path, config, task=toy.GanTask())
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    for optim in (values["optim"], values["players"]["disc"]):
        del optim["only"], optim["decay_steps"]
    path.write_text(json.dumps(values))
    resume(tmp_path, config, config, at=40)
    path.write_text(json.dumps(values))
    other = experiment(100, dataclasses.replace(COSINE, only=("Dense_0",)), disc=CONSTANT)
    with pytest.raises(CheckpointError, match=r"differs in optim\.only\)"):
        prepare_workdir(tmp_path, other, task=toy.GanTask())
