"""Folders of videos named, cut, sized and put side by side as three public tools write them.

The pictures are those of the given clips, so a right pairing, crop and alignment scores them as the
clips themselves. Lengths follow the tools' code from the clips' own decoded sound (see
`talkface_jax.evaluate.lengths`). Clips are at 25 fps with sound.
"""

import pathlib
import shutil
from collections.abc import Iterable

import cv2
import numpy as np

from talkface_jax.evaluate.pairs import find_videos
from talkface_jax.media.audio import read_audio
from talkface_jax.media.video import IndexedVideo, open_video
from talkface_jax.media.writer import VideoWriter
from talkface_jax.records import SAMPLES_PER_FRAME

DATE = "2026_11_30_12.00.{:02d}"


def as_official_iplap(clips: pathlib.Path, out: pathlib.Path) -> pathlib.Path:
    """`Xresult_N_25_Nl_15.mp4`: sketch left of the frame, 3 or 4 frames fewer at the end.

    Frames 0 and 1 are copies of frame 2. The tool's temporary folder lies beside the results.
    """
    for name, path in find_videos(clips).items():
        sound = read_audio(path)
        with open_video(path) as video:
            count = _whole_windows(len(sound))
            frames = (_with_sketch(_frame(video, max(2, k)), k) for k in range(count))
            folder = (out / name).parent
            result = folder / f"{path.name[:-4]}result_N_25_Nl_15.mp4"
            _write(result, frames, sound)
    temporary = out / f"tempfile_of_{out.name}"
    temporary.mkdir(exist_ok=True)
    shutil.copy(result, temporary / "result.mp4")
    return out


def as_sadtalker(clips: pathlib.Path, out: pathlib.Path, *, size: int = 256) -> pathlib.Path:
    """`DATE/X##X.mp4`: a square around the middle at `size`, and its twin `X##X_enhanced.mp4`.

    A frame for each 640 samples, so none fewer and at times one more.
    """
    for number, (_, path) in enumerate(find_videos(clips).items()):
        sound = read_audio(path)
        with open_video(path) as video:
            count = len(sound) // SAMPLES_PER_FRAME
            frames = (_square(_frame(video, k), size) for k in range(count))
            result = out / DATE.format(number) / f"{path.stem}##{path.stem}.mp4"
            _write(result, frames, sound)
        shutil.copy(result, result.with_name(f"{result.stem}_enhanced.mp4"))
    return out


def as_wav2lip(clips: pathlib.Path, out: pathlib.Path) -> pathlib.Path:
    """`X/result_voice.mp4`: whole frames, 2 or 3 fewer at the end."""
    for name, path in find_videos(clips).items():
        sound = read_audio(path)
        with open_video(path) as video:
            count = _whole_windows(len(sound)) + 1
            frames = (_frame(video, k) for k in range(count))
            _write(out / name / "result_voice.mp4", frames, sound)
    return out


def _whole_windows(samples: int) -> int:
    """Frames with a whole window of 16 mel columns (80 a second, one every 200 samples)."""
    columns, count = 1 + samples // 200, 0
    while int(count * 80 / 25) + 16 <= columns:
        count += 1
    return count


def _frame(video: IndexedVideo, k: int) -> np.ndarray:
    """Frame k; after the end the last one."""
    return video[min(k, len(video) - 1)]


def _square(frame: np.ndarray, size: int) -> np.ndarray:
    height, width = frame.shape[:2]
    side = min(height, width)
    y, x = (height - side) // 2, (width - side) // 2
    return cv2.resize(frame[y : y + side, x : x + side], (size, size), interpolation=cv2.INTER_AREA)


def _with_sketch(frame: np.ndarray, k: int) -> np.ndarray:
    """A line drawing of a talking face on black, of the frame's size, left of the frame."""
    height, width = frame.shape[:2]
    sketch = np.zeros_like(frame)

    def ellipse(centre, axes):
        at = (round(centre[0] * width), round(centre[1] * height))
        cv2.ellipse(
            sketch, at, (round(axes[0] * width), round(axes[1] * height)), 0, 0, 360, (255,) * 3
        )

    ellipse((0.5, 0.5), (0.4, 0.48))
    ellipse((0.35, 0.38), (0.07, 0.04))
    ellipse((0.65, 0.38), (0.07, 0.04))
    ellipse((0.5, 0.75), (0.14, 0.03 + 0.03 * (k % 3)))
    return np.concatenate([sketch, frame], axis=1)


def _write(path: pathlib.Path, frames: Iterable[np.ndarray], sound: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = iter(frames)
    first = next(frames)
    with VideoWriter(path, size=first.shape[:2]) as writer:
        writer.write_audio(sound)  # all of it: the tools do not cut it where the frames end
        writer.write(first)
        for frame in frames:
            writer.write(frame)
