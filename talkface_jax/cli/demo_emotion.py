"""The demo's part on emotions: held-out people say one held-out sentence in every emotion."""

import json
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

from talkface_jax.capabilities import EMOTION, FACE_EMOTION, LEVEL, Declaration
from talkface_jax.cli import common
from talkface_jax.cli.walk import Walk, write_metadata
from talkface_jax.errors import TalkfaceError

PEOPLE, SEED = 1, 5
"""Eight videos of about three seconds; those of a second person would take two minutes more."""
TOP = 3
NEUTRAL = "neutral"


def show(
    walk: Walk,
    method: Declaration,
    *,
    bundle: pathlib.Path,
    raw: pathlib.Path,
    out: pathlib.Path,
    workers: int,
) -> dict[pathlib.Path, str]:
    """Makes, shows and scores a video of every person in every emotion.

    The face comes from a neutral held-out clip of the person, the sound from a clip that is made
    for this; the true videos of the same sentences in the same emotions stand beside.

    Args:
      walk: runs the commands.
      method: whose controls say how an emotion is asked for.
      bundle: of the method.
      raw: the raw set of the demo, of which the faces are.
      out: the method's folder of the demo.
      workers: processes.

    Returns:
      What to look at, and what it shows.

    Raises:
      TalkfaceError: a command failed, or a person has no neutral test clip.
    """
    pairs, made = out / "held_out_emotions", out.parent / "data_emotions"
    with walk.timed("make: held-out people say a sentence in every emotion"):
        clips = _make(made, workers=workers)
    with walk.timed("synthesize: they say it in every emotion"):
        for folder in ("truth", "pred"):
            (pairs / folder).mkdir(parents=True, exist_ok=True)
        write_metadata(clips, pairs / "clips.csv")
        for clip in clips:
            name = f"{clip['clip']}.mp4"
            shutil.copyfile(made / clip["video"], pairs / "truth" / name)
            face = raw / _neutral_clip(raw, clip["actor"])["video"]
            pred = pairs / "pred" / name
            walk.synthesize(bundle, face, made / clip["audio"], pred, *_asked(method, clip))
        first = [clip for clip in clips if clip["actor"] == clips[0]["actor"]]
        seen = _draw(first, pairs / "pred", out)
    with walk.timed("evaluate: the mp4s of all emotions, tracked again"):
        walk.command(
            "evaluate",
            f"--pred={pairs / 'pred'}",
            f"--truth={pairs / 'truth'}",
            f"--metadata={pairs / 'clips.csv'}",
            f"--workers={workers}",
            f"--out={out / 'scores_emotion_video'}",
        )
    return seen | {
        out / "scores_motion" / "emotions.html": "what each emotion does to the face and to speech",
        out / "scores_emotion_video" / "report.html": "the mp4s of all emotions beside the truth",
    }


def _make(out: pathlib.Path, *, workers: int) -> list[Any]:
    """The true clips, of one person after the other."""
    from data_prep.synthetic.emotional import generate_emotional

    with common.progress_bars() as progress:
        generate_emotional(out, people=PEOPLE, seed=SEED, workers=workers, progress=progress)
    return json.loads((out / "metadata.json").read_text())["clips"]


def _neutral_clip(raw: pathlib.Path, actor: str) -> Any:
    """The first neutral test clip of a person.

    Raises:
      TalkfaceError: there is none.
    """
    for clip in json.loads((raw / "metadata.json").read_text())["clips"]:
        if (clip["split"], clip["actor"], clip["emotion"]) == ("test", actor, NEUTRAL):
            return clip
    raise TalkfaceError(
        f"{raw} has no neutral test clip of {actor}; delete its folder and run the demo again"
    )


def _asked(method: Declaration, clip: Mapping[str, Any]) -> list[str]:
    """The flags that ask for the emotion of a clip, of those that the method takes."""
    # The face is that of a neutral clip.
    values = {EMOTION: clip["emotion"], LEVEL: TOP, FACE_EMOTION: NEUTRAL}
    taken = {control.name for control in method.controls}
    return [f"{control.flag}={value}" for control, value in values.items() if control.name in taken]


def _draw(clips: list[Any], videos: pathlib.Path, out: pathlib.Path) -> dict[pathlib.Path, str]:
    """One person in every emotion at once: a grid that plays, and a strip of its frames."""
    from talkface_jax.media import grid
    from talkface_jax.records import EMOTIONS

    by_emotion = {clip["emotion"]: videos / f"{clip['clip']}.mp4" for clip in clips}
    names = (NEUTRAL, *(name for name in EMOTIONS if name != NEUTRAL))
    shown = {name: by_emotion[name] for name in names if name in by_emotion}
    made = grid.write_grid(shown, out / "emotions.mp4")
    strip = grid.write_strip(shown, out / "emotions_strip.png")
    return {
        made: "a held-out face says one held-out sentence in every emotion",
        strip: "its frames",
    }
