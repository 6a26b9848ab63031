"""`talkface_jax.api`: light to import, silent, and all of it described."""

import ast
import inspect
import pathlib
import subprocess
import sys

import pytest

import talkface_jax
from talkface_jax import api

MODULES = sorted((pathlib.Path(__file__).parents[2] / "talkface_jax" / "api").glob("*.py"))
SPEAKING = {"argparse", "rich"}


def _speaks(source):
    """What of a module's text reads flags or writes to the terminal."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Name) and node.id == "print":
            found.add("print")
        elif isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr"):
            found.add(node.attr)
        found |= {name.partition(".")[0] for name in names} & SPEAKING
    return found


def test_what_speaks_is_recognised():
    for source, word in (
        ("def f():\n    from rich.console import Console", "rich"),
        ("import argparse as a", "argparse"),
        ("map(print, [1])", "print"),
        ("import sys\nsys.stderr.write('x')", "stderr"),
    ):
        assert _speaks(source) == {word}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_no_module_reads_flags_or_prints(path):
    assert _speaks(path.read_text()) == set()


def test_import_loads_nothing_heavy():
    program = (
        "import sys, talkface_jax\n"
        "before = 'talkface_jax.api' in sys.modules\n"
        "api = talkface_jax.api\n"
        "heavy = [n for n in ('jax', 'numpy', 'flax', 'rich', 'av') if n in sys.modules]\n"
        "print(before, api.__name__, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False talkface_jax.api []", done.stderr


def test_names_for_readers_type_checkers_and_callers_are_the_same():
    tree = ast.parse(pathlib.Path(api.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(typed) == list(api.__all__) and set(api.__all__) <= set(dir(api))
    for name, module in typed.items():
        assert getattr(api, name) is getattr(sys.modules[module], name)
    with pytest.raises(AttributeError, match="no attribute 'sing'"):
        api.sing  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'sing'"):
        talkface_jax.sing  # noqa: B018


@pytest.mark.parametrize("name", api.__all__)
def test_functions_are_typed_described_and_called_by_keyword(name):
    function = getattr(api, name)
    assert inspect.getdoc(function)
    if not inspect.isfunction(function):
        return
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    parameters = list(signature.parameters.values())
    assert all(item.annotation is not item.empty for item in parameters)
    text = inspect.getdoc(function) or ""
    assert "Raises:" in text
    if "Args:" in text:
        assert all(f"{item.name}" in text for item in parameters)
    if name != "load_experiment":  # FILE and its overrides, in that order
        assert all(item.kind is item.KEYWORD_ONLY for item in parameters[1:])
