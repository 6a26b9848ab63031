import numpy as np

from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.media.sketch import draw_lines, draw_sketch

SCHEME = get_scheme("iplap131")


def ellipse():
    """Points spread over the crop."""
    angle = np.linspace(0, 2 * np.pi, 131, endpoint=False)
    return 0.5 + 0.4 * np.stack([np.cos(angle), np.sin(angle)], -1)


def test_a_line_is_dropped_when_an_end_is_outside():
    points = np.full((131, 2), -1.0)
    a, b = SCHEME.edges[0]
    points[a] = [0.25, 0.5]
    assert draw_lines(points, (128, 128)).max() == 0
    points[b] = [0.75, 0.5]
    lines = draw_lines(points, (128, 128))
    assert (lines[64, 32:97] == 224).all() and lines.sum() == 224 * 65


def test_points_on_the_far_border_are_drawn():
    points = np.full((131, 2), -1.0)
    a, b = SCHEME.edges[0]
    points[a], points[b] = [1, 0], [1, 1]
    assert (draw_lines(points, (128, 128))[:, 127] == 224).all()


def test_only_the_shape_of_the_crop_matters():
    same = draw_sketch(ellipse(), (300, 200))
    np.testing.assert_array_equal(same, draw_sketch(ellipse(), (150.0, 100.0)))
    assert (same != draw_sketch(ellipse(), (200, 300))).any()


def test_other_sizes_are_resized():
    for size in (32, 256):
        sketch = draw_sketch(ellipse(), (128, 128), size=size)
        assert sketch.shape == (size, size, 3) and sketch.max() > 40
        np.testing.assert_array_equal(sketch[..., 0], sketch[..., 2])
