"""Put the cells and the sentences of a table in words, as every format shows them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple
from unicodedata import combining, east_asian_width

from click import unstyle

from syops.show.table import Column, TableData, Value
from syops.units import ENERGIES, common_unit, joules, largest_end, number, quantity


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
    """Return headings and values in words, with ``missing`` for unknown ones."""

    def line(row: Sequence[Value]) -> Sequence[str]:
        pairs = list(zip(row, table.columns, strict=True))
        # A row with ACs shows '-' rather than 0 for MACs, and the other way round.
        busy = any(value for value, column in pairs if column.kind == "operations")
        return [
            missing
            if busy and not value and column.kind == "operations"
            else cell_text(value, column, missing)
            for value, column in pairs
        ]

    headings = [f"{c.heading} ({c.unit})" if c.unit else c.heading for c in table.columns]
    total = None if table.total is None else line(table.total)
    return Cells(headings, [line(row) for row in table.rows], total)


def cell_text(value: Value, column: Column, missing: str = "-") -> str:
    """Return one value as a reader wants it: ``1.70 G``, ``[0.545, 6.65] mJ``, ``yes``."""
    if value is None:
        return missing
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, tuple):
        return _interval(value, column)
    as_text = _SHOWN.get(column.kind)
    text = as_text(value) if as_text else _amount(value, column)
    return f"+{text}" if column.signed and value > 0 else text


_SHOWN: dict[str, Callable[[float], str]] = {
    "flag": lambda value: "yes" if value else "no",
    "integer": lambda value: f"{value:d}",
    "rate": lambda value: f"{value:.3f}",
    "share": lambda value: f"{value:.1%}",
    "accuracy": lambda value: f"{value:.2%}",
    "ratio": number,
    "number": lambda value: f"{value:g}",
}


def _amount(value: float, column: Column) -> str:
    if column.unit:
        return number(column.in_unit(value), column.decimals)
    return joules(value) if column.kind == "energy" else quantity(value)


def _interval(ends: tuple[float, float], column: Column) -> str:
    """Return both ends of an interval in one unit."""
    unit = column.unit
    if column.kind == "energy" and not unit:
        unit = common_unit(largest_end(*map(abs, ends)), ENERGIES)
    within = replace(column, unit=unit)
    text = f"[{cell_text(ends[0], within)}, {cell_text(ends[1], within)}]"
    return text if unit == column.unit else f"{text} {unit}"


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
