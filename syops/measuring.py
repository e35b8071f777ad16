"""Measures what drives each product, and settles it into the ledger after the pass.

During the pass only device tensors are collected. Afterwards they are read at once, and what
depended on the rest of the pass is decided: whether a normalisation could be folded, and
whether a padded tensor fed only one operator.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor

from syops import counting
from syops.errors import SyopsValueError
from syops.fanout import FanOut
from syops.ledger import Drive, Ledger, Magnitudes, Row, joined_magnitudes
from syops.neurons.library import SIGNALS, NeuronSignal
from syops.provenance import Origin, Padding, View
from syops.rules import Normalisation, Product
from syops.signals import (
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
from syops.tensors import Record, Tensors


@dataclass(frozen=True, slots=True)
class _Operand:
    """One operand of one call; the counts are places in the readings."""

    signal: Signal
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
class _Product:
    row: Row
    site: Hashable
    operands: tuple[_Operand, ...]
    pairs: int | None
    prepared: bool
    origin: Origin


@dataclass(frozen=True, slots=True)
class _Norm:
    row: Row
    site: Hashable
    view: View | None


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
        graded: "mac" or "ac": whether magnitudes are wanted.
        fold_bn: whether normalisations are folded where possible.
        values: whether tensors have values; on ``meta`` nothing is counted or looked at.
    """

    def __init__(self, tensors: Tensors, *, graded: str, fold_bn: bool, values: bool) -> None:
        self._tensors = tensors
        self._graded = graded
        self._fold_bn = fold_bn
        self._values = values
        self._pending: list[_Product | _Norm | _Settled] = []
        self._counts: list[Tensor] = []
        self._looks: list[Tensor] = []
        self._declared: list[_Declared] = []
        self._maps: dict[tuple[FanOut, torch.device], Tensor] = {}

    def product(self, row: Row, site: Hashable, product: Product, prepared: bool) -> Origin:
        """A synaptic operation was executed. Returns the origin of its result.

        ``prepared``: on weights alone, so that it need not be done for each sample.
        """
        operands = tuple(self._operand(o.tensor, o.fan_out, o.channel) for o in product.operands)
        pairs = None
        if product.pairs is not None and all(o.spikes is not None for o in operands):
            pairs = _put(self._counts, counting.coincidences(*product.pairs))
        origin = Origin(row.path)
        self._pending.append(_Product(row, site, operands, pairs, prepared, origin))
        return origin

    def normalisation(self, row: Row, site: Hashable, norm: Normalisation) -> None:
        """A normalisation was executed: 2 MACs per element, unless it turns out foldable."""
        record = self._tensors.find(norm.input)
        view = record.view if record and norm.affine and self._fold_bn else None
        self._pending.append(_Norm(row, site, view if view and view.dim == 1 else None))

    def tally(self, row: Row, site: Hashable, prepared: bool = False) -> None:
        """Work whose cost is known from shapes; ``prepared``: as of a product."""
        self._pending.append(_Settled(row, site, prepared))

    def declared(self, neuron: str, signal: NeuronSignal, sent: Iterable[Tensor]) -> None:
        """A neuron sent what the user says of it; this is checked when the pass is over."""
        if not self._values or signal is ANALOG:
            return
        for tensor in sent:
            if tensor.numel():
                self._declared.append(_Declared(neuron, signal, len(self._looks)))
                self._looks += counting.look(counting.strided(tensor))

    def padding(self, source: Tensor) -> Padding | None:
        """What is to be remembered of a tensor that is being padded."""
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
        numel = tensor.numel()
        if not self._values:
            return _Operand(signal, numel, fan_out)
        if not numel or not self._may_drive(signal):
            return _Operand(signal, numel, fan_out)
        record = self._tensors.find(tensor) or self._tensors.put(tensor, signal)
        tensor = counting.strided(tensor)
        binary = evidence.signal == "binary" and signal is not UNKNOWN
        spikes, events = self._count(record, tensor, fan_out, binary)
        unit = evidence.unit or Unit()
        magnitude, graded_events = None, None
        if isinstance(signal, Table) and evidence.largest <= 1:
            magnitude, graded_events = spikes, events
        elif self._graded == "ac":
            magnitude, graded_events = self._count(record, tensor, fan_out, unit)
        look = None
        if signal in (UNKNOWN, INTEGER):
            look = record.cache.get("look")
            if look is None:
                look = record.cache["look"] = len(self._looks)
                self._looks += counting.look(tensor)
        return _Operand(
            *(signal, numel, fan_out, spikes, events, magnitude, graded_events, look),
            *(record.padding, unit),
        )

    def _is_blurred(self, signal: Signal, evidence: Evidence, dtype: torch.dtype) -> bool:
        """Whether magnitudes cannot be told from values: rounded too far, or in unknown units."""
        if not isinstance(signal, Table) or not signal.scale or evidence.largest <= 1:
            return False
        rounded = evidence.largest * torch.finfo(dtype).eps > 0.25
        name = evidence.unit.scale if evidence.unit else ""
        return rounded or bool(name and self._tensors.factor(name) is None)

    def _may_drive(self, signal: Signal) -> bool:
        """Whether the row may come out as AC, so that its spikes have to be counted."""
        wanted = (*SPIKES, "graded") if self._graded == "ac" else SPIKES
        return signal is UNKNOWN or evidence_of(signal).signal in wanted

    def _count(
        self, record: Record, tensor: Tensor, fan_out: FanOut, weighting: bool | Unit
    ) -> tuple[int, int | None]:
        """Places of Σ entries and of Σ entries · fan-out (None: where it is uniform).

        ``weighting``: whether the entries are 0 and 1, or the unit of their magnitudes, which they
        are to be weighted with.
        """
        spatial = len(fan_out.spatial)
        counts = record.cache.get((weighting, spatial))
        if counts is None:
            if isinstance(weighting, Unit):
                factor = self._tensors.factor(weighting.scale) if weighting.scale else None
                size = weighting.size
                counts = counting.magnitude_per_position(tensor, spatial, size, factor)
            else:
                counts = counting.nonzero_per_position(tensor, spatial, weighting)
            record.cache[weighting, spatial] = counts
        total = record.cache.get((weighting, "total"))
        if total is None:
            total = record.cache[weighting, "total"] = _put(self._counts, counts.sum())
        if fan_out.uniform is not None:
            return total, None
        key = fan_out, counts.device
        if key not in self._maps:
            self._maps[key] = counting.fan_out_map(fan_out, counts.device)
        return total, _put(self._counts, (counts * self._maps[key]).sum())

    def settle(self, ledger: Ledger, has_states: bool) -> None:
        """Read the device and add everything to the ledger.

        Args:
            ledger: where it goes.
            has_states: buffers have changed, so what looked like weights may have been a state.

        Raises:
            SyopsValueError: a tensor that was looked at holds NaN or an infinite value; a neuron
                sent values that it was not declared to send.
        """
        counts = [int(value) for value in _read(self._counts, torch.int64)]
        looks = _read(self._looks, torch.float64)
        for declared in self._declared:
            declared.check(looks)
        products = [item for item in self._pending if isinstance(item, _Product)]
        # All of them before anything is added: the ledger has a pass whole or not at all.
        driven = {id(item): _settled_product(item, counts, looks) for item in products}
        norms = [item for item in self._pending if isinstance(item, _Norm)]
        folded = {id(norm): _folded_into(norm) for norm in norms}
        partners = Counter((path, norm.row.path) for norm in norms if (path := folded[id(norm)]))
        copies = Counter(path for path, _ in partners)
        for item in self._pending:
            match item:
                case _Product(prepared=True) | _Settled(prepared=True) if not has_states:
                    ledger.prepare(item.row, item.site)
                case _Product():
                    ledger.add(driven[id(item)], item.site)
                case _Norm():
                    path = folded[id(item)]
                    several = path is not None and copies[path] > 1
                    note = "one weight copy for each normalisation" if several else ""
                    row = item.row if path is None else item.row.folded_into(path, note)
                    ledger.add(row, item.site)
                case _Settled():
                    ledger.add(item.row, item.site)


