"""Define what a report says of one row, and of all rows together."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from syops.cost.pricing import Price, millijoules
from syops.ledger.rows import Row, Verdict


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


@dataclass(frozen=True)
class Layer:
    """Hold one row of a report, with counts and energy per sample.

    Attributes:
        name: the module's path, with the operator where one module has several rows.
        path: the module's path, "" for the model itself.
        kind: "conv", "linear", "matmul", "recurrent"; "norm"; or, outside the totals unless
            asked for, "neuron", "add", "pool", "activation", "elementwise".
        operator: what was executed, such as "conv2d".
        signal: class of the input: "binary", "ternary", "scaled", "graded", "analog"; "unknown"
            without data, where it may be of any; "" for rows that are not synaptic.
        calls: how often it was executed, over all samples.
        params: number of parameters of the module, told by its first row.
        rate: firing rate of the input, None where it is not a spike tensor.
        dense: what a dense engine would do.
        ac: accumulates, firing rate · dense.
        ac_events: accumulates, the fan-out of every single spike.
        mac: multiply-accumulates.
        dc_mj: energy in mJ, at ``ac`` or ``ac_events`` as the conventions say.
        share: of the network's DC.
        dense_ac: accumulates at firing rate 1.
        ec_mj: energy in mJ at the firing rates 0 and 1; infinite where no bound is known.
        folded: the layer into which this normalisation was folded.
        counted: whether it is inside the totals.
        note: what a reader should know about it.
        unpriced: multiply-accumulates that have no price.

    Where nothing was measured, rate, ac, ac_events, dc_mj and share are None. Where MACs have
    no price, dc_mj and share are None, and ec_mj leaves them out.
    """

    name: str
    path: str
    kind: str
    operator: str
    signal: str
    calls: int
    params: int
    rate: float | None
    dense: float
    ac: float | None
    ac_events: float | None
    mac: float
    dc_mj: float | None
    share: float | None
    dense_ac: float
    ec_mj: tuple[float, float]
    folded: str | None
    counted: bool
    note: str = ""
    unpriced: float = 0.0


def layer_of(
    name: str,
    row: Row,
    verdict: Verdict,
    cost: Price,
    samples: int,
    counted: bool,
    measured: bool,
    whole: Fraction,
) -> Layer:
    """Return what a report says of a row.

    Args:
        name: its name in the report.
        row, verdict, cost: what was counted, what follows from it, and what it costs.
        samples: those of the report.
        counted: whether it is inside the totals.
        measured: whether spikes were counted.
        whole: the network's energy over all samples in pJ.
    """
    rate, ac, events, energy, share = None, None, None, None, None
    if measured:
        rate = None if verdict.rate is None else float(verdict.rate)
        ac, events = float(verdict.ac / samples), verdict.ac_events / samples
        if not cost.unpriced:
            energy = millijoules(cost.dc, samples)
            share = float(cost.dc / whole) if counted and whole else 0.0
    return Layer(
        name=name,
        path=row.path,
        kind=row.kind,
        operator=row.operator,
        signal=verdict.signal,
        calls=row.calls,
        params=row.params,
        rate=rate,
        dense=row.dense / samples,
        ac=ac,
        ac_events=events,
        mac=verdict.mac / samples,
        dc_mj=energy,
        share=share,
        dense_ac=verdict.dense_ac / samples,
        ec_mj=(millijoules(cost.low, samples), millijoules(cost.high, samples)),
        folded=row.folded,
        counted=counted,
        note=row.note,
        unpriced=cost.unpriced / samples,
    )
