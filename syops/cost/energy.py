"""Price the operations of a network by an energy model for all layers, or one for each."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import lru_cache
from numbers import Rational, Real
from typing import TYPE_CHECKING, Any, SupportsFloat

from syops.errors import (
    SyopsTypeError,
    SyopsValueError,
    did_you_mean,
    shown,
)
from syops.units import JOULES, amount

SMALLEST, LARGEST = 1e-30, 1e30
"""The costs in pJ that are computed with; no energy of a whole network overflows then."""

_COSTS = ("e_ac_pj", "e_mac_pj", "e_neuron_pj", "e_spike_pj")
_TEXTS = ("technology", "source", "includes")


@dataclass(frozen=True)
class EnergyModel:
    """Hold the energy of one operation, in picojoules.

    A cost is given as a number of pJ, or as text with a unit: ``"23.6 pJ"``, ``"2.8e-12 J"``.

    Attributes:
        name: its name in reports.
        e_ac_pj: an accumulate (AC); on a neuromorphic processor a synaptic operation.
        e_mac_pj: a multiply-accumulate (MAC). None where it has no price: the MACs of a network are
            then left out of its energy, and a report says so.
        technology: process, voltage, precision.
        source: where the figures come from.
        e_neuron_pj: a neuron update; None for the price of a MAC. Neuron updates are outside the
            totals unless a report is asked for them.
        e_spike_pj: routing one spike to one layer.
        spike_only: whether the hardware processes spikes alone.
        includes: what the prices take in besides arithmetic.

    Raises:
        SyopsTypeError: a cost that is neither a number nor text, or another field of a wrong type.
        SyopsValueError: a cost that is negative, infinite or NaN, or in a unit of something else.

    Examples:
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
                object.__setattr__(self, field, _picojoules(cost, f"{self._label}: {field}"))
        for field in ("name", *_TEXTS):
            if not isinstance(getattr(self, field), str):
                raise SyopsTypeError(
                    f"{self._label}: {field} must be text, got {getattr(self, field)!r}"
                )
        if not isinstance(self.spike_only, bool):
            raise SyopsTypeError(
                f"{self._label}: spike_only must be true or false, got {self.spike_only!r}"
            )

    @property
    def _label(self) -> str:
        return f"energy model {self.name!r}"

    @property
    def models(self) -> tuple[EnergyModel, ...]:
        """This model alone, in a tuple."""
        return (self,)

    def model_for(self, path: str, dtype: str) -> EnergyModel:
        """Return this model, for every layer."""
        return self

    def mac_price(self, kind: str) -> float | None:
        """Return what a MAC of a row of this kind costs, in pJ; None where it has no price."""
        own = self.e_neuron_pj if kind == "neuron" else None
        return self.e_mac_pj if own is None else own

    def price_pj(
        self, kind: str, ac: SupportsFloat, mac: SupportsFloat, spikes: int = 0
    ) -> Fraction:
        """Price operations exactly, as costs are decimal numbers; no other place does so.

        E_ac · ac + E_mac · mac + E_spike · spikes in pJ, with E_neuron for E_mac in a row of kind
        "neuron". MACs without a price add nothing.
        """
        costs = (self.e_ac_pj, ac), (self.mac_price(kind) or 0.0, mac), (self.e_spike_pj, spikes)
        return sum((_as_decimal(cost) * _exact(n) for cost, n in costs if n), Fraction(0))

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
        """Return the model of a row.

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
                    f"energy: pattern {pattern!r} is never used: earlier patterns already match "
                    "all its layers. Put '*' last."
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


def _matches(pattern: str, path: str, dtype: str) -> bool:
    return fnmatchcase(path, pattern) or pattern == dtype


_DTYPE = re.compile(r"(q?u?int|b?float|complex)\d+\w*|bool")


def _picojoules(cost: Any, what: str) -> float:
    """Return a cost as a number of pJ."""
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


@lru_cache
def _as_decimal(cost: float) -> Fraction:
    """Return a cost as it is written: 0.9 is 9/10."""
    return Fraction(repr(cost))


def _exact(number: Any) -> int | Fraction:
    exact = type(number) in (int, Fraction)
    return number if exact else Fraction(number if isinstance(number, Rational) else float(number))
