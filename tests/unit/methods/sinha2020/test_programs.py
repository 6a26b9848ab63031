"""The exported programs are the networks: same numbers as the modules' own calls, any batch."""

import dataclasses

import jax
import numpy as np
import pytest

from talkface_jax.export import programs as exporting
from talkface_jax.methods.sinha2020 import programs
from talkface_jax.methods.sinha2020.motion.config import MotionConfig
from talkface_jax.methods.sinha2020.render.config import RenderConfig
from talkface_jax.models.motion.speech_landmarks import SpeechLandmarks, SpeechLandmarksConfig
from talkface_jax.models.render import attention_texture
from talkface_jax.models.render.attention_texture import AttentionTexture

RENDER = dataclasses.replace(attention_texture.SMALL, size=32, channels=4, blocks=1)


def _filled(program, seed=0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: rng.uniform(0.01, 0.2, leaf.shape).astype(np.float32), program.variables()
    )


def _run(program, variables, *batches):
    data = exporting.export_program(program).data
    exported = jax.export.deserialize(bytearray(data))
    weights = {network: exporting.flatten(tree) for network, tree in variables.items()}
    return [exported.call(weights, {}, inputs) for inputs in batches]


@pytest.mark.parametrize("rows", [16, 12])
def test_motion_hears_windows_of_any_number_of_frames(rows):
    net = SpeechLandmarksConfig(channels=(4, 4), hidden=8, basis=3)
    config = MotionConfig(net=net, feature="ctc29", rows=rows)
    program = programs.motion_program(config)
    variables = _filled(program)
    windows = np.random.default_rng(1).standard_normal((5, rows, 29)).astype(np.float32)
    whole, part = _run(program, variables, {"content": windows}, {"content": windows[:2]})
    expected = SpeechLandmarks(net).apply(variables["motion"], windows)
    np.testing.assert_allclose(whole["offsets"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(part["offsets"], expected[:2], rtol=1e-5, atol=1e-6)


def test_the_renderer_takes_bytes():
    program = programs.render_program(RenderConfig(net=RENDER))
    variables = _filled(program)
    rng = np.random.default_rng(3)
    inputs = {
        "identity": rng.integers(0, 256, (3, 32, 32, 3), np.uint8),
        "identity_points": rng.uniform(0.2, 0.8, (3, 68, 2)).astype(np.float32),
        "points": rng.uniform(0.2, 0.8, (3, 68, 2)).astype(np.float32),
    }
    first = {name: array[:1] for name, array in inputs.items()}
    whole, part = _run(program, variables, inputs, first)
    expected = jax.jit(AttentionTexture(RENDER).apply)(
        variables["renderer"],
        inputs["identity"].astype(np.float32) / 255,
        inputs["identity_points"],
        inputs["points"],
    )
    for name in ("image", "attention"):
        np.testing.assert_allclose(whole[name], getattr(expected, name), atol=1e-4)
        np.testing.assert_allclose(part[name], whole[name][:1], atol=1e-4)
    assert set(program.inputs) == set(inputs)
