"""Work out what each sample of a pass has of the counts of each row."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from fractions import Fraction

from syops.ledger.rows import Row
from syops.ledger.samples import CountColumn
from syops.trace.account import (
    Account,
    Known,
    Norm,
    OperandReadings,
    Synaptic,
    drives_of,
)
from syops.trace.axes import Axes, Split
from syops.trace.readings import Readings

Parts = dict[CountColumn, list[tuple[Fraction, list[int]]]]
"""What each sample has of each count; see `syops.ledger.samples.Shares`."""

_ONE = Fraction(1)


def shares_of(
    account: Account, rows: Sequence[Row], readings: Readings, number: int, fold_bn: bool
) -> tuple[list[Parts], set[Hashable]]:
    """Return what each sample of each pass has of each count.

    Args:
        account: what the passes come to.
        rows: of its costs, for all passes together.
        readings: of the passes.
        number: of samples in each pass.
        fold_bn: whether norms are folded where they can be.

    Returns:
        the shares for each pass, and the rows whose samples cannot be told apart.
    """
    shares: list[Parts] = [{} for _ in range(readings.passes)]
    unknown: set[Hashable] = set()
    for item, row in zip(account.pending, rows, strict=True):
        if not isinstance(item, Norm) and item.prepared and not account.has_states:
            continue
        key = *row.family, item.site
        work = _Work(key, shares, readings, number)
        match item:
            case Synaptic():
                is_known = work.product(item, drives_of(item, account.folding, fold_bn))
            case Norm():
                done = row.under(fold_bn)
                work.same("mac", done.mac // readings.passes)
                is_known = done.mac == 0 or work.is_apart(item.axes)
            case Known():
                work.same("ac", row.ac // readings.passes)
                work.same("mac", row.mac // readings.passes)
                is_known = number == 1
        if not is_known:
            unknown.add(key)
    return shares, unknown


class _Work:
    """What one cost adds to the shares of the samples."""

    def __init__(
        self, key: Hashable, shares: Sequence[Parts], readings: Readings, number: int
    ) -> None:
        self._key = key
        self._shares = shares
        self._readings = readings
        self._number = number

    def product(self, item: Synaptic, operands: Sequence[OperandReadings]) -> bool:
        """Add a product; return whether its samples can be told apart."""
        dense = item.row.dense
        self.same("dense", dense)
        if not any(self.is_apart(operand.axes) for operand in operands):
            return False
        rates: list[tuple[int, list[list[int]]]] = []
        for place, operand in enumerate(operands):
            if operand.spikes is None:
                continue
            source = operand.padding.source() if operand.padding else None
            at, split, numel = operand.spikes, operand.split, operand.numel
            if source is not None:
                at, split, numel = source.spikes, source.split, source.numel
            spikes = self._each(at, split)
            reached = self._each(
                operand.spikes if operand.events is None else operand.events, operand.split
            )
            if spikes is None or reached is None:
                return False
            rates.append((numel, spikes))
            self._put("ac", place, Fraction(dense, numel), spikes)
            self._put("spikes", place, _ONE, spikes)
            fan_out = 1 if operand.events is not None else operand.fan_out.uniform or 0
            self._put("events", place, Fraction(fan_out), reached)
        if item.pairs is not None:
            (numel, left), (other, right) = rates
            joint = [
                [a * b for a, b in zip(one, two, strict=True)]
                for one, two in zip(left, right, strict=True)
            ]
            self._put("joint_ac", None, Fraction(dense * self._number, numel * other), joint)
        return True

    def same(self, what: str, whole: int) -> None:
        """Add a count that each sample has as much of."""
        if whole:
            ones = [[1] * self._number] * self._readings.passes
            self._put(what, None, Fraction(whole, self._number), ones)

    def is_apart(self, axes: Axes) -> bool:
        """Return whether the samples of a tensor can be told apart."""
        return self._number == 1 or isinstance(axes.samples, tuple)

    def _each(self, place: int, split: Split | None) -> list[list[int]] | None:
        """Return a count of each sample in each pass; None where it was not taken so."""
        if self._number == 1:
            return self._readings.by_sample(place, 1)
        if split is None or split.samples != self._number:
            return None
        return self._readings.by_sample(place, self._number)

    def _put(
        self, what: str, operand: int | None, factor: Fraction, counts: list[list[int]]
    ) -> None:
        column = CountColumn(self._key, what, operand)
        for parts, each in zip(self._shares, counts, strict=True):
            parts.setdefault(column, []).append((factor, each))
