"""A prepared clip to look at and listen to: an mp4 with what the records say drawn on it."""

import contextlib
import dataclasses
import difflib
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from talkface_jax.data import preview_sound, store
from talkface_jax.data.manifest import read_manifest
from talkface_jax.data.preview_face import draw_face, method_boxes
from talkface_jax.data.preview_sound import SoundTrack
from talkface_jax.data.preview_text import BACKGROUND, draw_panel, font, heading, make_panel, wrap
from talkface_jax.data.schema import decode
from talkface_jax.errors import RecordError, counted
from talkface_jax.landmarks.measures import mouth_opening
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.media.writer import VideoWriter
from talkface_jax.records import FPS, ClipInfo, Segment

FACE_SIZE = 512
_PANEL_WIDTH = 288
_WIDTH = FACE_SIZE + _PANEL_WIDTH
_TILE, _COLUMNS, _ROWS = 192, 6, 3
Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class Preview:
    """What was written; `str` is the line for the user."""

    clip: str
    video: pathlib.Path
    sheet: pathlib.Path
    frames: int
    valid: int
    segments: int

    def __str__(self) -> str:
        return (
            f"{self.video} and {self.sheet}: clip {self.clip}, {counted(self.frames, 'frame')} "
            f"({self.frames - self.valid} without a face) in {counted(self.segments, 'segment')}"
        )


class ClipReader:
    """The segments of one clip in order of time, read when they are asked for.

    Args:
      source: the records of all shards.
      numbers: of the clip's records.
    """

    def __init__(self, source: store.ShardSource, numbers: Sequence[int]) -> None:
        self._source = source
        metas = source.metas()
        self._numbers = sorted(numbers, key=lambda number: metas[number].start)
        self.frames = sum(metas[number].frames for number in numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Segment]:
        return (decode(self._source[number]) for number in self._numbers)


def write_preview(
    directory: str | os.PathLike[str],
    *,
    clip: str | None,
    out: str | os.PathLike[str],
    progress: Progress | None = None,
) -> Preview:
    """Writes an mp4 of one clip and, beside it, a contact sheet of the same name as PNG.

    All segments of the clip are shown in order, with their sound. Nothing of it is generated: it
    is a picture of recorded data, says so in its metadata, and bears no mark.

    Args:
      directory: output of a finished `talkface prepare`.
      clip: name of the clip, with or without its data set; None for the first.
      out: the video, `.mp4`, `.mov`, `.m4v` or `.mkv`, in a folder that exists.
      progress: called as progress("preview", frames done, frames in all).

    Raises:
      RecordError: no prepared directory, no such clip, or a damaged shard.
      MediaError: the video cannot be written.
    """
    manifest = read_manifest(directory)
    video = pathlib.Path(out)
    paths = [pathlib.Path(directory) / entry.name for entry in manifest.shards]
    with contextlib.closing(store.ShardSource(paths)) as source:
        name, numbers = _find(source, clip, directory)
        reader = ClipReader(source, numbers)
        track, samples, valid = _survey(reader)
        info = next(iter(reader)).info
        sheet = _Sheet(info, reader.frames)
        with VideoWriter(
            video,
            size=(FACE_SIZE + preview_sound.HEIGHT, _WIDTH),
            audio=samples.astype(np.float32) / 32768,
            metadata=_metadata(info, name),
        ) as writer:
            for shown, frame, tile in _frames(reader, track, sheet.frames):
                writer.write(frame)
                if tile is not None:
                    sheet.add(shown, tile)
                if progress is not None:
                    progress("preview", shown + 1, reader.frames)
    picture = video.with_suffix(".png")
    _save(sheet.draw(track), picture)
    return Preview(name, video, picture, reader.frames, int(valid.sum()), len(reader))


def _find(
    source: store.ShardSource, clip: str | None, directory: str | os.PathLike[str]
) -> tuple[str, list[int]]:
    """Full name of the clip and the numbers of its records."""
    records: dict[str, list[int]] = {}
    for number, meta in enumerate(source.metas()):
        records.setdefault(meta.clip, []).append(number)
    if clip is None:
        name = next(iter(records))
        return name, records[name]
    short: dict[str, list[str]] = {}
    for name in records:
        short.setdefault(name.split("/", 1)[1], []).append(name)
    found = [clip] if clip in records else short.get(clip, [])
    if len(found) == 1:
        return found[0], records[found[0]]
    near = difflib.get_close_matches(clip, [*short, *records], n=3, cutoff=0.5)
    near = near or [name for name in short if clip.lower() in name.lower()][:3] or list(short)[:3]
    raise RecordError(f"{directory} has no clip {clip!r}; use one of: {', '.join(near)}, …")


