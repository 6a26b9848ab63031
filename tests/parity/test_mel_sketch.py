"""The audio feature and the face sketch against the official IP-LAP code."""

import cases
import numpy as np
import pytest

from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.media.sketch import draw_lines, draw_sketch

EXACT = {"ori_sequence_idx", "full_face_sequence", "connections"}


def test_mel():
    (check,) = cases.run(cases.FOLDER, "mel.npz").values()
    assert (check.tensor, check.tolerance, check.unit) == ("mel", 1e-3, "")
    assert check.error <= 1e-3


def test_other_mel_is_noticed(tmp_path):
    folder = cases.copy(tmp_path, "mel.npz")
    cases.change(folder / "mel.npz", mel=cases.first(2e-3))
    assert cases.over(cases.run(folder, "mel.npz")) == {"mel"}


def test_sketch_and_point_lists():
    found = cases.run(cases.FOLDER, "sketch.npz")
    assert set(found) == EXACT | {"sketch128"}
    assert (found["sketch128"].tolerance, found["sketch128"].unit) == (0.01, "of pixels")
    assert found["sketch128"].error <= 0.01
    assert {found[name].tolerance for name in EXACT} == {0}
    assert {found[name].error for name in EXACT} == {0}


def test_other_drawing_and_other_point_lists_are_noticed(tmp_path):
    folder = cases.copy(tmp_path, "sketch.npz")

    def shifted(drawings):
        # Of the last drawing alone, a column to the right.
        return np.concatenate([drawings[:-1], np.roll(drawings[-1:], 1, axis=2)])

    def without(pairs):
        return pairs[1:]

    cases.change(
        folder / "sketch.npz",
        sketch128=shifted,
        ori_sequence_idx=cases.first(1),
        full_face_sequence=np.flip,
        connections=without,
    )
    assert cases.over(cases.run(folder, "sketch.npz")) == EXACT | {"sketch128"}


@pytest.mark.parametrize(("pixels", "names"), [(160, set()), (170, {"sketch128"})])
def test_one_pixel_in_a_hundred_may_differ(tmp_path, pixels, names):
    folder = cases.copy(tmp_path, "sketch.npz")

    def altered(drawings):
        drawings = drawings.copy()
        flat = drawings[3].reshape(-1, 3)
        flat[:pixels, 1] = 77
        return drawings

    cases.change(folder / "sketch.npz", sketch128=altered)
    assert cases.over(cases.run(folder, "sketch.npz")) == names


@pytest.mark.parametrize("rounding", [np.rint, np.floor])
@pytest.mark.parametrize("shift", [0, 1])
def test_drawing_stored_once_is_read_too(tmp_path, rounding, shift):
    """The case holds 255 times the drawing, modulo 256."""
    folder = cases.copy(tmp_path, "sketch.npz")
    order = np.concatenate([get_scheme("iplap131").groups[name] for name in ("pose", "content")])
    with np.load(folder / "sketch.npz") as stored:
        drawings = [
            draw_lines(points.T[np.argsort(order)], tuple(size))
            for points, size in zip(stored["landmarks"], stored["hw"], strict=True)
        ]
    plain = np.repeat(rounding(np.stack(drawings)).astype(np.uint8)[..., None], 3, -1)
    cases.change(folder / "sketch.npz", sketch128=lambda _: np.roll(plain, shift, 1))
    assert cases.over(cases.run(folder, "sketch.npz")) == ({"sketch128"} if shift else set())


def test_file_without_point_lists_is_read_too(tmp_path):
    folder = cases.copy(tmp_path, "sketch.npz")
    with np.load(folder / "sketch.npz") as stored:
        arrays = {key: stored[key] for key in stored.files if key not in EXACT}
    np.savez(folder / "sketch.npz", **arrays)
    assert set(cases.run(folder, "sketch.npz")) == {"sketch128"}


def test_bytes_are_the_rounded_lines_in_three_channels():
    with np.load(cases.FOLDER / "sketch.npz") as stored:
        points, size = stored["landmarks"][0].T, tuple(stored["hw"][0])
    lines, drawing = draw_lines(points, size), draw_sketch(points, size)
    assert drawing.dtype == np.uint8 and drawing.shape == (128, 128, 3)
    assert np.abs(drawing - lines[..., None]).max() <= 0.5
    assert 200 <= drawing.max() <= 224
