"""One picture of a person and replay faces as the data of a run (`methods.finetuning`)."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from talkface_jax.records import Segment
from talkface_jax.train.source import HeldSource

VARIANTS = 64
"""Changed copies of the picture that training sees."""
SHARE = 1.0, 3.0
"""Parts of a batch: the picture, the replay faces."""


class PictureSource(HeldSource):
    """Training batches of one part the picture, changed a little, and three parts replay faces;
    evaluation of the picture as it is.

    Which sample comes when is a function of seed and position (`data.mixture`), so that a run goes
    on where it was; a position fits the same picture and faces only.
    """

    def __init__(
        self,
        picture: Segment,
        replay: Sequence[Segment],
        *,
        seed: int,
        lineage: Mapping[str, Any],
        threads: int = 2,
    ):
        """Takes a segment of one frame that shows the person, and segments of other people.

        `seed` draws the changes of the picture; `lineage` says what the two are and under what
        licence, in plain JSON.
        """
        from talkface_jax.data import memory, mixture, variants

        changed = variants.picture_variants(picture, count=VARIANTS, seed=seed)
        alone = dataclasses.replace(picture, info=dataclasses.replace(picture.info, speaker=""))
        super().__init__(
            mixture.Mixture((memory.hold(changed), memory.hold(replay)), SHARE),
            memory.hold((alone,)),
            lineage=lineage,
            threads=threads,
        )
