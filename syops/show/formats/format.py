"""Define what a format is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from syops.show.table import TableData


@dataclass(frozen=True)
class Format:
    """Describe a format in which any table can be written.

    Attributes:
        name: what ``--format`` calls it.
        suffix: of files that hold it.
        write: returns a table in it.
        every: whether it is for programs, so that it has every column and row unless the user
            chooses some.
    """

    name: str
    suffix: str
    write: Callable[[TableData], str]
    every: bool = False


class Showable(Protocol):
    """What a whole format is made of: a report, or what was made of reports."""

    def to_json(self) -> str:
        """Return everything as JSON."""

    def to_page(self, command: str | None = None) -> str:
        """Return a page of HTML that loads nothing, with the command line that it was made by."""


@dataclass(frozen=True)
class WholeFormat:
    """Describe a format that holds everything, so that no columns or rows are chosen.

    Attributes:
        name, suffix: as of a `Format`.
        write: returns a result in it; also gets the command line that it was made by, if any.
    """

    name: str
    suffix: str
    write: Callable[[Showable, str | None], str]
