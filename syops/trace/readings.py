"""Keep what was read of the tensors of passes on their device, and bring it over all at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from syops.trace.axes import Split


@dataclass(frozen=True, slots=True)
class Packed:
    """Readings of one pass, those on each device in one tensor.

    Many small tensors that outlive a pass would lie between its large ones, and keep the memory of
    these from being used again as a whole.
    """

    sizes: tuple[int, ...]
    parts: dict[torch.device, tuple[tuple[int, ...], Tensor]]
    """Of each device the places of its readings, and these."""

    @classmethod
    def of(cls, readings: Sequence[Tensor], dtype: torch.dtype) -> Packed:
        """Pack readings, without waiting for a device."""
        parts = {}
        for device in {tensor.device for tensor in readings}:
            places = tuple(i for i, tensor in enumerate(readings) if tensor.device == device)
            kept = torch.float32 if device.type == "mps" and dtype == torch.float64 else dtype
            each = [readings[place] for place in places]
            flat = [(x if x.dtype == kept else x.to(kept)).reshape(-1) for x in each]
            parts[device] = places, torch.cat(flat)
        return cls(tuple(tensor.numel() for tensor in readings), parts)


class Taken(NamedTuple):
    """The counts and the looks of a `Gauge`, which itself would keep the states of its pass."""

    counts: Packed
    looks: Packed

    @classmethod
    def of(cls, counts: Sequence[Tensor], looks: Sequence[Tensor]) -> Taken:
        """Pack what a gauge has taken."""
        return cls(Packed.of(counts, torch.int64), Packed.of(looks, torch.float64))


class Readings:
    """The readings of passes that did the same.

    Args:
        taken: what was taken in each pass.

    Attributes:
        passes: how many there are.
    """

    def __init__(self, taken: Sequence[Taken]) -> None:
        self.passes = len(taken)
        self._counts = _read([each.counts for each in taken])
        looked = [[value for (value,) in looks] for looks in _read([each.looks for each in taken])]
        self._sums = [[sum(count) for count in part] for part in self._counts]
        self._totals = [sum(each) for each in zip(*self._sums, strict=True)]
        self._looks = [_merged(p, each) for p, each in enumerate(zip(*looked, strict=True))]

    @property
    def each(self) -> Sequence[Sequence[int]]:
        """The counts of each pass, summed over samples and steps."""
        return self._sums

    def total(self, place: int) -> int:
        """Return the sum of a count."""
        return self._totals[place]

    def by_step(self, place: int, split: Split) -> tuple[int, ...]:
        """Return the sum of a count for each time-step."""
        number = split.samples
        return tuple(
            sum(sum(counts[place][t * number : (t + 1) * number]) for counts in self._counts)
            for t in range(split.steps)
        )

    def by_sample(self, place: int, number: int) -> list[list[int]]:
        """Return the sum of a count for each sample of each pass, of so many samples."""
        return [[sum(counts[place][n::number]) for n in range(number)] for counts in self._counts]

    def product(self, place: int, other: int) -> int:
        """Return the sum of the products of two counts, each of one pass."""
        return sum(sums[place] * sums[other] for sums in self._sums)

    def largest(self, places: Sequence[int]) -> int:
        """Return the sum of the largest of several counts, each of one pass."""
        return sum(max(sums[place] for place in places) for sums in self._sums)

    def look(self, place: int) -> tuple[float, float, bool]:
        """Return the least and the largest value that was seen, and whether all are integers."""
        low, high, whole = self._looks[place : place + 3]
        return low, high, bool(whole)


def _merged(place: int, values: tuple[float, ...]) -> float:
    """Merge one of three: the least, the largest, or whether all are integers."""
    if any(map(math.isnan, values)):
        return math.nan
    return max(values) if place % 3 == 1 else min(values)


def _read(passes: Sequence[Packed]) -> list[list[list[Any]]]:
    """Return all values of each reading of each pass, in one transfer for each device."""
    values: list[list[list[Any]]] = [[[] for _ in packed.sizes] for packed in passes]
    for device in {device for packed in passes for device in packed.parts}:
        found = [(n, *packed.parts[device]) for n, packed in enumerate(passes)]
        each = iter(torch.cat([part for _, _, part in found]).tolist())
        for number, places, _ in found:
            for place in places:
                values[number][place] = list(islice(each, passes[number].sizes[place]))
    return values
