"""Price one network under every model of energy that is known here, or say why a model refuses.

The profiles of ``profiles.toml`` price each operation. The models of ``models.toml`` also know
memory, crossbars or events of a processor; each has a function here. Both files give every
constant with its source, and `docs/energy.md` has them in a table.

Counts are sums over all samples; T is in them, as everything executed is counted.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from syops.cost.figures import Figures
from syops.cost.menu.asked import NAMED, Refused, with_macs
from syops.cost.menu.crossbars import spikesim
from syops.cost.menu.lemaire import as_printed
from syops.cost.menu.memory import interpolated, regression, step, width
from syops.cost.menu.processors import at_rest, kerasspiking, sana_fe, spyx
from syops.cost.menu.setting import Constants, Setting
from syops.cost.pricing import millijoules
from syops.cost.profiles import list_energy_models
from syops.errors import SyopsValueError, first_of


@dataclass(frozen=True)
class MenuModel:
    """Describe a model of energy.

    Attributes:
        name: its id.
        fidelity: "paper", "code" or "own".
        scope: what it takes in.
        refuses: what it cannot do.
        gets_wrong: what the figure leaves out or overstates.
        source: where it is from.
        constants: by name.
        sources: what states each of them.
        formula: the right side of each equation by its left side, ``E`` the first one, in pJ.
        symbols: what each symbol of the formula stands for, with its unit.
    """

    name: str
    fidelity: str
    scope: str
    refuses: str
    gets_wrong: str
    source: str
    constants: Constants
    sources: Mapping[str, str]
    formula: Mapping[str, str]
    symbols: Mapping[str, str]


@dataclass(frozen=True)
class Estimate:
    """Hold what one model says of a network.

    Attributes:
        name: its id.
        fidelity, scope, source: of the model.
        energy_mj: in mJ per sample; None where it refuses.
        refused: why it refuses, "" where it does not.
    """

    name: str
    fidelity: str
    scope: str
    source: str
    energy_mj: float | None
    refused: str = ""


@cache
def menu_models() -> tuple[MenuModel, ...]:
    """Return the models of ``models.toml``."""
    text = resources.files("syops.cost").joinpath("models.toml").read_text("utf-8")
    entries = tomllib.loads(text)
    return tuple(_menu_model(name, entries) for name in entries)


def _menu_model(name: str, entries: Mapping[str, dict[str, Any]]) -> MenuModel:
    """Return a model; equations and symbols that it lacks are those of the one it is ``like``."""
    entry = dict(entries[name])
    base = entries.get(entry.pop("like", ""), {})
    merged = {key: base.get(key, {}) | entry.get(key, {}) for key in ("formula", "symbols")}
    return MenuModel(name, **(entry | merged))


def estimates(report: Figures, setting: Setting) -> tuple[Estimate, ...]:
    """Return what each profile and each model says.

    Raises:
        SyopsValueError: nothing was measured.
    """
    if not report.measured:
        raise SyopsValueError("energy models price what was measured: give a report of a run")
    others = (_by_model(report, model, setting) for model in menu_models())
    return (*_by_profiles(report), *others)


def _by_profiles(report: Figures) -> Iterator[Estimate]:
    for model in list_energy_models():
        priced = report.priced(model)
        refused = ""
        if report.totals.mac and model.e_mac_pj is None:
            refused = f"no price for MACs: {first_of(with_macs(report), NAMED)}"
        energy = None if refused else priced.dc_mj
        yield Estimate(model.name, "paper", model.includes, model.source, energy, refused)


def _by_model(report: Figures, model: MenuModel, setting: Setting) -> Estimate:
    try:
        spent = MODELS[model.name](report, model.constants, setting)
        energy: float | None = millijoules(spent, report.samples)
        refused = ""
    except Refused as error:
        energy, refused = None, str(error)
    return Estimate(model.name, model.fidelity, model.scope, model.source, energy, refused)


MODELS: dict[str, Callable[[Figures, Constants, Setting], float]] = {
    "lemaire-interpolated": interpolated,
    "lemaire-regression": regression,
    "lemaire-width": width,
    "lemaire-2022": as_printed,
    "step": step,
    "spikesim": spikesim,
    "spyx-honest": spyx,
    "sana-fe-loihi": sana_fe,
    "kerasspiking-loihi": kerasspiking,
    "kerasspiking-spinnaker": kerasspiking,
    "kerasspiking-spinnaker2": kerasspiking,
    "speck-at-rest": at_rest,
}
"""The energy of each model over all samples, in pJ."""
