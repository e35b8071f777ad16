"""Work out the figures of a network: per sample, against the ANN, and whether it is full-spike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Self

from syops.cost.counts import Counts
from syops.cost.layer import Layer
from syops.cost.pricing import millijoules
from syops.ledger.rows import ends
from syops.ops.kinds import SPIKES, SYNAPTIC


@dataclass(frozen=True, repr=False)
class Figures(Counts):
    """The counts of a network, and all figures that follow from them."""

    # Headline figures, per sample

    @property
    def ac(self) -> float | None:
        """O_ac: accumulates per sample, Σ firing rate · dense.

        Conventions with ``ac="events"`` print and price `ac_events` instead; `priced_ac` is the one
        that holds.
        """
        return float(self.totals.ac / self.samples) if self.measured else None

    @property
    def ac_events(self) -> float | None:
        """Accumulates per sample, counting the fan-out of every single spike."""
        return self.totals.ac_events / self.samples if self.measured else None

    @property
    def priced_ac(self) -> float | None:
        """The O_ac that tables print and the DC prices: `ac` or `ac_events`, by the convention."""
        return self.ac_events if self.convention.ac == "events" else self.ac

    @property
    def mac(self) -> float:
        """O_mac: multiply-accumulates per sample."""
        return self.totals.mac / self.samples

    @property
    def dense_ac(self) -> float:
        """What `ac` would be if every neuron fired at every time-step."""
        return self.totals.dense_ac / self.samples

    @property
    def dc_mj(self) -> float | None:
        """Dynamic consumption in mJ per sample, Eq. (7): E_ac · O_ac + E_mac · O_mac.

        O_ac is `priced_ac`, O_mac is `mac`. MACs without a price are left out; `warnings` names
        their layers.
        """
        return self._mj(self._sums.dc) if self.measured else None

    @property
    def ec_mj(self) -> tuple[float, float]:
        """Estimated consumption in mJ per sample, Eq. (15): the energy at firing rates 0 and 1.

        Without data, operations that may be ACs or MACs are left out of the lower end, and have
        the higher of the two prices in the upper end. The upper end is infinite if integers without
        a bound count as ACs (``graded="ac"``); it is printed as "none", and is null in JSON.
        """
        return self._mj(self._sums.low), self._mj(self._sums.high)

    @property
    def unpriced(self) -> float:
        """Multiply-accumulates per sample that have no price: DC and EC leave them out."""
        return self._sums.unpriced / self.samples

    @property
    def complete(self) -> bool:
        """Whether syops had a rule for every operator that was executed.

        The totals of an incomplete report may be too small or too large.
        """
        return not self.unaccounted

    @property
    def mean_rate(self) -> float | None:
        """Mean firing rate of all spike-driven synapses.

        It is `ac` / `dense_ac` of the synaptic rows inside the totals. None without data, or if
        nothing is spike-driven.
        """
        counted = self._of(self.kinds & set(SYNAPTIC))
        dense = sum(each.dense_ac for each in counted)
        if not self.measured or not dense:
            return None
        return float(sum((each.ac for each in counted), Fraction(0)) / dense)

    @property
    def spikes_per_synapse(self) -> float | None:
        """Mean number of spikes that arrive at a spike-driven synapse, per sample.

        It is the sum of all fan-outs over the number of connections, where a weight of a
        convolution counts once for each position of the output. None without data, if T is not
        known, if nothing is spike-driven, or if one time-step does not execute every spike-driven
        row.
        """
        if not self.measured or self.ann is None:
            return None
        step = {row.key: row for row in self.ann.rows}
        driven = [
            (row, operations)
            for row, operations in zip(self.effective_rows, self.operations, strict=True)
            if row.kind in SYNAPTIC and operations.signal in SPIKES and operations.dense_ac
        ]
        if not all(row.key in step for row, _ in driven):
            return None
        synapses = sum(step[row.key].dense for row, _ in driven)
        return sum(v.ac_events for _, v in driven) / synapses if synapses else None

    # Against the ANN

    @cached_property
    def ann(self) -> Self | None:
        """The same network as an ANN: one time-step, every synaptic operation a MAC.

        Norms cost as much as in the SNN, and nothing where they are folded; neurons are updated
        once. The rows are those of the SNN that one time-step executes. None if T is not known,
        and under the conventions of tools.
        """
        if self.ann_rows is None or self.convention.counter != "syops":
            return None
        return replace(
            self,
            rows=self.ann_rows,
            time_steps=1,
            unaccounted={},
            prepared=(),
            updates=(),
            dependent=0,
            in_training=(),
            notes=("The same network as an ANN: one time-step, every synaptic operation a MAC",),
            measured=True,
            accuracy=None,
            scores=None,
            zero_counts=None,
            neuron_layers=None,
            sample_table=None,
            held_spread=None,
        )

    @property
    def ann_mac(self) -> Fraction | None:
        """Multiply-accumulates of the ANN per sample; None where T is not known."""
        return None if self.ann is None else Fraction(self.ann.totals.mac, self.samples)

    @property
    def energy_ratio(self) -> float | None:
        """E(SNN) / E(ANN), Eq. (6).

        None if T is not known, nothing was measured, or MACs have no price.
        """
        ann = self._ann_pj
        if not ann or not self.measured or self.unpriced:
            return None
        return float(self._sums.dc / ann)

    @property
    def break_even_rate(self) -> float | None:
        """The mean firing rate below which the SNN needs less energy than the ANN.

        It is (E(ANN) - EC_min) / (EC_max - EC_min); with one energy model for all layers,
        (E(ANN) - E_mac · O_mac) / (E_ac · dense AC). At 0 or below, the SNN never needs less; above
        1 it always does. For a product of two spike tensors it is a rate of coincidences. None if
        T is not known, nothing is spike-driven, or MACs have no price.
        """
        ann, sums = self._ann_pj, self._sums
        if ann is None or sums.unpriced or sums.high == sums.low or self.totals.either:
            return None
        if math.isinf(sums.high):
            return None
        return float((ann - sums.low) / (sums.high - sums.low))

    # Full-spike

    @property
    def offending(self) -> tuple[Layer, ...]:
        """The inner synaptic layers that get more than spikes, or, without data, may get more.

        Inner layers are all but the first and the last executed. The values that reach a layer
        are proven from the operators; those of inputs, and of operators without a rule, are read
        from the data. `check_full_spike` also names the causes.
        """
        exempt = ends(self.effective_rows)
        return tuple(
            layer
            for row, layer in zip(self.effective_rows, self.layers, strict=True)
            if row.kind in SYNAPTIC and layer.signal not in SPIKES and row.layer not in exempt
        )

    @property
    def full_spike(self) -> bool:
        """Whether all inner synaptic layers get spikes alone, for certain; see `offending`."""
        return not self.offending

    @property
    def network_type(self) -> str:
        """The type of the network: "FSNN", "MPSNN", "ANN" or "unknown".

        FSNN is full-spike: only spikes reach the inner layers. MPSNN is of mixed precision: other
        values reach some of them. In an ANN no synaptic layer gets spikes. It is unknown if it
        depends on values that are not known without data.
        """
        types = {self._type(SPIKES), self._type((*SPIKES, "unknown"))}
        return types.pop() if len(types) == 1 else "unknown"

    def _type(self, spikes: Sequence[str]) -> str:
        """Return the type of the network, if these signals are spikes."""
        if not any(layer.signal in spikes for layer in self.layers if layer.kind in SYNAPTIC):
            return "ANN"
        return "MPSNN" if any(layer.signal not in spikes for layer in self.offending) else "FSNN"

    @property
    def _ann_pj(self) -> Fraction | None:
        """Energy of the ANN over all samples, if it is known."""
        if self.ann is None or self.ann.unpriced:
            return None
        return self.ann._sums.dc

    def _mj(self, picojoules: Fraction | float) -> float:
        return millijoules(picojoules, self.samples)
