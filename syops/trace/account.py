"""Compute what forward passes come to: rows, settled once the readings are known.

During a pass only readings on the device are taken. Afterwards what depended on the rest of the
pass is decided: whether a normalisation could be folded, and whether a padded tensor fed only one
operator. Passes that did the same are settled together.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache

from syops.errors import SyopsValueError
from syops.ledger.calls import ByValue
from syops.ledger.ledger import Ledger
from syops.ledger.rows import Drive, Magnitudes, Row, joined_magnitudes
from syops.ledger.steps import Arrival, History
from syops.ledger.updates import Updates, merge_updates
from syops.ops.classes import Seen, Unit, ValueEvidence
from syops.ops.fanout import FanOut
from syops.ops.values import INTEGER
from syops.trace.axes import BEFORE, NOWHERE, Axes, Place, Split
from syops.trace.foldable import Folding
from syops.trace.lineage import LayerKey, LayerResult, Padding
from syops.trace.neurons.library import SIGNALS
from syops.trace.readings import Readings
from syops.trace.repeats import Again


@dataclass(frozen=True, slots=True)
class OperandReadings:
    """One operand of one call; the counts are places in the readings."""

    evidence: ValueEvidence
    numel: int
    fan_out: FanOut
    spikes: int | None = None
    events: int | None = None
    magnitude: int | None = None
    graded_events: int | None = None
    look: int | None = None
    padding: Padding | None = None
    unit: Unit = Unit()
    axes: Axes = NOWHERE
    split: Split | None = None


@dataclass(frozen=True, slots=True)
class Repeated:
    """How much of a product repeats the step before; ``counts`` are places in the readings."""

    known: Again
    counts: tuple[int, ...]

    def of(self, dense: int, readings: Readings) -> tuple[int, int]:
        """Return the operations after the first step: on repeated values, and on others."""
        same = readings.largest(self.counts) if self.counts else self.known.same * readings.passes
        share = Fraction(dense, self.known.parts)
        return int(share * same), int(share * (self.known.later * readings.passes - same))


@dataclass(frozen=True, slots=True)
class LookReadings:
    """What one operand holds by its values alone; places in the readings."""

    binary: int
    spikes: int
    events: int | None
    uniform: int


@dataclass(frozen=True, slots=True)
class Looks:
    """How a product looks to a tool that sees nothing but the values of its operands."""

    operands: tuple[LookReadings, ...]
    pairs: int | None

    def of(self, dense: int, readings: Readings) -> ByValue:
        """Return the events of the passes with a {0, 1} operand, and what the others do."""
        total = ByValue()
        for counts in readings.each:
            spikes = [each for each in self.operands if counts[each.binary]]
            if not spikes:
                total += ByValue(dense=dense)
            elif len(spikes) == 2 and self.pairs is not None:
                total += ByValue(counts[self.pairs])
            else:
                first = spikes[0]
                events = counts[first.spikes] * first.uniform
                total += ByValue(events if first.events is None else counts[first.events])
        return total


@dataclass(frozen=True, slots=True, eq=False)
class Synaptic:
    """A synaptic operation; ``folded`` is its operand with the norm ``norm`` folded into it."""

    row: Row
    site: Hashable
    operands: tuple[OperandReadings, ...]
    pairs: int | None
    prepared: bool
    arriving: tuple[Arrival, ...]
    result: LayerResult | None
    norm: LayerKey | None
    folded: OperandReadings | None
    again: Repeated | None
    looks: Looks | None


@dataclass(frozen=True, slots=True, eq=False)
class Norm:
    row: Row
    site: Hashable
    result: LayerResult | None
    axes: Axes


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Work that needs no reading; calls that are alike may be told by one object."""

    row: Row
    site: Hashable
    prepared: bool


