import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.models.counts import count_params
from talkface_jax.models.render.reference_warping import ReferenceWarping, ReferenceWarpingConfig

PLAIN = ReferenceWarpingConfig(
    size=32,
    channels=4,
    deep=8,
    kernel=3,
    sketch_channels=1,
    spade_hidden=4,
    weight_hidden=4,
    audio_width=8,
    audio_hidden=4,
    mel_channels=(2, 2, 2, 2),
)


def inputs(config, batch=2, references=3):
    rng = np.random.default_rng(0)
    size = config.size

    def array(*shape):
        return jnp.asarray(rng.uniform(size=shape), jnp.float32)

    face = array(batch, size, size, 3).at[:, size // 2 :].set(0)
    args = (
        face,
        array(batch, 5, size, size, 3),
        array(batch, references, size, size, 3),
        array(batch, references, size, size, 3),
        array(batch, 80, 16),
    )
    return args


def fill(config, seed=0):
    """Variables by NumPy, for a jitted init costs seconds."""
    rng = np.random.default_rng(seed)
    args = inputs(config)
    tree = jax.eval_shape(lambda: ReferenceWarping(config).init(jax.random.key(0), *args))
    tree = jax.tree.map(lambda x: jnp.asarray(0.2 * rng.normal(size=x.shape), jnp.float32), tree)
    tree["batch_stats"] = jax.tree.map(lambda x: jnp.abs(x) + 0.5, tree["batch_stats"])
    return tree


@pytest.fixture(scope="module")
def plain():
    return jax.jit(ReferenceWarping(PLAIN).apply), fill(PLAIN)


def test_published_network_has_the_published_size():
    config = ReferenceWarpingConfig()
    args = inputs(dataclasses.replace(config, size=32))
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), args)
    net = ReferenceWarping(config)
    assert count_params(net, *shapes) == 18_963_235
    tree = jax.eval_shape(net.init, jax.random.key(0), *shapes)["params"]
    sizes = {half: sum(int(np.prod(x.shape)) for x in jax.tree.leaves(tree[half])) for half in tree}
    assert sizes == {"alignment": 8_146_019, "translation": 10_817_216}


def test_references_are_a_set(plain):
    """Their order does not matter, and a doubled set gives the same average."""
    apply, filled = plain
    args = inputs(PLAIN)
    face, sketches, images, drawn, mel = args
    base = apply(filled, *args)
    turned = apply(filled, face, sketches, images[:, ::-1], drawn[:, ::-1], mel)
    np.testing.assert_allclose(turned.image, base.image, atol=1e-4)
    np.testing.assert_allclose(turned.aligned.flow[:, ::-1], base.aligned.flow, atol=1e-3)


@pytest.mark.slow
def test_clip_work_done_once_equals_the_whole(plain):
    """Encoding one frame's references and sharing them over the batch changes nothing."""
    apply, filled = plain
    face, sketches, images, drawn, mel = inputs(PLAIN)
    shared = [jnp.broadcast_to(x[:1], x.shape) for x in (images, drawn)]
    whole = apply(filled, face, sketches, *shared, mel)
    net = ReferenceWarping(PLAIN)
    features = net.apply(filled, images[:1], drawn[:1], method="encode_references")
    features = jax.tree.map(lambda x: jnp.broadcast_to(x, (2, *x.shape[1:])), features)
    aligned = net.apply(filled, features, sketches, method="align")
    image = net.apply(filled, face, sketches, aligned, mel, method="translate")
    np.testing.assert_allclose(image, whole.image, atol=1e-4)


def test_average_is_weighted_over_references(plain):
    apply, filled = plain
    args = inputs(PLAIN)
    aligned = apply(filled, *args).aligned
    from talkface_jax.models.warp import warp

    moved = [warp(args[2][:, r], aligned.flow[:, r], grid="released") for r in range(3)]
    weight = np.asarray(aligned.weight)
    assert (weight > 0).all() and (weight < 1).all()
    expected = sum(weight[:, r] * moved[r] for r in range(3)) / (weight.sum(1) + 1e-5)
    np.testing.assert_allclose(aligned.image, expected, atol=1e-4)


def test_every_parameter_gets_a_gradient():
    net, args, filled = ReferenceWarping(PLAIN), inputs(PLAIN), fill(PLAIN)

    @jax.jit
    def slope(params):
        def loss(params):
            out, _ = net.apply(
                {**filled, "params": params}, *args, train=True, mutable=["batch_stats"]
            )
            return jnp.square(out.image - 0.3).mean() + jnp.square(out.aligned.image).mean()

        return jax.grad(loss)(params)

    slopes = slope(filled["params"])
    for path, leaf in jax.tree_util.tree_leaves_with_path(slopes):
        assert np.isfinite(leaf).all(), path
        # A bias before a normalisation cannot have one.
        if "kernel" in jax.tree_util.keystr(path):
            assert float(jnp.abs(leaf).max()) > 0, path
