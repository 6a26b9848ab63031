"""A smiling portrait stops smiling where another emotion is asked for, and else goes on.

Slow: without TALKFACE_DEMO=DIR (output of `talkface demo`, of the methods that lie there) the demo
of every method runs here first.
"""

import json

import pytest

from talkface_jax import api
from talkface_jax.capabilities import EMOTION, FACE_EMOTION
from talkface_jax.emotions import EMOTIONS
from talkface_jax.features import emotion
from talkface_jax.landmarks.blendshapes import POSITION
from talkface_jax.media.tracker import track_video
from talkface_jax.media.video import open_visual
from talkface_jax.methods import registry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SMILE = [POSITION["mouthSmileLeft"], POSITION["mouthSmileRight"]]


def shown(path):
    """The tracked smile of a picture or a video, 0 to 1, and the emotion that is read off it."""
    with open_visual(path) as frames:
        track = track_video(frames)
    read = emotion.load().classify(track.blendshapes, track.valid)
    return float(track.blendshapes[track.valid][:, SMILE].mean()), EMOTIONS[read]


def test_a_smiling_portrait_told_to_be_sad_stops_smiling(walked, data_dir, tmp_path):
    method, demo = walked
    if not {EMOTION, FACE_EMOTION} <= set(registry.declaration(method).controls):
        pytest.skip(f"{method} is not told what a face shows")
    raw, portrait = demo / "data" / "raw", data_dir / "astronaut.jpg"
    clips = json.loads((raw / "metadata.json").read_text())["clips"]
    voice = raw / next(clip["audio"] for clip in clips if clip["split"] == "test")
    found = {"picture": shown(portrait)}
    for name, controls in (
        ("as it is", {"face_emotion": "auto"}),
        ("sad", {"emotion": "sad", "face_emotion": "auto"}),
    ):
        out = tmp_path / f"{name.replace(' ', '_')}.mp4"
        api.synthesize(
            demo / method / "bundle", face=portrait, audio=voice, out=out, controls=controls
        )
        found[name] = shown(out)
    print("smile, 0 to 1, and what is read:", found)
    assert found["picture"][0] > 0.7 and found["picture"][1] == "happy"
    assert found["as it is"][0] > 0.7 * found["picture"][0] and found["as it is"][1] == "happy"
    assert found["sad"][0] < 0.5 * found["as it is"][0] and found["sad"][1] != "happy"
