"""Show networks under several conventions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

from syops.cost.changes import UnderConvention, under_conventions
from syops.cost.conventions import AnyConvention, Convention, get_convention, list_conventions
from syops.cost.figures import Figures
from syops.errors import SyopsTypeError, SyopsValueError, shown
from syops.show.html import to_table_page
from syops.show.json import json_text
from syops.show.sentences import warnings_in_words
from syops.show.table import Column
from syops.show.tabular import Table, Tabular

COLUMNS = (
    Column("network", "network"),
    Column("convention", "convention"),
    Column("ac", "O_ac", "operations"),
    Column("mac", "O_mac", "operations"),
    Column("energy_mj", "energy", "energy"),
    Column("ratio", "to exact", "ratio"),
    Column("why", "why"),
)
"""All that can be told of a network under a convention: attributes of `UnderConvention`."""


def conventions_named(names: str | Sequence[AnyConvention] = "all") -> tuple[Convention, ...]:
    """Return conventions by their names: "all" that ship with syops, or several with commas.

    Raises:
        SyopsLookupError, SyopsFileError, SyopsTypeError, SyopsValueError: see `get_convention`;
            also no convention.
    """
    if names == "all":
        return list_conventions()
    if not isinstance(names, Iterable):
        raise SyopsTypeError(f"conventions must be names or a list of them, got {shown(names)}")
    told = [each.strip() for each in names.split(",")] if isinstance(names, str) else names
    if not told:
        raise SyopsValueError("conventions: give at least one, or 'all'")
    return tuple(map(get_convention, told))


@dataclass(frozen=True, repr=False)
class Conventions(Tabular):
    """What `Report.conventions_table` returns: one count under several conventions.

    Attributes:
        reports: of the networks.
        conventions: what they are seen under.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from syops import get_model_syops
        >>> report = get_model_syops(nn.Linear(4, 3), torch.eye(4) * 2)
        >>> table = report.conventions_table("exact,ilif")
        >>> [(row.convention, row.ac, row.mac, row.why) for row in table.rows]
        [('exact', 0.0, 12.0, 'the same operations'), ('ilif', 6.0, 0.0, 'MACs here ACs: Linear')]
    """

    reports: tuple[Figures, ...]
    conventions: tuple[Convention, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What the networks are called."""
        return tuple(report.model for report in self.reports)

    @cached_property
    def rows(self) -> tuple[UnderConvention, ...]:
        """One for each network and convention."""
        exact = get_convention("exact")
        return tuple(
            row
            for report in self.reports
            for row in under_conventions(report, self.conventions, exact)
        )

    def to_json(self) -> str:
        """Return everything as JSON, for other programs; figures are per sample."""
        content = {
            "networks": self.names,
            "conventions": [asdict(each) for each in self.conventions],
            "rows": [asdict(row) for row in self.rows],
        }
        return json_text(content)

    def to_page(self, command: str | None = None) -> str:
        """Return the table as a page of HTML that loads nothing; see `Report.save_html`."""
        return to_table_page(", ".join(dict.fromkeys(self.names)), self.to_html(), command)

    @property
    def _shown(self) -> Sequence[str]:
        names = [column.key for column in COLUMNS]
        return names if len(self.reports) > 1 else names[1:]

    @property
    def _whole(self) -> Table:
        measured = all(report.measured for report in self.reports)
        rates = "at the measured rates" if measured else "at rate 1 where nothing was measured"
        models = ", ".join(dict.fromkeys(self.names))
        warned = (line for report in self.reports for line in warnings_in_words(report))
        return Table(
            COLUMNS,
            tuple(tuple(getattr(row, each.key) for each in COLUMNS) for row in self.rows),
            caption=f"{models}: one count under several conventions, per sample, {rates}",
            notes=tuple(self._notes()),
            warnings=tuple(dict.fromkeys(warned)),
        )

    def _notes(self) -> Iterator[str]:
        for each in self.conventions:
            told = f"{each.title}; source: {each.source}; scope: {each.scope}"
            yield f"{each.name}: {told}; gets wrong: {each.gets_wrong}"
