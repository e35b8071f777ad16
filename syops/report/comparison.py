"""Put networks side by side, in the layout of the paper's Table 2. Reads only reports."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from syops.choices import choice
from syops.cost.networks import ComparisonRow, dc_mj, row_of
from syops.errors import SyopsTypeError, SyopsValueError
from syops.files import write_text
from syops.report.difference import (
    LayerComparison,
    not_counted_in,
    notes_on,
    unlike,
    warnings_on,
)
from syops.report.report import Report
from syops.show.html import to_comparison_page
from syops.show.json import json_text
from syops.show.layers import priced_part
from syops.show.table import Column, Value
from syops.show.tabular import Table, Tabular

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from syops.show.plots.networks import ComparisonPlot

Reference: TypeAlias = Literal["ann", "first"]
"""What energies can be compared with: the same network as an ANN, or the first network."""

REFERENCES: tuple[Reference, ...] = get_args(Reference)

COLUMNS = (
    Column("name", "network"),
    Column("network_type", "type"),
    Column("accuracy", "accuracy", "accuracy"),
    Column("time_steps", "T", "integer"),
    Column("params", "parameters", "count"),
    Column("mean_rate", "mean rate", "rate"),
    Column("ec_mj", "EC", "energy", interval=True),
    Column("ac", "O_ac", "count"),
    Column("dense_ac", "dense AC", "count"),
    Column("mac", "O_mac", "count"),
    Column("dc_mj", "DC", "energy"),
    Column("ratio", "ratio", "ratio"),
    Column("ec_ratio", "EC ratio", "ratio", interval=True),
)
"""All that can be told of a network: attributes of a `ComparisonRow`."""


@dataclass(frozen=True, repr=False)
class Comparison(Tabular):
    """Show networks side by side, as `compare` puts them.

    Attributes:
        names: of the networks.
        reports: one for each name.
        to: what energies are compared with, "ann" or "first".

    Examples:
        >>> from torch import nn
        >>> from syops import get_model_bounds
        >>> networks = compare([get_model_bounds(nn.Linear(4, 2), (1, 4), input_signal="binary")])
        >>> networks.rows[0].network_type, networks.table(columns="network,dense AC").rows
        ('FSNN', (('Linear', 8.0),))
    """

    names: tuple[str, ...]
    reports: tuple[Report, ...]
    to: Reference = "ann"

    @cached_property
    def rows(self) -> tuple[ComparisonRow, ...]:
        """One for each network."""
        return tuple(
            row_of(name, report, self._reference(report))
            for name, report in zip(self.names, self.reports, strict=True)
        )

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know: what is not known, and where the networks were not counted
        alike."""
        return (*self._unknown(), *notes_on(self.names, self.reports))

    def layers(self) -> LayerComparison:
        """Return the difference of two reports, layer by layer.

        Raises:
            SyopsValueError: there are not two.
        """
        if len(self.reports) != 2:
            raise SyopsValueError(
                f"layers are compared between two networks, these are {len(self.reports)}"
            )
        return LayerComparison(self.names, self.reports)

    def to_json(self) -> str:
        """Return the rows and the notes as JSON; reports are saved one by one."""
        content = {
            "ratio_to": self.to,
            "warnings": warnings_on(self.names, self.reports),
            "rows": [asdict(row) for row in self.rows],
            "notes": self.notes,
        }
        return json_text(content)

    def plot(self, kind: ComparisonPlot | None = None, ax: Axes | None = None) -> Figure:
        """Draw what the networks consume: EC, and DC where it is known.

        See `syops.show.plots.networks.plot_comparison`.

        Args:
            kind: "accuracy" against energy, or "energy" alone; by default the first where any
                accuracy is known.
            ax: where to draw; by default in a new figure as wide as a page.

        Raises:
            SyopsLookupError: an unknown kind.
            SyopsTypeError: ``ax`` is not a matplotlib Axes.
            SyopsValueError: "accuracy" where none is known.
        """
        from syops.show.plots.networks import plot_comparison  # with matplotlib

        return plot_comparison(self.rows, kind, ax)

    def save_html(self, path: str | os.PathLike[str], command: str | None = None) -> None:
        """Write a page with the table, the plots, and the layers of every network.

        It is one file that loads nothing; see `Report.save_html`. Raises `SyopsFileError` if it
        cannot be written.
        """
        write_text(Path(path), self.to_page(command))

    def to_page(self, command: str | None = None) -> str:
        """Return the page that `save_html` writes."""
        return to_comparison_page(self.names, self.reports, self.rows, self.to_html(), command)

    @property
    def _whole(self) -> Table:
        return Table(
            COLUMNS,
            tuple(map(_values, self.rows)),
            caption=self._caption,
            summary=(self._meaning,),
            notes=(*self._unknown(), *not_counted_in(self.names, self.reports)),
            warnings=(
                *warnings_on(self.names, self.reports),
                *unlike(self.names, self.reports),
            ),
        )

    @property
    def _shown(self) -> Sequence[str]:
        """Those of the paper's Table 2, the accuracy if one is known, and the ratio."""
        accuracy = ("accuracy",) * any(row.accuracy is not None for row in self.rows)
        ratio = "ratio" if any(row.measured for row in self.rows) else "ec_ratio"
        found = *accuracy, "time_steps", "ec_mj", "ac", "mac", "dc_mj"
        return "name", "network_type", *found, ratio

    @property
    def _caption(self) -> str:
        profiles = {report.energy for report in self.reports}
        priced = f" ({self.reports[0].energy.name})" if len(profiles) == 1 else ""
        return f"Synaptic operations and energy per sample{priced}"

    @property
    def _meaning(self) -> str:
        what = "DC" if "ratio" in self._shown else "EC"
        if self.to == "ann":
            return f"Ratio: {what} over the energy of the same network as an ANN, Eq. (6)"
        return f"Ratio: {what} over the DC of {self.names[0]}"

    def _reference(self, report: Report) -> float | None:
        other = self.reports[0] if self.to == "first" else report.ann
        return None if other is None or other.unpriced else dc_mj(other)

    def _unknown(self) -> Iterator[str]:
        blind = [row.name for row in self.rows if row.dc_mj is None]
        if len(blind) == len(self.rows):
            yield "Without data, O_ac and DC are not known"
        elif blind:
            yield f"Without data, O_ac and DC are not known: {', '.join(blind)}"
        if self.to == "first" and blind[:1] == [self.names[0]]:
            yield f"There is no ratio, as the DC of {self.names[0]} is not known"
        elif self.to == "first" and self.rows[0].unpriced:
            yield f"There is no ratio, as the DC of {self.names[0]} leaves out MACs without a price"


