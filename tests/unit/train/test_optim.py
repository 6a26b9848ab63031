"""Optimisers against their textbook update, and schedules by number of updates."""

import collections
import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy

from talkface_jax import api
from talkface_jax.config import ExperimentConfig, OptimConfig, TrainConfig
from talkface_jax.errors import ConfigError
from talkface_jax.methods import registry
from talkface_jax.task import Objective
from talkface_jax.train.optim import (
    bound_to_end,
    check_patterns,
    decays,
    is_trained,
    make_schedule,
    make_transform,
    make_transforms,
    trained_mask,
    updates_before,
)
from talkface_jax.train.state import leaf_names

PARAMS = jnp.asarray([1.0, -2.0])
GRADIENT = jnp.asarray([3.0, 4.0])


def one_update(**options):
    transform = make_transform(OptimConfig(lr=0.1, **options), updates=10)
    updates, _ = transform.update(GRADIENT, transform.init(PARAMS), PARAMS)
    return np.asarray(optax.apply_updates(PARAMS, updates))


def test_first_updates():
    np.testing.assert_allclose(one_update(name="sgd"), [0.7, -2.4], rtol=1e-6)
    # Adam's first step is lr * sign(gradient).
    np.testing.assert_allclose(one_update(name="adam"), [0.9, -2.1], rtol=1e-5)
    # A vector, as biases and norms are, does not decay.
    np.testing.assert_allclose(one_update(weight_decay=0.5), [0.9, -2.1], rtol=1e-5)
    # The gradient's norm is 5.
    np.testing.assert_allclose(one_update(name="sgd", clip_norm=1.0), [0.94, -2.08], rtol=1e-6)


def test_schedule_warms_up_and_decays():
    config = OptimConfig(lr=1.0, warmup_steps=4, schedule="cosine")
    rates = [float(make_schedule(config, updates=24)(step)) for step in range(25)]
    np.testing.assert_allclose(rates[:5], [0.2, 0.4, 0.6, 0.8, 1.0], rtol=1e-6)
    np.testing.assert_allclose(rates[14], 0.5, rtol=1e-6)
    assert rates[24] == pytest.approx(0.0, abs=1e-6)
    constant = make_schedule(OptimConfig(lr=1.0), updates=5)
    assert float(constant(0)) == float(constant(99)) == 1.0


WSD = OptimConfig(lr=2.0, schedule="wsd", warmup_steps=3, decay_steps=8)


def test_wsd_rises_stays_and_falls_to_zero():
    rates = [float(make_schedule(WSD, updates=30)(step)) for step in range(32)]
    counts = np.arange(32)
    expected = 2 * np.minimum.reduce(
        [(counts + 1) / 4, np.ones(32), np.clip((30 - counts) / 8, 0, None)]
    )
    np.testing.assert_allclose(rates, expected, rtol=1e-6, atol=1e-7)
    # The borders: the first update at the peak, the last there, the first below it, the last one.
    np.testing.assert_allclose([rates[i] for i in (3, 22, 23, 29)], [2, 2, 1.75, 0.25], rtol=1e-6)
    assert rates[30] == rates[31] == 0


def test_wsd_of_a_run_that_is_shorter_than_its_decay_falls_from_the_peak_on():
    rates = [float(make_schedule(WSD, updates=7)(step)) for step in range(8)]
    np.testing.assert_allclose(rates, [0.5, 1, 1.5, 2, 1.5, 1, 0.5, 0], rtol=1e-6)


@pytest.mark.parametrize("updates", [5, 1000])
def test_inverse_sqrt_does_not_know_the_end(updates):
    config = OptimConfig(lr=0.5, schedule="inverse_sqrt", warmup_steps=9)
    schedule = make_schedule(config, updates=updates)
    counts = np.asarray([0, 4, 8, 9, 10, 36, 900])
    expected = np.where(counts < 9, 0.05 * (counts + 1), 0.5 * np.sqrt(9 / np.maximum(counts, 9)))
    np.testing.assert_allclose([float(schedule(n)) for n in counts], expected, rtol=1e-6)
    assert float(schedule(36)) == pytest.approx(0.25)
    np.testing.assert_allclose(jax.jit(schedule)(jnp.asarray(900)), 0.05, rtol=1e-6)


