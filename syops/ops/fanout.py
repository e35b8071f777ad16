"""Count exactly the synapses that one spike at one position reaches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np


@dataclass(frozen=True)
class FanOut:
    """Fan-out of every position of an input tensor.

    A spike at position ``p`` of the last ``len(spatial)`` dimensions reaches
    ``factor * prod(spatial[d][p[d]])`` synapses, whatever its other indices are.
    """

    factor: int
    spatial: tuple[tuple[int, ...], ...] = ()

    @cached_property
    def uniform(self) -> int | None:
        """The fan-out where it is the same everywhere, else None."""
        if all(len(set(counts)) <= 1 for counts in self.spatial):
            return self.factor * math.prod(counts[0] for counts in self.spatial if counts)
        return None


@lru_cache(maxsize=1024)
def convolution_fan_out(
    factor: int,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    out: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    transposed: bool,
) -> FanOut:
    """Fan-out map of a convolution (all tuples: one entry per spatial dimension).

    ``factor`` is the number of output channels that one input channel is connected to,
    C_out / groups. Along one dimension, input ``i`` and output ``o`` share a synapse through
    kernel element ``k`` where ``o * stride - padding + k * dilation == i``; in a transposed
    convolution the roles of ``i`` and ``o`` are swapped.
    """
    count = _reached_transposed if transposed else _reached
    dims = zip(size, kernel, out, stride, padding, dilation, strict=True)
    return FanOut(factor, tuple(count(*dim) for dim in dims))


def _reached(
    size: int, kernel: int, out: int, stride: int, padding: int, dilation: int
) -> tuple[int, ...]:
    counts = np.zeros(size, dtype=np.int64)
    for k in range(kernel):
        offset = k * dilation - padding
        first = max(0, -(offset // stride))
        last = min(out, -((offset - size) // stride))
        if first < last:
            counts[first * stride + offset : (last - 1) * stride + offset + 1 : stride] += 1
    return tuple(counts.tolist())


def _reached_transposed(
    size: int, kernel: int, out: int, stride: int, padding: int, dilation: int
) -> tuple[int, ...]:
    starts = np.arange(size, dtype=np.int64) * stride - padding
    first = np.clip(-(starts // dilation), 0, kernel)
    last = np.clip(-((starts - out) // dilation), 0, kernel)
    return tuple(np.maximum(last - first, 0).tolist())
