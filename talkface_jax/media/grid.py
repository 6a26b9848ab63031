"""Several videos in one picture: a grid that plays, and a strip of their frames."""

import contextlib
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from talkface_jax.errors import MediaError
from talkface_jax.media import mark
from talkface_jax.media.audio import read_clip_audio
from talkface_jax.media.video import IndexedVideo, open_video
from talkface_jax.media.writer import VideoWriter

Picture = UInt8[np.ndarray, "h w 3"]


def write_grid(
    videos: Mapping[str, pathlib.Path], out: pathlib.Path, *, columns: int = 4
) -> pathlib.Path:
    """Videos side by side, each under its name, with the sound of the first; as long as the
    shortest.

    Frames are as they are, marks included; those of other sizes become as large as the first's.
    Where the first is a generated file, so is the grid: the same tags name its method and weights,
    and the videos as inputs.

    Args:
      videos: by name, in reading order.
      out: the file to write; its folder must exist.
      columns: of the grid.

    Raises:
      MediaError: a video that cannot be read, or `out` cannot be written.
      ValueError: there is no video.
    """
    with _opened(videos) as sources:
        first, *_ = sources.values()
        length = min(map(len, sources.values()))
        rows = math.ceil(len(sources) / columns)
        blank = np.zeros((*first.size, 3), np.uint8)
        path = next(iter(videos.values()))
        writer = VideoWriter(
            out,
            size=(rows * first.size[0], columns * first.size[1]),
            audio=read_clip_audio(path, None, length) if first.info.has_audio else None,
            metadata=_tags(videos),
        )
        with writer:
            for t in range(length):
                cells = [_cell(video[t], first.size, name) for name, video in sources.items()]
                cells += [blank] * (rows * columns - len(cells))
                writer.write(_tiled([cells[k * columns :][:columns] for k in range(rows)]))
    return out


def write_strip(
    videos: Mapping[str, pathlib.Path], out: pathlib.Path, *, frames: int = 6
) -> pathlib.Path:
    """A PNG: one row of frames, spread over its length, for each video, under its name.

    Args:
      videos: by name, from top to bottom.
      out: the file to write.
      frames: of each row.

    Raises:
      MediaError: a video that cannot be read, or `out` cannot be written.
      ValueError: there is no video.
    """
    with _opened(videos) as sources:
        size = next(iter(sources.values())).size
        length = min(map(len, sources.values()))
        chosen = np.linspace(0, length - 1, frames + 2)[1:-1].round().astype(int)
        rows = [
            [_cell(video[int(t)], size, name if k == 0 else "") for k, t in enumerate(chosen)]
            for name, video in sources.items()
        ]
    try:
        written = cv2.imwrite(str(out), _tiled(rows)[..., ::-1])
    except cv2.error:
        written = False
    if not written:
        raise MediaError(f"{out} cannot be written; check the folder and the disk")
    return out


@contextlib.contextmanager
def _opened(videos: Mapping[str, pathlib.Path]) -> Iterator[dict[str, IndexedVideo]]:
    if not videos:
        raise ValueError("there is no video to show")
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(open_video(path)) for name, path in videos.items()}


def _tags(videos: Mapping[str, pathlib.Path]) -> dict[str, str]:
    """What the first file says of its origin, with the videos as inputs; nothing where it is no
    generated one."""
    known = mark.read_provenance(next(iter(videos.values())))
    if known is None:
        return {}
    return mark.provenance(
        method=known.method,
        weight_id=known.weight_id,
        mark=mark.Mark(known.mark),
        software=known.software,
        inputs=videos,
    )


def _cell(frame: Picture, size: tuple[int, int], name: str) -> Picture:
    """The frame at that height and width, with the name in its upper left corner."""
    height, width = size
    if frame.shape[:2] != size:
        frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    cell = np.ascontiguousarray(frame).copy()
    scale, (x, y) = min(size) / 360, (round(0.03 * width), round(0.1 * height))
    # White with a black rim: thicker letters would be wider ones.
    rim = [(across, down) for across in (-1, 0, 1) for down in (-1, 0, 1)]
    for ink, places in ((0, rim), (255, [(0, 0)])):
        for across, down in places:
            at, font = (x + across, y + down), cv2.FONT_HERSHEY_SIMPLEX
            cv2.putText(cell, name, at, font, scale, (ink, ink, ink), 1, cv2.LINE_AA)
    return cell


def _tiled(rows: Sequence[Sequence[Picture]]) -> Picture:
    return np.concatenate([np.concatenate(list(row), 1) for row in rows], 0)
