"""Networks of the latent-keypoint generators: published sizes, shapes, gradients, conventions."""

import re

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from scipy.spatial.transform import Rotation

from talkface_jax.models.convnext import ConvNextConfig
from talkface_jax.models.counts import count_params
from talkface_jax.models.render.latent_keypoints import placement
from talkface_jax.models.render.latent_keypoints.appearance import Appearance, AppearanceConfig
from talkface_jax.models.render.latent_keypoints.dense_motion import (
    DenseMotionConfig,
    keypoint_heatmaps,
)
from talkface_jax.models.render.latent_keypoints.generator import (
    LIVEPORTRAIT,
    LatentGenerator,
    LatentGeneratorConfig,
)
from talkface_jax.models.render.latent_keypoints.head_pose import HeadPose, HeadPoseConfig
from talkface_jax.models.render.latent_keypoints.keypoints import (
    KeypointDetector,
    KeypointDetectorConfig,
    antialias_weights,
    expected_positions,
    shrink_smoothed,
)
from talkface_jax.models.render.latent_keypoints.layers import (
    as_image,
    as_volume,
    halve_planes,
)
from talkface_jax.models.render.latent_keypoints.motion_extractor import (
    MotionExtractor,
    MotionExtractorConfig,
)
from talkface_jax.models.render.latent_keypoints.retargeting import (
    EYES,
    LIPS,
    Retargeting,
    RetargetingConfig,
    stitch,
)
from talkface_jax.models.render.latent_keypoints.spade_decoder import (
    SpadeDecoder,
    SpadeDecoderConfig,
)
from talkface_jax.models.render.latent_keypoints.warping import Warping, WarpingConfig
from talkface_jax.models.volume_convs import double_planes
from talkface_jax.models.volume_warp import axis_grid, corner_grid
from tests.helpers.filling import filled

MOTION = DenseMotionConfig(keypoints=3, compress=2, channels=4, most=8, levels=2, kernel=3)
THIN = LatentGeneratorConfig(
    appearance=AppearanceConfig(channels=4, volume_channels=3, depth=4, blocks=1),
    warping=WarpingConfig(motion=MOTION, width=6),
    decoder=SpadeDecoderConfig(width=6, blocks=1, last=5, hidden=4),
)
DETECTOR = KeypointDetectorConfig(
    keypoints=3, channels=2, most=6, levels=2, volume_channels=5, depth=4
)
POSE = HeadPoseConfig(channels=6, widths=(32, 48), blocks=(1, 1), bins=5, keypoints=3)
BACKBONE = ConvNextConfig(widths=(4, 6), blocks=(1, 2))
EXTRACTOR = MotionExtractorConfig(backbone=BACKBONE, bins=5, keypoints=3)


def shaped(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def points(count):
    return shaped(1, count, 3)


PUBLISHED = [
    (KeypointDetector(), (shaped(1, 256, 256, 3),), 41_940_047),
    (HeadPose(), (shaped(1, 256, 256, 3),), 30_254_838),
    (LatentGenerator(), (shaped(1, 256, 256, 3), points(15), points(15)), 100_988_176),
    (Appearance(LIVEPORTRAIT.appearance), (shaped(1, 256, 256, 3),), 836_224),
    (MotionExtractor(), (shaped(1, 256, 256, 3),), 28_118_728),
    (
        Warping(LIVEPORTRAIT.warping),
        (shaped(1, 16, 64, 64, 32), points(21), points(21)),
        45_529_829,
    ),
    (SpadeDecoder(LIVEPORTRAIT.decoder), (shaped(1, 64, 64, 256),), 55_365_388),
    (Retargeting(), (points(21), points(21)), 45_249),
    (Retargeting(LIPS), (points(21), shaped(1, 2)), 37_311),
    (Retargeting(EYES), (points(21), shaped(1, 3)), 144_703),
]


@pytest.mark.parametrize(
    ("net", "inputs", "count"), PUBLISHED, ids=[f"{item[2]:_}" for item in PUBLISHED]
)
def test_published_sizes(net, inputs, count):
    assert count_params(net, *inputs) == count


@pytest.fixture(scope="module")
def given():
    """A picture, and keypoints of two poses."""
    rng = np.random.default_rng(0)
    image = jnp.asarray(rng.uniform(size=(2, 32, 32, 3)), jnp.float32)
    return image, *(jnp.asarray(rng.uniform(-0.5, 0.5, (2, 3, 3)), jnp.float32) for _ in "ab")


UNSEEN = re.compile(
    # Offsets that instance norms, or the softmax over positions, take away again.
    r"decoder/(first|.*/conv_0|(middle_\d|up_0)/conv_1)/bias|logits/bias"
)
NETS = {
    "detector": (KeypointDetector(DETECTOR), 1),
    "pose": (HeadPose(POSE), 1),
    "extractor": (MotionExtractor(EXTRACTOR), 1),
    "generator": (LatentGenerator(THIN), 3),
    "retargeting": (Retargeting(RetargetingConfig(hidden=(5, 4), keypoints=3)), -2),
}


@pytest.mark.parametrize("name", NETS)
def test_gradients_reach_every_parameter(given, name):
    net, count = NETS[name]
    inputs = given[count:] if count < 0 else given[:count]
    variables, rng = filled(net, *inputs), np.random.default_rng(2)
    outputs = jax.eval_shape(lambda: net.apply(variables, *inputs))
    weights = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), outputs)

    @jax.jit
    @jax.grad
    def gradient(params):
        found = net.apply({**variables, "params": params}, *inputs)
        products = jax.tree.map(lambda x, w: jnp.sum(x * w), found, weights)
        return sum(jax.tree.leaves(products))

    for path, leaf in traverse_util.flatten_dict(gradient(variables["params"]), sep="/").items():
        assert np.isfinite(leaf).all(), path
        if not UNSEEN.fullmatch(path):
            assert np.abs(leaf).max() > 1e-7, path


