import numpy as np

from talkface_jax.features import alphabet


def test_the_order_is_deepspeechs():
    assert alphabet.SIZE == 29
    assert alphabet.CHARACTERS[0] == " "
    assert alphabet.CHARACTERS[1:27] == "abcdefghijklmnopqrstuvwxyz"
    assert alphabet.CHARACTERS[27] == "'"
    assert alphabet.BLANK == 28


def test_normalise_keeps_letters_and_apostrophes():
    assert alphabet.normalise("  The man\u2019s 2nd--hat, OK?\n") == "the man's nd hat ok"


def test_decode_undoes_encode_and_skips_padding():
    numbers = alphabet.encode("It's a zoo.")
    np.testing.assert_array_equal(numbers[:4], [9, 20, 27, 19])
    padded = np.concatenate([numbers, [-1, -1, alphabet.BLANK]])
    assert alphabet.decode(padded) == "it's a zoo"


def test_greedy_text_merges_repeats_but_not_across_a_blank():
    path = [8, 8, 28, 5, 12, 12, 28, 12, 15, 28, 28]
    logits = np.full((len(path), 29), -1.0)
    logits[np.arange(len(path)), path] = 1.0
    assert alphabet.greedy_text(logits) == "hello"
    assert alphabet.greedy_text(logits[:0]) == ""
