"""Compare two networks layer by layer; say what must be alike for networks to be compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from syops.cost.figures import Figures
from syops.cost.layer import Layer
from syops.ops.kinds import COUNTED
from syops.show.html import to_table_page
from syops.show.json import json_text
from syops.show.layers import priced_part
from syops.show.sentences import warnings_in_words
from syops.show.table import Column, Kind, Value
from syops.show.tabular import Table, Tabular

MEASURED = (
    *("name", "only_in", "rate_1", "rate_2", "ac_diff", "mac_diff"),
    *("dc_1_mj", "dc_2_mj", "dc_diff_mj"),
)
POSSIBLE = (
    *("name", "only_in", "dense_ac_diff", "mac_diff"),
    *("ec_max_1_mj", "ec_max_2_mj", "ec_max_diff_mj"),
)
"""What is shown of a layer unless the user says otherwise: with data of both, and without."""


@dataclass(frozen=True)
class LayerPair:
    """Pair a layer of two networks; None stands for one that does not have it."""

    first: Layer | None
    second: Layer | None

    @property
    def either(self) -> Layer:
        layer = self.first or self.second
        assert layer is not None
        return layer


@dataclass(frozen=True, repr=False)
class LayerComparison(Tabular):
    """What `Comparison.layers` returns: the figures of both, and the second's minus the first's.

    A layer that one of them does not have counts as nothing. There is no difference to what is not
    known.

    Attributes:
        names: of both networks.
        reports: of both.
    """

    names: tuple[str, ...]
    reports: tuple[Figures, ...]

    @cached_property
    def rows(self) -> tuple[LayerPair, ...]:
        """Every layer inside the totals of either network: in the order of the first, and where
        only the second has it, behind the one that it follows there.

        Layers are the same if module path, kind, operator, weight and call site are.
        """
        first, second = map(_by_key, self.reports)
        order = list(first)
        place = 0
        for key in second:
            if key in first:
                place = order.index(key) + 1
            else:
                order.insert(place, key)
                place += 1
        pairs = (LayerPair(first.get(key), second.get(key)) for key in order)
        return tuple(pair for pair in pairs if _is_inside(pair.first) or _is_inside(pair.second))

    def to_json(self) -> str:
        """Return the layers of both as JSON."""
        content = {
            "names": self.names,
            "warnings": warnings_on(self.names, self.reports),
            "rows": [asdict(pair) for pair in self.rows],
            "notes": notes_on(self.names, self.reports),
        }
        return json_text(content)

    def to_page(self, command: str | None = None) -> str:
        """Return the table as a page of HTML that loads nothing; see `Report.save_html`."""
        return to_table_page(f"{' and '.join(self.names)}, layer by layer", self.to_html(), command)

    @property
    def _measured(self) -> bool:
        return all(report.measured for report in self.reports)

    @property
    def _shown(self) -> Sequence[str]:
        columns: Sequence[str] = MEASURED if self._measured else POSSIBLE
        if not any(None in (pair.first, pair.second) for pair in self.rows):
            columns = [key for key in columns if key != "only_in"]
        if all(report.convention.ac == "events" for report in self.reports):
            columns = ["ac_events_diff" if key == "ac_diff" else key for key in columns]
        return columns

    @property
    def _dearest(self) -> str:
        """The layers of which the energy differs most."""
        return "dc_diff_mj" if self._measured else "ec_max_diff_mj"

    @property
    def _whole(self) -> Table:
        columns = [Column("name", "layer"), Column("kind", "kind"), Column("only_in", "only in")]
        columns += [Column(f"signal_{i}", f"signal {i}", "signal") for i in (1, 2)]
        columns += [Column(f"rate_{i}", f"rate {i}", "rate") for i in (1, 2)]
        for key, heading, kind, _ in _FIGURES:
            unit = "_mj" if kind == "energy" else ""
            columns += [Column(f"{key}_{i}{unit}", f"{heading} {i}", kind) for i in (1, 2)]
            columns.append(Column(f"{key}_diff{unit}", f"{heading} diff", kind, signed=True))
        one, two = self.names
        return Table(
            tuple(columns),
            tuple(map(self._values, self.rows)),
            self._total(),
            caption=f"{two} (2) against {one} (1), layer by layer",
            notes=not_counted_in(self.names, self.reports),
            warnings=(
                *warnings_on(self.names, self.reports),
                *unlike(self.names, self.reports),
            ),
        )

    def _values(self, pair: LayerPair) -> tuple[Value, ...]:
        both = pair.first, pair.second
        only_in = "1" if pair.second is None else "2" if pair.first is None else ""
        values: list[Value] = [pair.either.name, pair.either.kind, only_in]
        values += [layer.signal if layer else None for layer in both]
        values += [layer.rate if layer else None for layer in both]
        for *_, read in _FIGURES:
            values += _with_difference(both, read)
        return tuple(values)

    def _total(self) -> tuple[Value, ...]:
        values: list[Value] = ["total", "", "", "", ""]
        values += [report.mean_rate for report in self.reports]
        for *_, read in _FIGURES:
            values += _with_difference(self.reports, read)
        return tuple(values)


_FIGURES: tuple[tuple[str, str, Kind, Callable[[Any], float | None]], ...] = (
    ("ac", "O_ac", "count", lambda of: of.ac),
    ("ac_events", "AC events", "count", lambda of: of.ac_events),
    ("dense_ac", "dense AC", "count", lambda of: of.dense_ac),
    ("mac", "O_mac", "count", lambda of: of.mac),
    ("dc", "DC", "energy", lambda of: of.dc_mj),
    ("ec_max", "EC max", "energy", lambda of: priced_part(of, of.ec_mj[1])),
)
"""Key, heading and kind of what a layer and a report have, and how to read it."""


def _with_difference(
    both: Sequence[Layer | Figures | None], read: Callable[[Any], float | None]
) -> list[float | None]:
    """Return a figure of both, and the difference: one that is not there has 0, not one not known.

    There is none where an upper end does not exist.
    """
    told = [None if of is None else read(of) for of in both]
    first, second = (0.0 if of is None else it for of, it in zip(both, told, strict=True))
    difference = None if first is None or second is None else second - first
    return [*told, difference if difference is not None and math.isfinite(difference) else None]


def _by_key(report: Figures) -> dict[Hashable, Layer]:
    return {row.key: layer for row, layer in zip(report.effective_rows, report.layers, strict=True)}


def _is_inside(layer: Layer | None) -> bool:
    return layer is not None and layer.counted and layer.folded is None


# --- what must be alike, and what else a reader should know -------------------------------------


_NAMED = 3
"""So many networks are named; more, and they are the others."""


def notes_on(names: Sequence[str], reports: Sequence[Figures]) -> tuple[str, ...]:
    """Return how reports are unlike, and the warnings of each."""
    return (*unlike(names, reports), *not_counted_in(names, reports))


def warnings_on(names: Sequence[str], reports: Sequence[Figures]) -> tuple[str, ...]:
    """Return what may mislead in the figures of each network."""
    pairs = zip(names, reports, strict=True)
    return tuple(text for name, report in pairs for text in warnings_in_words(report, name))


def not_counted_in(names: Sequence[str], reports: Sequence[Figures]) -> tuple[str, ...]:
    """Return a sentence for each network that has operators without a rule."""
    return tuple(
        f"Not counted in {name}, as syops has no rule for it: {', '.join(report.unaccounted)}"
        for name, report in zip(names, reports, strict=True)
        if report.unaccounted
    )


def unlike(names: Sequence[str], reports: Sequence[Figures]) -> tuple[str, ...]:
    """Return how reports were made unlike, so that their figures mean different things."""
    return tuple(_unlike(names, reports))


def _unlike(names: Sequence[str], reports: Sequence[Figures]) -> Iterator[str]:
    for what, read, told in _ALIKE:
        groups: dict[Hashable, list[str]] = {}
        for name, report in zip(names, reports, strict=True):
            if (value := read(report)) is not None:
                groups.setdefault(value, []).append(name)
        if len(groups) < 2:
            continue
        most = max(groups, key=lambda value: len(groups[value]))
        if len(groups[most]) > _NAMED:
            groups.pop(most)
            groups[most] = ["the others"]
        parts = (f"{told(value)} in {', '.join(of)}" for value, of in groups.items())
        yield f"Not alike: {what} {'; '.join(parts)}"


def _switch(name: str) -> Callable[[Figures], Hashable]:
    return lambda report: getattr(report.convention, name)


def _input_signal(report: Figures) -> Hashable:
    """Return what the user said of the input; None where it was looked at."""
    signal = report.conventions.get("input_signal")
    return None if signal is None or "auto" in signal else signal


def _sample(report: Figures) -> tuple[int, ...]:
    """Return the shape of the input without its batch."""
    shape = list(report.input_shape)
    if shape:
        del shape[report.conventions.get("batch_dim", 0)]
    return tuple(shape)


_ALIKE: tuple[tuple[str, Callable[[Figures], Hashable], Callable[[Any], str]], ...] = (
    ("BatchNorms", _switch("norms"), str),
    (
        "graded inputs",
        _switch("graded"),
        lambda kind: f"{kind}" if kind == "spikes" else kind.upper(),
    ),
    ("ACs, by", _switch("ac"), str),
    ("repeated MACs", _switch("repeats"), str),
    ("rate of two spikes", _switch("pairs"), str),
    ("saturated layers", _switch("saturated"), str.upper),
    ("counted as by", _switch("counter"), str),
    ("input taken to be", _input_signal, str),
    ("energy model", lambda report: report.energy, lambda energy: energy.name),
    ("input", _sample, lambda shape: "x".join(map(str, shape))),
    ("inside the totals", lambda report: report.kinds, lambda kinds: _kinds(kinds)),
)
"""What is alike or not, how to read it, and how to say it."""


def _kinds(kinds: frozenset[str]) -> str:
    """Return kinds of rows in words, by what differs from the default."""
    more, less = sorted(kinds - COUNTED), sorted(COUNTED - kinds)
    told = [f"{' and '.join(more)} too"] if more else []
    told += [f"no {' or '.join(less)}"] if less else []
    return ", ".join(told) or "the usual"
