"""Give what an HTML page shows of a network's figures, as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from syops.cost.conventions import DEFAULT, SWITCHES
from syops.cost.energy import EnergyMap, EnergyModel
from syops.cost.figures import Figures
from syops.cost.layer import Layer
from syops.cost.pricing import PJ_PER_MJ
from syops.ledger.provenance import short
from syops.show.formats.cells import in_common_units, in_words
from syops.show.layers import COLUMNS, dearest_column, layer_table, shown_columns, values_of
from syops.show.sentences import accuracy_in_words, beside_figures, constant_part, spread_in_words
from syops.show.table import Column, Value
from syops.show.tabular import Table
from syops.show.tree import ModuleNode, layer_tree
from syops.units import factor, joules, largest_end, quantity

_OPEN = 4 / 3
"""How far beyond all that is known a bar without an end reaches."""

FOLDED = 40
"""A tree of more layers starts with its modules closed."""


class Figure(NamedTuple):
    """Hold a headline figure; what follows "_" in its name is a subscript."""

    name: str
    value: str
    meaning: str


Bar: TypeAlias = Sequence[tuple[str, float]]
"""The parts of a bar from the left, in percent of its length: "m" for MACs, "a" for ACs, "e" for
what firing rates of 1 would add. Those without length are left out."""


@dataclass(frozen=True)
class TreeLine:
    """Hold one line of a tree: a layer, or a module with several.

    Attributes:
        level: 1 for top-level modules.
        label: what its name adds to that of the module above.
        name: in full.
        note: what a reader should know about it.
        cells: one for each of `View.columns`, in words.
        values: the same to sort by.
        rate: of its input.
        bar: its energy. The largest top-level module fills it.
        lines: those below.
    """

    level: int
    label: str
    name: str
    note: str
    cells: Sequence[str]
    values: Sequence[Value]
    rate: Bar
    bar: Bar
    lines: tuple[TreeLine, ...]

    def walk(self) -> Iterator[TreeLine]:
        yield self
        for line in self.lines:
            yield from line.walk()


@dataclass(frozen=True)
class ReportView:
    """Hold what is shown of a report."""

    report: Figures

    @cached_property
    def table(self) -> Table:
        shown = layer_table(self.report).arranged(shown_columns(self.report))
        return in_common_units(shown)

    @property
    def about(self) -> str:
        """What was counted, without the model's name."""
        return self.table.caption.removeprefix(f"{self.report.model}: ")

    @property
    def figures(self) -> Iterator[Figure]:
        """The headline figures."""
        report = self.report
        low, high = map(joules, report.ec_mj)
        without = "; MACs have no price" if report.unpriced else ""
        missing = "" if report.complete else "; incomplete"
        without += missing
        if report.accuracy is not None:
            told = accuracy_in_words(report.scores)
            yield Figure("accuracy", f"{report.accuracy:.2%}", told)
        if report.dc_mj is not None:
            yield Figure("DC", joules(report.dc_mj), f"dynamic consumption, as measured{without}")
        if report.spread is not None and report.spread.dc.half_width is not None:
            width = joules(report.spread.dc.half_width / PJ_PER_MJ)
            told = spread_in_words(report.spread).partition(", ")[2]
            yield Figure("DC ±", width, f"95 % confidence interval of the mean; {told}")
        interval = f"{low} to {high}" if self._ends else f"from {low}"
        end = "" if self._ends else ", no upper end"
        yield Figure("EC", interval, f"estimated consumption, rates 0 to 1{end}{without}")
        if report.priced_ac is not None:
            events = report.convention.ac == "events"
            meaning = "fan-out of every spike" if events else "firing rate · dense"
            yield Figure("O_ac", quantity(report.priced_ac), f"accumulates: {meaning}{missing}")
        else:
            meaning = f"accumulates at firing rate 1{missing}"
            yield Figure("dense AC", quantity(report.dense_ac), meaning)
        yield Figure("O_mac", quantity(report.mac), f"multiply-accumulates{missing}")
        if report.mean_rate is not None:
            yield Figure("mean rate", f"{report.mean_rate:.3f}", "of spike-driven synapses")
        if report.spikes_per_synapse is not None:
            yield Figure("spikes per synapse", quantity(report.spikes_per_synapse), "and inference")
        if report.energy_ratio is not None:
            ratio = factor(report.energy_ratio)
            yield Figure("E(SNN)/E(ANN)", ratio, "against the same network as an ANN")
        if report.break_even_rate is not None:
            yield Figure("break-even rate", *_break_even(report.break_even_rate))
        yield Figure("type", report.network_type, _type(report))

    @property
    def sentences(self) -> Iterator[str]:
        """What the headline figures leave open."""
        return beside_figures(self.report)

    # The interval

    @property
    def bar(self) -> Bar:
        """DC within EC, in percent of `scale`, all of which an EC without an upper end fills."""
        low, high = self.report.ec_mj
        dc = low if self.report.dc_mj is None else self.report.dc_mj
        return _bar(low, dc - low, (high if self._ends else self.scale) - dc, self.scale)

    @property
    def ann(self) -> float | None:
        """Where the ANN is on the bar, in percent."""
        ann = self.ann_mj
        return None if ann is None else 100 * ann / self.scale

    @property
    def ann_mj(self) -> float | None:
        """What the ANN consumes, where that is known."""
        ann = self.report.ann
        return None if ann is None or ann.unpriced else ann.dc_mj

    @property
    def scale(self) -> float:
        """The energy that the bar is as long as."""
        known = largest_end(*self.report.ec_mj, self.report.dc_mj or 0, self.ann_mj or 0) or 1
        return known if self._ends else _OPEN * known

    @property
    def _ends(self) -> bool:
        """Whether EC has an upper end."""
        return math.isfinite(self.report.ec_mj[1])

    @property
    def key(self) -> Iterator[tuple[str, str]]:
        """The parts of the bar, and "t", the mark of the ANN, in words."""
        low, high = self.report.ec_mj
        if low:
            yield "m", f"{constant_part(self.report)} {joules(low)}"
        if self.report.dc_mj is not None:
            yield "a", f"AC {joules(self.report.dc_mj - low)}, as measured"
        if not self._ends:
            yield "e", "without an upper end: integers without a bound"
        elif high > low:
            yield "e", f"up to {joules(high)} if every neuron fired at every time-step"
        if self.ann_mj is not None:
            yield "t", f"{joules(self.ann_mj)} as an ANN"

    # The layers

    @property
    def columns(self) -> Sequence[Column]:
        """Of the layers, beside their name."""
        return self.table.columns[1:]

    @property
    def addable(self) -> dict[str, float]:
        """What is 1 in a column, by the key of each whose values can be added."""
        return {
            column.key: 0.01 if column.kind == "share" else 1 / column.in_unit(1)
            for column in self.columns
            if column.kind in ("count", "operations", "energy", "share")
        }

    @property
    def barred(self) -> str:
        """The key of the column beside which the bars are."""
        return dearest_column(self.report)

    @property
    def grid(self) -> str:
        """The widths of the columns, in CSS."""
        wide = {"rate": "7.5em", self.barred: "16em"}
        return " ".join(
            wide.get(column.key, "4em" if column.align == "left" else "5em")
            for column in self.columns
        )

    @cached_property
    def layers(self) -> Sequence[Layer]:
        return [layer for layer in self.report.layers if layer.counted and layer.folded is None]

    @cached_property
    def lines(self) -> tuple[TreeLine, ...]:
        """The top-level modules."""
        return tuple(self._line(node, 1) for node in self._nodes)

    @cached_property
    def _nodes(self) -> Sequence[ModuleNode]:
        return layer_tree(self.layers)

    @cached_property
    def _largest(self) -> float:
        """The energy of the largest top-level module, or 1 where there is none."""
        return max((self._energy(node.layer) for node in self._nodes), default=0) or 1

    @property
    def zoom(self) -> float:
        """How much longer bars may be where there are layers alone."""
        return self._largest / (max(map(self._energy, self.layers), default=0) or self._largest)

    @property
    def closed(self) -> bool:
        """Whether the modules are closed at first."""
        return len(self.layers) > FOLDED

    @property
    def total(self) -> Sequence[str]:
        total = in_words(self.table, "–").total
        return total[1:] if total else []

    def _energy(self, layer: Layer) -> float:
        """Return how long its bar is; beyond what is known where there is no upper end."""
        if self.report.measured:
            return layer.dc_mj or 0
        low, high = layer.ec_mj
        return high if math.isfinite(high) else max(low, _OPEN * self._largest_known)

    @cached_property
    def _largest_known(self) -> float:
        """The largest energy of a top-level module that is known."""
        return largest_end(*(end for node in self._nodes for end in node.layer.ec_mj)) or 1

    def _line(self, node: ModuleNode, level: int) -> TreeLine:
        scale = self._largest
        layer = node.layer
        low, _ = layer.ec_mj
        if not self.report.measured:
            bar = _bar(low, 0, self._energy(layer) - low, scale)
        else:
            bar = _bar(low, (layer.dc_mj or low) - low, 0, scale)
        row = Table(COLUMNS, (values_of(layer),)).arranged([column.key for column in self.columns])
        row = replace(row, columns=tuple(self.columns))
        return TreeLine(
            level,
            node.label,
            layer.name,
            layer.note,
            in_words(row, "–").rows[0],
            tuple("Infinity" if value == math.inf else value for value in row.rows[0]),
            _bar(a=layer.rate or 0),
            bar,
            tuple(self._line(child, level + 1) for child in node.children),
        )

    # What else there is to know

    @property
    def warnings(self) -> Sequence[str]:
        return self.table.warnings

    @property
    def notes(self) -> Sequence[str]:
        return self.table.notes

    @property
    def outside(self) -> Table:
        """The rows outside the totals, those that are folded among them."""
        rows = [
            values_of(layer)
            for layer in self.report.layers
            if not layer.counted or layer.folded is not None
        ]
        keys = ("name", "kind", "operator", "dense_ac", "mac", "folded")
        table = Table(COLUMNS, tuple(rows)).arranged(keys)
        headings = {"dense_ac": "AC", "mac": "MAC"}  # not part of O_ac and O_mac
        columns = (replace(c, heading=headings.get(c.key, c.heading)) for c in table.columns)
        return in_common_units(replace(table, columns=tuple(columns)))

    @property
    def outside_cells(self) -> Sequence[Sequence[str]]:
        return in_words(self.outside, "–").rows

    @property
    def profile(self) -> Iterator[tuple[str, str]]:
        """What the energy profile says of itself."""
        energy = self.report.energy
        if isinstance(energy, EnergyMap):
            for pattern, model in energy.rules:
                yield pattern, f"{model.name}: {'; '.join(f'{n} {v}' for n, v in _prices(model))}"
            return
        yield "name", energy.name
        yield from _prices(energy)
        for name in ("includes", "technology", "source"):
            if told := getattr(energy, name):
                yield name, told

    @property
    def provenance(self) -> Iterator[tuple[str, str]]:
        """How the report came about: calls, seeds, and the beginnings of fingerprints."""
        found = self.report.provenance
        for call in found.calls:
            yield "call", call
        for seed in found.seeds:
            yield "seed", str(seed)
        if found.weights is not None:
            yield "weights", f"sha256 {short(found.weights)}…"
        if found.data is not None:
            yield "data", f"{short(found.data)}… ({self.report.samples} samples)"

    @property
    def conventions(self) -> Iterator[tuple[str, str, str]]:
        """Name, value and meaning of each."""
        convention = self.report.convention
        yield "convention", convention.name, convention.title
        for name in SWITCHES:
            value = getattr(convention, name)
            if value != getattr(DEFAULT, name) or (name, value) in _MEANING:
                yield name, value, _MEANING.get((name, value), "")
        for name, value in self.report.conventions.items():
            yield name, _in_words(value), _MEANING.get((name, value)) or _MEANING.get(name) or ""
        yield "in the totals", ", ".join(sorted(self.report.kinds)), "kinds of rows"


