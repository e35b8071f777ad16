"""Define a table as plain data: columns with units, raw values, caption and notes.

`syops.show.formats` turns tables into text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Literal, Self, TypeAlias, TypeVar

from syops.errors import SyopsLookupError, SyopsTypeError, SyopsValueError, did_you_mean
from syops.units import COUNTS, ENERGIES, Unit, read_units

Value: TypeAlias = str | bool | int | float | tuple[float, float] | None
"""None is what is not known, infinity an upper end that does not exist. A pair is an interval, of
energies in mJ or of ratios."""

T = TypeVar("T")

ALL = "all"
"""Instead of the names of columns."""

Kind: TypeAlias = Literal[
    "text",
    "signal",
    "flag",
    "integer",
    "count",
    "operations",
    "energy",
    "rate",
    "share",
    "accuracy",
    "ratio",
    "number",
]
"""What the values of a column are; see `Column`."""

TEXT = ("text", "signal")
"""The kinds of columns that are set to the left."""

_RENAMED = {"energy": "dc_mj", "energy_mj": "dc_mj", "rate": "mean_rate"}
"""What columns were called in 0.1.0, by what they are called now."""


def check_count(name: str, value: object) -> None:
    """Refuse an argument that is not a number of rows or levels: an integer, at least 1."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise SyopsTypeError(f"{name} must be an integer, got {value!r}")
    if value < 1:
        raise SyopsValueError(f"{name} must be at least 1, got {value}")


@dataclass(frozen=True)
class Column:
    """Describe one column.

    Attributes:
        key: its name in data: that of the attribute, the heading in CSV and of a data frame. An
            energy has its unit in it: ``dc_mj``.
        heading: what stands above it: the field's word, where "_" starts a subscript.
        kind: what its values are and how they are shown: "text"; "signal", the class of a signal;
            "integer"; "count"; "operations", counts of which a row that has one need not have the
            others; "energy" in mJ; "rate"; "share"; "accuracy"; "ratio"; "number", shown in
            full; "flag".
        unit: the one that all its values are shown in, such as "G" or "mJ"; "" leaves it to the
            format.
        decimals: of the values shown in a unit; None for three significant digits.
        signed: whether positive values have a sign, as differences have.
        interval: whether values may be intervals.
    """

    key: str
    heading: str
    kind: Kind = "text"
    unit: str = ""
    decimals: int | None = None
    signed: bool = False
    interval: bool = False

    @property
    def title(self) -> str:
        """The heading with the unit."""
        return f"{self.heading} ({self.unit})" if self.unit else self.heading

    @property
    def align(self) -> str:
        return "left" if self.kind in TEXT else "right"

    def in_unit(self, value: float) -> float:
        """Return a count, or an energy in mJ, in the column's unit."""
        size = {**COUNTS, **ENERGIES}[self.unit] if self.unit else 1.0
        return value / size if size >= 1 else value * round(1 / size)  # 0.69 mJ is 690 µJ


@dataclass(frozen=True, repr=False)
class TableData:
    """Hold columns, and rows of raw values.

    Attributes:
        columns: one or more.
        rows: of each, one value a column.
        total: one value a column, or None if there is no total.
        caption: what it is.
        warnings: sentences on what may mislead, said before the rows.
        summary: sentences on what it says; a line of one may be broken with "\\n".
        notes: sentences on what a reader should know about it.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    total: tuple[Value, ...] | None = None
    caption: str = ""
    summary: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def arranged(
        self,
        columns: str | Sequence[str] | None = None,
        sort: str | None = None,
        top: int | None = None,
        units: Unit | Iterable[Unit] = "auto",
    ) -> Self:
        """Return the same table with some of its columns and rows, in another order.

        Args:
            columns: keys or headings, in any case; several in a string are separated by commas.
                None and "all" are all there are.
            sort: key or heading of the column to sort by: text from A to Z, numbers from the
                largest, intervals by their upper end, differences by their size; what is not
                known comes last.
            top: how many rows to keep, from the first.
            units: one unit for counts ("k", "M", "G", "T"), one for energies ("pJ", "nJ", "µJ",
                "mJ", "J"), or both; "auto" leaves them to the format, and data as they are.

        Raises:
            SyopsLookupError: a column that does not exist.
            SyopsValueError: a unit that does not exist, a ``top`` below 1 or no columns.
        """
        found = self._in_units(units)
        if sort is not None:
            found = found._sorted(self.index(sort))
        if top is not None:
            found = found._first(top)
        return found if columns in (None, ALL) else found._selected(columns)

    def index(self, name: str) -> int:
        """Return where a column is, by key or heading in any case: ``ec_max_mj``, ``EC_max``.

        Raises `SyopsLookupError`, and `SyopsTypeError` for what is not text.
        """
        if not isinstance(name, str):
            raise SyopsTypeError(f"a column is named by its key or heading, got {name!r}")
        wanted = _plain(name)
        for i, column in enumerate(self.columns):
            if wanted in (_plain(column.key), _plain(column.heading)):
                return i
        keys = [column.key for column in self.columns]
        now = _RENAMED.get(wanted)
        known = [now] if now in keys else [*keys, *(column.heading for column in self.columns)]
        hint = did_you_mean(now or name, known)
        raise SyopsLookupError(f"no such column: {name!r}; {hint}known columns: {', '.join(keys)}")

    def _in_units(self, units: Unit | Iterable[Unit]) -> Self:
        chosen = read_units(units)
        of_kind = {"count": chosen.count, "operations": chosen.count, "energy": chosen.energy}
        columns = (
            replace(column, unit=unit) if (unit := of_kind.get(column.kind)) else column
            for column in self.columns
        )
        return replace(self, columns=tuple(columns))

    def _sorted(self, by: int) -> Self:
        known = [row for row in self.rows if row[by] is not None]
        unknown = [row for row in self.rows if row[by] is None]
        is_text, signed = self.columns[by].kind in TEXT, self.columns[by].signed

        def order(row: tuple[Value, ...]) -> Any:
            value: Any = row[by]
            value = value[1] if isinstance(value, tuple) else value
            return abs(value) if signed else value

        return replace(self, rows=(*sorted(known, key=order, reverse=not is_text), *unknown))

    def _first(self, top: int) -> Self:
        check_count("top", top)
        left = len(self.rows) - top
        if left <= 0:
            return self
        rows = "1 more row" if left == 1 else f"{left} more rows"
        inside = ", but inside the total" if self.total else ""
        told = f"{rows} not shown{inside}"
        caption = "; ".join(filter(None, [self.caption, told]))
        return replace(self, rows=self.rows[:top], caption=caption)

    def _selected(self, columns: str | Sequence[str]) -> Self:
        if not isinstance(columns, Iterable):
            raise SyopsTypeError(f"columns must be names of columns, got {columns!r}")
        names = columns.split(",") if isinstance(columns, str) else columns
        chosen = [self.index(name) for name in names]
        if not chosen:
            raise SyopsValueError("columns: give at least one")

        def of(row: tuple[T, ...]) -> tuple[T, ...]:
            return tuple(row[i] for i in chosen)

        return replace(
            self,
            columns=of(self.columns),
            rows=tuple(map(of, self.rows)),
            total=None if self.total is None else of(self.total),
        )


def _plain(name: str) -> str:
    """Return the name of a column without what is spelled in several ways."""
    return name.strip().lower().replace(" ", "_")
