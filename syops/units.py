"""Write counts and energies in words, with three digits and a prefix, and read them back.

Counts have no unit, energies are in mJ, as everywhere in a report.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Literal, TypeAlias

from syops.errors import SyopsTypeError, SyopsValueError

Unit: TypeAlias = Literal["auto", "k", "M", "G", "T", "pJ", "nJ", "uJ", "µJ", "mJ", "J"]
"""What figures can be shown in: "auto" gives every value the prefix that suits it."""

AUTO: Unit = "auto"

COUNTS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
"""Operations in one of each unit."""

ENERGIES = {"pJ": 1e-9, "nJ": 1e-6, "µJ": 1e-3, "mJ": 1.0, "J": 1e3}
"""Millijoules in one of each unit."""

_SPELLINGS = {"uJ": "µJ", "μJ": "µJ", "us": "µs", "μs": "µs"}  # "μ": the Greek letter
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
    """Return the same, with None for upper ends that do not exist: JSON knows no infinity."""
    if isinstance(value, dict):
        return {key: without_infinity(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_infinity(item) for item in value]
    return None if isinstance(value, float) and math.isinf(value) else value


def largest_end(*values: float) -> float:
    """Return the largest of values, without upper ends that do not exist; 0 where there is none."""
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
    """Return an energy in mJ with the prefix that suits it: ``917 µJ``."""
    return quantity(millijoules / 1e3, "J")


def number(value: float, decimals: int | None = None) -> str:
    """Return a value without its unit: three significant digits, or so many decimals."""
    if math.isinf(value):
        return NO_END
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if decimals is not None:
        return f"{value:.{decimals}f}"
    return _digits(value) if 1e-4 <= abs(value) < 1e15 else f"{value:.2e}"


def factor(value: float) -> str:
    """Return a ratio in words: three significant digits, without trailing zeros."""
    return f"{value:.3g}" if abs(value) < 999.5 else number(value)


def common_unit(largest: float, units: Mapping[str, float]) -> str:
    """Return the unit of ``units`` in which ``largest`` is at least 1, or the smallest one.

    ``largest`` is a count, or an energy in mJ.
    """
    fitting = [unit for unit, size in units.items() if abs(largest) >= size]
    return fitting[-1] if fitting else next(iter(units))


def read_units(units: str | Iterable[str]) -> Units:
    """Return the units that a user asks for: "auto", or one for counts, one for energies, or both.

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
    """Read a number of operations: ``0.2G``, ``1.5 M``, ``1e9``.

    Raises:
        SyopsValueError: it is none.

    >>> read_count("0.2G")
    200000000.0
    """
    return float(_read(text, _COUNTED, "a number of operations such as 0.2G"))


def read_energy(text: str) -> float:
    """Read an energy in mJ.

    Raises:
        SyopsValueError: it is none, or has no unit.

    >>> read_energy("2500 uJ")
    2.5
    """
    return float(_read(text, JOULES, "an energy with its unit such as 2.5mJ") * 1000)


def read_time(text: str) -> float:
    """Read a time in ms.

    Raises:
        SyopsValueError: it is none, or has no unit.

    >>> read_time("250 us")
    0.25
    """
    return float(_read(text, SECONDS, "a time with its unit such as 10ms") * 1000)


def read_share(text: str) -> float:
    """Read a share.

    Raises:
        SyopsValueError: it is none.

    >>> read_share("7%")
    0.07
    """
    return float(_read(text, _SHARES, "a share such as 1% or 0.01"))


JOULES = {"fJ": -15, "pJ": -12, "nJ": -9, "uJ": -6, "µJ": -6, "μJ": -6, "mJ": -3, "J": 0}
"""Units of energy as people write them, by their powers of ten."""
SECONDS = {"ns": -9, "us": -6, "µs": -6, "μs": -6, "ms": -3, "s": 0}
"""Units of time, likewise."""
_COUNTED = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12}
_SHARES = {"": 0, "%": -2}

_MOST_DIGITS = 200
"""A fraction of 1e999999999 would be a number of a billion digits."""


def amount(text: str, powers: Mapping[str, int]) -> Fraction:
    """Read a number with a unit, exactly.

    Args:
        text: such as ``"2.5 mJ"``.
        powers: the power of ten of each unit; "" for what needs none.

    Raises:
        SyopsValueError: says what is wrong, without the text.

    >>> amount("2.5 mJ", JOULES)
    Fraction(1, 400)
    """
    found = _AMOUNT.fullmatch(text.strip())
    if found is None:
        raise SyopsValueError("expected a number, finite and at least 0, with a unit behind it")
    unit = found[2]
    if unit not in powers:
        known = dict.fromkeys(_SPELLINGS.get(unit, unit) for unit in powers if unit)
        raise SyopsValueError(f"known units: {', '.join(known)}")
    try:
        number = Decimal(found[1])
    except InvalidOperation:  # an exponent of more than 18 digits
        raise SyopsValueError("it is too large or too small") from None
    if not number:
        return Fraction(0)
    if abs(number.adjusted()) > _MOST_DIGITS or len(found[1]) > _MOST_DIGITS:
        raise SyopsValueError("it is too large or too small")
    return Fraction(number) * Fraction(10) ** powers[unit]


def _read(text: str, powers: Mapping[str, int], expected: str) -> Fraction:
    try:
        return amount(text, powers)
    except SyopsValueError as error:
        raise SyopsValueError(f"{text!r} is not {expected}: {error}") from None


def _listed(units: str | Iterable[str]) -> list[str]:
    given = [units] if isinstance(units, str) or not isinstance(units, Iterable) else list(units)
    if wrong := [unit for unit in given if not isinstance(unit, str)]:
        raise SyopsTypeError(f"units must be text such as 'mJ', got {wrong[0]!r}")
    return [unit.strip() for some in given for unit in some.split(",")]


def _exponent(value: float) -> int:
    """Return the power of ten of a value with three significant digits: 3 for 999.9."""
    return int(f"{value:.2e}".partition("e")[2])


def _group(value: float, small: bool) -> int:
    """Return how often 1000 goes into ``value``; negative only for values with a unit."""
    return min(max(_exponent(value) // 3, -6 if small else 0), 6)


def _digits(value: float) -> str:
    return f"{value:.{min(max(2 - _exponent(value), 0), 6)}f}"
