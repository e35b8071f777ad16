"""Write tables as text for a terminal."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

from click import style

from syops.ops.kinds import SPIKES
from syops.show.formats.cells import Cells, in_words, padded, printable, width_of
from syops.show.formats.format import Format
from syops.show.table import TableData

WIDTH = 80
"""Columns of a terminal, unless it is known to have more, and of sentences."""

_NARROWEST = 12
"""Of a shortened name."""
_CUT = ".."
"""What was cut out of a name."""
_GAP = "  "
"""Between columns."""


_SENTENCES = 3
"""Below a table, unless all are asked for."""


def to_text(
    table: TableData, width: int | None = None, color: bool = False, verbose: bool = True
) -> str:
    """Return the table for a terminal, between its caption, what may mislead in it, and what it
    says.

    Args:
        table: what to show.
        width: columns of the terminal. Where the table is wider, headings are broken in two and
            names in the first column shortened, as long as they stay different. None is a file,
            in which nothing is cut.
        color: headings and the total are bold, and signals that are more than spikes yellow.
        verbose: show all that the table says, not only its first three sentences.
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
    room = None if verbose else _SENTENCES
    summary, notes = table.summary[:room], table.notes
    if room is not None:
        notes = notes[: max(room - len(summary), 0)]
    hidden = len(table.summary) + len(table.notes) - len(summary) - len(notes)
    notes_more = f"{hidden} more note{'s' * (hidden > 1)}"
    more = [f"{notes_more} with --verbose, or to_text() in Python"] if hidden else []
    parts = (
        _wrapped(texts, min(width or WIDTH, WIDTH))
        for texts in ([table.caption], table.warnings, summary, notes, more)
    )
    caption, warnings, *below = parts
    return "\n\n".join(filter(None, [caption, warnings, lines, *below]))


def to_terminal(table: TableData, verbose: bool = False, color: bool = False) -> str:
    """Return the table as wide as the terminal is that standard output is, if it is one."""
    width = shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else None
    return to_text(table, width, color, verbose)


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
    """Shorten names until the lines fit into ``width``, as long as they stay different."""
    first, *others = _widths(cells)
    room = max(width - sum(others) - len(_GAP) * len(others), _NARROWEST)
    names = list(dict.fromkeys(row[0] for row in cells.rows))
    short = dict(zip(names, _told_apart(names, room), strict=True))
    return cells._replace(rows=[[short[row[0]], *row[1:]] for row in cells.rows])


def _told_apart(names: Sequence[str], room: int) -> Sequence[str]:
    """Return different names in so much room, or in as much as they need to stay different."""
    common = os.path.commonprefix(list(names)).rfind(".") + 1
    if common > len(_CUT) and max(map(len, names)) > room:
        names = [_CUT + name[common:] for name in names]
    for more in range(room, max(map(len, names), default=0)):
        short = [abbreviated(name, more) for name in names]
        if len(set(short)) == len(names):
            return short
    return names


def abbreviated(name: str, room: int) -> str:
    """Return a long name with dots for its middle, as its end tells more than its start."""
    if len(name) <= room:
        return name
    head = (room - len(_CUT)) // 3
    return f"{name[:head]}{_CUT}{name[head + len(_CUT) - room :]}"


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
    """Return a text whose long lines are continued in the next ones, indented by two columns.

    Hyphens are not breaks: "--time-steps" stays an option that can be copied.
    """
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


FORMAT = Format("table", ".txt", lambda table: f"{to_text(table)}\n")
