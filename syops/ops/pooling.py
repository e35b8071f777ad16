"""Describe means, and pooling by windows: averages and largest values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from functools import partial

import torch

from syops.ops import dims
from syops.ops.classes import LARGEST, common_divisor
from syops.ops.ranges import MAX_VALUES
from syops.ops.rule import Call, Cost, CostRule, Rule, Tally, analog, tallied
from syops.ops.values import (
    ANALOG,
    EMPTY,
    INTEGER,
    UNSCALED,
    Signal,
    TruthTable,
    averaged_scale,
    constant,
    part_of,
    rescaled,
    split,
)


def mean(call: Call) -> Signal:
    """Return the signal of the sum over n entries, divided by n."""
    terms = call.args[0].numel() // max(1, call.out.numel())
    return averaged(call, {(terms, terms)})


def average_pool(call: Call, rank: int) -> Signal:
    """Return the signal of the sum over a window, divided by what the window's place asks for."""
    known = call.signal(call.args[0])
    windows = average_windows(call, rank) if isinstance(known, TruthTable) else set()
    return averaged(call, windows)


def averaged(call: Call, windows: set[tuple[int, int]]) -> Signal:
    """Return the signal of sums of some terms, divided: one constant times integers.

    Divided by a power of two, such values are exact. Others are rounded, once or twice as the
    kernel likes, so that only a multiple of the constant is known of them, not the last bit.

    Args:
        call: what sums its first argument.
        windows: how many terms there are, and their divisor; all that occur.
    """
    known = call.signal(call.args[0])
    if not isinstance(known, TruthTable) or known == EMPTY or not call.out.dtype.is_floating_point:
        return analog(call)
    if split(known.scale.name)[0]:
        return ANALOG
    size = common_divisor(
        frozenset(abs(value) for value in known.values if value) or frozenset({1})
    )
    if size is None or not windows or any(not divisor for _, divisor in windows):
        return ANALOG
    multiples = [round(Fraction(value) / size) for value in known.values]
    low, high = min(multiples), max(multiples)
    if any(terms * (high - low) >= MAX_VALUES for terms, _ in windows):
        return ANALOG
    common = math.lcm(*(divisor for _, divisor in windows))
    reached = {
        k * (common // divisor)
        for terms, divisor in windows
        for k in range(terms * low, terms * high + 1)
    }
    parts = common // math.gcd(common, *reached)
    values = sorted(value * parts // common for value in reached)
    divisor = math.gcd(*values) or 1
    largest = max(map(abs, values)) // divisor
    if largest > LARGEST and (parts > 1 or known.scale or size.denominator > 1):
        return ANALOG
    unit = size / parts
    sums = max(terms for terms, _ in windows) * max(abs(low), abs(high)) * size.numerator
    room = 2 / torch.finfo(call.out.dtype).eps
    whole = all(m * size == Fraction(v) for m, v in zip(multiples, known.values, strict=True))
    is_exact = whole and not known.scale and not unit.denominator & (unit.denominator - 1)
    if is_exact and sums <= room and max(map(abs, values)) * unit.numerator <= room:
        plain = [value * unit.numerator / unit.denominator for value in values]
        return call.atoms.fresh(plain) if len(plain) > 1 else constant(plain[0])
    table = call.atoms.fresh(values) if len(values) > 1 else constant(values[0])
    how = f"{call.func.name()}{tuple(call.args[0].shape[2:])}{tuple(call.out.shape[2:])}"
    return TruthTable(table.atoms, table.values, averaged_scale(known.scale, unit, how))


def average_windows(call: Call, rank: int) -> set[tuple[int, int]]:
    """Return how many entries the windows of a pooling have, with the divisor of each."""
    inputs, outputs = call.args[0].shape[-rank:], call.out.shape[-rank:]
    if call.arg("kernel_size", None) is None:
        along = [_adaptive_windows(*sizes) for sizes in zip(inputs, outputs, strict=True)]
        return {(math.prod(w), math.prod(w)) for w in itertools.product(*along)}
    kernel = _each(call.arg("kernel_size", None), rank)
    stride = _each(call.arg("stride", None) or kernel, rank)
    padding = _each(call.arg("padding", 0), rank)
    shapes = zip(inputs, outputs, kernel, stride, padding, strict=True)
    padded = call.arg("count_include_pad", True)
    override = call.arg("divisor_override", None)
    windows = set()
    for combined in itertools.product(*(_padded_windows(*shape) for shape in shapes)):
        terms = math.prod(entries for entries, _ in combined)
        filled = math.prod(places for _, places in combined)
        windows.add((terms, override or (filled if padded else terms)))
    return windows


def _each(value: int | Sequence[int], rank: int) -> list[int]:
    """Return one number for each dimension."""
    values = [value] if isinstance(value, int) else list(value)
    return values * rank if len(values) == 1 else values


def _adaptive_windows(size: int, outputs: int) -> set[int]:
    """Return the sizes of adaptive windows along one dimension."""
    return {-(-(i + 1) * size // outputs) - i * size // outputs for i in range(outputs)}


def _padded_windows(
    size: int, outputs: int, kernel: int, stride: int, padding: int
) -> set[tuple[int, int]]:
    """Return the entries of each window along one dimension, and its places with the padding."""
    windows = set()
    for i in range(outputs):
        start = i * stride - padding
        end = min(start + kernel, size + padding)
        windows.add((max(0, min(end, size) - max(start, 0)), end - start))
    return windows


def _cost(rank: int) -> CostRule:
    """Return the cost rule of such a pooling."""

    def average_pool_cost(call: Call) -> Sequence[Cost]:
        """1 AC per value in a window; the windows of adaptive pooling cover the input once."""
        kernel, entries = call.arg("kernel_size", None), call.args[0].numel()
        if kernel is not None:
            entries = call.out.numel() * math.prod(_each(kernel, rank))
        return tallied(call, "pool", "avg_pool", ac=entries)

    return average_pool_cost


def _windows(rank: int) -> Rule:
    """Return the rule of a pooling by windows of so many dimensions."""
    return Rule(partial(average_pool, rank=rank), _cost(rank))


def window_max(call: Call, rank: int) -> Sequence[Signal]:
    """Return the signals of the largest value of each window, and of where it was.

    Not a move: the largest of ``1 - x`` is taken elsewhere than the largest of ``x``.
    ``rank``: how many dimensions a window has.
    """
    known = call.signal(call.args[0])
    outputs = call.outputs
    is_random = len(call.tensors) > 1  # fractional pooling: samples say where the windows lie
    geometry = None if is_random else call.geometry
    largest = part_of(known)
    if isinstance(known, TruthTable):
        along = dims.before_last(rank)
        scale = dims.scale_after(along, call, call.args[0], known.scale, outputs[0])
        largest = dims.with_scale(call.atoms.joined((rescaled(known, UNSCALED),), geometry), scale)
    return [largest, *[INTEGER] * (len(outputs) - 1)]


def window_max_cost(call: Call) -> Sequence[Cost]:
    """0, in a row of its own: values of a window are compared, not added."""
    return (Tally("pool", "max_pool"),)


def _largest(rank: int) -> Rule:
    """Return the rule of a pooling of the largest values."""
    return Rule(partial(window_max, rank=rank), window_max_cost)


RULES: dict[str, Rule] = {
    **{f"avg_pool{n}d": _windows(n) for n in (1, 2, 3)},
    **{f"adaptive_avg_pool{n}d": _windows(n) for n in (1, 2, 3)},
    **{f"_adaptive_avg_pool{n}d": _windows(n) for n in (2, 3)},
    # The largest value of each window is taken.
    **dict.fromkeys(
        ("max_pool2d_with_indices", "adaptive_max_pool2d", "mkldnn_max_pool2d",
         "fractional_max_pool2d"),
        _largest(2),
    ),
    **dict.fromkeys(
        ("max_pool3d_with_indices", "adaptive_max_pool3d", "mkldnn_max_pool3d",
         "fractional_max_pool3d"),
        _largest(3),
    ),
}  # fmt: skip
"""The rules of these operators."""
