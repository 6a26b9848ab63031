"""Checkpoints: what stays, what is refused, and what survives a write that fails."""

import contextlib
import gc
import json
import resource
import shutil
import signal
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy

from talkface_jax.config import ExperimentConfig, TrainConfig
from talkface_jax.errors import CheckpointError
from talkface_jax.train import checkpoint
from talkface_jax.train.checkpoint import Checkpoints, checkpoint_steps, load_params
from talkface_jax.train.sharding import make_mesh, state_shardings, with_shardings
from talkface_jax.train.state import create_state, leaf_names
from talkface_jax.train.workdir import prepare_workdir

KEEP_BEST = TrainConfig(best_metric="l1", keep_latest=1, keep_best=1)


@pytest.fixture(autouse=True)
def _sweep():
    """Collects the event loops that Orbax's failed threads leave open, before others see them."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="module")
def state():
    task = toy.GanTask(toy.ToyConfig(width=32))
    transforms = {player: optax.adam(1e-3) for player in task.nets}
    batch = {name: jnp.asarray(array) for name, array in toy.make_batch(4, 0).items()}
    return jax.jit(lambda b: create_state(task, transforms, seed=3, batch=b))(batch)


@pytest.fixture(scope="module")
def target(state):
    mesh = make_mesh(ExperimentConfig("m", "s", None).mesh, devices=jax.devices()[:1])
    shapes = jax.eval_shape(lambda: state)
    return with_shardings(shapes, state_shardings(shapes, mesh, min_shard_size=1))


def at(state, step):
    return state.replace(step=jnp.int32(step))


def save(checkpoints, state, step, **metrics):
    checkpoints.save(at(state, step), {"data": {"position": step}}, metrics=metrics)
    checkpoints.wait()


def flat(state):
    return {
        name: np.asarray(jax.random.key_data(leaf) if name == "rng" else leaf)
        for name, leaf in leaf_names(state).items()
    }


def test_restores_every_leaf_and_the_data_position(state, target, tmp_path):
    with Checkpoints(tmp_path, TrainConfig()) as checkpoints:
        save(checkpoints, state, 7)
        restored = checkpoints.restore(target, step=7)
    assert restored.info["data"] == {"position": 7}
    assert jax.tree.structure(restored.state) == jax.tree.structure(state)
    expected = flat(at(state, 7))
    for name, leaf in flat(restored.state).items():
        np.testing.assert_array_equal(leaf, expected[name], err_msg=name)
    # A typed key again, and the same stream.
    np.testing.assert_array_equal(
        jax.random.normal(restored.state.rng, (3,)), jax.random.normal(state.rng, (3,))
    )


def test_keeps_the_latest_and_the_best(state, tmp_path):
    with Checkpoints(tmp_path, KEEP_BEST) as checkpoints:
        for step, value in [(1, 0.3), (2, 0.1), (3, 0.5), (4, 0.4)]:
            save(checkpoints, state, step, l1=value)
    assert checkpoint_steps(tmp_path / "checkpoints") == [2, 4]


def test_a_resumed_run_keeps_the_best_of_the_run_before(state, tmp_path):
    for step, value in [(1, 0.1), (2, 0.5), (3, 0.4)]:
        with Checkpoints(tmp_path, KEEP_BEST) as checkpoints:
            save(checkpoints, state, step, l1=value)
    assert checkpoint_steps(tmp_path / "checkpoints") == [1, 3]


def test_params_are_loaded_from_the_best_without_optimiser_state(state, tmp_path):
    config = ExperimentConfig("toy", "gan", toy.ToyConfig(), train=KEEP_BEST)
    prepare_workdir(tmp_path, config)
    with Checkpoints(tmp_path, KEEP_BEST) as checkpoints:
        save(checkpoints, state, 1, l1=0.1)
        save(checkpoints, state, 2, l1=0.2)
    variables, info = load_params(tmp_path, ("net",))
    assert (info["step"], info["averaged"]) == (1, [])
    assert info["checkpoint"] == str(tmp_path / "checkpoints" / "1")
    jax.tree.map(np.testing.assert_array_equal, variables["net"], dict(state.nets["net"].variables))
    with pytest.raises(CheckpointError, match="no player 'motion', it has: disc, net; give"):
        load_params(tmp_path, ("motion",))
    with pytest.raises(CheckpointError, match="checkpoints there: 1, 2"):
        load_params(tmp_path, ("net",), step=9)


def test_what_is_written_in_the_background_is_what_was_given(state, target, tmp_path):
    losses = {"loss/net/total": 1.0}
    with Checkpoints(tmp_path, TrainConfig()) as checkpoints:
        checkpoints.save(at(state, 1), {"losses": losses})
        losses |= {"loss/net/total": 2.0, "loss/disc/total": 3.0}
        checkpoints.wait()
        assert checkpoints.read_info(1)["losses"] == {"loss/net/total": 1.0}


def test_workdir_without_checkpoint_says_so(tmp_path):
    prepare_workdir(tmp_path, ExperimentConfig("toy", "gan", toy.ToyConfig()))
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        load_params(tmp_path, ("net",))
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        load_params(tmp_path / "elsewhere", ("net",))


def test_altered_leaf_is_named(state, target, tmp_path, monkeypatch):
    """A flipped bit that Orbax does not notice."""
    with Checkpoints(tmp_path, TrainConfig()) as checkpoints:
        save(checkpoints, state, 1)
        restore = checkpoints._manager.restore

        def flip(*args, **kwargs):
            result = restore(*args, **kwargs)
            name = "nets.net.params.Dense_0.kernel"
            bits = np.asarray(result["state"][name]).copy()
            bits.view(np.uint32)[0, 0] ^= 1
            result["state"][name] = jnp.asarray(bits)
            return result

        monkeypatch.setattr(checkpoints._manager, "restore", flip)
        with pytest.raises(CheckpointError, match=r"damaged \(nets\.net\.params\.Dense_0\.kernel"):
            checkpoints.restore(target, step=1)


@pytest.mark.parametrize("pattern", ["state/**/d/*", "meta/metadata"])
def test_flipped_bytes_on_disk_are_found(state, target, tmp_path, pattern):
    with Checkpoints(tmp_path, TrainConfig()) as checkpoints:
        save(checkpoints, state, 1)
        victims = list(checkpoints.path(1).glob(pattern))
        assert victims
        for victim in victims:
            content = bytearray(victim.read_bytes())
            content[len(content) // 2] ^= 1
            victim.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"is damaged .* delete that folder"):
            checkpoints.restore(target, step=1)


def test_checkpoint_of_other_networks_is_refused(state, target, tmp_path):
    with Checkpoints(tmp_path, TrainConfig()) as checkpoints:
        save(checkpoints, state, 1)
        other = target.replace(nets={"net": target.nets["net"]})
        with pytest.raises(CheckpointError, match=r"also has nets\.disc.*other networks"):
            checkpoints.restore(other, step=1)


def test_full_disk_is_one_sentence_and_leaves_the_rest(state, target, tmp_path, monkeypatch):
    with Checkpoints(tmp_path, TrainConfig()) as checkpoints:
        save(checkpoints, state, 1)
        usage = shutil.disk_usage(tmp_path)._replace(free=1000)
        monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda path: usage)
        with pytest.raises(CheckpointError) as caught:
            save(checkpoints, state, 2)
        assert "the checkpoint of step 2" in str(caught.value) and "are free" in str(caught.value)
        assert f"{checkpoints.path(1)} is intact" in str(caught.value)
        assert [path.name for path in checkpoints.directory.iterdir()] == ["1"]
        checkpoints.restore(target, step=1)


@contextlib.contextmanager
def file_size_limit(size):
    """Writes beyond `size` bytes fail, as on a full disk, in whatever thread."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


