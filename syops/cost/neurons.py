"""Work out how often neurons fire: mean rates, their distribution, and what never or always fires.

A rate is the share of what a neuron sends that is not zero, over all samples and time-steps. Of
neurons that send integers, such as {0, 1, 2}, it is that share too; those that send other values
have none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from syops.cost.figures import Figures
from syops.errors import SyopsValueError
from syops.ledger.neurons import NeuronLayer, quantile_of

QUARTILES = {"least": 0.0, "lower": 0.25, "median": 0.5, "upper": 0.75, "most": 1.0}


@dataclass(frozen=True)
class NeuronRow:
    """Hold how often the neurons of one module fired; None is what is not known.

    Attributes:
        name: the module's path, or the model's name.
        type: its class.
        neurons: how many there are.
        rate: of all together.
        least, lower, median, upper, most: the least rate of a neuron, the quartiles, the largest.
        silent: the share of neurons that never fired.
        saturated: the share that fired at every time-step of every sample.
        spikes: per sample, of all together.
        rates: of all together, at each time-step.
    """

    name: str
    type: str
    neurons: int | None
    rate: float | None
    least: float | None
    lower: float | None
    median: float | None
    upper: float | None
    most: float | None
    silent: float | None
    saturated: float | None
    spikes: float | None
    rates: tuple[float, ...] | None


@dataclass(frozen=True, repr=False)
class NeuronFigures:
    """Hold how often the neurons of a network fired.

    Attributes:
        report: the report that it was made of.
    """

    report: Figures

    @classmethod
    def of(cls, report: Figures) -> Self:
        """Return the rates of neurons; see `syops.report.report.Report.neuron_rates`."""
        if report.neuron_layers is None:
            raise SyopsValueError(
                "the spikes of neurons were not counted: count the network with neuron_rates=True "
                "(syops run --neuron-rates)"
            )
        return cls(report)

    @property
    def layers(self) -> tuple[NeuronLayer, ...]:
        """The exact counts, one for each module with neurons, in the order of the network."""
        assert self.report.neuron_layers is not None
        return self.report.neuron_layers

    @cached_property
    def rows(self) -> tuple[NeuronRow, ...]:
        """One for each module with neurons, in the order of the network."""
        return tuple(map(self._row, self.layers))

    @property
    def rate(self) -> float | None:
        """The rate of all neurons that send spikes; None without any."""
        spiking = [layer for layer in self.layers if layer.entries and not layer.analog]
        entries = sum(layer.entries for layer in spiking)
        return sum(layer.spikes for layer in spiking) / entries if entries else None

    @property
    def silent(self) -> float | None:
        """The share of neurons that never fired, of those that are told apart."""
        return self._share("silent")

    @property
    def saturated(self) -> float | None:
        """The share of neurons that always fired, of those that are told apart."""
        return self._share("saturated")

    @property
    def neurons(self) -> int:
        """How many neurons are told apart."""
        return sum(row.neurons or 0 for row in self.rows if row.silent is not None)

    @property
    def spikes(self) -> float:
        """Spikes per sample of all neurons."""
        return sum(layer.spikes for layer in self.layers if not layer.analog) / self.report.samples

    @property
    def reasons(self) -> Iterator[str]:
        """Why something is not known, each with the modules that it is true of."""
        if not self.layers:
            yield (
                "No neurons to show: no module is one of a library that syops knows. Plain torch "
                "code that spikes is counted, but its neurons are told apart only in a module of "
                "their own that is declared: neurons={MyNeuron: 'binary'}"
            )
        concerned: dict[str, list[str]] = {}
        for layer in self.layers:
            concerned.setdefault("; ".join(self._why(layer)), []).append(self._name(layer))
        concerned.pop("", None)
        for why, names in concerned.items():
            yield f"{', '.join(names)}: {why}"

    def _why(self, layer: NeuronLayer) -> Iterator[str]:
        if not layer.calls:
            yield "not called"
            return
        if layer.analog:
            yield "sends values that are not integers, which have no firing rate"
            return
        if layer.graded:
            yield "sends integers besides spikes; the rate is the share of them that is not 0"
        if len(layer.shapes) > 1:
            shapes = " and ".join(map(str, map(list, layer.shapes)))
            yield f"not the same neurons in all calls, of shapes {shapes}"
        elif layer.counts is None:
            yield "not known which dimension of the output holds the samples"
        if self._rates(layer) is None:
            yield "rates at each time-step are not known"

    def _name(self, layer: NeuronLayer) -> str:
        return layer.path or self.report.model

    def _row(self, layer: NeuronLayer) -> NeuronRow:
        neurons = None if layer.counts is None else len(layer.counts)
        found: dict[str, float | None] = dict.fromkeys((*QUARTILES, "silent", "saturated"))
        rate = spikes = rates = None
        if layer.entries and not layer.analog:
            rate, spikes = layer.spikes / layer.entries, layer.spikes / self.report.samples
            rates = self._rates(layer)
            if neurons:
                silent, saturated = (layer.tally.get(n, 0) for n in (0, layer.times))
                for name, share in QUARTILES.items():
                    found[name] = quantile_of(layer.tally, share) / layer.times
                found |= {"silent": silent / neurons, "saturated": saturated / neurons}
        return NeuronRow(
            self._name(layer),
            layer.name,
            neurons=neurons,
            rate=rate,
            spikes=spikes,
            rates=rates,
            **found,
        )

    def _rates(self, layer: NeuronLayer) -> tuple[float, ...] | None:
        """Return the rate at each time-step, of a layer that has as many as the network."""
        steps, number = layer.steps, self.report.time_steps
        if not steps or number not in (None, len(steps)) or not all(size for size, _ in steps):
            return None
        return tuple(spikes / size for size, spikes in steps)

    def _share(self, what: str) -> float | None:
        """Return a share of all neurons that are told apart."""
        if not self.neurons:
            return None
        known = ((getattr(row, what), row.neurons or 0) for row in self.rows)
        return sum(share * number for share, number in known if share is not None) / self.neurons
