"""Say whether a network fits a chip: what `Report.fit` returns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from syops.cost.chips import LIMITS
from syops.cost.fit import FitFigures, FitRow
from syops.report.worked_out import WorkedOut
from syops.show.sentences import incomplete, warnings_in_words
from syops.show.table import Column, Value
from syops.show.tabular import Table
from syops.units import quantity

COLUMNS = (
    Column("name", "layer"),
    Column("operator", "operator"),
    Column("signal", "signal", "signal"),
    Column("neurons", "neurons", "count"),
    Column("weights", "weights", "count"),
    Column("synapses", "synapses", "count"),
    Column("fan_in", "fan-in", "integer"),
    Column("weight_bits", "bits", "integer"),
    Column("cores", "cores", "integer"),
    Column("synops", "synops", "count"),
    Column("synops_per_core", "synops/core", "count"),
    Column("exceeds", "exceeds"),
)
"""All that can be told of a layer; synaptic operations are those of one time-step."""

_SHOWN = ("name", "neurons", "weights", "fan_in", "cores", "synops_per_core", "exceeds")


@dataclass(frozen=True, repr=False)
class Fit(FitFigures, WorkedOut):
    """Show whether a network fits a chip, as `syops.report.report.Report.fit` finds it.

    Examples:
        >>> from torch import nn
        >>> from syops import get_model_bounds
        >>> report = get_model_bounds(nn.Linear(300, 2000), (1, 300), input_signal="binary")
        >>> fit = report.fit("loihi", weight_bits=8)
        >>> fit.fits, fit.cores
        (True, 5)
        >>> report.fit("truenorth").rows[0].exceeds[0].limit
        'fan_in'
    """

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know."""
        return tuple(self._notes())

    @property
    def _shown(self) -> Sequence[str]:
        return _SHOWN

    @property
    def _whole(self) -> Table:
        total: tuple[Value, ...] = (
            f"total{incomplete(self.report)}",
            "",
            "",
            sum(row.neurons for row in self.rows),
            sum(row.weights for row in self.rows),
            sum(row.synapses for row in self.rows),
            None,
            None,
            self.cores,
            sum(row.synops for row in self.rows),
            self.synops_per_core,
            "; ".join(map(str, self.exceeds)),
        )
        return Table(
            COLUMNS,
            tuple(map(_values, self.rows)),
            total,
            f"{self.report.model} on {self.chip.name} ({self.chip.chip})",
            tuple(self._findings()),
            self.notes,
            warnings_in_words(self.report),
        )

    def _content(self) -> dict[str, Any]:
        return {
            "chip": asdict(self.chip),
            "checked": self.checked,
            "fits": self.fits,
            "cores": self.cores,
            "synops_per_core": self.synops_per_core,
            "exceeds": [asdict(each) for each in self.exceeds],
            "notes": self.notes,
            "rows": [asdict(row) for row in self.rows],
        }

    def _findings(self) -> Iterator[str]:
        name = self.chip.name
        over = [row.name for row in self.rows if row.exceeds]
        if self.fits:
            yield f"Fits {name}, as far as its limits are stated"
        elif self.fits is None:
            open_ = sorted({limit for row in self.rows for limit in row.unknown})
            why = f"{', '.join(open_)} cannot be told" if open_ else "it has no synaptic layer"
            yield f"Whether it fits {name} is not known: {why}"
        else:
            parts = [f"{len(over)} of {len(self.rows)} layers exceed a limit"] if over else []
            parts += [f"together {each}" for each in self.exceeds]
            yield f"Does not fit {name}: {'; '.join(parts)}"
        if self.cores is not None:
            have = self.chip.cores
            yield f"At least {self.cores} cores" + (f" of {have}" if have else "")
        if self.synops_per_core is not None:
            when = "at one time-step" if self.report.time_steps else "for one sample"
            what = "" if self.report.measured else ", at firing rate 1"
            most = quantity(self.synops_per_core)
            done = f"at least {most} synaptic operations {when}{what}"
            yield f"On so few cores, the busiest does {done}"

    def _notes(self) -> Iterator[str]:
        checked = ", ".join(f"{name} ({LIMITS[name]})" for name in self.checked)
        yield f"Checked: {checked}"
        rest = [name for name in LIMITS if name not in self.chip.limits]
        yield f"Not stated by any source here, and not checked: {', '.join(rest)}"
        yield (
            "Cores are lower bounds: routing tables, delays and biases take room too, and layers "
            "outside the totals are not placed"
        )
        if "synapses_per_core" in self.checked:
            yield "Padded positions count as connections, as in the dense count"
        products = [row.name for row in self.rows if not row.weights]
        if products:
            yield (
                "A product of two activations has no weights that are stored, which limits of "
                f"weights are about: {', '.join(products)}"
            )
        if self.report.time_steps is None:
            yield "T is not known, so that neurons are all results that a sample has"
        if "kernel_memory" in self.checked and any(row.operator == "linear" for row in self.rows):
            yield (
                "A linear layer behind a feature map takes more kernel memory where the map's "
                "height x width is not a power of two"
            )
        for name in self.checked:
            yield f"{name}: {self.chip.sources[name]}"


def _values(row: FitRow) -> tuple[Value, ...]:
    unknown = [f"{', '.join(row.unknown)}: not known"] if row.unknown else []
    return (
        row.name,
        row.operator,
        row.signal,
        row.neurons,
        row.weights,
        row.synapses,
        row.fan_in,
        row.weight_bits,
        row.cores,
        row.synops,
        row.synops_per_core,
        "; ".join([*map(str, row.exceeds), *unknown]),
    )
