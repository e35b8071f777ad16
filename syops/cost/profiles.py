"""Find energy models by name and in files.

The profiles that ship with syops are in ``profiles.toml`` beside this file, with their sources. A
user's own profile is an `EnergyModel`, or an entry in a file of the same form. There is no registry
to add it to: each report holds the profile that it was priced with, so that a name cannot mean one
thing in one report and another thing in the next.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, overload

from syops.cost.energy import Energy, EnergyMap, EnergyModel
from syops.errors import (
    SyopsLookupError,
    SyopsTypeError,
    SyopsValueError,
    did_you_mean,
    first_line,
)
from syops.files import read_text

Profile = str | os.PathLike[str] | EnergyModel
"""How one energy model is named: a profile, a file, or the model itself."""


@overload
def get_energy_model(energy: Profile) -> EnergyModel: ...


@overload
def get_energy_model(energy: Mapping[str, Profile]) -> EnergyMap: ...


@overload
def get_energy_model(energy: Profile | Mapping[str, Profile] | EnergyMap) -> Energy: ...


def get_energy_model(energy: object) -> Energy:
    """Return the energy model that is meant.

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

    Example:
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
    path, dot, name = energy.rpartition(".toml")
    if dot and (not name or name.startswith(":")):
        return _from_file(Path(path + dot), name[1:])
    return _named(energy, _profiles(), "known profiles")


def list_energy_models() -> tuple[EnergyModel, ...]:
    """Return the profiles that ship with syops, the default first.

    Example:
        >>> list_energy_models()[0].name
        'horowitz45-fp32'
    """
    return tuple(_profiles().values())


def load_energy_models(path: str | os.PathLike[str]) -> dict[str, EnergyModel]:
    """Read the profiles of a TOML file: a table for each, its name the heading.

    Raises:
        SyopsFileError: the file cannot be read.
        SyopsTypeError, SyopsValueError: it is no TOML, holds no profile, or one that lacks a cost,
            has an impossible one, or a key that means nothing.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "chips.toml")
        ...     _ = file.write_text("[mine]\\ne_ac_pj = 0.03\\ne_mac_pj = 'none'")
        ...     load_energy_models(file)["mine"].e_ac_pj
        0.03
    """
    return _parsed(read_text(Path(path)), str(path))


def _from_file(path: Path, name: str) -> EnergyModel:
    profiles = load_energy_models(path)
    if not name and len(profiles) > 1:
        raise SyopsLookupError(
            f"{path} holds {len(profiles)} energy profiles; say which, such as "
            f"{path}:{next(iter(profiles))}; known: {', '.join(profiles)}"
        )
    return _named(name or next(iter(profiles)), profiles, f"profiles in {path}")


def _named(name: str, profiles: Mapping[str, EnergyModel], known: str) -> EnergyModel:
    if name not in profiles:
        hint = did_you_mean(name, profiles)
        raise SyopsLookupError(
            f"unknown energy profile {name!r}; {hint}{known}: {', '.join(profiles)}"
        )
    return profiles[name]


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


@cache
def _profiles() -> dict[str, EnergyModel]:
    text = resources.files("syops.cost").joinpath("profiles.toml").read_text("utf-8")
    return _parsed(text, "profiles.toml")


def _parsed(text: str, where: str) -> dict[str, EnergyModel]:
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also an integer of 5000 digits
        raise SyopsValueError(f"{where} is not TOML: {first_line(error)}") from error
    for name, entry in content.items():
        if not isinstance(entry, dict):
            raise SyopsValueError(
                f"{where}: {name!r} stands outside of a profile; put it under a heading such as "
                "[my-chip]"
            )
    if not content:
        raise SyopsValueError(f"{where} holds no energy profile, such as [my-chip]")
    return {name: _profile(name, entry, where) for name, entry in content.items()}


def _profile(name: str, entry: dict[str, Any], where: str) -> EnergyModel:
    known = [field.name for field in fields(EnergyModel) if field.name != "name"]
    for key in entry:
        if key not in known:
            hint = did_you_mean(key, known)
            raise SyopsValueError(
                f"{where}: [{name}]: unknown key {key!r}; {hint}known: {', '.join(known)}"
            )
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
