"""The motion stage: its terms against NumPy, what it fits, and what it refuses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from talkface_jax import api
from talkface_jax.errors import ConfigError
from talkface_jax.features import content
from talkface_jax.landmarks.retarget import MEAN_FACE
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.methods import registry
from talkface_jax.methods.sinha2022.motion.config import MotionConfig
from talkface_jax.methods.sinha2022.motion.task import MotionTask
from talkface_jax.models.motion.landmark_graph import LandmarkGraphConfig
from talkface_jax.task import LossContext
from talkface_jax.train.state import create_state, leaf_names
from talkface_jax.train.step import make_train_step

LIPS = get_scheme("ibug68").groups["lips"]
NET = LandmarkGraphConfig(lstm=4, audio_width=4, emotion_hidden=4, emotion_width=4)
CONFIG = MotionConfig(net=NET, feature="ctc29", window=3)


def _batch(task, rows=3, seed=0):
    draw = np.random.default_rng(seed)
    batch = {
        name: draw.normal(0, 0.05, leaf.shape).astype(np.float32)
        for name, leaf in task.view.spec(rows).items()
    }
    seen = draw.random(batch["seen"].shape) < 0.7
    return {**batch, "seen": seen.astype(np.float32), "mask": np.ones(rows, np.float32)}


def test_losses_against_numpy():
    task = MotionTask(CONFIG)
    batch, other = _batch(task), _batch(task, seed=1)["offsets"]
    context = LossContext(
        outputs={"offsets": jnp.asarray(other)},
        batch=batch,
        apply={},
        frozen={},
        step=jnp.zeros(()),
    )
    error, seen = np.asarray(other, np.float64) - batch["offsets"], batch["seen"]
    change, both = np.diff(error, axis=1), seen[:, 1:] * seen[:, :-1]

    def mean(values, weight):
        items = (values**2).mean(-1) * weight
        return np.mean(items.sum((1, 2)) / weight.sum((1, 2)))

    expected = {
        "position": mean(error, seen),
        "lips": (error[:, :, LIPS] ** 2).mean(),
        "velocity": mean(change, both),
    }
    (objective,) = task.objectives
    found = {term.name: term for term in objective.terms}
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name](context), value, rtol=1e-5, err_msg=name)
    weights = {name: term.weight for name, term in found.items()}
    assert weights == {"position": 1.0, "lips": 5.0, "velocity": 10.0}


def test_lips_must_close_in_every_emotion_where_p_b_and_m_are_heard():
    """By what they are farther apart than the neutral face's or than closed ones, and there
    alone."""
    task = MotionTask(dataclasses.replace(CONFIG, closure_weight=2.0, closure_gap=0.02))
    batch = _batch(task)
    batch["bilabial"] = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]], np.float32)
    batch["face"] = np.tile(MEAN_FACE.astype(np.float32), (3, 1, 1))
    scheme = get_scheme("ibug68")
    above, below = (
        [scheme.position(mesh) for mesh in places] for places in ((81, 13, 311), (178, 14, 402))
    )
    made = {name: np.zeros((3, 3, 68, 2), np.float32) for name in ("offsets", "drawn", "neutral")}
    shut = (MEAN_FACE[below] - MEAN_FACE[above])[:, 1]
    for offsets in made.values():
        offsets[:, :, below, 1] = -shut
    made["drawn"][0, 0, below[1], 1] += 0.12
    made["drawn"][1, 1, below[0], 1] += 0.09
    made["neutral"][1, 1, below[0], 1] += 0.06
    made["drawn"][:, 2, below, 1] += 1
    made["offsets"][:, :, below, 1] += 1
    context = LossContext(outputs=made, batch=batch, apply={}, frozen={}, step=jnp.zeros(()))
    (objective,) = task.objectives
    (term,) = (term for term in objective.terms if term.name == "closure")
    expected = np.mean([0.1**2 / 3, (0.03**2 / 3) / 2, 0])
    np.testing.assert_allclose(term(context), expected, rtol=1e-4)
    assert term.weight == 2.0


def test_lips_must_move_in_an_emotion_as_in_a_neutral_face():
    """Farther apart throughout costs nothing, another motion does."""
    task = MotionTask(dataclasses.replace(CONFIG, articulation_weight=2.0))
    batch = _batch(task)
    draw = np.random.default_rng(5)
    neutral = draw.normal(0, 0.02, (3, 3, 68, 2)).astype(np.float32)
    scheme = get_scheme("ibug68")
    above, below = (
        [scheme.position(mesh) for mesh in places] for places in ((81, 13, 311), (178, 14, 402))
    )
    (objective,) = task.objectives
    (term,) = (term for term in objective.terms if term.name == "articulation")

    def value(drawn):
        made = {"offsets": neutral, "drawn": drawn, "neutral": neutral}
        return term(LossContext(made, batch, apply={}, frozen={}, step=jnp.zeros(())))

    wider = neutral.copy()
    wider[:, :, below, 1] += 0.1
    assert value(wider) < 1e-12
    other = draw.normal(0, 0.02, (3, 3, 68, 2)).astype(np.float32)
    gaps = [item[:, :, below, 1] - item[:, :, above, 1] for item in (other, neutral)]
    change = np.diff(gaps[0], axis=1) - np.diff(gaps[1], axis=1)
    np.testing.assert_allclose(value(other), np.square(change).mean(), rtol=1e-4)


def test_other_emotions_are_asked_of_the_same_speech():
    task = MotionTask(dataclasses.replace(CONFIG, closure_weight=1.0))
    batch = {name: jnp.asarray(leaf) for name, leaf in _batch(task).items()}
    variables = task.init(jax.random.key(0), batch)

    def forward(batch, seed=0, train=True):
        return task.forward(variables, {}, batch, jax.random.key(seed), step=0, train=train)[0]

    made, again = (forward(batch, seed) for seed in (0, 1))
    np.testing.assert_array_equal(made["offsets"], again["offsets"])
    np.testing.assert_array_equal(made["neutral"], again["neutral"])
    assert np.abs(made["drawn"] - again["drawn"]).max() > 0
    calm = {**batch, "emotion": jnp.zeros_like(batch["emotion"])}
    np.testing.assert_allclose(forward(calm)["offsets"], made["neutral"], atol=1e-6)
    plain = forward(batch, train=False)
    assert set(plain) == {"offsets"}
    np.testing.assert_allclose(plain["offsets"], made["offsets"], atol=1e-6)


def test_the_paper_has_one_frame_one_term_and_neutral_faces():
    experiment = api.load_experiment("configs/sinha2022/motion.py:paper")
    task = MotionTask(experiment.task)
    (objective,) = task.objectives
    assert [term.name for term in objective.terms] == ["position"]
    assert task.view.window == 1 and task.view.neutral_share == 1
    assert not experiment.task.net.face_emotion


def test_what_is_heard_is_normalised_by_the_samples():
    task = MotionTask(CONFIG)
    draw = np.random.default_rng(0)
    shape = (3, CONFIG.rows, content.SIZES["ctc29"])
    samples = [{"content": draw.normal(2, 3, shape).astype(np.float32)} for _ in range(20)]
    found = task.fitted(lambda: samples)["motion"]["constants"]
    every = np.concatenate([sample["content"].reshape(-1, shape[-1]) for sample in samples])
    np.testing.assert_allclose(found["feature_mean"], every.mean(0), rtol=1e-4)
    np.testing.assert_allclose(found["feature_deviation"], every.std(0), rtol=1e-4)


def test_metrics_are_distances_of_the_samples_that_count():
    task = MotionTask(CONFIG)
    batch, other = _batch(task), _batch(task, seed=1)["offsets"]
    batch["mask"][1] = 0
    found = task.metrics({"offsets": jnp.asarray(other)}, batch, {})
    error = np.linalg.norm(other - batch["offsets"], axis=-1)[[0, 2]]
    np.testing.assert_allclose(found["lip_distance"].compute(), error[..., LIPS].mean(), rtol=1e-5)
    np.testing.assert_allclose(found["face_distance"].compute(), error.mean(), rtol=1e-5)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"window": 1}, "velocity_weight"),
        ({"window": 1, "velocity_weight": 0.0, "articulation_weight": 1.0}, "articulation_w"),
        ({"neutral_share": 0.8, "other_share": 0.3}, "more"),
    ],
)
def test_fields_that_contradict_each_other(fields, named):
    with pytest.raises(ConfigError, match=named):
        MotionTask(dataclasses.replace(CONFIG, **fields))


def test_base_at_full_size():
    """Shapes and the count of parameters, by shapes alone."""
    experiment = api.load_experiment("configs/sinha2022/motion.py:base")
    task = MotionTask(experiment.task)
    batch = task.view.spec(experiment.data.batch_size)
    variables = jax.eval_shape(task.init, jax.random.key(0), batch)
    count = sum(leaf.size for leaf in jax.tree.leaves(variables["motion"]["params"]))
    assert count == 966_908
    made, _ = jax.eval_shape(
        lambda v, b: task.forward(v, {}, b, jax.random.key(0), step=0, train=False),
        variables,
        batch,
    )
    assert made["offsets"].shape == (256, 5, 68, 2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("stage", ["motion", "blink"])
def test_a_step_of_the_full_size(stage):
    """One real update of `base` at its own batch size: every leaf moves, and the loss falls."""
    experiment = api.load_experiment(f"configs/sinha2022/{stage}.py:base")
    task = registry.build_task("sinha2022", stage, experiment.task)
    draw = np.random.default_rng(0)
    spec = task.view.spec(experiment.data.batch_size)
    batch = {key: draw.uniform(0, 0.5, leaf.shape).astype(leaf.dtype) for key, leaf in spec.items()}
    transforms = {player: optax.adam(1e-3) for player in task.nets}
    state = create_state(task, transforms, seed=1, batch=batch, ema_players=())
    step = jax.jit(make_train_step(task, transforms, task.objectives))
    new, first = step(state, {}, batch)
    for _ in range(3):
        new, last = step(new, {}, batch)
    assert all(np.isfinite(value) for value in first.values())
    (player,) = task.nets
    before, after = (leaf_names(item.nets[player].params) for item in (state, new))
    assert not [name for name in before if np.array_equal(before[name], after[name])]
    assert last[f"loss/{player}/total"] < first[f"loss/{player}/total"]
