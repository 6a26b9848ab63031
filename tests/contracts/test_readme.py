"""The READMEs against the tree: short, everywhere, and naming only what exists."""

import argparse
import pathlib
import re

import pytest

from talkface_jax import api
from talkface_jax.cli.main import COMMANDS, build_parser
from talkface_jax.methods import registry

ROOT = pathlib.Path(__file__).parents[2]
MOST_LINES = 220
TOPS = ("talkface_jax", "data_prep", "configs", "launch", "tests", ".ci")
OTHERS = ("data_prep", "configs", "launch", "tests", "tests/bench")
BEAM = {"--runner", "--project", "--region", "--temp_location"}
"""Flags in the READMEs that `talkface prepare` hands to Beam."""
SUFFIXES = ("py", "md", "sbatch", "env", "j2")
"""Of files that are in the tree wherever a README names them, not made by a command."""
READMES = sorted(
    path.relative_to(ROOT).as_posix()
    for top in ("", *TOPS)
    for path in (ROOT / top).glob("**/README.md" if top else "README.md")
)


@pytest.fixture(params=READMES)
def readme(request):
    return ROOT / request.param


def _code(text):
    """What stands between backticks: blocks by line, continued lines joined, and spans."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [*lines, *(" ".join(span.split()) for span in re.findall(r"`([^`]+)`", rest))]


def _folders_with_code():
    """The packages right below talkface_jax, and the methods' own, that have modules or packages
    with such."""
    for parent in (ROOT / "talkface_jax", ROOT / "talkface_jax" / "methods"):
        for folder in sorted(path.parent for path in parent.glob("*/__init__.py")):
            if any(path.name != "__init__.py" for path in folder.rglob("*.py")):
                yield folder.relative_to(ROOT).as_posix()


def _flags(parser):
    return {flag for action in parser._actions for flag in action.option_strings}


def _parsers():
    (commands,) = (
        action
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return commands.choices


def test_the_first_one_is_read_in_one_go():
    assert len((ROOT / "README.md").read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("folder", [*_folders_with_code(), *OTHERS])
def test_every_folder_introduces_itself(folder):
    path = ROOT / folder / "README.md"
    assert path.is_file(), f"{folder} has no README.md; say there what it is and how it is tested"
    assert path.read_text().startswith("# ")


def test_the_first_one_leads_to_all_others():
    reached, left = set(), [ROOT / "README.md"]
    while left:
        path = left.pop()
        if path in reached:
            continue
        reached.add(path)
        left += [
            target
            for link in re.findall(r"\]\(([^)#:]+)", path.read_text())
            if (target := (path.parent / link).resolve()).name == "README.md"
        ]
    assert {path.relative_to(ROOT).as_posix() for path in reached} == set(READMES)


def test_links_lead_somewhere(readme):
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", readme.read_text()):
        if "://" not in link:
            assert (readme.parent / link).exists(), f"{link} leads nowhere"


def test_named_paths_exist(readme):
    """Paths that begin with a folder of the tree, and files of the folder's own."""
    for code in _code(readme.read_text()):
        for word in re.split(r"[\s='\"(),]+", code):
            path = word.partition(":")[0]
            if re.search(r"[<>*$]|NAME|://", word) or path.startswith("out/"):
                continue
            top, slash, _ = path.partition("/")
            if (slash and top in TOPS) or re.fullmatch(rf"[\w/.-]+\.({'|'.join(SUFFIXES)})", path):
                places = (ROOT / path, readme.parent / path)
                assert any(place.exists() for place in places), f"{path} does not exist"


def test_named_commands_and_flags_exist(readme):
    parsers = _parsers()
    for code in _code(readme.read_text()):
        for name, rest in re.findall(r"(?:^|[\s$])talkface ([a-z]+)\b([^|`]*)", code):
            assert name in COMMANDS, f"there is no talkface {name}"
            for flag in re.findall(r"(?:^|\s)(--[\w-]+)", rest):
                known = _flags(parsers[name]) | (BEAM if name == "prepare" else set())
                takes_config = parsers[name].get_default("takes_config")
                assert flag in known or (flag == "--config" and takes_config), (
                    f"talkface {name} has no {flag}"
                )


def test_named_targets_of_make_exist(readme):
    targets = set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for code in _code(readme.read_text()):
        for target in re.findall(r"^make ([a-z][\w-]*)", code):
            assert target in targets, f"there is no make {target}"


def test_named_fields_of_configs_exist(readme):
    """Overrides: `--config.a.b` is a field of some stage's config."""
    known = set()
    for method, stage in registry.tasks():
        config = api.load_experiment(f"{ROOT}/configs/{method}/{stage}.py")
        known |= set(_dotted(vars(config)))
    for name in re.findall(r"--config\.([a-z_0-9]+(?:\.[a-z_0-9]+)*)", readme.read_text()):
        assert name in known, f"no config has a field {name}"


def _dotted(values, prefix=""):
    for key, value in values.items():
        yield f"{prefix}{key}"
        if hasattr(value, "__dataclass_fields__"):
            yield from _dotted(vars(value), f"{prefix}{key}.")


def test_every_command_stands_in_the_table_of_the_first_one():
    rows = re.findall(r"^\| `talkface ([a-z]+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(COMMANDS)


def test_functions_of_the_api_exist(readme):
    for name in re.findall(r"\bapi\.([a-z_]+)\(", readme.read_text()):
        assert name in api.__all__, f"there is no api.{name}"


def test_the_method_in_the_example_has_the_length_that_is_told():
    lines = len((ROOT / "tests/smoke/methods/loudmouth.py").read_text().splitlines())
    for name in ("README.md", "talkface_jax/methods/README.md"):
        assert f"{lines} lines" in (ROOT / name).read_text(), f"{name}: loudmouth has {lines}"
