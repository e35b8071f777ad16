"""Define what a report says of one row, of several added up, and of all rows together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from typing import Any, TypeAlias

from syops.cost.pricing import Price, millijoules
from syops.ledger.rows import Operations, Row


@dataclass(frozen=True)
class Totals:
    """Hold exact sums over all samples; ``ac`` is a fraction.

    ``spikes`` are those that reach synaptic rows, ``max_spikes`` those that would at rate 1;
    ``either`` the operations that may be ACs or MACs, in ``mac`` and in ``dense_ac``.
    """

    ac: Fraction
    ac_events: int
    mac: int
    dense_ac: int | float
    spikes: int
    max_spikes: int
    either: int = 0


# --- what a block says of its layers --------------------------------------------------------------

Joined: TypeAlias = Mapping[str, Callable[[Sequence[Any], Sequence["Layer"]], Any]]
"""How a field of a block follows from the values of that field in its layers, and from these."""

_BLOCK = "of a block"


def _known(values: Sequence[Any], members: Sequence[Layer]) -> Any:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _mean(values: Sequence[Any], members: Sequence[Layer]) -> float | None:
    pairs = zip(values, members, strict=True)
    rated = [(value, m.dense) for value, m in pairs if value is not None and m.dense]
    weight = sum(dense for _, dense in rated)
    return sum(value * dense for value, dense in rated) / weight if rated else None


def _common(values: Sequence[str], members: Sequence[Layer]) -> str:
    different = set(values) - {""}
    return different.pop() if len(different) == 1 else "mixed" if different else ""


FIRST: Joined = {_BLOCK: lambda values, _: values[0]}
"""The value of the first layer."""
SUM: Joined = {_BLOCK: lambda values, _: sum(values)}
"""The sum over all layers."""
SUM_OF_KNOWN: Joined = {_BLOCK: _known}
"""The sum over the layers that have a value; None where none has one."""
SUM_OF_ENDS: Joined = {_BLOCK: lambda values, _: tuple(map(sum, zip(*values, strict=True)))}
"""The sums of the lower and of the upper ends."""
MEAN: Joined = {_BLOCK: _mean}
"""The mean over the layers that have a value, weighted with their dense counts."""
COMMON: Joined = {_BLOCK: _common}
"""The text that all layers with one have in common, or "mixed"."""
SAME: Joined = {_BLOCK: lambda values, _: values[0] if len(set(values)) == 1 else None}
"""The value, where it is the same for all layers; None elsewhere."""
ALL: Joined = {_BLOCK: lambda values, _: "; ".join(dict.fromkeys(filter(None, values)))}
"""Every text, once."""


@dataclass(frozen=True)
class Layer:
    """Hold one row of a report, or a block of several rows, with counts and energy per sample.

    Attributes:
        name: the module's path, with the operator where one module has several rows.
        path: the module's path, "" for the model itself.
        kind: "conv", "linear", "matmul", "recurrent"; "norm"; or, outside the totals unless
            asked for, "neuron", "add", "pool", "activation", "elementwise".
        operator: what was executed, such as "conv2d".
        signal: class of the input: "binary", "ternary", "scaled", "graded" or "analog"; "unknown"
            if it depends on data that there is not; "" for rows that are not synaptic.
        calls: how often it was executed, over all samples.
        params: number of parameters of the module, in its first row.
        rate: firing rate of the input; None if it is not a spike tensor.
        dense: operations of a dense engine.
        ac: accumulates: firing rate · dense.
        ac_events: accumulates: the sum of the fan-outs of all spikes.
        mac: multiply-accumulates.
        dc_mj: energy in mJ, at ``ac`` or ``ac_events`` as the conventions say.
        share: share of the network's DC.
        dense_ac: accumulates at firing rate 1.
        ec_mj: energy in mJ at the firing rates 0 and 1; infinite if there is no bound.
        folded: the layer into which this norm was folded; None if it was not.
        counted: whether the row is inside the totals.
        note: what a reader should know about the row.
        unpriced: multiply-accumulates that have no price.
        rates: ``rate`` at each time-step; None if it is not known which entries of the input
            belong to which time-step, or if the layers of a block differ.

    If nothing was measured, rate, ac, ac_events, dc_mj and share are None. If MACs have no price,
    dc_mj and share are None, and ec_mj leaves these MACs out.
    """

    name: str = field(metadata=FIRST)
    path: str = field(metadata=FIRST)
    kind: str = field(metadata=COMMON)
    operator: str = field(metadata=COMMON)
    signal: str = field(metadata=COMMON)
    calls: int = field(metadata=SUM)
    params: int = field(metadata=SUM)
    rate: float | None = field(metadata=MEAN)
    dense: float = field(metadata=SUM)
    ac: float | None = field(metadata=SUM_OF_KNOWN)
    ac_events: float | None = field(metadata=SUM_OF_KNOWN)
    mac: float = field(metadata=SUM)
    dc_mj: float | None = field(metadata=SUM_OF_KNOWN)
    share: float | None = field(metadata=SUM_OF_KNOWN)
    dense_ac: float = field(metadata=SUM)
    ec_mj: tuple[float, float] = field(metadata=SUM_OF_ENDS)
    folded: str | None = field(metadata=SAME)
    counted: bool = field(metadata=SAME)
    note: str = field(default="", metadata=ALL)
    unpriced: float = field(default=0.0, metadata=SUM)
    rates: tuple[float, ...] | None = field(default=None, metadata=SAME)


_SILENT = [each.name for each in fields(Layer) if _BLOCK not in each.metadata]
assert not _SILENT, f"say how fields of Layer add up over a block: {', '.join(_SILENT)}"
_JOINED = {each.name: each.metadata[_BLOCK] for each in fields(Layer)}


def block_of(name: str, path: str, members: Sequence[Layer]) -> Layer:
    """Add layers up into one.

    Args:
        name, path: of the block.
        members: its layers, all inside the totals or all outside.
    """
    if len(members) == 1:
        return replace(members[0], name=name, path=path)
    values = {
        key: joined([getattr(member, key) for member in members], members)
        for key, joined in _JOINED.items()
    }
    return Layer(**values | {"name": name, "path": path})


def layer_of(
    name: str,
    row: Row,
    operations: Operations,
    cost: Price,
    samples: int,
    counted: bool,
    measured: bool,
    whole: Fraction,
    time_steps: int | None,
) -> Layer:
    """Return what a report says of a row.

    Args:
        name: its name in the report.
        row, operations, cost: what was counted, what follows from it, and what it costs.
        samples: those of the report.
        counted: whether it is inside the totals.
        measured: whether spikes were counted.
        whole: the network's energy over all samples in pJ.
        time_steps: T, as it is known or as all rates by time-step have it.
    """
    rate, ac, events, energy, share = None, None, None, None, None
    if measured:
        rate = None if operations.rate is None else float(operations.rate)
        ac, events = float(operations.ac / samples), operations.ac_events / samples
        if not cost.unpriced:
            energy = millijoules(cost.dc, samples)
            share = float(cost.dc / whole) if counted and whole else 0.0
    return Layer(
        name=name,
        path=row.path,
        kind=row.kind,
        operator=row.operator,
        signal=operations.signal,
        calls=row.calls,
        params=row.params,
        rate=rate,
        dense=row.dense / samples,
        ac=ac,
        ac_events=events,
        mac=operations.mac / samples,
        dc_mj=energy,
        share=share,
        dense_ac=operations.dense_ac / samples,
        ec_mj=(millijoules(cost.low, samples), millijoules(cost.high, samples)),
        folded=row.folded,
        counted=counted,
        note=row.note,
        unpriced=cost.unpriced / samples,
        rates=_rates(operations, time_steps) if measured else None,
    )


def _rates(operations: Operations, time_steps: int | None) -> tuple[float, ...] | None:
    """Return the rate at each time-step; None where these are not the T of the network."""
    if operations.rates is None or len(operations.rates) != time_steps:
        return None
    return tuple(map(float, operations.rates))