# Orbax leaves coroutines of the failed write behind; they are collected here, not in another test.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_failing_asynchronous_write_leaves_no_trace(state, target, tmp_path):
    with Checkpoints(tmp_path, TrainConfig()) as checkpoints:
        save(checkpoints, state, 1)
        with (
            file_size_limit(2048),
            pytest.raises(CheckpointError, match=r"File too large.*1 is intact"),
        ):
            save(checkpoints, state, 2)
        assert [path.name for path in checkpoints.directory.iterdir()] == ["1"]
    with Checkpoints(tmp_path, TrainConfig()) as checkpoints:
        assert checkpoints.latest_step == 1
        checkpoints.restore(target, step=1)
    gc.collect()


def test_leftovers_of_a_killed_write_are_ignored_and_removed(state, tmp_path):
    with Checkpoints(tmp_path, TrainConfig()) as checkpoints:
        save(checkpoints, state, 1)
    leftover = tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp"
    shutil.copytree(tmp_path / "checkpoints" / "1", leftover)
    assert checkpoint_steps(leftover.parent) == [1]
    with Checkpoints(tmp_path, TrainConfig()) as checkpoints:
        assert checkpoints.latest_step == 1
    assert not leftover.exists()


def test_workdir_belongs_to_one_config(tmp_path):
    config = ExperimentConfig("toy", "gan", toy.ToyConfig())
    prepare_workdir(tmp_path, config)
    prepare_workdir(
        tmp_path, ExperimentConfig("toy", "gan", toy.ToyConfig(), train=TrainConfig(steps=9))
    )
    assert json.loads((tmp_path / "config.json").read_text())["train"]["steps"] == 9
    other = ExperimentConfig("toy", "gan", toy.ToyConfig(width=9), seed=1)
    with pytest.raises(
        CheckpointError, match=r"differs in seed, task\.width\); use another --workdir"
    ):
        prepare_workdir(tmp_path, other)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not valid JSON"):
        prepare_workdir(tmp_path, config)


def test_a_field_that_is_newer_than_the_run_changes_nothing(tmp_path):
    config = ExperimentConfig("toy", "gan", toy.ToyConfig(width=9))
    prepare_workdir(tmp_path, config)
    path = tmp_path / "config.json"
    stored = json.loads(path.read_text())
    del stored["train"]["init_from"]
    path.write_text(json.dumps(stored))
    prepare_workdir(tmp_path, config)
    assert json.loads(path.read_text())["train"]["init_from"] == []
    # With another value than the default it would be another run.
    path.write_text(json.dumps(stored))
    started = ExperimentConfig(
        "toy", "gan", toy.ToyConfig(width=9), train=TrainConfig(init_from=("weights",))
    )
    with pytest.raises(CheckpointError, match=r"differs in train\.init_from\)"):
        prepare_workdir(tmp_path, started)
    # A field that this version lacks is named.
    path.write_text(json.dumps({**stored, "wings": 2}))
    with pytest.raises(CheckpointError, match=r"differs in .*wings\)"):
        prepare_workdir(tmp_path, config)
