"""Define what is common to the figures that are worked out from one report."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict
from typing import Any

from syops.cost.figures import Figures
from syops.cost.warnings import find_cautions
from syops.show.html import to_table_page
from syops.show.json import json_text
from syops.show.tabular import Tabular


class WorkedOut(Tabular):
    """Show figures that are worked out from ``report``, as a `Tabular` does."""

    report: Figures

    def to_json(self) -> str:
        """Return everything as JSON, for other programs; figures are per sample."""
        head = {
            "model": self.report.model,
            "measured": self.report.measured,
            "complete": self.report.complete,
            "warnings": [asdict(warning) for warning in find_cautions(self.report)],
        }
        return json_text(head | self._content())

    def to_page(self, command: str | None = None) -> str:
        """Return the table as a page of HTML that loads nothing; see `Report.save_html`."""
        return to_table_page(self.report.model, self.to_html(), command)

    @abstractmethod
    def _content(self) -> dict[str, Any]:
        """Return what JSON holds besides what is said of every report."""
