"""Hold counts of each sample, and sums over samples that add up exactly."""

from __future__ import annotations

import math
from array import array
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple


class CountColumn(NamedTuple):
    """One count of one row of the ledger.

    Attributes:
        row: what the row is entered under.
        what: "dense", "mac" or "ac", "joint_ac"; of an operand "ac", "events" and "spikes".
        operand: its number, of counts of operands.
    """

    row: Hashable
    what: str
    operand: int | None = None


Shares = Mapping[CountColumn, Sequence[tuple[Fraction, Sequence[int]]]]
"""What each sample of a batch has of each count: factors times integers, to be added up."""


class SampleCounts:
    """Collect counts of each sample, in the order of the samples.

    Args:
        fold_bn: whether rows are read as with norms folded.

    Attributes:
        number: the samples so far.
        unknown: rows whose samples cannot be told apart.
        labels: the class of each sample; None where some have none.
    """

    def __init__(self, fold_bn: bool) -> None:
        self.labels: array[int] | None = array("q")
        self.fold_bn = fold_bn
        self.number = 0
        self.unknown: set[Hashable] = set()
        self._batches: list[
            tuple[int, int, dict[CountColumn, list[tuple[Fraction, array[int]]]]]
        ] = []

    def add(self, start: int, number: int, shares: Shares, unknown: Iterable[Hashable]) -> None:
        """Add a batch.

        Args:
            start: the samples before it.
            number: the samples in it.
            shares: what each has of each count.
            unknown: rows whose samples cannot be told apart.
        """
        held = {
            column: [(factor, array("q", counts)) for factor, counts in parts]
            for column, parts in shares.items()
        }
        self._batches.append((start, number, held))
        self.number = max(self.number, start + number)
        self.unknown |= set(unknown)

    def label(self, labels: Iterable[int] | None) -> None:
        """Note the classes of the samples of a batch; None: it has none."""
        if labels is None:
            self.labels = None
        elif self.labels is not None:
            self.labels.extend(labels)

    @property
    def classes(self) -> Mapping[int, Sequence[int]] | None:
        """The samples of each class, by its label; None where not all have one."""
        if self.labels is None or len(self.labels) != self.number:
            return None
        found: dict[int, list[int]] = {label: [] for label in sorted(set(self.labels))}
        for place, label in enumerate(self.labels):
            found[label].append(place)
        return found

    def totals(self, weights: Mapping[CountColumn, Fraction]) -> list[Fraction]:
        """Return for each sample the sum of all counts, each times its weight."""
        used = [
            (start, factor * weight, counts)
            for start, _, held in self._batches
            for column, parts in held.items()
            if (weight := weights.get(column, Fraction(0)))
            for factor, counts in parts
        ]
        whole = math.lcm(1, *{weight.denominator for _, weight, _ in used})
        sums = [0] * self.number
        for start, weight, counts in used:
            share = int(weight * whole)
            for place, count in enumerate(counts, start):
                sums[place] += count * share
        return [Fraction(each, whole) for each in sums]


@dataclass(frozen=True, slots=True)
class Moments:
    """Hold sums over samples, from which mean and spread follow; they add up exactly.

    Attributes:
        number: of samples.
        total, squares: sums of the values and of their squares.
        least, most: the extreme values.

    Examples:
        >>> moments = Moments.of([Fraction(1), Fraction(3)])
        >>> moments.mean, round(moments.deviation, 4), round(moments.half_width, 2)
        (2.0, 1.4142, 12.71)
        >>> moments == Moments.of([Fraction(3)]) + Moments.of([Fraction(1)])
        True
    """

    number: int
    total: Fraction
    squares: Fraction
    least: Fraction
    most: Fraction

    @classmethod
    def of(cls, values: Sequence[Fraction]) -> Moments:
        """Return those of some values, one at least."""
        whole = math.lcm(*{value.denominator for value in values})
        parts = [int(value * whole) for value in values]
        squares = Fraction(sum(part * part for part in parts), whole * whole)
        return cls(len(parts), Fraction(sum(parts), whole), squares, min(values), max(values))

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.number + other.number,
            self.total + other.total,
            self.squares + other.squares,
            min(self.least, other.least),
            max(self.most, other.most),
        )

    @property
    def mean(self) -> float:
        return float(self.total / self.number)

    @property
    def deviation(self) -> float | None:
        """The standard deviation of one sample, n - 1 in the denominator; None of a single one."""
        if self.number < 2:
            return None
        variance = (self.squares - self.total**2 / self.number) / (self.number - 1)
        return math.sqrt(variance)

    @property
    def half_width(self) -> float | None:
        """Half the width of the 95 % confidence interval of the mean, by Student's t."""
        if self.deviation is None:
            return None
        return quantile(self.number - 1) * self.deviation / math.sqrt(self.number)


def quantile(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t distribution.

    Exact up to rounding for up to 200 degrees of freedom (Abramowitz and Stegun, 26.7.3 and
    26.7.4, inverted by bisection); beyond, by the expansion 26.7.5.

    >>> [round(quantile(n), 3) for n in (1, 2, 9, 30, 10_000)]
    [12.706, 4.303, 2.262, 2.042, 1.96]
    """
    if freedom > 200:
        z = 1.959963984540054
        first = (z**3 + z) / (4 * freedom)
        second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        return z + first + second
    low, high = 0.0, 13.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle, freedom) < 0.95 else (low, middle)
    return low


def _inside(t: float, freedom: int) -> float:
    """Return the probability that |T| is below t."""
    angle = math.atan2(t, math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    term = total = 1.0 if freedom % 2 == 0 else cosine
    if freedom == 1:
        return 2 * angle / math.pi
    for k in range(1 if freedom % 2 == 0 else 2, freedom - 1, 2):
        term *= cosine**2 * k / (k + 1)
        total += term
    return sine * total if freedom % 2 == 0 else 2 / math.pi * (angle + sine * total)


@dataclass(frozen=True)
class Spread:
    """Hold how samples differ, under one convention and at one price.

    Attributes:
        ac: accumulates of a sample, as priced: by rate or by events.
        mac: multiply-accumulates of a sample.
        dc: energy of a sample, in pJ.
        basis: what they hold for; see `syops.cost.spread.Terms.basis`.
        by_class: the same of the samples of each class, by its label; None where not all samples
            have one.
    """

    ac: Moments
    mac: Moments
    dc: Moments
    basis: Mapping[str, str] = field(default_factory=dict)
    by_class: Mapping[int, Spread] | None = None

    def __add__(self, other: Spread) -> Spread:
        basis = {**self.basis, **other.basis}
        for name in self.basis.keys() & other.basis.keys():
            if self.basis[name] != other.basis[name]:
                basis[name] = f"{self.basis[name]}, {other.basis[name]}"
        by_class: dict[int, Spread] | None = None
        if self.by_class is not None and other.by_class is not None:
            by_class = dict(self.by_class)
            for label, spread in other.by_class.items():
                by_class[label] = by_class[label] + spread if label in by_class else spread
            by_class = dict(sorted(by_class.items()))
        sums = self.ac + other.ac, self.mac + other.mac, self.dc + other.dc
        return Spread(*sums, basis, by_class)
