"""Define what is common to the figures that are worked out from one report."""

from __future__ import annotations

from syops.cost.figures import Figures
from syops.show.html import to_table_page
from syops.show.tabular import Tabular


class WorkedOut(Tabular):
    """Show figures that are worked out from ``report``, as a `Tabular` does."""

    report: Figures

    def to_page(self, command: str | None = None) -> str:
        """Return the table as a page of HTML that loads nothing; see `Report.save_html`."""
        return to_table_page(self.report.model, self.to_html(), command)
