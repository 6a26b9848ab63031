"""The inference chain against fake programs: what it feeds them, what it makes of the answers."""

from types import SimpleNamespace

import numpy as np
import pytest

from talkface_jax.errors import ConfigError, FaceError
from talkface_jax.features import mel
from talkface_jax.landmarks import boxes, schemes
from talkface_jax.methods.iplap import chain, programs, references
from talkface_jax.methods.iplap.motion.config import MotionConfig
from talkface_jax.methods.iplap.render.config import RenderConfig
from talkface_jax.records import FaceTrack

SCHEME = schemes.get_scheme("iplap131")
SIZE = 128


def _track(count=12, invalid=(), seed=0):
    """A face of fixed shape that drifts to the right and opens its mouth by its frame number."""
    rng = np.random.default_rng(seed)
    face = rng.uniform(60, 140, (478, 3)).astype(np.float32)
    face[33], face[263] = (70, 90, 0), (130, 90, 0)
    face[13], face[14] = (100, 120, 0), (100, 121, 0)
    landmarks = np.repeat(face[None], count, 0)
    landmarks[:, :, 0] += 2 * np.arange(count)[:, None]
    landmarks[:, 14, 1] += np.arange(count)
    valid = np.ones(count, bool)
    valid[list(invalid)] = False
    landmarks[~valid] = 0
    return FaceTrack(
        landmarks=landmarks,
        blendshapes=np.zeros((count, 52), np.float32),
        head=np.zeros((count, 4, 4), np.float32),
        box=np.zeros((count, 4), np.float32),
        valid=valid,
        size=(200, 240),
    )


class Programs:
    """Records its inputs; the motion answer carries the window's middle mel, the image the face."""

    def __init__(self):
        self.calls = []

    def __call__(self, name, inputs):
        self.calls.append((name, inputs))
        if name == programs.MOTION_REFERENCES:
            return {"references": inputs["ref_pose"].mean((1, 2))[:, None]}
        if name == programs.MOTION_FRAMES:
            tokens = {"audio_tokens": inputs["mel"].mean((1, 2))[:, None]}
            return {**tokens, "pose_tokens": inputs["pose"].mean((1, 2))[:, None]}
        if name == programs.MOTION:
            value = inputs["audio_tokens"][:, 2, 0]
            return {"content": np.broadcast_to(value[:, None, None], (len(value), 57, 2))}
        if name == programs.REFERENCES:
            count = len(inputs["images"])
            return {key: np.zeros((count, 1)) for key in ("images", "shallow", "deep")}
        return {"image": inputs["face"].astype(np.float32) / 255}

    def of(self, name):
        return [inputs for called, inputs in self.calls if called == name]


def _chain(call, **motion):
    return chain.IplapChain(MotionConfig(**motion), RenderConfig(), call=call)


def _speech(frames=30, seed=1):
    return (np.random.default_rng(seed).standard_normal(640 * frames) * 0.1).astype(np.float32)


def _frame(index):
    return np.full((200, 240, 3), index, np.uint8)


def test_windows_end_softly_at_both_ends():
    call = Programs()
    track, samples = _track(8), _speech(8)
    motion = _chain(call, smooth=0.0).predict_motion(track, samples=samples)
    geometry = boxes.crop_geometry(track.landmarks, valid=track.valid, smooth=0.0)
    pose, content = references.split(geometry.points)
    windows = mel.mel_windows(mel.log_mel(samples), np.arange(8))
    fed = call.of(programs.MOTION)[0]
    expected = [[0, 0, 0, 1, 2], [0, 0, 1, 2, 3], [0, 1, 2, 3, 4]]
    np.testing.assert_array_equal(fed["pose"][:3], pose[expected])
    heard, seen = windows.mean((1, 2)), pose.mean((1, 2))
    np.testing.assert_allclose(fed["audio_tokens"][:3, :, 0], heard[expected], atol=1e-5)
    np.testing.assert_allclose(fed["pose_tokens"][:3, :, 0], seen[expected], atol=1e-5)
    # Every frame went through its encoders once.
    assert [len(inputs["mel"]) for inputs in call.of(programs.MOTION_FRAMES)] == [8]
    np.testing.assert_array_equal(fed["pose"][7], pose[[5, 6, 7, 7, 7]])
    # The prediction stands in the content points, the track's own pose in the others.
    np.testing.assert_allclose(
        references.split(motion.landmarks)[1][:, 0, 0], windows.mean((1, 2)), rtol=1e-5
    )
    np.testing.assert_array_equal(references.split(motion.landmarks)[0], pose)
    assert motion.landmarks.shape == (8, 131, 2) and content.shape == (8, 57, 2)


def test_landmark_references_are_in_order_of_openness():
    call = Programs()
    face = _chain(call, references=4).prepare(_track(12, invalid=(0,)))
    np.testing.assert_array_equal(face.order, [1, 4, 8, 11])
    opening = references.openness(face.geometry)[face.order]
    assert (np.diff(opening) > 0).all()
    few = references.spread(np.array([3.0, 1.0]), valid=np.array([True, True]), count=4)
    np.testing.assert_array_equal(few, [1, 1, 0, 0])
    with pytest.raises(FaceError):
        _chain(call).prepare(_track(3, invalid=(0, 1, 2)))


