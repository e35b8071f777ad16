"""Show what zeros leave of the work of a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

from syops.cost.zeros import ZeroFigures
from syops.report.worked_out import WorkedOut
from syops.show.sentences import warnings_in_words
from syops.show.table import Column
from syops.show.tabular import Table
from syops.units import quantity

COLUMNS = (
    Column("name", "name"),
    Column("type", "class"),
    Column("sparsity", "sparsity", "share"),
    Column("weight_sparsity", "zero weights", "share"),
    Column("dense", "dense", "count"),
    Column("effective_ac", "effective AC", "operations"),
    Column("effective_mac", "effective MAC", "operations"),
    Column("updates", "membrane updates", "count"),
)
"""All that can be told of a module: attributes of a `syops.cost.zeros.ZeroRow`."""

_METRICS = (
    *("effective_ac", "effective_mac", "dense", "activation_sparsity", "connection_sparsity"),
    *("membrane_updates", "footprint"),
)


@dataclass(frozen=True, repr=False)
class ZeroReport(ZeroFigures, WorkedOut):
    """What `syops.report.report.Report.zeros` returns: figures, with ways to show them.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from syops import get_model_syops
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        >>> zeros = get_model_syops(net, torch.eye(4), zeros=True).zeros()
        >>> zeros.effective_ac, zeros.dense, zeros.footprint  # one input in four; 15 floats
        (3.0, 12.0, 60)
    """

    def to_neurobench(self) -> dict[str, Any]:
        """Return the metrics under the names that NeuroBench gives them; None is left out.

        ``json.dumps`` of it has the keys of what ``Benchmark.run`` of NeuroBench 2.3 returns.
        """
        found = {
            "Footprint": self.footprint,
            "ConnectionSparsity": self.connection_sparsity,
            "ClassificationAccuracy": self.report.accuracy,
            "ActivationSparsity": self.activation_sparsity,
            "SynapticOperations": {
                "Effective_MACs": self.effective_mac,
                "Effective_ACs": self.effective_ac,
                "Dense": self.dense,
            },
            "MembraneUpdates": self.membrane_updates,
        }
        return {name: value for name, value in found.items() if value is not None}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know."""
        return tuple(self._notes())

    @property
    def _shown(self) -> Sequence[str]:
        return [column.key for column in COLUMNS]

    @property
    def _whole(self) -> Table:
        updates, connection = self.membrane_updates, self.connection_sparsity
        effective = self.effective_ac, self.effective_mac
        return Table(
            COLUMNS,
            tuple(map(astuple, self.rows)),
            ("total", "", self.activation_sparsity, connection, self.dense, *effective, updates),
            f"{self.report.model}: zeros, per sample",
            tuple(self._findings()),
            self.notes,
            warnings_in_words(self.report),
        )

    def _content(self) -> dict[str, Any]:
        return {
            "per_sample": {name: getattr(self, name) for name in _METRICS},
            "not_measured": self.not_measured,
            "notes": self.notes,
            "rows": [asdict(row) for row in self.rows],
        }

    def _findings(self) -> Iterator[str]:
        for name, share in (
            ("Activation sparsity", self.activation_sparsity),
            ("Connection sparsity", self.connection_sparsity),
        ):
            if share is not None:
                yield f"{name}: {share:.4f}"
        yield f"Footprint: {quantity(self.footprint)} bytes"

    def _notes(self) -> Iterator[str]:
        yield (
            "Definitions are those of NeuroBench: ACs are in calls all of whose inputs are -1, 0 "
            "or 1, whatever else the layer gets; the total of the sparsity is of activations alone"
        )
        if self.not_measured:
            yield f"Not measured, as no watched layer does it: {', '.join(self.not_measured)}"
        if self.untimed:
            yield (
                "Membrane updates are not known of neurons that make several time-steps in a call "
                f"or keep no potential: {', '.join(self.untimed)}"
            )
