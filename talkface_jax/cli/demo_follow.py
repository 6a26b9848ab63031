"""The demo of a method that a video drives: pictures of held-out people follow videos."""

import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

from talkface_jax.capabilities import COPIED, Driven
from talkface_jax.cli.walk import Walk, strip_of, write_metadata

SHOWN = 8
"""Held-out clips: of each one frame, which shows the person well, follows the whole of it."""


def show(
    walk: Walk,
    clips: Sequence[Any],
    *,
    raw: pathlib.Path,
    out: pathlib.Path,
    bundle: pathlib.Path,
    untrained: pathlib.Path,
    workers: int,
) -> dict[pathlib.Path, str]:
    """Makes and scores the videos.

    Args:
      walk: runs the commands.
      clips: held-out ones, of the set's metadata.
      raw: the raw set.
      out: the method's folder of the demo.
      bundle, untrained: what draws, and the same as training began.
      workers: processes.

    Returns:
      What to look at, and what it shows.
    """
    pairs = out / "held_out"
    rows = {"model": bundle, "untrained": untrained}
    with walk.timed("synthesize: one frame of each held-out clip follows the clip"):
        for folder in ("truth", COPIED, *rows):
            (pairs / folder).mkdir(parents=True, exist_ok=True)
        write_metadata(list(clips), pairs / "clips.csv")
        for clip in clips:
            truth = pairs / "truth" / f"{clip['clip']}.mp4"
            shutil.copyfile(raw / clip["video"], truth)
            picture = pairs / f"{clip['clip']}.png"
            _copy(truth, picture, pairs / COPIED / truth.name)
            for row, networks in rows.items():
                made = pairs / row / truth.name
                walk.synthesize(networks, picture, truth, made, drive=Driven.VIDEO)
        # The show-piece: one person's picture follows another's video.
        mp4, other = out / "following.mp4", _another(clips)
        picture = pairs / f"{clips[0]['clip']}.png"
        walk.synthesize(bundle, picture, raw / other["video"], mp4, drive=Driven.VIDEO)
    with walk.timed("evaluate: the mp4s, tracked again"):
        walk.command(
            "evaluate",
            *(f"--pred={row}={pairs / row}" for row in (*rows, COPIED)),
            f"--truth={pairs / 'truth'}",
            f"--metadata={pairs / 'clips.csv'}",
            "--face-lpips",
            f"--workers={workers}",
            f"--out={out / 'scores_video'}",
        )
    return {
        mp4: "a held-out face that follows another person's video",
        strip_of(mp4, out / "following_strip.png"): "its frames",
        out / "scores_video" / "report.html": "the table, frames beside the truth",
    }


def _another(clips: Sequence[Any]) -> Any:
    """A clip of another person than the first one's, if there is one."""
    return next((clip for clip in clips if clip["actor"] != clips[0]["actor"]), clips[-1])


def _copy(truth: pathlib.Path, picture: pathlib.Path, out: pathlib.Path) -> None:
    """A frame of a video as a picture, and as a video as long."""
    from PIL import Image

    from talkface_jax.media.video import VideoWriter, open_video

    with open_video(truth) as video:
        frame = video[_shows_best(video, truth)]
        Image.fromarray(frame).save(picture)
        with VideoWriter(out, size=video.size) as writer:
            for _ in range(len(video)):
                writer.write(frame)


def _shows_best(video: Any, path: pathlib.Path) -> int:
    """The frame that `synthesize` would take of the video: of closed eyes nothing can be opened."""
    from talkface_jax.landmarks.identity import frame_of
    from talkface_jax.synthesize.tracking import track_face

    return frame_of(track_face(video, path, None, length=len(video), progress=None))
