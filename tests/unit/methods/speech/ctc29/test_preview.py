import numpy as np

from talkface_jax.features import alphabet
from talkface_jax.methods.speech.ctc29 import preview
from talkface_jax.methods.speech.ctc29.config import Ctc29Config
from talkface_jax.methods.speech.ctc29.task import Ctc29Task


def says(text):
    logits = np.full((40, 29), -5.0, np.float32)
    logits[:, alphabet.BLANK] = 0
    for place, number in enumerate(alphabet.encode(text)):
        logits[2 * place, number] = 5
    return logits


def test_spectrograms_stand_over_the_true_and_the_recognised_text():
    mel = np.random.default_rng(0).normal(size=(6, 40, 8)).astype(np.float32)
    labels = np.full((6, 12), -1, np.int32)
    labels[:, :9] = alphabet.encode("blue moon")
    texts = ["blue moon", "", "red", "red", "red", "red"]
    outputs = {"logits": np.stack([says(text) for text in texts])}
    shown = Ctc29Task(Ctc29Config()).previews(outputs, {"mel": mel, "labels": labels})
    image = shown.images["recognised"]
    panels = image.reshape(preview.SHOWN, -1, *image.shape[1:])
    assert image.dtype == np.uint8 and panels.shape == (4, 2 * 8 + 2 * 22, 2 * 40, 3)
    for item, panel in enumerate(panels):
        # Low bands at the bottom, each number as a square of two pixels.
        low, high = mel[item].min(), mel[item].max()
        gray = ((mel[item] - low) / (high - low) * 255).astype(np.uint8)
        np.testing.assert_array_equal(panel[:16:2, ::2, 1], gray.T[::-1])
    true, found = panels[:, 16:38], panels[:, 38:]
    assert all(np.array_equal(true[0], other) for other in true[1:])
    assert (true[0] != 255).any()
    # Nothing recognised leaves the line empty; the same words in another colour.
    assert (found[1] == 255).all() and not np.array_equal(found[0], found[2])
    marked = [(line != 255).any(-1) for line in (true[0], found[0])]
    np.testing.assert_array_equal(*marked)
    assert (np.ptp(true[0].astype(int), axis=-1) == 0).all()
    assert (np.ptp(found[0].astype(int), axis=-1) > 50).any()
