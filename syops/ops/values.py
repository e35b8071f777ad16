"""Describe the values that a tensor can carry, position by position. Pure Python, no torch.

A *signal* over-approximates: its set contains every value that the tensor can hold.
It is either opaque (`ANALOG`, `LEARNED`, `INTEGER`, `UNKNOWN`), perhaps with ends (`Interval`), or
a `TruthTable` over spike atoms. An atom stands for the value that one spike tensor has at a
position; two tensors whose tables share atoms agree about it at every position. That is why
``s + x - s * x`` comes out as {0, 1} while ``s + x`` comes out as {0, 1, 2}.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from syops.ops.kinds import SPIKES

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
class Scale:
    """A factor of all values that is never looked at; false where there is none.

    ``name`` tells which computation made it: equal names are equal values. ``dims`` are the
    dimensions of the tensor along which it differs, in the order of the coordinates that it is a
    function of; none: it is one number. Only weights whose input channels lie along these
    dimensions can take such a factor up.
    """

    name: str = ""
    dims: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.name)


UNSCALED = Scale()


@dataclass(frozen=True, slots=True)
class TruthTable:
    """The value of a tensor element for every assignment of its atoms.

    ``values`` has one entry per assignment, the last atom varying fastest. With a
    ``scale`` every value is multiplied by what is never looked at: a one-element parameter, or one
    element for each channel. No atoms: a constant.
    """

    atoms: tuple[Atom, ...]
    values: tuple[Number, ...]
    scale: Scale = UNSCALED

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


@dataclass(frozen=True, slots=True)
class Shown:
    """Nothing was derived, but an example showed the class of a whole tensor.

    ``name`` is "binary", "ternary", "graded" or "analog". A part of the tensor may be of a lower
    class: that of spikes is theirs too, while a part of real numbers may hold integers alone.
    """

    name: str


Signal = TruthTable | Opaque | Interval | Shown

EMPTY = TruthTable((), ())
"""The signal of fresh memory: it carries what will be written into it, and nothing yet."""


def constant(value: Number) -> TruthTable:
    """Return the signal of a tensor that has one known value everywhere."""
    return TruthTable((), (value,))


def is_constant(signal: Signal) -> bool:
    """Return whether every element has one known value, as that of literals."""
    return isinstance(signal, TruthTable) and not signal.atoms


def kind_of(signal: Signal) -> TruthTable | Opaque:
    """Return a signal without the ends of an interval, and without what an example showed."""
    if isinstance(signal, Shown):
        return UNKNOWN
    return signal.kind if isinstance(signal, Interval) else signal


def part_of(signal: Signal) -> Signal:
    """Return what is known of some values of a tensor, of which all were shown."""
    lower = isinstance(signal, Shown) and signal.name not in SPIKES
    return UNKNOWN if lower else signal


def put_together(parts: Sequence[Signal]) -> Shown | None:
    """Return what an example shows of a tensor made of whole ones; None where it shows nothing."""
    names = {part.name for part in parts if isinstance(part, Shown)}
    if not names:
        return None
    rest = [kind_of(part) for part in parts if not isinstance(part, Shown)]
    if "analog" in names:
        return Shown("analog")
    if "graded" in names:
        whole = all(r is INTEGER or (isinstance(r, TruthTable) and is_integer(r)) for r in rest)
        return Shown("graded") if whole else None
    tables = [r for r in rest if isinstance(r, TruthTable) and not r.scale]
    values = frozenset().union(*(table.support for table in tables))
    if len(tables) < len(rest) or not values <= {-1, 0, 1}:
        return None
    return Shown("ternary" if "ternary" in names or -1 in values else "binary")


def hull_of(signal: Signal) -> Interval:
    """Return the smallest interval around all values of a signal."""
    if isinstance(signal, Interval):
        return signal
    if isinstance(signal, TruthTable):
        kind = INTEGER if is_integer(signal) else ANALOG
        if signal.values and not signal.scale:
            return Interval(min(signal.values), max(signal.values), kind)
        return Interval(-math.inf, math.inf, kind)
    return Interval(-math.inf, math.inf, UNKNOWN if isinstance(signal, Shown) else signal)


def averaged_scale(scale: Scale, unit: Fraction, how: str) -> Scale:
    """Return a scale by a fraction, up to rounding; ``how`` the values were rounded."""
    _, known = split(scale.name)
    return Scale(f"{known * unit} by {how} {scale.name}".rstrip())


def split(name: str) -> tuple[str, Fraction]:
    """Split the name of a scale into what is not a fraction, and the fraction."""
    fraction, by, _ = name.partition(" by ")
    return ("", Fraction(fraction)) if by and fraction[:1].isdigit() else (name, Fraction(1))


def rescaled(signal: Signal, scale: Scale) -> Signal:
    """Return a table with another scale; anything else as it is."""
    return (
        TruthTable(signal.atoms, signal.values, scale) if isinstance(signal, TruthTable) else signal
    )


def for_weights(signal: Signal, channel: int | None) -> TruthTable | Opaque | Shown:
    """Return what a signal is to weights whose input channels lie along its dim ``channel``.

    They take up a scale that differs along that dimension alone. None: there are no weights.
    """
    if isinstance(signal, Shown):
        return signal
    signal = kind_of(signal)
    if not isinstance(signal, TruthTable) or not signal.scale.dims:
        return signal
    folds = all(dim == channel for dim in signal.scale.dims)
    return TruthTable(signal.atoms, signal.values, Scale(signal.scale.name)) if folds else ANALOG


class Atoms:
    """The atoms of one observed forward pass.

    Atoms made from the same key are the same atom: that is how the same slice of the same
    tensor, taken twice, is known to agree with itself.
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, Atom] = {}
        self._count = 0

    def fresh(self, values: Sequence[Number]) -> TruthTable:
        """Return a signal independent of all others, with the given value set."""
        self._count += 1
        return TruthTable((Atom(self._count, len(values)),), tuple(values))

    def rebased(self, table: TruthTable, geometry: Hashable = ()) -> TruthTable | Opaque:
        """Return the value set of ``table`` on one atom of its own.

        ``geometry`` says how positions were moved (``()``: not at all); a scale that differs along
        dimensions does not outlive that. Tables with the
        same level sets, such as ``x`` and ``1 - x``, share the atom, so that what is known
        between them survives.
        """
        if table.scale.dims and geometry:
            return ANALOG
        if not table.atoms:
            return table
        first: dict[Number, int] = {}
        labels = tuple(first.setdefault(value, len(first)) for value in table.values)
        key = (geometry, tuple(atom.id for atom in table.atoms), labels)
        return TruthTable((self._keyed(key, len(first)),), tuple(first), table.scale)

    def joined(self, signals: Iterable[Signal], geometry: Hashable = None) -> Signal:
        """Return the signal of a tensor made of several (stack, cat, a partial write).

        With a ``geometry`` the result depends on the operands and it alone, so that the same
        join made twice agrees with itself.
        """
        signals = tuple(signals)
        opaque = {kind for kind in map(kind_of, signals) if isinstance(kind, Opaque)}
        tables = [signal for signal in signals if isinstance(signal, TruthTable)]
        if opaque:
            kind = _join_opaque(opaque, tables)
            ends = [hull_of(signal) for signal in signals if signal != EMPTY]
            return between(min(e.low for e in ends), max(e.high for e in ends), kind)
        scales = {table.scale for table in tables if table.support != {0}}
        if len(scales) > 1 or any(scale.dims for scale in scales):
            return ANALOG
        values = tuple(sorted(frozenset().union(*(table.values for table in tables))))
        scale = scales.pop() if scales else UNSCALED
        if len(values) == 1:
            return TruthTable((), values, scale)
        if geometry is None:
            return TruthTable(self.fresh(values).atoms, values, scale)
        parts = tuple((tuple(a.id for a in table.atoms), table.values) for table in tables)
        return TruthTable((self._keyed((geometry, parts), len(values)),), values, scale)

    def named(self, name: Hashable, values: Sequence[Number]) -> TruthTable:
        """Return a signal with the given value set, the same one for the same name."""
        return TruthTable((self._keyed(("named", name), len(values)),), tuple(values))

    def _keyed(self, key: Hashable, size: int) -> Atom:
        atom = self._made.get(key)
        if atom is None:
            self._count += 1
            atom = self._made[key] = Atom(self._count, size)
        return atom


def between(low: float, high: float, kind: Opaque) -> Interval | Opaque:
    """Return values of a kind, with the ends that they lie between, where there are any."""
    bounded = kind is not LEARNED and (low > -math.inf or high < math.inf)
    return Interval(low, high, kind) if bounded else kind


def _join_opaque(opaque: set[Opaque], tables: list[TruthTable]) -> Opaque:
    if opaque == {LEARNED} and all(not table.atoms for table in tables):
        return LEARNED
    if opaque & {ANALOG, LEARNED}:
        return ANALOG
    if UNKNOWN in opaque:
        return UNKNOWN
    return INTEGER if all(is_integer(table) for table in tables) else ANALOG


def is_integer(table: TruthTable) -> bool:
    """Return whether every value of an unscaled table is a whole number."""
    return not table.scale and all(float(value).is_integer() for value in table.values)
