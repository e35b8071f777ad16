"""A table holds the numbers that every path through a kernel computes, to the last bit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.support.examples import random_examples, some
from tests.support.signals import derived, outside

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    **{name: getattr(torch, name) for name in (
        "neg", "abs", "square", "sqrt", "rsqrt", "reciprocal", "exp", "exp2", "expm1", "log1p",
        "sigmoid", "tanh", "sin", "cos", "erf", "atan", "frac", "sign", "deg2rad", "relu",
        "round", "floor", "ceil", "trunc", "logit", "lgamma", "digamma", "sinc", "asinh",
    )},
    **{name: getattr(F, name) for name in (
        "relu6", "hardsigmoid", "hardswish", "elu", "celu", "selu", "gelu", "silu", "softplus",
        "mish", "leaky_relu", "softshrink", "hardshrink", "logsigmoid", "softsign",
    )},
    "a ** 2": lambda a: a**2, "a ** 3": lambda a: a**3, "a ** 4": lambda a: a**4,
    "a ** 0.5": lambda a: a**0.5, "a ** 1.7": lambda a: a**1.7, "2 ** a": lambda a: 2**a,
    "0.1 a": lambda a: a * 0.1, "a / 3": lambda a: a / 3, "0.3 - a": lambda a: 0.3 - a,
    "a + 3 * 0.3": lambda a: torch.add(a, 0.3, alpha=3), "a % 0.3": lambda a: a % 0.3,
    "fmod": lambda a: torch.fmod(a, 0.3), "a // 0.3": lambda a: a // 0.3,
    "clamp": lambda a: a.clamp(-0.1, 0.7), "decimals": lambda a: a.round(decimals=1),
    "threshold": lambda a: F.threshold(a, 0.1, 0.3),
    "trunc division": lambda a: torch.div(a, 0.3, rounding_mode="trunc"),
}  # fmt: skip
BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    **{name: getattr(torch, name) for name in (
        "add", "sub", "mul", "div", "maximum", "minimum", "atan2", "hypot", "pow", "xlogy",
        "heaviside", "copysign", "fmax", "logaddexp", "remainder", "fmod", "floor_divide",
    )},
    "a + 3 b": lambda a, b: torch.add(a, b, alpha=3),
    "a - 0.1 b": lambda a, b: torch.sub(a, b, alpha=0.1),
    "lerp by 0.5": lambda a, b: torch.lerp(a, b, 0.5),
    "lerp by 0.3": lambda a, b: torch.lerp(a, b, 0.3),
    "lerp by a": lambda a, b: torch.lerp(a, b, a),
    "addcmul": lambda a, b: torch.addcmul(a, b, a, value=0.1),
    "addcmul by 2": lambda a, b: torch.addcmul(a, b, b, value=2),
    "addcdiv": lambda a, b: torch.addcdiv(a, b, a + 2, value=0.3),
    "where": lambda a, b: torch.where(a > b, a, b),
}  # fmt: skip
LEVELS = ((0, 1), (0, 0.1), (0.3, 3), (-1, 0.7), (0, 5))


def over_all_paths(function: Callable[..., Tensor], columns: list[Tensor]) -> set[float]:
    """What comes out on vectors, what is left over from vectors, strided and single elements."""
    long = [column.repeat(16)[:61] for column in columns]
    strided = [torch.stack([x, x], 1)[:, 0] for x in long]
    single = list(zip(*(column.unbind() for column in columns), strict=True))
    results = [function(*long), function(*strided), function(*columns)]
    results += [function(*each) for each in single]
    results += [function(*(x.repeat_interleave(16) for x in columns))]
    return {value for result in results for value in result.double().flatten().tolist()}


@random_examples
@pytest.mark.parametrize(
    ("name", "dtype"), some(list(itertools.product([*UNARY, *BINARY], DTYPES)), one_of=3), ids=str
)
def test_a_table_holds_what_every_path_of_a_kernel_computes(name, dtype):
    """Functions that are not rounded once differ in the last bit: no proof rests on it."""
    function = UNARY.get(name) or BINARY[name]
    every = list(itertools.product(LEVELS, repeat=1 if name in UNARY else 2))
    for levels in every if name in UNARY else some(every, one_of=11):

        def run(*spikes: Tensor, levels: Any = levels) -> list[Tensor]:
            parts = [
                s * float(high) + (1 - s) * low
                for s, (low, high) in zip(spikes, levels, strict=True)
            ]
            return [*parts, function(*parts)]

        rows = torch.tensor(list(itertools.product((0.0, 1.0), repeat=len(levels))), dtype=dtype)
        spikes = [column.clone() for column in rows.unbind(1)]
        try:
            *columns, _ = run(*spikes)
            values = over_all_paths(function, columns)
        except (RuntimeError, NotImplementedError):
            pytest.skip(f"{name} has no kernel for {dtype}")
        signal = derived(run, spikes, "binary")[-1]
        if all(map(math.isfinite, values)):
            assert not outside(signal, values), (name, levels, signal, values)
