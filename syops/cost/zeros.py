"""Work out what zeros leave of the work of a network: the metrics of NeuroBench.

J. Yik et al., The neurobench framework for benchmarking neuromorphic computing algorithms and
systems, Nature Communications 16:1545, 2025, doi:10.1038/s41467-025-56739-4; definitions as in the
code of version 2.3.0.

====================  =============================================================================
effective ACs, MACs   pairs of an input and a weight neither of which is zero; ACs in calls of a
                      layer all of whose inputs are -1, 0 or 1, MACs in all other calls
dense                 all pairs; those with padding are none
activation sparsity   zeros among the outputs of neurons and activations
connection sparsity   zeros among the weights of layers (of recurrent ones biases too)
membrane updates      potentials that a time-step changed; at the first one of a batch, all
footprint             bytes of parameters and buffers, without states that neurons keep in these
====================  =============================================================================

The class of a call is that of its values alone, unlike that of a row of a report, which is proven.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Self

from syops.cost.figures import Figures
from syops.errors import SyopsValueError
from syops.ledger.rows import row_names
from syops.ledger.zeros import ZeroCounts, Zeros
from syops.ops.kinds import SYNAPTIC


@dataclass(frozen=True)
class ZeroRow:
    """Hold the zeros of one module, with operations per sample; None is what does not apply.

    Attributes:
        name: the module's path, or the model's name.
        type: its class.
        sparsity: zeros among the inputs of a layer, or among the outputs of an activation.
        weight_sparsity: zeros among its weights.
        dense: pairs of an input and a weight.
        effective_ac, effective_mac: those without a zero.
        updates: membrane updates.
    """

    name: str
    type: str
    sparsity: float | None
    weight_sparsity: float | None
    dense: float | None
    effective_ac: float | None
    effective_mac: float | None
    updates: float | None


@dataclass(frozen=True, repr=False)
class ZeroFigures:
    """Hold what zeros leave of the work of a network.

    Attributes:
        report: the report that it was made of.
    """

    report: Figures

    @classmethod
    def of(cls, report: Figures) -> Self:
        """Return the zeros of a network; see `syops.report.report.Report.zeros`."""
        if report.zero_counts is None:
            raise SyopsValueError(
                "zeros were not measured: count the network with zeros=True (syops run --zeros)"
            )
        return cls(report)

    @property
    def counts(self) -> ZeroCounts:
        assert self.report.zero_counts is not None
        return self.report.zero_counts

    @cached_property
    def rows(self) -> tuple[ZeroRow, ...]:
        """One for each module that was watched, in the order of the network."""
        return tuple(map(self._row, self.counts.modules))

    @property
    def effective_ac(self) -> float:
        """Pairs without a zero per sample, in calls whose inputs are all -1, 0 or 1."""
        return sum(each.spiking for each in self._layers) / self.counts.samples

    @property
    def effective_mac(self) -> float:
        """Pairs without a zero per sample, in all other calls."""
        return sum(each.effective - each.spiking for each in self._layers) / self.counts.samples

    @property
    def dense(self) -> float:
        """Pairs of an input and a weight per sample, those with padding left out."""
        return sum(each.dense for each in self._layers) / self.counts.samples

    @property
    def nonzero_share(self) -> float | None:
        """The share of inputs that are not zero, weighted with the dense counts of their layers.

        None where no layer was called.
        """
        called = [each for each in self._layers if each.dense]
        done = sum(Fraction(each.dense * each.nonzero, each.values) for each in called)
        return float(done / sum(each.dense for each in called)) if called else None

    @property
    def activation_sparsity(self) -> float | None:
        """The share of zeros among outputs of neurons and activations; None without any."""
        outputs = [each for each in self.counts.modules if each.kind == "activation"]
        return _zeros(sum(each.nonzero for each in outputs), sum(each.values for each in outputs))

    @property
    def connection_sparsity(self) -> float | None:
        """The share of zeros among the weights of layers; None where there are none."""
        weights = sum(each.weights for each in self._layers)
        zero = sum(each.zero_weights for each in self._layers)
        return zero / weights if weights else None

    @property
    def membrane_updates(self) -> float | None:
        """Membrane updates per sample; None where no neuron tells them."""
        timed = [each for each in self.counts.modules if each.timed]
        return sum(each.updates for each in timed) / self.counts.samples if timed else None

    @property
    def footprint(self) -> int:
        """Bytes of parameters and buffers, without the states of neurons."""
        return self.counts.footprint

    @property
    def not_measured(self) -> tuple[str, ...]:
        """Synaptic rows of operators that no watched layer executes."""
        watched = {each.path for each in self._layers if each.calls}
        names = row_names(self.report.rows, self.report.model)
        rows = zip(names, self.report.rows, strict=True)
        return tuple(name for name, row in rows if row.kind in SYNAPTIC and row.path not in watched)

    @property
    def untimed(self) -> tuple[str, ...]:
        """Neurons that do not tell their membrane updates: they make several steps in a call, or
        keep no potential."""
        timed = {each.path for each in self.counts.modules if each.timed}
        return tuple(
            row.path or self.report.model
            for row in self.report.rows
            if row.kind == "neuron" and row.path not in timed
        )

    @property
    def _layers(self) -> Iterator[Zeros]:
        return (each for each in self.counts.modules if each.kind == "layer")

    def _row(self, each: Zeros) -> ZeroRow:
        samples, layer = self.counts.samples, each.kind == "layer" and each.calls > 0
        return ZeroRow(
            name=each.path or self.report.model,
            type=each.name,
            sparsity=_zeros(each.nonzero, each.values),
            weight_sparsity=each.zero_weights / each.weights if each.weights else None,
            dense=each.dense / samples if layer else None,
            effective_ac=each.spiking / samples if layer else None,
            effective_mac=(each.effective - each.spiking) / samples if layer else None,
            updates=each.updates / samples if each.timed else None,
        )


def _zeros(nonzero: int, values: int) -> float | None:
    return float(1 - Fraction(nonzero, values)) if values else None
