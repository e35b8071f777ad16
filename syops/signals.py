"""Which values a tensor can carry, position by position. Pure Python, no torch.

A *signal* is a proof, not a guess: the set it describes is never smaller than the truth.
It is either opaque (`ANALOG`, `LEARNED`, `INTEGER`, `UNKNOWN`), perhaps with ends (`Interval`), or
a `Table`, a truth table over spike atoms. An atom stands for the value that one spike tensor has
at a position; two tensors whose tables share atoms agree about it at every position. That is why
``s + x - s * x`` comes out as {0, 1} while ``s + x`` comes out as {0, 1, 2}.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

Number = int | float
"""Value of a tensor element; ``True`` and ``1.0`` are the same value."""


class Opaque(enum.Enum):
    """Signals about whose values nothing finite is known."""

    ANALOG = "analog"
    """Real values: the result of a convolution, a normalisation, a mean, ..."""
    LEARNED = "learned"
    """Computed from parameters and buffers alone: weights. Analog, and never looked at."""
    INTEGER = "integer"
    """Integers of any magnitude, such as the event counts of a camera."""
    UNKNOWN = "unknown"
    """Nothing was derived; only such tensors are looked at in the data."""


ANALOG, LEARNED, INTEGER, UNKNOWN = Opaque.ANALOG, Opaque.LEARNED, Opaque.INTEGER, Opaque.UNKNOWN


@dataclass(frozen=True, slots=True)
class Atom:
    """One independent choice out of ``size`` per position."""

    id: int
    size: int


@dataclass(frozen=True, slots=True)
class Table:
    """The value of a tensor element for every assignment of its atoms.

    ``values`` has one entry per assignment, the last atom varying fastest. With a
    ``scale`` every value is multiplied by one constant: the name of a one-element parameter, which
    is never looked at, or a fraction such as "1/9", which a tensor holds only up to rounding (see
    `times`). No atoms: a constant.
    """

    atoms: tuple[Atom, ...]
    values: tuple[Number, ...]
    scale: str = ""

    @property
    def support(self) -> frozenset[Number]:
        """The set of values that can occur (in units of ``scale``)."""
        return frozenset(self.values)


@dataclass(frozen=True, slots=True)
class Interval:
    """Values of an opaque ``kind`` that lie between two ends, which may be infinite.

    It counts as its kind. The ends only matter to what rounds, cuts off or joins such values.
    """

    low: float
    high: float
    kind: Opaque = Opaque.ANALOG


Signal = Table | Opaque | Interval

EMPTY = Table((), ())
"""The signal of fresh memory: it carries what will be written into it, and nothing yet."""


def constant(value: Number) -> Table:
    """The signal of a tensor that has one known value everywhere."""
    return Table((), (value,))


def kind_of(signal: Signal) -> Table | Opaque:
    """The signal without the ends of an interval."""
    return signal.kind if isinstance(signal, Interval) else signal


def hull_of(signal: Signal) -> Interval:
    """The smallest interval around all values of a signal."""
    if isinstance(signal, Interval):
        return signal
    if isinstance(signal, Table):
        kind = INTEGER if is_integer(signal) else ANALOG
        if signal.values and not signal.scale:
            return Interval(min(signal.values), max(signal.values), kind)
        return Interval(-math.inf, math.inf, kind)
    return Interval(-math.inf, math.inf, signal)


def times(scale: str, factor: Fraction) -> str:
    """Multiply a scale by a fraction."""
    names, known = split(scale)
    product = known * factor
    parts = [] if product == 1 else [str(product)]
    return "*".join([*parts, names] if names else parts)


def split(scale: str) -> tuple[str, Fraction]:
    """Split a scale into the names of parameters and the fraction that they are multiplied by."""
    names, product = [], Fraction(1)
    for part in scale.split("*"):
        if part[:1].isdigit():
            product *= Fraction(part)
        else:
            names.append(part)
    return "*".join(names), product


class Atoms:
    """The atoms of one observed forward pass.

    Atoms made from the same key are the same atom: that is how the same slice of the same
    tensor, taken twice, is known to agree with itself.
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, Atom] = {}
        self._count = 0

    def fresh(self, values: Sequence[Number]) -> Table:
        """A signal independent of all others, with the given value set."""
        self._count += 1
        return Table((Atom(self._count, len(values)),), tuple(values))

    def rebased(self, table: Table, geometry: Hashable = ()) -> Table:
        """The value set of ``table`` on one atom of its own.

        ``geometry`` says how positions were moved (``()``: not at all). Tables with the
        same level sets, such as ``x`` and ``1 - x``, share the atom, so that what is known
        between them survives.
        """
        if not table.atoms:
            return table
        first: dict[Number, int] = {}
        labels = tuple(first.setdefault(value, len(first)) for value in table.values)
        key = (geometry, tuple(atom.id for atom in table.atoms), labels)
        return Table((self._keyed(key, len(first)),), tuple(first), table.scale)

    def joined(self, signals: Iterable[Signal], geometry: Hashable = None) -> Signal:
        """A tensor whose elements come from several others (stack, cat, a partial write).

        With a ``geometry`` the result depends on the operands and it alone, so that the same
        join made twice agrees with itself.
        """
        signals = tuple(signals)
        opaque = {kind for kind in map(kind_of, signals) if isinstance(kind, Opaque)}
        tables = [signal for signal in signals if isinstance(signal, Table)]
        if opaque:
            kind = _join_opaque(opaque, tables)
            ends = [hull_of(signal) for signal in signals if signal != EMPTY]
            return between(min(e.low for e in ends), max(e.high for e in ends), kind)
        scales = {table.scale for table in tables if table.support != {0}}
        if len(scales) > 1:
            return ANALOG
        values = tuple(sorted(frozenset().union(*(table.values for table in tables))))
        scale = scales.pop() if scales else ""
        if len(values) == 1:
            return Table((), values, scale)
        if geometry is None:
            return Table(self.fresh(values).atoms, values, scale)
        parts = tuple((tuple(a.id for a in table.atoms), table.values) for table in tables)
        return Table((self._keyed((geometry, parts), len(values)),), values, scale)

    def _keyed(self, key: Hashable, size: int) -> Atom:
        atom = self._made.get(key)
        if atom is None:
            self._count += 1
            atom = self._made[key] = Atom(self._count, size)
        return atom


