"""Pictures of the same clip or of a neutral one, and what both are labelled with."""

import dataclasses
import pickle

import numpy as np
import pytest

from talkface_jax.data import pipeline
from talkface_jax.data.reader import SegmentReader
from talkface_jax.emotions import CONTEMPT, EMOTIONS, NEUTRAL
from talkface_jax.errors import ConfigError
from talkface_jax.landmarks import align, boxes
from talkface_jax.methods.emotion.blendshapes.view import EmotionView
from talkface_jax.methods.sinha2022.render.view import RenderView

HAPPY, SAD = EMOTIONS.index("happy"), EMOTIONS.index("sad")
VIEW = RenderView(size=16)


def labelled(segment, *, clip, speaker, emotion, level=1):
    info = dataclasses.replace(
        segment.info, clip=clip, speaker=speaker, emotion=emotion, level=level
    )
    return dataclasses.replace(segment, info=info)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, make_segment, write):
    """Ann's clips: happy at level 2, neutral twice, sad; ben's only one is sad."""
    rows = [
        labelled(make_segment(seed=1, frames=12), clip="h", speaker="ann", emotion=HAPPY, level=2),
        labelled(make_segment(seed=2, frames=12), clip="n", speaker="ann", emotion=NEUTRAL),
        labelled(make_segment(seed=3, frames=12), clip="m", speaker="ann", emotion=NEUTRAL),
        labelled(make_segment(seed=4, frames=12), clip="s", speaker="ann", emotion=SAD, level=3),
        labelled(make_segment(seed=5, frames=12), clip="b", speaker="ben", emotion=SAD),
    ]
    folder = write(tmp_path_factory.mktemp("labelled"), {"train-0": rows})
    return pipeline.open_dataset(folder, "train")


def geometry(segment):
    source = boxes.from_box(segment.landmarks, segment.box)
    return boxes.crop_geometry(source, valid=segment.valid, scheme="ibug68").points


def draw(dataset, view, record, *, seed=0, train=True):
    return view.sample(dataset.reader(record), 5, np.random.default_rng(seed), train=train)


def taken_from(dataset, sample):
    """The records among whose frames the picture's landmarks are."""
    return [
        record
        for record in range(len(dataset))
        if np.abs(geometry(dataset.segment(record)) - sample["identity_points"]).max((1, 2)).min()
        < 1e-5
    ]


@pytest.mark.parametrize("train", [True, False])
def test_a_neutral_picture_is_of_the_speakers_neutral_clips(dataset, train):
    seen = set()
    for seed in range(12):
        sample = draw(dataset, VIEW, 0, seed=seed, train=train)
        (record,) = taken_from(dataset, sample)
        seen.add(record)
        np.testing.assert_allclose(sample["emotion"], np.eye(8)[HAPPY] * 2 / 3)
        np.testing.assert_array_equal(sample["face_emotion"], np.zeros(8))
        np.testing.assert_allclose(sample["points"], geometry(dataset.segment(0))[5], atol=1e-6)
    assert seen == {1, 2}
    assert taken_from(dataset, draw(dataset, VIEW, 1, train=train)) == [2]


def test_without_a_neutral_clip_and_by_choice_it_is_of_the_clip_itself(dataset):
    sample = draw(dataset, VIEW, 4)
    assert taken_from(dataset, sample) == [4]
    np.testing.assert_allclose(sample["face_emotion"], np.eye(8)[SAD] / 3)
    sample = draw(dataset, dataclasses.replace(VIEW, source="clip"), 3)
    assert taken_from(dataset, sample) == [3]
    np.testing.assert_array_equal(sample["face_emotion"], np.eye(8)[SAD])
    np.testing.assert_array_equal(sample["emotion"], sample["face_emotion"])


@pytest.mark.parametrize("view", [VIEW, RenderView(size=32, align="affine", flip=True)])
def test_samples_fit_the_spec(dataset, view):
    sample, spec = draw(dataset, view, 0), view.spec(3)
    assert sample.keys() == spec.keys()
    for key, array in sample.items():
        assert (3, *array.shape) == spec[key].shape, key
        assert array.dtype == spec[key].dtype, key
    assert pickle.loads(pickle.dumps(view)) == view


def test_a_neutral_picture_is_moved_onto_the_head_of_the_target(dataset):
    """By the map that takes its rigid points to the target's, not as its own crop has them."""
    view = dataclasses.replace(VIEW, align="affine")
    near, far = draw(dataset, view, 0), draw(dataset, VIEW, 0)
    wanted = view.light(dataset.reader(0)).crop_rigid[5]
    moved = []
    for light in (view.light(dataset.reader(record)) for record in (1, 2)):
        for points, rigid in zip(light.points, light.rigid, strict=True):
            moved.append(align.apply_affine(points, align.fit_affine(rigid, wanted)))
    assert np.abs(moved - near["identity_points"]).max((1, 2)).min() < 1e-4
    assert np.abs(moved - far["identity_points"]).max((1, 2)).min() > 0.05


def test_a_mirrored_sample_is_never_of_contempt(dataset):
    flipping = dataclasses.replace(VIEW, flip=True)
    mirrored = 0
    for seed in range(20):
        plain, drawn = (draw(dataset, view, 3, seed=seed) for view in (VIEW, flipping))
        if not np.array_equal(plain["face"], drawn["face"]):
            mirrored += 1
            np.testing.assert_array_equal(drawn["face"], plain["face"][:, ::-1])
            np.testing.assert_array_equal(drawn["identity"], plain["identity"][:, ::-1])
    assert 4 <= mirrored <= 16
    shown = draw(dataset, VIEW, 3)
    for key in ("emotion", "face_emotion"):
        one_sided = {**shown, key: np.eye(8, dtype=np.float32)[CONTEMPT]}
        assert flipping.mirrors(shown) and not flipping.mirrors(one_sided)
        for seed in range(20):
            changed = flipping._changed(one_sided, np.random.default_rng(seed))
            np.testing.assert_array_equal(changed["face"], shown["face"])


def test_what_is_kept_of_a_segment_is_no_other_views(dataset):
    """The reader of emotions keeps the label of the same segments in another form."""
    reader, rng = dataset.reader(0), np.random.default_rng(0)
    for _ in range(2):
        read = EmotionView().sample(reader, 5, rng, train=False)
        assert (read["emotion"], read["intensity"]) == (HAPPY, np.float32(2 / 3))
        shown = VIEW.sample(reader, 5, rng, train=False)
        np.testing.assert_allclose(shown["emotion"], np.eye(8)[HAPPY] * 2 / 3)


def test_a_clip_without_a_label_is_refused_by_name(make_segment, dataset):
    segment = labelled(make_segment(seed=6), clip="x", speaker="ann", emotion=-1, level=-1)
    with pytest.raises(ConfigError, match="clip x of data set fake has no emotion"):
        VIEW.sample(SegmentReader.of(segment), 5, np.random.default_rng(0), train=True)
    assert VIEW.labels
