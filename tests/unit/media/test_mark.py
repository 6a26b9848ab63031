"""Visible and invisible marks."""

import json

import cv2
import numpy as np
import pytest

from talkface_jax.media import mark
from talkface_jax.media.writer import VideoWriter


def _clip(data_dir, count=25, size=(256, 256)):
    image = cv2.cvtColor(cv2.imread(str(data_dir / "astronaut.jpg")), cv2.COLOR_BGR2RGB)
    image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    return [np.roll(image, (k // 2, k), axis=(0, 1)) for k in range(count)]


def test_unmarked_footage_scores_low(data_dir):
    assert abs(mark.mark_score(_clip(data_dir))) < mark.DETECTION_THRESHOLD - 2
    assert mark.mark_score([]) == 0.0


def test_invisible_mark_survives_h264_and_scaling(data_dir, tmp_path):
    path = tmp_path / "marked.mp4"
    frames = [mark.invisible_mark(frame) for frame in _clip(data_dir)]
    with VideoWriter(path, size=(256, 256)) as writer:
        for frame in frames:
            writer.write(frame)
    assert mark.detect_mark(path) > mark.DETECTION_THRESHOLD + 2
    smaller = [cv2.resize(frame, (192, 192), interpolation=cv2.INTER_AREA) for frame in frames]
    assert mark.mark_score(smaller) > mark.DETECTION_THRESHOLD


def test_unmarked_file_is_not_detected(data_dir, tmp_path):
    path = tmp_path / "plain.mp4"
    with VideoWriter(path, size=(256, 256)) as writer:
        for frame in _clip(data_dir):
            writer.write(frame)
    assert abs(mark.detect_mark(path)) < mark.DETECTION_THRESHOLD - 2


def test_invisible_mark_is_faint(data_dir):
    frame = _clip(data_dir, 1)[0]
    change = mark.invisible_mark(frame).astype(int) - frame
    assert 0 < np.abs(change).max() <= 7
    assert np.sqrt((change**2).mean()) < 2.5


@pytest.mark.parametrize("size", [(128, 128), (256, 256), (480, 640), (1080, 1920)])
def test_visible_mark_is_small_and_legible(size):
    frame = np.full((*size, 3), 128, np.uint8)
    marked = mark.visible_mark(frame)
    changed = (marked != frame).any(-1)
    assert 0.0005 < changed.mean() < 0.15
    assert changed[: size[0] // 2].sum() == 0
    assert int(marked[changed].max()) - int(marked[changed].min()) > 100
    assert (frame == 128).all()


def test_modes(data_dir):
    frame = _clip(data_dir, 1)[0]
    both = mark.apply_mark(frame, mark=mark.Mark.BOTH)
    assert np.array_equal(both, mark.visible_mark(mark.invisible_mark(frame)))
    only = mark.apply_mark(frame, mark=mark.Mark.VISIBLE)
    assert np.array_equal(only[:128], frame[:128])


def test_provenance_names_inputs_by_digest(tmp_path):
    path = tmp_path / "face.mp4"
    path.write_bytes(b"abc")
    tags = mark.provenance(
        method="iplap",
        weight_id="0123",
        mark=mark.Mark.VISIBLE,
        software="talkface_jax 0",
        inputs={"face": path},
    )
    record = json.loads(tags["comment"])
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert record["inputs"]["face"] == f"face.mp4 sha256:{digest}"
    assert record["generated"] == "AI-generated" and record["weight_id"] == "0123"
