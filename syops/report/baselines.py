"""Show what the same network costs as an ANN, at several precisions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

from syops.cost.baselines import BaselineFigures
from syops.report.worked_out import WorkedOut
from syops.show.sentences import not_counted, warnings_in_words
from syops.show.table import Column
from syops.show.tabular import Table
from syops.units import factor, joules

COLUMNS = (
    Column("name", "baseline"),
    Column("bits", "bits", "integer"),
    Column("mac_pj", "pJ/MAC", "ratio"),
    Column("nonzero", "non-zero", "share"),
    Column("energy_mj", "energy", "energy"),
    Column("memory_mj", "with memory", "energy"),
    Column("ratio", "ratio", "ratio"),
    Column("memory_ratio", "ratio with memory", "ratio"),
    Column("break_even_rate", "break-even", "rate"),
    Column("memory_break_even_rate", "break-even with memory", "rate"),
    Column("source", "source"),
)
"""All that can be told of a baseline: attributes of a `syops.cost.baselines.Baseline`."""

_MEASURED = (
    *("name", "energy_mj", "ratio", "break_even_rate"),
    *("memory_mj", "memory_ratio", "memory_break_even_rate"),
)
_POSSIBLE = tuple(name for name in _MEASURED if not name.endswith("ratio"))


@dataclass(frozen=True, repr=False)
class Baselines(BaselineFigures, WorkedOut):
    """What `syops.report.report.Report.baselines` returns: figures, with ways to show them.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from syops import get_model_syops
        >>> report = get_model_syops(nn.Linear(4, 3), torch.eye(4), time_steps=1)
        >>> fp32, int8, *_ = report.baselines().rows
        >>> round(fp32.break_even_rate, 2), round(int8.break_even_rate, 2)  # 4.6 and 0.23 by 0.9 pJ
        (5.11, 0.26)
    """

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know."""
        return tuple(self._notes())

    @property
    def _shown(self) -> Sequence[str]:
        return _MEASURED if self.report.measured else _POSSIBLE

    @property
    def _whole(self) -> Table:
        return Table(
            COLUMNS,
            tuple(map(astuple, self.rows)),
            caption=f"{self.report.model}: the same network as an ANN, per sample",
            summary=tuple(self._findings()),
            notes=self.notes,
            warnings=(*warnings_in_words(self.report), *self._cautions()),
        )

    def _content(self) -> dict[str, Any]:
        report = self.report
        return {
            "energy": report.energy.name,
            "time_steps": report.time_steps,
            "mean_rate": report.mean_rate,
            "spikes_per_synapse": self.spikes_per_synapse,
            "dc_mj": report.dc_mj,
            "memory_mj": self.memory.total_mj,
            "memory_model": asdict(self.memory.model),
            "notes": [*self._cautions(), *self.notes],
            "rows": [asdict(row) for row in self.rows],
        }

    def _cautions(self) -> Iterator[str]:
        if self.memory.counted_twice:
            yield self.memory.counted_twice

    def _findings(self) -> Iterator[str]:
        report = self.report
        if report.dc_mj is not None:
            total = self.memory.total_mj
            memory = "" if total is None else f"; with memory: {joules(total)}"
            yield f"The SNN ({report.energy.name}): {joules(report.dc_mj)}{memory}"
        if report.mean_rate is not None:
            yield f"Mean firing rate: {report.mean_rate:.3f}"
        if self.spikes_per_synapse is not None:
            yield f"Spikes per synapse and sample: {factor(self.spikes_per_synapse)}"

    def _notes(self) -> Iterator[str]:
        yield (
            "Below its break-even firing rate the SNN needs less energy than the baseline: at no "
            "rate if that is not above 0, at any rate if it is above 1"
        )
        yield (
            "The SNN's memory holds values of the dtypes that it was counted with, whatever the "
            "energy profile and the baseline are for"
        )
        names = {model.name for model in self.report.energy.models}
        if names != {"horowitz45-fp32"}:
            own = self.report.energy_ratio
            told = "" if own is None else f": there, E(SNN)/E(ANN) = {factor(own)}, Eq. (6)"
            yield (
                f"The SNN is priced with {self.report.energy.name}, the baselines with arithmetic "
                f"at 45 nm; report.energy_ratio prices both alike{told}"
            )
        else:
            yield (
                "The SNN computes with fp32, whatever the baseline does; its arithmetic in 8 bits: "
                "report.priced('horowitz45-int8').baselines()"
            )
        yield (
            "A QNN of b = ceil(log2(T + 1)) bits tells as many values apart as T time-steps (Yan "
            "et al., arXiv:2409.08290); its arithmetic is scaled down from fp32 as Spyx does, and "
            "likewise from int8. Memory holds its elements in whole bytes"
        )
        if self.nonzero is not None:
            yield (
                "How an ANN that skips zeros stores them is not modelled, so that its memory is "
                "not known"
            )
        yield from not_counted(self.report)
