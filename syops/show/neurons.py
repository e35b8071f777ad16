"""Lay out as a table how often neurons fire."""

from __future__ import annotations

from collections.abc import Iterator

from syops.cost.neurons import NeuronFigures
from syops.show.sentences import warnings_in_words
from syops.show.table import Column
from syops.show.tabular import Table
from syops.units import quantity

COLUMNS = (
    Column("name", "neurons of"),
    Column("type", "class"),
    Column("neurons", "number", "count"),
    Column("rate", "rate", "rate"),
    Column("least", "least", "rate"),
    Column("lower", "25 %", "rate"),
    Column("median", "median", "rate"),
    Column("upper", "75 %", "rate"),
    Column("most", "most", "rate"),
    Column("silent", "never fire", "share"),
    Column("saturated", "always fire", "share"),
    Column("spikes", "spikes", "count"),
)
"""All that can be told of a module's neurons: attributes of a `syops.cost.neurons.NeuronRow`."""


def neuron_table(figures: NeuronFigures) -> Table:
    """Return a line for each module with neurons, and one for all."""
    keys = [column.key for column in COLUMNS]
    empty = (None,) * 5
    is_whole = all(row.neurons is not None for row in figures.rows)
    neurons = figures.neurons if is_whole and figures.rows else None
    total = ("total", "", neurons, figures.rate, *empty, figures.silent, figures.saturated)
    return Table(
        COLUMNS,
        tuple(tuple(getattr(row, key) for key in keys) for row in figures.rows),
        (*total, figures.spikes),
        f"{figures.report.model}: firing rates of neurons",
        tuple(_findings(figures)),
        neuron_notes(figures),
        warnings_in_words(figures.report),
    )


def neuron_notes(figures: NeuronFigures) -> tuple[str, ...]:
    """Return what a reader should know."""
    if not figures.rows:
        return tuple(figures.reasons)
    return (
        *figures.reasons,
        "Rates are shares of what neurons send that is not zero, over all samples and time-steps; "
        "quartiles and shares are of neurons; spikes are per sample",
    )


def _findings(figures: NeuronFigures) -> Iterator[str]:
    if figures.rate is not None:
        yield f"Mean firing rate of neurons: {figures.rate:.4f}"
    if figures.silent is not None and figures.saturated is not None:
        told = f"{figures.silent:.2%} never fire and {figures.saturated:.2%} always fire"
        yield f"Of {quantity(figures.neurons)} neurons {told}"
    if (found := figures.report.spikes_per_synapse) is not None:
        yield f"Spikes per synapse and sample: {quantity(found)}"