def test_training_takes_the_statistics_of_the_batch(given):
    net = LatentGenerator(THIN)
    variables = filled(net, *given)
    plain = jax.jit(net.apply)(variables, *given)
    trained, state = jax.jit(
        lambda *inputs: net.apply(*inputs, train=True, mutable=["batch_stats"])
    )(variables, *given)
    assert float(jnp.abs(plain.image - trained.image).max()) > 1e-4
    before, after = (
        traverse_util.flatten_dict(x["batch_stats"], sep="/") for x in (variables, state)
    )
    assert set(before) == set(after) and len(before) > 10
    for path, old in before.items():
        assert float(jnp.abs(old - after[path]).max()) > 0, path


def test_outputs_of_the_generator(given):
    net = LatentGenerator(THIN)
    variables, apply = filled(net, *given), jax.jit(net.apply, static_argnames="method")
    out = apply(variables, *given)
    assert out.image.shape == (2, 32, 32, 3)
    assert float(out.image.min()) > 0 and float(out.image.max()) < 1
    assert out.motion.deformation.shape == (2, 4, 8, 8, 3)
    assert out.motion.occlusion.shape == (2, 8, 8, 1)
    np.testing.assert_allclose(out.motion.mask.sum(-1), 1, atol=1e-5)
    volume = apply(variables, given[0], method="encode")
    again = apply(variables, volume, *given[1:], method="render")
    np.testing.assert_allclose(again.image, out.image, atol=1e-5)
    still = apply(variables, given[0], given[1], given[1])
    np.testing.assert_allclose(still.motion.deformation[0], corner_grid((4, 8, 8)), atol=1e-6)


def test_unfolding_doubles_the_picture():
    net = SpadeDecoder(SpadeDecoderConfig(width=4, blocks=0, last=3, hidden=2, unfold=2))
    out = jax.eval_shape(
        lambda x: net.init_with_output(jax.random.key(0), x)[0], shaped(2, 4, 6, 4)
    )
    assert out.shape == (2, 32, 48, 3)


def test_depth_runs_fastest_in_the_channels():
    x = jnp.arange(2 * 3 * 4.0).reshape(1, 1, 2, 12)
    volume = as_volume(x, 4)
    assert volume.shape == (1, 4, 1, 2, 3)
    assert float(volume[0, 1, 0, 0, 2]) == float(x[0, 0, 0, 2 * 4 + 1])
    np.testing.assert_array_equal(as_image(volume), x)


def test_planes_are_halved_and_doubled_alike_in_images_and_volumes():
    x = jnp.arange(2 * 3 * 4 * 6 * 2.0).reshape(2, 3, 4, 6, 2)
    half, double = halve_planes(x), double_planes(x)
    assert half.shape == (2, 3, 2, 3, 2) and double.shape == (2, 3, 8, 12, 2)
    assert float(half[1, 2, 1, 0, 1]) == float(x[1, 2, 2:4, :2, 1].mean())
    assert float(double[1, 2, 5, 3, 1]) == float(x[1, 2, 2, 1, 1])
    np.testing.assert_array_equal(halve_planes(x[:, 0]), half[:, 0])
    np.testing.assert_array_equal(double_planes(x[:, 0]), double[:, 0])


def test_smoothing_before_the_picture_shrinks():
    weights = antialias_weights(4)
    assert weights.shape == (13,) and weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(weights, weights[::-1])
    assert weights[7] / weights[6] == pytest.approx(np.exp(-1 / (2 * 1.5**2)), rel=1e-5)
    image = np.random.default_rng(3).uniform(size=(1, 32, 24, 2)).astype(np.float32)
    found = shrink_smoothed(jnp.asarray(image), 4)
    padded = np.pad(image, ((0, 0), (6, 6), (6, 6), (0, 0)))
    window = padded[0, 8 : 8 + 13, 4 : 4 + 13]
    expected = np.einsum("ijc,i,j->c", window, weights, weights)
    assert found.shape == (1, 8, 6, 2)
    np.testing.assert_allclose(found[0, 2, 1], expected, atol=1e-6)


