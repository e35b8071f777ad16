"""What is imported where: inside functions only what is slow to load, or may be missing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import syops

ROOT = Path(syops.__file__).parent
SLOW = {"jinja2", "matplotlib", "pandas", "torch"}
FILES = {
    ".".join(("syops", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in ROOT.rglob("*.py")
}
MAY_BE_MISSING = {"nir"}
"""Packages of extras, which one module loads when it is asked for what needs them."""


def named(node: ast.AST) -> Iterator[str]:
    """The modules that a statement names, if it is an import."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(node: ast.AST, inside: bool) -> Iterator[str]:
    """The modules that are imported inside functions, or else those when a module is loaded."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            if inside:
                yield from (name for part in ast.walk(child) for name in named(part))
        elif not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            if not inside:
                yield from named(child)
            yield from imports(child, inside)


@cache
def imported_by(module: str, inside: bool = False) -> frozenset[str]:
    return frozenset(imports(ast.parse(FILES[module].read_text("utf-8")), inside))


@cache
def slow_parts(module: str) -> set[str]:
    """What is slow to load of all that a module loads."""
    met, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name not in met:
            met.add(name)
            todo += imported_by(name) if name in FILES else ()
    return SLOW & {name.partition(".")[0] for name in met}


@pytest.mark.parametrize("module", sorted(FILES))
def test_functions_import_nothing_but_what_is_slow(module):
    if module.startswith("syops.trace.neurons."):
        return  # libraries that may be missing
    own = {name for name in imported_by(module, inside=True) if name in FILES}
    others = {name for name in imported_by(module, inside=True) if not name.startswith("syops")}
    assert {name.partition(".")[0] for name in others} <= SLOW | MAY_BE_MISSING
    wanted = {"torch"} if module.startswith("syops.cli.") else {"matplotlib"}
    for name in own:
        assert wanted <= slow_parts(name), f"{name} can be imported at the top of {module}"


@pytest.mark.parametrize(
    "module", ["syops", "syops.cli", "syops.models", "syops.report.report", "syops.show.html"]
)
def test_import_loads_nothing_slow(module):
    assert not slow_parts(module)
    script = f"import sys, {module}; sys.exit(any(name in sys.modules for name in {SLOW}))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
