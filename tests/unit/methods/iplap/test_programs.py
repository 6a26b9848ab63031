"""The exported programs are the networks: same numbers as the modules' own calls, any batch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.export import programs as exporting
from talkface_jax.methods.iplap import programs
from talkface_jax.methods.iplap.motion.config import MotionConfig
from talkface_jax.methods.iplap.render.config import RenderConfig
from talkface_jax.models.motion import landmark_transformer
from talkface_jax.models.motion.landmark_transformer import (
    LandmarkTransformer,
    LandmarkTransformerConfig,
)
from talkface_jax.models.render import reference_warping
from talkface_jax.models.render.reference_warping import ReferenceWarping, ReferenceWarpingConfig

PUBLISHED_MOTION = LandmarkTransformerConfig(
    width=16, layers=1, mlp=16, mel_channels=(2, 2, 4, 4), point_channels=(2, 2, 2, 2, 4, 4, 4)
)
PUBLISHED_RENDER = ReferenceWarpingConfig(
    size=32, channels=4, deep=8, spade_hidden=4, weight_hidden=2, mel_channels=(2, 2, 4, 4)
)
OURS_MOTION = dataclasses.replace(landmark_transformer.SMALL, width=16, layers=1, mlp=16)
OURS_RENDER = dataclasses.replace(
    reference_warping.SMALL, size=32, window=16, channels=4, deep=8, audio_width=4
)


def _filled(shapes, seed=0):
    """Weights of the right shapes: positive ones, for variances are among them."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda s: rng.uniform(0.01, 0.2, s.shape).astype(np.float32), shapes)


def _run(program, variables, inputs):
    data = exporting.export_program(program).data
    exported = jax.export.deserialize(bytearray(data))
    weights = {network: exporting.flatten(tree) for network, tree in variables.items()}
    return exported.call(weights, {}, inputs)


def both(published, ours):
    return [
        pytest.param(published, id="published", marks=pytest.mark.slow),
        pytest.param(ours, id="ours"),
    ]


@pytest.mark.parametrize("net", both(PUBLISHED_MOTION, OURS_MOTION))
def test_motion_programs_are_the_middle_of_the_whole_network(net):
    batch = 3
    config = MotionConfig(net=net, references=4)
    program = programs.motion_program(config)
    variables = _filled(program.variables())
    rng = np.random.default_rng(batch)
    mel = rng.uniform(-4, 4, (batch + 4, 80, 16)).astype(np.float32)
    pose = rng.random((batch + 4, 74, 2), np.float32)
    points = {
        "ref_pose": rng.random((4, 74, 2), np.float32),
        "ref_content": rng.random((4, 57, 2), np.float32),
    }
    window = np.arange(batch)[:, None] + np.arange(5)
    repeated = [np.repeat(points[key][None], batch, 0) for key in ("ref_pose", "ref_content")]
    apply = jax.jit(LandmarkTransformer(config.net).apply)
    expected = apply(variables["motion"], mel[window], pose[window], *repeated)[:, 2]
    frames = {"mel": mel, "pose": pose, "ref_pose": points["ref_pose"]}
    tokens = _run(programs.motion_frames_program(config), variables, frames)
    references = _run(programs.motion_references_program(config), variables, points)
    known = {key: np.asarray(value)[window] for key, value in tokens.items()}
    inputs = {**points, **references, **known, "pose": pose[window]}
    got = _run(program, variables, inputs)["content"]
    assert got.shape == (batch, 57, 2) and np.std(expected) > 0
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("net", both(PUBLISHED_RENDER, OURS_RENDER))
def test_render_programs_are_the_whole_network(net):
    config, batch, count, size = RenderConfig(net=net), 3, 2, net.size
    encode, render = programs.references_program(config), programs.render_program(config)
    variables = _filled(render.variables())
    rng = np.random.default_rng(1)

    def image(*lead):
        return rng.integers(0, 256, (*lead, size, size, 3), np.uint8)

    references = {"images": image(count), "sketches": image(count)}
    frames = {
        "face": image(batch),
        "sketches": image(batch, 5),
        "mel": rng.uniform(-4, 4, (batch, 80, 16)).astype(np.float32),
        "points": rng.random((batch, 131, 2), np.float32),
    }
    ref_points = rng.random((count, 131, 2), np.float32)
    features = _run(encode, variables, references)
    got = _run(render, variables, {**frames, **features, "ref_points": ref_points})["image"]

    unit = {key: jnp.asarray(frames[key] / 255.0, jnp.float32) for key in ("face", "sketches")}
    shared = [
        jnp.repeat(jnp.asarray(references[key][None] / 255.0, jnp.float32), batch, 0)
        for key in ("images", "sketches")
    ]
    apply = jax.jit(ReferenceWarping(net).apply)
    expected = apply(
        variables["renderer"],
        unit["face"].at[:, size // 2 :].set(0.0),
        unit["sketches"],
        *shared,
        frames["mel"],
        points=frames["points"],
        reference_points=jnp.repeat(ref_points[None], batch, 0),
    ).image
    assert np.std(expected) > 1e-3
    np.testing.assert_allclose(got, expected, atol=2e-5)
