"""Follow factors that are never looked at: one number, or one for each channel.

Entry c of a table with factor u stands for c · u, rounded once. What is rounded more often gets a
factor of its own, so that no difference is taken for 0 that is not.

Take spikes s and a learned amplitude a. ``s * a`` holds 0 and a: the table {0, 1} with the factor
a. ``3 * (s * a)`` holds 0 and 3a, rounded once: {0, 3} with the same factor. ``3 * (3 * (s * a))``
holds 0 and a number that was rounded twice, which need not be what ``9 * (s * a)`` holds:

>>> import torch
>>> a = torch.tensor(1.7)
>>> bool(3 * (3 * a) == 9 * a)
False

So it is {0, 9} with another factor, named "a of (0, 3), (3,)" after how it was made. Its difference
to ``9 * (s * a)`` has no common factor: it is real values, not zeros. Powers of two round nothing,
so that factors survive them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from torch import Tensor

from syops.ops.rule import Call
from syops.ops.values import LEARNED, UNSCALED, Scale, Signal, TruthTable

LONGEST_NAME = 120
"""Characters of the name of a factor; longer ones are told by their hash."""


def shortened(name: str) -> str:
    """Return a name of bounded length."""
    return name if len(name) <= LONGEST_NAME else sha256(name.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Factor:
    """Describe a factor of a product: entries of a table, times a scale."""

    scale: Scale = UNSCALED
    values: tuple[int | float, ...] = (1,)
    learned: bool = False


FactorRule = Callable[[Call, Sequence[Factor]], Scale | None]
"""The factor of all values of a result, if it has one, from those of the operands."""


def factors_of(call: Call, signals: Sequence[Signal]) -> list[Factor] | None:
    """Return what the operands of a call are multiples of; None where one is not a factor."""
    if not any(isinstance(known, TruthTable) for known in signals):
        return None
    factors = []
    for tensor, known in zip(call.tensors, signals, strict=True):
        factor = factor_of(call, tensor, known)
        if factor is None:
            return None
        factors.append(factor)
    return factors + [Factor(values=(arg,)) for arg in call.args if isinstance(arg, (int, float))]


def factor_of(
    call: Call, tensor: Tensor, known: Signal, among: Sequence[Tensor] | None = None
) -> Factor | None:
    """Return what an operand of a product is a multiple of; None where it is not a factor.

    ``among``: the other operands, which must have the shape of the result for the scale to lie
    along dimensions of it.
    """
    if isinstance(known, TruthTable):
        return Factor(scale_broadcast(known.scale, tensor, call.out), known.values)
    recipe = call.recipe(tensor) if known is LEARNED else None
    others = [t for t in call.tensors if t is not tensor] if among is None else among
    if recipe is None or any(other.shape != call.out.shape for other in others):
        return None
    first = call.out.dim() - tensor.dim()
    varying = zip(tensor.shape, tensor.stride(), strict=True)  # not where it was expanded
    dims = tuple(first + i for i, (size, stride) in enumerate(varying) if size != 1 and stride)
    return Factor(Scale(recipe.name, dims), learned=True)


def negated(call: Call, factors: Sequence[Factor]) -> Scale | None:
    """Return the factor of the negated operand, which is the same."""
    return factors[0].scale


def added(call: Call, factors: Sequence[Factor]) -> Scale | None:
    """Return the common factor of two terms, if their sum is rounded no more than they are."""
    if not _are_two(factors):
        return None
    left, right = factors
    same = len(call.tensors) == 2 and left.scale == right.scale and call.arg("alpha", 1) == 1
    entries = (*left.values, *right.values)
    alike = len({abs(value) for value in entries if value}) <= 1
    return left.scale if same and (alike or _powers_of_two(entries)) else None


def multiplied(call: Call, factors: Sequence[Factor]) -> Scale | None:
    """Return the factor of a product."""
    if not _are_two(factors):
        return None
    left, right = factors
    first, second = _powers_of_two(left.values), _powers_of_two(right.values)
    if left.scale and right.scale:
        names = sorted((left.scale.name, right.scale.name))
        return _made(f"({names[0]}*{names[1]})", left, right, first and second)
    scaled = left if left.scale else right
    return _made(scaled.scale.name, left, right, scaled.learned or first or second)


def divided(call: Call, factors: Sequence[Factor]) -> Scale | None:
    """Return the factor of a quotient."""
    if not _are_two(factors) or call.tensors[0] is not call.args[0]:
        return None
    left, right = factors
    if len(right.values) != 1 or 0 in right.values:
        return None
    exact = _powers_of_two(right.values)
    if not right.scale:
        return _made(left.scale.name, left, right, exact)
    name = f"({left.scale.name}/{right.scale.name})"
    return _made(name, left, right, exact and _powers_of_two(left.values))


def _are_two(factors: Sequence[Factor]) -> bool:
    return len(factors) == 2 and all(factor.values for factor in factors)


def _made(name: str, left: Factor, right: Factor, once: bool) -> Scale | None:
    """Return a scale of that name, or of another one where more than the scale was rounded."""
    dims = {factor.scale.dims for factor in (left, right) if factor.scale.dims}
    if len(dims) > 1:
        return None
    name = name if once else f"{name} of {left.values!r}, {right.values!r}"
    return Scale(shortened(name), dims.pop() if dims else ())


def _powers_of_two(values: Sequence[float]) -> bool:
    """Return whether all of them but 0 are powers of two, by which nothing is rounded."""
    return all(abs(math.frexp(value)[0]) == 0.5 for value in values if value)


def scale_broadcast(scale: Scale, tensor: Tensor, out: Tensor) -> Scale:
    """Return a scale after its tensor was broadcast: dimensions were put before the others."""
    more = out.dim() - tensor.dim()
    return Scale(scale.name, tuple(dim + more for dim in scale.dims)) if scale.dims else scale
