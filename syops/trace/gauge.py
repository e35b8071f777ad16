"""Take readings of tensors on their device, and leave them there.

`readings.py` brings them over, together, when a pass is over. `measure.py` decides which are taken,
`counting.py` has what they compute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from syops.ops.fanout import FanOut
from syops.trace import counting
from syops.trace.axes import Split, apart
from syops.trace.counting import Magnitude, Weighting

Cache = dict[Any, Any]
"""What was worked out for one reading of a tensor and serves the next one."""

Maps = dict[tuple[FanOut, torch.device], Tensor]
"""The fan-out of every position, on a device."""

Tell = Callable[[str, Sequence[Tensor], Cache | None, tuple[Any, ...]], None]
"""What is told of a reading: the method, the tensors, the cache, and the other arguments."""


class Gauge:
    """Take readings without waiting for the device.

    A reading is known by its place among those of its kind. Each public method takes some, and
    first tells of it: later passes take the same ones.

    Args:
        factor: gives the value of a learned scale by its name.
        tell: is told of each call; None: nobody asks.
        maps: the fan-outs of all positions, which serve other passes too; None: no others.

    Attributes:
        counts: the readings that are integers; one may hold one for each time-step and sample.
        looks: those that are real numbers.
        factor: see above.
    """

    def __init__(
        self,
        factor: Callable[[str], Tensor | None],
        tell: Tell | None = None,
        maps: Maps | None = None,
    ) -> None:
        self.counts: list[Tensor] = []
        self.looks: list[Tensor] = []
        self.factor = factor
        self._tell = tell
        self._maps: Maps = {} if maps is None else maps

    def spikes(
        self,
        x: Tensor,
        cache: Cache,
        fan_out: FanOut,
        weighting: Weighting,
        split: Split | None = None,
    ) -> tuple[int, int | None]:
        """Count the entries of ``x``, and the synapses that they reach.

        Args:
            x: any tensor.
            cache: of its values.
            fan_out: the synapses at each of its positions.
            weighting: how entries are counted.
            split: how ``x`` is read by time-step and by sample; there is a count for each then.

        Returns:
            the places of Σ entries and of Σ entries · fan-out; None for that where the fan-out is
            the same everywhere.
        """
        self._announce("spikes", [x], cache, fan_out, weighting, split)
        spatial = len(fan_out.spatial)
        each, whole = (weighting, spatial, split), (weighting, "total", split)
        if each not in cache:
            cache[each] = self._per_position(x, cache, spatial, weighting, split)
        per_position, first = cache[each], len(split.first) if split else 0
        if whole not in cache:
            cache[whole] = self._count(lambda: counting.total(per_position, first))
        if fan_out.uniform is not None:
            return cache[whole], None
        reached = weighting, fan_out, split
        if reached not in cache:
            weights = self._map(fan_out, x)
            cache[reached] = self._count(lambda: counting.total(per_position * weights, first))
        return cache[whole], cache[reached]

    def look(self, x: Tensor, cache: Cache) -> int:
        """Find the least and the largest value of ``x`` and whether all are integers."""
        self._announce("look", [x], cache)
        if "look" not in cache:
            cache["look"] = self._look(lambda: counting.look(counting.strided(x)))
        return cache["look"]

    def binary(self, x: Tensor) -> int:
        """Find whether every entry of ``x`` is 0 or 1: a count of 1, or else 0."""
        self._announce("binary", [x], None)
        return self._count(lambda: counting.binary(counting.strided(x)))

    def coincidences(self, left: Tensor, right: Tensor) -> int:
        """Count the products of two activations in which both factors are not zero."""
        self._announce("coincidences", [left, right], None)
        return self._count(lambda: counting.coincidences(left, right))

    def same(self, x: Tensor, copies: int) -> tuple[int, int]:
        """Count the parts of ``x`` that are equal to those of the time-step before.

        Returns:
            the places of the counts for a tensor of [T·N, ...] and one of [N·T, ...].
        """
        self._announce("same", [x], None, copies)
        x = counting.strided(x)
        rest = x.shape[0] // copies
        by_step, by_sample = x.reshape(copies, rest, -1), x.reshape(rest, copies, -1)
        return (
            self._count(lambda: (by_step[1:] == by_step[:-1]).all(-1).sum()),
            self._count(lambda: (by_sample[:, 1:] == by_sample[:, :-1]).all(-1).sum()),
        )

    def _announce(
        self, method: str, tensors: Sequence[Tensor], cache: Cache | None, *args: Any
    ) -> None:
        if self._tell is not None:
            self._tell(method, tensors, cache, args)

    def _per_position(
        self,
        x: Tensor,
        cache: Cache,
        spatial: int,
        weighting: Weighting,
        split: Split | None,
    ) -> Tensor:
        x = counting.strided(x)
        x, first = (x, 0) if split is None else (apart(x, split), len(split.first))
        if not isinstance(weighting, Magnitude):
            return counting.nonzero_per_position(x, spatial, weighting, first)
        unit, largest = weighting.unit, weighting.largest
        factor = self.factor(unit.scale) if unit.scale else None
        return counting.magnitude_per_position(x, spatial, unit.size, factor, largest, first)

    def _map(self, fan_out: FanOut, x: Tensor) -> Tensor:
        key = fan_out, x.device
        if key not in self._maps:
            self._maps[key] = counting.fan_out_map(fan_out, x.device)
        return self._maps[key]

    def _count(self, read: Callable[[], Tensor]) -> int:
        self.counts.append(read())
        return len(self.counts) - 1

    def _look(self, read: Callable[[], tuple[Tensor, Tensor, Tensor]]) -> int:
        self.looks += read()
        return len(self.looks) - 3