def _survey(reader: ClipReader) -> tuple[SoundTrack, np.ndarray, np.ndarray]:
    """Sound of the whole clip, its picture, and which frames have a face."""
    scheme = get_scheme("mesh478")
    sounds, openings, valids = [], [], []
    for segment in reader:
        sounds.append(segment.audio)
        openings.append(mouth_opening(segment.landmarks, scheme))
        valids.append(segment.valid)
    samples, valid = np.concatenate(sounds), np.concatenate(valids)
    return preview_sound.make_track(samples, np.concatenate(openings), valid), samples, valid


def _frames(
    reader: ClipReader, track: SoundTrack, tiles: Sequence[int]
) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
    """Number, picture and, for frames of the contact sheet, tile of every frame."""
    shown, wanted, panel = 0, set(tiles), None
    for segment in reader:
        panel = panel or make_panel(segment, frames=reader.frames, size=(FACE_SIZE, _PANEL_WIDTH))
        crops = method_boxes(segment)
        for t in range(len(segment)):
            box = None if crops is None else crops[t]
            face = draw_face(segment, t, size=FACE_SIZE, box=box)
            beside = draw_panel(panel, segment, t, shown=shown)
            strip = preview_sound.draw_strip(track, frame=shown, width=_WIDTH)
            picture = np.concatenate([np.concatenate([face, beside], 1), strip], 0)
            tile = draw_face(segment, t, size=_TILE) if shown in wanted else None
            yield shown, picture, tile
            shown += 1


class _Sheet:
    """The contact sheet: frames spread evenly over the clip, above the clip's sound."""

    def __init__(self, info: ClipInfo, frames: int) -> None:
        count = min(frames, _COLUMNS * _ROWS)
        self.frames = [int((k + 0.5) * frames / count) for k in range(count)]
        self._info = info
        self._tiles: list[tuple[int, np.ndarray]] = []

    def add(self, frame: int, tile: np.ndarray) -> None:
        self._tiles.append((frame, tile))

    def draw(self, track: SoundTrack) -> np.ndarray:
        from PIL import Image, ImageDraw

        width, head, step = _TILE * _COLUMNS, 64, _TILE + 18
        rows = -(-len(self._tiles) // _COLUMNS)
        size = (width, head + rows * step + preview_sound.HEIGHT)
        image = Image.new("RGB", size, BACKGROUND)
        draw = ImageDraw.Draw(image)
        title = wrap(self._info.clip, size=18, width=width - 24, lines=1, bold=True)[0]
        draw.text((12, 8), title, fill="white", font=font(18, bold=True))
        text = heading(self._info) + (f"  ·  “{self._info.text}”" if self._info.text else "")
        line = wrap(text, size=13, width=width - 24, lines=1)[0]
        draw.text((12, 36), line, fill=(200, 204, 210), font=font(13))
        for k, (frame, tile) in enumerate(self._tiles):
            x, y = _TILE * (k % _COLUMNS), head + step * (k // _COLUMNS)
            image.paste(Image.fromarray(tile), (x, y))
            label = f"{frame}  ·  {frame / FPS:.2f} s"
            draw.text((x + 4, y + _TILE + 1), label, fill=(200, 204, 210), font=font(12))
        shown = [frame for frame, _ in self._tiles]
        overview = preview_sound.draw_overview(track, frames=shown, width=width)
        image.paste(Image.fromarray(overview), (0, head + rows * step))
        return np.asarray(image)


def _metadata(info: ClipInfo, name: str) -> dict[str, str]:
    values = {"generated": "no", "clip": name, "licence": info.licence, "source": info.video}
    return {
        "title": f"preview of {name}",
        "description": f"prepared data with its annotations drawn on it; licence: {info.licence}",
        "comment": json.dumps(values, sort_keys=True, ensure_ascii=False),
    }


def _save(picture: np.ndarray, path: pathlib.Path) -> None:
    """A PNG, whole or not at all."""
    from PIL import Image

    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        Image.fromarray(picture).save(temporary, format="PNG")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
