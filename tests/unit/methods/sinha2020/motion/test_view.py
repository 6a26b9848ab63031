"""What the motion stage takes of a segment, and what of it is kept on disk."""

import dataclasses
import itertools
import pickle

import numpy as np
import pytest

from talkface_jax.data.kept import KeptArrays
from talkface_jax.data.pipeline import (
    Mixture,
    PreparedDataset,
    SegmentReader,
    eval_batches,
    open_dataset,
    train_iterator,
)
from talkface_jax.features import content
from talkface_jax.landmarks import boxes, retarget
from talkface_jax.methods.sinha2020.motion import view as views
from talkface_jax.methods.sinha2020.motion.view import MotionView
from talkface_jax.methods.stages.portrait import sound as hearing

SIZE = content.SIZES["ctc29"]


class LevelRows:
    """Stands in for a speech feature: row i holds the mean of its 320 samples, and i."""

    name, version, size = "ctc29", 1, SIZE

    def cache_key(self):
        return "levels"

    def __call__(self, samples):
        count = -(-len(samples) // 320)
        padded = np.pad(samples, (0, 320 * count - len(samples)))
        rows = np.zeros((count, SIZE), np.float32)
        rows[:, 0] = padded.reshape(count, 320).mean(1)
        return rows


@pytest.fixture(autouse=True)
def feature(monkeypatch):
    # Not below its memory: a thread that an earlier test's reading left behind may still fill that.
    monkeypatch.setattr(hearing, "_feature", lambda name, weights: LevelRows())


@pytest.fixture(scope="module")
def sound():
    return np.random.default_rng(9).integers(-9000, 9000, 80 * 640).astype(np.int16)


@pytest.fixture(scope="module")
def segment(make_segment, sound):
    return make_segment(seed=6, frames=30, start=37, invalid=(0, 1, 20), sound=sound)


@pytest.fixture
def reader(segment):
    return SegmentReader.of(segment)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("train", [True, False])
def test_samples_fit_the_spec(reader, train):
    view = MotionView(feature="ctc29", window=7, flip=True)
    sample = view.sample(reader, 5, rng(), train=train)
    spec = view.spec(3)
    assert sample.keys() == spec.keys()
    for key, array in sample.items():
        assert (3, *array.shape) == spec[key].shape and array.dtype == spec[key].dtype


def test_windows_are_those_of_the_whole_clip(reader, sound):
    """Also where they reach over the segment's borders, into its context."""
    whole = LevelRows()(sound.astype(np.float32) / 32768)
    view = MotionView(feature="ctc29", window=3)
    for start in (2, 13, 27):
        sample = view.sample(reader, start, rng(), train=True)
        frames = np.arange(37 + start, 37 + start + 3)
        rows = 2 * frames[:, None] + np.arange(-7, 9)
        np.testing.assert_allclose(sample["content"], whole[rows], atol=1e-6)


def test_motion_is_normalised_by_references_of_the_segment(reader, segment):
    sample = MotionView(feature="ctc29", references=6).sample(reader, 8, rng(), train=True)
    mesh = boxes.from_box(segment.landmarks, segment.box)
    gap = np.linalg.norm(mesh[:, 13, :2] - mesh[:, 14, :2], axis=-1)
    eyes = np.linalg.norm(mesh[:, 33, :2] - mesh[:, 263, :2], axis=-1)
    order = np.flatnonzero(segment.valid)
    order = order[np.argsort((gap[order] / eyes[order]), kind="stable")]
    chosen = order[np.round(np.linspace(0, len(order) - 1, 6)).astype(int)]
    expected = retarget.normalise(mesh, valid=segment.valid, references=chosen)
    np.testing.assert_allclose(sample["offsets"], expected.offsets[8:13], atol=1e-6)


def test_half_of_the_training_samples_are_mirrored(reader):
    view = MotionView(feature="ctc29", flip=True)
    plain = view.sample(reader, 8, rng(), train=False)
    mirrored = []
    for seed in range(12):
        sample = view.sample(reader, 8, rng(seed), train=True)
        np.testing.assert_array_equal(sample["content"], plain["content"])
        same = np.array_equal(sample["offsets"], plain["offsets"])
        if not same:
            np.testing.assert_array_equal(sample["offsets"], retarget.mirror(plain["offsets"]))
        mirrored.append(not same)
        again = view.sample(reader, 8, rng(seed), train=False)
        np.testing.assert_array_equal(again["offsets"], plain["offsets"])
    assert 2 < sum(mirrored) < 10
    never = MotionView(feature="ctc29").sample(reader, 8, rng(), train=True)
    np.testing.assert_array_equal(never["offsets"], plain["offsets"])


def test_images_are_never_decoded_and_features_made_once(segment, monkeypatch):
    broken = dataclasses.replace(segment, frames=(b"",) * len(segment))
    reader, calls = SegmentReader.of(broken), []
    original = LevelRows.__call__
    monkeypatch.setattr(
        LevelRows, "__call__", lambda self, x: calls.append(len(x)) or original(self, x)
    )
    view = MotionView(feature="ctc29")
    for start in (3, 9):
        view.sample(reader, start, rng(), train=True)
    assert len(calls) == 1
    assert pickle.loads(pickle.dumps(view)) == view


def test_batches_from_disk(prepared):
    dataset, view = open_dataset(prepared, "train"), MotionView(feature="ctc29")
    iterator = train_iterator(dataset, view, batch_size=6, seed=5, threads=2)
    batch = next(iterator)
    iterator.close()
    assert {key: item.shape for key, item in batch.items()} == {
        key: item.shape for key, item in view.spec(6).items()
    }


def test_batches_do_not_depend_on_what_is_kept(prepared, tmp_path, monkeypatch):
    """Memory only, made and written, read from disk: the same bytes, of one set or of two."""
    view = MotionView(feature="ctc29", window=3, flip=True)

    def batches(kept):
        dataset = open_dataset(prepared, "train", cache_mb=0 if kept else 64, kept=kept)
        for data in (dataset, Mixture((dataset, dataset), (1.0, 2.0))):
            iterator = train_iterator(data, view, batch_size=4, seed=5, threads=2)
            yield from itertools.islice(iterator, 6)
            iterator.close()
        yield from eval_batches(dataset, view, batch_size=4)

    def content(kept):
        return [{k: (v.dtype, v.tobytes()) for k, v in b.items()} for b in batches(kept)]

    kept = KeptArrays.open(str(tmp_path / "kept"))
    expected = content(None)
    assert content(kept) == expected
    records = len(open_dataset(prepared, "train"))
    made = list((tmp_path / "kept").rglob("*.safetensors"))
    assert len(made) == 2 * records and {path.parts[-3] for path in made} == {
        "content-levels",
        f"sinha2020-offsets-v{views.OFFSETS_VERSION}-{view.references}",
    }
    read = []
    monkeypatch.setattr(PreparedDataset, "segment", lambda *record: read.append(record))
    assert content(kept) == expected and not read, "the segments themselves are not read"


def test_other_offsets_than_before_need_another_version(segment):
    """Else a run would take the old ones that another run kept on disk."""
    offsets = views.motion_offsets(segment).astype(np.float64)
    known = {1: (0.0171996448, -0.0184855890, 50.5149338)}
    found = (offsets[8, 30, 0], offsets[25, 66, 1], np.abs(offsets).sum())
    np.testing.assert_allclose(found, known[views.OFFSETS_VERSION], rtol=1e-4)
