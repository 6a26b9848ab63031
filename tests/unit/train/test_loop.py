"""The loop on toy stages: resume, logs, phases, and every way to end early."""

import dataclasses
import json
import multiprocessing
import os
import signal
import time

import flax.struct
import jax
import numpy as np
import pytest
import toy

from talkface_jax.config import DataConfig, ExperimentConfig, OptimConfig, TrainConfig
from talkface_jax.errors import (
    CheckpointError,
    ConfigError,
    RecordError,
    TalkfaceError,
    WeightsError,
)
from talkface_jax.methods.iplap.motion.view import MotionView
from talkface_jax.metrics.base import Average
from talkface_jax.task import Objective
from talkface_jax.train import loop
from talkface_jax.train.checkpoint import checkpoint_steps, load_params
from talkface_jax.train.programs import Programs
from talkface_jax.train.sharding import make_mesh, put_batch
from talkface_jax.train.source import PreparedSource
from talkface_jax.train.state import leaf_names
from talkface_jax.train.telemetry import METRICS_FILE, read_metrics

PLAN = TrainConfig(
    steps=6, log_every=1, eval_every=3, preview_every=6, checkpoint_every=2, best_metric="l1"
)


def experiment(stage="gan", *, train=PLAN, **options):
    return ExperimentConfig(
        method="toy",
        stage=stage,
        task=toy.ToyConfig(),
        data=DataConfig(batch_size=4),
        optim=OptimConfig(lr=1e-2, warmup_steps=2, schedule="cosine"),
        train=train,
        **options,
    )


