"""Sharing, merging and batching change nothing: networks and programs equal plain code to 1e-5."""

import jax
import jax.numpy as jnp
import numpy as np
import plain_iplap
import pytest

from talkface_jax.methods.iplap import programs
from talkface_jax.methods.iplap.motion.config import MotionConfig
from talkface_jax.methods.iplap.render.config import RenderConfig
from talkface_jax.models.linear_convs import is_cheaper_merged
from talkface_jax.models.motion.landmark_transformer import (
    LandmarkTransformer,
    LandmarkTransformerConfig,
)
from talkface_jax.models.render.reference_warping import ReferenceWarping, ReferenceWarpingConfig

TOLERANCE = 1e-5
MOTION = LandmarkTransformerConfig(
    width=16,
    layers=2,
    heads=2,
    mlp=16,
    mel_channels=(2, 2, 4, 4),
    point_channels=(2,) * 4 + (4,) * 3,
)
RENDER = ReferenceWarpingConfig(
    size=16,
    channels=4,
    deep=16,
    spade_hidden=58,
    weight_hidden=2,
    audio_width=16,
    audio_hidden=4,
    mel_channels=(2, 2, 4, 4),
)
"""Merges its convolutions where the published network does."""


def fill(shapes, seed=0):
    """Weights that keep activations at unit size, biases and running statistics of some size."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name = path[-1].key
        if name in ("var", "scale"):
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        fan = max(np.prod(leaf.shape[:-1]), 1) if name == "kernel" else 10
        return (rng.normal(size=leaf.shape) / np.sqrt(fan)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def pictures(*lead, size=16):
    """Smooth pictures, as faces are: a position rounded in its last bit moves them by little."""
    rng = np.random.default_rng(len(lead))
    phase, rate = rng.uniform(0, 6, (*lead, 1, 1, 3)), rng.uniform(0.05, 0.4, (*lead, 2, 1, 1, 3))
    rows, columns = np.arange(size)[:, None, None], np.arange(size)[None, :, None]
    wave = np.sin(phase + rate[..., 0, :, :, :] * rows + rate[..., 1, :, :, :] * columns)
    return np.round(127.5 + 127 * wave).astype(np.uint8)


def render_case(net, batch, count):
    """Variables, references and frames of a clip, as the programs take them."""
    config, rng = RenderConfig(net=net), np.random.default_rng(1)
    variables = fill(programs.render_program(config).variables())
    references = {"images": pictures(count), "sketches": pictures(count)[:, ::-1]}
    frames = {
        "face": pictures(batch),
        "sketches": pictures(batch, 5),
        "mel": rng.uniform(-4, 4, (batch, 80, 16)).astype(np.float32),
        "points": rng.random((batch, 131, 2), np.float32),
        "ref_points": rng.random((count, 131, 2), np.float32),
    }
    return config, variables, references, frames


def unit(image):
    return jnp.asarray(image, jnp.float32) / 255.0


def plain_images(variables, references, frames):
    """Frame by frame and reference by reference."""
    size = frames["face"].shape[1]
    results = [
        plain_iplap.rendered(
            variables["renderer"],
            unit(face).at[size // 2 :].set(0.0),
            unit(sketches),
            unit(references["images"]),
            unit(references["sketches"]),
            mel,
        )
        for face, sketches, mel in zip(
            frames["face"], frames["sketches"], frames["mel"], strict=True
        )
    ]
    return tuple(np.stack(part) for part in zip(*results, strict=True))


def by_programs(config, variables, references, frames):
    features = jax.jit(programs.references_program(config).function)(variables, references)
    render = jax.jit(programs.render_program(config).function)
    return render(variables, {**frames, **features})["image"]


def assert_same_images(got, expected):
    assert np.std(expected) > 0.05
    np.testing.assert_allclose(got, expected, atol=TOLERANCE, rtol=0)


def test_small_renderer_merges_where_the_published_one_does():
    def merged(net):
        """Alignment at half and at full size; the three of the translation."""
        sketch, deep, fine = 5 * net.sketch_channels, net.deep, net.deep // 4
        pairs = [(sketch, deep), (sketch, fine), (deep, deep), (net.channels, fine), (3, fine)]
        return [is_cheaper_merged(a, net.spade_hidden, 2 * b) for a, b in pairs]

    assert merged(ReferenceWarpingConfig()) == [True, True, False, True, True]
    assert merged(RENDER) == merged(ReferenceWarpingConfig())


def test_renderer_equals_the_plain_one():
    _, variables, references, frames = render_case(RENDER, 2, 3)
    image, warped = plain_images(variables, references, frames)
    shared = [
        jnp.broadcast_to(unit(references[key])[None], (2, 3, 16, 16, 3))
        for key in ("images", "sketches")
    ]
    whole = jax.jit(ReferenceWarping(RENDER).apply)(
        variables["renderer"],
        unit(frames["face"]).at[:, 8:].set(0.0),
        unit(frames["sketches"]),
        *shared,
        frames["mel"],
    )
    assert float(jnp.abs(whole.aligned.flow).max()) > 1
    assert_same_images(whole.image, image)
    assert_same_images(whole.aligned.image, warped)


@pytest.mark.slow
def test_render_programs_equal_plain_code_at_25_references():
    config, variables, references, frames = render_case(RENDER, 2, 25)
    image, _ = plain_images(variables, references, frames)
    assert_same_images(by_programs(config, variables, references, frames), image)


@pytest.fixture(scope="module")
def motion_case():
    """Variables, seven frames and references."""
    config, rng = MotionConfig(net=MOTION, references=4), np.random.default_rng(2)
    variables = fill(programs.motion_program(config).variables(), seed=3)
    frames = {
        "mel": rng.uniform(-4, 4, (7, 80, 16)).astype(np.float32),
        "pose": rng.random((7, 74, 2), np.float32),
    }
    points = {
        "ref_pose": rng.random((4, 74, 2), np.float32),
        "ref_content": rng.random((4, 57, 2), np.float32),
    }
    window = np.arange(3)[:, None] + np.arange(5)
    expected = [
        plain_iplap.window_points(
            variables["motion"],
            frames["mel"][rows],
            frames["pose"][rows],
            points["ref_pose"],
            points["ref_content"],
        )
        for rows in window
    ]
    return config, variables, frames, points, window, np.stack(expected)


def test_landmark_generator_equals_the_plain_one(motion_case):
    config, variables, frames, points, window, expected = motion_case
    repeated = [np.repeat(points[key][None], 3, 0) for key in ("ref_pose", "ref_content")]
    got = jax.jit(LandmarkTransformer(config.net).apply)(
        variables["motion"], frames["mel"][window], frames["pose"][window], *repeated
    )
    assert got.shape == (3, 5, 57, 2) and np.std(expected, 0).max() > 0.05
    np.testing.assert_allclose(got, expected, atol=TOLERANCE, rtol=0)


def test_motion_programs_with_shared_tokens_equal_the_plain_windows(motion_case):
    config, variables, frames, points, window, expected = motion_case
    references = jax.jit(programs.motion_references_program(config).function)(variables, points)
    tokens = jax.jit(programs.motion_frames_program(config).function)(
        variables, {**frames, "ref_pose": points["ref_pose"]}
    )
    known = {key: np.asarray(value)[window] for key, value in tokens.items()}
    inputs = {**points, **references, **known, "pose": frames["pose"][window]}
    got = jax.jit(programs.motion_program(config).function)(variables, inputs)["content"]
    np.testing.assert_allclose(got, expected[:, 2], atol=TOLERANCE, rtol=0)