def compare(reports: Mapping[str, Report] | Iterable[Report], to: Reference = "ann") -> Comparison:
    """Put networks side by side.

    Args:
        reports: a report for each network: a dict by name, or a list, where each has the name of
            its model. Reports with data and without (`get_model_bounds`) may be mixed.
        to: what ``ratio`` compares the energy of a network with: "ann", the same network as an
            ANN (Eq. (6)), or "first", the first of the networks.

    Returns:
        the networks in a table, with notes on what was not counted alike.

    Raises:
        SyopsTypeError: an element is not a report.
        SyopsValueError: there are no reports, or ``to`` is neither "ann" nor "first".

    Examples:
        >>> from torch import nn
        >>> from syops import get_model_bounds
        >>> small, large = (get_model_bounds(nn.Linear(4, n), (1, 4)) for n in (2, 4))
        >>> networks = compare({"small": small, "large": large})
        >>> print(networks.to_csv(columns="network,O_mac"), end="")
        name,mac
        small,8.0
        large,16.0
        >>> networks.layers().rows[0].second.mac
        16.0
    """
    if isinstance(reports, Report) or not isinstance(reports, Iterable):
        got = "one" if isinstance(reports, Report) else type(reports).__name__
        raise SyopsTypeError(f"reports: expected several, by name or in a sequence; got {got}")
    if isinstance(reports, Mapping):
        names, found = list(map(str, reports)), list(reports.values())
    else:
        found = list(reports)
        names = [getattr(report, "model", "") for report in found]
    for report in found:
        if not isinstance(report, Report):
            raise SyopsTypeError(f"reports: expected reports, got {type(report).__name__}")
    if not found:
        raise SyopsValueError("reports: there is nothing to compare")
    return Comparison(tuple(_told_apart(names)), tuple(found), choice("to", to, REFERENCES))


def _values(row: ComparisonRow) -> tuple[Value, ...]:
    """Return one value for each of `COLUMNS`."""
    priced: dict[str, Value] = {
        name: priced_part(row, getattr(row, name)) for name in ("ec_mj", "dc_mj")
    }
    return tuple(
        priced[column.key] if column.key in priced else getattr(row, column.key)
        for column in COLUMNS
    )


def _told_apart(names: Sequence[str]) -> Iterator[str]:
    met: dict[str, int] = {}
    for name in names:
        met[name] = met.get(name, 0) + 1
        yield name if names.count(name) == 1 else f"{name} ({met[name]})"