def test_nearest_frame_with_a_face():
    face = _chain(Programs()).prepare(_track(8, invalid=(0, 3, 4, 5, 7)))
    np.testing.assert_array_equal(face.nearest, [1, 1, 2, 2, 2, 6, 6, 6])


def test_any_batch_gives_the_same_patches():
    track, samples = _track(6, invalid=(3,)), _speech(20)
    sources = np.array([0, 1, 2, 3, 4, 5, 4, 3, 2, 1, 0, 1, 2, 3, 4, 5, 4, 3, 2, 1])
    results, fed = [], []
    for batch in (1, 3, 7, 20):
        call = Programs()
        session = _chain(call).start(
            track, samples=samples, sources=sources, frame_at=_frame, controls={"references": 2}
        )
        made = []
        for start in range(0, 20, batch):
            frames = [_frame(i) for i in sources[start : start + batch]]
            made += session.patches(start, frames)
        results.append(made)
        renders = call.of(programs.RENDER)
        fed.append(
            {k: np.concatenate([r[k] for r in renders]) for k in ("sketches", "mel", "points")}
        )
        # A window is asked of the motion network once.
        assert sum(len(inputs["pose"]) for inputs in call.of(programs.MOTION)) == 20
        assert len(call.of(programs.REFERENCES)) == 1
    for made in results:
        assert [patch is None for patch in made] == [bool(s == 3) for s in sources]
        for k, patch in enumerate(made):
            if patch is not None:
                assert np.array_equal(patch.image, np.full((SIZE, SIZE, 3), sources[k]))
                assert np.array_equal(patch.box, results[0][k].box)
                assert np.array_equal(patch.contour, results[0][k].contour)
    for other in fed[1:]:
        for key, value in fed[0].items():
            np.testing.assert_allclose(value, other[key], atol=1e-5)


def test_what_the_renderer_is_fed():
    call = Programs()
    track, samples = _track(6), _speech(6)
    sources = np.arange(6)
    session = _chain(call).start(
        track, samples=samples, sources=sources, frame_at=_frame, controls={"references": 50}
    )
    assert session.references == 6
    patches = session.patches(0, [_frame(i) for i in sources])
    encoded, rendered = call.of(programs.REFERENCES)[0], call.of(programs.RENDER)[0]
    assert sorted(encoded["images"][:, 0, 0, 0]) == list(range(6))
    sketches = rendered["sketches"]
    assert sketches.shape == (6, 5, SIZE, SIZE, 3)
    np.testing.assert_array_equal(sketches[2], sketches[[0, 1, 2, 3, 4], 2])
    np.testing.assert_array_equal(sketches[0, 0], sketches[0, 2])
    windows = mel.mel_windows(mel.log_mel(samples), np.arange(6))
    np.testing.assert_allclose(rendered["mel"], windows, atol=1e-5)
    # The contour covers the jaw of the source frame, in its pixels.
    jaw = track.landmarks[3, SCHEME.indices[SCHEME.groups["jaw"]], :2]
    distances = np.linalg.norm(patches[3].contour[None] - jaw[:, None], axis=-1)
    assert distances.min(1).max() < 0.01


def test_memory_of_a_session_does_not_grow():
    track, samples = _track(6), _speech(400)
    sources = np.arange(400) % 6
    session = _chain(Programs()).start(
        track, samples=samples, sources=sources, frame_at=_frame, controls={"references": 1}
    )
    for start in range(0, 400, 8):
        session.patches(start, [_frame(i) for i in sources[start : start + 8]])
        assert len(session._points) <= 8 + 4 + chain._MOTION_BATCH
        assert len(session._sketches) <= 8 + 4


def test_stages_must_crop_alike():
    configs = {"motion": MotionConfig(margin=0.1), "render": RenderConfig()}
    with pytest.raises(ConfigError, match=r"margin is 0\.1"):
        chain.METHOD.programs(configs)
    with pytest.raises(ConfigError, match=r"margin is 0\.1"):
        chain.METHOD.chain(configs, Programs())


def test_the_method_runs_the_programs_of_a_bundle():
    configs = {"motion": MotionConfig(), "render": RenderConfig()}
    bundle = SimpleNamespace(call=Programs())
    made = chain.METHOD.chain(configs, bundle)
    made.prepare(_track(3))
    assert len(bundle.call.of(programs.MOTION_REFERENCES)) == 1


def test_references_are_taken_from_the_allowed_frames_alone():
    """Nothing of a mouth that is not allowed is seen; boxes and poses are those of the track."""
    allowed = np.arange(12) >= 6
    fed = []
    for opened in (0, 9):
        track = _track(12, invalid=(7,))
        # Before frame 6 another mouth, within the crop box.
        track.landmarks[:6, 14, 1] += opened
        call = Programs()
        made = _chain(call, references=3)
        face = made.prepare(track, references=allowed)
        np.testing.assert_array_equal(face.order, [6, 9, 11])
        motion = made.predict_motion(track, samples=_speech(12), references=allowed)
        fed.append([*call.of(programs.MOTION_REFERENCES), *call.of(programs.MOTION)])
        np.testing.assert_array_equal(
            motion.landmarks[:, SCHEME.groups["pose"]],
            made.prepare(track).geometry.points[face.nearest][:, SCHEME.groups["pose"]],
        )
    for one, two in zip(*fed, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], two[name], err_msg=name)
    with pytest.raises(FaceError, match="reference"):
        _chain(Programs()).prepare(_track(12, invalid=(7,)), references=np.arange(12) == 7)
