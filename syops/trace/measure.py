"""Measure what drives each product, and enter it into the ledger after the pass.

During the pass, only tensors on the device are collected. After the pass they are read together.
Then it is decided what depends on the whole pass: whether a norm can be folded, and whether a
padded tensor was read by one operator alone.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor

from syops.errors import SyopsValueError
from syops.ledger.rows import Drive, Ledger, Magnitudes, Row, joined_magnitudes
from syops.ledger.steps import Arrival, History
from syops.ops.fanout import FanOut
from syops.ops.rule import Product
from syops.ops.values import (
    ANALOG,
    EMPTY,
    INTEGER,
    SPIKES,
    UNKNOWN,
    Evidence,
    Seen,
    Signal,
    Table,
    Unit,
    evidence_of,
    for_weights,
)
from syops.trace.foldable import Folding
from syops.trace.gauge import Gauge
from syops.trace.lineage import Layer, Padding, Result, Unnormalised
from syops.trace.live import Tensors
from syops.trace.neurons.library import SIGNALS, NeuronSignal
from syops.trace.repeats import Again, Repeats


@dataclass(frozen=True, slots=True)
class _Operand:
    """One operand of one call; the counts are places in the readings."""

    evidence: Evidence
    numel: int
    fan_out: FanOut
    spikes: int | None = None
    events: int | None = None
    magnitude: int | None = None
    graded_events: int | None = None
    look: int | None = None
    padding: Padding | None = None
    unit: Unit = Unit()


@dataclass(frozen=True, slots=True)
class _Again:
    """Say how much of a product repeats the step before; ``counts``: places in the readings."""

    known: Again
    counts: tuple[int, ...]

    def of(self, dense: int, counts: list[int]) -> tuple[int, int]:
        """Return the operations after the first step: on values of the step before, and on others."""
        same = max((counts[place] for place in self.counts), default=self.known.same)
        share = Fraction(dense, self.known.parts)
        return int(share * same), int(share * (self.known.later - same))


@dataclass(frozen=True, slots=True)
class _Product:
    """Hold a synaptic operation; ``folded`` is its operand if ``norm`` is folded into it."""

    row: Row
    site: Hashable
    operands: tuple[_Operand, ...]
    pairs: int | None
    prepared: bool
    arriving: tuple[Arrival, ...]
    result: Result | None
    norm: Layer | None
    folded: _Operand | None
    again: _Again | None


@dataclass(frozen=True, slots=True)
class _Norm:
    row: Row
    site: Hashable
    result: Result | None


@dataclass(frozen=True, slots=True)
class _Settled:
    row: Row
    site: Hashable
    prepared: bool


@dataclass(frozen=True, slots=True)
class _Declared:
    """What a neuron sent whose signal the user told; ``look`` is a place in the readings."""

    neuron: str
    signal: NeuronSignal
    look: int

    def check(self, looks: list[float]) -> None:
        """Raise SyopsValueError if it sent anything else."""
        low, high, whole = looks[self.look : self.look + 3]
        name = next(name for name, signal in SIGNALS.items() if signal == self.signal)
        if not (math.isfinite(low) and math.isfinite(high)):
            sent, instead = "NaN or infinite values", "check the data and the weights"
        elif not whole:
            sent, instead = f"values from {low:.4g} to {high:.4g} that are not all whole", "analog"
        elif isinstance(self.signal, tuple) and not (
            self.signal[0] <= low and high <= self.signal[-1]
        ):
            sent = f"values from {low:g} to {high:g}"
            instead = "ternary" if low >= -1 and high <= 1 else "graded"
        else:
            return
        if instead in SIGNALS:
            instead = f"declare {instead!r}, or leave it out to have it watched from inside"
        raise SyopsValueError(
            f"{self.neuron}: neurons= declares it {name!r}, but it sent {sent}; {instead}"
        )


class Measurements:
    """Everything collected in one forward pass, in its order.

    Args:
        tensors: what is known of the live tensors.
        repeats: which of them hold the same values as before.
        graded: "mac" or "ac": whether magnitudes are wanted.
        values: whether tensors have values; on ``meta`` nothing is counted or looked at.
    """

    def __init__(self, tensors: Tensors, repeats: Repeats, *, graded: str, values: bool) -> None:
        self._tensors = tensors
        self._repeats = repeats
        self._graded = graded
        self._values = values
        self._pending: list[_Product | _Norm | _Settled] = []
        self._declared: list[_Declared] = []
        self._gauge = Gauge(tensors.factor)

    def product(
        self,
        row: Row,
        site: Hashable,
        product: Product,
        prepared: bool,
        result: Result | None,
        before: Unnormalised | None,
        arriving: tuple[Arrival, ...],
    ) -> None:
        """A synaptic operation was executed.

        Args:
            row, site: of the ledger.
            product: what was done.
            prepared: on weights alone, so that it need not be done for each sample.
            result: what it gave, where its weights can be changed.
            before: what it would read with the norm before it folded into it, if that may differ.
            arriving: how its operands were made, for the audit.
        """
        operands = tuple(self._operand(o.tensor, o.fan_out, o.channel) for o in product.operands)
        pairs = None
        if product.pairs is not None and all(o.spikes is not None for o in operands):
            pairs = self._gauge.coincidences(*product.pairs)
        norm = folded = again = None
        if before is not None:
            (driven,) = product.operands
            norm = before.norm
            folded = self._operand(before.tensor, driven.fan_out, driven.channel)
        if len(operands) == 1:
            again = self._again((row.family, site), product.operands[0].tensor)
        self._pending.append(
            _Product(row, site, operands, pairs, prepared, arriving, result, norm, folded, again)
        )

    def _again(self, layer: Hashable, x: Tensor) -> _Again | None:
        known = self._repeats.arrive(layer, x)
        if known is None:
            return None
        return _Again(known, self._gauge.same(x, known.copies) if known.copies else ())

    def normalisation(self, row: Row, site: Hashable, result: Result | None) -> None:
        """A normalisation was executed: 2 MACs per element, unless it turns out foldable.

        ``result``: what it gave, if it is a scale and a shift for each channel.
        """
        self._pending.append(_Norm(row, site, result))

    def tally(self, row: Row, site: Hashable, prepared: bool = False) -> None:
        """Work whose cost is known from shapes; ``prepared``: as of a product."""
        self._pending.append(_Settled(row, site, prepared))

    def declared(self, neuron: str, signal: NeuronSignal, sent: Iterable[Tensor]) -> None:
        """A neuron sent what the user says of it; this is checked when the pass is over."""
        if not self._values or signal is ANALOG:
            return
        for tensor in sent:
            if tensor.numel():
                self._declared.append(_Declared(neuron, signal, self._gauge.look(tensor, {})))

    def padding(self, source: Tensor) -> Padding | None:
        """Return what is to be remembered of a tensor that is being padded."""
        operand = self._operand(source, FanOut(0), channel=1)
        if operand.spikes is None:
            return None
        counts = operand.spikes, operand.magnitude, operand.unit
        return Padding(source.numel(), *counts, operand.padding)

    def _operand(self, tensor: Tensor, fan_out: FanOut, channel: int | None) -> _Operand:
        signal = for_weights(self._tensors.signal(tensor), channel)
        if signal == EMPTY:  # memory that nothing was written into: whatever it holds
            signal = UNKNOWN
        evidence = evidence_of(signal)
        if self._is_blurred(signal, evidence, tensor.dtype):
            signal = ANALOG
            evidence = evidence_of(signal)
        numel = tensor.numel()
        if not self._values or not numel or not self._may_drive(signal, evidence):
            return _Operand(evidence, numel, fan_out)
        record = self._tensors.find(tensor) or self._tensors.put(tensor, signal)
        binary = evidence.signal == "binary" and signal is not UNKNOWN
        spikes, events = self._gauge.spikes(tensor, record.cache, fan_out, binary)
        unit = evidence.unit or Unit()
        magnitude, graded_events = None, None
        if isinstance(signal, Table) and evidence.largest <= 1:
            magnitude, graded_events = spikes, events
        elif self._graded == "ac":
            magnitude, graded_events = self._gauge.spikes(tensor, record.cache, fan_out, unit)
        look = self._gauge.look(tensor, record.cache) if signal in (UNKNOWN, INTEGER) else None
        return _Operand(
            *(evidence, numel, fan_out, spikes, events, magnitude, graded_events, look),
            *(record.padding, unit),
        )

    def _is_blurred(self, signal: Signal, evidence: Evidence, dtype: torch.dtype) -> bool:
        """Return whether values do not tell magnitudes: rounded too far, or in unknown units."""
        if not isinstance(signal, Table) or not signal.scale or evidence.largest <= 1:
            return False
        rounded = evidence.largest * torch.finfo(dtype).eps > 0.25
        name = evidence.unit.scale if evidence.unit else ""
        return rounded or bool(name and self._tensors.factor(name) is None)

    def _may_drive(self, signal: Signal, evidence: Evidence) -> bool:
        """Return whether the row may come out as AC, so that its spikes have to be counted."""
        wanted = (*SPIKES, "graded") if self._graded == "ac" else SPIKES
        return signal is UNKNOWN or evidence.signal in wanted

    def settle(
        self, ledger: Ledger, has_states: bool, folding: Folding, history: History | None
    ) -> None:
        """Read the device and add everything to the ledger.

        Args:
            ledger: where it goes.
            has_states: buffers have changed, so what looked like weights may have been a state.
            folding: which normalisations can be folded.
            history: where what arrived at each product goes, if anybody asks.

        Raises:
            SyopsValueError: a tensor that was looked at holds NaN or an infinite value; a neuron
                sent values that it was not declared to send.
        """
        counts = [int(value) for value in _read(self._gauge.counts, torch.int64)]
        looks = _read(self._gauge.looks, torch.float64)
        for declared in self._declared:
            declared.check(looks)
        # All of them before anything is added: the ledger has a pass whole or not at all.
        rows = [_settled(item, folding, counts, looks) for item in self._pending]
        for item, row in zip(self._pending, rows, strict=True):
            if not isinstance(item, _Norm) and item.prepared and not has_states:
                ledger.prepare(item.row, item.site)
                continue
            ledger.add(row, item.site)
            if history is not None and isinstance(item, _Product):
                arriving = item.arriving if row.unnormalised else _as_run(item.arriving)
                history.arrive((*row.family, item.site), arriving)


def _read(readings: list[Tensor], dtype: torch.dtype) -> list[float]:
    """Return all values, in one transfer for each device they lie on."""
    values = [0.0] * len(readings)
    for device in {tensor.device for tensor in readings}:
        places = [i for i, tensor in enumerate(readings) if tensor.device == device]
        kept = torch.float32 if device.type == "mps" and dtype == torch.float64 else dtype
        stacked = torch.stack([readings[place].to(kept) for place in places])
        for place, value in zip(places, stacked.tolist(), strict=True):
            values[place] = value
    return values


def _as_run(arriving: tuple[Arrival, ...]) -> tuple[Arrival, ...]:
    return tuple(Arrival(arrival.step, arrival.step) for arrival in arriving)


def _settled(
    item: _Product | _Norm | _Settled, folding: Folding, counts: list[int], looks: list[float]
) -> Row:
    """Return the row that one cost comes to."""
    match item:
        case _Product():
            layer = item.result.layer if item.result else None
            norm = folding.absorbed.get(layer) if layer else None
            folded = item.folded if norm == item.norm else None
            return _settled_product(item, folded, counts, looks)
        case _Norm():
            return _settled_norm(item, folding)
        case _Settled():
            return item.row


def _settled_norm(call: _Norm, folding: Folding) -> Row:
    layers = folding.into(call.result) if call.result else ()
    paths = sorted({each.path or each.layer.weight for each in layers if each.layer})
    if call.result is None or not paths:
        return call.row
    note = "one weight copy for each normalisation" if call.result.layer in folding.copied else ""
    return call.row.folded_into(", ".join(paths), note)


def _settled_product(
    call: _Product, folded: _Operand | None, counts: list[int], looks: list[float]
) -> Row:
    dense = call.row.dense
    drives = tuple(_drive(call.row, operand, counts, looks) for operand in call.operands)
    joint_ac, joint_events = Fraction(0), 0
    if call.pairs is not None:
        first, second = drives
        joint_ac = Fraction(first.spikes * second.spikes * dense, first.numel * second.numel)
        joint_events = counts[call.pairs]
    unnormalised = (_drive(call.row, folded, counts, looks),) if folded else ()
    row = call.result.named(call.row) if call.result else call.row
    row = row.driven_by(drives, joint_ac, joint_events, unnormalised)
    if call.again is None:
        return row
    repeated, changed = call.again.of(dense, counts)
    return replace(row, repeated=repeated, changed=changed)


def _drive(row: Row, operand: _Operand, counts: list[int], looks: list[float]) -> Drive:
    evidence = operand.evidence
    if operand.look is not None:
        low, high, whole = looks[operand.look : operand.look + 3]
        if not (math.isfinite(low) and math.isfinite(high)):
            raise SyopsValueError(
                f"{row.path or 'the model'} ({row.operator}): its input holds NaN or infinite "
                "values; check the data, the weights and the layers before it"
            )
        seen = Seen(low, high, bool(whole))
        evidence = replace(evidence, seen=seen, unknown=False)
    if not operand.numel:  # nobody looks at nothing
        evidence = replace(evidence, unknown=False)
    if operand.spikes is None:
        return Drive(evidence, operand.numel)
    numel, spikes, magnitude = operand.numel, operand.spikes, operand.magnitude
    unit = operand.unit
    unpadded = operand.padding.source() if operand.padding else None
    if unpadded is not None:
        numel, spikes, magnitude = unpadded.numel, unpadded.spikes, unpadded.magnitude
        unit = unpadded.unit

    def events(place: int | None, total: int) -> int:
        return (
            counts[place] if place is not None else counts[total] * (operand.fan_out.uniform or 0)
        )

    magnitudes: tuple[Magnitudes, ...] = ()
    if operand.magnitude is not None and magnitude is not None:
        reached = events(operand.graded_events, operand.magnitude)
        magnitudes = joined_magnitudes(
            Magnitudes(unit, Fraction(counts[magnitude] * row.dense, numel)),
            Magnitudes(operand.unit, events=reached),
        )
    return Drive(
        evidence,
        numel,
        counts[spikes],
        Fraction(counts[spikes] * row.dense, numel),
        events(operand.events, operand.spikes),
        magnitudes,
    )
