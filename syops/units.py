"""Counts and energies in words: three significant digits, a prefix, and back again.

Counts have no unit, energies are in mJ, as everywhere in a report.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from syops.errors import SyopsTypeError, SyopsValueError

Unit: TypeAlias = Literal["auto", "k", "M", "G", "T", "pJ", "nJ", "uJ", "µJ", "mJ", "J"]
"""What figures can be shown in: "auto" gives every value the prefix that suits it."""

AUTO: Unit = "auto"

COUNTS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
"""Operations in one of each unit."""

ENERGIES = {"pJ": 1e-9, "nJ": 1e-6, "µJ": 1e-3, "mJ": 1.0, "J": 1e3}
"""Millijoules in one of each unit."""

_SPELLINGS = {"uJ": "µJ", "μJ": "µJ"}  # the second with the Greek letter
_PREFIXES = "afpnµm kMGTPE"
_AMOUNT = re.compile(r"((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*([^\W\d_]*|%)")


@dataclass(frozen=True)
class Units:
    """The unit of all counts and that of all energies; "" where each value has its own prefix."""

    count: str = ""
    energy: str = ""


NO_END = "none"
"""How an upper end that does not exist is printed."""


def without_infinity(value: Any) -> Any:
    """The same, with None for upper ends that do not exist: JSON knows no infinity."""
    if isinstance(value, dict):
        return {key: without_infinity(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_infinity(item) for item in value]
    return None if isinstance(value, float) and math.isinf(value) else value


def largest_end(*values: float) -> float:
    """The largest of values, without upper ends that do not exist; 0 where there is none."""
    return max(filter(math.isfinite, values), default=0.0)


def quantity(value: float, unit: str = "") -> str:
    """Return ``value`` with three significant digits and an SI prefix: ``1.70 G``, ``2.07 mJ``.

    Counts, which have no unit, have no prefix below 1000, and no decimals where they are whole.
    """
    if math.isinf(value):
        return NO_END
    if value == 0 or not math.isfinite(value) or (not unit and abs(value) in range(1000)):
        return f"{value:g} {unit}".rstrip()
    group = _group(value, bool(unit))
    prefix = _PREFIXES[group + 6].strip()
    return f"{_digits(value / 1000.0**group)} {prefix}{unit}".rstrip()


def joules(millijoules: float) -> str:
    """An energy in mJ with the prefix that suits it: ``917 µJ``."""
    return quantity(millijoules / 1e3, "J")


def number(value: float, decimals: int | None = None) -> str:
    """``value``, which is in a unit, without it: three significant digits, or so many decimals."""
    if math.isinf(value):
        return NO_END
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if decimals is not None:
        return f"{value:.{decimals}f}"
    return _digits(value) if 1e-4 <= abs(value) < 1e15 else f"{value:.2e}"


def factor(value: float) -> str:
    """How many times something is something else: three significant digits, no zeros behind."""
    return f"{value:.3g}" if abs(value) < 999.5 else number(value)


def common_unit(largest: float, units: Mapping[str, float]) -> str:
    """The unit of ``units`` in which ``largest`` is at least 1, or the smallest one.

    ``largest`` is a count, or an energy in mJ.
    """
    fitting = [unit for unit, size in units.items() if abs(largest) >= size]
    return fitting[-1] if fitting else next(iter(units))


def read_units(units: str | Iterable[str]) -> Units:
    """The units that a user asks for: "auto", or one for counts, one for energies, or both.

    Several are a sequence or separated by commas. Raises `SyopsValueError` for a unit that does
    not exist and for two of a kind.
    """
    count, energy = "", ""
    for unit in _listed(units):
        unit = _SPELLINGS.get(unit, unit)
        if unit in COUNTS and count in ("", unit):
            count = unit
        elif unit in ENERGIES and energy in ("", unit):
            energy = unit
        elif unit in COUNTS or unit in ENERGIES:
            raise SyopsValueError(
                f"units: {count if unit in COUNTS else energy} and {unit} are units of the same; "
                "give one for counts and one for energies"
            )
        elif unit != AUTO:
            known = ", ".join([AUTO, *COUNTS, *ENERGIES])
            raise SyopsValueError(f"units: no such unit: {unit!r}; known: {known}")
    return Units(count, energy)


def read_count(text: str) -> float:
    """A number of operations: ``0.2G``, ``1.5 M``, ``1e9``. Raises `SyopsValueError`."""
    return _read(text, {"": 1.0, **COUNTS}, "a number of operations such as 0.2G")


def read_energy(text: str) -> float:
    """An energy in mJ: ``2.5mJ``, ``2500 uJ``. Raises `SyopsValueError`, also without a unit."""
    return _read(text, ENERGIES, "an energy with its unit such as 2.5mJ")


def read_share(text: str) -> float:
    """A share: ``1%`` or ``0.01``. Raises `SyopsValueError`."""
    return _read(text, {"": 1.0, "%": 0.01}, "a share such as 1% or 0.01")


def _read(text: str, units: Mapping[str, float], expected: str) -> float:
    wrong = f"{text!r} is not {expected}"
    found = _AMOUNT.fullmatch(text.strip())
    if found is None:
        raise SyopsValueError(f"{wrong}, finite and at least 0")
    amount, unit = found[1], _SPELLINGS.get(found[2], found[2])
    if unit not in units:
        raise SyopsValueError(f"{wrong}; known units: {', '.join(filter(None, units))}")
    if float(amount) > 1e200:
        raise SyopsValueError(f"{wrong}: it is too large")
    return float(Decimal(amount) * Decimal(str(units[unit])))  # 0.57G is 570,000,000


def _listed(units: str | Iterable[str]) -> list[str]:
    given = [units] if isinstance(units, str) or not isinstance(units, Iterable) else list(units)
    if wrong := [unit for unit in given if not isinstance(unit, str)]:
        raise SyopsTypeError(f"units must be text such as 'mJ', got {wrong[0]!r}")
    return [unit.strip() for some in given for unit in some.split(",")]


def _exponent(value: float) -> int:
    """Of the value with three significant digits: that of 999.9 is 3."""
    return int(f"{value:.2e}".partition("e")[2])


def _group(value: float, small: bool) -> int:
    """How often 1000 goes into ``value``; negative only for values with a unit."""
    return min(max(_exponent(value) // 3, -6 if small else 0), 6)


def _digits(value: float) -> str:
    return f"{value:.{min(max(2 - _exponent(value), 0), 6)}f}"
