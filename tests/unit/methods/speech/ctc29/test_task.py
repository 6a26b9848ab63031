"""The recogniser as a stage: it learns a sentence, and its metrics tell errors."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from talkface_jax.data.dataset import SegmentReader
from talkface_jax.features import alphabet
from talkface_jax.methods.speech.ctc29.config import Ctc29Config, SoundConfig
from talkface_jax.methods.speech.ctc29.task import Ctc29Task
from talkface_jax.models.frozen.ctc import CtcConfig
from talkface_jax.task import LossContext

QUIET = SoundConfig(resample=0, gain=0, noise=0, echo=0, dull=0, masks=0)
NET = CtcConfig(bands=8, channels=8, dilations=(1,))


def test_task_learns_one_sentence(spoken):
    """A few steps of plain Adam on one sample bring the loss far down."""
    task = Ctc29Task(Ctc29Config(net=NET, sound=QUIET, most_characters=20))
    one = task.view.sample(SegmentReader.of(spoken), 0, np.random.default_rng(0), train=False)
    batch = {key: jnp.asarray(item)[None] for key, item in one.items()}
    variables = task.init(jax.random.key(0), batch)
    optimiser = optax.adam(0.02)
    (objective,) = task.objectives

    def loss(params):
        outputs, _ = task.forward({"ctc": params}, {}, batch, jax.random.key(1), step=0, train=True)
        context = LossContext(outputs, batch, {}, {}, jnp.zeros((), jnp.int32))
        return sum(term(context) for term in objective.terms)

    @jax.jit
    def update(params, state):
        value, slope = jax.value_and_grad(loss)(params)
        change, state = optimiser.update(slope, state)
        return optax.apply_updates(params, change), state, value

    params, state = variables["ctc"], optimiser.init(variables["ctc"])
    values = []
    for _ in range(25):
        params, state, value = update(params, state)
        values.append(float(value))
    assert values[-1] < 0.3 * values[0]


def test_metrics_are_the_error_rate_and_the_loss_of_true_samples(spoken):
    task = Ctc29Task(Ctc29Config(net=NET, most_characters=20))
    one = task.view.sample(SegmentReader.of(spoken), 0, np.random.default_rng(0), train=False)
    batch = {key: jnp.asarray(np.stack([item, item])) for key, item in one.items()}
    batch["mask"] = jnp.asarray([1.0, 0.0])
    said = np.full((250, 29), -5.0, np.float32)
    said[:, alphabet.BLANK] = 0
    for place, number in enumerate(alphabet.encode(spoken.info.text)[:-4]):
        said[5 * place, number] = 5
    outputs = {"logits": jnp.asarray(np.stack([said, said * 0]))}
    rates = {name: metric.compute() for name, metric in task.metrics(outputs, batch, {}).items()}
    assert rates["cer"] == pytest.approx(4 / 16)
    assert rates["ctc"] > 0
