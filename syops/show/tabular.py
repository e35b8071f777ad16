"""Tables that show themselves, and what can be shown as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from syops.show.formats import csv_rows, to_csv, to_html, to_markdown, to_text
from syops.show.latex import to_latex
from syops.show.table import ALL, TableData

if TYPE_CHECKING:
    import pandas as pd


class Table(TableData):
    """A `TableData` that a prompt, a notebook and pandas show."""

    def to_frame(self) -> pd.DataFrame:
        """The rows as a pandas table, without the total, with the headings of `to_csv`."""
        import pandas as pd

        headings, *rows = csv_rows(self)
        return pd.DataFrame(rows, columns=headings)

    def __str__(self) -> str:
        return to_text(self)

    def __repr__(self) -> str:
        """A prompt shows the table."""
        return str(self)

    def _repr_html_(self) -> str:
        return to_html(self)


class Tabular:
    """What can be shown as a `Table`, in every format.

    The arguments of each ``to_...`` are those of ``table``.
    """

    table: Callable[..., Table]

    def to_markdown(self, **arrangement: Any) -> str:
        """A table for GitHub and the like, with its caption and notes."""
        return to_markdown(self.table(**arrangement))

    def to_latex(self, **arrangement: Any) -> str:
        r"""A table with rules from booktabs, to ``\input`` in a paper."""
        return to_latex(self.table(**arrangement))

    def to_csv(self, **arrangement: Any) -> str:
        """All columns as CSV, numbers in full; see `syops.show.formats.to_csv`."""
        return to_csv(self.table(**{"columns": ALL, **arrangement}))

    def to_frame(self) -> pd.DataFrame:
        """All columns as a pandas table, with the headings of `to_csv`."""
        return self.table(columns=ALL).to_frame()

    def to_html(self, **arrangement: Any) -> str:
        """A ``<table>`` to paste into a page."""
        return to_html(self.table(**arrangement))

    def __str__(self) -> str:
        return str(self.table())

    def __repr__(self) -> str:
        """A prompt shows the table."""
        return str(self)

    def _repr_html_(self) -> str:
        return self.to_html()
