"""Show what a network reads and writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from syops.cost.memory import MemoryFigures, MemoryRow
from syops.report.worked_out import WorkedOut
from syops.show.sentences import break_even_in_words, incomplete, not_counted, warnings_in_words
from syops.show.table import Column, Value
from syops.show.tabular import Table
from syops.units import factor, joules

COLUMNS = (
    Column("name", "layer"),
    Column("kind", "kind"),
    Column("signal", "signal", "signal"),
    Column("weights", "weights", "count"),
    Column("inputs", "inputs", "count"),
    Column("states", "states", "count"),
    Column("outputs", "outputs", "count"),
    Column("bytes", "bytes", "count"),
    Column("energy_mj", "energy", "energy"),
    Column("ec_min_mj", "EC min", "energy"),
    Column("ec_max_mj", "EC max", "energy"),
)
"""All that can be told of a row; accesses are reads and writes together."""

_MEASURED = ("name", "signal", "weights", "inputs", "states", "outputs", "bytes", "energy_mj")
_POSSIBLE = ("name", "kind", "signal", "ec_min_mj", "ec_max_mj")


@dataclass(frozen=True, repr=False)
class Memory(MemoryFigures, WorkedOut):
    """Show accesses to memory and their energy, as `syops.report.report.Report.memory` counts them.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from syops import get_model_syops
        >>> memory = get_model_syops(nn.Linear(4, 3), torch.eye(4)).memory()
        >>> memory.rows[0].weights.reads  # one for each AC
        3.0
    """

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know."""
        return (*self._cautions(), *not_counted(self.report))

    @property
    def _shown(self) -> Sequence[str]:
        return _MEASURED if self.report.measured else _POSSIBLE

    @property
    def _dearest(self) -> str:
        return "energy_mj" if self.report.measured else "ec_max_mj"

    @property
    def _whole(self) -> Table:
        sums = [_sum(getattr(row, what).count for row in self.rows) for what in _BUFFERS]
        total = (
            f"total{incomplete(self.report)}",
            "",
            "",
            *sums,
            self.bytes,
            self.energy_mj,
            *self.ec_mj,
        )
        without = "" if self.report.measured else ", without data"
        return Table(
            COLUMNS,
            tuple(map(_values, self.rows)),
            total,
            f"{self.report.model}: memory accesses{without}",
            tuple(self._findings()),
            tuple(not_counted(self.report)),
            (*warnings_in_words(self.report), *self._cautions()),
        )

    def _cautions(self) -> Iterator[str]:
        """Yield what may mislead, which stands before the figures."""
        if self.report.ann_rows is None:
            yield "T is not known, so that buffers are as large as all that a sample takes"
        if self.counted_twice:
            yield self.counted_twice

    def _content(self) -> dict[str, Any]:
        names = ("bytes", "energy_mj", "ec_mj", "total_mj", "energy_ratio", "break_even_rate")
        return {
            "memory_model": asdict(self.model),
            "per_sample": {name: getattr(self, name) for name in names},
            "notes": self.notes,
            "rows": [asdict(row) for row in self.rows],
        }

    def _findings(self) -> Iterator[str]:
        low, high = map(joules, self.ec_mj)
        if self.energy_mj is not None and self.total_mj is not None:
            dc = joules(self.report.dc_mj or 0)
            yield (
                f"Memory: {joules(self.energy_mj)}; with the arithmetic, {dc}: "
                f"{joules(self.total_mj)}"
            )
        yield f"Memory at firing rates from 0 to 1: {low} to {high}"
        if self.energy_ratio is not None:
            yield f"E(SNN)/E(ANN) with memory: {factor(self.energy_ratio)}"
        if self.break_even_rate is not None:
            yield f"Break-even firing rate with memory: {break_even_in_words(self.break_even_rate)}"


_BUFFERS = ("weights", "inputs", "states", "outputs")


def _values(row: MemoryRow) -> tuple[Value, ...]:
    counts = (getattr(row, what).count for what in _BUFFERS)
    return (row.name, row.kind, row.signal, *counts, row.bytes, row.energy_mj, *row.ec_mj)


def _sum(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else sum(known)  # type: ignore[arg-type]
