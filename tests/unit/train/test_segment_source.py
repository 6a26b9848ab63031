"""Training on segments in memory: one picture, and several clips."""

import dataclasses
import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from talkface_jax.data.picture import picture_segment
from talkface_jax.errors import RecordError
from talkface_jax.media.images import decode_jpeg
from talkface_jax.train.source import SegmentSource

LINEAGE = {"dataset": "picture", "licences": ["public domain"]}
WINDOWS = 25 - 5 + 1


@dataclasses.dataclass(frozen=True)
class PixelView:
    """A corner of a picture, the landmarks of a window, and where it lies; a shift is drawn."""

    window: int = 5
    name: str = "pixels"
    faces: bool = True

    def spec(self, batch_size):
        raise NotImplementedError

    def sample(self, segment, start, rng, *, train):
        points = segment.segment.landmarks[start : start + self.window]
        shift = rng.normal() if train else 0
        return {
            "points": points + np.float32(shift),
            "pixels": decode_jpeg(segment.frames[start])[100:108, 100:108],
            "start": np.array(start),
        }


@pytest.fixture(scope="module")
def picture(data_dir):
    return picture_segment(data_dir / "astronaut.jpg", licence="public domain")


@pytest.fixture
def source(picture):
    return SegmentSource([picture], lineage=LINEAGE)


@pytest.fixture
def several(make_segment):
    segments = [make_segment(seed=1, frames=14), make_segment(seed=2, frames=9, invalid=(0,))]
    return SegmentSource(segments, lineage=LINEAGE)


def take(batches, count):
    return [next(batches) for _ in range(count)]


def started(source, *, batch_size=4, seed=3):
    return source.train(PixelView(), batch_size=batch_size, seed=seed)


def assert_same(one, two):
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        assert set(a) == set(b)
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_a_picture_is_trained_on_without_an_end(source, picture):
    batches = started(source)
    found = take(batches, 15)
    batches.close()
    starts = np.concatenate([batch["start"] for batch in found])
    for epoch in starts[:WINDOWS], starts[WINDOWS : 2 * WINDOWS]:
        assert sorted(epoch.tolist()) == list(range(WINDOWS))
    points = np.concatenate([batch["points"] for batch in found])
    shifts = points - picture.landmarks[:5]
    assert np.ptp(shifts, axis=(1, 2, 3)).max() < 1e-5
    assert len(np.unique(shifts[:, 0, 0, 0].round(5))) == len(points), "draws repeat"
    assert all((batch["pixels"] == found[0]["pixels"][0]).all() for batch in found)


def test_two_runs_give_the_same_and_another_seed_does_not(picture):
    runs = [
        take(started(SegmentSource([picture], lineage={}, threads=threads)), 8)
        for threads in (0, 2)
    ]
    assert_same(*runs)
    other = take(started(SegmentSource([picture], lineage={}), seed=4), 8)
    assert not np.array_equal(other[0]["points"], runs[0][0]["points"])


def test_resume_is_exact(several):
    batches = started(several)
    take(batches, 7)
    state = json.loads(json.dumps(batches.get_state()))
    rest = take(batches, 9)
    batches.close()
    again = started(several)
    again.set_state(state)
    assert_same(take(again, 9), rest)
    again.close()
    with pytest.raises(RecordError, match="does not belong to this data set and seed"):
        started(several, seed=4).set_state(state)


def test_processes_share_the_order(several, monkeypatch):
    whole = take(started(several, batch_size=6), 5)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    shares = []
    for process in (0, 1):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        shares.append(take(started(several, batch_size=3), 5))
    for all_rows, one, two in zip(whole, *shares, strict=True):
        for name in all_rows:
            both = np.stack([one[name], two[name]], 1).reshape(all_rows[name].shape)
            np.testing.assert_array_equal(both, all_rows[name])


def test_evaluation_is_one_ordered_pass_with_a_mask(several):
    batches = list(several.evaluation(PixelView(), batch_size=2))
    np.testing.assert_array_equal([batch["mask"] for batch in batches], [[1, 1], [1, 0]])
    starts = np.concatenate([batch["start"] for batch in batches])
    np.testing.assert_array_equal(starts, [0, 5, 1, 1])
    assert_same(list(several.evaluation(PixelView(), batch_size=2)), batches)


def test_the_spread_is_without_augmentation(several, make_segment):
    samples = list(several.spread(PixelView(), limit=2))
    assert [int(sample["start"]) for sample in samples] == [0, 1]
    expected = make_segment(seed=2, frames=9, invalid=(0,)).landmarks[1:6]
    np.testing.assert_array_equal(samples[1]["points"], expected)
    assert len(list(several.spread(PixelView(), limit=50))) == 3


def test_lineage_is_what_was_given_and_cannot_be_changed(source):
    source.lineage["dataset"] = "other"
    assert source.lineage == LINEAGE


def test_what_has_no_window_is_refused(picture, make_segment):
    with pytest.raises(RecordError, match="a set in memory got no segment; give at least one"):
        SegmentSource([], lineage={})
    with pytest.raises(
        RecordError, match=r"has no 26 consecutive frames with a face; give longer segments"
    ):
        SegmentSource([picture], lineage={}).train(PixelView(window=26), batch_size=1, seed=0)


def test_a_view_finds_the_other_segments(make_segment):
    class OtherView(PixelView):
        def sample(self, segment, start, rng, *, train):
            other = segment.other_speaker(rng)
            return {"clips": np.array([segment.segment.info.clip, other.segment.info.clip])}

    segments = [make_segment(seed=seed, frames=8) for seed in (1, 2)]
    batches = SegmentSource(segments, lineage={}).train(OtherView(), batch_size=6, seed=0)
    pairs = {tuple(pair) for batch in take(batches, 3) for pair in batch["clips"].tolist()}
    batches.close()
    assert pairs == {("clip1", "clip2"), ("clip2", "clip1")}


def test_importing_it_loads_neither_the_tracker_nor_the_decoder():
    code = (
        "import sys; import talkface_jax.train.source, talkface_jax.data.picture\n"
        "print([name for name in ('mediapipe', 'av', 'cv2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
