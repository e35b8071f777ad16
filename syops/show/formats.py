"""Write any `TableData` as text for a terminal, Markdown, CSV or HTML; LaTeX has its own file."""

from __future__ import annotations

import csv
import html
import io
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from click import style
from tabulate import SEPARATING_LINE, DataRow, TableFormat, tabulate
from tabulate import Line as Rule

from syops.ops.values import SPIKES
from syops.show.table import Column, TableData, Value
from syops.units import (
    ENERGIES,
    common_unit,
    joules,
    largest_end,
    number,
    quantity,
    without_infinity,
)

WIDTH = 80
"""Columns of a terminal, unless it is known to have more."""

_NARROWEST = 12
"""Of a folded name."""
_GAP = "  "
"""Between columns."""

# tabulate's "simple" without the two spaces that it adds to every heading.
_COMPACT = TableFormat(
    lineabove=None,
    linebelowheader=Rule("", "-", _GAP, ""),
    linebetweenrows=None,
    linebelow=None,
    headerrow=DataRow("", _GAP, ""),
    datarow=DataRow("", _GAP, ""),
    padding=0,
    with_header_hide=None,
)


def to_text(table: TableData, width: int | None = WIDTH, color: bool = False) -> str:
    """Return the table for a terminal of ``width`` columns, between its caption, what
    may mislead in it, and what it says.

    Where it would be too wide, headings are broken in two and names in the first column folded in
    the middle; with None as the width it may be as wide as it is. With ``color``, headings and the
    total are bold, and signals that are more than spikes yellow.
    """
    cells = in_words(table)
    above: Sequence[str] = []
    if width is not None and _wide(cells) > width:
        above, cells = _broken(cells)
        cells = _folded(cells, width)
    if color:
        above, cells = _bold(above), _coloured(cells, table)
    grid: list[object] = [cells.headings, SEPARATING_LINE, *cells.rows]
    if any(above):
        grid.insert(0, above)
    if cells.total:
        grid += [SEPARATING_LINE, cells.total]
    aligned = [column.align for column in table.columns]
    drawn = tabulate(grid, tablefmt=_COMPACT, disable_numparse=True, colalign=aligned)
    lines = "\n".join(line.rstrip() for line in drawn.splitlines())
    caption, warnings, summary, notes = (
        _wrapped(texts, min(width or WIDTH, WIDTH))
        for texts in ([table.caption], table.warnings, table.summary, table.notes)
    )
    return "\n\n".join(filter(None, [caption, warnings, lines, summary, notes]))


def to_markdown(table: TableData) -> str:
    """Return the table in the Markdown of GitHub, between its caption and what it says."""
    cells = in_words(table).map(_in_markdown)
    rows = [*cells.rows]
    if cells.total:
        rows.append([f"**{cell}**" if cell else "" for cell in cells.total])
    drawn = tabulate(
        rows,
        cells.headings,
        tablefmt="pipe",
        disable_numparse=True,
        colalign=[column.align for column in table.columns],
    )
    first = (printable(table.caption), *one_line(table.warnings))
    above, below = ([_in_markdown(text) for text in part] for part in (first, sentences(table)))
    return "\n\n".join(filter(None, [*above, drawn, *below])) + "\n"


def to_csv(table: TableData) -> str:
    """Return the rows of the table as CSV, with numbers in full and the columns' keys on top.

    What has a unit says so in its heading: energies are in mJ (``dc_mj``) unless the column has
    another unit (``ac_g``: operations in G). A text that a spreadsheet would take for a formula
    begins with an apostrophe. An interval takes two columns (``ec_min_mj``,
    ``ec_max_mj``). What is not known is left empty, as is an upper end that does not exist. There
    is no total, so that a column can be added up.
    """
    out = io.StringIO()
    rows = ([_inert(value) for value in row] for row in csv_rows(table))
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _inert(value: Value) -> Value:
    """Return a text behind an apostrophe if a spreadsheet would take it for a formula."""
    formula = isinstance(value, str) and value.lstrip(" ")[:1] in tuple("=+-@\t\r\n＝＋－＠")
    return f"'{value}" if formula and value else value


