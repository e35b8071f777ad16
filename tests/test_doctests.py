"""The examples in docstrings give what they say."""

import doctest
from importlib import import_module

import pytest

from tests import ROOT

MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "syops").rglob("*.py"))
    if ">>>" in path.read_text()
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    found = doctest.testmod(import_module(name))
    assert found.attempted
    assert not found.failed
