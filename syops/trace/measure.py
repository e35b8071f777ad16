"""Measure what drives each product of a forward pass.

During the pass only readings on the device are taken. What depends on the rest of the pass is
decided afterwards; see `syops.trace.account`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable

import torch
from torch import Tensor

from syops.ledger.rows import Row
from syops.ledger.steps import Arrival
from syops.ledger.updates import Updates
from syops.ops.classes import Unit, ValueEvidence, evidence_of
from syops.ops.fanout import FanOut
from syops.ops.kinds import SPIKES
from syops.ops.rule import Product
from syops.ops.values import (
    ANALOG,
    EMPTY,
    INTEGER,
    UNKNOWN,
    Signal,
    TruthTable,
    for_weights,
    kind_of,
)
from syops.trace.account import (
    Account,
    Declared,
    Known,
    LookReadings,
    Looks,
    Norm,
    OperandReadings,
    Repeated,
    Synaptic,
)
from syops.trace.axes import Axes, split_of
from syops.trace.counting import Magnitude, Weighting
from syops.trace.foldable import Folding
from syops.trace.gauge import Gauge
from syops.trace.lineage import LayerResult, Padding, Unnormalised
from syops.trace.live import Tensors
from syops.trace.neurons.library import NeuronSignal
from syops.trace.repeats import Repeats


class Measurements:
    """Collect the measurements of one forward pass, in its order.

    Args:
        tensors: what is known of the live tensors.
        repeats: which of them hold the same values as before.
        gauge: takes the readings.
        values: whether tensors have values; on ``meta`` nothing is counted or looked at.
        by_values: whether each call is also looked at by its values alone.
    """

    def __init__(
        self,
        tensors: Tensors,
        repeats: Repeats,
        gauge: Gauge,
        *,
        values: bool,
        by_values: bool = False,
    ) -> None:
        self._tensors = tensors
        self._repeats = repeats
        self._values = values
        self._by_values = by_values and values
        self._pending: list[Synaptic | Norm | Known] = []
        self._known: dict[tuple[int, int, bool], Known] = {}
        """Calls that are alike, by the addresses of row and site, which they keep alive."""
        self._declared: list[Declared] = []
        self.gauge = gauge

    def product(
        self,
        row: Row,
        site: Hashable,
        product: Product,
        prepared: bool,
        result: LayerResult | None,
        before: Unnormalised | None,
        arriving: tuple[Arrival, ...],
    ) -> None:
        """Measure a synaptic operation that was executed.

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
            pairs = self.gauge.coincidences(*product.pairs)
        norm = folded = again = None
        if before is not None:
            (driven,) = product.operands
            norm = before.norm
            folded = self._operand(before.tensor, driven.fan_out, driven.channel)
        if len(operands) == 1:
            again = self._again((row.family, site), product.operands[0].tensor)
        told = row, site, operands, pairs, prepared, arriving, result, norm, folded, again
        self._pending.append(Synaptic(*told, self._looks(product) if self._by_values else None))

    def _looks(self, product: Product) -> Looks:
        """Look at a product as a tool does that sees nothing but its operands' values."""
        operands = []
        for each in product.operands:
            spikes, events = self.gauge.spikes(each.tensor, {}, each.fan_out, False)
            binary = self.gauge.binary(each.tensor)
            operands.append(LookReadings(binary, spikes, events, each.fan_out.uniform or 0))
        pairs = None if product.pairs is None else self.gauge.coincidences(*product.pairs)
        return Looks(tuple(operands), pairs)

    def _again(self, layer: Hashable, x: Tensor) -> Repeated | None:
        known = self._repeats.arrive(layer, x)
        if known is None:
            return None
        return Repeated(known, self.gauge.same(x, known.copies) if known.copies else ())

    def normalisation(
        self, row: Row, site: Hashable, x: Tensor, result: LayerResult | None
    ) -> None:
        """Count a norm that was executed: 2 MACs per element, unless it turns out foldable.

        ``x``: its input. ``result``: what it gave, if it is a scale and a shift for each channel.
        """
        self._pending.append(Norm(row, site, result, self._axes(x)))

    def tally(self, row: Row, site: Hashable, prepared: bool = False) -> None:
        """Count work whose cost is known from shapes; ``prepared``: as of a product."""
        key = id(row), id(site), prepared
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = Known(row, site, prepared)
        self._pending.append(known)

    def declared(
        self, who: str, signal: Signal | NeuronSignal, sent: Iterable[Tensor], by_rule: bool = False
    ) -> None:
        """Measure what the user said of tensors; it is checked when the pass is over.

        What may be any real number, or is in units that are not known, cannot be checked.
        """
        if not self._values:
            return
        if isinstance(signal, TruthTable):
            values = tuple(sorted(signal.support))
            if signal.scale or not values or not all(map(math.isfinite, values)):
                return
        elif isinstance(signal, tuple):
            values = signal
        elif kind_of(signal) is INTEGER:
            values = ()
        else:
            return
        for tensor in sent:
            if tensor.numel():
                look = self.gauge.look(tensor, {})
                self._declared.append(Declared(who, values, look, by_rule))

    def padding(self, source: Tensor) -> Padding | None:
        """Return what is to be remembered of a tensor that is being padded."""
        operand = self._operand(source, FanOut(0), channel=1)
        if operand.spikes is None:
            return None
        counts = operand.spikes, operand.magnitude, operand.unit
        return Padding(source.numel(), *counts, operand.axes, operand.split, operand.padding)

    def _operand(self, tensor: Tensor, fan_out: FanOut, channel: int | None) -> OperandReadings:
        signal = for_weights(self._tensors.signal(tensor), channel)
        if signal == EMPTY:  # memory that nothing was written into: whatever it holds
            signal = UNKNOWN
        evidence = evidence_of(signal)
        if self._is_blurred(signal, evidence, tensor.dtype):
            signal = ANALOG
            evidence = evidence_of(signal)
        numel = tensor.numel()
        if not self._values or not numel or not self._may_drive(signal, evidence):
            return OperandReadings(evidence, numel, fan_out, axes=self._axes(tensor))
        record = self._tensors.find(tensor) or self._tensors.put(tensor, signal)
        binary = evidence.signal == "binary" and signal is not UNKNOWN
        derived = isinstance(signal, TruthTable)
        weighting: Weighting = binary or ("derived" if derived else False)
        axes = self._axes(tensor)
        split = split_of(axes, max(len(fan_out.spatial), 1))
        spikes, events = self.gauge.spikes(tensor, record.cache, fan_out, weighting, split)
        unit = evidence.unit or Unit()
        magnitude, graded_events = None, None
        if isinstance(signal, TruthTable) and evidence.largest <= 1:
            magnitude, graded_events = spikes, events
        else:
            weights = Magnitude(unit, int(evidence.largest) if derived else None)
            told = record.cache, fan_out, weights, split
            magnitude, graded_events = self.gauge.spikes(tensor, *told)
        look = self.gauge.look(tensor, record.cache) if signal in (UNKNOWN, INTEGER) else None
        return OperandReadings(
            *(evidence, numel, fan_out, spikes, events, magnitude, graded_events, look),
            *(record.padding, unit, axes, split),
        )

    def _axes(self, tensor: Tensor) -> Axes:
        """Return where the time-steps and samples of a tensor are."""
        record = self._tensors.find(tensor)
        return Axes() if record is None else Axes(record.time, record.samples)

    def _is_blurred(self, signal: Signal, evidence: ValueEvidence, dtype: torch.dtype) -> bool:
        """Return whether values do not tell magnitudes: rounded too far, or in unknown units."""
        if not isinstance(signal, TruthTable) or not signal.scale or evidence.largest <= 1:
            return False
        rounded = evidence.largest * torch.finfo(dtype).eps > 0.25
        name = evidence.unit.scale if evidence.unit else ""
        return rounded or bool(name and self._tensors.factor(name) is None)

    def _may_drive(self, signal: Signal, evidence: ValueEvidence) -> bool:
        """Return whether some convention may count the row as AC, from its spikes."""
        return signal is UNKNOWN or evidence.signal in (*SPIKES, "graded")

    def account(
        self,
        has_states: bool,
        folding: Folding,
        updates: tuple[Updates, ...],
        unaccounted: tuple[str, ...],
        unseen: tuple[str, ...],
    ) -> Account:
        """Return what the pass comes to, but for its readings; see `Account`."""
        pending, declared = tuple(self._pending), tuple(self._declared)
        return Account(pending, declared, has_states, folding, updates, unaccounted, unseen)
