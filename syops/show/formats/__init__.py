"""List the formats that results can be written in, each in a file of its own in this folder.

`docs/adding.md` shows how to add one.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

from syops.show.formats.format import Format, WholeFormat

__all__ = ["DEFAULT", "FORMATS", "Format", "WholeFormat"]


def _found() -> Iterator[Format | WholeFormat]:
    """Yield every format that a file of this folder defines."""
    for file in iter_modules(__path__, f"{__name__}."):
        for value in vars(import_module(file.name)).values():
            if isinstance(value, Format | WholeFormat):
                yield value


FORMATS = {each.name: each for each in _found()}
"""Formats by name, as ``--format`` calls them."""

DEFAULT = "table"
"""The name of the format of terminals."""
