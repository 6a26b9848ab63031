"""The `talkface` command: one module per sub-command; the only place that reads flags."""

import argparse
import errno
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from talkface_jax import __version__, extras
from talkface_jax.errors import TalkfaceError

COMMANDS = (
    "prepare",
    "verify",
    "preview",
    "train",
    "convert",
    "export",
    "pack",
    "finetune",
    "synthesize",
    "evaluate",
    "parity",
    "describe",
    "doctor",
    "demo",
)

DESCRIPTION = """\
Talking-face generation from speech, through facial landmarks, in JAX/Flax.

The road, in order: prepare raw videos into shards, train each stage, export a
bundle, synthesize a talking mp4 from a face and a recording, evaluate it.
`talkface demo` walks the whole road on data that it makes itself.
"""

_MACHINE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}
)
"""A full disk or a missing permission can meet any write; elsewhere an OSError is a bug."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, where argparse would print the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        """Prints the line and ends with status 2."""
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser with all sub-commands; importing them loads no numerical library."""
    parser = Parser(
        prog="talkface",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"talkface-jax {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"talkface_jax.cli.{name}")
        sub = commands.add_parser(
            name,
            help=module.HELP,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(sub)
        takes_config = getattr(module, "TAKES_CONFIG", False)
        takes_rest = getattr(module, "TAKES_REST", False)
        sub.set_defaults(
            run=module.run,
            parser=sub,
            takes_config=takes_config,
            takes_rest=takes_rest,
            needs=getattr(module, "EXTRAS", ()),
        )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; 0 on success, 1 for a mistake that is explained, 2 for bad usage."""
    parser = build_parser()
    args, unknown = parser.parse_known_args(argv)
    overrides = [item for item in unknown if item.startswith("--config.")]
    strangers = [item for item in unknown if item not in overrides]
    args.rest = strangers if args.takes_rest else []
    if (strangers and not args.takes_rest) or (overrides and not args.takes_config):
        hint = " (overrides are written --config.a.b=value)" if args.takes_config else ""
        args.parser.error(f"unknown {' '.join(strangers or overrides)}{hint}")
    args.overrides = overrides
    args.command_line = " ".join(["talkface", *(sys.argv[1:] if argv is None else argv)])
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        return _run(args)
    except TalkfaceError as error:
        sys.stderr.write(f"talkface {args.command}: {error}\n")
        return 1
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): leave quietly, with nothing left to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.errno not in _MACHINE:
            raise
        place = error.filename or "a file"
        sys.stderr.write(
            f"talkface {args.command}: {place} cannot be used ({error.strerror}); free disk space, "
            "mend its permissions or choose another folder\n"
        )
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"talkface {args.command}: stopped\n")
        return 130


def _run(args: argparse.Namespace) -> int:
    """Runs the command.

    Raises:
      TalkfaceError: a package of its extras is missing, which is looked for before the work, or one
        that only these flags need; and what the command raises.
    """
    extras.require(*args.needs)
    try:
        return args.run(args)
    except ModuleNotFoundError as error:
        explained = extras.explain(error, preferred=args.needs)
        if explained is None:
            raise
        raise explained from error


if __name__ == "__main__":
    sys.exit(main())
