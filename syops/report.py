"""The result: exact counts of a network on data, per layer, and the energy that follows.

Plain data, no torch. A report can be saved, loaded, merged and printed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syops.energy import Energy, Profile, get_energy_model
from syops.errors import SyopsValueError
from syops.files import read_text, write_text
from syops.ledger import COUNTED, KINDS, SYNAPTIC, Row, Updates, Verdict, ends, row_names
from syops.pricing import NOTHING, Price, check_energy, millijoules, price
from syops.signals import SPIKES
from syops.summary import Layer, Totals, layer_of
from syops.tables import ALL, Table, Tabular

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from syops.cautions import Caution
    from syops.memory import Memory, MemoryModel


@dataclass(frozen=True, repr=False)
class Report(Tabular):
    """What `get_model_syops` and `get_model_bounds` return.

    Attributes:
        model: class name of the model.
        rows: the exact counts, as `syops.ledger.Row`.
        samples: number of samples counted; headline figures are divided by it.
        energy: an `EnergyModel`, or an `EnergyMap` with one for each layer.
        time_steps: T, or None where it is not known.
        params: number of parameters of the model.
        input_shape: of the first input of the first batch.
        ann_rows: the same network as an ANN, of which `ann` makes a report; None where T is not
            known.
        conventions: fold_bn, graded, ac, batch_dim, input_signal.
        versions: of syops and the libraries it counted with.
        unaccounted: operators without a rule and where they were met, with their calls.
        prepared: rows of work on weights alone, such as the product in ``linear(x, a @ b)`` or a
            normalisation of weights: done once for all samples, and so in no total.
        updates: how far the neurons were brought forward in time, of libraries that tell.
        notes: what a reader should know.
        kinds: the kinds of rows inside the totals.
        passes: forward passes that were made: batches. 0 where that is not known.
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
    energy: Energy
    time_steps: int | None = None
    params: int = 0
    input_shape: tuple[int, ...] = ()
    ann_rows: tuple[Row, ...] | None = None
    conventions: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    unaccounted: Mapping[str, int] = field(default_factory=dict)
    prepared: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    kinds: frozenset[str] = COUNTED
    measured: bool = True
    accuracy: float | None = None
    passes: int = 0
    updates: tuple[Updates, ...] = ()

    def __post_init__(self) -> None:
        accuracy = self.accuracy
        if accuracy is None:
            return
        if not (isinstance(accuracy, Real) and 0 <= accuracy <= 1):
            raise SyopsValueError(f"accuracy must be a share between 0 and 1, got {accuracy!r}")
        object.__setattr__(self, "accuracy", float(accuracy))

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
        """Dynamic consumption in mJ per sample, Eq. (7): E_ac · O_ac + E_mac · O_mac.

        MACs without a price are left out; `warnings` names their layers.
        """
        return self._mj(self._sums.dc) if self.measured else None

    @property
    def ec_mj(self) -> tuple[float, float]:
        """Estimated consumption in mJ per sample, Eq. (15): the energy at firing rates 0 and 1.

        Without data, what may be ACs or MACs is left out of the lower end, and costs the dearer of
        the two in the upper one. The upper end is infinite where integers without a bound count as
        ACs (``graded="ac"``); it is printed as "none", and null in JSON.
        """
        return self._mj(self._sums.low), self._mj(self._sums.high)

    @property
    def unpriced(self) -> float:
        """Multiply-accumulates per sample that have no price: DC and EC leave them out."""
        return self._sums.unpriced / self.samples

    @cached_property
    def warnings(self) -> tuple[Caution, ...]:
        """What may mislead in these figures, the worst first; every format says it before them.

        ``str`` of each is a sentence; its ``kind``, ``layers``, ``text`` and ``advice`` are for
        programs. Among them is what the energy model cannot run, or has no price for.
        """
        from syops.cautions import find_cautions

        return tuple(find_cautions(self))

    @property
    def complete(self) -> bool:
        """Whether syops had a rule for every operator that was executed. The totals of an
        incomplete report may be too small or too large."""
        return not self.unaccounted

    @property
    def mean_rate(self) -> float | None:
        """Firing rate that all spike-driven synapses see on average: `ac` / `dense_ac` of the
        synaptic rows inside the totals. None without data, or where nothing is spike-driven."""
        verdicts = self._of(self.kinds & set(SYNAPTIC))
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
            prepared=(),
            updates=(),
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
        """E(SNN) / E(ANN), Eq. (6); None where T is not known, nothing was measured, or MACs have
        no price."""
        ann = self._ann_pj
        if not ann or not self.measured or self.unpriced:
            return None
        return float(self._sums.dc / ann)

    @property
    def break_even_rate(self) -> float | None:
        """The mean firing rate below which the SNN needs less energy than the ANN.

        (E(ANN) - EC_min) / (EC_max - EC_min): with one energy model, (E(ANN) - E_mac · O_mac) /
        (E_ac · dense AC). Not above 0: the SNN never does; above 1: it always does. Where a
        product has two spike operands, its rate is that of coincidences. None where T is not
        known, nothing is spike-driven, or MACs have no price.
        """
        ann, sums = self._ann_pj, self._sums
        if ann is None or sums.unpriced or sums.high == sums.low or self.totals.either:
            return None
        if math.isinf(sums.high):
            return None
        return float((ann - sums.low) / (sums.high - sums.low))

    def memory(self, model: MemoryModel | None = None) -> Memory:
        """What the network reads and writes, and what that costs beside its arithmetic.

        Weights, inputs and states, event by event where spikes drive a layer and for every
        operation elsewhere; no part of the DC or the EC. See `syops.memory` for the formula and
        its source.

        Args:
            model: what an access costs; by default SRAM at 45 nm.

        Raises:
            SyopsValueError: a report of schema version 1, which does not know what it takes.
        """
        from syops.memory import MemoryModel, memory_of

        return memory_of(self, MemoryModel() if model is None else model)

    # Full-spike

    @property
    def offending(self) -> tuple[Layer, ...]:
        """The synaptic layers that get more than spikes, or may without data, the first and the
        last executed aside.

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
        """Whether all synaptic layers but the first and the last executed get spikes alone, for
        certain."""
        return not self.offending

    @property
    def network_type(self) -> str:
        """Full-spike "FSNN", mixed-precision "MPSNN" (other layers than the first and the last get
        more than spikes), or "ANN" (no synaptic layer gets spikes); "unknown" where that depends
        on layers of which it is not known without data."""
        types = {self._type(SPIKES), self._type((*SPIKES, "unknown"))}
        return types.pop() if len(types) == 1 else "unknown"

    def _type(self, spikes: Sequence[str]) -> str:
        """The type of the network, if these signals are spikes."""
        if not any(layer.signal in spikes for layer in self.layers if layer.kind in SYNAPTIC):
            return "ANN"
        return "MPSNN" if any(layer.signal not in spikes for layer in self.offending) else "FSNN"

    # Sums and rows

    @cached_property
    def effective_rows(self) -> tuple[Row, ...]:
        """The rows with norms folded, or all counted, as the conventions say."""
        fold_bn = bool(self.conventions.get("fold_bn", True))
        return tuple(row.under(fold_bn) for row in self.rows)

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The class of each row, and the exact counts that follow."""
        graded = str(self.conventions.get("graded", "mac"))
        return tuple(row.verdict(graded) for row in self.effective_rows)

    @cached_property
    def totals(self) -> Totals:
        """The exact sums over all samples and all rows inside the totals."""
        verdicts = self._of(self.kinds)
        return Totals(
            sum((v.ac for v in verdicts), Fraction(0)),
            sum(v.ac_events for v in verdicts),
            sum(v.mac for v in verdicts),
            sum(v.dense_ac for v in verdicts),
            sum(v.spikes for v in verdicts),
            sum(v.max_spikes for v in verdicts),
            sum(v.either for v in verdicts),
        )

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The rows, classed and divided by the number of samples."""
        names = row_names(self.rows, self.model)
        whole = self._sums.dc
        return tuple(
            layer_of(
                name, row, verdict, cost, self.samples, row.kind in self.kinds, self.measured, whole
            )
            for name, row, verdict, cost in zip(
                names, self.effective_rows, self.verdicts, self._prices, strict=True
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

    def priced(self, energy: Profile | Mapping[str, Profile]) -> Report:
        """The same counts at other costs.

        Args:
            energy: as for `get_model_syops`.

        Raises:
            SyopsLookupError, SyopsFileError, SyopsTypeError, SyopsValueError: see
                `get_energy_model`; also a pattern that matches no layer, and a layer that none
                matches.
        """
        model = get_energy_model(energy)
        check_energy(model, self.rows)
        return replace(self, energy=model)

    def merge(self, other: Report) -> Report:
        """The report of both data sets together. Exact, and independent of the order.

        Raises:
            SyopsValueError: the reports are of different models, conventions or energy models.
        """
        from syops.merging import merged

        return merged(self, other)

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
                layer, its signal, what it did and what that costs. "all" is all there are.
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

        return to_csv(layer_table(self, **{"columns": ALL, **arrangement}, every=True))

    def to_frame(self, totals: bool = False) -> pd.DataFrame:
        """The layers as a pandas table, one line a row.

        Args:
            totals: exact sums over all samples (integers; ``ac`` as a fraction) instead of
                figures per sample.
        """
        from syops.summary import frame_of

        return frame_of(self, totals)

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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it in the format that the suffix names, whole or not at all.

        Args:
            path: ``.json`` holds everything, and `load` reads it; ``.csv``, ``.md``, ``.tex``,
                ``.html`` (a page, see `save_html`) and ``.txt`` are for people and other programs.

        Raises:
            SyopsValueError: another suffix.
            SyopsFileError: the file cannot be written.
        """
        from syops.html import to_page

        formats: dict[str, Callable[[], str]] = {
            ".json": lambda: f"{self.to_json()}\n",
            ".csv": self.to_csv,
            ".md": self.to_markdown,
            ".tex": self.to_latex,
            ".html": lambda: to_page(self, None),
            ".txt": lambda: f"{self}\n",
        }
        suffix = Path(path).suffix.lower()
        if suffix not in formats:
            raise SyopsValueError(
                f"cannot save a report as {path}: its suffix must be one of {', '.join(formats)}"
            )
        write_text(Path(path), formats[suffix]())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Report:
        """Read what `save` wrote, or ``syops run --format json``.

        Raises:
            SyopsFileError: the file cannot be read.
            SyopsValueError: it holds no report; names the file and says why.
        """
        from syops.serial import from_json

        text = read_text(Path(path))
        try:
            return from_json(text, str(path))
        except SyopsValueError as error:
            if Path(path).suffix.lower() in (".csv", ".md", ".tex", ".html", ".txt"):
                raise SyopsValueError(
                    f"{path} cannot be read back: only JSON holds a whole report; write one with "
                    "report.save('report.json') or 'syops run --format json'"
                ) from error
            raise

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
        from syops.html import to_page

        write_text(Path(path), to_page(self, command))

    def _repr_html_(self) -> str:
        from syops.html import to_notebook

        return to_notebook(self)

    @cached_property
    def _prices(self) -> tuple[Price, ...]:
        events = self.conventions.get("ac") == "events"
        classed = zip(self.rows, self.verdicts, strict=True)
        return tuple(price(row, verdict, self.energy, events) for row, verdict in classed)

    @cached_property
    def _sums(self) -> Price:
        priced = zip(self.rows, self._prices, strict=True)
        return sum((cost for row, cost in priced if row.kind in self.kinds), NOTHING)

    def _of(self, kinds: frozenset[str]) -> list[Verdict]:
        classed = zip(self.rows, self.verdicts, strict=True)
        return [verdict for row, verdict in classed if row.kind in kinds]

    @property
    def _ann_pj(self) -> Fraction | None:
        """Energy of the ANN over all samples, if it is known."""
        if self.ann is None or self.ann.unpriced:
            return None
        return self.ann._sums.dc

    def _mj(self, picojoules: Fraction | float) -> float:
        return millijoules(picojoules, self.samples)
