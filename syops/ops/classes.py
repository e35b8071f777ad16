"""Class the values of an operand, once all that was derived and seen of them is known.

Binary, ternary and scaled values are spikes; graded ones are multiples of a constant; others are
analog.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from syops.ops.values import INTEGER, UNKNOWN, Number, Shown, Signal, TruthTable, kind_of, split


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at data shows: the range of the values, and whether all are integers."""

    low: float
    high: float
    integer: bool

    def join(self, other: Seen | None) -> Seen:
        if other is None:
            return self
        return Seen(
            min(self.low, other.low), max(self.high, other.high), self.integer and other.integer
        )


LARGEST = 255
"""Largest multiple of a constant that is graded. Integers need no constant, and have no limit."""
ROUNDING = Fraction(1, 2**22)
"""Relative error up to which two values are the same multiple: the last bits of a float32."""


@dataclass(frozen=True, slots=True)
class Unit:
    """The constant that all values of a graded signal are multiples of."""

    scale: str = ""
    size: Fraction = Fraction(1)


@lru_cache(maxsize=4096)
def common_divisor(magnitudes: frozenset[Number]) -> Fraction | None:
    """Find the greatest common divisor of positive magnitudes, or None.

    Magnitudes that are not whole are multiples of their divisor up to the rounding of a float32.
    None, if the largest is more than `LARGEST` times the divisor, or if two magnitudes differ
    by rounding alone: they are not equal, and nothing may say that they are.
    """
    exact = sorted(map(Fraction, magnitudes))
    if all(value.denominator == 1 for value in exact):
        return Fraction(math.gcd(*(value.numerator for value in exact)) or 1)
    least = exact[0]
    ratios = [(value / least).limit_denominator(LARGEST) for value in exact]
    if any(
        abs(ratio * least - value) > value * ROUNDING
        for ratio, value in zip(ratios, exact, strict=True)
    ):
        return None
    parts = math.lcm(*(ratio.denominator for ratio in ratios))
    if ratios[-1] * parts > LARGEST or len(set(ratios)) < len(ratios):
        return None
    return least / parts


@dataclass(frozen=True, slots=True)
class ValueEvidence:
    """All that was derived or seen of one operand, over calls, time-steps and batches.

    Joined as often as one likes, in any order, and classified once, at the end: so no class
    depends on how the data was split.
    """

    analog: bool = False
    integer: bool = False
    derived: frozenset[tuple[str, Number]] = field(default_factory=frozenset)
    seen: Seen | None = None
    unknown: bool = False
    """Nothing was derived and nobody could look: without data, it may be of any class."""
    shown: bool = False
    """Some of what was derived was only shown by an example, and need not occur in all data."""

    def join(self, other: ValueEvidence) -> ValueEvidence:
        seen = self.seen.join(other.seen) if self.seen else other.seen
        return ValueEvidence(
            self.analog or other.analog,
            self.integer or other.integer,
            self.derived | other.derived,
            seen,
            self.unknown or other.unknown,
            self.shown or other.shown,
        )

    @property
    def signal(self) -> str:
        """The class: "binary", "ternary", "scaled", "graded", "analog" or "unknown".

        Zeros alone are a binary signal at rate 0.
        """
        return _class_of(self)

    @property
    def unit(self) -> Unit | None:
        """The greatest common divisor of all values, or None where there is none.

        Only derived values have one. Integers that were seen in data, or that have no bound,
        are multiples of 1 and of nothing greater.
        """
        return _unit_of(self)

    @property
    def largest(self) -> float:
        """The largest magnitude in units; infinite where no bound is known."""
        unit = self.unit
        if unit is None or (self.integer and not self.seen):
            return math.inf
        return round(Fraction(max((abs(v) for _, v in self._nonzero), default=0)) / unit.size)

    @property
    def _nonzero(self) -> set[tuple[str, Number]]:
        """What can occur beside zero. Of integers that were seen, 1 is always one."""
        nonzero = {(scale, value) for scale, value in self.derived if value != 0}
        ends = {self.seen.low, self.seen.high} - {0} if self.seen else set()
        nonzero |= {("", value) for value in ends}
        return nonzero | {("", 1)} if any(abs(value) != 1 for value in ends) else nonzero


@lru_cache(maxsize=4096)
def _class_of(evidence: ValueEvidence) -> str:
    if evidence.analog or (evidence.seen and not evidence.seen.integer):
        return "analog"
    if evidence.unknown:
        return "unknown"
    nonzero = evidence._nonzero
    if not evidence.integer:
        magnitudes = {(scale, abs(value)) for scale, value in nonzero}
        if magnitudes <= {("", 1)}:
            return "ternary" if ("", -1) in nonzero else "binary"
        if len(magnitudes) == 1:
            return "scaled"
        if evidence.shown:
            return "unknown"  # without those that were shown it may be spikes
    return "analog" if evidence.unit is None else "graded"


@lru_cache(maxsize=4096)
def _unit_of(evidence: ValueEvidence) -> Unit | None:
    nonzero = evidence._nonzero
    if evidence.integer:
        nonzero |= {("", 1)}
    scales = {scale for scale, _ in nonzero}
    if len(scales) > 1 or evidence.analog:
        return None
    if not nonzero:
        return Unit()
    size = common_divisor(frozenset(abs(value) for _, value in nonzero))
    return None if size is None else Unit(scales.pop(), size)


def evidence_of(signal: Signal, seen: Seen | None = None) -> ValueEvidence:
    """Return what one operand of one call tells: its derived signal, and what was seen of it."""
    if isinstance(signal, Shown):
        if signal.name not in _SHOWN:
            return ValueEvidence(signal.name == "analog", signal.name == "graded")
        return ValueEvidence(derived=_SHOWN[signal.name], shown=True)
    signal = kind_of(signal)
    if isinstance(signal, TruthTable) and not signal.scale.dims:
        name, fraction = split(signal.scale.name)
        if signal.scale and not name:
            return ValueEvidence(
                derived=frozenset(("", _share(v, fraction)) for v in signal.support)
            )
        return ValueEvidence(derived=frozenset((name if v else "", v) for v in signal.support))
    if isinstance(signal, TruthTable):
        return ValueEvidence(analog=True)
    if signal is INTEGER:
        return ValueEvidence(integer=True, seen=seen)
    if signal is UNKNOWN:
        return ValueEvidence(seen=seen, unknown=seen is None)
    return ValueEvidence(analog=True)


def _share(value: Number, fraction: Fraction) -> float:
    """Return a value times a fraction, rounded once."""
    if isinstance(value, int):
        return value * fraction.numerator / fraction.denominator
    return float(Fraction(value) * fraction)


_SHOWN = {
    name: frozenset(("", value) for value in values)
    for name, values in (("binary", (0, 1)), ("ternary", (-1, 0, 1)))
}
