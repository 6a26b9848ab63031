"""Blinks at inference: the program, and what is asked of it."""

import jax
import numpy as np
import pytest

from talkface_jax.errors import ConfigError
from talkface_jax.export import programs as exporting
from talkface_jax.landmarks import blinks
from talkface_jax.methods.stages.blink.chain import BLINK, WARMUP, Blinker, blink_program
from talkface_jax.methods.stages.blink.config import BlinkConfig
from talkface_jax.models.motion.blink_lstm import BlinkLstm, BlinkLstmConfig


def test_blinks_are_made_of_noise_of_any_length():
    config = BlinkConfig(net=BlinkLstmConfig(width=6, head=4), window=9)
    program = blink_program(config)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: rng.uniform(0.01, 0.2, leaf.shape).astype(np.float32), program.variables()
    )
    exported = jax.export.deserialize(bytearray(exporting.export_program(program).data))
    weights = {network: exporting.flatten(tree) for network, tree in variables.items()}
    noise = np.random.default_rng(2).standard_normal((30, 10)).astype(np.float32)
    whole, part = (exported.call(weights, {}, {"noise": item}) for item in (noise, noise[:12]))
    expected = BlinkLstm(config.net).apply(variables["blink"], noise[None])[0]
    np.testing.assert_allclose(whole["displacements"], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(part["displacements"], expected[:12], rtol=1e-4, atol=1e-6)


class Lids:
    """Eyes close in frames 20 to 25 of 60, and shiver with the noise; `asked` is what was fed."""

    def __init__(self, closing):
        self.closing, self.asked = closing, []

    def __call__(self, name, inputs):
        assert name == BLINK
        self.asked.append(inputs["noise"])
        way = np.interp(np.arange(len(inputs["noise"])) % 60, [19, 22, 23, 26], [0, 1, 1, 0])
        shift = 1e-3 * inputs["noise"][:, :1, None]
        return {"displacements": (way[:, None, None] * self.closing + shift).astype(np.float32)}


def test_noise_makes_the_blinks(closing):
    call = Lids(closing)
    blinker = Blinker(BlinkConfig(), call=call)
    long, short = (blinker.track(frames, {"seed": 3}) for frames in (300, 100))
    assert long.shape == (300, 22, 2)
    np.testing.assert_array_equal(long[:100], short)
    assert not np.array_equal(blinker.track(100, {"seed": 4}), short)
    np.testing.assert_array_equal(blinker.track(100, {}), blinker.track(100, {"seed": 0}))
    curve = blinker.closure(300, seed=3)
    np.testing.assert_allclose(curve, blinks.closure(long), atol=1e-6)
    assert curve.dtype == np.float32 and len(blinks.find_blinks(curve)) == 5
    # Few lengths are compiled, and the first frames are thrown away.
    assert {len(noise) for noise in call.asked} == {250, 500}
    expected = call(BLINK, {"noise": call.asked[0]})
    np.testing.assert_array_equal(long, expected["displacements"][WARMUP : WARMUP + 300])


@pytest.mark.parametrize("duration", [{}, {"blink_duration": 0.3}])
def test_blinks_are_off(closing, duration):
    call = Lids(closing)
    track = Blinker(BlinkConfig(), call=call).track(100, {"blink": "off", **duration})
    np.testing.assert_array_equal(track, np.zeros((100, 22, 2), np.float32))
    assert track.dtype == np.float32 and not call.asked


def test_blinks_left_to_the_network_are_as_without_the_control(closing):
    blinker = Blinker(BlinkConfig(), call=Lids(closing))
    for others in ({"seed": 3}, {"seed": 3, "blink_duration": 0.4}):
        asked = blinker.track(300, {"blink": "auto", **others})
        np.testing.assert_array_equal(asked, blinker.track(300, others))
        assert blinks.find_blinks(blinks.closure(asked))


def test_blinks_come_as_they_are_asked_for(closing):
    blinker = Blinker(BlinkConfig(), call=Lids(closing))
    made = blinker.track(1500, {"blink": 0.25, "blink_duration": 0.4})
    found = blinks.find_blinks(blinks.closure(made))
    assert len(found) == pytest.approx(0.25 * 60, abs=2)
    durations = [blink.duration / 25 for blink in found if blink.whole]
    assert np.mean(durations) == pytest.approx(0.4, abs=0.04)
    with pytest.raises(ConfigError, match="--blink and --blink-duration cannot be had"):
        blinker.track(100, {"blink": 3.0, "blink_duration": 0.5})