def run(workdir, *, task=None, source=None, config=None, **plan):
    task = task or toy.GanTask()
    config = config or experiment(task.stage, train=dataclasses.replace(PLAN, **plan))
    return loop.train(task, config, workdir=workdir, source=source or toy.ToySource())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run without interruption."""
    workdir = tmp_path_factory.mktemp("whole")
    return workdir, run(workdir)


def params_of(workdir):
    variables, info = load_params(workdir, ("disc", "net"), step=6)
    return variables, info


def assert_same_params(a, b):
    jax.tree.map(np.testing.assert_array_equal, params_of(a)[0], params_of(b)[0])


def test_run_leaves_config_logs_events_and_checkpoint(whole):
    workdir, result = whole
    assert result.step == 6 and result.checkpoint.is_dir()
    assert {"eval/l1", "loss/net/l1", "loss/disc/judge"} <= set(result.metrics)
    assert json.loads((workdir / "config.json").read_text())["seed"] == 0
    lines = read_metrics(workdir / METRICS_FILE)
    trained = [line for line in lines if "loss/net/l1" in line]
    assert [line["step"] for line in trained] == [1, 2, 3, 4, 5, 6]
    # Warm-up over two updates, then a cosine that has not yet reached zero at the last update.
    rates = [line["learning_rate/net"] for line in trained]
    np.testing.assert_allclose(rates[:3], [1e-2 / 3, 2e-2 / 3, 1e-2], rtol=1e-5)
    assert rates[2] > rates[3] > rates[5] > 0
    # Best is judged at every checkpoint's own step: evaluations at 3 and 6, and at 2 and 4.
    assert [line["step"] for line in lines if "eval/l1" in line] == [2, 3, 4, 6]
    assert list((workdir / "tensorboard").glob("events.out.tfevents.*"))
    _, info = params_of(workdir)
    assert info["lineage"]["dataset"] == "toy" and info["data"] == {"position": 6}
    assert set(info["versions"]) >= {"jax", "flax", "optax"}


def test_waiting_for_slow_data_is_logged(tmp_path):
    """The first line is of the compilation; at the last step nothing is read ahead."""
    slow = toy.ToySource(on_draw=lambda position: time.sleep(0.2 * (position > 2)))
    run(tmp_path, source=slow, eval_every=0, preview_every=0, checkpoint_every=0, best_metric="")
    waits = [line["data_wait"] for line in read_metrics(tmp_path / METRICS_FILE)]
    assert len(waits) == 6 and all(0 <= wait <= 1 for wait in waits)
    assert max(waits[:3]) < 0.5 < min(waits[3:5]), waits


def test_interrupted_run_resumes_bit_identically(whole, tmp_path):
    def crash(position):
        if position == 5:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path, source=toy.ToySource(on_draw=crash))
    assert checkpoint_steps(tmp_path / "checkpoints")[-1] == 4
    result = run(tmp_path)
    assert result.step == 6
    assert_same_params(whole[0], tmp_path)
    logged = [
        line["step"] for line in read_metrics(tmp_path / METRICS_FILE) if "loss/net/l1" in line
    ]
    assert logged == [1, 2, 3, 4, 5, 6]
    assert result.metrics == whole[1].metrics


def test_run_that_trains_some_leaves_resumes_bit_identically(tmp_path):
    """Checkpoints hold moments for these alone; the others end as they were drawn."""
    optim = OptimConfig(lr=1e-2, weight_decay=0.1, clip_norm=1.0, only=("Dense_1", "*/scale"))
    quick = dataclasses.replace(PLAN, preview_every=0, keep_latest=3)
    config = dataclasses.replace(experiment(train=quick), optim=optim)

    def crash(position):
        if position == 5:
            raise RuntimeError("power cut")

    run(tmp_path / "whole", config=config)
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "cut", config=config, source=toy.ToySource(on_draw=crash))
    run(tmp_path / "cut", config=config)
    assert_same_params(tmp_path / "whole", tmp_path / "cut")
    early, late = (
        leaf_names(load_params(tmp_path / "cut", ("net", "disc"), step=step)[0]) for step in (2, 6)
    )
    moved = {
        name for name in early if ".params." in name and not np.array_equal(early[name], late[name])
    }
    leaves = ("BatchNorm_0.scale", "Dense_1.bias", "Dense_1.kernel")
    assert moved == {f"{player}.params.{leaf}" for player in ("net", "disc") for leaf in leaves}


def test_finished_run_is_left_alone(whole):
    workdir, result = whole
    before = (workdir / METRICS_FILE).read_text()
    again = run(workdir)
    assert again.step == 6 and again.metrics == result.metrics
    assert (workdir / METRICS_FILE).read_text() == before


def test_more_steps_go_on_but_another_config_is_refused(tmp_path):
    task = toy.L1Task()

    def plan(steps, **options):
        config = experiment("l1", train=dataclasses.replace(PLAN, steps=steps), **options)
        return dataclasses.replace(config, optim=OptimConfig(lr=1e-2, warmup_steps=2))

    run(tmp_path, task=task, config=plan(2))
    assert run(tmp_path, task=task, config=plan(3)).step == 3
    other = plan(3, seed=5)
    with pytest.raises(CheckpointError, match=r"another config \(it differs in seed\)"):
        run(tmp_path, task=task, config=other)


def test_more_steps_of_a_cosine_are_refused_and_the_run_is_as_it_was(whole):
    workdir, result = whole
    before = (workdir / "config.json").read_text()
    with pytest.raises(CheckpointError, match=r"train\.steps = 6, not 60, and the rate of optim "):
        run(workdir, steps=60)
    assert (workdir / "config.json").read_text() == before
    assert run(workdir).metrics == result.metrics


def test_data_without_windows_leave_the_directory_free(tmp_path):
    class Windowless(toy.ToySource):
        def train(self, view, *, batch_size, seed):
            raise RecordError("no frame shows a face; give another set")

    with pytest.raises(RecordError, match="no frame shows a face"):
        run(tmp_path / "w", source=Windowless())
    assert not (tmp_path / "w").exists()


def test_nan_stops_with_step_terms_and_checkpoint_named(tmp_path):
    with pytest.raises(TalkfaceError) as caught:
        run(tmp_path, source=toy.ToySource(poison=3))
    message = str(caught.value)
    assert message.startswith("step 4 is not finite in ")
    assert "loss/net/l1 = nan" in message and str(tmp_path / "checkpoints" / "2") in message
    # Step 4 was due for saving: a broken state is never kept.
    assert checkpoint_steps(tmp_path / "checkpoints") == [2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_and_says_how_to_go_on(whole, tmp_path, number):
    def interrupt(position):
        if position == 3:  # the batch of the step after is drawn ahead
            os.kill(os.getpid(), number)

    handler = signal.getsignal(number)
    with pytest.raises(TalkfaceError, match=f"stopped by {number.name} after step 3.*run the same"):
        run(tmp_path, source=toy.ToySource(on_draw=interrupt), checkpoint_every=0)
    assert signal.getsignal(number) == handler
    assert checkpoint_steps(tmp_path / "checkpoints") == [3]
    run(tmp_path, checkpoint_every=0)
    assert_same_params(whole[0], tmp_path)


class WithReaders(toy.ToySource):
    """Toy batches, each drawn beside one that a reader process has to make."""

    def __init__(self, directory, **options):
        super().__init__(**options)
        self.directory = str(directory)

    def train(self, view, *, batch_size, seed):
        data = DataConfig(directory=self.directory, workers=1, prefetch=1)
        read = PreparedSource(data, evaluates=False).train(
            MotionView(references=2), batch_size=batch_size, seed=seed
        )
        batches = super().train(view, batch_size=batch_size, seed=seed)
        batches.close, draw = read.close, batches.on_draw

        def both(position):
            draw(position)
            next(read)

        batches.on_draw = both
        return batches


@pytest.mark.parametrize("at", [0, 3])
def test_sigterm_to_all_processes_of_a_job_saves_too(prepared, tmp_path, at):
    def end_all(position):
        if position == at:
            (reader,) = multiprocessing.active_children()
            for number in (reader.pid, os.getpid()):
                os.kill(number, signal.SIGTERM)

    done = max(at, 1)
    with pytest.raises(TalkfaceError, match=f"stopped by SIGTERM after step {done}.*run the same"):
        run(tmp_path, source=WithReaders(prepared, on_draw=end_all), checkpoint_every=0)
    assert checkpoint_steps(tmp_path / "checkpoints") == [done]
    assert not multiprocessing.active_children()


def test_phases_switch_terms_and_players(tmp_path):
    task = toy.GanTask()
    adversarial, critic = task.objectives
    warm = Objective(("net",), adversarial.terms[:1], stop=2)
    task.objectives = (
        warm,
        dataclasses.replace(adversarial, start=2),
        dataclasses.replace(critic, start=2, every=2),
    )
    run(tmp_path, task=task, eval_every=0, preview_every=0, checkpoint_every=0, best_metric="")
    lines = read_metrics(tmp_path / METRICS_FILE)
    assert ["loss/net/fool" in line for line in lines] == [False, False, True, True, True, True]
    # Every second step of its activity, and silent in between.
    assert ["loss/disc/judge" in line for line in lines] == [False, False, True, False, True, False]


def test_step_without_objective_is_a_config_error(tmp_path):
    task = toy.L1Task()
    task.objectives = (dataclasses.replace(task.objectives[0], stop=1),)
    with pytest.raises(ConfigError, match="no active objective at step 1"):
        run(tmp_path, task=task)


def test_unknown_best_metric_is_named_with_the_known_ones(tmp_path):
    """Before the first step, and before the directory belongs to the config with the mistake."""
    for name in ("lpips", "l1/part"):
        words = rf"best_metric is '{name}', but toy/l1 measures: l1; use one of them$"
        with pytest.raises(ConfigError, match=words):
            run(tmp_path / "run", task=toy.L1Task(), best_metric=name, steps=1, eval_every=0)
        assert not (tmp_path / "run").exists()
    assert run(tmp_path / "run", task=toy.L1Task(), best_metric="l1", steps=1).step == 1


class Halves(flax.struct.PyTreeNode):
    """A metric of two values."""

    mean: Average

    def merge(self, other):
        return Halves(self.mean.merge(other.mean))

    def compute(self):
        return {"low": self.mean.compute() / 2, "high": self.mean.compute()}


class PartsTask(toy.L1Task):
    name = "toy/parts"

    def metrics(self, outputs, batch, frozen):
        return {"both": Halves(super().metrics(outputs, batch, frozen)["l1"])}


def test_a_part_of_a_metric_may_be_the_best_metric(tmp_path):
    """Which parts there are shows only at the first evaluation."""
    assert run(tmp_path / "a", task=PartsTask(), best_metric="both/low", steps=1).step == 1
    with pytest.raises(ConfigError, match=r"'both/mid', but toy/parts measures: both/high, both/l"):
        run(tmp_path / "b", task=PartsTask(), best_metric="both/mid", steps=1)
    with pytest.raises(ConfigError, match=r"'neither/low', but toy/parts measures: both; use one"):
        run(tmp_path / "c", task=PartsTask(), best_metric="neither/low", steps=1)
    assert not (tmp_path / "c").exists()


def test_a_stage_that_measures_nothing_has_no_best_metric(tmp_path):
    task = toy.L1Task()
    task.metrics = lambda outputs, batch, frozen: {}
    with pytest.raises(ConfigError, match=r"measures nothing; leave it empty \(--config\.train\.b"):
        run(tmp_path, task=task, best_metric="l1")


class LostTask(toy.L1Task):
    """Its frozen network has no file."""

    name = "toy/lost"

    def frozen(self):
        raise WeightsError("the file of a network is missing; give it")


def test_a_missing_frozen_network_leaves_the_directory_unclaimed(tmp_path):
    workdir = tmp_path / "run"
    for best in ("l1", ""):
        with pytest.raises(WeightsError, match="is missing"):
            run(workdir, task=LostTask(), best_metric=best)
        assert not workdir.exists()


def test_a_finished_run_needs_no_frozen_network(tmp_path):
    """Whatever else the command is, there is nothing left to do."""
    run(tmp_path, task=toy.L1Task(name="toy/lost"), config=experiment("lost"))
    again = run(tmp_path, task=LostTask(), config=experiment("lost"))
    assert again.step == 6
    longer = experiment("lost", train=dataclasses.replace(PLAN, steps=7))
    with pytest.raises(WeightsError, match="is missing"):
        run(tmp_path, task=LostTask(), config=longer)


def test_averages_are_what_is_exported(tmp_path):
    """Of parameters and batch statistics alike, as made by hand from the values of every step."""
    decay, task = 0.8, toy.L1Task()
    config = experiment(
        task.stage, train=dataclasses.replace(PLAN, steps=4, ema_decay=decay, best_metric="")
    )
    programs = Programs(task, config, make_mesh(config.mesh))
    batches = toy.ToySource().train(task.view, batch_size=4, seed=config.seed)
    state = programs.init()
    expected = jax.device_get(dict(state.nets["net"].variables))
    for step in range(4):
        state, _ = programs.step_at(step)(state, {}, put_batch(next(batches), programs.mesh))
        last = jax.device_get(dict(state.nets["net"].variables))
        expected = jax.tree.map(lambda e, n: decay * e + (1 - decay) * n, expected, last)
    run(tmp_path, task=task, config=config)
    variables, info = load_params(tmp_path, ("net",))
    assert info["averaged"] == ["net"] and info["step"] == 4
    found, wanted, raw = (leaf_names(tree) for tree in (variables["net"], expected, last))
    assert set(found) == set(wanted) and any(name.startswith("batch_stats") for name in found)
    for name, leaf in found.items():
        np.testing.assert_allclose(leaf, wanted[name], rtol=1e-5, atol=1e-7, err_msg=name)
        assert np.abs(leaf - raw[name]).max() > 1e-5, name
