"""How the demo walks: commands one after the other, and what it writes for the scorer."""

import contextlib
import pathlib
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence

from talkface_jax.capabilities import Driven
from talkface_jax.cli import common
from talkface_jax.errors import TalkfaceError

_LIGHT_SKIN = 0.55
"""Mean of the base colour of skin (0 to 1) that parts the cast in two."""


class Walk:
    """Runs the commands of the demo one after the other and remembers how long each took."""

    def __init__(self) -> None:
        """Starts the clock."""
        self.console = common.console()
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def timed(self, title: str) -> Iterator[None]:
        """Announces a step and times it."""
        self.console.print(f"\n[bold]{len(self.seconds) + 1}. {title}[/bold]")
        start = time.monotonic()
        yield
        self.seconds[title] = time.monotonic() - start

    def command(self, *arguments: str) -> None:
        """Prints a talkface command and runs it in this process.

        Raises:
          TalkfaceError: it failed; its own message has been printed.
        """
        from talkface_jax.cli.main import main

        self.console.print(f"$ talkface {shlex.join(arguments)}", style="cyan", soft_wrap=True)
        if status := main(list(arguments)):
            raise TalkfaceError(f"`talkface {arguments[0]}` failed with status {status}; see above")

    def synthesize(
        self,
        bundle: pathlib.Path,
        face: pathlib.Path,
        sound: pathlib.Path,
        out: pathlib.Path,
        *controls: str,
        drive: Driven = Driven.AUDIO,
    ) -> None:
        """The command of that name; `sound` is the recording, or the video that is followed;
        `controls` are further flags.

        Raises:
          TalkfaceError: it failed; its own message has been printed.
        """
        by = "--driver" if drive is Driven.VIDEO else "--audio"
        arguments = (f"--bundle={bundle}", f"--face={face}", f"{by}={sound}")
        self.command("synthesize", *arguments, *controls, f"--out={out}")


def write_metadata(clips: Sequence[Mapping[str, str]], path: pathlib.Path) -> None:
    """Who speaks in each clip, and the groups by which the scorer tells clips apart."""
    import csv

    from data_prep.synthetic.identity import CAST

    people = {person.name: person for person in CAST}
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("clip", "speaker", "sex", "skin", "emotion"))
        for clip in clips:
            person = people[clip["actor"]]
            skin = "light" if sum(person.skin) > 3 * _LIGHT_SKIN else "dark"
            table.writerow((clip["clip"], person.name, person.sex, skin, clip["emotion"]))


def strip_of(mp4: pathlib.Path, out: pathlib.Path) -> pathlib.Path:
    """A PNG of frames spread over the video."""
    import cv2
    import numpy as np

    from talkface_jax.media.video import open_video

    with open_video(mp4) as video:
        chosen = np.linspace(0, len(video) - 1, 10).round().astype(int)
        image = np.concatenate([video[int(index)] for index in chosen], 1)
    if not cv2.imwrite(str(out), image[..., ::-1]):
        raise TalkfaceError(f"{out} cannot be written; check the folder and the disk")
    return out
