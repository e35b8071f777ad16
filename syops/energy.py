"""What an accumulate and a multiply-accumulate cost.

The profiles, with their sources, are in ``energy_profiles.toml`` beside this file.
"""

import difflib
import math
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from numbers import Real
from typing import SupportsFloat

from syops.errors import SyopsLookupError, SyopsTypeError, SyopsValueError


@dataclass(frozen=True)
class EnergyModel:
    """Energy of one operation, in picojoules.

    `e_ac_pj` is the cost of an accumulate (AC), `e_mac_pj` that of a multiply-accumulate (MAC).

    Raises `SyopsTypeError` or `SyopsValueError` for a cost that is not a number, is negative,
    infinite or NaN.
    """

    name: str
    e_ac_pj: float
    e_mac_pj: float
    technology: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        for field in ("e_ac_pj", "e_mac_pj"):
            cost = getattr(self, field)
            what = f"energy model {self.name!r}: {field} must be a finite number of pJ, at least 0"
            if not isinstance(cost, Real) or isinstance(cost, bool):
                raise SyopsTypeError(f"{what}, got {cost!r}")
            if not 0 <= float(cost) < math.inf:
                raise SyopsValueError(f"{what}, got {cost!r}")
            object.__setattr__(self, field, float(cost))

    def energy_pj(self, ac: SupportsFloat, mac: SupportsFloat) -> float:
        """Return E_ac · ac + E_mac · mac in pJ: Eq. (7) for the counts of a network."""
        return self.e_ac_pj * float(ac) + self.e_mac_pj * float(mac)


def get_energy_model(energy: str | EnergyModel) -> EnergyModel:
    """Return the profile called `energy`; an `EnergyModel` is returned as it is.

    Raises `SyopsLookupError` for a profile that does not exist and `SyopsTypeError` for
    anything that is neither a name nor an `EnergyModel`.
    """
    if isinstance(energy, EnergyModel):
        return energy
    if not isinstance(energy, str):
        raise SyopsTypeError(
            f"energy must be the name of a profile or an EnergyModel, got {type(energy).__name__}"
        )
    profiles = _profiles()
    if energy not in profiles:
        close = difflib.get_close_matches(energy, profiles, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise SyopsLookupError(
            f"unknown energy profile {energy!r}; {hint}known profiles: {', '.join(profiles)}"
        )
    return profiles[energy]


def list_energy_models() -> tuple[EnergyModel, ...]:
    """Return the profiles that ship with syops, the default first."""
    return tuple(_profiles().values())


@cache
def _profiles() -> dict[str, EnergyModel]:
    text = resources.files("syops").joinpath("energy_profiles.toml").read_text("utf-8")
    return {name: EnergyModel(name, **entry) for name, entry in tomllib.loads(text).items()}
