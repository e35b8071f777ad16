"""What is known of an operator stands in `syops.ops`: nobody else compares names."""

import ast

import pytest

from syops._torch import operators_of
from syops.ops.kinds import KINDS
from tests import ROOT

NAMES = {
    form
    for func in [*operators_of("aten"), *operators_of("prims")]
    for name in [func.name().partition("::")[2].partition(".")[0]]
    for form in (name, name.rstrip("_"))
}
ALLOWED = {
    *KINDS,  # kinds of rows, some of which have the names of operators
    "real",  # a word of the audit, for values
    "zeros",  # how a convolution pads, and an option
    *("values", "random", "min", "median"),  # names of fields and of choices
}
ARGUMENTS = {"dim", "pin_memory"}  # names of arguments that operators have, too
ROOMS = ("trace", "ledger", "cost", "run", "fold.py", "api.py")
FILES = sorted(
    path
    for room in ROOMS
    for path in [(ROOT / "syops" / room)]
    for path in ([path] if path.suffix else path.rglob("*.py"))
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_operator_names_are_compared_in_ops_alone(path):
    strings = {
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert not strings & NAMES - ALLOWED - ARGUMENTS


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_operators_are_told_apart_in_ops_alone(path):
    executed = {"alias"}  # called, not compared with
    found = {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("ops.aten")
    }
    assert not found - executed


def test_names_are_those_of_operators():
    assert {"add", "copy", "view", "_softmax", "_local_scalar_dense"} < NAMES