def _put(readings: list[Tensor], value: Tensor) -> int:
    readings.append(value)
    return len(readings) - 1


def _read(readings: list[Tensor], dtype: torch.dtype) -> list[float]:
    """All values, in one transfer for each device they lie on."""
    values = [0.0] * len(readings)
    for device in {tensor.device for tensor in readings}:
        places = [i for i, tensor in enumerate(readings) if tensor.device == device]
        kept = torch.float32 if device.type == "mps" and dtype == torch.float64 else dtype
        stacked = torch.stack([readings[place].to(kept) for place in places])
        for place, value in zip(places, stacked.tolist(), strict=True):
            values[place] = value
    return values


def _settled_product(call: _Product, counts: list[int], looks: list[float]) -> Row:
    dense = call.row.dense
    drives = tuple(_drive(call.row, operand, counts, looks) for operand in call.operands)
    joint_ac, joint_events = Fraction(0), 0
    if call.pairs is not None:
        first, second = drives
        joint_ac = Fraction(first.spikes * second.spikes * dense, first.numel * second.numel)
        joint_events = counts[call.pairs]
    return call.origin.named(call.row).driven_by(drives, joint_ac, joint_events)


def _drive(row: Row, operand: _Operand, counts: list[int], looks: list[float]) -> Drive:
    seen = None
    if operand.look is not None:
        low, high, whole = looks[operand.look : operand.look + 3]
        if not (math.isfinite(low) and math.isfinite(high)):
            raise SyopsValueError(
                f"{row.path or 'the model'} ({row.operator}): its input holds NaN or infinite "
                "values; check the data, the weights and the layers before it"
            )
        seen = Seen(low, high, bool(whole))
    evidence = evidence_of(operand.signal, seen)
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


def _folded_into(norm: _Norm) -> str | None:
    """The layer it can be folded into: the one whose result it reads, and nothing else does."""
    view = norm.view
    if view is None or not all(origin.feeds_only_norms for origin in view.origins):
        return None
    return view.origins[0].path
