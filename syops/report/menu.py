"""Show one network under every model of energy: what `Report.energy_menu` returns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from syops.cost.figures import Figures
from syops.cost.menu.estimates import Estimate, estimates
from syops.cost.menu.setting import Setting
from syops.report.worked_out import WorkedOut
from syops.show.sentences import warnings_in_words
from syops.show.table import Column
from syops.show.tabular import Table
from syops.units import factor, joules

COLUMNS = (
    Column("name", "model"),
    Column("fidelity", "fidelity"),
    Column("energy_mj", "energy", "energy"),
    Column("ratio", "to the least", "ratio"),
    Column("refused", "refused"),
    Column("scope", "scope"),
    Column("source", "source"),
)
"""All that can be told of a model."""

_SHOWN = ("name", "fidelity", "energy_mj", "ratio", "refused")


@dataclass(frozen=True, repr=False)
class EnergyMenu(WorkedOut):
    """Hold what every model of energy says of one network.

    Attributes:
        report: the report that it was made of.
        estimates: one for each model.
        setting: what the user says of the hardware.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from syops import get_model_syops
        >>> menu = get_model_syops(nn.Linear(4, 3), torch.eye(4)).energy_menu()
        >>> energies = {each.name: each.energy_mj for each in menu.estimates}
        >>> round(energies["loihi"] / energies["horowitz45-fp32"], 1)  # 23.6 pJ and 0.9 pJ
        26.2
        >>> [each.refused for each in menu.estimates if each.name == "spikesim"]
        ['not a conv2d of one shape: the model (linear)']
    """

    report: Figures
    estimates: tuple[Estimate, ...]
    setting: Setting = Setting()

    @classmethod
    def of(cls, report: Figures, setting: Setting) -> EnergyMenu:
        """Return what all models say; see `syops.report.report.Report.energy_menu`."""
        return cls(report, estimates(report, setting), setting)

    @property
    def known(self) -> tuple[Estimate, ...]:
        """The models that do not refuse, the least energy first."""
        found = [each for each in self.estimates if each.energy_mj is not None]
        return tuple(sorted(found, key=lambda each: each.energy_mj or 0.0))

    @property
    def spread(self) -> float | None:
        """The largest energy by the least; None where the least is 0 or all refuse."""
        known = [each.energy_mj for each in self.known if each.energy_mj]
        return known[-1] / known[0] if known else None

    @property
    def _shown(self) -> Sequence[str]:
        return _SHOWN

    @property
    def _whole(self) -> Table:
        least = next((each.energy_mj for each in self.known if each.energy_mj), None)
        rows = tuple(
            (
                each.name,
                each.fidelity,
                each.energy_mj,
                each.energy_mj / least if least and each.energy_mj is not None else None,
                each.refused,
                each.scope,
                each.source,
            )
            for each in self.estimates
        )
        return Table(
            COLUMNS,
            rows,
            None,
            f"{self.report.model} under {len(rows)} models of energy, per sample",
            tuple(self._findings()),
            tuple(self._notes()),
            warnings_in_words(self.report),
        )

    def _content(self) -> dict[str, Any]:
        return {
            "spread": self.spread,
            "setting": asdict(self.setting),
            "estimates": [asdict(each) for each in self.estimates],
        }

    def _findings(self) -> Iterator[str]:
        known = [each for each in self.known if each.energy_mj]
        if self.spread is not None:
            first, last = known[0], known[-1]
            yield (
                f"Spread: {factor(self.spread)}, from {joules(first.energy_mj or 0)} "
                f"({first.name}) to {joules(last.energy_mj or 0)} ({last.name})"
            )
        refused = sum(each.energy_mj is None for each in self.estimates)
        if refused:
            yield f"{refused} model{'s refuse' if refused > 1 else ' refuses'} this network"

    def _notes(self) -> Iterator[str]:
        told = self.setting.told
        if told:
            yield f"Given: {'; '.join(told)}"
        yield (
            "Fidelity: paper, the formula that is printed; code, what the authors' program does; "
            "own, ours. Compare networks under one model, not models with one another"
        )
        yield "Scope and source of each: --columns all, or docs/energy.md"
