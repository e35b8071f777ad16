"""Model what a network reads and writes and what that costs, beside the arithmetic.

The model is that of E. Lemaire et al., An analytical estimation of spiking neural networks energy
efficiency, ICONIP 2022, doi:10.1007/978-3-031-30105-6_48, arXiv:2210.13107, Eqs. (3) to (15). Every
layer has one buffer each for its weights, its inputs, its outputs and the states of its neurons.
There are no caches: each operation fetches what it needs.

========  ============================  ===================  ==========================
accesses  a layer driven by spikes      any other layer      a neuron
========  ============================  ===================  ==========================
weights   read: fan-out of each spike   read: MACs
inputs    each spike: written and read  read: MACs (convolution), else each once
states    fan-out of each spike: read                        each update: read, written
          and written
outputs                                 each written once
========  ============================  ===================  ==========================

The energy is the sum of accesses · bytes · e(size of the buffer) over all buffers, where e is
linear between the points of a `MemoryModel`.

Fan-outs are exact: a spike beside the border reaches fewer synapses. (The paper counts the whole
kernel.) A product of two spike tensors reads the fan-out of its first operand's spikes, and updates
where spikes coincide. Each layer that a spike goes to has the spike in a queue of its own. Biases
are not read, as adding them is not counted. A norm that is not folded reads two parameters for each
value. Pooling, residual adds, activations and neurons written in plain torch are left out: their
values need not leave the register in which they are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Self

from syops.cost.energy import LARGEST
from syops.cost.figures import Figures
from syops.cost.pricing import millijoules
from syops.cost.traffic import Buffers, Part, itemsize, traffic
from syops.errors import SyopsTypeError, SyopsValueError, shown
from syops.ledger.rows import row_names

_NOTHING = Fraction(0)

KIB = 1024
MIB = 1024 * KIB

WIDTHS = (8, 16, 32, 64)
"""Bits that an element may be said to have."""


@dataclass(frozen=True)
class MemoryModel:
    """Price an access by the size of the memory.

    Attributes:
        points: pairs of a size in bytes and a price in pJ per byte, the smallest size first.
            Between two points the price lies on a straight line. Above the last point it is
            constant, as a larger memory is taken for several banks of that size. By
            default SRAM at 45 nm: 10, 20 and 100 pJ for 8 bytes from 8 KiB, 32 KiB and 1 MiB
            (Horowitz, ISSCC 2014), and 0 pJ at size 0.
        message_bytes: bytes of a spike in the queue of a layer.
        queue: spikes that a queue (FIFO) holds; 1000 in Lemaire et al. With 0 there is no queue,
            and its accesses have the price at size 0.
        bits: bits of a weight, a value and a state: 8, 16, 32 or 64. None: those of their dtype.

    Raises:
        SyopsTypeError, SyopsValueError: points whose sizes do not rise or whose prices are
            negative, a message of less than a byte, a queue of less than 0, or other bits.

    Examples:
        >>> dram = MemoryModel(points=((0, 162.5),))  # 1.3 nJ for 8 bytes, whatever the size
        >>> float(dram.pj_per_byte(MIB))
        162.5
    """

    points: tuple[tuple[float, float], ...] = (
        (0, 0.0),
        (8 * KIB, 1.25),
        (32 * KIB, 2.5),
        (MIB, 12.5),
    )
    message_bytes: int = 4
    queue: int = 1000
    bits: int | None = None

    def __post_init__(self) -> None:
        try:
            points = tuple((float(size), float(cost)) for size, cost in self.points)
        except (TypeError, ValueError, OverflowError) as error:
            raise SyopsTypeError(
                "memory model: points must be pairs of bytes and pJ per byte, got "
                f"{shown(self.points)}"
            ) from error
        values = [value for point in points for value in point]
        rising = all(left[0] < right[0] for left, right in pairwise(points))
        if not points or not rising or not all(0 <= value <= LARGEST for value in values):
            raise SyopsValueError(
                "memory model: points must be pairs of bytes and pJ per byte, at least 0 and at "
                f"most {LARGEST:g}, the smallest size first, got {shown(self.points)}"
            )
        for name, least in (("message_bytes", 1), ("queue", 0)):
            size = getattr(self, name)
            if not isinstance(size, int) or isinstance(size, bool) or not least <= size <= LARGEST:
                raise SyopsValueError(
                    f"memory model: {name} must be an integer, at least {least} and at most "
                    f"{LARGEST:g}, got {shown(size)}"
                )
        if self.bits is not None and self.bits not in WIDTHS:
            raise SyopsValueError(
                "memory model: bits must be 8, 16, 32 or 64, or None for those of the dtype, got "
                f"{shown(self.bits)}"
            )
        object.__setattr__(self, "points", points)

    def bytes_each(self, dtype: str) -> int:
        """Return the bytes of an element that the simulation holds in a dtype."""
        return itemsize(dtype) if self.bits is None else self.bits // 8

    def pj_per_byte(self, size: int) -> Fraction:
        """Return the exact cost of one byte from a memory of ``size`` bytes."""
        points = [(Fraction(repr(at)), Fraction(repr(cost))) for at, cost in self.points]
        if size <= points[0][0]:
            return points[0][1]
        for (left, low), (right, high) in pairwise(points):
            if size <= right:
                return low + (high - low) * (size - left) / (right - left)
        return points[-1][1]


@dataclass(frozen=True)
class Access:
    """Hold the accesses to one buffer of a layer, per sample; None without data.

    Attributes:
        reads, writes: how often.
        bytes_each: how much at a time.
        buffer: size of the buffer in bytes.
    """

    reads: float | None
    writes: float | None
    bytes_each: int
    buffer: int

    @property
    def count(self) -> float | None:
        if self.reads is None or self.writes is None:
            return None
        return self.reads + self.writes

    @property
    def bytes(self) -> float | None:
        return None if self.count is None else self.count * self.bytes_each


@dataclass(frozen=True)
class MemoryRow:
    """Hold what one row of a report accesses, per sample.

    Attributes:
        name, path, kind, signal: as in the report.
        weights, inputs, states, outputs: accesses to each of its buffers.
        energy_mj: in mJ, None without data.
        ec_mj: at the firing rates 0 and 1.
    """

    name: str
    path: str
    kind: str
    signal: str
    weights: Access
    inputs: Access
    states: Access
    outputs: Access
    energy_mj: float | None
    ec_mj: tuple[float, float]

    @property
    def accesses(self) -> tuple[Access, ...]:
        return self.weights, self.inputs, self.states, self.outputs

    @property
    def bytes(self) -> float | None:
        known = [access.bytes for access in self.accesses]
        return None if None in known else sum(known)  # type: ignore[arg-type]


@dataclass(frozen=True, repr=False)
class MemoryFigures:
    """Hold the accesses of a network to memory, and what they cost.

    Attributes:
        report: the report that it was made of.
        model: what an access costs.
        rows: one for each row of the report that accesses memory, in its order.
        exact: (measured, at firing rate 0, at firing rate 1): the energy over all samples in pJ.
    """

    report: Figures
    model: MemoryModel
    rows: tuple[MemoryRow, ...]
    exact: tuple[Fraction, Fraction, Fraction]

    @classmethod
    def of(cls, report: Figures, model: MemoryModel) -> Self:
        """Return what a network accesses; see `syops.report.report.Report.memory`."""
        if not isinstance(model, MemoryModel):
            raise SyopsTypeError(f"memory: expected a MemoryModel, got {type(model).__name__}")
        buffers = Buffers(report)
        rows, sums = [], (_NOTHING, _NOTHING, _NOTHING)
        names = row_names(report.effective_rows, report.model)
        for name, row, operations in zip(
            names, report.effective_rows, report.operations, strict=True
        ):
            each = model.bytes_each(row.dtype)
            ways = traffic(row, operations, buffers, each, model.message_bytes, model.queue)
            if not ways or row.kind not in report.kinds | {"neuron"}:
                continue
            now, *ends = (
                [sum((_price(part, level, model) for part in way), _NOTHING) for way in ways]
                for level in range(3)
            )
            low, high = min(ends[0]), max(ends[1])
            sums = sums[0] + now[0], sums[1] + low, sums[2] + high
            weights, inputs, states, outputs = (
                _access(parts, report) for parts in zip(*ways, strict=True)
            )
            rows.append(
                MemoryRow(
                    name,
                    row.path,
                    row.kind,
                    operations.signal,
                    weights,
                    inputs,
                    states,
                    outputs,
                    millijoules(now[0], report.samples) if report.measured else None,
                    (millijoules(low, report.samples), millijoules(high, report.samples)),
                )
            )
        return cls(report, model, tuple(rows), sums)

    @property
    def energy_mj(self) -> float | None:
        """Energy of all accesses in mJ per sample; None without data."""
        return millijoules(self.exact[0], self.report.samples) if self.report.measured else None

    @property
    def ec_mj(self) -> tuple[float, float]:
        """The same at the firing rates 0 and 1."""
        _, low, high = self.exact
        return millijoules(low, self.report.samples), millijoules(high, self.report.samples)

    @property
    def total_mj(self) -> float | None:
        """Arithmetic and memory together: the report's DC, and `energy_mj`."""
        dc, own = self.report.dc_mj, self.energy_mj
        return None if dc is None or own is None else dc + own

    @property
    def bytes(self) -> float | None:
        """Bytes that are read and written per sample; None without data."""
        known = [row.bytes for row in self.rows]
        return None if None in known else sum(known)  # type: ignore[arg-type]

    @property
    def counted_twice(self) -> str:
        """Why memory may be counted twice, which stands before the figures; "" if it is not."""
        whole = more_than_arithmetic(self.report)
        return whole and (
            f"A synaptic operation of {whole} is more than arithmetic; with the memory model some "
            "of it is counted twice"
        )

    @cached_property
    def ann(self) -> Self | None:
        """The accesses of the same network as an ANN; None where T is not known."""
        return None if self.report.ann is None else self.of(self.report.ann, self.model)

    @property
    def energy_ratio(self) -> float | None:
        """E(SNN) / E(ANN), arithmetic and memory together; None where either is not known."""
        ann = self.ann.total_mj if self.ann else None
        if self.report.energy_ratio is None or self.total_mj is None or not ann:
            return None
        return self.total_mj / ann

    @property
    def break_even_rate(self) -> float | None:
        """`Report.break_even_rate`, arithmetic and memory together."""
        if self.ann is None or self.ann.total_mj is None or self.report.break_even_rate is None:
            return None
        low, high = (sum(ends) for ends in zip(self.ec_mj, self.report.ec_mj, strict=True))
        return (self.ann.total_mj - low) / (high - low)


def more_than_arithmetic(report: Figures) -> str:
    """Return the profiles of a report whose figures take in more than arithmetic, by name."""
    return ", ".join(model.name for model in report.energy.models if model.e_mac_pj is None)


def _price(part: Part, level: int, model: MemoryModel) -> Fraction:
    return model.pj_per_byte(part.buffer) * part.bytes_each * part.count(level)


def _access(ways: Sequence[Part], report: Figures) -> Access:
    """Return accesses per sample; those that do not depend on spikes are known without data."""
    part = ways[0]
    reads, writes = (
        levels[0] / report.samples if report.measured or levels[1] == levels[2] else None
        for levels in (part.reads, part.writes)
    )
    if any(way != part for way in ways):
        reads = writes = None
    return Access(reads, writes, part.bytes_each, part.buffer)
