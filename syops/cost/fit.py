"""Hold a network against the limits of a chip: what exceeds, and the least number of cores.

A layer is a synaptic row inside the totals; its neurons are the results of one time-step. A core
holds neurons with all their synapses, as cores of the chips here do, so that

* the cores of a layer are at least ceil(needed / limit) for each resource of a core, and one;
* layers that may share cores need at least ceil(sum / limit) cores together;
* on so few cores, the busiest does at least synaptic operations / cores of one layer.

A product of two activations has no weights that are stored, so that limits of weights cannot be
held against it. Padded positions count as connections, as in the dense count. Otherwise these are
lower bounds: a real mapping also needs room for routing tables, delays and biases.
Measured chips are governed by the busiest core, not by totals (Yik et al., arXiv:2511.21549).

Where each core has memories of its own (Speck), a layer lies on one core, and uses
c · 2^(ceil(log2(k_x k_y)) + ceil(log2 f)) words of its kernel memory and
f · 2^(ceil(log2 f_y) + ceil(log2 f_x)) of its neuron memory, for f features of c channels (sinabs,
``DynapcnnLayer.memory_summary``). A linear layer is a convolution with a kernel of 1x1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from syops.cost.chips import Chip
from syops.cost.figures import Figures
from syops.cost.traffic import Buffers, itemsize
from syops.errors import SyopsTypeError, SyopsValueError, shown
from syops.ledger.rows import Operations, Row, row_names
from syops.ops.kinds import PLANAR, SYNAPTIC


@dataclass(frozen=True)
class Excess:
    """Say what a layer, or the network, needs more of than there is.

    Attributes:
        limit: its name.
        needed: what would be needed.
        allowed: what there is.
    """

    limit: str
    needed: Any
    allowed: Any

    def __str__(self) -> str:
        allowed = ", ".join(self.allowed) if isinstance(self.allowed, tuple) else self.allowed
        return f"{self.limit}: {self.needed}, allowed {allowed}"


@dataclass(frozen=True)
class FitRow:
    """Hold what one layer needs of a chip.

    Attributes:
        name, operator, signal: as in the report.
        neurons: results of one time-step.
        weights: that are stored.
        synapses: connections of one time-step, each with a weight of its own where these are not
            shared.
        fan_in: synapses of a neuron.
        weight_bits: bits of a weight.
        cores: the least number of cores that it lies on; None where no limit tells.
        synops: synaptic operations of one time-step and sample, at rate 1 without data.
        synops_per_core: of the busiest of these cores, at least.
        exceeds: what it needs more of than there is.
        unknown: limits that cannot be held against it.
    """

    name: str
    operator: str
    signal: str
    neurons: int
    weights: int
    synapses: int
    fan_in: int
    weight_bits: int
    cores: int | None
    synops: float
    synops_per_core: float | None
    exceeds: tuple[Excess, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class FitFigures:
    """Hold a network against a chip.

    Attributes:
        report: the report that it was made of.
        chip: the chip.
        checked: the limits that were checked, by name.
        rows: one for each synaptic layer.
        exceeds: what all layers together need more of than there is.
        cores: the least number of cores; None where no limit tells.
    """

    report: Figures
    chip: Chip
    checked: tuple[str, ...]
    rows: tuple[FitRow, ...]
    exceeds: tuple[Excess, ...]
    cores: int | None

    @classmethod
    def of(
        cls,
        report: Figures,
        chip: Chip,
        limits: Sequence[str] = (),
        weight_bits: int | None = None,
    ) -> Self:
        """Return how a network fits; see `syops.report.report.Report.fit`."""
        if isinstance(limits, str) or not isinstance(limits, Sequence):
            raise SyopsTypeError(f"limits must be a list of names, got {shown(limits)}")
        if weight_bits is not None and (type(weight_bits) is not int or not 1 <= weight_bits <= 64):
            raise SyopsValueError(f"weight_bits must be from 1 to 64, got {weight_bits!r}")
        checked = chip.stated(tuple(limits))
        names = row_names(report.effective_rows, report.model)
        buffers = Buffers(report)
        layers = [
            _needs(name, row, operations, report, buffers, weight_bits)
            for name, row, operations in zip(
                names, report.effective_rows, report.operations, strict=True
            )
            if row.kind in report.kinds & set(SYNAPTIC)
        ]
        rows = tuple(_held(layer, chip, checked, report) for layer in layers)
        cores = _least_cores(layers, rows, chip, checked)
        exceeds = tuple(_together(layers, cores, chip, checked))
        return cls(report, chip, checked, rows, exceeds, cores)

    @property
    def fits(self) -> bool | None:
        """Whether no limit that was checked is exceeded; None if that cannot be told."""
        if self.exceeds or any(row.exceeds for row in self.rows):
            return False
        return None if any(row.unknown for row in self.rows) or not self.rows else True

    @property
    def synops_per_core(self) -> float | None:
        """Lower bound of the synaptic operations of the busiest core at one time-step."""
        known = [row.synops_per_core for row in self.rows if row.synops_per_core is not None]
        return max(known, default=None)


@dataclass(frozen=True)
class _Needs:
    """Hold what a layer needs, before it is held against a chip."""

    name: str
    row: Row
    operations: Operations
    neurons: int
    synapses: int
    fan_in: int
    weight_bits: int

    @property
    def weights(self) -> int:
        """Weights that are stored: a product of two activations has none."""
        return 0 if self.row.kind == "matmul" else self.row.weights

    @property
    def shape(self) -> tuple[int, int, int, int, int, int] | None:
        """Features, channels, kernel and output sizes; None where they are not known."""
        shape, result = self.row.weight_shape, self.row.result_shape
        if self.row.operator == "linear" and len(shape) == 2:
            channels = self.fan_in
            return self.row.weights // max(1, channels), channels, 1, 1, 1, 1
        if self.row.operator != PLANAR or len(shape) != 4 or len(result) != 3:
            return None
        return shape[0], shape[1], shape[2], shape[3], result[1], result[2]


def _one(layer: _Needs) -> int:
    return 1


def _bits(layer: _Needs) -> int:
    return layer.weight_bits


_PER_CORE: dict[str, tuple[str, Callable[[_Needs], int]]] = {
    "neurons_per_core": ("neurons", _one),
    "synapses_per_core": ("synapses", _one),
    "weight_memory_per_core": ("weights", _bits),
}
"""What a core has, by the name of the limit: the attribute of a layer, and its size."""


_OF_WEIGHTS = frozenset(
    ("weight_bits", "fan_in", "synapses_per_core", "weight_memory_per_core", "weights")
)
"""Limits of stored weights, which say nothing of a product of two activations."""


def _needs(
    name: str,
    row: Row,
    operations: Operations,
    report: Figures,
    buffers: Buffers,
    weight_bits: int | None,
) -> _Needs:
    neurons = buffers.results(row)
    steps = row.written // neurons if neurons else 1
    return _Needs(
        name,
        row,
        operations,
        neurons,
        -(-row.dense // max(1, steps)),
        -(-row.dense // max(1, row.written)),
        weight_bits or 8 * itemsize(row.dtype),
    )


def _held(layer: _Needs, chip: Chip, checked: tuple[str, ...], report: Figures) -> FitRow:
    found = [_excess(layer, name, chip.limits[name]) for name in checked]
    counts = [
        -(-getattr(layer, of) * scale(layer) // chip.limits[name])
        for name, (of, scale) in _PER_CORE.items()
        if name in checked
    ]
    memories = "kernel_memory" in checked or "neuron_memory" in checked
    cores = max(1, *counts) if counts else 1 if memories else None
    done = layer.operations.ac_events + layer.operations.mac
    synops = (done if report.measured else layer.row.dense) / report.samples
    synops /= report.time_steps or 1
    return FitRow(
        layer.name,
        layer.row.operator,
        layer.operations.signal,
        layer.neurons,
        layer.weights,
        layer.synapses,
        layer.fan_in,
        layer.weight_bits,
        cores,
        synops,
        None if cores is None else synops / cores,
        tuple(each for each in found if isinstance(each, Excess)),
        tuple(each for each in found if isinstance(each, str)),
    )


def _excess(layer: _Needs, name: str, allowed: Any) -> Excess | str | None:
    """Return what exceeds; the name of the limit where that cannot be told."""
    if layer.row.kind == "matmul" and name in _OF_WEIGHTS:
        return name
    if name == "operators":
        one = layer.row.operator
        return None if one in allowed else Excess(name, one, tuple(allowed))
    if name == "signals":
        one = layer.operations.signal
        if one == "unknown":
            return name
        return None if one in allowed else Excess(name, one, tuple(allowed))
    if name in ("weight_bits", "fan_in"):
        needed = getattr(layer, name)
        return Excess(name, needed, allowed) if needed > allowed else None
    if name not in ("kernel_size", "features", "feature_size", "kernel_memory", "neuron_memory"):
        return None
    if layer.shape is None:
        return name
    features, _, height, width, high, wide = layer.shape
    needed = {
        "kernel_size": max(height, width),
        "features": features,
        "feature_size": max(high, wide),
        "kernel_memory": kernel_memory(layer.shape),
        "neuron_memory": neuron_memory(layer.shape),
    }[name]
    most = max(allowed) if isinstance(allowed, list | tuple) else allowed
    return Excess(name, needed, most) if needed > most else None


def kernel_memory(shape: tuple[int, int, int, int, int, int]) -> int:
    """Return the words that a layer uses of the kernel memory of its core."""
    features, channels, height, width, _, _ = shape
    return channels * 2 ** (_log2(height * width) + _log2(features))


def neuron_memory(shape: tuple[int, int, int, int, int, int]) -> int:
    """Return the words that a layer uses of the neuron memory of its core."""
    features, _, _, _, high, wide = shape
    return features * 2 ** (_log2(high) + _log2(wide))


def _log2(number: int) -> int:
    """Return the logarithm, rounded up."""
    return max(0, number - 1).bit_length()


def _least_cores(
    layers: Sequence[_Needs], rows: Sequence[FitRow], chip: Chip, checked: tuple[str, ...]
) -> int | None:
    """Return the least number of cores; None where no limit tells."""
    known = [row.cores for row in rows if row.cores is not None]
    if len(known) < len(rows) or not known:
        return None
    if not chip.shares_cores:
        return sum(known)
    needed = (
        -(-_total(layers, of, scale) // chip.limits[name])
        for name, (of, scale) in _PER_CORE.items()
        if name in checked
    )
    return max(*needed, *known)


def _total(layers: Sequence[_Needs], of: str, scale: Callable[[_Needs], int]) -> int:
    """Return the sum over all layers; of weights that several rows apply, once."""
    if of == "weights":
        layers = list({layer.row.layer: layer for layer in layers}.values())
    return sum(getattr(layer, of) * scale(layer) for layer in layers)


def _together(
    layers: Sequence[_Needs], cores: int | None, chip: Chip, checked: tuple[str, ...]
) -> Iterator[Excess]:
    """Yield what all layers together need more of than there is."""
    for name in ("neurons", "weights"):
        if name in checked:
            needed = _total(layers, name, _one)
            if needed > chip.limits[name]:
                yield Excess(name, needed, chip.limits[name])
    if {"kernel_memory", "neuron_memory"} <= set(checked):
        placed = _placed(layers, chip)
        if placed < len(layers):
            yield Excess("layers with a core large enough", len(layers), placed)
    elif "cores" in checked and cores is not None and cores > chip.limits["cores"]:
        yield Excess("cores", cores, chip.limits["cores"])


def _placed(layers: Sequence[_Needs], chip: Chip) -> int:
    """Return how many layers can each have a core that is large enough: a maximum matching."""
    sizes = list(zip(chip.limits["kernel_memory"], chip.limits["neuron_memory"], strict=True))
    wanted = [
        []
        if layer.shape is None
        else [
            core
            for core, (kernel, neurons) in enumerate(sizes)
            if kernel_memory(layer.shape) <= kernel and neuron_memory(layer.shape) <= neurons
        ]
        for layer in layers
    ]
    taken: dict[int, int] = {}

    def place(layer: int, met: set[int]) -> bool:
        for core in wanted[layer]:
            if core not in met:
                met.add(core)
                if core not in taken or place(taken[core], met):
                    taken[core] = layer
                    return True
        return False

    return sum(place(layer, set()) for layer in range(len(layers)))
