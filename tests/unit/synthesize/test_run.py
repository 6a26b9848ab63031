"""Requests and bundles that do not fit, found before any work is done."""

import dataclasses
import json
import pathlib
import re
from types import SimpleNamespace

import numpy as np
import pytest

from talkface_jax import config
from talkface_jax.errors import ConfigError, MediaError, WeightsError
from talkface_jax.media import video
from talkface_jax.methods import registry
from talkface_jax.methods.iplap.chain import METHOD
from talkface_jax.methods.iplap.motion.config import MotionConfig
from talkface_jax.methods.iplap.render.config import RenderConfig
from talkface_jax.recent import Recent
from talkface_jax.synthesize import run, tracking


def _bundle(method="iplap", **configs):
    stages = {"motion": MotionConfig(), "render": RenderConfig()}
    names = [program.name for program in METHOD.programs(stages)]
    values = {stage: json.loads(config.dumps(item)) for stage, item in stages.items()}
    return SimpleNamespace(
        manifest=SimpleNamespace(
            method=method, programs=dict.fromkeys(names), requires=METHOD.requires(stages)
        ),
        configs={**values, **configs},
        call=lambda name, inputs: {},
        start=lambda name, **sizes: {},
    )


def test_chain_has_the_bundles_configs():
    chain = run.build_chain(_bundle())
    assert chain.motion_config == MotionConfig() and chain.render_config == RenderConfig()


@pytest.mark.parametrize(
    ("bundle", "words"),
    [
        (_bundle(method="wav2lip"), "wav2lip"),
        (_bundle(motion={"legs": 2}), "legs"),
        (_bundle(motion={"margin": 0.7}), "margin"),
    ],
)
def test_bundle_that_does_not_fit(bundle, words):
    with pytest.raises(WeightsError, match=f"{words}.*export it again"):
        run.build_chain(bundle)


def test_bundle_without_a_program():
    bundle = _bundle()
    del bundle.manifest.programs["render"]
    with pytest.raises(
        WeightsError, match="needs motion, motion_frames, motion_references, references, render"
    ):
        run.build_chain(bundle)


def test_bundle_made_with_other_features():
    bundle = _bundle()
    bundle.manifest.requires = {"speech features": "mel80-v0-old"}
    with pytest.raises(WeightsError, match=r"mel80-v0-old, but this version has .* mel80-v1-.*;"):
        run.build_chain(bundle)
    bundle.manifest.requires = {}
    with pytest.raises(WeightsError, match=r"it names no speech features, but this .* mel80-v1-"):
        run.build_chain(bundle)


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (1, r": 1 frame \(0.04 s\), 1 frame without .*\n1 reference of 1 tracked frame, mark"),
        (50, r": 50 frames \(2.0 s\), 50 frames .*\n50 references of 50 tracked frames, mark"),
    ],
)
def test_report_counts_in_words(count, words):
    numbers = dict.fromkeys(("frames", "untouched", "tracked", "references"), count)
    report = run.SynthesisReport(
        out=pathlib.Path("out.mp4"), mark="visible", weight_id="w", seconds=1.0, **numbers
    )
    assert re.search(words, str(report))
    assert "hold" not in str(report)
    assert f"untouched, {count} hold the driver's" in str(dataclasses.replace(report, held=count))


def test_controls_that_the_method_does_not_honour():
    registry.declaration("iplap").read_controls({})
    with pytest.raises(
        ConfigError, match=r"iplap has no --blink; leave it out \(it takes --references\)"
    ):
        registry.declaration("iplap").read_controls({"blink": 0.3})
    with pytest.raises(
        ConfigError, match=r"sinha2020 has no --references; leave it out \(it takes"
    ):
        registry.declaration("sinha2020").read_controls({"references": 3})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        *(("blink", value, "at least 0") for value in (-1.0, np.nan, np.inf)),
        *(("blink_duration", value, "above 0") for value in (0.0, -1.0, np.nan, np.inf)),
    ],
)
def test_controls_out_of_range(name, value, words):
    method = registry.declaration("sinha2020")
    method.read_controls({"blink": 0.0, "blink_duration": 0.3, "seed": 0})
    flag = f"--{name.replace('_', '-')}"
    words = words if np.isfinite(value) else "a finite number"
    with pytest.raises(ConfigError, match=f"^{flag} must be {words}, but is {value:g}; give"):
        method.read_controls({name: value})


def test_output_that_is_an_input(tmp_path):
    face, other = tmp_path / "face.mp4", tmp_path / "b"
    with video.VideoWriter(face, size=(16, 16)) as writer:
        writer.write(np.zeros((16, 16, 3), np.uint8))
    before = face.read_bytes()
    request = run.SynthesisRequest(bundle=other, face=face, audio=other, out=face)
    with pytest.raises(MediaError, match="is one of the inputs"):
        run.synthesize(request)
    assert face.read_bytes() == before


def test_options_are_checked_first(tmp_path):
    path = tmp_path / "none"
    request = run.SynthesisRequest(
        bundle=path, face=path, audio=path, out=tmp_path / "out.mp4", batch=0
    )
    with pytest.raises(ConfigError, match="--batch"):
        run.synthesize(request)


class _Frames:
    """A video of grey frames, as the engine opens one."""

    def __init__(self, count):
        self.info, self.count = SimpleNamespace(has_audio=False), count

    def __len__(self):
        return self.count


def test_a_face_is_tracked_once_for_many_sentences(tmp_path, monkeypatch):
    tracked = []
    monkeypatch.setattr(tracking, "_RECENT", Recent(tracking.KEPT))
    monkeypatch.setattr(
        tracking.tracker,
        "track_video",
        lambda frames, **options: tracked.append((len(frames), options["face"])) or object(),
    )
    path = tmp_path / "face.mp4"
    path.write_bytes(b"one")

    def track(length, choice=None):
        return tracking.track_face(_Frames(50), path, choice, length=length, progress=None)

    first = track(30)
    assert track(30) is first and tracked == [(30, None)]
    # Another length, another choice or another file is another track.
    assert track(40) is not first and track(30, "largest") is not first
    assert track(60) is track(50)
    path.write_bytes(b"another")
    assert track(30) is not first
    assert tracked == [(30, None), (40, None), (30, "largest"), (50, None), (30, None)]
    assert len(tracking._RECENT) == tracking.KEPT
