"""Show how often the neurons of a network fire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from syops.cost.neurons import NeuronFigures
from syops.report.worked_out import WorkedOut
from syops.show.frame import rates_by_step
from syops.show.neurons import COLUMNS, neuron_notes, neuron_table
from syops.show.tabular import Table

if TYPE_CHECKING:
    import pandas as pd

BINS = 20
"""The parts of [0, 1] in the histograms of JSON."""


@dataclass(frozen=True, repr=False)
class NeuronReport(NeuronFigures, WorkedOut):
    """What `syops.report.report.Report.neuron_rates` returns: figures, with ways to show them.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from syops import get_model_syops
        >>> class Step(nn.Module):
        ...     def forward(self, x):
        ...         return (x > 0).float()
        >>> declared = {"neurons": {Step: "binary"}, "neuron_rates": True}
        >>> get_model_syops(Step(), torch.eye(4), **declared).neuron_rates().rate
        0.25
    """

    def rates_frame(self) -> pd.DataFrame:
        """Return the rate of each module at each time-step as a pandas table; NaN: not known."""
        return rates_by_step([(row.name, row.rates) for row in self.rows], "neurons")

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know."""
        return neuron_notes(self)

    @property
    def _shown(self) -> Sequence[str]:
        return [column.key for column in COLUMNS]

    @property
    def _whole(self) -> Table:
        return neuron_table(self)

    def _content(self) -> dict[str, Any]:
        return {
            "rate": self.rate,
            "silent": self.silent,
            "saturated": self.saturated,
            "spikes": self.spikes,
            "spikes_per_synapse": self.report.spikes_per_synapse,
            "notes": self.notes,
            "rows": [asdict(row) | self._histogram(place) for place, row in enumerate(self.rows)],
        }

    def _histogram(self, place: int) -> dict[str, Any]:
        """Return how many neurons of a module have a rate in each part of [0, 1]."""
        known = self.rows[place].median is not None
        return {"histogram": self.layers[place].histogram(BINS) if known else None}