@dataclass(frozen=True, slots=True)
class Declared:
    """What the user said that a tensor holds, by ``neurons=`` or by a rule.

    Attributes:
        who: what made the tensor.
        values: those that it can hold, in order; none: any integers.
        look: a place in the readings.
        by_rule: a rule says so.
    """

    who: str
    values: tuple[float, ...]
    look: int
    by_rule: bool = False

    def check(self, readings: Readings) -> None:
        """Raise SyopsValueError if it holds anything else."""
        low, high, whole = readings.look(self.look)
        if not (math.isfinite(low) and math.isfinite(high)):
            held, instead = "NaN or infinite values", ""
        elif not whole and all(value == int(value) for value in self.values):
            held, instead = f"values from {low:.4g} to {high:.4g} that are not all whole", "analog"
        elif self.values and not (self.values[0] <= low and high <= self.values[-1]):
            held = f"values from {low + 0:g} to {high + 0:g}"  # no -0
            instead = "ternary" if low >= -1 and high <= 1 else "graded"
        else:
            return
        told, advice = self._by_rule() if self.by_rule else self._by_neurons(instead)
        if not instead:
            advice = "check the data and the weights"
        raise SyopsValueError(f"{self.who}: {told} {held}; {advice}")

    def _by_rule(self) -> tuple[str, str]:
        """Return how to begin and to end the error."""
        said = f"{{{', '.join(f'{value:g}' for value in self.values)}}}"
        return (
            f"its rule in rules= says {said if self.values else 'integers'}, but it gave",
            "give it the signal analog, or unknown to have its values looked at",
        )

    def _by_neurons(self, instead: str) -> tuple[str, str]:
        name = next(name for name, signal in SIGNALS.items() if signal in (self.values, INTEGER))
        return (
            f"neurons= declares it {name!r}, but it sent",
            f"declare {instead!r}, or leave it out to have it watched from inside",
        )


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """What a forward pass comes to, but for its readings.

    Attributes:
        pending: the costs, in order.
        declared: what the user said of tensors, to be checked.
        has_states: buffers have changed, so what looked like weights may have been a state.
        folding: which normalisations can be folded.
        updates: of the states of neurons.
        unaccounted: the operators without a rule.
        unseen: the modules that read tensors which nobody saw being made.
    """

    pending: tuple[Synaptic | Norm | Known, ...]
    declared: tuple[Declared, ...]
    has_states: bool
    folding: Folding
    updates: tuple[Updates, ...]
    unaccounted: tuple[str, ...]
    unseen: tuple[str, ...]

    def rows(self, readings: Readings) -> list[Row]:
        """Work out the row of each cost.

        Args:
            readings: of one pass, or of several that came to this.

        Raises:
            SyopsValueError: a tensor that was looked at holds NaN or an infinite value; a neuron
                or an operator of the user's gave values that it was not declared to give.
        """
        for declared in self.declared:
            declared.check(readings)
        settled = cache(lambda item: _settled(item, self.folding, readings))
        return [settled(item) for item in self.pending]

    def enter(
        self, rows: Sequence[Row], passes: int, ledger: Ledger, history: History | None
    ) -> None:
        """Add everything to the ledger.

        Args:
            rows: of the costs.
            passes: how many these are of.
            ledger: where they go.
            history: where what arrived at each product goes, if anybody asks.
        """
        ledger.begin()
        calls = Counter(self.pending)
        for item, row in dict(zip(self.pending, rows, strict=True)).items():
            if not isinstance(item, Norm) and item.prepared and not self.has_states:
                ledger.prepare(_of_passes(item.row, calls[item] * passes), item.site)
                continue
            ledger.add(_of_passes(row, calls[item]), item.site)
            if history is not None and isinstance(item, Synaptic):
                arriving = item.arriving if row.unnormalised else _as_run(item.arriving)
                history.arrive((*row.family, item.site), arriving)
        ledger.updates = merge_updates(*ledger.updates, *(e.times(passes) for e in self.updates))
        for operator in self.unaccounted:
            ledger.skip(operator, passes)
        for path in self.unseen:
            ledger.unseen[path] = None


def _as_run(arriving: tuple[Arrival, ...]) -> tuple[Arrival, ...]:
    return tuple(Arrival(arrival.step, arrival.step) for arrival in arriving)


def _settled(item: Synaptic | Norm | Known, folding: Folding, readings: Readings) -> Row:
    """Return the row that one cost comes to."""
    match item:
        case Synaptic():
            return _settled_product(item, _folded(item, folding), readings)
        case Norm():
            return _of_passes(_settled_norm(item, folding), readings.passes)
        case Known():
            return _of_passes(item.row, readings.passes)


def _folded(item: Synaptic, folding: Folding) -> OperandReadings | None:
    """Return the operand with the norm before the product folded into it, if it is."""
    layer = item.result.layer if item.result else None
    norm = folding.absorbed.get(layer) if layer else None
    return item.folded if norm == item.norm else None


def drives_of(item: Synaptic, folding: Folding, fold_bn: bool) -> tuple[OperandReadings, ...]:
    """Return what drives a product, with norms folded where they can be if ``fold_bn`` says so."""
    folded = _folded(item, folding) if fold_bn else None
    return item.operands if folded is None else (folded,)


