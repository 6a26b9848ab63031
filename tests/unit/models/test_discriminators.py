import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.models.counts import count_params
from talkface_jax.models.discriminators import (
    MultiscaleDiscriminator,
    MultiscaleDiscriminatorConfig,
    shrink,
)


def test_published_size():
    image = jax.ShapeDtypeStruct((1, 128, 128, 3), jnp.float32)
    assert count_params(MultiscaleDiscriminator(), image) == 5_529_474


def test_shapes_of_all_features():
    config = MultiscaleDiscriminatorConfig(channels=4)
    image = jax.ShapeDtypeStruct((2, 128, 128, 3), jnp.float32)
    net = MultiscaleDiscriminator(config)
    out = jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x)[0], image)
    assert [[x.shape for x in scale] for scale in out] == [
        [(2, 65, 65, 4), (2, 33, 33, 8), (2, 17, 17, 16), (2, 18, 18, 32), (2, 19, 19, 1)],
        [(2, 33, 33, 4), (2, 17, 17, 8), (2, 9, 9, 16), (2, 10, 10, 32), (2, 11, 11, 1)],
    ]


def test_shrink_leaves_the_padding_out():
    np.testing.assert_allclose(shrink(jnp.ones((1, 6, 6, 2))), 1.0, atol=1e-6)
    x = jnp.arange(36.0).reshape(1, 6, 6, 1)
    assert float(shrink(x)[0, 1, 1, 0]) == float(x[0, 1:4, 1:4].mean())
    assert float(shrink(x)[0, 0, 0, 0]) == float(x[0, :2, :2].mean())
