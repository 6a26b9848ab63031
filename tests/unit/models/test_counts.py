import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.models.counts import count_flops, count_params


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.BatchNorm(use_running_average=True)(nn.Conv(8, (3, 3), strides=2)(x))
        return nn.Dense(5)(x.mean((1, 2)))


def test_params_leave_statistics_out():
    image = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
    assert count_params(Net(), image) == 3 * 3 * 3 * 8 + 8 + 2 * 8 + 8 * 5 + 5


def test_flops_by_hand():
    net, image = Net(), jax.ShapeDtypeStruct((2, 16, 16, 3), jnp.float32)
    variables = jax.eval_shape(net.init, jax.random.key(0), image)
    convolution, dense = 2 * (2 * 8 * 8 * 8) * 27, 2 * (2 * 5) * 8
    assert count_flops(net.apply, variables, image) == convolution + dense


def test_gradient_of_a_product_costs_two_more():
    a, b = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((4, 6), (6, 8)))
    once = count_flops(jnp.matmul, a, b)
    assert once == 2 * 4 * 6 * 8
    both = jax.value_and_grad(lambda a, b: (a @ b).sum(), argnums=(0, 1))
    assert count_flops(both, a, b) == 3 * once


def test_gradient_of_a_strided_convolution_costs_two_more():
    image = jax.ShapeDtypeStruct((2, 16, 16, 3), jnp.float32)
    layer = nn.Conv(8, (2, 2), strides=2)
    variables = jax.eval_shape(layer.init, jax.random.key(0), image)
    once = count_flops(layer.apply, variables, image)
    both = jax.value_and_grad(lambda v, x: layer.apply(v, x).sum(), argnums=(0, 1))
    assert count_flops(both, variables, image) == 3 * once


def test_scan_counts_every_iteration():
    a = jax.ShapeDtypeStruct((4, 4), jnp.float32)

    def repeat(a):
        return jax.lax.scan(lambda carry, _: (carry @ a, None), a, length=7)[0]

    assert count_flops(jax.jit(repeat), a) == 7 * 2 * 4**3
