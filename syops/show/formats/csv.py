"""Write tables as CSV, with numbers in full."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from syops.show.formats.format import Format
from syops.show.table import Column, TableData, Value
from syops.units import without_infinity


def to_csv(table: TableData) -> str:
    """Return the rows of the table as CSV, with numbers in full and the columns' keys on top.

    What has a unit says so in its heading: energies are in mJ (``dc_mj``) unless the column has
    another unit (``ac_g``: operations in G). A text that a spreadsheet would take for a formula
    begins with an apostrophe. An interval takes two columns (``ec_min_mj``,
    ``ec_max_mj``). What is not known is left empty, as is an upper end that does not exist. There
    is not a total, so that a column can be added up.
    """
    out = io.StringIO()
    rows = ([_inert(value) for value in row] for row in csv_rows(table))
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _inert(value: Value) -> Value:
    """Return a text behind an apostrophe if a spreadsheet would take it for a formula."""
    formula = isinstance(value, str) and value.lstrip(" ")[:1] in tuple("=+-@\t\r\n＝＋－＠")
    return f"'{value}" if formula and value else value


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


FORMAT = Format("csv", ".csv", to_csv, every=True)