def _settled_norm(call: Norm, folding: Folding) -> Row:
    layers = folding.into(call.result) if call.result else ()
    paths = sorted({each.path or each.layer.weight for each in layers if each.layer})
    if call.result is None or not paths:
        return call.row
    note = "one weight copy for each normalisation" if call.result.layer in folding.copied else ""
    return call.row.folded_into(", ".join(paths), note)


def _settled_product(call: Synaptic, folded: OperandReadings | None, readings: Readings) -> Row:
    dense = call.row.dense
    drives = tuple(_drive(call.row, operand, readings) for operand in call.operands)
    joint_ac, joint_events = Fraction(0), 0
    if call.pairs is not None:
        (numel, spikes), (other_numel, other_spikes) = map(_unpadded, call.operands)
        joint = readings.product(spikes, other_spikes)
        joint_ac = Fraction(joint * dense, numel * other_numel)
        joint_events = readings.total(call.pairs)
    unnormalised = (_drive(call.row, folded, readings),) if folded else ()
    row = call.result.named(call.row) if call.result else call.row
    row = row.driven_by(drives, joint_ac, joint_events, unnormalised)
    row = _of_passes(row, readings.passes)
    if call.looks is not None:
        row = replace(row, by_value=call.looks.of(dense, readings))
    if call.again is None:
        return row
    repeated, changed = call.again.of(dense, readings)
    return replace(row, repeated=repeated, changed=changed)


def _of_passes(row: Row, passes: int) -> Row:
    """Return the row of so many passes, of which one is given with the drives of all of them.

    A row without drives may be of so many calls as well.
    """
    if passes == 1:
        return row
    return replace(
        row,
        calls=row.calls * passes,
        dense=row.dense * passes,
        ac=row.ac * passes,
        mac=row.mac * passes,
        written=row.written * passes,
        backward=(row.backward[0] * passes, row.backward[1] * passes),
    )


def _unpadded(operand: OperandReadings) -> tuple[int, int]:
    """Return an operand's size and the place of its spikes; before padding, if it was padded."""
    source = operand.padding.source() if operand.padding else None
    spikes = operand.spikes if source is None else source.spikes
    assert spikes is not None
    return operand.numel if source is None else source.numel, spikes


def _drive(row: Row, operand: OperandReadings, readings: Readings) -> Drive:
    evidence = operand.evidence
    if operand.look is not None:
        low, high, whole = readings.look(operand.look)
        if not (math.isfinite(low) and math.isfinite(high)):
            raise SyopsValueError(
                f"{row.path or 'the model'} ({row.operator}): its input holds NaN or infinite "
                "values; check the data, the weights and the layers before it"
            )
        evidence = replace(evidence, seen=Seen(low, high, whole), unknown=False)
    if not operand.numel:  # nobody looks at nothing
        evidence = replace(evidence, unknown=False)
    if operand.spikes is None:
        return Drive(evidence, operand.numel * readings.passes, steps=None if operand.numel else ())
    numel, spikes, magnitude = operand.numel, operand.spikes, operand.magnitude
    unit = operand.unit
    unpadded = operand.padding.source() if operand.padding else None
    if unpadded is not None:
        numel, spikes, magnitude = unpadded.numel, unpadded.spikes, unpadded.magnitude
        unit = unpadded.unit
    read = unpadded or operand

    def events(place: int | None, total: int) -> int:
        if place is not None:
            return readings.total(place)
        return readings.total(total) * (operand.fan_out.uniform or 0)

    magnitudes: tuple[Magnitudes, ...] = ()
    if operand.magnitude is not None and magnitude is not None:
        reached = events(operand.graded_events, operand.magnitude)
        magnitudes = joined_magnitudes(
            Magnitudes(unit, Fraction(readings.total(magnitude) * row.dense, numel)),
            Magnitudes(operand.unit, events=reached),
        )
    return Drive(
        evidence,
        numel * readings.passes,
        readings.total(spikes),
        Fraction(readings.total(spikes) * row.dense, numel),
        events(operand.events, operand.spikes),
        magnitudes,
        _steps(read.axes.time, read.split, numel * readings.passes, spikes, readings),
    )


def _steps(
    time: Place | None, split: Split | None, numel: int, spikes: int, readings: Readings
) -> tuple[tuple[int, int], ...] | None:
    """Return the size and the spikes of an operand at each time-step; None: it is not known."""
    if isinstance(time, int) and time != BEFORE:
        return (*((0, 0),) * time, (numel, readings.total(spikes)))
    if not isinstance(time, tuple) or split is None or split.steps == 1:
        return None
    return tuple((numel // split.steps, count) for count in readings.by_step(spikes, split))
