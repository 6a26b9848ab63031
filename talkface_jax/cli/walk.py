"""How the demo walks: commands one after the other, and what it writes for the scorer."""

import contextlib
import pathlib
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence

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
        audio: pathlib.Path,
        out: pathlib.Path,
        *controls: str,
    ) -> None:
        """The command of that name; `controls` are further flags.

        Raises:
          TalkfaceError: it failed; its own message has been printed.
        """
        arguments = (f"--bundle={bundle}", f"--face={face}", f"--audio={audio}")
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
