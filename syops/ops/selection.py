"""Describe operators that copy, cast or look up values, or choose some by a mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from syops.ops.factors import factor_of
from syops.ops.ranges import ended, outward, truncated
from syops.ops.rule import COPY, Call, Free, Rule, analog
from syops.ops.tables import broadcast, cast_values, evaluated
from syops.ops.values import (
    ANALOG,
    EMPTY,
    INTEGER,
    UNKNOWN,
    UNSCALED,
    Atoms,
    Interval,
    Shown,
    Signal,
    TruthTable,
    constant,
    rescaled,
)


def cast(call: Call) -> Signal:
    """Return the signal of ``_to_copy``: the values in another dtype."""
    source = call.args[0]
    return converted(source, call.signal(source), call.out, call.atoms)


def copied(call: Call) -> Signal:
    """Return the signal of ``copy_``: the values in the target's dtype and shape."""
    source = call.args[1]
    return converted(source, call.signal(source), call.out, call.atoms)


def converted(source: Tensor, known: Signal, out: Tensor, atoms: Atoms) -> Signal:
    """Return the signal of ``source`` after a cast and broadcast to ``out``."""
    if known == EMPTY:
        return EMPTY
    if out.dtype == torch.bool and not isinstance(known, TruthTable):
        return atoms.fresh((False, True))
    if isinstance(known, Interval):
        return _interval_converted(known, out, atoms)
    if isinstance(known, Shown):
        return known if _keeps_class(known, source.dtype, out.dtype) else UNKNOWN
    if known is ANALOG and not (out.dtype.is_floating_point or out.dtype.is_complex):
        return INTEGER
    if not isinstance(known, TruthTable):
        return known
    if source.shape != out.shape:
        moved = broadcast(known, source, out, atoms)
        if not isinstance(moved, TruthTable):
            return moved
        known = moved
    if source.dtype == out.dtype:
        return known
    if known.scale:
        return known if out.dtype.is_floating_point else ANALOG
    return cast_values(known, source.dtype, out.dtype)


def _interval_converted(known: Interval, out: Tensor, atoms: Atoms) -> Signal:
    """Return the signal of an interval after a cast: one to integers cuts off fractions."""
    ends, kind = (known.low, known.high), known.kind
    if out.dtype.is_complex:
        return kind
    if out.dtype.is_floating_point:
        return ended(outward(ends, out.dtype), kind, out.dtype, atoms)
    if kind is ANALOG or all(map(math.isfinite, ends)):
        kind = INTEGER
    return ended(truncated(ends), kind, out.dtype, atoms)


def _keeps_class(known: Shown, before: torch.dtype, after: torch.dtype) -> bool:
    """Return whether values of a class are still of that class after a cast."""
    if before == after or known.name == "binary":
        return True
    if not after.is_floating_point:
        wide = known.name == "ternary" or after.itemsize >= before.itemsize
        return known.name != "analog" and wide and after.is_signed and not after.is_complex
    finer = before.is_floating_point and torch.finfo(after).eps <= torch.finfo(before).eps
    return finer or known.name != "analog"


def masked_fill(call: Call) -> Signal:
    """Return the signal of a tensor that was filled where a mask says."""
    x, mask, value = call.args[:3]
    filler = call.signal(value) if isinstance(value, Tensor) else call.constant(value)
    known = call.signal(x), call.signal(mask), filler
    if all(isinstance(part, TruthTable) and not part.scale for part in known):
        return evaluated(call, [call.signal(t) for t in call.tensors])
    chosen = [x, value] if isinstance(value, Tensor) or filler == constant(0) else []
    return _amplitude(call, mask, chosen) or call.atoms.joined((known[0], filler))


def where(call: Call) -> Signal:
    """Return the signal of what a mask chooses of two operands."""
    known = [call.signal(tensor) for tensor in call.tensors]
    if all(isinstance(part, TruthTable) and not part.scale for part in known):
        return evaluated(call, known)
    return _amplitude(call, call.args[0], call.args[1:]) or call.atoms.joined(known[1:])


def _amplitude(call: Call, mask: Tensor, chosen: Sequence[Any]) -> Signal | None:
    """Return the signal of what is 0 or a multiple of one scale: spikes with an amplitude."""
    if not chosen or not call.out.dtype.is_floating_point:
        return None
    plain, scales = {id(mask): call.signal(mask)}, set()
    for tensor in (part for part in chosen if isinstance(part, Tensor)):
        known = call.signal(tensor)
        factor = factor_of(call, tensor, known, among=())
        if factor is None:
            return None
        if set(factor.values) != {0}:
            scales.add(factor.scale)
        plain[id(tensor)] = (
            rescaled(known, UNSCALED) if isinstance(known, TruthTable) else constant(1)
        )
    if len(scales) != 1 or not all(isinstance(part, TruthTable) for part in plain.values()):
        return None
    signals = [plain[id(tensor)] for tensor in call.tensors]
    return rescaled(evaluated(call, signals), scales.pop())


SELECTS, TOLD = Free("selects"), Free("makes no tensor")

RULES: dict[str, Rule] = {
    "_to_copy": Rule(cast, COPY, moves=True, casts=True),
    "copy": Rule(copied, COPY, moves=True, overwrites=True),
    "masked_fill": Rule(masked_fill, SELECTS),
    "where": Rule(where, SELECTS),
    "embedding": Rule(analog, Free("looks values up")),
    **dict.fromkeys(("complex", "view_as_real", "view_as_complex"), Rule(analog, COPY)),
    "_local_scalar_dense": Rule(analog, TOLD, tells=True),
    **dict.fromkeys(("item", "is_same_size", "_assert_async"), Rule(analog, TOLD)),
}
"""The rules of these operators."""
