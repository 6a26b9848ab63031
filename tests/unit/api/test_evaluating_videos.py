"""The rows that a bundle makes of other sound: what could not be made is told, and how to go on."""

import types

import numpy as np
import pytest

from talkface_jax.api import evaluating_videos
from talkface_jax.errors import FaceError
from talkface_jax.evaluate import scores
from talkface_jax.media.writer import VideoWriter


@pytest.fixture
def only_clip(tmp_path):
    """A folder of one true video, which no other speaker can be found for."""
    path = tmp_path / "truth/two.mp4"
    path.parent.mkdir()
    with VideoWriter(path, size=(64, 64), audio=np.zeros(3 * 640, np.float32)) as writer:
        for _ in range(3):
            writer.write(np.zeros((64, 64, 3), np.uint8))
    return path.parent


def test_rows_of_which_nothing_could_be_made_have_a_reason_each(only_clip, tmp_path, monkeypatch):
    def refuse(request):
        raise FaceError(f"{request.face}: 2 faces were found; choose one with --face-choice=0")

    bundle = types.SimpleNamespace(manifest=types.SimpleNamespace(weight_id="w"))
    monkeypatch.setattr(evaluating_videos, "load_bundle", lambda place: bundle)
    monkeypatch.setattr(evaluating_videos.engine, "build_chain", lambda bundle: None)
    monkeypatch.setattr(evaluating_videos.engine, "synthesize", refuse)
    maker = evaluating_videos._Rows(tmp_path, tmp_path / "scratch", face=None, known=None)
    (tmp_path / "scratch").mkdir()
    made = maker.synthesize(only_clip, None)
    # The flag is that of the command that the reader gave.
    words = (
        f"not synthesized: {only_clip / 'two.mp4'}: 2 faces were found; choose one with --face=0"
    )
    assert dict(made.reasons) == {
        (scores.SHIFTED_AUDIO, "two"): words,
        (scores.SILENCE, "two"): words,
        (scores.MISMATCHED, "two"): "not synthesized: there is no clip of another speaker whose "
        "sentence could be used",
    }
    assert list(made.folders) == [scores.SHIFTED_AUDIO, scores.SILENCE, scores.MISMATCHED]
