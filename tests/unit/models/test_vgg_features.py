import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.models.frozen.vgg import Vgg, VggConfig, normalise

TINY = VggConfig(stages=(1, 2), channels=(2, 3))


def test_only_the_layers_asked_for_are_computed():
    image = jnp.zeros((1, 8, 8, 3))
    deep = jax.eval_shape(Vgg(TINY, ("pool2",)).init, jax.random.key(0), image)["params"]
    assert set(deep) == {"conv1_1", "conv2_1", "conv2_2"}
    shallow = Vgg(TINY, ("relu1_1", "relu2_1"))
    params = jax.eval_shape(shallow.init, jax.random.key(0), image)["params"]
    assert set(params) == {"conv1_1", "conv2_1"}
    filled = jax.tree.map(lambda x: jnp.ones(x.shape), deep)
    assert [x.shape for x in shallow.apply({"params": filled}, image).values()] == [
        (1, 8, 8, 2),
        (1, 4, 4, 3),
    ]


def test_unknown_layer_is_refused():
    with pytest.raises(ValueError, match="relu9_1"):
        Vgg(TINY, ("relu9_1",)).init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))


def test_normalisers():
    image = jnp.asarray([[[[0.485, 0.456, 0.406]]]])
    np.testing.assert_allclose(normalise(image, pixels="imagenet"), 0, atol=1e-6)
    released = ((np.array([0.406, 0.456, 0.485]) + 1) / 2 - [0.485, 0.456, 0.406]) / [
        0.229,
        0.224,
        0.225,
    ]
    np.testing.assert_allclose(normalise(image, pixels="released")[0, 0, 0], released, atol=1e-6)
