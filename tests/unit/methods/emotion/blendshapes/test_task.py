"""The reader as a stage: losses and metrics beside NumPy, and that it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from talkface_jax.data.dataset import SegmentReader
from talkface_jax.errors import ConfigError
from talkface_jax.features import emotion
from talkface_jax.methods.emotion.blendshapes.config import EmotionTaskConfig
from talkface_jax.methods.emotion.blendshapes.task import EmotionTask, cross_entropy
from talkface_jax.models.frozen.emotion import EmotionConfig
from talkface_jax.task import LossContext

NEUTRAL = emotion.NEUTRAL


def losses(task, outputs, batch):
    context = LossContext(outputs, batch, {}, {}, jnp.zeros((), jnp.int32))
    (objective,) = task.objectives
    return {term.name: float(term(context)) for term in objective.terms}


def test_losses_beside_numpy():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 8))
    label = np.array([1, NEUTRAL, 6])
    log_likely = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    target = np.full((3, 8), 0.1 / 8)
    target[np.arange(3), label] += 0.9
    entropy = -(target * log_likely).sum(-1)
    np.testing.assert_allclose(
        cross_entropy(jnp.asarray(logits), jnp.asarray(label), smoothing=0.1), entropy, atol=1e-5
    )
    task = EmotionTask(EmotionTaskConfig(neutral_weight=0.25, smoothing=0.1))
    read, true = np.array([0.5, 0.2, 0.9]), np.array([1 / 3, 0.0, 1.0])
    found = losses(
        task,
        {"logits": jnp.asarray(logits), "intensity": jnp.asarray(read)},
        {"emotion": jnp.asarray(label), "intensity": jnp.asarray(true)},
    )
    weights = np.array([1, 0.25, 1])
    assert found["cross_entropy"] == pytest.approx((weights * entropy).mean(), rel=1e-5)
    assert found["intensity"] == pytest.approx((weights * (read - true) ** 2).mean(), rel=1e-5)


def test_metrics_leave_out_padding():
    task = EmotionTask(EmotionTaskConfig())
    label = jnp.array([0, 0, NEUTRAL, 3])
    outputs = {
        "logits": jax.nn.one_hot(jnp.array([0, 1, NEUTRAL, 7]), 8) * 5,
        "intensity": jnp.array([0.5, 0.5, 0.9, 7.0]),
    }
    batch = {
        "emotion": label,
        "intensity": jnp.array([1.0, 0.4, 0.0, 1.0]),
        "mask": jnp.array([1.0, 1.0, 1.0, 0.0]),
    }
    found = {name: item.compute() for name, item in task.metrics(outputs, batch, {}).items()}
    assert found["accuracy"] == pytest.approx((0.5 + 1) / 2)
    assert found["intensity_error"] == pytest.approx((0.5 + 0.1 + 0.9) / 3, rel=1e-5)
    ours = cross_entropy(outputs["logits"], label)[:3].mean()
    assert found["cross_entropy"] == pytest.approx(float(ours), rel=1e-5)


def test_constants_are_those_of_the_samples():
    rng = np.random.default_rng(0)
    samples = [{"statistics": row} for row in rng.normal(2, 3, (50, 43)).astype(np.float32)]
    for sample in samples:
        sample["statistics"][5] = 1.0
    fitted = EmotionTask(EmotionTaskConfig()).fitted(lambda: samples)["emotion"]["constants"]
    rows = np.stack([sample["statistics"] for sample in samples])
    np.testing.assert_allclose(fitted["mean"], rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(fitted["deviation"][6:], rows.std(0)[6:], rtol=1e-4)
    assert fitted["deviation"][5] == np.float32(0.01)


def test_it_learns_to_tell_two_faces_apart(shown):
    task = EmotionTask(EmotionTaskConfig(net=EmotionConfig(hidden=(8,), dropout=0.0)))
    readers = [
        SegmentReader.of(shown(emotion=kind, level=3, seed=seed))
        for seed, kind in ((1, 2), (2, 7), (3, NEUTRAL))
    ]
    rng = np.random.default_rng(0)
    drawn = [task.view.sample(reader, 0, rng, train=True) for reader in readers * 8]
    batch = {key: jnp.asarray(np.stack([item[key] for item in drawn])) for key in drawn[0]}
    variables = task.init(jax.random.key(0), batch)["emotion"]
    optimiser = optax.adam(0.02)

    def loss(params):
        given = {"emotion": {**variables, "params": params}}
        outputs, _ = task.forward(given, {}, batch, jax.random.key(1), step=0, train=True)
        context = LossContext(outputs, batch, {}, {}, jnp.zeros((), jnp.int32))
        return sum(term(context) for term in task.objectives[0].terms), outputs

    @jax.jit
    def update(params, state):
        slope, _ = jax.grad(loss, has_aux=True)(params)
        change, state = optimiser.update(slope, state)
        return optax.apply_updates(params, change), state

    params = variables["params"]
    state = optimiser.init(params)
    for _ in range(80):
        params, state = update(params, state)
    outputs = loss(params)[1]
    np.testing.assert_array_equal(outputs["logits"].argmax(-1), batch["emotion"])
    np.testing.assert_allclose(outputs["intensity"], batch["intensity"], atol=0.35)


@pytest.mark.parametrize(("field", "value"), [("features", 42), ("classes", 7)])
def test_a_network_of_another_size_is_refused(field, value):
    with pytest.raises(ConfigError, match=rf"{field} is {value}, but there are (43|8); set"):
        EmotionTask(EmotionTaskConfig(net=EmotionConfig(**{field: value})))
