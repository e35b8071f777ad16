"""Describe operators that make constants and random numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from syops.ops.ranges import MAX_VALUES
from syops.ops.rule import Call, Cost, Free, Rule, analog, tallied
from syops.ops.selection import converted
from syops.ops.values import ANALOG, EMPTY, INTEGER, Opaque, Signal, between, constant


def zeros(call: Call) -> Signal:
    """Return the signal of zeros."""
    return constant(0)


def ones(call: Call) -> Signal:
    """Return the signal of ones."""
    return constant(1)


def full(call: Call) -> Signal:
    """Return the signal of one value everywhere."""
    value = call.arg("fill_value", call.arg("value", call.arg("s", None)))
    if isinstance(value, torch.Tensor):
        return converted(value, call.signal(value), call.out, call.atoms)
    return call.constant(value)


def empty(call: Call) -> Signal:
    """Return the signal of memory without values, which carries what is written into it later."""
    return EMPTY


def integers(call: Call) -> Signal:
    """Return the signal of positions, counts and the like."""
    return INTEGER


def arange(call: Call) -> Signal:
    """Return the signal of a range of numbers."""
    steps = call.arg("start", 0), call.arg("step", 1)
    is_whole = all(float(value).is_integer() for value in steps)
    return INTEGER if is_whole or not call.out.dtype.is_floating_point else ANALOG


def shares(call: Call) -> Signal:
    """Return the signal of shares of 1: of a softmax, or random numbers of [0, 1)."""
    known = analog(call)
    return between(0, 1, known) if isinstance(known, Opaque) else known


def binary(call: Call) -> Signal:
    """Return the signal of spikes, independent of all others."""
    return call.atoms.fresh((0, 1))


def randint(call: Call) -> Signal:
    """Return the signal of random whole numbers."""
    low, high = call.arg("low", 0), call.arg("high", None)
    return call.atoms.fresh(tuple(range(low, high))) if high - low <= MAX_VALUES else INTEGER


def dropout_cost(call: Call) -> Sequence[Cost]:
    """1 MAC per element in training; else 0."""
    if call.arg("train", None) is False:
        return ()
    return tallied(call, "elementwise", mac=call.args[0].numel())


CONSTANT = Free("gives a constant")
RANDOM = Free("draws random numbers")

RULES: dict[str, Rule] = {
    **dict.fromkeys(("zeros", "zeros_like", "new_zeros"), Rule(zeros, CONSTANT)),
    "zero": Rule(zeros, CONSTANT, overwrites=True),
    **dict.fromkeys(("ones", "ones_like", "new_ones"), Rule(ones, CONSTANT)),
    **dict.fromkeys(("full", "full_like", "new_full", "scalar_tensor"), Rule(full, CONSTANT)),
    "fill": Rule(full, CONSTANT, overwrites=True),
    **dict.fromkeys(
        ("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided",
         "empty_permuted"),
        Rule(empty, Free("allocates memory")),
    ),
    "arange": Rule(arange, CONSTANT),
    **dict.fromkeys(("linspace", "logspace"), Rule(analog, CONSTANT)),
    "eye": Rule(binary, CONSTANT),
    **dict.fromkeys(("tril_indices", "triu_indices"), Rule(integers, CONSTANT)),
    # Random numbers.
    "bernoulli": Rule(binary, RANDOM, overwrites=True),
    **dict.fromkeys(("randint", "randint_like"), Rule(randint, RANDOM)),
    **dict.fromkeys(("rand", "rand_like"), Rule(shares, RANDOM)),
    **dict.fromkeys(("randperm", "multinomial"), Rule(integers, RANDOM)),
    **dict.fromkeys(
        ("normal", "uniform", "exponential", "random", "cauchy", "log_normal", "geometric"),
        Rule(analog, RANDOM, overwrites=True),
    ),
    **dict.fromkeys(
        ("randn", "randn_like", "poisson", "binomial", "_standard_gamma", "_sample_dirichlet",
         "normal_functional"),
        Rule(analog, RANDOM),
    ),
    **dict.fromkeys(("native_dropout", "_fused_dropout"), Rule(analog, dropout_cost)),
}  # fmt: skip
"""The rules of these operators."""
