"""Hold what was counted of a network: rows, which are classed, priced, added up and merged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from numbers import Real
from typing import Any, Self

from syops.cost.conventions import (
    DEFAULT,
    MAGNITUDES,
    AnyConvention,
    Convention,
    check_recorded,
    classed,
    get_convention,
)
from syops.cost.energy import Energy
from syops.cost.later import late
from syops.cost.layer import Layer, Totals, layer_of
from syops.cost.pricing import NOTHING, Price, check_energy, price
from syops.cost.profiles import Profile, get_energy_model
from syops.cost.spread import SampleTable, SpreadUnknown, Terms, spread_of
from syops.cost.tools import MODULE_TOOLS, TOOLS
from syops.errors import SyopsTypeError, SyopsValueError, shown
from syops.ledger.calls import ModuleCalls, merge_calls
from syops.ledger.ledger import merge_rows, pairs
from syops.ledger.neurons import NeuronLayer, merge_neurons
from syops.ledger.provenance import Provenance, merge_versions
from syops.ledger.rows import Operations, Row, row_names
from syops.ledger.samples import Spread
from syops.ledger.scores import Scores
from syops.ledger.updates import Updates, merge_updates
from syops.ledger.zeros import ZeroCounts
from syops.ops.kinds import COUNTED, KINDS, Kind

_SAME = ("model", "params", "convention", "conventions", "energy", "kinds", "measured")
"""What two reports must have in common to be merged."""


@dataclass(frozen=True, repr=False)
class Counts:
    """What was counted of a network, and how it is classed and priced.

    Attributes:
        model: class name of the model.
        rows: the exact counts, as `syops.ledger.rows.Row`.
        samples: number of samples counted; headline figures are divided by it.
        energy: an `EnergyModel`, or an `EnergyMap` with one for each layer.
        time_steps: T, or None where it is not known.
        params: number of parameters of the model.
        input_shape: shape of the first input of the first batch; of merged reports the larger.
        ann_rows: the same network as an ANN, of which `ann` makes a report; None where T is not
            known. They may come `later`.
        conventions: how it was counted: batch_dim, input_signal, and whose loop over time it was.
        versions: versions of syops and the libraries; merged reports list all that differ.
        unaccounted: operators without a rule and where they were met, with their calls.
        prepared: rows of work on weights alone, such as the product in ``linear(x, a @ b)`` or a
            normalisation of weights: done once for all samples, and so in no total.
        updates: how far each neuron was brought forward in time, for the libraries that tell.
        notes: what a reader should know. They may come `later`.
        kinds: the kinds of rows inside the totals.
        passes: forward passes that were made: batches. 0 where that is not known.
        measured: whether spikes were counted. Without data there are O_mac, ``dense_ac`` and EC;
            firing rates, ACs, DC and what follows from them are None.
        accuracy: share of the samples that the network gets right, from ``scores``. An accuracy of
            your own, ``dataclasses.replace(report, accuracy=0.71)``, removes ``scores``.
        scores: how often the network was right, by class, where the data had labels.
        ended: what ended the count before all data was counted; empty if nothing did.
        dependent: passes that read what an earlier one had computed; known of calls that a loop of
            the user's makes.
        in_training: dropouts and norms that were in training mode, by name.
        convention: what counts as an AC, as a MAC or as nothing; see `under`.
        recorded: the optional measurements that were made, which some conventions need.
        modules: what the calls of modules look like by their values alone, where that was measured.
        zero_counts: the zeros that were met; None where they were not measured.
        neuron_layers: the spikes of each neuron; None where they were not counted.
        sample_table: the counts of each sample, where they were taken; not in files.
        held_spread: the spread of merged reports, and of a file; see `spread`.
        provenance: what was called, with which seed, weights and data. Reports are equal if their
            figures are, wherever they come from.

    Raises:
        SyopsValueError: an accuracy that is not a share.
    """

    model: str
    rows: tuple[Row, ...]
    samples: int
    energy: Energy
    time_steps: int | None = None
    params: int = 0
    input_shape: tuple[int, ...] = ()
    ann_rows: tuple[Row, ...] | None = late(None)
    conventions: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    unaccounted: Mapping[str, int] = field(default_factory=dict)
    prepared: tuple[Row, ...] = ()
    notes: tuple[str, ...] = late(())
    kinds: frozenset[str] = COUNTED
    measured: bool = True
    accuracy: float | None = None
    passes: int = 0
    updates: tuple[Updates, ...] = ()
    scores: Scores | None = None
    ended: tuple[str, ...] = ()
    convention: Convention = DEFAULT
    recorded: frozenset[str] = frozenset({MAGNITUDES})
    modules: tuple[ModuleCalls, ...] = ()
    zero_counts: ZeroCounts | None = None
    neuron_layers: tuple[NeuronLayer, ...] | None = None
    provenance: Provenance = field(default=Provenance(), compare=False)
    sample_table: SampleTable | None = field(default=None, repr=False, compare=False)
    held_spread: Spread | None = field(default=None, repr=False, compare=False)
    dependent: int = 0
    in_training: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        accuracy = self.accuracy
        if self.scores is not None and accuracy not in (None, self.scores.accuracy):
            object.__setattr__(self, "scores", None)
        if accuracy is None and self.scores is not None:
            accuracy = self.scores.accuracy
        if accuracy is None:
            return
        if not (isinstance(accuracy, Real) and 0 <= accuracy <= 1):
            raise SyopsValueError(f"accuracy must be a share between 0 and 1, got {accuracy!r}")
        object.__setattr__(self, "accuracy", float(accuracy))

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle or copy, with all that is computed late computed."""
        return {**vars(self), "ann_rows": self.ann_rows, "notes": self.notes}

    # Rows and sums

    @cached_property
    def effective_rows(self) -> tuple[Row, ...]:
        """The rows as the convention sees them, with norms folded, counted or free."""
        return tuple(row for row, _ in self._classed)

    @cached_property
    def operations(self) -> tuple[Operations, ...]:
        """The class of each row, and the exact counts that follow."""
        return tuple(operations for _, operations in self._classed)

    @cached_property
    def totals(self) -> Totals:
        """The exact sums over all samples and all rows inside the totals."""
        counted = self._of(self.kinds)
        return Totals(
            sum((v.ac for v in counted), Fraction(0)),
            sum(v.ac_events for v in counted),
            sum(v.mac for v in counted),
            sum(v.dense_ac for v in counted),
            sum(v.spikes for v in counted),
            sum(v.max_spikes for v in counted),
            sum(v.either for v in counted),
        )

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The rows, classed and divided by the number of samples."""
        names = row_names(self.effective_rows, self.model)
        whole = self._sums.dc
        steps = self.time_steps or _only(len(v.rates) for v in self.operations if v.rates)
        return tuple(
            layer_of(
                *(name, row, operations, cost, self.samples, row.kind in self.kinds),
                *(self.measured, whole, steps),
            )
            for name, row, operations, cost in zip(
                names, self.effective_rows, self.operations, self._prices, strict=True
            )
        )

    def select(self, kinds: Kind | Iterable[Kind]) -> Self:
        """Return the same report with other kinds of rows inside its totals, DC and EC.

        Args:
            kinds: any of "conv", "linear", "matmul", "recurrent", "norm", "neuron", "add",
                "pool", "activation", "elementwise".

        Raises:
            SyopsTypeError, SyopsValueError: an unknown kind.
        """
        if not isinstance(kinds, Iterable):
            raise SyopsTypeError(f"kinds must be a kind or a list of them, got {shown(kinds)}")
        chosen: frozenset[str] = frozenset([kinds] if isinstance(kinds, str) else kinds)
        if unknown := chosen - set(KINDS):
            raise SyopsValueError(
                f"kinds: no such kind: {', '.join(sorted(unknown))}; known: {', '.join(KINDS)}"
            )
        return replace(self, kinds=chosen)

    def priced(self, energy: Profile | Mapping[str, Profile]) -> Self:
        """Return the same counts at other prices.

        Args:
            energy: as for `get_model_syops`.

        Raises:
            SyopsLookupError, SyopsFileError, SyopsTypeError, SyopsValueError: see
                `get_energy_model`. A pattern that matches no layer is an error too, and so is a
                layer that no pattern matches.
        """
        model = get_energy_model(energy)
        check_energy(model, self.rows)
        return replace(self, energy=model)

    def under(self, convention: AnyConvention) -> Self:
        """Return the same counts under another convention.

        Args:
            convention: as for `get_model_syops`.

        Raises:
            SyopsLookupError, SyopsFileError, SyopsTypeError, SyopsValueError: see
                `get_convention`. A convention that needs what was not counted is an error too.
        """
        known = get_convention(convention)
        check_recorded(self.rows, known, self.recorded, self.model)
        own = COUNTED if self.convention.counter in MODULE_TOOLS else self.kinds
        return replace(self, convention=known, kinds=kinds_under(known, own))

    def merge(self, other: Self) -> Self:
        """Return the report of both data sets together, exact and independent of the order.

        ``one + two`` does the same, and ``sum(reports)`` merges many.

        Raises:
            SyopsTypeError: ``other`` is not a report.
            SyopsValueError: the reports are of different models, weights, conventions, energy
                models or T. T may differ if it was read from the data (``unroll``); the merged
                report then has None.
        """
        if not isinstance(other, Counts):
            raise SyopsTypeError(f"a report is merged with another one, got {type(other).__name__}")
        of_data = "unroll" in self.conventions
        for what in _SAME if of_data else (*_SAME, "time_steps"):
            if getattr(self, what) != getattr(other, what):
                raise SyopsValueError(
                    f"reports with different {what} cannot be merged: "
                    f"{getattr(self, what)!r} and {getattr(other, what)!r}"
                )
        _check_operands(self, other)
        ann = None
        if self.ann_rows is not None and other.ann_rows is not None:
            ann = merge_rows(self.ann_rows, other.ann_rows)
        return replace(
            self,
            rows=merge_rows(self.rows, other.rows),
            samples=self.samples + other.samples,
            time_steps=self.time_steps if self.time_steps == other.time_steps else None,
            unaccounted=dict(
                sorted((Counter(self.unaccounted) + Counter(other.unaccounted)).items())
            ),
            prepared=merge_rows(self.prepared, other.prepared),
            updates=merge_updates(*self.updates, *other.updates),
            notes=tuple(sorted({*self.notes, *other.notes})),
            ended=tuple(sorted({*self.ended, *other.ended})),
            dependent=self.dependent + other.dependent,
            in_training=tuple(sorted({*self.in_training, *other.in_training})),
            input_shape=max(self.input_shape, other.input_shape),
            ann_rows=ann,
            **_answers(self, other),
            zero_counts=None
            if self.zero_counts is None or other.zero_counts is None
            else self.zero_counts + other.zero_counts,
            neuron_layers=merge_neurons(self.neuron_layers, other.neuron_layers),
            sample_table=None,
            held_spread=_joint_spread(self, other),
            passes=self.passes + other.passes if self.passes and other.passes else 0,
            recorded=self.recorded & other.recorded,
            modules=merge_calls((*self.modules, *other.modules)),
            versions=merge_versions(self.versions, other.versions),
            provenance=self.provenance + other.provenance,
        )

    def __add__(self, other: Self) -> Self:
        return self.merge(other)

    def __radd__(self, other: Any) -> Self:
        """Begin ``sum(reports)``, which adds the first report to 0."""
        return self if other == 0 else self.merge(other)

    @cached_property
    def _classed(self) -> tuple[tuple[Row, Operations], ...]:
        if self.convention.counter != "syops":
            return tuple(TOOLS[self.convention.counter](self.rows, self.modules, self.samples))
        return tuple(classed(row, self.convention) for row in self.rows)

    @cached_property
    def _prices(self) -> tuple[Price, ...]:
        events = self.convention.ac == "events"
        classed = zip(self.effective_rows, self.operations, strict=True)
        return tuple(price(row, operations, self.energy, events) for row, operations in classed)

    @cached_property
    def _sums(self) -> Price:
        priced = zip(self.effective_rows, self._prices, strict=True)
        return sum((cost for row, cost in priced if row.kind in self.kinds), NOTHING)

    def _of(self, kinds: frozenset[str]) -> list[Operations]:
        classed = zip(self.effective_rows, self.operations, strict=True)
        return [operations for row, operations in classed if row.kind in kinds]

    # Spread over samples

    @property
    def spread(self) -> Spread | None:
        """How samples differ in ACs, MACs and DC; None if not known: see `spread_reason`."""
        return self._spread[0]

    @property
    def spread_reason(self) -> str:
        """Why there is no spread; "" if there is one."""
        return self._spread[1]

    @cached_property
    def _spread(self) -> tuple[Spread | None, str]:
        terms = Terms(self.energy, self.convention, self.kinds)
        if self.sample_table is not None:
            apart = self.sample_table.counts.number
            if apart != self.samples:
                return None, (
                    f"the report is of {self.samples} samples, and {apart} are told apart; ask the "
                    "report of all samples, and leave samples= out"
                )
            try:
                return spread_of(self.sample_table, self.effective_rows, terms), ""
            except SpreadUnknown as reason:
                return None, str(reason)
        held = self.held_spread
        if held is None:
            return None, (
                "samples were not told apart in all that was counted; count with spread=True"
            )
        if not held.basis.items() <= terms.basis(self.effective_rows).items():
            return None, (
                "the spread holds for the prices, conventions, kinds and classes of layers that "
                "it was found with, and the counts of each sample were not kept"
            )
        return held, ""


def kinds_under(convention: Convention, own: frozenset[str] = COUNTED) -> frozenset[str]:
    """Return the kinds inside the totals: all that a tool counts, or one's own.

    Args:
        convention: what rows are seen under.
        own: those that were chosen, but for neurons, which the convention decides on.
    """
    if convention.counter in MODULE_TOOLS:
        return frozenset(KINDS)
    return own | {"neuron"} if convention.neurons == "in" else own - {"neuron"}


def _joint_spread(one: Counts, two: Counts) -> Spread | None:
    """Return the spread over the samples of both; None where that of one is not known.

    Where layers have other classes in one, it holds for no report: its basis has both.
    """
    spreads = [each.spread or each.held_spread for each in (one, two)]
    known = [each for each in spreads if each is not None]
    return known[0] + known[1] if len(known) == 2 else None


def _only(numbers: Iterable[int]) -> int | None:
    """Return the one number above 1 that there is; None where there are several, or none."""
    found = {number for number in numbers if number > 1}
    return found.pop() if len(found) == 1 else None


def _check_operands(one: Counts, two: Counts) -> None:
    """Check that each row of both reports has as many operands in one as in the other."""
    for row, same in pairs(one.rows, two.rows):
        if len({len(row.drives), len(same.drives)} - {0}) > 1:
            raise SyopsValueError(
                f"the reports cannot be merged: {row.path or one.model}:{row.operator} has one "
                "operand in one and two in the other; they are of different networks"
            )


def _answers(one: Counts, two: Counts) -> dict[str, Any]:
    """Return scores and accuracy on all samples; None where those of one report are unknown."""
    if one.scores is not None and two.scores is not None:
        return {"scores": one.scores + two.scores, "accuracy": None}
    if one.accuracy is None or two.accuracy is None or one.accuracy == two.accuracy:
        same = one.accuracy if one.accuracy == two.accuracy else None
        return {"scores": None, "accuracy": same}
    right = one.accuracy * one.samples + two.accuracy * two.samples
    return {"scores": None, "accuracy": right / (one.samples + two.samples)}
