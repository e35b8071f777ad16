"""The examples in docstrings give what they say, and all that is public has one."""

import doctest
from importlib import import_module

import pytest

import syops
from tests import ROOT

MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "syops").rglob("*.py"))
    if ">>>" in path.read_text("utf-8")
]

WITHOUT = ("seed_everything", "digit_events")
"""Functions whose examples would seed the tests that follow, and take seconds."""

PUBLIC = [
    (room, name)
    for room in ("syops", "syops.models", "syops.dst")
    for name in import_module(room).__all__
    if name not in WITHOUT
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    found = doctest.testmod(import_module(name))
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize(("room", "name"), PUBLIC)
def test_public_functions_have_an_example(room, name):
    thing = getattr(import_module(room), name)
    if callable(thing) and not isinstance(thing, type):
        assert ">>>" in thing.__doc__


@pytest.mark.parametrize(
    "kind",
    [
        *(syops.Report, syops.MeasuredReport, syops.Comparison, syops.Memory, syops.Audit),
        *(syops.EnergyModel, syops.MemoryModel),
    ],
)
def test_what_is_handed_back_shows_how_it_is_used(kind):
    assert ">>>" in kind.__doc__
