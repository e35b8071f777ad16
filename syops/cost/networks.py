"""Put the figures of networks side by side."""

from __future__ import annotations

from dataclasses import dataclass

from syops.cost.figures import Figures


@dataclass(frozen=True)
class ComparisonRow:
    """Hold one network's figures per sample, with energies in mJ; None is an unknown one.

    Attributes:
        name: of the network.
        network_type: "FSNN", "MPSNN", "ANN" or "unknown".
        accuracy: as its report has it, 0 to 1.
        time_steps: T.
        params: number of its parameters.
        mean_rate: firing rate that its spike-driven synapses see on average.
        ec_mj: EC, the energy at firing rates 0 and 1.
        ac: O_ac, as it is priced. Known without data where no synapse gets spikes.
        dense_ac: O_ac at firing rate 1.
        mac: O_mac.
        dc_mj: DC. Known without data where EC has one value.
        ratio: DC over the energy of what it is compared with; None where MACs have no price.
        ec_ratio: EC over the same.
        measured: whether its spikes were counted.
        unpriced: its MACs that have no price: ``dc_mj`` and ``ec_mj`` leave them out.
    """

    name: str
    network_type: str
    accuracy: float | None
    time_steps: int | None
    params: int
    mean_rate: float | None
    ec_mj: tuple[float, float]
    ac: float | None
    dense_ac: float
    mac: float
    dc_mj: float | None
    ratio: float | None
    ec_ratio: tuple[float, float] | None
    measured: bool
    unpriced: float = 0.0


def row_of(name: str, figures: Figures, reference: float | None) -> ComparisonRow:
    def over(energy: float) -> float:
        assert reference
        return energy / reference

    dc = dc_mj(figures)
    low, high = figures.ec_mj
    reference = None if figures.unpriced else reference
    return ComparisonRow(
        name=name,
        network_type=figures.network_type,
        accuracy=figures.accuracy,
        time_steps=figures.time_steps,
        params=figures.params,
        mean_rate=figures.mean_rate,
        ec_mj=figures.ec_mj,
        ac=o_ac(figures),
        dense_ac=figures.dense_ac,
        mac=figures.mac,
        dc_mj=dc,
        ratio=over(dc) if reference and dc is not None else None,
        ec_ratio=(over(low), over(high)) if reference else None,
        measured=figures.measured,
        unpriced=figures.unpriced,
    )


def dc_mj(figures: Figures) -> float | None:
    """Return DC in mJ; without data, the value of EC if it does not depend on firing rates."""
    low, high = figures.ec_mj
    return low if not figures.measured and low == high else figures.dc_mj


def o_ac(figures: Figures) -> float | None:
    """Return O_ac as it is priced; without data, 0 if no synapse gets spikes."""
    return figures.priced_ac if figures.measured or figures.dense_ac else 0.0
