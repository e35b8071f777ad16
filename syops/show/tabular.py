"""Define tables that show themselves, and what can be shown as one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from syops.choices import choice
from syops.errors import SyopsTypeError
from syops.show.formats import FORMATS, WholeFormat
from syops.show.formats.csv import csv_rows, to_csv
from syops.show.formats.html import to_html
from syops.show.formats.latex import to_latex
from syops.show.formats.markdown import to_markdown
from syops.show.formats.text import to_terminal, to_text
from syops.show.table import ALL, TableData
from syops.units import Unit

if TYPE_CHECKING:
    import pandas as pd


class Table(TableData):
    """Show a `TableData` at a prompt, in a notebook and as pandas."""

    def to_frame(self) -> pd.DataFrame:
        """Return the rows as a pandas table, without the total, with the headings of `to_csv`."""
        import pandas as pd

        headings, *rows = csv_rows(self)
        return pd.DataFrame(rows, columns=headings)

    def __str__(self) -> str:
        """Return the table for the terminal, with three sentences below it; `Tabular.to_text` has
        all."""
        return to_terminal(self)

    def __repr__(self) -> str:
        """Show the table at a prompt."""
        return str(self)

    def _repr_html_(self) -> str:
        return to_html(self)


class Arrangement(TypedDict, total=False):
    """Hold the arguments of `Tabular.table`, which explains them."""

    columns: str | Sequence[str] | None
    sort: str | None
    top: int | None
    units: Unit | Iterable[Unit]


class Tabular(ABC):
    """Give a class the methods to be shown as a `Table`, in every format.

    The arguments of each ``to_...`` are those of `table`.
    """

    def table(
        self,
        *,
        columns: str | Sequence[str] | None = None,
        sort: str | None = None,
        top: int | None = None,
        units: Unit | Iterable[Unit] = "auto",
    ) -> Table:
        """Return the figures as plain data, from which every ``to_...`` makes text.

        Args:
            columns: names in data such as "dc_mj", or headings such as "DC", in any case; several
                in one string are separated by commas. "all" is all there are; by default the main
                ones.
            sort: the column to sort by: text from A to Z, numbers from the largest, intervals by
                their upper end, differences by their size. What is not known comes last.
            top: how many rows to keep; those that cost most, unless ``sort`` says otherwise.
            units: "auto", which suits most values of a column, or one unit for counts ("k", "M",
                "G", "T"), one for energies ("pJ", "nJ", "uJ", "mJ", "J"), or both.

        Raises:
            SyopsLookupError: a column that does not exist.
            SyopsValueError: a unit that does not exist, or a ``top`` below 1.
        """
        return self._arranged(self._whole, columns=columns, sort=sort, top=top, units=units)

    def to_text(self, **arrangement: Unpack[Arrangement]) -> str:
        """Return the table as text, whole, with all its sentences; `print` fits it to the
        terminal and shows three sentences."""
        return f"{to_text(self.table(**arrangement))}\n"

    def to_markdown(self, **arrangement: Unpack[Arrangement]) -> str:
        """Return a Markdown table, as GitHub reads it, with its caption and notes."""
        return to_markdown(self.table(**arrangement))

    def to_latex(
        self,
        *,
        caption: str | None = None,
        label: str | None = None,
        notes: bool | str = True,
        **arrangement: Unpack[Arrangement],
    ) -> str:
        r"""Return a LaTeX table with rules from booktabs, to ``\input`` in a paper.

        Args:
            caption: LaTeX instead of the table's own caption.
            label: what ``\ref`` calls the table, such as "tab:energy".
            notes: whether the sentences about the table stand below it, or LaTeX instead of them.
                Warnings stay.
            arrangement: of `table`.

        Raises:
            SyopsTypeError, SyopsValueError: as `table`; also for a label that LaTeX cannot refer
                to, and for one without a caption.
        """
        table = self.table(**arrangement)
        return to_latex(table, caption=caption, label=label, notes=notes)

    def to_html(self, **arrangement: Unpack[Arrangement]) -> str:
        """Return a ``<table>`` to paste into a page of HTML."""
        return to_html(self.table(**arrangement))

    def to_csv(self, **arrangement: Unpack[Arrangement]) -> str:
        """Return all columns as CSV, numbers in full; see `syops.show.formats.csv.to_csv`."""
        return to_csv(self._data(**arrangement))

    def to_format(
        self, name: str, *, command: str | None = None, **arrangement: Unpack[Arrangement]
    ) -> str:
        """Return the figures in a format that ``--format`` takes, such as "markdown" or "json".

        Args:
            name: a key of `syops.show.formats.FORMATS`.
            command: the command line that the figures were made by, which a page tells.
            arrangement: columns, sort, top and units, as of `table`; not for "json" and "html",
                which hold everything.

        Raises:
            SyopsValueError: a format that does not exist.
            SyopsLookupError, SyopsValueError: as `table`.
            SyopsTypeError: an arrangement of a format that holds everything.
        """
        return self._formatted(name, command, arrangement)

    def _formatted(self, name: str, command: str | None, arrangement: Mapping[str, Any]) -> str:
        form = FORMATS[choice("name", name, FORMATS)]
        if not isinstance(form, WholeFormat):
            return form.write((self._data if form.every else self.table)(**arrangement))
        if arrangement:
            raise SyopsTypeError(f"{next(iter(arrangement))}: {name} holds everything")
        return form.write(self, command)

    def to_frame(self) -> pd.DataFrame:
        """Return all columns as a pandas table, with the headings of `to_csv`."""
        return self._whole.to_frame()

    def __str__(self) -> str:
        return str(self.table())

    def __repr__(self) -> str:
        """Show the table at a prompt."""
        return str(self)

    def _repr_html_(self) -> str:
        return self.to_html()

    # What a subclass says

    @abstractmethod
    def to_json(self) -> str:
        """Return everything as JSON."""

    @abstractmethod
    def to_page(self, command: str | None = None) -> str:
        """Return a page of HTML that loads nothing.

        Args:
            command: the command line that the figures were made by, to be shown.
        """

    @property
    @abstractmethod
    def _whole(self) -> Table:
        """All columns and rows."""

    @property
    @abstractmethod
    def _shown(self) -> Sequence[str]:
        """The columns that are shown by default."""

    @property
    def _dearest(self) -> str | None:
        """The column that ``top`` sorts by unless ``sort`` is given; None keeps the order."""
        return None

    def _data(self, **arrangement: Any) -> Table:
        """Return what formats for other programs hold: all columns unless some are chosen."""
        return self._arranged(self._whole, **{"columns": ALL, **arrangement})

    def _arranged(
        self,
        whole: Table,
        *,
        columns: str | Sequence[str] | None = None,
        sort: str | None = None,
        top: int | None = None,
        units: Unit | Iterable[Unit] = "auto",
    ) -> Table:
        """Choose columns, rows and units of a table, those of the class where nothing is said."""
        by = self._dearest if top is not None and sort is None else sort
        return whole.arranged(self._shown if columns is None else columns, by, top, units)
