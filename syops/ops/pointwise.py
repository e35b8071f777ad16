"""Describe pointwise operators: for each, how values are worked out and what it costs.

What is given by truth tables is evaluated by the operator itself; see `syops.ops.tables`. Of other
values it is told between which ends they lie, and whether they are whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from syops.ops import factors, ranges
from syops.ops.factors import FactorRule, factors_of, shortened
from syops.ops.ranges import EndsRule, bounded
from syops.ops.rule import COMPARES, Call, Cost, Free, Rule, tallied
from syops.ops.tables import evaluated, template_of
from syops.ops.values import (
    ANALOG,
    INTEGER,
    LEARNED,
    UNKNOWN,
    UNSCALED,
    Opaque,
    Scale,
    Signal,
    TruthTable,
    constant,
    is_constant,
    is_integer,
    kind_of,
    rescaled,
)

ExactRule = Callable[[Call, Sequence[Signal]], bool]


@dataclass(frozen=True, slots=True)
class Pointwise:
    """Work out the values of a pointwise operator.

    Attributes:
        exact: whether a result is rounded once, if at all, and so is the same number wherever it is
            computed. None: never. It may differ in the last bit between the vectors of a kernel
            and what is left over.
        rounds: whether a result is made of whole numbers; None: never.
        is_closed: integers make integers.
        limits: what a result lies between, whatever the operands are.
        ends: what it lies between where that is known of an operand.
        factor: the factor of all values, from those of the operands.
        values: all that it can hold, whatever the operands are.
        is_step: it is 0 or 1, or at 0 what the second operand says.
    """

    exact: ExactRule | None = None
    rounds: Callable[[Call], bool] | None = None
    is_closed: bool = False
    limits: EndsRule | None = None
    ends: EndsRule | None = None
    factor: FactorRule | None = None
    values: tuple[int, ...] = ()
    is_step: bool = False

    def signal(self, call: Call) -> Signal:
        """Return the signal of a result."""
        signals = _with_masks(call, [call.signal(tensor) for tensor in call.tensors])
        if not isinstance(call.out, Tensor):
            return ANALOG
        if call.numbers_from_data and _has_real_number(call):
            return self._opaque(call, [ANALOG] * len(signals))
        if not all(isinstance(known, TruthTable) and not known.scale for known in signals):
            return self._scaled(call, signals)
        if self._is_exact(call, signals):
            return self._evaluated(call, signals)
        return _one_number(call, signals) or self._opaque(call, signals)

    def _evaluated(self, call: Call, signals: Sequence[Signal]) -> Signal:
        return evaluated(call, signals, lambda kinds: self._opaque(call, kinds))

    def _is_exact(self, call: Call, signals: Sequence[Signal]) -> bool:
        """Return whether a result on tables is the same on every path through a kernel."""
        if self.exact is None:
            return False
        return not call.out.dtype.is_floating_point or self.exact(call, signals)

    def _scaled(self, call: Call, signals: Sequence[Signal]) -> Signal:
        """Return the signal of spikes times factors that are not looked at."""
        scale = None
        if self.factor and call.out.dtype.is_floating_point and not _is_rounded(call):
            known = factors_of(call, signals)
            scale = self.factor(call, known) if known else None
        if scale is not None:
            plain = [
                rescaled(known, UNSCALED) if isinstance(known, TruthTable) else constant(1)
                for known in signals
            ]
            return rescaled(self._evaluated(call, plain), scale)
        return self._opaque(
            call, [ANALOG if isinstance(s, TruthTable) and s.scale else s for s in signals]
        )

    def _opaque(self, call: Call, signals: Sequence[Signal]) -> Signal:
        """Return the signal of a result of which no table can be made."""
        if LEARNED in signals and all(known is LEARNED or is_constant(known) for known in signals):
            return LEARNED
        if call.out.dtype == torch.bool:
            return call.atoms.fresh((0, 1))
        if self.values and not call.out.is_complex():
            return call.atoms.fresh(self.values)
        if self.is_step:
            return call.atoms.joined((call.atoms.fresh((0, 1)), signals[1]))
        kind = self._kind(call, [kind_of(known) for known in signals])
        if call.numbers_from_data and _has_real_number(call):
            return kind
        has_ends = any(not isinstance(known, Opaque) for known in signals)
        rule = self.limits or (self.ends if has_ends else None)
        return kind if rule is None else bounded(call, rule, kind, signals)

    def _kind(self, call: Call, kinds: Sequence[TruthTable | Opaque]) -> Opaque:
        """Return what is known of a result of which nothing finite is known."""
        if self.rounds is not None and self.rounds(call):
            return INTEGER
        if ANALOG in kinds or LEARNED in kinds:
            return ANALOG
        if UNKNOWN in kinds:
            return UNKNOWN
        whole = all(s is INTEGER or (isinstance(s, TruthTable) and is_integer(s)) for s in kinds)
        scalars = [v for v in (*call.args, *call.kwargs.values()) if isinstance(v, float)]
        closed = self.is_closed and all(value.is_integer() for value in scalars)
        return INTEGER if whole and closed else ANALOG


def _with_masks(call: Call, signals: list[Signal]) -> list[Signal]:
    """Replace learned masks by sets of few values, where they meet what depends on data."""
    if LEARNED not in signals or not any(isinstance(s, TruthTable) and s.atoms for s in signals):
        return signals
    found = []
    for tensor, known in zip(call.tensors, signals, strict=True):
        recipe = call.recipe(tensor) if known is LEARNED else None
        if recipe is not None and recipe.values:
            known = call.atoms.named((recipe.name, tuple(tensor.shape)), recipe.values)
        found.append(known)
    return found


def _one_number(call: Call, signals: Sequence[Signal]) -> Signal | None:
    """Return one number, made of constants by what is not exact, as a factor with a name."""
    if call.out.numel() != 1 or not call.out.dtype.is_floating_point:
        return None
    if any(not isinstance(known, TruthTable) or known.atoms for known in signals):
        return None
    told = [(s.values, t.dtype) for s, t in zip(signals, call.tensors, strict=True)]  # type: ignore[union-attr]
    args, kwargs = template_of(call)
    template = args, sorted(kwargs)
    return TruthTable((), (1,), Scale(shortened(f"{call.func.name()}{template!r}{told!r}")))


def _has_real_number(call: Call) -> bool:
    """Return whether a number among the arguments is not whole."""
    numbers = (*call.args, *call.kwargs.values())
    return any(isinstance(value, float) and not value.is_integer() for value in numbers)


def _is_rounded(call: Call) -> bool:
    """Return whether a quotient is made a whole number."""
    return bool(call.kwargs.get("rounding_mode"))


# Whether a result is exact


def always(call: Call, signals: Sequence[Signal]) -> bool:
    """Return True: the result is rounded once, if at all."""
    return True


def _exact_sum(call: Call, signals: Sequence[Signal]) -> bool:
    """Return whether a sum is exact: its ``alpha`` may be rounded apart."""
    return _fits(call, signals, (1, call.arg("alpha", 1)))


def _exact_quotient(call: Call, signals: Sequence[Signal]) -> bool:
    """Return whether a quotient is exact."""
    return call.kwargs.get("rounding_mode") != "trunc"


def _exact_power(call: Call, signals: Sequence[Signal]) -> bool:
    """Return whether a power is exact: a small number of multiplications."""
    exponent = call.arg("exponent", None)
    return not isinstance(exponent, Tensor) and exponent in (0, 1, 2, 3)


def _exact_product_added(call: Call, signals: Sequence[Signal]) -> bool:
    """Return whether ``addcmul`` is exact."""
    return _fits(call, signals, (3, call.arg("value", 1)))


def _exact_mixture(call: Call, signals: Sequence[Signal]) -> bool:
    """Return whether ``lerp`` is exact."""
    weight = call.arg("weight", None)
    return _fits(call, signals, (3, 1 if isinstance(weight, Tensor) else weight))


def _rounds_to_whole(call: Call, signals: Sequence[Signal] = ()) -> bool:
    """Return whether a result is a whole number."""
    return not call.kwargs.get("decimals")


def _fits(call: Call, signals: Sequence[Signal], product: tuple[int, float]) -> bool:
    """Return whether a product inside of an operator needs no rounding: fusing changes nothing.

    ``product``: how many factors are elements of operands, and the number that is one, too.
    """
    factors, number = product
    if factors == 1 and abs(math.frexp(number)[0]) == 0.5:
        return True
    values = {value for known in signals if isinstance(known, TruthTable) for value in known.values}
    values |= {1, number}
    step = min(_lowest_bit(value) for value in values)
    largest = max(2.0, *map(abs, values)) * 2
    return (largest / step) ** (factors + 1) <= 2 / torch.finfo(call.out.dtype).eps


def _lowest_bit(value: float) -> float:
    """Return the largest power of two, 1 at most, that a number is a multiple of."""
    numerator, denominator = float(value).as_integer_ratio()
    return 1 / denominator


# Costs


def sum_cost(call: Call) -> Sequence[Cost]:
    """1 AC per element."""
    kind = "add" if len(call.tensors) == 2 else "elementwise"
    return _per_element(call, kind, is_sum=True)


def arithmetic_cost(call: Call) -> Sequence[Cost]:
    """1 AC per element if only spikes or graded values meet; else 1 MAC."""
    spikes = all(isinstance(call.signal(tensor), TruthTable) for tensor in call.tensors)
    return _per_element(call, "elementwise", is_sum=spikes)


def activation_cost(call: Call) -> Sequence[Cost]:
    """1 MAC per element."""
    return _per_element(call, "activation")


def pointwise_cost(call: Call) -> Sequence[Cost]:
    """1 MAC per element."""
    return _per_element(call, "activation" if len(call.tensors) == 1 else "elementwise")


def _per_element(call: Call, kind: str, is_sum: bool = False) -> Sequence[Cost]:
    """Count one operation for each element of a result, and none for truth values."""
    result = next(iter(call.outputs), None)
    if result is None or result.dtype == torch.bool:
        return ()
    elements = result.numel()
    return tallied(call, kind, ac=elements) if is_sum else tallied(call, kind, mac=elements)


# Rules

SIGNS, BITS = Free("changes signs"), Free("operates on bits")


def _rule(cost: Any, how: Pointwise = Pointwise(), **known: Any) -> Rule:
    """Return a rule; ``known``: what else is known of the operator."""
    return Rule(how.signal, cost, values=how.values, **known)


def _function(low: float, high: float) -> Rule:
    """Return the rule of a function whose results lie between two ends."""
    return _rule(activation_cost, Pointwise(limits=ranges.fixed(low, high)))


def _rounding(rounding: Callable[[float], int]) -> Rule:
    """Return the rule of an operator that rounds."""
    how = Pointwise(exact=_rounds_to_whole, rounds=_rounds_to_whole, ends=ranges.whole(rounding))
    return _rule(Free("rounds"), how)


def _clamp(lowest: str, highest: str) -> Pointwise:
    """Describe an operator that cuts off where the arguments of these names say."""
    return Pointwise(exact=always, is_closed=True, limits=ranges.clamped(lowest, highest))


def _extreme(combine: Callable[[ranges.Ends, ranges.Ends], ranges.Ends], closed: bool) -> Rule:
    """Return the rule of the larger or smaller one of two operands."""
    limits = ranges.combined(combine)
    return _rule(COMPARES, Pointwise(exact=always, is_closed=closed, limits=limits))


POINTWISE = _rule(pointwise_cost)
"""The rule of every other operator that torch tags as pointwise."""
EXACT = Pointwise(exact=always)
COMPARISON = _rule(COMPARES, Pointwise(exact=always, values=(0, 1)), compares=True)
SIGN = _rule(SIGNS, Pointwise(exact=always, values=(-1, 0, 1)), compares=True)
PRODUCT = _rule(
    arithmetic_cost,
    Pointwise(
        exact=always,
        is_closed=True,
        ends=ranges.combined(ranges.product),
        factor=factors.multiplied,
    ),
    symbol="*",
)
ARITHMETIC = _rule(arithmetic_cost)
EXACT_ARITHMETIC = _rule(arithmetic_cost, EXACT)
ACTIVATION = _rule(activation_cost)
EXACT_ACTIVATION = _rule(activation_cost, EXACT)

RULES: dict[str, Rule] = {
    # Sums.
    "add": _rule(
        sum_cost,
        Pointwise(
            exact=_exact_sum,
            is_closed=True,
            ends=ranges.combined(ranges.total, scaled=True),
            factor=factors.added,
        ),
        adds=True,
        symbol="+",
    ),
    "sub": _rule(
        sum_cost,
        Pointwise(
            exact=_exact_sum,
            is_closed=True,
            ends=ranges.combined(ranges.difference, scaled=True),
            factor=factors.added,
        ),
        symbol="-",
    ),
    "rsub": _rule(
        sum_cost,
        Pointwise(
            exact=_exact_sum,
            is_closed=True,
            ends=ranges.combined(ranges.difference, scaled=True, turned=True),
        ),
    ),
    # Products, and what is made of them.
    "mul": PRODUCT,
    "mul.Scalar": replace(PRODUCT, scales=True),
    "div": _rule(
        arithmetic_cost,
        Pointwise(
            exact=_exact_quotient,
            rounds=_is_rounded,
            ends=ranges.divided,
            factor=factors.divided,
        ),
        symbol="/",
    ),
    "floor_divide": _rule(
        arithmetic_cost,
        Pointwise(exact=always, rounds=_rounds_to_whole, ends=ranges.floor_divided),
    ),
    "pow": _rule(arithmetic_cost, Pointwise(exact=_exact_power)),
    "addcmul": _rule(arithmetic_cost, Pointwise(exact=_exact_product_added)),
    "lerp": _rule(arithmetic_cost, Pointwise(exact=_exact_mixture)),
    "frac": _rule(arithmetic_cost, Pointwise(limits=ranges.fixed(-1, 1))),
    **dict.fromkeys(("sqrt", "reciprocal", "remainder", "fmod"), EXACT_ARITHMETIC),
    **dict.fromkeys(("rsqrt", "addcdiv", "ldexp", "deg2rad", "rad2deg"), ARITHMETIC),
    # Activations and other functions.
    "relu": _rule(
        activation_cost,
        Pointwise(exact=always, is_closed=True, limits=ranges.changed(ranges.positive)),
    ),
    "hardtanh": _rule(activation_cost, _clamp("min_val", "max_val")),
    **dict.fromkeys(("sigmoid", "hardsigmoid"), _function(0, 1)),
    **dict.fromkeys(("tanh", "sin", "cos", "erf"), _function(-1, 1)),
    **dict.fromkeys(("exp", "exp2"), _function(0, math.inf)),
    "erfc": _function(0, 2),
    **dict.fromkeys(("leaky_relu", "softshrink", "hardshrink", "threshold"), EXACT_ACTIVATION),
    **dict.fromkeys(
        ("rrelu_with_noise", "_prelu_kernel", "elu", "celu", "gelu", "silu", "mish", "hardswish",
         "softplus", "log_sigmoid_forward", "expm1", "log", "log2", "log10", "log1p", "atan"),
        ACTIVATION,
    ),
    **dict.fromkeys(("polar", "linalg_cross"), POINTWISE),  # torch does not tag these
    # Comparisons: 0 or 1, whatever they compare and whatever dtype they write it in.
    **dict.fromkeys(
        ("eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor",
         "logical_not", "signbit", "isnan", "isinf", "isfinite", "isposinf", "isneginf"),
        COMPARISON,
    ),
    "heaviside": _rule(COMPARES, Pointwise(exact=always, is_step=True), compares=True),
    "maximum": _extreme(ranges.larger, closed=True),
    "minimum": _extreme(ranges.smaller, closed=True),
    "fmax": _extreme(ranges.larger, closed=False),
    "fmin": _extreme(ranges.smaller, closed=False),
    "clamp": _rule(COMPARES, _clamp("min", "max")),
    "clamp_min": _rule(COMPARES, _clamp("min", "")),
    "clamp_max": _rule(COMPARES, _clamp("", "max")),
    # Signs.
    **dict.fromkeys(("sign", "sgn"), SIGN),
    "neg": _rule(
        SIGNS,
        Pointwise(
            exact=always,
            is_closed=True,
            limits=ranges.changed(ranges.negative),
            factor=factors.negated,
        ),
    ),
    "abs": _rule(
        SIGNS, Pointwise(exact=always, is_closed=True, limits=ranges.changed(ranges.magnitude))
    ),
    **dict.fromkeys(("copysign", "conj_physical", "_conj_physical"), _rule(SIGNS)),
    # Rounding.
    "round": _rounding(round),
    "floor": _rounding(math.floor),
    "ceil": _rounding(math.ceil),
    "trunc": _rounding(math.trunc),
    # Bits.
    **dict.fromkeys(
        ("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not"), _rule(BITS, EXACT)
    ),
    **dict.fromkeys(
        ("nextafter", "frexp", "bitwise_left_shift", "bitwise_right_shift", "__lshift__",
         "__rshift__", "__ilshift__", "__irshift__"),
        _rule(BITS),
    ),
    "nan_to_num": _rule(Free("selects"), Pointwise(limits=ranges.changed(ranges.same))),
}  # fmt: skip
"""The rules of these operators."""
