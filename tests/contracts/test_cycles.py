"""No two modules import each other in a circle, wherever in the files the imports stand.

A circle hidden inside a function still means that neither module can be read, tested or moved
without the other; import-linter sees such imports, yet only between the layers that it knows.
"""

import ast
import pathlib
from collections.abc import Iterator, Mapping

import pytest

PACKAGES = ("talkface_jax", "data_prep")
ALLOWED: Mapping[frozenset[str], str] = {}
"""Circles that stay, and why; one that is gone has to leave this list."""


def _guards_types(node: ast.AST) -> bool:
    """Whether it is `if TYPE_CHECKING:`, whose imports never run."""
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports that can run, in functions and classes too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, ast.If) and _guards_types(node):
            yield from (
                found for other in node.orelse for found in _imports(ast.Module([other], []))
            )
        else:
            yield from _imports(node)


def _targets(
    node: ast.Import | ast.ImportFrom, module: str, *, package: bool
) -> Iterator[tuple[str, ...]]:
    """What each name of an import may mean, the likeliest first: of `from a import b`, a.b or a."""
    if isinstance(node, ast.Import):
        yield from ((alias.name,) for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        parts = module.split(".")
        above = parts[: len(parts) - node.level + package]
        base = ".".join([*above, *([base] if base else [])])
    yield from ((f"{base}.{alias.name}", base) for alias in node.names)


def import_graph(root: pathlib.Path, packages: tuple[str, ...]) -> dict[str, set[str]]:
    """Module -> the modules of the same packages that its source names in an import.

    That Python runs the packages above a module first is left out: by it each package whose
    `__init__` hands on names would be a circle with its own modules.
    """
    paths: dict[str, pathlib.Path] = {}
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = {}
    for name, path in paths.items():
        package = path.name == "__init__.py"
        meant = (
            next((target for target in targets if target in paths), name)
            for node in _imports(ast.parse(path.read_text(encoding="utf-8")))
            for targets in _targets(node, name, package=package)
        )
        graph[name] = set(meant) - {name}
    return graph


def circles(graph: Mapping[str, set[str]]) -> list[frozenset[str]]:
    """The strongly connected components of more than one module."""

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        todo = [start]
        while todo:
            for other in graph[todo.pop()] - seen:
                seen.add(other)
                todo.append(other)
        return seen

    reached = {name: reach(name) for name in graph}
    found = {
        frozenset(other for other in reached[name] if name in reached[other])
        for name in graph
        if name in reached[name]
    }
    return sorted(found, key=sorted)


def test_no_modules_import_each_other_in_a_circle(repository):
    found = set(circles(import_graph(repository, PACKAGES)))
    new = [" <-> ".join(sorted(circle)) for circle in found - set(ALLOWED)]
    assert not new, f"modules in a circle: {new}"
    gone = [" <-> ".join(sorted(circle)) for circle in set(ALLOWED) - found]
    assert not gone, f"circles that are gone and still allowed: {gone}"


CASES = {
    "at the top": ("from pack import b", "import pack.a", True),
    "of a name": ("from pack.b import f", "from pack.a import g", True),
    "relative": ("from . import b", "from .a import g", True),
    "in a function": ("import pack.b", "def f():\n    from pack import a\n    return a", True),
    "in a method behind an if": (
        "import pack.b",
        "class C:\n    def f(self):\n        if self:\n            import pack.a",
        True,
    ),
    "for types": (
        "import pack.b",
        "import typing\nif typing.TYPE_CHECKING:\n    import pack.a",
        False,
    ),
    "else of types": (
        "import pack.b",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    import pack.a",
        True,
    ),
    "one way": ("import pack.b", "import os", False),
}


@pytest.mark.parametrize("case", CASES)
def test_circles_are_found(tmp_path, case):
    first, second, circle = CASES[case]
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").touch()
    (tmp_path / "pack" / "a.py").write_text(first)
    (tmp_path / "pack" / "b.py").write_text(second)
    expected = [frozenset({"pack.a", "pack.b"})] if circle else []
    assert circles(import_graph(tmp_path, ("pack",))) == expected
