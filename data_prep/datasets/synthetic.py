"""The synthetic set: what `data_prep.synthetic.dataset.generate` wrote, by its metadata.json."""

import json
from collections.abc import Mapping
from typing import Any

from data_prep import places
from data_prep.datasets.listing import Listing
from data_prep.synthetic.dataset import METADATA, Summary, generate
from data_prep.tree import Tree
from talkface_jax.errors import MediaError
from talkface_jax.records import EMOTIONS, ClipInfo

__all__ = ["Summary", "generate", "list_clips"]


def list_clips(tree: Tree) -> Listing:
    """Every clip of the set, in the order of its metadata; paths are relative to the root.

    Raises:
      MediaError: no metadata (the set was never finished), metadata that cannot be read, or a
        missing file.
    """
    if METADATA not in tree:
        raise MediaError(
            f"{tree.root} holds no finished synthetic set ({METADATA} is missing); run "
            "talkface prepare --dataset=synthetic --clips=N again to finish it."
        )
    try:
        content = json.loads(tree.read_text(METADATA))
        clips = tuple(_clip(row, str(content["licence"])) for row in content["clips"])
    except (ValueError, KeyError, TypeError) as error:
        raise MediaError(
            f"{places.join(tree.root, METADATA)} cannot be read ({error}); delete {tree.root} and "
            "generate it again."
        ) from error
    for clip in clips:
        for file in (clip.video, clip.audio):
            if file not in tree:
                raise MediaError(
                    f"{places.join(tree.root, file)} is missing; delete {tree.root} and generate "
                    "it again."
                )
    return Listing(clips, complete=True)


def _clip(row: Mapping[str, Any], licence: str) -> ClipInfo:
    return ClipInfo(
        dataset="synthetic",
        clip=row["clip"],
        speaker=row["actor"],
        video=row["video"],
        audio=row["audio"],
        split=row["split"],
        text=row["text"],
        emotion=EMOTIONS.index(row["emotion"]),
        level=int(row["level"]),
        view="front",
        licence=licence,
    )
