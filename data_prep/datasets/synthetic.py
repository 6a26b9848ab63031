"""The synthetic set: what `data_prep.synthetic.dataset.generate` wrote, by its metadata.json."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from data_prep.synthetic.dataset import METADATA, Summary, generate
from talkface_jax.errors import MediaError
from talkface_jax.records import EMOTIONS, ClipInfo

__all__ = ["Summary", "generate", "list_clips"]


def list_clips(raw: pathlib.Path) -> list[ClipInfo]:
    """Every clip of the set, in the order of its metadata; paths are relative to `raw`.

    Raises:
      MediaError: no metadata (the set was never finished), metadata that cannot be read, or a
        missing file.
    """
    raw = pathlib.Path(raw)
    path = raw / METADATA
    if not path.is_file():
        raise MediaError(
            f"{raw} holds no finished synthetic set ({METADATA} is missing); run "
            "talkface prepare --dataset=synthetic --clips=N again to finish it."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        clips = [_clip(row, str(content["licence"])) for row in content["clips"]]
    except (ValueError, KeyError, TypeError) as error:
        raise MediaError(
            f"{path} cannot be read ({error}); delete {raw} and generate it again."
        ) from error
    for clip in clips:
        for file in (clip.video, clip.audio):
            if not (raw / file).is_file():
                raise MediaError(f"{raw / file} is missing; delete {raw} and generate it again.")
    return clips


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
