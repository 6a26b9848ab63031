import jax.numpy as jnp
import numpy as np

from talkface_jax.losses import attention


def test_mean_is_per_item():
    x = np.random.default_rng(0).random((3, 4, 5, 1))
    np.testing.assert_allclose(
        attention.mean_attention(jnp.asarray(x)), x.mean((1, 2, 3)), rtol=1e-5
    )
