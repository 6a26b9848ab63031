import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.losses.terms import LossTerm, masked_mean, ramp
from talkface_jax.task import LossContext, Term


def context(**batch):
    batch = {key: jnp.asarray(value) for key, value in batch.items()}
    return LossContext(outputs={}, batch=batch, apply={}, frozen={}, step=jnp.asarray(0))


def test_a_term_is_the_mean_of_its_items():
    term: Term = LossTerm("x", lambda context: context.batch["values"], 2.5)
    assert float(term(context(values=[1.0, 2.0, 6.0]))) == 3.0
    assert term.weight_at(jnp.asarray(7)) == 2.5


def test_masked_items_do_not_count_even_where_they_are_nan():
    term = LossTerm("x", lambda context: context.batch["values"], mask="mask")
    given = context(values=[1.0, np.nan, 3.0], mask=[1.0, 0.0, 1.0])
    assert float(term(given)) == 2.0
    assert float(masked_mean(jnp.asarray([5.0, 6.0]), jnp.zeros(2))) == 0.0


def test_a_scalar_cannot_be_masked():
    term = LossTerm("x", lambda context: context.batch["values"].mean(), mask="mask")
    with pytest.raises(ValueError, match="loss x"):
        term(context(values=[1.0, 2.0], mask=[1.0, 1.0]))


def test_ramp():
    term = LossTerm("x", lambda context: jnp.zeros(()), ramp(4.0, start=10, stop=20))
    weights = [float(term.weight_at(jnp.asarray(step))) for step in (0, 10, 15, 20, 99)]
    assert weights == [0.0, 0.0, 2.0, 4.0, 4.0]
