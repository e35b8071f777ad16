"""Price the rows of a report exactly."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from syops.cost.energy import Energy, EnergyMap, EnergyModel
from syops.ledger.rows import Operations, Row
from syops.ops.kinds import SYNAPTIC

PJ_PER_MJ = 10**9


@dataclass(frozen=True)
class Price:
    """Hold the exact energy of one row over all samples, in pJ.

    Attributes:
        dc: at the spikes that were counted.
        low, high: at the firing rates 0 and 1. What does not depend on spikes is in both; what may
            be ACs or MACs is the dearer of the two in ``high``, which is infinite where no bound
            is known.
        unpriced: MACs that have no price, and are in none of them.
    """

    dc: Fraction
    low: Fraction
    high: Fraction | float
    unpriced: int = 0

    def __add__(self, other: Price) -> Price:
        return Price(
            self.dc + other.dc,
            self.low + other.low,
            self.high + other.high,
            self.unpriced + other.unpriced,
        )


NOTHING = Price(Fraction(0), Fraction(0), Fraction(0))


def millijoules(picojoules: Fraction | float, samples: int) -> float:
    """Divide by the number of samples; round once."""
    return float(picojoules / (samples * PJ_PER_MJ))


def price(row: Row, operations: Operations, energy: Energy, events: bool) -> Price:
    """Price a row.

    Args:
        row: the row.
        operations: its class, and what follows from it.
        energy: what prices it.
        events: whether the fan-out of every spike is priced, instead of rate · dense.
    """
    model = energy.model_for(row.path, row.dtype)
    mac, kind = operations.mac, row.kind
    ac = operations.ac_events if events else operations.ac
    fixed = 0 if kind in SYNAPTIC else ac
    certain = mac - operations.either
    return Price(
        model.price_pj(kind, ac, mac, operations.spikes),
        model.price_pj(kind, fixed, certain),
        max(_at_most(model, kind, operations), model.price_pj(kind, fixed, mac)),
        mac if model.mac_price(kind) is None else 0,
    )


def _at_most(model: EnergyModel, kind: str, operations: Operations) -> Fraction | float:
    """Return the energy at rate 1, what may be ACs or MACs being ACs."""
    ac = operations.dense_ac
    if not math.isfinite(ac):
        return math.inf if model.e_ac_pj else model.price_pj(kind, 0, operations.mac)
    return model.price_pj(kind, ac, operations.mac - operations.either, operations.max_spikes)


def check_energy(energy: Energy, rows: Iterable[Row]) -> None:
    """Refuse patterns that match no row, and rows that no pattern matches.

    Raises:
        SyopsValueError: names the pattern or the layer.
    """
    if isinstance(energy, EnergyMap):
        energy.check([(row.path, row.dtype) for row in rows])
