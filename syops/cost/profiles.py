"""Find energy models by name and in files.

The profiles that ship with syops are in ``profiles.toml`` beside this file, with their sources. A
user's own profile is an `EnergyModel`, or an entry in a file of the same form. There is no registry
to add it to: each report holds the profile that it was priced with, so that a name cannot mean one
thing in one report and another thing in the next.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, overload

from syops.cost.energy import Energy, EnergyMap, EnergyModel
from syops.cost.entries import Entries, check_keys
from syops.errors import SyopsTypeError, SyopsValueError

Profile = str | os.PathLike[str] | EnergyModel
"""How one energy model is named: a profile, a file, or the model itself."""


@overload
def get_energy_model(energy: Profile) -> EnergyModel: ...


@overload
def get_energy_model(energy: Mapping[str, Profile]) -> EnergyMap: ...


@overload
def get_energy_model(energy: Profile | Mapping[str, Profile] | EnergyMap) -> Energy: ...


def get_energy_model(energy: object) -> Energy:
    """Return an energy model, by its name, file or pattern.

    Args:
        energy: an `EnergyModel`; the name of a profile that ships with syops; a ``.toml`` file,
            with the name of the profile where it holds several (``my.toml:chip``); or a dict of
            these by pattern, such as ``{"conv1": "horowitz45-int8", "*": "horowitz45-fp32"}``: the
            first pattern that matches a module's path or the dtype of its weights counts.

    Raises:
        SyopsLookupError: a profile that does not exist.
        SyopsFileError: a file that cannot be read.
        SyopsValueError: a file that holds no profiles, or one with an impossible cost.
        SyopsTypeError: none of the above.

    Examples:
        >>> get_energy_model("horowitz45-fp32").e_mac_pj
        4.6
        >>> get_energy_model({"conv1": "horowitz45-int8", "*": "horowitz45-fp32"}).name
        'conv1: horowitz45-int8, *: horowitz45-fp32'
    """
    if isinstance(energy, EnergyModel | EnergyMap):
        return energy
    if isinstance(energy, Mapping):
        return _by_pattern(energy)
    if isinstance(energy, os.PathLike):
        energy = os.fspath(energy)
    if not isinstance(energy, str):
        raise SyopsTypeError(
            "energy must be the name of a profile, a .toml file, an EnergyModel or a dict of "
            f"these, got {type(energy).__name__}"
        )
    return _PROFILES.find(energy)


def list_energy_models() -> tuple[EnergyModel, ...]:
    """Return the profiles that ship with syops, the default first.

    Examples:
        >>> list_energy_models()[0].name
        'horowitz45-fp32'
    """
    return tuple(_PROFILES.known.values())


def load_energy_models(path: str | os.PathLike[str]) -> dict[str, EnergyModel]:
    """Read the energy profiles of a TOML file.

    Args:
        path: a file with a table for each profile; the heading is its name.

    Returns:
        the profiles by name.

    Raises:
        SyopsFileError: the file cannot be read.
        SyopsTypeError, SyopsValueError: the file is not TOML or holds no profile; a profile lacks a
            cost, has an impossible one, or has an unknown key.

    Examples:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "chips.toml")
        ...     _ = file.write_text("[mine]\\ne_ac_pj = 0.03\\ne_mac_pj = 'none'")
        ...     load_energy_models(file)["mine"].e_ac_pj
        0.03
    """
    return _PROFILES.load(path)


def _by_pattern(energy: Mapping[Any, Any]) -> EnergyMap:
    if not energy:
        raise SyopsValueError("energy: a dict of profiles must hold at least one, such as '*'")
    rules = []
    for pattern, profile in energy.items():
        if not isinstance(pattern, str):
            raise SyopsTypeError(f"energy: a pattern must be text, got {pattern!r}")
        model = None if isinstance(profile, Mapping) else get_energy_model(profile)
        if not isinstance(model, EnergyModel):
            raise SyopsTypeError(f"energy: {pattern!r} must stand for one profile, not for several")
        rules.append((pattern, model))
    return EnergyMap(tuple(rules))


def _profile(name: str, entry: dict[str, Any], where: str) -> EnergyModel:
    known = [field.name for field in fields(EnergyModel) if field.name != "name"]
    check_keys(name, entry, known, where)
    for key in ("e_ac_pj", "e_mac_pj"):
        if key not in entry and not (key == "e_mac_pj" and entry.get("spike_only") is True):
            hint = "; where a MAC has no price, it is 'none'" if key == "e_mac_pj" else ""
            raise SyopsValueError(f"{where}: [{name}]: {key} is missing{hint}")
    mac = entry.get("e_mac_pj")
    entry = {**entry, "e_mac_pj": None if mac == "none" else mac}
    try:
        return EnergyModel(name, **entry)
    except (SyopsValueError, SyopsTypeError) as error:
        raise type(error)(f"{where}: {error}") from None


_PROFILES = Entries("energy profile", "profiles", "[my-chip]", "profiles.toml", _profile)
