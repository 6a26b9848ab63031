"""What is said: many different training sentences with wide sound coverage.

The val and test sentences are those of the synthetic set, so that no network of the chain has met
them in training; the templates here are checked not to give one.
"""

from collections.abc import Callable

import numpy as np

from data_prep.speech import words
from data_prep.synthetic.sentences import held_out_sentences, val_sentences

LONGEST = 62
"""Characters of the longest sentence: it can be said in five seconds."""


def _pick(rng: np.random.Generator, choices: list) -> str:
    return choices[rng.integers(len(choices))]


def _verb(rng: np.random.Generator, form: int) -> str:
    return words.VERBS[rng.integers(len(words.VERBS))][form]


def _thing(rng: np.random.Generator, *, adjective: float = 0.6) -> str:
    """A noun with its determiner, and mostly with an adjective; "a" becomes "an" by spelling."""
    determiner = _pick(rng, words.DETERMINERS)
    rest = _pick(rng, words.NOUNS)
    if rng.random() < adjective:
        rest = f"{_pick(rng, words.ADJECTIVES)} {rest}"
    if rng.random() < 0.08:
        rest = f"{_pick(rng, words.NOUNS)}'s {rest}"
    if determiner == "a" and rest[0] in "aeiou":
        determiner = "an"
    return f"{determiner} {rest}"


def _place(rng: np.random.Generator) -> str:
    if rng.random() < 0.5:
        return _pick(rng, words.ENDINGS)
    return f"{_pick(rng, words.PREPOSITIONS)} {_thing(rng, adjective=0.4)}"


def _past(rng: np.random.Generator) -> str:
    who = _pick(rng, words.PEOPLE) if rng.random() < 0.4 else _thing(rng)
    return f"{who} {_verb(rng, 1)} {_thing(rng)} {_place(rng)}."


def _modal(rng: np.random.Generator) -> str:
    who = _pick(rng, words.PEOPLE)
    return f"{who} {_pick(rng, words.MODALS)} {_verb(rng, 0)} {_thing(rng)} {_place(rng)}."


def _question(rng: np.random.Generator) -> str:
    start = _pick(rng, ["did", "why did", "when did", "how did", "where will", "what if", "should"])
    who = _pick(rng, words.PEOPLE)
    return f"{start} {who} {_verb(rng, 0)} {_thing(rng)} {_place(rng)}?"


def _order(rng: np.random.Generator) -> str:
    start = _pick(rng, ["please", "don't", "just", "let's", "always", "you'd better", "now"])
    return f"{start} {_verb(rng, 0)} {_thing(rng)} and {_verb(rng, 0)} {_thing(rng)}."


def _state(rng: np.random.Generator) -> str:
    start = _pick(
        rng, ["there was", "it's", "that is", "here is", "I've got", "we saw", "they'd be"]
    )
    return f"{start} {_thing(rng)} {_place(rng)} and {_thing(rng)}."


def _count(rng: np.random.Generator) -> str:
    """A list of words in no grammar: sounds meet that sentences rarely bring together."""
    listed = " ".join(_pick(rng, words.NOUNS + words.ADJECTIVES) for _ in range(rng.integers(3, 6)))
    return f"{_pick(rng, words.NUMBERS)} {_pick(rng, words.ADJECTIVES)} {listed}."


_KINDS: tuple[Callable[[np.random.Generator], str], ...] = (
    _past,
    _past,
    _modal,
    _question,
    _order,
    _state,
    _count,
)


def train_texts(count: int, *, rng: np.random.Generator) -> list[str]:
    """`count` different training sentences of 25 to 62 characters; none is one of val or test."""
    held_out = {*val_sentences(), *held_out_sentences()}
    chosen: dict[str, None] = {}
    while len(chosen) < count:
        text = _KINDS[rng.integers(len(_KINDS))](rng)
        text = text[0].upper() + text[1:]
        if 25 <= len(text) <= LONGEST and text not in held_out:
            chosen[text] = None
    return list(chosen)
