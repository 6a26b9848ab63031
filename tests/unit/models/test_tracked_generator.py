"""The latent-keypoint generator on tracked keypoints: a corrected warp, unmoved at the start."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from talkface_jax.models.counts import count_params
from talkface_jax.models.render.latent_keypoints.appearance import AppearanceConfig
from talkface_jax.models.render.latent_keypoints.dense_motion import (
    RATE,
    DenseMotion,
    DenseMotionConfig,
)
from talkface_jax.models.render.latent_keypoints.generator import (
    LatentGenerator,
    LatentGeneratorConfig,
)
from talkface_jax.models.render.latent_keypoints.spade_decoder import (
    SpadeDecoder,
    SpadeDecoderConfig,
)
from talkface_jax.models.render.latent_keypoints.tracked import tracked_flow
from talkface_jax.models.render.latent_keypoints.warping import WarpingConfig
from talkface_jax.models.render.point_flow import PointFlowConfig
from talkface_jax.models.volume_warp import corner_grid
from talkface_jax.models.warp import warp_by_grid
from tests.helpers.filling import filled

SIZE, DEPTH = 64, 2
QUARTER = SIZE // 4
MOTION = DenseMotionConfig(
    keypoints=78,
    compress=2,
    channels=4,
    most=8,
    levels=1,
    kernel=3,
    base="tracked",
    kernels=PointFlowConfig(sigmas=(0.1, 0.03, 0.01)),
)
DECODER = SpadeDecoderConfig(width=6, blocks=0, last=5, hidden=4, paint="correction")
TRACKED = LatentGeneratorConfig(
    appearance=AppearanceConfig(channels=4, volume_channels=3, depth=DEPTH, blocks=0),
    warping=WarpingConfig(motion=MOTION, width=6),
    decoder=DECODER,
)
NET = LatentGenerator(TRACKED)
SHARE = "warping/dense_motion/share"
MASK_BIAS = "warping/dense_motion/mask/bias"


@pytest.fixture(scope="module")
def given(tracked):
    """A smooth picture, and two poses of a face."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    image = np.stack([0.5 + 0.3 * np.sin(5 * x), 0.5 + 0.3 * np.cos(4 * y), 0.3 + 0.4 * x * y], -1)
    driving = tracked(lips=0.08, look=(0.01, 0)) + np.array([0.06, -0.04, 0], np.float32)
    return tuple(jnp.asarray(x, jnp.float32) for x in (image[None], driving, tracked(lips=0.03)))


@pytest.fixture(scope="module")
def apply():
    return jax.jit(NET.apply)


@pytest.fixture(scope="module")
def fresh(given):
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in given]
    return jax.jit(lambda key: NET.lazy_init(key, *shapes))(jax.random.key(0))


def changed(variables, **leaves):
    """Variables with some parameters replaced, by path; `__` stands for `/`."""
    flat = traverse_util.flatten_dict(variables["params"], sep="/")
    for path, change in leaves.items():
        path = path.replace("__", "/")
        assert path in flat, path
        flat[path] = change(flat[path])
    return {**variables, "params": traverse_util.unflatten_dict(flat, sep="/")}


def holding(variables, share):
    """Variables by which the background's mask is 1 everywhere, with a share of the flow."""
    return changed(
        variables,
        **{
            SHARE: lambda leaf: jnp.full_like(leaf, share / RATE),
            MASK_BIAS: lambda leaf: leaf.at[0].add(100.0),
        },
    )


def flow_between(driving, source, size):
    return tracked_flow(driving, source, size=size, config=MOTION.kernels)


def test_a_fresh_network_shows_the_picture_unmoved(given, fresh, apply):
    out = apply(fresh, *given)
    assert out.image.shape == out.moved.shape == (1, SIZE, SIZE, 3)
    assert out.image.dtype == jnp.float32
    assert np.abs(out.moved - given[0]).max() < 0.03
    assert np.abs(out.moved - given[0]).mean() < 0.01
    assert np.abs(out.image - given[0]).mean() < 0.015
    assert float(out.motion.share) == 0
    # There was something to move by.
    assert np.abs(flow_between(*given[1:], SIZE)).max() > 0.06


def test_the_share_of_a_fresh_network_is_learned(given, fresh):
    """The picture that the flow would give pulls at it."""
    aim = apply_flow(given[0], flow_between(*given[1:], SIZE))

    def loss(share):
        moved = changed(fresh, **{SHARE: lambda leaf: jnp.full_like(leaf, share)})
        return jnp.mean(jnp.square(NET.apply(moved, *given).moved - aim))

    value, slope = jax.jit(jax.value_and_grad(loss))(0.0)
    assert float(value) > 0 and float(slope) < 0


def apply_flow(image, flow):
    """Backward warping by a flow in positions, the border repeated."""
    base = (2 * np.arange(SIZE) + 1) / SIZE - 1
    grid = np.stack(np.meshgrid(base, base), -1) + np.asarray(flow)
    most = 1 - 1 / SIZE
    return warp_by_grid(image, jnp.asarray(np.clip(grid, -most, most), jnp.float32))