def test_which_schedules_depend_on_the_end():
    """Where they do not, the rates so far and the next one are those of a longer run."""
    for name in ("constant", "inverse_sqrt", "wsd"):
        config = dataclasses.replace(WSD, schedule=name)
        short, long = (make_schedule(config, updates=updates) for updates in (30, 40))
        for done in range(1, 31):
            same = all(float(short(count)) == float(long(count)) for count in range(done))
            assert bound_to_end(config, done=done, updates=30) == (name == "wsd" and done > 22)
            assert same or bound_to_end(config, done=done, updates=30)
    assert bound_to_end(OptimConfig(schedule="cosine"), done=1, updates=30)


def test_updates_are_counted_by_activity_and_period():
    task = toy.GanTask()
    task.objectives = (
        Objective(("net",), (), stop=10),
        Objective(("net",), (), start=10),
        Objective(("disc",), (), start=10, every=3),
    )
    assert [updates_before(task, "net", step) for step in (0, 5, 10, 30)] == [0, 5, 10, 30]
    by_hand = [sum(i >= 10 and (i - 10) % 3 == 0 for i in range(step)) for step in range(20)]
    assert [updates_before(task, "disc", step) for step in range(20)] == by_hand


UNDECAYED = {
    ("iplap", "motion", "motion"): {
        "bias": 26,
        "layer_N/norm_N/scale": 4,
        "token_norm/scale": 1,
        "modality": 1,
        "positions": 1,
    },
    ("iplap", "render", "disc"): {"bias": 10},
    ("iplap", "render", "renderer"): {"bias": 13, "alignment/kernels": 1},
    ("sinha2020", "motion", "motion"): {"bias": 7},
    ("sinha2020", "blink", "blink"): {"bias": 6},
    ("sinha2020", "render", "disc"): {"bias": 5},
    ("sinha2020", "render", "renderer"): {"bias": 15},
    ("sinha2022", "motion", "motion"): {
        "bias": 17,
        "decoder/layer_N/norm/scale": 2,
        "decoder/layer_N/edge_logits": 2,
        "face/layer_N/norm/scale": 3,
        "face/layer_N/edge_logits": 3,
        "decoder/norm/scale": 1,
    },
    ("sinha2022", "blink", "blink"): {"bias": 6},
    ("sinha2022", "render", "disc"): {"bias": 5},
    ("sinha2022", "render", "renderer"): {"bias": 19, "motion/share": 1},
    ("emoconv", "generator", "disc"): {"bias": 5},
    ("emoconv", "generator", "generator"): {
        "appearance/down_N/body/norm/scale": 3,
        "appearance/first/norm/scale": 1,
        "appearance/residual_N/norm_N/scale": 2,
        "bias": 59,
        "warping/dense_motion/compress_norm/scale": 1,
        "warping/dense_motion/hourglass/down_N/body/norm/scale": 2,
        "warping/dense_motion/hourglass/last/norm/scale": 1,
        "warping/dense_motion/hourglass/up_N/body/norm/scale": 2,
        "warping/dense_motion/share": 1,
        "warping/third/norm/scale": 1,
    },
    ("emotion", "blendshapes", "emotion"): {"bias": 3},
    ("speech", "ctc29", "ctc"): {"bias": 12, "norm/scale": 1, "norm_N/scale": 3},
}
"""The leaves that do not decay in each tiny network, with N for numbers; biases by their number."""
DECAYED = {
    ("sinha2020", "blink", "blink"): {"recurrent": 1},
    ("sinha2022", "blink", "blink"): {"recurrent": 1},
    ("sinha2022", "motion", "motion"): {"audio/recurrent": 1, "decoder/kernels": 1},
}
"""Those that decay besides kernels."""
STAGES = list(registry.tasks())


def counted(paths):
    names = (re.sub(r"^.*/bias$", "bias", re.sub(r"\d+", "N", path)) for path in paths)
    return dict(collections.Counter(names))


