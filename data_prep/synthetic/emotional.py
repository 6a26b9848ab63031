"""Held-out people who each say one sentence in every emotion: truth for videos of all emotions.

A set in the layout of `data_prep.synthetic.dataset`, of test clips only. A person's sentence, voice
and pauses are the same in all emotions; scene, head motion, gaze and blinks are not. Sentences are
short: each is made, and judged, eight times.
"""

import os
import pathlib
from collections.abc import Callable

import numpy as np

from data_prep.synthetic.dataset import VERSION, ClipPlan, Summary, write_set
from data_prep.synthetic.identity import divide_cast
from data_prep.synthetic.sentences import held_out_sentences
from talkface_jax.errors import ConfigError
from talkface_jax.records import EMOTIONS

LEVEL = 3
_SHORT = 8
"""Of how many of the shortest held-out sentences people draw theirs."""


def plan_emotional(*, people: int, seed: int) -> list[ClipPlan]:
    """Who says what: each of the first test people one sentence, in the order of `EMOTIONS`.

    Raises:
      ConfigError: more people than are held out or than there are short sentences, or none.
    """
    cast = divide_cast(seed).test
    most = min(len(cast), _SHORT)
    if not 1 <= people <= most:
        raise ConfigError(f"there are {most} held-out people, not {people}; ask for 1 to {most}")
    rng = np.random.default_rng([seed, 5])
    texts = rng.permutation(sorted(held_out_sentences(), key=len)[:_SHORT])
    return [
        ClipPlan(
            index=number * len(EMOTIONS) + place,
            actor=cast[number].name,
            emotion=emotion,
            level=1 if emotion == "neutral" else LEVEL,
            number=1,
            split="test",
            text=str(texts[number]),
            voice=number,
        )
        for number in range(people)
        for place, emotion in enumerate(EMOTIONS)
    ]


def generate_emotional(
    out_dir: str | os.PathLike[str],
    *,
    people: int,
    seed: int,
    workers: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> Summary:
    """Generates the raw set, or what is missing of it.

    Args:
      out_dir: folder of the set; finished clips in it are kept.
      people: how many of the held-out people; each is in eight clips.
      seed: the set is a function of (people, seed).
      workers: processes.
      progress: called as progress(what, done, total).

    Raises:
      ConfigError: no such number of people, or the folder holds a set made with other arguments.
      TalkfaceError: the folder cannot be made, or a worker process died.
    """
    return write_set(
        pathlib.Path(out_dir),
        plan_emotional(people=people, seed=seed),
        request={"version": VERSION, "emotional_people": people, "seed": seed},
        workers=workers,
        progress=progress,
    )