def test_the_whole_share_is_the_flow_alone_where_the_masks_hold(given, fresh, apply):
    out = apply(holding(fresh, 1.0), *given)
    np.testing.assert_allclose(out.motion.mask[..., 0], 1, atol=5e-4)
    own = np.asarray(out.motion.deformation) - corner_grid((DEPTH, QUARTER, QUARTER))
    coarse = np.asarray(flow_between(*given[1:], QUARTER))[:, None]
    np.testing.assert_allclose(own[..., :2], np.repeat(coarse, DEPTH, 1), atol=2e-4)
    np.testing.assert_allclose(own[..., 2], 0, atol=2e-4)
    expected = apply_flow(given[0], flow_between(*given[1:], SIZE))
    assert np.abs(expected - given[0]).max() > 0.03
    np.testing.assert_allclose(out.moved, expected, atol=0.02)
    assert np.abs(out.moved - expected).mean() < 0.1 * np.abs(expected - given[0]).mean()
    half = apply(holding(fresh, 0.5), *given).motion.deformation
    np.testing.assert_allclose(half - corner_grid((DEPTH, QUARTER, QUARTER)), own / 2, atol=2e-4)


def test_the_image_is_the_moved_picture_corrected(given, apply):
    variables = changed(filled(NET, *given), **{SHARE: lambda leaf: jnp.full_like(leaf, 1 / RATE)})
    out = apply(variables, *given)
    assert float(out.image.min()) == 0 and float(out.image.max()) == 1, "clipped"
    inner = (out.image > 0) & (out.image < 1)
    assert 0.05 < inner.mean() < 1
    assert np.abs(out.image - out.moved).max() > 0.1


@pytest.mark.parametrize("held", [0.0, 0.25, 1.0])
def test_the_flow_over_pixels_takes_the_fine_base_in_place_of_the_coarse_one(held):
    """Of a shift that is one everywhere and of a base that changes from pixel to pixel."""
    rng, share, shift = np.random.default_rng(0), 0.7, np.array([0.1, -0.2, 0.3])
    base = rng.normal(scale=0.1, size=(2, 16, 16, 2))
    coarse = base.reshape(2, 4, 4, 4, 4, 2).mean((2, 4))
    by_base = np.pad(held * share * coarse, ((0, 0),) * 3 + ((0, 1),))[:, None]
    # Of each depth another shift; what is seen from the front is their mean.
    own = (1 - held) * shift * np.array([0.5, 1, 1.5])[None, :, None, None, None]
    mask = np.zeros((2, 3, 4, 4, 3))
    mask[..., 0], mask[..., 2] = held, 1 - held
    motion = DenseMotion(
        deformation=jnp.asarray(corner_grid((3, 4, 4)) + own + by_base, jnp.float32),
        mask=jnp.asarray(mask, jnp.float32),
        occlusion=jnp.ones((2, 4, 4, 1)),
        share=jnp.asarray(share, jnp.float32),
    )
    found = motion.flow(jnp.asarray(base, jnp.float32))
    expected = (1 - held) * shift[:2] + held * share * base
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_every_guide_modulates_the_decoder():
    decoder, rng = SpadeDecoder(DECODER), np.random.default_rng(1)
    features = jnp.asarray(rng.normal(size=(1, 4, 4, 6)), jnp.float32)
    guides = [jnp.asarray(rng.normal(size=(1, n, n, 2)), jnp.float32) for n in (4, 8, 16)]
    variables, apply = filled(decoder, features, guides), jax.jit(decoder.apply)
    plain = apply(variables, features, guides)
    assert plain.shape == (1, 16, 16, 3)
    assert float(plain.min()) < 0, "a correction takes away, too"
    for index in range(3):
        others = [x + 0.5 if index == place else x for place, x in enumerate(guides)]
        assert np.abs(apply(variables, features, others) - plain).max() > 1e-3, index


def test_the_lines_of_the_face_guide_the_correction(given, apply):
    """A picture of one colour, hidden features: nothing else can make a difference."""
    variables = changed(
        filled(NET, *given),
        warping__dense_motion__occlusion__bias=lambda leaf: leaf - 1e3,
        decoder__colour__kernel=lambda leaf: 0.05 * leaf,
        decoder__colour__bias=jnp.zeros_like,
    )
    grey = jnp.full_like(given[0], 0.5)
    one, other = (apply(variables, grey, driving, given[2]) for driving in given[1:])
    np.testing.assert_allclose(one.moved, 0.5, atol=1e-5)
    np.testing.assert_allclose(other.moved, 0.5, atol=1e-5)
    assert np.abs(one.image - other.image).max() > 0.01


def test_what_is_ours_adds_a_share_and_the_guides_channels(given):
    published = dataclasses.replace(
        TRACKED,
        warping=WarpingConfig(motion=dataclasses.replace(MOTION, base="nothing"), width=6),
        decoder=dataclasses.replace(DECODER, paint="absolute"),
    )
    # Three colours and nine maps, through 3x3 kernels, to the modulations of six layers and to the
    # first convolution.
    more = 1 + 9 * (3 + 9) * (6 * DECODER.hidden + 2 * DECODER.width)
    plain = LatentGenerator(published)
    assert count_params(NET, *given) == count_params(plain, *given) + more
    out = jax.eval_shape(lambda *x: plain.init_with_output(jax.random.key(0), *x)[0], *given)
    assert out.moved is None and out.motion.share is None