def leaves_by_path(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def params_of(method, stage):
    config = api.load_experiment(f"configs/{method}/{stage}.py:tiny")
    task = registry.build_task(method, stage, config.task)
    batch = task.view.spec(1)
    shapes = jax.eval_shape(task.init, jax.eval_shape(lambda: jax.random.key(0)), batch)
    rng = np.random.default_rng(0)
    return {
        player: jax.tree.map(
            lambda leaf: rng.uniform(0.5, 2.0, leaf.shape).astype(np.float32), item["params"]
        )
        for player, item in shapes.items()
    }


@pytest.mark.parametrize(("method", "stage"), STAGES)
def test_weight_decay_spares_biases_norms_and_learned_positions(
    method, stage, repository, monkeypatch
):
    monkeypatch.chdir(repository)
    transform = make_transform(OptimConfig(lr=0.25, weight_decay=0.5), updates=10)

    @jax.jit
    def step(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        updates, _ = transform.update(zeros, transform.init(params), params)
        return optax.apply_updates(params, updates)

    for player, params in params_of(method, stage).items():
        before, after = leaves_by_path(params), leaves_by_path(step(params))
        equal = {path for path in before if np.array_equal(after[path], before[path])}
        assert counted(equal) == UNDECAYED[method, stage, player]
        shrunk = set(before) - equal
        others = counted(path for path in shrunk if not path.endswith("/kernel"))
        assert others == DECAYED.get((method, stage, player), {})
        for path in shrunk:
            np.testing.assert_allclose(after[path], before[path] * (1 - 0.25 * 0.5), rtol=1e-6)


def test_decay_goes_by_the_leafs_own_name_and_axes():
    matrix, vector = np.zeros((4, 32)), np.zeros(4)
    # SPADE's layers are called "scale"; attention's biases have two axes.
    assert decays(("modulation_1", "scale", "kernel"), matrix)
    assert not decays(("attention", "query", "bias"), matrix)
    assert not decays(("gain",), vector)


PLAYER = {
    "encoder": {"layer_0": {"kernel": np.ones((3, 2), np.float32), "bias": np.ones(2, np.float32)}},
    "decoder": {
        "layer_0": {"kernel": np.ones((2, 2), np.float32), "bias": np.ones(2, np.float32)},
        "norm_1": {"scale": np.ones(2, np.float32)},
    },
}
SLOPE = jax.tree.map(lambda leaf: np.full_like(leaf, 3.0), PLAYER)


@pytest.mark.parametrize(
    ("patterns", "path", "trained"),
    [
        (None, "encoder/layer_0/bias", True),
        ((), "encoder/layer_0/bias", False),
        (("decoder",), "decoder/layer_0/bias", True),
        (("decoder",), "decoder_2/layer_0/bias", False),
        (("decoder",), "net/decoder/bias", False),
        (("*/norm_*",), "decoder/norm_1/scale", True),
        (("*/norm_*",), "decoder/layer_0/norm", False),
        (("none", "*/layer_[01]/bias"), "encoder/layer_1/bias", True),
        (("Decoder",), "decoder/layer_0/bias", False),
    ],
)
def test_a_pattern_takes_a_path_or_all_below_it(patterns, path, trained):
    assert is_trained(patterns, path) is trained


def test_mask_has_the_structure_of_the_parameters():
    assert trained_mask(("decoder/layer_0", "*/norm_1"), PLAYER) == {
        "encoder": {"layer_0": {"kernel": False, "bias": False}},
        "decoder": {"layer_0": {"kernel": True, "bias": True}, "norm_1": {"scale": True}},
    }


def updated(transform, *, steps=2):
    params, state = PLAYER, transform.init(PLAYER)
    for _ in range(steps):
        updates, state = transform.update(SLOPE, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_only_the_trained_leaves_move_and_have_moments(decay):
    config = OptimConfig(lr=0.1, only=("decoder",), weight_decay=decay)
    after, state = updated(make_transform(config, updates=10))
    for path, leaf in leaves_by_path(after).items():
        same = np.array_equal(leaf, leaves_by_path(PLAYER)[path])
        assert same is path.startswith("encoder/"), path
    moments = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim]
    # Two moments of 4 + 2 + 2 numbers.
    assert sorted(leaf.shape for leaf in moments) == [(2,)] * 4 + [(2, 2)] * 2
    assert sum(leaf.nbytes for leaf in moments) == 2 * 8 * 4
    # The decoder's own update is as if it were alone.
    alone = make_transform(dataclasses.replace(config, only=()), updates=10)
    params, state = PLAYER["decoder"], alone.init(PLAYER["decoder"])
    for _ in range(2):
        updates, state = alone.update(SLOPE["decoder"], state, params)
        params = optax.apply_updates(params, updates)
    jax.tree.map(np.testing.assert_array_equal, after["decoder"], params)


def test_trained_subset_is_hand_masked_sgd_and_its_norm_is_what_is_clipped():
    config = OptimConfig(name="sgd", lr=0.1, only=("*/norm_*", "encoder/*/kernel"))
    moved, _ = updated(make_transform(config, updates=10), steps=1)
    mask = trained_mask(config.only, PLAYER)
    by_hand = jax.tree.map(lambda p, g, m: p - np.float32(0.1) * g * m, PLAYER, SLOPE, mask)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), moved, by_hand)
    clipped, _ = updated(
        make_transform(dataclasses.replace(config, clip_norm=1.0), updates=10), steps=1
    )
    # Eight numbers of 3 are trained.
    scale = 1 / (3 * np.sqrt(8))
    moved, clipped = leaves_by_path(moved), leaves_by_path(clipped)
    for path, leaf in leaves_by_path(PLAYER).items():
        expected = leaf + scale * (moved[path] - leaf)
        np.testing.assert_allclose(clipped[path], expected, rtol=1e-6, err_msg=path)


