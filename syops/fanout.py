"""How many synapses one spike at one position reaches, exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class FanOut:
    """Fan-out of every position of an input tensor.

    A spike at position ``p`` of the last ``len(spatial)`` dimensions reaches
    ``factor * prod(spatial[d][p[d]])`` synapses, whatever its other indices are.
    """

    factor: int
    spatial: tuple[tuple[int, ...], ...] = ()

    @property
    def uniform(self) -> int | None:
        """The fan-out where it is the same everywhere, else None."""
        if all(len(set(counts)) <= 1 for counts in self.spatial):
            return self.factor * math.prod(counts[0] for counts in self.spatial if counts)
        return None


@cache
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
    counts = [0] * size
    for o in range(out):
        for i in _window(o, kernel, stride, padding, dilation):
            if 0 <= i < size:
                counts[i] += 1
    return tuple(counts)


def _reached_transposed(
    size: int, kernel: int, out: int, stride: int, padding: int, dilation: int
) -> tuple[int, ...]:
    return tuple(
        sum(0 <= o < out for o in _window(i, kernel, stride, padding, dilation))
        for i in range(size)
    )


def _window(position: int, kernel: int, stride: int, padding: int, dilation: int) -> Sequence[int]:
    start = position * stride - padding
    return range(start, start + kernel * dilation, dilation)