def to_html(table: TableData) -> str:
    """Return the table as a ``<table>`` to paste into a page, with what it says in its foot."""

    def line(cells: Sequence[str], tag: str) -> str:
        drawn = (
            f'<{tag} style="text-align:{column.align}">{cell}</{tag}>'
            for cell, column in zip(cells, table.columns, strict=True)
        )
        return f"<tr>{''.join(drawn)}</tr>"

    def across(text: str) -> str:
        style = f'colspan="{len(table.columns)}" style="text-align:left"'
        return f"<tr><td {style}>{html.escape(text)}</td></tr>"

    cells = in_words(table, "–").map(html.escape)
    headings = [subscripted(heading, "<sub>{}</sub>") for heading in cells.headings]
    foot = [line(cells.total, "th")] if cells.total else []
    head = [across(text) for text in one_line(table.warnings)]
    foot += [across(text) for text in sentences(table)]
    caption = (
        [f"<caption>{html.escape(printable(table.caption))}</caption>"] if table.caption else []
    )
    lines = [
        '<table class="syops">',
        *caption,
        *("<thead>", *head, line(headings, "th"), "</thead>"),
        *("<tbody>", *(line(row, "td") for row in cells.rows), "</tbody>"),
        *(["<tfoot>", *foot, "</tfoot>"] if foot else []),
        "</table>",
    ]
    return "\n".join(lines) + "\n"


# --- what the formats share ---------------------------------------------------------------------


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
            else shown(value, column, missing)
            for value, column in pairs
        ]

    headings = [f"{c.heading} ({c.unit})" if c.unit else c.heading for c in table.columns]
    total = None if table.total is None else line(table.total)
    return Cells(headings, [line(row) for row in table.rows], total)


def shown(value: Value, column: Column, missing: str = "-") -> str:
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
    text = f"[{shown(ends[0], within)}, {shown(ends[1], within)}]"
    return text if unit == column.unit else f"{text} {unit}"


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


# --- text ---------------------------------------------------------------------------------------


def _widths(cells: Cells) -> list[int]:
    rows = [cells.headings, *cells.rows, *([cells.total] if cells.total else [])]
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _wide(cells: Cells) -> int:
    widths = _widths(cells)
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _broken(cells: Cells) -> tuple[Sequence[str], Cells]:
    """Return the first lines of headings, where they have two, and the cells below them."""
    parts = [heading.rpartition(" ") for heading in cells.headings]
    return [first for first, *_ in parts], cells._replace(headings=[last for *_, last in parts])


def _folded(cells: Cells, width: int) -> Cells:
    """Shorten names until the lines fit into ``width``."""
    first, *others = _widths(cells)
    room = max(width - sum(others) - len(_GAP) * len(others), _NARROWEST)
    return cells.map_rows(lambda row: [folded(row[0], room), *row[1:]])


def folded(name: str, room: int) -> str:
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


# --- Markdown, CSV ------------------------------------------------------------------------------


def _in_markdown(text: str) -> str:
    """Escape what GitHub's Markdown would read as markup, dollars too, which enclose formulas."""
    return re.sub(r"([\\`*|~<>$]|\[(?=[^]]*\][\[(])|&(?=#?\w+;)|(?<!\w)_|_(?!\w))", r"\\\1", text)


def csv_rows(table: TableData) -> Iterator[list[Value]]:
    """Yield the headings and the rows of `to_csv`."""
    yield [name for column in table.columns for name in _csv_names(column)]
    for row in table.rows:
        pairs = zip(row, table.columns, strict=True)
        yield [part for value, column in pairs for part in _csv_values(value, column)]


def _csv_names(column: Column) -> Sequence[str]:
    key = column.key.removesuffix("_mj")
    keys = [f"{key}_min", f"{key}_max"] if column.interval else [key]
    unit = column.unit or ("mJ" if column.kind == "energy" else "")
    return [f"{key}_{unit.lower().replace('µ', 'u')}" if unit else key for key in keys]


def _csv_values(value: Value, column: Column) -> Sequence[Value]:
    ends = without_infinity(value if isinstance(value, tuple) else (value,) * (1 + column.interval))
    return [
        column.in_unit(end) if column.unit and isinstance(end, int | float) else end for end in ends
    ]
