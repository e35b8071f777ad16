"""Price the same network as an ANN, at several precisions; find the rates that break even.

Every baseline is the ANN of Eq. (6): the network run for one time-step, every synaptic operation a
MAC, norms folded where they are in the SNN.

==========  ===================================  =================================================
baseline    a MAC at 45 nm, in pJ                source
==========  ===================================  =================================================
fp32 ANN    4.6                                  Horowitz, ISSCC 2014
int8 ANN    0.23                                 Horowitz, ISSCC 2014
b-bit QNN   3.7 (b/32)² + 0.9 b/32               b: Yan et al.; scaled down from fp32 as Spyx does
b-bit QNN   0.2 (b/8)² + 0.03 b/8                b: Yan et al.; scaled likewise, from int8
==========  ===================================  =================================================

A rate-coded SNN of T time-steps tells T + 1 values apart, and so does a quantised network (QNN) of
b = ⌈log2(T + 1)⌉ bits (Z. Yan, Z. Bai, K. Tang, W.-F. Wong, arXiv:2409.08290: the abstract of
version 4). Their constants are for 22 nm and include moving the data; they are not used here. The
cost of a multiplication grows with the square of the width and that of an addition with the width,
as Spyx reads them (github.com/kmheckel/spyx, research/new/honest_energy_accounting). Horowitz's
numbers for fp32 are of floating point, so that the two scalings differ by a factor of 2 (8 bits)
to 5 (1 bit).

An ANN that skips zeros does the MACs of activations that are not zero, and no others.

With memory, each ANN accesses what `syops.cost.memory` says, in elements of its own width. Elements
of less than 8 bits fill a byte each. What an ANN that skips zeros accesses depends on how it stores
them, which that model does not say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Self

from syops.cost.energy import EnergyModel
from syops.cost.figures import Figures
from syops.cost.memory import MemoryFigures, MemoryModel
from syops.cost.profiles import get_energy_model
from syops.cost.zeros import ZeroFigures
from syops.errors import SyopsTypeError, SyopsValueError, shown
from syops.ops.kinds import SYNAPTIC


class Precision(NamedTuple):
    """Hold what a MAC of an ANN costs, and how wide its weights and activations are.

    Attributes:
        name: such as "int8 ANN".
        bits: of a weight and of an activation.
        dtype: of both, as a row has it.
        energy: prices the operations.
    """

    name: str
    bits: int
    dtype: str
    energy: EnergyModel


@dataclass(frozen=True)
class Baseline:
    """Hold what one ANN costs per sample, and what the SNN costs beside it.

    Attributes:
        name: such as "int8 ANN", or "int8 ANN, zeros skipped".
        bits: of a weight and of an activation.
        mac_pj: what a MAC costs.
        nonzero: the share of its synaptic MACs that are done.
        energy_mj: of its arithmetic.
        memory_mj: of its arithmetic and its memory; None where zeros are skipped.
        ratio, memory_ratio: E(SNN) / E(ANN), for the arithmetic alone and with memory; None without
            data, or where MACs of the SNN have no price.
        break_even_rate, memory_break_even_rate: the mean firing rate of the SNN below which it
            needs less. Not above 0: it never does; above 1: it always does. None where nothing is
            spike-driven, MACs have no price, or classes or bounds are not known.
        source: of the price.
    """

    name: str
    bits: int
    mac_pj: float
    nonzero: float
    energy_mj: float
    memory_mj: float | None
    ratio: float | None
    memory_ratio: float | None
    break_even_rate: float | None
    memory_break_even_rate: float | None
    source: str


@dataclass(frozen=True, repr=False)
class BaselineFigures:
    """Hold what the same network costs as an ANN, at several precisions.

    Attributes:
        report: of the SNN.
        memory: what it accesses.
        nonzero: the share of activations that are not zero, where zeros are skipped too.
    """

    report: Figures
    memory: MemoryFigures
    nonzero: float | None = None

    @classmethod
    def of(cls, report: Figures, model: MemoryModel, nonzero: float | Figures | None) -> Self:
        """Return the baselines of a network; see `syops.report.report.Report.baselines`."""
        if report.ann is None or report.time_steps is None:
            raise SyopsValueError(
                "baselines need the number of time-steps, which is not known: count the network "
                "with time_steps=T (--time-steps T)"
            )
        return cls(report, MemoryFigures.of(report, model), _share(nonzero))

    @cached_property
    def rows(self) -> tuple[Baseline, ...]:
        """One for each precision; then, where ``nonzero`` is known, one each that skips zeros."""
        assert self.report.time_steps is not None
        kinds = tuple(precisions(self.report.time_steps))
        skipping = () if self.nonzero is None else tuple(self._row(k, self.nonzero) for k in kinds)
        return (*(self._row(kind) for kind in kinds), *skipping)

    @property
    def spikes_per_synapse(self) -> float | None:
        """Spikes that arrive at a spike-driven synapse per sample; see `Figures`."""
        return self.report.spikes_per_synapse

    def _row(self, precision: Precision, nonzero: float | None = None) -> Baseline:
        report, ann = self.report, self._ann(precision)
        synaptic = _millijoules(replace(ann, kinds=report.kinds & set(SYNAPTIC)))
        rest = _millijoules(replace(ann, kinds=report.kinds - set(SYNAPTIC)))
        energy = synaptic * (1.0 if nonzero is None else nonzero) + rest
        memory = None
        if nonzero is None:
            model = replace(self.memory.model, bits=None)  # an ANN has its own
            memory = energy + (MemoryFigures.of(ann, model).energy_mj or 0.0)
        ends, memory_ends = report.ec_mj, self.memory.ec_mj
        low, high = (sum(pair) for pair in zip(ends, memory_ends, strict=True))
        assert precision.energy.e_mac_pj is not None
        return Baseline(
            name=precision.name if nonzero is None else f"{precision.name}, zeros skipped",
            bits=precision.bits,
            mac_pj=precision.energy.e_mac_pj,
            nonzero=1.0 if nonzero is None else nonzero,
            energy_mj=energy,
            memory_mj=memory,
            ratio=self._ratio(report.dc_mj, energy),
            memory_ratio=self._ratio(self.memory.total_mj, memory),
            break_even_rate=self._break_even(energy, *ends),
            memory_break_even_rate=self._break_even(memory, low, high),
            source=precision.energy.source,
        )

    def _ann(self, precision: Precision) -> Figures:
        """Return the ANN with weights and activations of this precision, at its prices."""
        ann = self.report.ann
        assert ann is not None
        rows = tuple(replace(row, dtype=precision.dtype) for row in ann.rows)
        return replace(ann, rows=rows, energy=precision.energy)

    def _ratio(self, own: float | None, other: float | None) -> float | None:
        return None if own is None or not other or self.report.unpriced else own / other

    def _break_even(self, other: float | None, low: float, high: float) -> float | None:
        if other is None or self.report.break_even_rate is None:
            return None
        return (other - low) / (high - low)


def precisions(time_steps: int) -> Iterator[Precision]:
    """Yield what an ANN may compute with in place of an SNN of so many time-steps.

    >>> [(each.name, each.bits) for each in precisions(4)][::3]
    [('fp32 ANN', 32), ('3-bit QNN, from int8', 3)]
    """
    fp32, int8 = get_energy_model("horowitz45-fp32"), get_energy_model("horowitz45-int8")
    yield Precision("fp32 ANN", 32, "float32", fp32)
    yield Precision("int8 ANN", 8, "int8", int8)
    bits = qnn_bits(time_steps)
    for name, full, width in (("fp32", fp32, 32), ("int8", int8, 8)):
        yield Precision(
            f"{bits}-bit QNN, from {name}", bits, f"int{bits}", _scaled(full, bits, width)
        )


def qnn_bits(time_steps: int) -> int:
    """Return ⌈log2(T + 1)⌉, the width of a QNN that tells as many values apart as T steps do.

    >>> [qnn_bits(steps) for steps in (1, 3, 4, 7, 8)]
    [1, 2, 3, 3, 4]
    """
    return time_steps.bit_length()


def _scaled(full: EnergyModel, bits: int, width: int) -> EnergyModel:
    """Scale additions with the width, multiplications with its square."""
    assert full.e_mac_pj is not None
    share = bits / width
    add = full.e_ac_pj * share
    multiply = (full.e_mac_pj - full.e_ac_pj) * share**2
    return EnergyModel(
        f"{full.name}-to-{bits}-bit",
        add,
        add + multiply,
        source=(
            f"bits: Z. Yan et al., arXiv:2409.08290v4, abstract; cost: {full.name}, a "
            "multiplication scaled with the square of the width and an addition with the width, "
            "as Spyx (honest_energy.py) reads them"
        ),
    )


def _millijoules(figures: Figures) -> float:
    assert figures.dc_mj is not None
    return figures.dc_mj


def _share(nonzero: object) -> float | None:
    """Return a share of non-zero activations, or what an ANN's report says of it."""
    if nonzero is None:
        return None
    if isinstance(nonzero, Figures):
        return ZeroFigures.of(nonzero).nonzero_share
    if not isinstance(nonzero, int | float) or isinstance(nonzero, bool):
        raise SyopsTypeError(
            "nonzero must be the share of activations that are not zero, or a report of an ANN "
            f"that was counted with zeros=True, got {shown(nonzero)}"
        )
    if not 0 <= nonzero <= 1:
        raise SyopsValueError(f"nonzero must be a share between 0 and 1, got {shown(nonzero)}")
    return float(nonzero)
