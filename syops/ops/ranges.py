"""The ends that pointwise results lie between: interval arithmetic, rounded outward.

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

FIXED: dict[str, Ends] = {
    **dict.fromkeys(("sigmoid", "hardsigmoid"), (0, 1)),
    **dict.fromkeys(("tanh", "sin", "cos", "erf", "frac"), (-1, 1)),
    **dict.fromkeys(("exp", "exp2"), (0, math.inf)),
    "erfc": (0, 2),
}
"""What functions lie between, whatever they are given."""

ROUNDING: dict[str, Callable[[float], int]] = {
    "round": round,
    "floor": math.floor,
    "ceil": math.ceil,
    "trunc": math.trunc,
}
CLAMPS = {
    "clamp": ("min", "max"),
    "clamp_min": ("min", ""),
    "clamp_max": ("", "max"),
    "hardtanh": ("min_val", "max_val"),
}
"""Operators that cut off at the ends that these arguments give."""


def bounded(call: Call, name: str, kind: Opaque, operands: Sequence[Signal]) -> Signal:
    """The signal of a pointwise result of the given kind, with its ends where they are known.

    ``operands`` are the signals of ``call.tensors``.
    """
    if name not in ENDING and all(isinstance(known, Opaque) for known in operands):
        return kind  # nothing has an end
    if call.out.dtype.is_complex or any(tensor.is_complex() for tensor in call.tensors):
        return kind
    return ended(_ends(call, name, operands), kind, call.out.dtype, call.atoms)


def ended(ends: Ends, kind: Opaque, dtype: torch.dtype, atoms: Atoms) -> Signal:
    """Values of a kind between two ends: few whole numbers are a set of their own."""
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
    """Ends that hold after rounding to a dtype."""
    return _moved(ends[0], dtype, -1), _moved(ends[1], dtype, 1)


@lru_cache(maxsize=4096)
def _moved(end: float, dtype: torch.dtype, direction: int) -> float:
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
    """The coarsest dtype that takes part: ``out=`` may get what was rounded in another one."""
    if not call.out.dtype.is_floating_point:
        return call.out.dtype
    floating = [t.dtype for t in call.tensors if t.dtype.is_floating_point]
    taking_part = [call.out.dtype, *(floating or [torch.get_default_dtype()])]
    return max(taking_part, key=lambda dtype: torch.finfo(dtype).eps)


def _ends(call: Call, name: str, operands: Sequence[Signal]) -> Ends:
    if name in FIXED:
        return FIXED[name]
    dtype = _rounded_in(call)
    known = {id(tensor): signal for tensor, signal in zip(call.tensors, operands, strict=True)}

    def ends(value: object) -> Ends:
        """What an argument lies between."""
        if isinstance(value, Tensor):
            hull = hull_of(known[id(value)]) if id(value) in known else None
            return outward((hull.low, hull.high), dtype) if hull else EVERYTHING
        if isinstance(value, (int, float)) and _is_kept(value, dtype):
            return outward((float(value), float(value)), dtype)
        return EVERYTHING

    first = ends(call.args[0]) if call.args else EVERYTHING
    if name in CLAMPS:
        lowest, highest = (call.arg(end) if end else None for end in CLAMPS[name])
        return _clamped(first, lowest, highest, ends)
    if name in ROUNDING and not call.kwargs.get("decimals"):
        return _whole(first, ROUNDING[name])
    if name in UNARY:
        return UNARY[name](first)
    if name in BINARY and len(call.args) > 1:
        second = ends(call.args[1])
        alpha = ends(call.arg("alpha", 1))
        if name == "rsub":
            first, second = second, first
        if name in ("add", "sub", "rsub"):
            second = outward(_product(second, alpha), dtype)
        result = BINARY[name](first, second)
        if any(map(math.isnan, result)):
            return EVERYTHING
        mode = call.kwargs.get("rounding_mode")
        exact = name != "div" or _divides_exactly(second)
        rounded = outward(result, dtype) if exact else _wider(result, dtype)
        return _whole(rounded, ROUNDING[mode]) if mode else rounded
    if name == "floor_divide" and len(call.args) > 1:
        quotient = _wider(_quotient(first, ends(call.args[1])), dtype)
        return _whole(quotient, math.floor)
    return EVERYTHING


def _is_kept(number: float, dtype: torch.dtype) -> bool:
    """Whether a number is one in a dtype, too: -9 is 247 in uint8."""
    if dtype.is_floating_point or dtype == torch.bool:
        return not math.isnan(number)
    limits = torch.iinfo(dtype)
    return limits.min <= number <= limits.max


def _divides_exactly(divisor: Ends) -> bool:
    """Whether dividing is the same as multiplying with the inverse, which devices may prefer."""
    low, high = divisor
    return low == high and math.isfinite(low) and abs(math.frexp(low)[0]) == 0.5


def _wider(ends: Ends, dtype: torch.dtype) -> Ends:
    eps = torch.finfo(dtype).eps if dtype.is_floating_point else 0.0
    low, high = ends
    more = [WIDENING * eps * abs(end) if math.isfinite(end) else 0.0 for end in ends]
    return low - more[0], high + more[1]


def _clamped(x: Ends, lowest: object, highest: object, ends: Callable[[object], Ends]) -> Ends:
    if lowest is not None:
        x = _largest(x, ends(lowest))
    return x if highest is None else _smallest(x, ends(highest))


def _whole(ends: Ends, rounding: Callable[[float], int]) -> Ends:
    low, high = (rounding(end) if math.isfinite(end) else end for end in ends)
    return low, high


def truncated(ends: Ends) -> Ends:
    return _whole(ends, math.trunc)


def _largest(x: Ends, y: Ends) -> Ends:
    return max(x[0], y[0]), max(x[1], y[1])


def _smallest(x: Ends, y: Ends) -> Ends:
    return min(x[0], y[0]), min(x[1], y[1])


def _sum(x: Ends, y: Ends) -> Ends:
    return x[0] + y[0], x[1] + y[1]


def _negative(x: Ends) -> Ends:
    return -x[1], -x[0]


def _magnitude(x: Ends) -> Ends:
    low, high = sorted(map(abs, x))
    return (0, high) if x[0] <= 0 <= x[1] else (low, high)


def _product(x: Ends, y: Ends) -> Ends:
    corners = [a * b if a and b else 0.0 for a in x for b in y]
    return min(corners), max(corners)


def _quotient(x: Ends, y: Ends) -> Ends:
    if y[0] <= 0 <= y[1] or not all(map(math.isfinite, y)):
        return EVERYTHING
    corners = [a / b for a in x for b in y]
    return min(corners), max(corners)


UNARY: dict[str, Callable[[Ends], Ends]] = {
    "relu": lambda x: _largest(x, (0, 0)),
    "neg": _negative,
    "abs": _magnitude,
    "nan_to_num": lambda x: x,
}
BINARY: dict[str, Callable[[Ends, Ends], Ends]] = {
    "add": _sum,
    **dict.fromkeys(("sub", "rsub"), lambda x, y: _sum(x, _negative(y))),
    "mul": _product,
    "div": _quotient,
    **dict.fromkeys(("maximum", "fmax"), _largest),
    **dict.fromkeys(("minimum", "fmin"), _smallest),
}
ENDING = {*FIXED, *CLAMPS, *UNARY, "maximum", "minimum", "fmax", "fmin"}
"""Operators whose results may have ends where no operand has."""