def between(low: float, high: float, kind: Opaque) -> Interval | Opaque:
    """Values of a kind, with the ends that they lie between, where there are any."""
    bounded = kind is not LEARNED and (low > -math.inf or high < math.inf)
    return Interval(low, high, kind) if bounded else kind


def _join_opaque(opaque: set[Opaque], tables: list[Table]) -> Opaque:
    if opaque == {LEARNED} and all(not table.atoms for table in tables):
        return LEARNED
    if opaque & {ANALOG, LEARNED}:
        return ANALOG
    if UNKNOWN in opaque:
        return UNKNOWN
    return INTEGER if all(is_integer(table) for table in tables) else ANALOG


def is_integer(table: Table) -> bool:
    """Whether every value of an unscaled table is a whole number."""
    return not table.scale and all(float(value).is_integer() for value in table.values)


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


SPIKES = ("binary", "ternary", "scaled")
"""The classes that make an operation an AC: {0,1}, {-1,0,1}, and {0,a} or {-a,0,a}."""


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
def common_unit(magnitudes: frozenset[Number]) -> Fraction | None:
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
class Evidence:
    """All that was derived or seen of one operand, over calls, time-steps and batches.

    Joined as often as one likes, in any order, and classified once, at the end: so no class
    depends on how the data was split.
    """

    analog: bool = False
    integer: bool = False
    derived: frozenset[tuple[str, Number]] = field(default_factory=frozenset)
    seen: Seen | None = None

    def join(self, other: Evidence) -> Evidence:
        seen = self.seen.join(other.seen) if self.seen else other.seen
        return Evidence(
            self.analog or other.analog,
            self.integer or other.integer,
            self.derived | other.derived,
            seen,
        )

    @property
    def signal(self) -> str:
        """The class: "binary", "ternary", "scaled", "graded" or "analog" (design: counting
        conventions). Zeros alone are a binary signal at rate 0."""
        if self.analog or (self.seen and not self.seen.integer):
            return "analog"
        nonzero = self._nonzero
        if not self.integer:
            magnitudes = {(scale, abs(value)) for scale, value in nonzero}
            if magnitudes <= {("", 1)}:
                return "ternary" if ("", -1) in nonzero else "binary"
            if len(magnitudes) == 1:
                return "scaled"
        return "analog" if self.unit is None else "graded"

    @property
    def unit(self) -> Unit | None:
        """The greatest common divisor of all values, or None where there is none.

        Only derived values have one. Integers that were seen in data, or that have no bound,
        are multiples of 1 and of nothing greater.
        """
        nonzero = self._nonzero
        if self.integer:
            nonzero |= {("", 1)}
        scales = {scale for scale, _ in nonzero}
        if len(scales) > 1 or self.analog:
            return None
        if not nonzero:
            return Unit()
        size = common_unit(frozenset(abs(value) for _, value in nonzero))
        return None if size is None else Unit(scales.pop(), size)

    @property
    def largest(self) -> float:
        """The largest magnitude in units; infinite where no bound is known."""
        unit = self.unit
        if unit is None or (self.integer and not self.seen):
            return math.inf
        return max(
            (round(Fraction(abs(value)) / unit.size) for _, value in self._nonzero), default=0
        )

    @property
    def _nonzero(self) -> set[tuple[str, Number]]:
        """What can occur beside zero. Of integers that were seen, 1 is always one."""
        nonzero = {(scale, value) for scale, value in self.derived if value != 0}
        ends = {self.seen.low, self.seen.high} - {0} if self.seen else set()
        nonzero |= {("", value) for value in ends}
        return nonzero | {("", 1)} if any(abs(value) != 1 for value in ends) else nonzero


def evidence_of(signal: Signal, seen: Seen | None = None) -> Evidence:
    """What one operand of one call tells: its derived signal, and what was seen of it."""
    signal = kind_of(signal)
    if isinstance(signal, Table):
        scale, factor = split(signal.scale)
        if factor != 1:
            values = ((v, float(Fraction(v) * factor)) for v in signal.support)
            return Evidence(derived=frozenset((scale if v else "", value) for v, value in values))
        return Evidence(derived=frozenset((scale if v else "", v) for v in signal.support))
    if signal is INTEGER:
        return Evidence(integer=True, seen=seen)
    return Evidence(analog=signal in (ANALOG, LEARNED), seen=seen)
