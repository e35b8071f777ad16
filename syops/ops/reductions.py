"""Describe reductions: sums, products, extremes, positions, and truth of whole tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from syops.ops.constants import integers
from syops.ops.pooling import averaged, mean
from syops.ops.ranges import MAX_VALUES
from syops.ops.rule import COMPARES, Call, Cost, Free, Rule, analog, tallied
from syops.ops.values import (
    ANALOG,
    EMPTY,
    INTEGER,
    LEARNED,
    Signal,
    TruthTable,
    constant,
    is_integer,
    part_of,
)


def counts(call: Call) -> Signal:
    """Return the signal of numbers of values; of sums of weights, where these are given."""
    return ANALOG if call.arg("weights", None) is not None else INTEGER


def total(call: Call) -> Signal:
    """Return the signal of a sum: n integers of [a, b] make one of [n·a, n·b]."""
    known = call.signal(call.args[0])
    if not isinstance(known, TruthTable):
        return known if known in (LEARNED, INTEGER) else ANALOG
    terms = call.args[0].numel() // max(1, call.out.numel())
    if not is_integer(known) or known == EMPTY:
        return averaged(call, {(terms, 1)})
    low, high = terms * int(min(known.values)), terms * int(max(known.values))
    return _integers_between(low, high, call)


def running_total(call: Call) -> Signal:
    """Return the signal of the sums of the first values."""
    known = call.signal(call.args[0])
    if not isinstance(known, TruthTable) or not is_integer(known) or known == EMPTY:
        return analog(call)
    steps = call.args[0].shape[call.args[1]] if call.args[0].dim() else 1
    return _integers_between(
        min(steps * int(min(known.values)), int(min(known.values))),
        max(steps * int(max(known.values)), int(max(known.values))),
        call,
    )


def product(call: Call) -> Signal:
    """Return the signal of a product of n whole numbers: an AND, where they are 0 or 1."""
    return _products(call, call.args[0].numel() // max(1, call.out.numel()), running=False)


def running_product(call: Call) -> Signal:
    """Return the signal of the products of the first values."""
    x = call.args[0]
    return _products(call, x.shape[call.args[1]] if x.dim() else 1, running=True)


def _products(call: Call, terms: int, running: bool) -> Signal:
    known = call.signal(call.args[0])
    if not isinstance(known, TruthTable) or not is_integer(known) or known == EMPTY:
        return analog(call)
    factors = {int(value) for value in known.values}
    largest = max(map(abs, factors))
    made, met = {1}, factors if running else set()
    for _ in range(terms):
        after = {value * factor for value in made for factor in factors}
        met = met | after if running else after
        if len(met) > MAX_VALUES:
            return INTEGER
        if after == made:
            break
        made = after
    if largest > 1 and not _holds(call.out.dtype, largest**terms):
        return INTEGER if not call.out.dtype.is_floating_point else ANALOG
    values = sorted(met or {1})
    return call.atoms.fresh(values) if len(values) > 1 else constant(values[0])


def _holds(dtype: torch.dtype, largest: int) -> bool:
    """Return whether a dtype has all whole numbers up to one."""
    if dtype.is_floating_point:
        return largest <= 2 / torch.finfo(dtype).eps
    return dtype != torch.bool and not dtype.is_complex and largest <= torch.iinfo(dtype).max


def _integers_between(low: int, high: int, call: Call) -> Signal:
    """Return the signal of sums of integers, which half precision may round."""
    dtype = call.out.dtype
    if dtype.is_complex:
        return ANALOG
    if dtype.is_floating_point and not _holds(dtype, max(abs(low), abs(high))):
        return INTEGER if max(abs(low), abs(high)) <= torch.finfo(dtype).max else ANALOG
    if not (dtype.is_floating_point or dtype == torch.bool):
        limits = torch.iinfo(dtype)
        if not limits.min <= low <= high <= limits.max:
            return INTEGER  # wrapped around
    if low == high:
        return constant(low)
    return call.atoms.fresh(tuple(range(low, high + 1))) if high - low < MAX_VALUES else INTEGER


def extremum(call: Call) -> Sequence[Signal]:
    """Return the signals of one of the values of the operand, and perhaps of its position."""
    return [_one_of(call), *[INTEGER] * (len(call.outputs) - 1)]


def extremes(call: Call) -> Sequence[Signal]:
    """Return the signals of the least and the largest of the values of the operand."""
    return [_one_of(call), _one_of(call)]


def _one_of(call: Call) -> Signal:
    known = call.signal(call.args[0])
    return call.atoms.joined((known,)) if isinstance(known, TruthTable) else part_of(known)


def predicate(call: Call) -> Signal:
    """Return the signal of truth values."""
    return call.atoms.fresh((False, True))


def total_cost(call: Call) -> Sequence[Cost]:
    """1 AC per value that is added up."""
    return tallied(call, "pool", ac=call.args[0].numel())


def diagonal_cost(call: Call) -> Sequence[Cost]:
    """1 AC per value on the diagonal."""
    return tallied(call, "pool", ac=min(call.args[0].shape))


def power_cost(call: Call) -> Sequence[Cost]:
    """1 MAC per value that is multiplied or squared, and added up."""
    return tallied(call, "pool", mac=call.args[0].numel())


def exponential_cost(call: Call) -> Sequence[Cost]:
    """1 MAC per value whose exponential is added up."""
    return tallied(call, "activation", mac=call.args[0].numel())


def added_cost(call: Call) -> Sequence[Cost]:
    """1 AC per value that is added to others, 1 MAC if multiplied, 0 if compared."""
    source = call.arg("source", call.arg("data", None))
    return _added(call, source.numel())


def scattered_cost(call: Call) -> Sequence[Cost]:
    """1 AC per value that is added to others, 1 MAC if multiplied, 0 if compared."""
    return _added(call, call.arg("index").numel())


def _added(call: Call, values: int) -> Sequence[Cost]:
    how = call.arg("reduce", "sum")
    if how in ("amax", "amin", "max", "min"):
        return ()
    return tallied(call, "pool", mac=values) if how == "prod" else tallied(call, "pool", ac=values)


def loss_cost(call: Call) -> Sequence[Cost]:
    """1 MAC per value that is compared with a target."""
    return tallied(call, "elementwise", mac=call.args[0].numel())


RULES: dict[str, Rule] = {
    **dict.fromkeys(("sum", "nansum"), Rule(total, total_cost)),
    "mean": Rule(mean, total_cost),
    "cumsum": Rule(running_total, total_cost),
    **dict.fromkeys(("count_nonzero", "bincount", "histc"), Rule(counts, total_cost)),
    "trace": Rule(analog, diagonal_cost),
    "prod": Rule(product, power_cost),
    "cumprod": Rule(running_product, power_cost),
    **dict.fromkeys(
        ("std", "var", "var_mean", "std_mean", "norm", "linalg_vector_norm", "linalg__powsum",
         "renorm", "dist"),
        Rule(analog, power_cost),
    ),
    **dict.fromkeys(
        ("logsumexp", "logcumsumexp", "_logcumsumexp"), Rule(analog, exponential_cost)
    ),
    **dict.fromkeys(("scatter_add", "scatter_reduce"), Rule(analog, scattered_cost)),
    **dict.fromkeys(("index_add", "index_reduce", "segment_reduce"), Rule(analog, added_cost)),
    **dict.fromkeys(("col2im", "unfold_backward"), Rule(analog, total_cost)),
    # One of the values, positions, and truth values.
    **dict.fromkeys(
        ("amax", "amin", "max", "min", "sort", "topk", "median", "nanmedian", "kthvalue", "mode",
         "cummax", "cummin", "unique_consecutive", "_unique", "_unique2", "unique_dim",
         "unique_dim_consecutive"),
        Rule(extremum, COMPARES),
    ),
    **dict.fromkeys(("aminmax", "_aminmax"), Rule(extremes, COMPARES)),
    **dict.fromkeys(
        ("argmax", "argmin", "nonzero", "nonzero_static", "searchsorted", "bucketize"),
        Rule(integers, Free("finds positions")),
    ),
    **dict.fromkeys(
        ("any", "all", "isin", "_is_all_true", "_is_any_true"), Rule(predicate, COMPARES)
    ),
    "equal": Rule(analog, COMPARES, tells=True),
    # Losses.
    **dict.fromkeys(
        ("mse_loss", "smooth_l1_loss", "huber_loss", "soft_margin_loss", "binary_cross_entropy",
         "binary_cross_entropy_with_logits"),
        Rule(analog, loss_cost),
    ),
}  # fmt: skip
"""The rules of these operators."""
