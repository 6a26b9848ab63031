"""What a benchmark refuses before any work, what names a track, and which failure is told first."""

import dataclasses
import pathlib

import numpy as np
import pytest

from talkface_jax.errors import MediaError, TalkfaceError
from talkface_jax.evaluate import benchmark, clip, scores, tracks
from talkface_jax.evaluate.benchmark import Options, System
from talkface_jax.evaluate.metadata import Metadata


def test_bad_directories_are_one_sentence_errors(tmp_path):
    def attempt(pred, truth, out, **options):
        benchmark.benchmark({"ours": System(pred)}, truth, out, options=Options(**options))

    truth, pred, out = (tmp_path / name for name in ("truth", "pred", "out"))
    for folder in (truth, pred):
        folder.mkdir()
        (folder / "clip.mp4").touch()
    with pytest.raises(MediaError, match="not a directory"):
        attempt(pred, tmp_path / "none", out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match="no video"):
        attempt(tmp_path / "empty", truth, out)
    with pytest.raises(TalkfaceError, match="is an input"):
        attempt(pred, truth, truth)
    with pytest.raises(TalkfaceError, match="--against=theirs is no row of the table; give one of"):
        attempt(pred, truth, out, against="theirs")
    with pytest.raises(TalkfaceError, match="ground-truth is the name of a row that is made here"):
        benchmark.benchmark({scores.GROUND_TRUTH: System(pred)}, truth, out)
    for name in (scores.SILENCE, scores.SHIFTED_AUDIO, scores.MISMATCHED, scores.RIDGE):
        with pytest.raises(TalkfaceError, match=f"{name} is the name of a row that is made here"):
            benchmark.benchmark({name: System(pred)}, truth, out)
    with pytest.raises(TalkfaceError, match="--metadata names nobody, but the true clips are"):
        benchmark.benchmark(
            {"ours": System(pred)}, truth, out, metadata=Metadata({"nobody": {"speaker": "x"}})
        )
    assert not out.exists()


def test_a_track_is_of_the_pictures_and_of_nothing_else(tmp_path):
    store = tracks.TrackStore("largest", tmp_path, None)
    source = tracks.Source(pathlib.Path("a"), "0" * 64)
    own = store._path(source, None, "track")
    assert own == store._path(dataclasses.replace(source, path=pathlib.Path("b")), None, "track")
    others = [
        tracks.TrackStore("0", tmp_path, None)._path(source, None, "track"),
        store._path(dataclasses.replace(source, digest="1" * 64), None, "track"),
        store._path(dataclasses.replace(source, view="left"), None, "track"),
        store._path(source, np.zeros(3, np.float32), "track"),
        store._path(source, None, "noise 0"),
    ]
    assert len({own, *others}) == 6


def test_ranks_tell_the_most_telling_failure_first():
    found = clip.Findings()
    found.fail("a", ["ours"], "missing", rank=clip.ALONE)
    found.fail("b", ["ours"], "no face", rank=clip.FACE)
    with pytest.raises(
        TalkfaceError, match=r"none of 2 clips could be scored, for instance b \(no"
    ):
        benchmark._require_predictions(found, ["ours"])
