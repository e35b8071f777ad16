"""Write tables as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from click import style

from syops.ops.values import SPIKES
from syops.show.formats.cells import Cells, in_words, padded, printable, width_of
from syops.show.formats.format import Format
from syops.show.table import TableData

WIDTH = 80
"""Columns of a terminal, unless it is known to have more."""

_NARROWEST = 12
"""Of a shortened name."""
_GAP = "  "
"""Between columns."""


def to_text(table: TableData, width: int | None = WIDTH, color: bool = False) -> str:
    """Return the table for a terminal of ``width`` columns, between its caption, what
    may mislead in it, and what it says.

    Where it would be too wide, headings are broken in two and names in the first column shortened
    in the middle; with None as the width it may be as wide as it is. With ``color``, headings and
    the total are bold, and signals that are more than spikes yellow.
    """
    cells = in_words(table)
    above: Sequence[str] = []
    if width is not None and _wide(cells) > width:
        above, cells = _broken(cells)
        cells = _shortened(cells, width)
    if color:
        above, cells = _bold(above), _coloured(cells, table)
    heads = [above, cells.headings] if any(above) else [cells.headings]
    totals = [cells.total] if cells.total else []
    aligned = [column.align for column in table.columns]
    drawn = padded([*heads, *cells.rows, *totals], aligned)
    rule = ["-" * width_of(cell) for cell in drawn[0]]
    for place in [len(heads), len(heads) + len(cells.rows)][: 1 + len(totals)][::-1]:
        drawn.insert(place, rule)
    lines = "\n".join(_GAP.join(row).rstrip() for row in drawn)
    caption, warnings, summary, notes = (
        _wrapped(texts, min(width or WIDTH, WIDTH))
        for texts in ([table.caption], table.warnings, table.summary, table.notes)
    )
    return "\n\n".join(filter(None, [caption, warnings, lines, summary, notes]))


def _widths(cells: Cells) -> list[int]:
    rows = [cells.headings, *cells.rows, *([cells.total] if cells.total else [])]
    return [max(map(width_of, column)) for column in zip(*rows, strict=True)]


def _wide(cells: Cells) -> int:
    widths = _widths(cells)
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _broken(cells: Cells) -> tuple[Sequence[str], Cells]:
    """Return the first lines of headings, where they have two, and the cells below them."""
    parts = [heading.rpartition(" ") for heading in cells.headings]
    return [first for first, *_ in parts], cells._replace(headings=[last for *_, last in parts])


def _shortened(cells: Cells, width: int) -> Cells:
    """Shorten names until the lines fit into ``width``."""
    first, *others = _widths(cells)
    room = max(width - sum(others) - len(_GAP) * len(others), _NARROWEST)
    return cells.map_rows(lambda row: [abbreviated(row[0], room), *row[1:]])


def abbreviated(name: str, room: int) -> str:
    """Return a long name with dots for its middle, as its end tells more than its start."""
    if len(name) <= room:
        return name
    head = (room - 2) // 3
    return f"{name[:head]}..{name[head + 2 - room :]}"


def _coloured(cells: Cells, table: TableData) -> Cells:
    def coloured(row: Sequence[str]) -> Sequence[str]:
        return [
            style(cell, fg="yellow")
            if column.kind == "signal" and cell not in ("", *SPIKES)
            else cell
            for cell, column in zip(row, table.columns, strict=True)
        ]

    total = None if cells.total is None else _bold(cells.total)
    return Cells(_bold(cells.headings), [coloured(row) for row in cells.rows], total)


def _bold(row: Sequence[str]) -> Sequence[str]:
    return [style(cell, bold=True) if cell else cell for cell in row]


def _wrapped(texts: Iterable[str], width: int) -> str:
    lines = (printable(line) for text in texts for line in text.split("\n") if line)
    return "\n".join(wrap(line, width) for line in lines)


def wrap(line: str, width: int = WIDTH) -> str:
    """Return a text whose long lines are continued in the next ones, indented by two columns."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False)


FORMAT = Format("table", ".txt", lambda table: f"{to_text(table)}\n")
