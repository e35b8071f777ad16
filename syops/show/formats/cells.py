"""Put the cells and the sentences of a table in words, as every format shows them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from math import isfinite
from statistics import median
from typing import NamedTuple, TypeVar
from unicodedata import combining, east_asian_width

from click import unstyle

from syops.show.table import Column, TableData, Value
from syops.units import COUNTS, ENERGIES, common_unit, largest_end, number

T = TypeVar("T", bound=TableData)

_SIZES = {"count": COUNTS, "operations": COUNTS, "energy": ENERGIES}
"""The units of each kind of column that has some."""
_PLAIN = 10_000
"""Below it counts are written out."""


class Cells(NamedTuple):
    """Hold the cells of a table in words."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    total: Sequence[str] | None

    def map(self, change: Callable[[str], str]) -> Cells:
        """Return the cells with a function applied to each."""
        return self.map_rows(lambda row: [change(cell) for cell in row])

    def map_rows(self, change: Callable[[Sequence[str]], Sequence[str]]) -> Cells:
        total = None if self.total is None else change(self.total)
        return Cells(change(self.headings), [change(row) for row in self.rows], total)


def in_words(table: TableData, missing: str = "-") -> Cells:
    """Return headings and values in words, each column in one unit.

    ``missing`` stands for what is not known and for what does not apply, such as the MACs of a
    layer that does ACs. A zero is something that was counted and found to be none.
    """
    table = in_common_units(table)

    def line(row: Sequence[Value], is_total: bool = False) -> Sequence[str]:
        pairs = list(zip(row, table.columns, strict=True))
        other = not is_total and any(v for v, column in pairs if column.kind == "operations")
        return [
            missing
            if other and not value and column.kind == "operations"
            else cell_text(value, column, missing)
            for value, column in pairs
        ]

    headings = [column.title for column in table.columns]
    total = None if table.total is None else line(table.total, True)
    return Cells(headings, [line(row) for row in table.rows], total)


def in_common_units(table: T) -> T:
    """Return the table with a unit for each column that has none: one for all of its kind.

    It is the unit in which the middle one of the values is at least 1. Counts below 10,000 are
    written out.
    """
    units = {kind: _common_unit(kind, sizes, table) for kind, sizes in _SIZES.items()}
    columns = (replace(c, unit=c.unit or units.get(c.kind, "")) for c in table.columns)
    return replace(table, columns=tuple(columns))


def _common_unit(kind: str, sizes: dict[str, float], table: TableData) -> str:
    """Return the unit for the columns of a kind, "" where they need none."""
    places = [i for i, column in enumerate(table.columns) if column.kind == kind]
    rows = [[_size(row[i]) for i in places] for row in (*table.rows, table.total or ()) if row]
    shown = [value for row in rows for value in row if value]
    if not shown or (sizes is COUNTS and max(shown) < _PLAIN):
        return ""
    return common_unit(median(shown), sizes)


def _size(value: Value) -> float:
    """Return how large a value is, 0 where it is not known or has no end."""
    ends = value if isinstance(value, tuple) else (value,)
    return largest_end(*(abs(end) for end in ends if isinstance(end, int | float)))


def cell_text(value: Value, column: Column, missing: str = "-") -> str:
    """Return one value as a reader wants it: ``1.70``, ``[0.545, 6.65]``, ``yes``."""
    if value is None:
        return missing
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, tuple):
        return f"[{', '.join(cell_text(end, column) for end in value)}]"
    as_text = _SHOWN.get(column.kind)
    text = as_text(value) if as_text else _amount(value, column)
    return f"+{text}" if column.signed and value > 0 else text


def _amount(value: float, column: Column) -> str:
    if column.unit:
        return number(column.in_unit(value), column.decimals)
    return f"{value:.0f}" if isfinite(value) and value == round(value) else number(value)


def _above_zero(form: str, least: str) -> Callable[[float], str]:
    """Write a value so that only zero reads as zero."""

    def shown(value: float) -> str:
        text = form.format(value)
        return f"<{least}" if value > 0 and text == form.format(0) else text

    return shown


_SHOWN: dict[str, Callable[[float], str]] = {
    "flag": lambda value: "yes" if value else "no",
    "integer": lambda value: f"{value:d}",
    "rate": _above_zero("{:.3f}", "0.001"),
    "share": _above_zero("{:.1%}", "0.1%"),
    "accuracy": lambda value: f"{value:.2%}",
    "ratio": number,
    "number": lambda value: f"{value:g}",
}


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes, whatever its colours are.

    >>> width_of("漢字"), width_of("\\x1b[1mDC\\x1b[0m")
    (4, 2)
    """
    return sum(1 + (east_asian_width(c) in "WF") for c in unstyle(text) if not combining(c))


def padded(rows: Sequence[Sequence[str]], aligned: Sequence[str]) -> list[list[str]]:
    """Return rows whose cells are as wide as the widest of their column.

    Args:
        rows: one or more.
        aligned: "left" or "right", for each column.

    >>> padded([["layer", "DC"], ["fc", "0.5 mJ"]], ["left", "right"])
    [['layer', '    DC'], ['fc   ', '0.5 mJ']]
    """
    columns = []
    for cells, align in zip(zip(*rows, strict=True), aligned, strict=True):
        widest = max(map(width_of, cells))
        blanks = [" " * (widest - width_of(cell)) for cell in cells]
        pairs = zip(cells, blanks, strict=True)
        columns.append([c + blank if align == "left" else blank + c for c, blank in pairs])
    return [list(row) for row in zip(*columns, strict=True)]


def sentences(table: TableData) -> Iterator[str]:
    """Yield what the table says and what to know about it, each in one line."""
    yield from one_line((*table.summary, *table.notes))


def one_line(texts: Iterable[str]) -> Iterator[str]:
    """Yield each text in one line."""
    for text in texts:
        yield printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Escape control characters, so that text cannot affect the terminal or page."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def subscripted(heading: str, form: str) -> str:
    """Return a heading with what follows "_" put into ``form``: O_ac with ``<sub>{}</sub>``."""
    return re.sub(r"(?<=\w)_(\w+)", lambda found: form.format(found[1]), heading)
