"""`talkface convert`: PyTorch weights become a checkpoint directory, and back."""

import argparse
import collections
import pathlib
from collections.abc import Mapping

from talkface_jax import api
from talkface_jax.cli import common

HELP = "weights of the official PyTorch code -> a checkpoint, and back"
DESCRIPTION = """\
Reads networks of a method's official PyTorch code into a working directory
that `talkface export`, `talkface synthesize` and `talkface train --init-from`
take: one network (a file of torch.save, safetensors or npz), or all of a
release at once (a file of torch.save or a folder, as it was released). Nothing
in a file is run. Every tensor must have its place and its shape; nothing is
guessed. --config is needed where the networks do not have the published sizes.

With --to-torch it goes back: one network in a working directory becomes a
safetensors file for the official code,
net.load_state_dict(safetensors.torch.load_file(FILE)).
"""
EPILOG = """\
examples:
  talkface convert --method=iplap --stage=motion --torch=landmark.pth \\
    --out=out/official/motion --terms="non-commercial research (LRS2)"
  talkface convert --method=iplap --stage=discriminator --torch=disc.pth \\
    --out=out/official/disc
  talkface convert --method=emoconv --stage=facevid2vid \\
    --torch=00000189-checkpoint.pth.tar --out=out/official/facevid2vid
  talkface convert --method=emoconv --stage=liveportrait \\
    --torch=pretrained_weights/liveportrait --out=out/official/liveportrait
  talkface convert --method=iplap --stage=render --from=out/render \\
    --to-torch=renderer.safetensors
"""
EXTRAS = ("train",)
TAKES_CONFIG = True
_FORWARDS, _BACK = ("out", "config", "terms"), ("from", "step")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    from talkface_jax.methods import registry

    parser.add_argument(
        "--method",
        required=True,
        help=f"whose official code: {', '.join(registry.with_networks())}",
    )
    parser.add_argument(
        "--stage",
        required=True,
        help="which network (motion, render, discriminator), which release of several "
        "(facevid2vid, liveportrait), or one network of a release (liveportrait/lip)",
    )
    direction = parser.add_mutually_exclusive_group(required=True)
    direction.add_argument(
        "--torch",
        type=pathlib.Path,
        metavar="FILE",
        help="weights to read, with --out; a folder where that is what was released",
    )
    direction.add_argument(
        "--to-torch",
        type=pathlib.Path,
        metavar="FILE.safetensors",
        help="weights to write, with --from",
    )
    parser.add_argument("--out", type=pathlib.Path, metavar="DIR", help="directory to make")
    common.add_config_argument(parser, required=False)
    parser.add_argument(
        "--terms", help="under which terms the weights, and the data behind them, may be used"
    )
    parser.add_argument("--from", type=pathlib.Path, metavar="DIR", help="working directory")
    parser.add_argument(
        "--step",
        type=common.at_least(0),
        help="which checkpoint (default: the best by its metric, or else the latest)",
    )


def run(args: argparse.Namespace) -> int:
    """Converts in the direction that the flags say; prints what was written."""
    forwards = args.torch is not None
    used, unused = (_FORWARDS, _BACK) if forwards else (_BACK, _FORWARDS)
    flag = "--torch" if forwards else "--to-torch"
    for name in unused:
        if getattr(args, name) is not None:
            args.parser.error(f"--{name} does not go with {flag}")
    if getattr(args, used[0]) is None:
        args.parser.error(f"{flag} needs --{used[0]}=DIR")
    if args.overrides and args.config is None:
        args.parser.error("--config.a.b=value needs --config=FILE")
    return _read(args) if forwards else _write(args)


def _read(args: argparse.Namespace) -> int:
    experiment = None
    if args.config is not None:
        experiment = api.load_experiment(args.config, args.overrides)
    made = api.convert(
        args.torch,
        method=args.method,
        stage=args.stage,
        out=args.out,
        experiment=experiment,
        terms=args.terms,
        where=args.config or "config",
    )
    out = common.console()
    first = f"{made.out}: {args.method} {args.stage}, {made.parameters:,} parameters"
    if len(made.networks) == 1:
        lines = [f"{first} {_sources(made.networks[0])}"]
    else:
        lines = [f"{first} of {len(made.networks)} networks"]
        lines += [f"{item.player}: {item.parameters:,} {_sources(item)}" for item in made.networks]
    if made.left_out:
        lines.append(f"left out: {', '.join(made.left_out)}")
    for line in (*lines, f"terms: {made.terms}"):
        out.print(line, soft_wrap=True, markup=False)
    return 0


def _sources(item: "api.ConvertedNetwork") -> str:
    return f"from {item.tensors} tensors of {item.source}; {_listed(item.ignored)}"


def _listed(ignored: Mapping[str, str]) -> str:
    """How many tensors each pattern left out on purpose, from patterns by key; patterns with the
    same last name count together."""
    lasts = collections.Counter(map(_last, set(ignored.values())))
    counts = collections.Counter(
        rf".*\.{_last(pattern)}" if lasts[_last(pattern)] > 1 else pattern
        for pattern in ignored.values()
    )
    names = ", ".join(f"{count} x {pattern}" for pattern, count in counts.items())
    return f"{len(ignored)} ignored by name ({names})" if ignored else "none ignored"


def _last(pattern: str) -> str:
    return pattern.rpartition(r"\.")[2]


def _write(args: argparse.Namespace) -> int:
    made = api.to_torch(
        getattr(args, "from"),
        method=args.method,
        stage=args.stage,
        out=args.to_torch,
        step=args.step,
    )
    common.console().print(
        f"{made.out}: {args.method} {args.stage}, {made.tensors} tensors of {made.checkpoint}",
        soft_wrap=True,
        markup=False,
    )
    return 0
