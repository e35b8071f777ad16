"""Work out the ends that pointwise results lie between: interval arithmetic, rounded outward.

An end that the dtype can hold is exact, since rounding is monotone. Any other end is moved outward
by a few units in the last place, which is more than what kernels differ by. Values are taken to be
finite, as everywhere: NaN stays NaN through all of these operators.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from syops.ops.rule import Call
from syops.ops.values import INTEGER, Atoms, Opaque, Signal, between, constant, hull_of

MAX_VALUES = 4096
"""Values that a signal may have before it is one of integers, or analog."""

Ends = tuple[float, float]
EVERYTHING: Ends = (-math.inf, math.inf)
WIDENING = 4
"""Units in the last place by which an inexact end is moved."""


class Hulls:
    """Find the ends that the operands of a call lie between.

    Args:
        call: the call.
        operands: the signals of its tensors.

    Attributes:
        dtype: the coarsest one that takes part.
    """

    def __init__(self, call: Call, operands: Sequence[Signal]) -> None:
        self.dtype = _rounded_in(call)
        self._args = call.args
        self._known = {
            id(tensor): signal for tensor, signal in zip(call.tensors, operands, strict=True)
        }

    def of(self, value: object) -> Ends:
        """Return the ends that an argument lies between."""
        if isinstance(value, Tensor):
            hull = hull_of(self._known[id(value)]) if id(value) in self._known else None
            return outward((hull.low, hull.high), self.dtype) if hull else EVERYTHING
        if isinstance(value, (int, float)) and _is_kept(value, self.dtype):
            return outward((float(value), float(value)), self.dtype)
        return EVERYTHING

    def at(self, place: int) -> Ends:
        """Return the ends that the argument at a place lies between."""
        return self.of(self._args[place]) if len(self._args) > place else EVERYTHING


EndsRule = Callable[[Call, Hulls], Ends]
"""What a result lies between, from what the operands do."""


def bounded(call: Call, rule: EndsRule, kind: Opaque, operands: Sequence[Signal]) -> Signal:
    """Return the signal of a result of the given kind, with the ends that a rule tells.

    ``operands`` are the signals of ``call.tensors``.
    """
    if call.out.dtype.is_complex or any(tensor.is_complex() for tensor in call.tensors):
        return kind
    ends = rule(call, Hulls(call, operands))
    return ended(ends, kind, call.out.dtype, call.atoms)


def ended(ends: Ends, kind: Opaque, dtype: torch.dtype, atoms: Atoms) -> Signal:
    """Return the signal of values between two ends: few whole numbers are a set of their own."""
    low, high = ends
    if not dtype.is_floating_point:
        limits = torch.iinfo(dtype)
        if not limits.min <= low <= high <= limits.max:
            return kind  # wrapped around
    if kind is INTEGER and high - low < MAX_VALUES:
        first, last = math.ceil(low), math.floor(high)
        return atoms.fresh(range(first, last + 1)) if first < last else constant(first)
    return between(low, high, kind)


def outward(ends: Ends, dtype: torch.dtype) -> Ends:
    """Return ends that hold after rounding to a dtype."""
    return _moved(ends[0], dtype, -1), _moved(ends[1], dtype, 1)


@lru_cache(maxsize=4096)
def _moved(end: float, dtype: torch.dtype, direction: int) -> float:
    """Return an end, moved outward if the dtype cannot hold it."""
    if not math.isfinite(end) or not dtype.is_floating_point:
        return end
    if dtype == torch.float64:
        exact = (float(end) * 2**30).is_integer()
    else:
        exact = torch.tensor(end, dtype=dtype, device="cpu").item() == end
    if exact:
        return end
    info = torch.finfo(dtype)
    if abs(end) > info.max:
        return math.copysign(math.inf, end) if end * direction > 0 else end
    return end + direction * max(WIDENING * info.eps * abs(end), info.tiny)


def _rounded_in(call: Call) -> torch.dtype:
    """Return the coarsest dtype that takes part: ``out=`` may get what was rounded in another."""
    if not call.out.dtype.is_floating_point:
        return call.out.dtype
    floating = [t.dtype for t in call.tensors if t.dtype.is_floating_point]
    taking_part = [call.out.dtype, *(floating or [torch.get_default_dtype()])]
    return max(taking_part, key=lambda dtype: torch.finfo(dtype).eps)


def _is_kept(number: float, dtype: torch.dtype) -> bool:
    """Return whether a number is the same in a dtype: -9 is 247 in uint8."""
    if dtype.is_floating_point or dtype == torch.bool:
        return not math.isnan(number)
    limits = torch.iinfo(dtype)
    return limits.min <= number <= limits.max


def _divides_exactly(divisor: Ends) -> bool:
    """Return whether dividing is multiplying with the inverse, which devices may prefer."""
    low, high = divisor
    return low == high and math.isfinite(low) and abs(math.frexp(low)[0]) == 0.5


def _wider(ends: Ends, dtype: torch.dtype) -> Ends:
    """Return ends that hold where a quotient is rounded twice."""
    eps = torch.finfo(dtype).eps if dtype.is_floating_point else 0.0
    low, high = ends
    more = [WIDENING * eps * abs(end) if math.isfinite(end) else 0.0 for end in ends]
    return low - more[0], high + more[1]


def _whole(ends: Ends, rounding: Callable[[float], int]) -> Ends:
    """Return ends, rounded to whole numbers."""
    low, high = (rounding(end) if math.isfinite(end) else end for end in ends)
    return low, high


def truncated(ends: Ends) -> Ends:
    return _whole(ends, math.trunc)


def larger(x: Ends, y: Ends) -> Ends:
    return max(x[0], y[0]), max(x[1], y[1])


def smaller(x: Ends, y: Ends) -> Ends:
    return min(x[0], y[0]), min(x[1], y[1])


def total(x: Ends, y: Ends) -> Ends:
    return x[0] + y[0], x[1] + y[1]


def difference(x: Ends, y: Ends) -> Ends:
    return total(x, negative(y))


def same(x: Ends) -> Ends:
    return x


def positive(x: Ends) -> Ends:
    return larger(x, (0, 0))


def negative(x: Ends) -> Ends:
    return -x[1], -x[0]


def magnitude(x: Ends) -> Ends:
    low, high = sorted(map(abs, x))
    return (0, high) if x[0] <= 0 <= x[1] else (low, high)


def product(x: Ends, y: Ends) -> Ends:
    corners = [a * b if a and b else 0.0 for a in x for b in y]
    return min(corners), max(corners)


def _quotient(x: Ends, y: Ends) -> Ends:
    if y[0] <= 0 <= y[1] or not all(map(math.isfinite, y)):
        return EVERYTHING
    corners = [a / b for a in x for b in y]
    return min(corners), max(corners)


# Rules


def fixed(low: float, high: float) -> EndsRule:
    """Return the rule of results that lie between two ends, whatever the operands are."""
    return lambda call, hulls: (low, high)


def clamped(lowest: str, highest: str) -> EndsRule:
    """Return the rule of results that are cut off where arguments say; "" names none."""

    def rule(call: Call, hulls: Hulls) -> Ends:
        ends = hulls.at(0)
        for name, cut in ((lowest, larger), (highest, smaller)):
            limit = call.arg(name, None) if name else None
            ends = ends if limit is None else cut(ends, hulls.of(limit))
        return ends

    return rule


def changed(change: Callable[[Ends], Ends]) -> EndsRule:
    """Return the rule of a function of one operand that rounds nothing."""
    return lambda call, hulls: change(hulls.at(0))


def whole(rounding: Callable[[float], int]) -> EndsRule:
    """Return the rule of results that are rounded to whole numbers."""

    def rule(call: Call, hulls: Hulls) -> Ends:
        return EVERYTHING if call.kwargs.get("decimals") else _whole(hulls.at(0), rounding)

    return rule


def combined(
    combine: Callable[[Ends, Ends], Ends], *, scaled: bool = False, turned: bool = False
) -> EndsRule:
    """Return the rule of results that two operands are combined to.

    Args:
        combine: how.
        scaled: the second one is multiplied with ``alpha`` first.
        turned: and they change places.
    """

    def rule(call: Call, hulls: Hulls) -> Ends:
        if len(call.args) < 2:
            return EVERYTHING
        first, second = hulls.at(1 if turned else 0), hulls.at(0 if turned else 1)
        if scaled:
            second = outward(product(second, hulls.of(call.arg("alpha", 1))), hulls.dtype)
        return _checked(outward(combine(first, second), hulls.dtype))

    return rule


def divided(call: Call, hulls: Hulls) -> Ends:
    """Return the ends of a quotient, which may be rounded to a whole number."""
    if len(call.args) < 2:
        return EVERYTHING
    first, second = hulls.at(0), hulls.at(1)
    result = _quotient(first, second)
    exact = _divides_exactly(second)
    rounded = outward(result, hulls.dtype) if exact else _wider(result, hulls.dtype)
    mode = call.kwargs.get("rounding_mode")
    return _checked(
        _whole(rounded, math.floor if mode == "floor" else math.trunc) if mode else rounded
    )


def floor_divided(call: Call, hulls: Hulls) -> Ends:
    """Return the ends of a quotient that is rounded down."""
    if len(call.args) < 2:
        return EVERYTHING
    return _whole(_wider(_quotient(hulls.at(0), hulls.at(1)), hulls.dtype), math.floor)


def _checked(ends: Ends) -> Ends:
    """Return the ends, or none where infinite ones cancelled out."""
    return EVERYTHING if any(map(math.isnan, ends)) else ends
