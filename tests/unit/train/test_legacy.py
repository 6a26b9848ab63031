"""Checkpoints of older layouts still load."""

import jax
import numpy as np
import toy

from talkface_jax.config import DataConfig, ExperimentConfig, OptimConfig, TrainConfig
from talkface_jax.stored import legacy
from talkface_jax.train import loop
from talkface_jax.train.checkpoint import Checkpoints, load_params
from talkface_jax.train.programs import Programs
from talkface_jax.train.sharding import make_mesh
from talkface_jax.train.state import leaf_names, plain_leaves


class FittedTask(toy.L1Task):
    """A toy with a value that is computed from data."""

    name = "toy/fitted"

    def init(self, rng, batch):
        fresh = super().init(rng, batch)["net"]
        return {"net": {**fresh, "constants": {"mean": np.zeros(6, np.float32)}}}

    def fitted(self, samples):
        mean = np.mean([sample["x"] for sample in samples()], 0)
        return {"net": {"constants": {"mean": mean.astype(np.float32)}}}

    def forward(self, variables, frozen, batch, rng, *, step, train):
        shifted = {**batch, "x": batch["x"] - variables["net"]["constants"]["mean"]}
        return super().forward(variables, frozen, shifted, rng, step=step, train=train)


def _config(task, **plan):
    return ExperimentConfig(
        method="toy",
        stage=task.stage,
        task=task.config,
        data=DataConfig(batch_size=4),
        optim=OptimConfig(lr=1e-2),
        train=TrainConfig(**{"steps": 2, "eval_every": 0, "preview_every": 0, **plan}),
    )


def _older(name):
    """A leaf's name in the older layout; "" where there was none."""
    name = name.replace("nets.net.constants.", "nets.net.stats.")
    if name.startswith("ema.net.stats."):
        return ""
    return name.replace("ema.net.params.", "ema.net.")


def _rewritten(workdir, out, config, programs):
    """The run's checkpoint as an older version would have written it."""
    with Checkpoints(workdir, config.train) as made:
        restored = made.restore(programs.target, step=made.latest_step)
    leaves = {_older(name): leaf for name, leaf in plain_leaves(restored.state).items()}
    leaves.pop("", None)
    out.mkdir()
    (out / "config.json").write_bytes((workdir / "config.json").read_bytes())
    with Checkpoints(out, config.train) as older:
        older._write(int(restored.state.step), leaves, restored.info, None)
        older.wait()
    return restored


def test_a_run_of_the_older_layout_goes_on(tmp_path):
    task = FittedTask()
    config = _config(task, ema_decay=0.9)
    loop.train(task, config, workdir=tmp_path / "new", source=toy.ToySource())
    programs = Programs(task, config, make_mesh(config.mesh))
    restored = _rewritten(tmp_path / "new", tmp_path / "old", config, programs)
    assert np.abs(restored.state.nets["net"].constants["mean"]).max() > 0.01
    with Checkpoints(tmp_path / "old", config.train) as old:
        found = old.restore(programs.target, step=2).state
    wanted, given = plain_leaves(restored.state), plain_leaves(found)
    for name in wanted:
        source = name.replace("ema.net.stats.", "nets.net.stats.")
        np.testing.assert_array_equal(given[name], wanted[source], err_msg=name)
    longer = _config(task, ema_decay=0.9, steps=3)
    assert loop.train(task, longer, workdir=tmp_path / "old", source=toy.ToySource()).step == 3


def test_variables_of_the_older_layout_are_sorted_by_the_network(tmp_path):
    task = FittedTask()
    config = _config(task, ema_decay=0.9)
    loop.train(task, config, workdir=tmp_path / "new", source=toy.ToySource())
    programs = Programs(task, config, make_mesh(config.mesh))
    _rewritten(tmp_path / "new", tmp_path / "old", config, programs)
    new, old = (load_params(tmp_path / name)[0]["net"] for name in ("new", "old"))
    assert set(old) == {"params", "batch_stats"} and "mean" in old["batch_stats"]
    sorted_ = legacy.with_constants(old, new)
    assert set(leaf_names(sorted_)) == set(leaf_names(new))
    np.testing.assert_array_equal(sorted_["constants"]["mean"], new["constants"]["mean"])
    jax.tree.map(np.testing.assert_array_equal, sorted_["params"], new["params"])
    # What is in its place already is left as it is.
    assert legacy.with_constants(new, new) is new


def test_a_run_starts_from_a_directory_of_the_older_layout(tmp_path):
    task = FittedTask()
    config = _config(task)
    loop.train(task, config, workdir=tmp_path / "new", source=toy.ToySource())
    programs = Programs(task, config, make_mesh(config.mesh))
    restored = _rewritten(tmp_path / "new", tmp_path / "old", config, programs)
    started = _config(task, steps=1, init_from=(str(tmp_path / "old"),))
    loop.train(task, started, workdir=tmp_path / "next", source=toy.ToySource())
    (found,) = load_params(tmp_path / "next")[0].values()
    np.testing.assert_array_equal(
        found["constants"]["mean"], restored.state.nets["net"].constants["mean"]
    )
