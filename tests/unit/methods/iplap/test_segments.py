"""What both stages take of a segment is made once for them."""

import numpy as np

from talkface_jax.methods.iplap import segments
from talkface_jax.methods.iplap.motion.view import MotionView
from talkface_jax.methods.iplap.render.view import RenderView


def rng(seed=0):
    return np.random.default_rng(seed)


def test_stages_share_their_light_part(reader, monkeypatch):
    calls = []
    light = segments._light

    def counted(segment, **options):
        calls.append(options)
        return light(segment, **options)

    monkeypatch.setattr(segments, "_light", counted)
    MotionView().sample(reader, 5, rng(), train=True)
    RenderView(size=16).sample(reader, 9, rng(), train=True)
    assert len(calls) == 1
    MotionView(margin=0.3).sample(reader, 5, rng(), train=True)
    assert len(calls) == 2
