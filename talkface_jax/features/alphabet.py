"""The 29 characters of DeepSpeech's output: space, a to z, apostrophe, and the CTC blank."""

import re

import numpy as np
from jaxtyping import Float, Int

CHARACTERS = " abcdefghijklmnopqrstuvwxyz'"
BLANK = len(CHARACTERS)
SIZE = BLANK + 1
_NUMBERS = {character: number for number, character in enumerate(CHARACTERS)}
_OTHERS = re.compile(r"[^a-z']+")


def normalise(text: str) -> str:
    """The text in the alphabet: lower case, anything else than letters and apostrophes a space."""
    return _OTHERS.sub(" ", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")).strip()


def encode(text: str) -> Int[np.ndarray, " n"]:
    """The numbers of a text's characters, after `normalise`."""
    return np.array([_NUMBERS[character] for character in normalise(text)], np.int32)


def decode(numbers: Int[np.ndarray, " n"]) -> str:
    """The text of characters; numbers outside of the alphabet (blank, padding) are left out."""
    return "".join(CHARACTERS[number] for number in numbers if 0 <= number < BLANK)


def greedy_text(logits: Float[np.ndarray, "m 29"]) -> str:
    """The best path of CTC (Graves et al., 2006): best character of each row, repeats merged."""
    best = logits.argmax(-1)
    first = np.concatenate([[True], best[1:] != best[:-1]]) if len(best) else np.zeros(0, bool)
    return decode(best[first])