def test_positions_are_the_mean_of_the_softmax():
    logits = np.random.default_rng(4).normal(size=(2, 3, 4, 5, 2))
    share = np.exp(logits) / np.exp(logits).sum((1, 2, 3), keepdims=True)
    expected = np.einsum("bdhwk,dhwc->bkc", share, corner_grid((3, 4, 5)))
    found = expected_positions(jnp.asarray(logits, jnp.float32))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    peak = jnp.zeros((1, 3, 4, 5, 1)).at[0, 2, 0, 1, 0].set(100.0)
    corner = [axis_grid(5)[1], -1, 1]
    np.testing.assert_allclose(expected_positions(peak)[0, 0], corner, atol=1e-6)


def test_heatmaps_are_gaussians_on_the_grid():
    places = np.random.default_rng(5).uniform(-1, 1, (2, 3, 3)).astype(np.float32)
    found = keypoint_heatmaps(jnp.asarray(places), size=(3, 4, 5), variance=0.1)
    offset = corner_grid((3, 4, 5))[None, ..., None, :] - places[:, None, None, None]
    expected = np.exp(-0.5 * np.square(offset).sum(-1) / 0.1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_rotations_of_both_families():
    yaw, pitch, roll = np.random.default_rng(6).uniform(-40, 40, (3, 4)).astype(np.float32)
    x, y, z = (
        Rotation.from_euler(axis, angle[:, None], degrees=True).as_matrix()
        for axis, angle in (("x", pitch), ("y", yaw), ("z", roll))
    )
    found = placement.liveportrait_rotation(jnp.asarray(yaw), jnp.asarray(pitch), jnp.asarray(roll))
    np.testing.assert_allclose(found, (z @ y @ x).swapaxes(1, 2), atol=1e-5)
    found = placement.facevid2vid_rotation(jnp.asarray(yaw), jnp.asarray(pitch), jnp.asarray(roll))
    np.testing.assert_allclose(found, x @ y @ z, atol=2e-3)
    assert np.abs(found - x @ y @ z).max() > 1e-5  # π is 3.14 there.


def logits_of(degrees, start):
    """Bins whose expected angle is the given one: one of two neighbours, by their shares."""
    index = (np.asarray(degrees, np.float64) - start) / 3
    shares = np.maximum(0, 1 - np.abs(index[:, None] - np.arange(66)))
    return jnp.asarray(np.log(np.maximum(shares, 1e-30)), jnp.float32)


@pytest.mark.parametrize("family", ["facevid2vid", "liveportrait"])
def test_keypoints_are_turned_then_moved(family):
    rng = np.random.default_rng(7)
    start = {"facevid2vid": -99, "liveportrait": -97.5}[family]
    angles = {
        name: np.array([10.5, -4.0]) * sign for name, sign in zip("ypr", (1, -1, 2), strict=True)
    }
    shift, expression, canonical = (rng.normal(size=s) for s in ((2, 3), (2, 4, 3), (2, 4, 3)))
    pose = placement.Pose(
        *(logits_of(angle, start) for angle in angles.values()),
        translation=jnp.asarray(shift, jnp.float32),
        expression=jnp.asarray(expression, jnp.float32),
    )
    x, y, z = (
        Rotation.from_euler(axis, angles[name][:, None], degrees=True).as_matrix()
        for axis, name in (("x", "p"), ("y", "y"), ("z", "r"))
    )
    if family == "facevid2vid":
        found = placement.facevid2vid_keypoints(jnp.asarray(canonical, jnp.float32), pose)
        expected = np.einsum("bij,bkj->bki", x @ y @ z, canonical) + shift[:, None] + expression
    else:
        scale = np.array([[1.2], [0.8]])
        found = placement.liveportrait_keypoints(
            jnp.asarray(canonical, jnp.float32), pose, jnp.asarray(scale, jnp.float32)
        )
        turned = canonical @ (z @ y @ x).swapaxes(1, 2)
        expected = scale[..., None] * (turned + expression)
        expected[..., :2] += shift[:, None, :2]
    np.testing.assert_allclose(found, expected, atol=3e-3)


def test_stitching_moves_each_point_and_all_of_them():
    driving = jnp.zeros((1, 2, 3))
    found = stitch(driving, jnp.asarray([[1.0, 2, 3, 4, 5, 6, 10, 20]]))
    np.testing.assert_array_equal(found[0], [[11, 22, 3], [14, 25, 6]])


def test_programs_for_every_platform_and_any_batch(given):
    net = LatentGenerator(THIN)
    variables = filled(net, *given)
    (batch,) = jax.export.symbolic_shape("b")
    specs = [jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype) for x in given]
    exported = jax.export.export(
        jax.jit(lambda *inputs: net.apply(variables, *inputs).image),
        platforms=("cpu", "cuda", "tpu"),
    )(*specs)
    np.testing.assert_allclose(
        exported.call(*given), jax.jit(net.apply)(variables, *given).image, atol=1e-5
    )
