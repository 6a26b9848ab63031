"""A run that gets no better ends early, and stays ended."""

import dataclasses

import pytest
import toy

from talkface_jax import config as configs
from talkface_jax.config import DataConfig, ExperimentConfig, TrainConfig
from talkface_jax.errors import ConfigError
from talkface_jax.train import loop
from talkface_jax.train.checkpoint import checkpoint_steps, load_params
from talkface_jax.train.patience import Patience

PLAN = TrainConfig(
    steps=40,
    log_every=1,
    eval_every=2,
    preview_every=0,
    checkpoint_every=5,
    best_metric="l1",
    patience=3,
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs whose evaluations give these values, the last one for ever."""

    def made(*values, **plan):
        left = list(values)
        found = lambda *_: {"l1": left.pop(0) if len(left) > 1 else left[0]}  # noqa: E731
        monkeypatch.setattr(loop, "evaluate", found)
        task = toy.GanTask()
        config = ExperimentConfig(
            method="toy",
            stage=task.stage,
            task=toy.ToyConfig(),
            data=DataConfig(batch_size=4),
            train=dataclasses.replace(PLAN, **plan),
        )
        return loop.train(task, config, workdir=tmp_path, source=toy.ToySource())

    return made


@pytest.mark.parametrize(
    ("mode", "values", "waited", "best"),
    [
        ("min", [3.0, 2.0, 2.0, 5.0], [0, 0, 1, 2], 2.0),
        ("max", [3.0, 2.0, 3.0, 5.0], [0, 1, 2, 0], 5.0),
        ("min", [float("nan"), 2.0, float("nan"), 1.0], [1, 0, 1, 0], 1.0),
    ],
)
def test_it_waits_since_the_best(mode, values, waited, best):
    patience = Patience.of(TrainConfig(best_mode=mode, patience=2), {})
    found = []
    for value in values:
        patience.see(value)
        found.append((patience.waited, patience.spent))
    assert found == [(count, count >= 2) for count in waited]
    again = Patience.of(TrainConfig(best_mode=mode, patience=2), {"patience": patience.state()})
    assert again == patience and again.best == best
    endless = Patience.of(TrainConfig(best_mode=mode), {"patience": {"best": 1.0, "waited": 9}})
    assert not endless.spent


def test_a_run_that_gets_no_better_ends_and_is_saved(run, tmp_path):
    result = run(0.5, 0.4, 0.6)
    # Steps 2 and 4; those of saved steps count too: 5, 6 and 8 are no better.
    assert result.step == 8 and checkpoint_steps(tmp_path / "checkpoints")[-1] == 8
    _, info = load_params(tmp_path, step=8)
    assert info["patience"] == {"best": 0.4, "waited": 3}
    assert info["metrics"]["l1"] == result.metrics["eval/l1"] == 0.6
    assert run(0.1).step == 8, "it has ended"
    assert run(0.6, patience=4).step == 10, "unless it is to wait longer"


def test_a_run_that_gets_better_goes_on(run):
    assert run(*range(20, 0, -1), steps=12, patience=1).step == 12


def test_patience_without_a_metric_is_refused():
    config = ExperimentConfig(
        method="toy",
        stage="gan",
        task=toy.ToyConfig(),
        train=TrainConfig(patience=3),
    )
    with pytest.raises(ConfigError, match=r"config\.train\.patience is 3, but there is no metric"):
        configs.validate(config)