def test_without_patterns_the_state_has_the_structure_that_stored_runs_have():
    config = OptimConfig(clip_norm=1.0, weight_decay=0.1)
    state = make_transform(config, updates=10).init(PLAYER)
    plain = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(lambda count: 1e-4))
    assert list(leaf_names(state)) == list(leaf_names(plain.init(PLAYER)))


def test_task_and_config_must_both_allow():
    def moved_by(config_only, task_trained):
        transform = make_transform(
            OptimConfig(name="sgd", lr=0.1, only=config_only), updates=10, trained=task_trained
        )
        after, before = leaves_by_path(updated(transform)[0]), leaves_by_path(PLAYER)
        return {path for path in before if not np.array_equal(after[path], before[path])}

    assert moved_by((), None) == set(leaves_by_path(PLAYER))
    assert moved_by((), ()) == set()
    assert moved_by(("encoder",), ()) == set()
    assert moved_by(("*/layer_0",), ("decoder",)) == {
        "decoder/layer_0/kernel",
        "decoder/layer_0/bias",
    }
    with pytest.raises(ConfigError, match=r"optim\.only leaves nothing to train.*only decoder;"):
        moved_by(("encoder",), ("decoder",))


def test_pattern_without_a_parameter_is_refused_by_field():
    check_patterns(("encoder", "*/norm_*"), PLAYER, where="optim.only")
    with pytest.raises(
        ConfigError, match=r"^config: optim\.only has the pattern 'decodr', which .*; .* decoder,"
    ):
        check_patterns(("encoder", "decodr"), PLAYER, where="optim.only")


def test_players_take_their_own_subset():
    task = toy.GanTask()
    task.trained = {"disc": ("Dense_0",)}
    variables = task.init(jax.random.key(0), toy.make_batch(4, 0))

    def moments(**options):
        config = ExperimentConfig("toy", "gan", toy.ToyConfig(), train=TrainConfig(), **options)
        return {
            player: sum(leaf.ndim > 0 for leaf in jax.tree.leaves(transform.init(params)))
            for player, transform in make_transforms(task, config).items()
            for params in [variables[player]["params"]]
        }

    # Two Dense and a BatchNorm have six leaves; each trained one has two moments.
    assert moments() == {"net": 12, "disc": 4}
    net = OptimConfig(only=("BatchNorm_0", "*/kernel"))
    assert moments(players={"net": net}) == {"net": 8, "disc": 4}
    disc = OptimConfig(only=("*/bias",))
    assert moments(players={"disc": disc}) == {"net": 12, "disc": 2}
    with pytest.raises(ConfigError, match=r"players\.net\.only has the pattern 'Dens'"):
        moments(players={"net": OptimConfig(only=("Dens",))})
    with pytest.raises(ConfigError, match=r"optim\.only of net has the pattern 'head'"):
        moments(optim=OptimConfig(only=("head",)))


def test_a_warm_up_is_not_cut_where_the_rate_does_not_depend_on_the_end():
    config = OptimConfig(lr=1.0, warmup_steps=1000)
    short, long = (make_schedule(config, updates=updates) for updates in (5, 8))
    for update in range(5):
        assert float(short(update)) == float(long(update))
        assert float(short(update)) == pytest.approx((update + 1) / 1001, rel=1e-4)
