"""Files under 400 lines, functions under 60; the exceptions are named here with their reason."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parents[2]
FOLDERS = ("talkface_jax", "data_prep", "configs", "launch", "tests")
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}


def _sources():
    for folder in FOLDERS:
        yield from sorted((ROOT / folder).rglob("*.py"))


def test_no_file_is_over_400_lines():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in _sources()
        if (lines := len(path.read_text().splitlines())) > 400
    }
    assert set(long) == set(LONG_FILES), long


def test_no_function_is_over_60_lines():
    long = {}
    for path in _sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > 60:
                    long[f"{path.relative_to(ROOT)}:{node.name}"] = length
    assert set(long) == set(LONG_FUNCTIONS), long
