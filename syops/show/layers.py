"""Build the layer table of a network's figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from syops.cost.conventions import DEFAULT
from syops.cost.figures import Figures
from syops.cost.layer import Layer, block_of
from syops.cost.networks import ComparisonRow
from syops.show.sentences import findings, incomplete, remarks, warnings_in_words
from syops.show.table import Column, Value, check_count
from syops.show.tabular import Table
from syops.units import quantity

T = TypeVar("T")


def priced_part(of: Layer | Figures | ComparisonRow, energy: T) -> T | None:
    """Return an energy of EC or DC; None where nothing has a price of what it is made of."""
    return None if of.unpriced and not of.ec_mj[1] else energy


def _end(which: int) -> Callable[[Layer | Figures], Value]:
    return lambda of: priced_part(of, of.ec_mj[which])


class LayerColumn(NamedTuple):
    """Hold a column of the layer table: what it says of one layer, and of all together.

    A block of layers is a layer; `syops.cost.layer.Layer` says how each of its fields adds up.
    """

    column: Column
    total: Callable[[Figures], Value] = lambda report: ""
    of: Callable[[Layer], Value] | None = None

    def value(self, layer: Layer) -> Value:
        """Return the value of a layer: by default, that of the field that is named as the key."""
        found: Value = self.of(layer) if self.of else getattr(layer, self.column.key)
        return found


LAYER_COLUMNS = (
    LayerColumn(Column("name", "layer"), lambda report: f"total{incomplete(report)}"),
    LayerColumn(Column("kind", "kind")),
    LayerColumn(Column("operator", "operator")),
    LayerColumn(Column("signal", "signal", "signal")),
    LayerColumn(Column("calls", "calls", "integer")),
    LayerColumn(Column("params", "params", "count"), lambda report: report.params),
    LayerColumn(Column("rate", "rate", "rate"), lambda report: report.mean_rate),
    LayerColumn(Column("dense", "dense", "count")),
    LayerColumn(Column("ac", "O_ac", "operations"), lambda report: report.ac),
    LayerColumn(Column("ac_events", "AC events", "operations"), lambda report: report.ac_events),
    LayerColumn(Column("mac", "O_mac", "operations"), lambda report: report.mac),
    LayerColumn(Column("dc_mj", "DC", "energy"), lambda report: priced_part(report, report.dc_mj)),
    LayerColumn(Column("share", "share", "share")),
    LayerColumn(Column("dense_ac", "dense AC", "operations"), lambda report: report.dense_ac),
    LayerColumn(Column("ec_min_mj", "EC min", "energy"), _end(0), _end(0)),
    LayerColumn(Column("ec_max_mj", "EC max", "energy"), _end(1), _end(1)),
    LayerColumn(Column("folded", "folded into")),
    LayerColumn(Column("counted", "counted", "flag")),
    LayerColumn(Column("note", "note")),
)
"""All that can be told of a layer."""

COLUMNS = tuple(each.column for each in LAYER_COLUMNS)

MEASURED = ("name", "kind", "signal", "rate", "ac", "mac", "dc_mj", "share")
POSSIBLE = ("name", "kind", "signal", "dense_ac", "mac", "ec_min_mj", "ec_max_mj")
"""What is shown of a layer unless the user says otherwise: with data, and without."""


def layer_table(report: Figures, depth: int | None = None, every: bool = False) -> Table:
    """Return the layers of a report as a table of all columns.

    Args:
        depth: add up the rows that share the first ``depth`` components of their module path.
        every: those outside the totals, and folded ones, too.
    """
    inside = [layer for layer in report.layers if layer.counted and layer.folded is None]
    layers = blocks(report.layers if every else inside, depth)
    return Table(
        COLUMNS,
        tuple(map(values_of, layers)),
        None if every else tuple(each.total(report) for each in LAYER_COLUMNS),
        _caption(report),
        tuple(findings(report)),
        tuple(remarks(report)),
        warnings_in_words(report),
    )


def shown_columns(report: Figures) -> Sequence[str]:
    """Return the columns that a layer table has unless the user says otherwise."""
    if not report.measured:
        return POSSIBLE
    events = report.convention.ac == "events"
    return ["ac_events" if key == "ac" and events else key for key in MEASURED]


def dearest_column(report: Figures) -> str:
    """Return the column that tells which layers of a report cost most."""
    return "dc_mj" if report.measured else "ec_max_mj"


def values_of(layer: Layer) -> tuple[Value, ...]:
    """Return one value for each of `COLUMNS`."""
    return tuple(each.value(layer) for each in LAYER_COLUMNS)


def blocks(layers: Iterable[Layer], depth: int | None) -> tuple[Layer, ...]:
    """Add up the rows that share the first ``depth`` components of their module path.

    Rows inside and outside the totals stay apart; `syops.cost.layer.Layer` says how their figures
    add up. Without ``depth`` the rows are returned as they are. Raises `SyopsValueError` for a
    depth below 1.
    """
    if depth is None:
        return tuple(layers)
    check_count("depth", depth)
    groups: dict[tuple[str, bool], list[Layer]] = {}
    for layer in layers:
        prefix = ".".join(layer.path.split(".")[:depth])
        groups.setdefault((prefix, layer.counted), []).append(layer)
    return tuple(_block(prefix, members) for (prefix, _), members in groups.items())


def _block(path: str, members: Sequence[Layer]) -> Layer:
    is_itself = len(members) == 1 and members[0].path == path
    return block_of(members[0].name if is_itself or not path else path, path, members)


def _caption(report: Figures) -> str:
    shape = "x".join(map(str, report.input_shape))
    steps = "" if report.time_steps is None else f", T = {report.time_steps}"
    samples = "1 sample" if report.samples == 1 else f"mean of {report.samples} samples"
    seen = samples if report.measured else "per sample, without data"
    right = "" if report.accuracy is None else f"; accuracy {report.accuracy:.2%}"
    under = "" if report.convention == DEFAULT else f"; convention {report.convention.name}"
    facts = f"{quantity(report.params)} parameters{steps}, input {shape}"
    return f"{report.model}: {facts}; {seen}{right}{under}"
