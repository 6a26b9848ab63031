"""What evaluation of landmarks refuses before any work."""

import types

import pytest

from talkface_jax import api
from talkface_jax.api import evaluating
from talkface_jax.capabilities import Declaration, Driven
from talkface_jax.errors import ConfigError, RecordError


def _evaluate(monkeypatch, tmp_path, *driven_by):
    """With a bundle of a method that those drive, and without any data."""
    bundle = types.SimpleNamespace(manifest=types.SimpleNamespace(method="toy", weight_id="w"))
    method = Declaration("toy", "", {"only": "a:b"}, driven_by=driven_by)
    monkeypatch.setattr(evaluating, "load_bundle", lambda place: bundle)
    monkeypatch.setattr(evaluating.engine, "build_chain", lambda bundle: None)
    monkeypatch.setattr(evaluating.registry, "declaration", lambda name: method)
    api.evaluate_landmarks(tmp_path, data=tmp_path / "none", out=tmp_path / "out")


def test_a_method_that_speech_does_not_drive_predicts_no_landmarks(monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match=r"^toy predicts no landmarks from speech; score its vid"):
        _evaluate(monkeypatch, tmp_path, Driven.VIDEO)
    # Others get as far as to the data.
    for drives in ((Driven.AUDIO,), (Driven.AUDIO, Driven.VIDEO)):
        with pytest.raises(RecordError):
            _evaluate(monkeypatch, tmp_path, *drives)
