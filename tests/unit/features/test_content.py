import numpy as np
import pytest

from talkface_jax.errors import ConfigError
from talkface_jax.features import content


def test_windows_are_centred_on_their_frame():
    rows = np.arange(200, dtype=np.float32)[:, None] * [1, 10]
    windows = content.content_windows(rows, np.array([10, 50]))
    assert windows.shape == (2, 16, 2)
    # Frame 10 lasts from row 20 to row 22; its middle is where row 21 begins.
    np.testing.assert_array_equal(windows[0, :, 0], np.arange(13, 29))
    np.testing.assert_array_equal(windows[1], rows[93:109])


def test_the_end_rows_are_repeated_beyond_the_ends():
    rows = np.arange(20, dtype=np.float32)[:, None]
    windows = content.content_windows(rows, np.array([0, 9, 30]))[..., 0]
    np.testing.assert_array_equal(windows[0], [0] * 7 + list(range(9)))
    np.testing.assert_array_equal(windows[1], [*range(11, 20), *[19] * 7])
    np.testing.assert_array_equal(windows[2], 19)


@pytest.mark.parametrize("first", [2, 31])
def test_a_part_has_the_windows_of_the_whole(first):
    rows = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    frames = np.arange(20, 40)
    np.testing.assert_array_equal(
        content.content_windows(rows[first:90], frames, first=first),
        content.content_windows(rows, frames),
    )


def test_unknown_names_and_needless_weights_are_refused():
    with pytest.raises(ConfigError, match=r"'wav2vec'.*deepspeech, whisper_tiny, ctc29"):
        content.open_feature("wav2vec")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match=r"'whisper_tiny' brings its own weights.*w\.npz"):
        content.open_feature("whisper_tiny", weights="w.npz")
