"""The result: exact counts of a network on data, per layer, and the energy that follows.

Plain data, no torch. A report can be saved, loaded, merged and printed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syops.energy import EnergyModel
from syops.errors import SyopsValueError
from syops.ledger import COUNTED, KINDS, SYNAPTIC, Row, Verdict, ends, merge_rows, row_names
from syops.signals import SPIKES
from syops.tables import Table, Tabular

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = (
    *("name", "kind", "signal", "calls", "params", "rate", "dense"),
    *("ac", "ac_events", "mac", "energy_mj", "share", "dense_ac", "folded"),
)
PJ_PER_MJ = 1e9


@dataclass(frozen=True)
class Totals:
    """Exact sums over all samples; ``ac`` is a fraction."""

    ac: Fraction
    ac_events: int
    mac: int
    dense_ac: int


@dataclass(frozen=True)
class Layer:
    """One row of a report. Counts and energy are per sample.

    Attributes:
        name: the module's path, with the operator where one module has several rows.
        path: the module's path, "" for the model itself.
        kind: "conv", "linear", "matmul", "recurrent"; "norm"; or, outside the totals unless
            asked for, "neuron", "add", "pool", "activation", "elementwise".
        operator: what was executed, such as "conv2d".
        signal: class of the input: "binary", "ternary", "scaled", "graded" or "analog"; "" for
            rows that are not synaptic.
        calls: how often it was executed, over all samples.
        params: number of parameters of the module, told by its first row.
        rate: firing rate of the input, None where it is not a spike tensor.
        dense: what a dense engine would do.
        ac: accumulates, firing rate · dense.
        ac_events: accumulates, the fan-out of every single spike.
        mac: multiply-accumulates.
        energy_mj: energy in mJ, at ``ac`` or ``ac_events`` as the conventions say.
        share: of the network's DC.
        dense_ac: accumulates at firing rate 1.
        ec_mj: energy in mJ at the firing rates 0 and 1.
        folded: the layer into which this normalisation was folded.
        counted: whether it is inside the totals.
        note: what a reader should know about it.

    Where nothing was measured, rate, ac, ac_events, energy_mj and share are None.
    """

    name: str
    path: str
    kind: str
    operator: str
    signal: str
    calls: int
    params: int
    rate: float | None
    dense: float
    ac: float | None
    ac_events: float | None
    mac: float
    energy_mj: float | None
    share: float | None
    dense_ac: float
    ec_mj: tuple[float, float]
    folded: str | None
    counted: bool
    note: str = ""


@dataclass(frozen=True)
class Report(Tabular):
    """What `get_model_syops` and `get_model_bounds` return.

    Attributes:
        model: class name of the model.
        rows: the exact counts, as `syops.ledger.Row`.
        samples: number of samples counted; headline figures are divided by it.
        energy: costs of an AC and a MAC.
        time_steps: T, or None where it is not known.
        params: number of parameters of the model.
        input_shape: of the first input of the first batch.
        ann_rows: the same network as an ANN, of which `ann` makes a report; None where T is not
            known.
        conventions: fold_bn, graded, ac, batch_dim, input_signal.
        versions: of syops and the libraries it counted with.
        unaccounted: operators without a rule and where they were met, with their calls.
        notes: what a reader should know.
        kinds: the kinds of rows inside the totals.
        measured: whether spikes were counted. Without data there are O_mac, ``dense_ac`` and EC;
            firing rates, ACs, DC and what follows from them are None.
        accuracy: share of the samples that the network gets right, if somebody has told it:
            ``dataclasses.replace(report, accuracy=0.71)``. It is not measured here.

    Raises:
        SyopsValueError: an accuracy that is no share.
    """

    model: str
    rows: tuple[Row, ...]
    samples: int
    energy: EnergyModel
    time_steps: int | None = None
    params: int = 0
    input_shape: tuple[int, ...] = ()
    ann_rows: tuple[Row, ...] | None = None
    conventions: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    unaccounted: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    kinds: frozenset[str] = COUNTED
    measured: bool = True
    accuracy: float | None = None

    def __post_init__(self) -> None:
        accuracy = self.accuracy
        if accuracy is not None and not 0 <= accuracy <= 1:
            raise SyopsValueError(f"accuracy must be a share between 0 and 1, got {accuracy!r}")

    # Headline figures, per sample

    @property
    def ac(self) -> float | None:
        """O_ac: accumulates per sample, Σ firing rate · dense."""
        return float(self.totals.ac / self.samples) if self.measured else None

    @property
    def ac_events(self) -> float | None:
        """Accumulates per sample, counting the fan-out of every single spike."""
        return self.totals.ac_events / self.samples if self.measured else None

    @property
    def priced_ac(self) -> float | None:
        """The accumulates that the DC is made of: `ac` or `ac_events`, as the conventions say."""
        return self.ac_events if self.conventions.get("ac") == "events" else self.ac

    @property
    def mac(self) -> float:
        """O_mac: multiply-accumulates per sample."""
        return self.totals.mac / self.samples

    @property
    def dense_ac(self) -> float:
        """What `ac` would be if every neuron fired at every time-step."""
        return self.totals.dense_ac / self.samples

    @property
    def dc_mj(self) -> float | None:
        """Dynamic consumption in mJ per sample, Eq. (7): E_ac · O_ac + E_mac · O_mac."""
        ac = self.priced_ac
        return None if ac is None else self._mj(ac, self.mac)

    @property
    def ec_mj(self) -> tuple[float, float]:
        """Estimated consumption in mJ per sample, Eq. (15): the energy at firing rates 0 and 1."""
        return self._mj(0, self.mac), self._mj(self.dense_ac, self.mac)

    @property
    def mean_rate(self) -> float | None:
        """Firing rate that all spike-driven synapses see on average: `ac` / `dense_ac` of the
        synaptic rows inside the totals. None without data, or where nothing is spike-driven."""
        verdicts = [v for row, v in self._verdicts if row.kind in self.kinds & set(SYNAPTIC)]
        dense = sum(verdict.dense_ac for verdict in verdicts)
        if not self.measured or not dense:
            return None
        return float(sum((verdict.ac for verdict in verdicts), Fraction(0)) / dense)

    # Against the ANN

    @cached_property
    def ann(self) -> Report | None:
        """The same network as an ANN: one time-step, every synaptic operation a MAC.

        Normalisations cost what they do in the SNN, nothing where they are folded; neurons are
        updated once. Its rows are those of the SNN, as far as one step executes them. None
        where T is not known.
        """
        if self.ann_rows is None:
            return None
        return replace(
            self,
            rows=self.ann_rows,
            time_steps=1,
            unaccounted={},
            notes=("The same network as an ANN: one time-step, every synaptic operation a MAC",),
            measured=True,
            accuracy=None,
        )

    @property
    def ann_mac(self) -> Fraction | None:
        """Multiply-accumulates of the ANN per sample; None where T is not known."""
        return None if self.ann is None else Fraction(self.ann.totals.mac, self.samples)

    @property
    def energy_ratio(self) -> float | None:
        """E(SNN) / E(ANN), Eq. (6); None where T is not known, or nothing was measured."""
        dc = self.dc_mj
        ann = self.ann.dc_mj if self.ann is not None else None
        return dc / ann if dc is not None and ann else None

    @property
    def break_even_rate(self) -> float | None:
        """The mean firing rate below which the SNN needs less energy than the ANN.

        (E(ANN) - EC_min) / (EC_max - EC_min): with one energy model, (E(ANN) - E_mac · O_mac) /
        (E_ac · dense AC). Not above 0: the SNN never does; above 1: it always does. Where a
        product has two spike operands, its rate is that of coincidences. None where T is not
        known, or nothing is spike-driven.
        """
        low, high = self.ec_mj
        ann = self.ann.dc_mj if self.ann is not None else None
        return None if ann is None or high <= low else (ann - low) / (high - low)

    # Full-spike

    @property
    def offending(self) -> tuple[Layer, ...]:
        """The synaptic layers that get more than spikes, the first and the last executed aside.

        Of what was derived, that is a proof; an input, or the result of an operator without a
        rule, was looked up in the data. `check_full_spike` also tells the causes.
        """
        exempt = ends(self.rows)
        return tuple(
            layer
            for row, layer in zip(self.rows, self.layers, strict=True)
            if row.kind in SYNAPTIC and layer.signal not in SPIKES and row.layer not in exempt
        )

    @property
    def full_spike(self) -> bool:
        """Whether all synaptic layers but the first and the last executed get spikes alone."""
        return not self.offending

    @property
    def network_type(self) -> str:
        """ "FSNN" (full-spike), "MPSNN" (mixed-precision: other layers get more than spikes) or
        "ANN" (no synaptic layer gets spikes)."""
        if not any(layer.signal in SPIKES for layer in self.layers if layer.kind in SYNAPTIC):
            return "ANN"
        return "FSNN" if self.full_spike else "MPSNN"

    # Sums and rows

    @cached_property
    def totals(self) -> Totals:
        """The exact sums over all samples and all rows inside the totals."""
        verdicts = [v for row, v in self._verdicts if row.kind in self.kinds]
        return Totals(
            sum((v.ac for v in verdicts), Fraction(0)),
            sum(v.ac_events for v in verdicts),
            sum(v.mac for v in verdicts),
            sum(v.dense_ac for v in verdicts),
        )

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The rows, classed and divided by the number of samples."""
        return tuple(
            self._layer(name, row, verdict)
            for name, (row, verdict) in zip(
                row_names(self.rows, self.model), self._verdicts, strict=True
            )
        )

    def select(self, kinds: Iterable[str]) -> Report:
        """The same report with other kinds of rows inside its totals, DC and EC.

        Args:
            kinds: any of "conv", "linear", "matmul", "recurrent", "norm", "neuron", "add",
                "pool", "activation", "elementwise".

        Raises:
            SyopsValueError: an unknown kind.
        """
        chosen = frozenset([kinds] if isinstance(kinds, str) else kinds)
        if unknown := chosen - set(KINDS):
            raise SyopsValueError(
                f"kinds: no such kind: {', '.join(sorted(unknown))}; known: {', '.join(KINDS)}"
            )
        return replace(self, kinds=chosen)

    def merge(self, other: Report) -> Report:
        """The report of both data sets together. Exact, and independent of the order.

        Raises:
            SyopsValueError: the reports are of different models, conventions or energy models.
        """
        same = ("model", "params", "conventions", "energy", "time_steps", "kinds", "measured")
        for what in same:
            if getattr(self, what) != getattr(other, what):
                raise SyopsValueError(
                    f"reports with different {what} cannot be merged: "
                    f"{getattr(self, what)!r} and {getattr(other, what)!r}"
                )
        unaccounted = dict(self.unaccounted)
        for operator, calls in other.unaccounted.items():
            unaccounted[operator] = unaccounted.get(operator, 0) + calls
        notes = (*self.notes, *(note for note in other.notes if note not in self.notes))
        ann = None
        if self.ann_rows is not None and other.ann_rows is not None:
            ann = merge_rows(self.ann_rows, other.ann_rows)
        return replace(
            self,
            rows=merge_rows(self.rows, other.rows),
            samples=self.samples + other.samples,
            unaccounted=unaccounted,
            notes=notes,
            ann_rows=ann,
            accuracy=_mean((self.accuracy, self.samples), (other.accuracy, other.samples)),
        )

    # Forms

    def table(
        self,
        depth: int | None = None,
        columns: str | Sequence[str] | None = None,
        sort: str | None = None,
        top: int | None = None,
        units: str | Iterable[str] = "auto",
    ) -> Table:
        """The layers inside the totals as plain data, which every ``to_...`` makes text of.

        Args:
            depth: add up the rows that share the first ``depth`` components of their module path.
            columns: keys or headings, as `syops.tables.Table.arranged` takes them; by default the
                layer, its signal, what it did and what that costs.
            sort: column to sort by, numbers from the largest.
            top: how many rows to keep; the most expensive ones, unless ``sort`` says otherwise.
            units: "auto": each value in the one that suits it; or one for counts, such as "G",
                one for energies, such as "mJ", or both.

        Raises:
            SyopsLookupError: a column that does not exist.
            SyopsValueError: a unit that does not exist, or a ``depth`` or ``top`` below 1.
        """
        from syops.layers import layer_table

        return layer_table(self, depth, columns, sort, top, units)

    def to_csv(self, **arrangement: Any) -> str:
        """Every layer as CSV, those outside the totals and folded ones too, numbers in full.

        Figures are per sample, energies in mJ. ``counted`` tells which rows are inside the
        totals. The arguments are those of `table`; all columns by default.
        """
        from syops.formats import to_csv
        from syops.layers import layer_table

        return to_csv(layer_table(self, every=True, **arrangement))

    def to_frame(self, totals: bool = False) -> pd.DataFrame:
        """The layers as a pandas table, one line a row.

        Args:
            totals: exact sums over all samples (integers; ``ac`` as a fraction) instead of
                figures per sample.
        """
        import pandas as pd

        lines = [{column: getattr(layer, column) for column in COLUMNS} for layer in self.layers]
        if totals:
            for line, (row, verdict) in zip(lines, self._verdicts, strict=True):
                line |= {
                    "dense": row.dense,
                    "mac": verdict.mac,
                    "dense_ac": verdict.dense_ac,
                }
                if self.measured:
                    line |= {
                        "ac": verdict.ac,
                        "ac_events": verdict.ac_events,
                        "energy_mj": line["energy_mj"] * self.samples,
                    }
        return pd.DataFrame(lines, columns=list(COLUMNS))

    def to_json(self) -> str:
        """The report as JSON; `from_json` gives an equal one back."""
        from syops.serial import to_json

        return to_json(self)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """A report from what `to_json` gave, also what an earlier version of syops did.

        Raises:
            SyopsValueError: the text is no report, a damaged one, or one of a newer schema
                version; says which.
        """
        from syops.serial import from_json

        return from_json(text)

    def plot(self, kind: str = "energy", ax: Axes | None = None) -> Figure:
        """A figure of the layers in the order in which they are executed, energies per sample.

        ``report.plot().savefig("energy.pdf")``. See `syops.plots.plot_report`.

        Args:
            kind: "energy" of each layer, "rates" (of firing), or "cumulative" energy.
            ax: where to draw; by default in a new figure as wide as a page.

        Raises:
            SyopsLookupError: an unknown kind.
            SyopsTypeError: ``ax`` is no matplotlib Axes.
            SyopsValueError: firing rates without data, or no layer inside the totals.
        """
        from syops.plots import plot_report

        return plot_report(self, kind, ax)

    def save_html(self, path: str | os.PathLike[str], command: str | None = None) -> None:
        """Write a page with everything in it: layers, plots, conventions, energy profile, versions.

        It is one file that loads nothing, and can be searched, sorted, folded and printed.

        Args:
            path: what to write; it appears whole or not at all.
            command: the command line that made the report, to be shown.

        Raises:
            SyopsFileError: it cannot be written.
        """
        from syops.files import write_text
        from syops.html import to_page

        write_text(Path(path), to_page(self, command))

    def _repr_html_(self) -> str:
        from syops.html import to_notebook

        return to_notebook(self)

    @cached_property
    def _verdicts(self) -> list[tuple[Row, Verdict]]:
        graded = str(self.conventions.get("graded", "mac"))
        return [(row, row.verdict(graded)) for row in self.rows]

    def _layer(self, name: str, row: Row, verdict: Verdict) -> Layer:
        samples = self.samples
        mac, dense_ac = verdict.mac / samples, verdict.dense_ac / samples
        rate, ac, events, energy, share = None, None, None, None, None
        counted = row.kind in self.kinds
        if self.measured:
            rate = None if verdict.rate is None else float(verdict.rate)
            ac, events = float(verdict.ac / samples), verdict.ac_events / samples
            energy = self._mj(events if self.conventions.get("ac") == "events" else ac, mac)
            share = energy / self.dc_mj if counted and self.dc_mj else 0.0
        return Layer(
            name=name,
            path=row.path,
            kind=row.kind,
            operator=row.operator,
            signal=verdict.signal,
            calls=row.calls,
            params=row.params,
            rate=rate,
            dense=row.dense / samples,
            ac=ac,
            ac_events=events,
            mac=mac,
            energy_mj=energy,
            share=share,
            dense_ac=dense_ac,
            ec_mj=(self._mj(0, mac), self._mj(dense_ac, mac)),
            folded=row.folded,
            counted=counted,
            note=row.note,
        )

    def _mj(self, ac: float, mac: float) -> float:
        return self.energy.energy_pj(ac, mac) / PJ_PER_MJ


def _mean(*shares: tuple[float | None, int]) -> float | None:
    """The share of two data sets together, each given with its number of samples."""
    (one, of_one), (two, of_two) = shares
    if one is None or two is None or one == two:
        return one if one == two else None
    return (one * of_one + two * of_two) / (of_one + of_two)
