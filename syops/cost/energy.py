"""Price the operations of a network by an energy model for all layers, or one for each.

The profiles that ship with syops are in ``profiles.toml`` beside this file, with their sources. A
user's own profile is an `EnergyModel`, or an entry in a file of the same form. There is no registry
to add it to: each report holds the profile that it was priced with, so that a name cannot mean one
thing in one report and another thing in the next.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import cache
from importlib import resources
from numbers import Rational, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat, overload

from syops.errors import (
    SyopsLookupError,
    SyopsTypeError,
    SyopsValueError,
    did_you_mean,
    first_line,
    shown,
)
from syops.files import read_text
from syops.units import JOULES, amount

SMALLEST, LARGEST = 1e-30, 1e30
"""The costs in pJ that are computed with; no energy of a whole network overflows then."""
_COSTS = ("e_ac_pj", "e_mac_pj", "e_neuron_pj", "e_spike_pj")
_TEXTS = ("technology", "source", "includes")


@dataclass(frozen=True)
class EnergyModel:
    """Energy of one operation, in picojoules.

    A cost is given as a number of pJ, or as text with a unit: ``"23.6 pJ"``, ``"2.8e-12 J"``.

    Attributes:
        name: what it is called in reports.
        e_ac_pj: an accumulate (AC); on a neuromorphic processor a synaptic operation.
        e_mac_pj: a multiply-accumulate (MAC). None where it has no price: the MACs of a network are
            then left out of its energy, and a report says so.
        technology: process, voltage, precision.
        source: where the figures come from.
        e_neuron_pj: a neuron update; None for that of a MAC. (Neuron updates are outside the
            totals unless a report is asked for them.)
        e_spike_pj: routing one spike to one layer.
        spike_only: whether it processes nothing but spikes.
        includes: what the figures take in beside arithmetic.

    Raises:
        SyopsTypeError: a cost that is neither a number nor text, or another field of a wrong type.
        SyopsValueError: a cost that is negative, infinite or NaN, or whose unit is no energy.

    Example:
        >>> EnergyModel("mine", e_ac_pj="30 fJ", e_mac_pj=0.23).e_ac_pj
        0.03
    """

    name: str
    e_ac_pj: float
    e_mac_pj: float | None
    technology: str = ""
    source: str = ""
    e_neuron_pj: float | None = None
    e_spike_pj: float = 0.0
    spike_only: bool = False
    includes: str = ""

    if TYPE_CHECKING:
        # Costs may be given as text, and are kept as numbers.
        def __init__(
            self,
            name: str,
            e_ac_pj: float | str,
            e_mac_pj: float | str | None,
            technology: str = "",
            source: str = "",
            e_neuron_pj: float | str | None = None,
            e_spike_pj: float | str = 0.0,
            spike_only: bool = False,
            includes: str = "",
        ) -> None: ...

    def __post_init__(self) -> None:
        for field in _COSTS:
            cost = getattr(self, field)
            optional = field in ("e_mac_pj", "e_neuron_pj")
            if not (cost is None and optional):
                object.__setattr__(self, field, _picojoules(cost, f"{self._told}: {field}"))
        for field in ("name", *_TEXTS):
            if not isinstance(getattr(self, field), str):
                raise SyopsTypeError(
                    f"{self._told}: {field} must be text, got {getattr(self, field)!r}"
                )
        if not isinstance(self.spike_only, bool):
            raise SyopsTypeError(
                f"{self._told}: spike_only must be true or false, got {self.spike_only!r}"
            )

    @property
    def _told(self) -> str:
        return f"energy model {self.name!r}"

    @property
    def models(self) -> tuple[EnergyModel, ...]:
        """Itself alone."""
        return (self,)

    def model_for(self, path: str, dtype: str) -> EnergyModel:
        """Itself, for every layer."""
        return self

    def mac_price(self, kind: str) -> float | None:
        """What a MAC of a row of this kind costs, in pJ; None where it has no price."""
        own = self.e_neuron_pj if kind == "neuron" else None
        return self.e_mac_pj if own is None else own

    def price_pj(
        self, kind: str, ac: SupportsFloat, mac: SupportsFloat, spikes: int = 0
    ) -> Fraction:
        """The one place where operations are priced, exactly: costs are decimal numbers.

        E_ac · ac + E_mac · mac + E_spike · spikes in pJ, with E_neuron for E_mac in a row of kind
        "neuron". MACs without a price add nothing.
        """
        costs = (self.e_ac_pj, ac), (self.mac_price(kind) or 0.0, mac), (self.e_spike_pj, spikes)
        return sum((_exact(repr(cost)) * _exact(count) for cost, count in costs), Fraction(0))

    def energy_pj(self, ac: SupportsFloat, mac: SupportsFloat) -> float:
        """Return E_ac · ac + E_mac · mac in pJ: Eq. (7) for the counts of a network."""
        return float(self.price_pj("", ac, mac))


@dataclass(frozen=True)
class EnergyMap:
    """Energy models by layer: that of the first pattern that matches a row.

    A pattern is compared with the module's path (``layer1.*``, as file names are matched) and with
    the dtype of the weights (``float16``).
    """

    rules: tuple[tuple[str, EnergyModel], ...]

    @property
    def name(self) -> str:
        return ", ".join(f"{pattern}: {model.name}" for pattern, model in self.rules)

    @property
    def models(self) -> tuple[EnergyModel, ...]:
        """Every model once."""
        return tuple(dict.fromkeys(model for _, model in self.rules))

    def model_for(self, path: str, dtype: str) -> EnergyModel:
        """The model of a row.

        Raises:
            SyopsValueError: no pattern matches it.
        """
        pattern = self._first(path, dtype)
        if pattern is None:
            raise SyopsValueError(
                f"energy: no pattern matches {path or 'the model itself'} ({dtype}); "
                "give all other layers one with '*'"
            )
        return dict(self.rules)[pattern]

    def check(self, places: Collection[tuple[str, str]]) -> None:
        """Refuse patterns that are no use, and rows that have none.

        Args:
            places: path and dtype of each row.

        Raises:
            SyopsValueError: names the pattern, or the layer.
        """
        self.check_patterns(places)
        used = {self._first(path, dtype) for path, dtype in places}
        if None in used:
            for path, dtype in places:
                self.model_for(path, dtype)
        for pattern, _ in self.rules:
            if pattern not in used and pattern != "*":
                raise SyopsValueError(
                    f"energy: all layers that {pattern!r} matches are matched by a pattern before "
                    "it; the first one counts, so put '*' last"
                )

    def check_patterns(self, places: Iterable[tuple[str, str]], dtypes: bool = True) -> None:
        """Refuse a pattern that matches nothing; ``dtypes``: also one that looks like a dtype."""
        places = list(places)
        for pattern, _ in self.rules:
            if pattern == "*" or (_DTYPE.fullmatch(pattern) and not dtypes):
                continue
            if not any(_matches(pattern, path, dtype) for path, dtype in places):
                known = sorted({name for place in places for name in place if name})
                below = any(path.startswith(f"{pattern}.") for path, _ in places)
                inside = f"did you mean {pattern + '.*'!r}? " if below else ""
                hint = inside or did_you_mean(pattern, known)
                raise SyopsValueError(
                    f"energy: the pattern {pattern!r} matches no layer and no dtype"
                    f"{hint and f'; {hint.rstrip()}'}"
                )

    def _first(self, path: str, dtype: str) -> str | None:
        return next((p for p, _ in self.rules if _matches(p, path, dtype)), None)


Energy = EnergyModel | EnergyMap
"""What prices a report."""

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


def _matches(pattern: str, path: str, dtype: str) -> bool:
    return fnmatchcase(path, pattern) or pattern == dtype


_DTYPE = re.compile(r"(q?u?int|b?float|complex)\d+\w*|bool")


# Reading what people write


@cache
def _profiles() -> dict[str, EnergyModel]:
    text = resources.files("syops.cost").joinpath("profiles.toml").read_text("utf-8")
    return _parsed(text, "energy_profiles.toml")


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


def _picojoules(cost: Any, what: str) -> float:
    """A cost as a number of pJ."""
    number = _with_unit(cost, what) if isinstance(cost, str) else cost
    if not isinstance(number, Real) or isinstance(number, bool):
        raise SyopsTypeError(
            f"{what} must be a number of pJ or text such as '0.9 pJ', got {shown(cost)}"
        )
    try:
        value = float(number)
    except OverflowError:
        value = math.inf
    if not 0 <= value < math.inf:
        raise SyopsValueError(f"{what} must be finite and at least 0, got {shown(cost)}")
    if number and not SMALLEST <= value <= LARGEST:
        raise SyopsValueError(
            f"{what} must be 0 or between {SMALLEST:g} and {LARGEST:g} pJ, got {shown(cost)}"
        )
    return value


def _with_unit(cost: str, what: str) -> Fraction:
    try:
        return amount(cost, JOULES) * 10**12
    except SyopsValueError as error:
        units = ", ".join(filter(str.isascii, JOULES))
        raise SyopsValueError(
            f"{what} must be a number with a unit of energy ({units}), got {shown(cost)}; {error}"
        ) from None


def _exact(number: Any) -> Fraction:
    return Fraction(number if isinstance(number, str | Rational) else float(number))