def _bar(m: float = 0, a: float = 0, e: float = 0, scale: float = 1) -> Bar:
    parts = {"m": m, "a": a, "e": e}
    return [(part, 100 * length / scale) for part, length in parts.items() if length > 0]


def _prices(model: EnergyModel) -> Iterator[tuple[str, str]]:
    yield "E_ac", f"{model.e_ac_pj:g} pJ"
    yield "E_mac", "no price" if model.e_mac_pj is None else f"{model.e_mac_pj:g} pJ"
    if model.e_neuron_pj is not None:
        yield "E_neuron", f"{model.e_neuron_pj:g} pJ"
    if model.e_spike_pj:
        yield "E_spike", f"{model.e_spike_pj:g} pJ"
    if model.spike_only:
        yield "input", "spikes alone"


def _break_even(rate: float) -> tuple[str, str]:
    if rate <= 0:
        return "none", "the ANN needs less energy than the SNN at any rate"
    if rate > 1:
        return "none", "the SNN needs less energy than the ANN at any rate"
    return f"{rate:.3f}", "below this mean rate it needs less energy than the ANN"


def _type(report: Figures) -> str:
    if report.network_type == "ANN":
        return "no layer gets spikes"
    if report.network_type == "unknown":
        return "without data it is not known where spikes arrive"
    count = len(report.offending)
    if not count:
        return "all but the first and last layer get spikes alone"
    return "1 layer gets more than spikes" if count == 1 else f"{count} layers get more than spikes"


def _in_words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


_MEANING: dict[Any, str] = {
    ("norms", "folded"): "BatchNorms that can be folded into the layer before them cost nothing",
    ("norms", "counted"): "every normalisation is counted: 2 MACs per element",
    ("norms", "free"): "no normalisation costs anything",
    ("graded", "mac"): "integer inputs such as {0, 1, 2} cost MACs",
    ("graded", "ac"): "integer inputs such as {0, 1, 2} cost as many ACs as their magnitude",
    ("graded", "spikes"): "integer inputs such as {0, 1, 2} cost one AC each where they are not 0",
    ("repeats", "once"): "MACs on the values of the time-step before are done once",
    ("pairs", "min"): "a product of two spike tensors is priced at the lesser of their rates",
    ("saturated", "mac"): "a layer whose inputs all fire costs MACs",
    ("ac", "rate"): "priced are firing rate · dense count",
    ("ac", "events"): "priced is the fan-out of every single spike",
    "batch_dim": "the dimension of the input that counts samples",
    "time_loop": "each call of the model is one time-step",
    "unroll": "the dimension of the input along which each slice is one call, and one time-step",
    ("input_signal", "auto"): "the class of the model's input: as the data shows",
    "input_signal": "the class of the model's input",
}
