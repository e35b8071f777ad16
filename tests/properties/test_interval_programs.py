"""Random programs over tensors that lie between two ends: no value outside of the set found.

They run on real tensors, while what is known of each is derived. How many there are, and which,
say the environment variables SYOPS_EXAMPLES and SYOPS_SEED:

    SYOPS_EXAMPLES=60 SYOPS_SEED=1 pytest tests/properties/test_interval_programs.py
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syops.ops.values import INTEGER, UNKNOWN, Interval, Signal, TruthTable, kind_of, split
from syops.trace.neurons.library import SIGNALS
from tests.properties.test_soundness import put
from tests.support.examples import random_examples, times
from tests.support.forward import forward_pass

PROGRAMS = times(300)
SEED = os.environ.get("SYOPS_SEED", "0")

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
NUMBERS = (-7, -3, -1, -0.5, -0.3, 0, 1e-3, 0.1, 0.25, 0.5, 0.7, 1, 1.5, 2, 2.5, 3, 6, 255, True)
VALUES = (
    *(n + d for n in range(-7, 8) for d in (-0.5, -0.25, -1e-3, 0, 1e-3, 0.1, 0.3)),
    *(100.0, -100.0, 4096.0),
)
SIZE = 96
ROUGHLY = 0.01
"""Of the largest value: how far a multiple may be from what it stands for in half precision."""

Operator = Callable[[Tensor, Tensor, float], Tensor]

CUTTING: dict[str, Operator] = {
    "clamp": lambda a, b, k: a.clamp(min(k, 1), max(k, 1)),
    "clamp above": lambda a, b, k: a.clamp(max=k),
    "clamp below": lambda a, b, k: a.clamp(min=k),
    "clamp, ends exchanged": lambda a, b, k: a.clamp(abs(k), -abs(k)),
    "clamp, no end": lambda a, b, k: a.clamp(k, math.inf),
    "clamp below a tensor": lambda a, b, k: torch.clamp(a, max=b),
    "clamp above a tensor": lambda a, b, k: torch.clamp(a, min=b),
    "clamp between tensors": lambda a, b, k: torch.clamp(a, b, b + 1),
    "clamp in place": lambda a, b, k: a.clone().clamp_(0, abs(k)),
    "clamp above in place": lambda a, b, k: a.clone().clamp_max_(k),
    "clip": lambda a, b, k: torch.clip(a, -abs(k), 1),
    "hardtanh": lambda a, b, k: F.hardtanh(a, -abs(k), abs(k) + 1),
    "hardtanh in place": lambda a, b, k: F.hardtanh(a.clone(), 0, 2, inplace=True),
    "relu": lambda a, b, k: F.relu(a),
    "relu6": lambda a, b, k: F.relu6(a),
    "larger": lambda a, b, k: torch.maximum(a, b),
    "larger than a number": lambda a, b, k: torch.maximum(a, torch.full_like(a, k)),
    "smaller": lambda a, b, k: torch.fmin(a, b),
    "smaller than the least": lambda a, b, k: torch.minimum(a, a.amin()),
    "no infinities": lambda a, b, k: a.nan_to_num(k, 3, -3),
    "threshold": lambda a, b, k: F.threshold(a, 0.1, k),
    "threshold in place": lambda a, b, k: F.threshold_(a.clone(), 1, k),
    "hardshrink": lambda a, b, k: F.hardshrink(a, 0.5),
    "softshrink": lambda a, b, k: F.softshrink(a, 0.5),
}
BOUNDED: dict[str, Operator] = {
    "sigmoid": lambda a, b, k: a.sigmoid(),
    "sigmoid in place": lambda a, b, k: a.clone().sigmoid_(),
    "tanh": lambda a, b, k: a.tanh(),
    "softmax": lambda a, b, k: a.softmax(-1),
    "softmin": lambda a, b, k: F.softmin(a, -1),
    "log of softmax": lambda a, b, k: a.log_softmax(-1).exp(),
    "hardsigmoid": lambda a, b, k: F.hardsigmoid(a),
    "hardsigmoid in place": lambda a, b, k: F.hardsigmoid(a.clone(), inplace=True),
    "sin": lambda a, b, k: a.sin(),
    "cos": lambda a, b, k: a.cos(),
    "erf": lambda a, b, k: a.erf(),
    "erfc": lambda a, b, k: a.erfc(),
    "frac": lambda a, b, k: a.frac(),
    "softsign": lambda a, b, k: F.softsign(a),
    "normalised": lambda a, b, k: F.normalize(a.reshape(-1, 2), dim=-1).flatten(),
    "exp": lambda a, b, k: a.clamp(max=3).exp(),
    "exp2": lambda a, b, k: a.clamp(max=3).exp2(),
    "expm1": lambda a, b, k: a.clamp(max=3).expm1(),
    "log1p": lambda a, b, k: a.clamp(min=0).log1p(),
    "square": lambda a, b, k: a.square(),
    "square root": lambda a, b, k: a.abs().sqrt(),
    "softplus": lambda a, b, k: F.softplus(a),
    "elu": lambda a, b, k: F.elu(a),
    "gelu": lambda a, b, k: F.gelu(a),
    "silu": lambda a, b, k: F.silu(a),
    "hardswish": lambda a, b, k: F.hardswish(a),
    "leaky relu": lambda a, b, k: F.leaky_relu(a, 0.1),
    "leaky relu in place": lambda a, b, k: F.leaky_relu(a.clone(), 0.1, inplace=True),
    "rrelu": lambda a, b, k: F.rrelu(a, training=False),
    "prelu": lambda a, b, k: F.prelu(a, torch.full((1,), 0.25, dtype=a.dtype)),
    "atan2": lambda a, b, k: torch.atan2(a, b),
    "hypot": lambda a, b, k: torch.hypot(a, b.to(a.dtype)),
    "dropout": lambda a, b, k: F.dropout(a, 0.5, training=False),
}
ARITHMETIC: dict[str, Operator] = {
    "times": lambda a, b, k: a * k,
    "plus": lambda a, b, k: a + k,
    "minus": lambda a, b, k: k - a,
    "over": lambda a, b, k: a / k,
    "add": lambda a, b, k: torch.add(a, b, alpha=k),
    "sub": lambda a, b, k: torch.sub(a, b, alpha=k),
    "rsub": lambda a, b, k: torch.rsub(a, b, alpha=2),
    "sum": lambda a, b, k: a + b,
    "difference": lambda a, b, k: a - b,
    "product": lambda a, b, k: a * b,
    "quotient": lambda a, b, k: a / b.clamp(0.3, 3),
    "sub in place": lambda a, b, k: a.clone().sub_(b),
    "mul in place": lambda a, b, k: a.clone().mul_(b),
    "add into": lambda a, b, k: torch.add(
        a, b, out=fresh(a, torch.promote_types(a.dtype, b.dtype))
    ),
    "into more precision": lambda a, b, k: torch.mul(a, 0.3, out=fresh(a, torch.float64)),
    "quotient into more precision": lambda a, b, k: torch.div(a, 3, out=fresh(a, torch.float64)),
    "into less precision": lambda a, b, k: torch.mul(a, 0.3, out=fresh(a, torch.float16)),
    "negative": lambda a, b, k: -a,
    "magnitude": lambda a, b, k: a.abs(),
    "sign of another": lambda a, b, k: torch.copysign(a, b),
    "itself": lambda a, b, k: a - a,
    "share of its magnitude": lambda a, b, k: a / (a.abs() + 1),
    "what rounding takes": lambda a, b, k: a - a.round(),
    "straight through": lambda a, b, k: a + (a.round() - a).detach(),
    "cube": lambda a, b, k: a**3,
    "power 0": lambda a, b, k: a**0,
    "power of 2": lambda a, b, k: 2 ** a.clamp(-5, 5),
    "reciprocal": lambda a, b, k: a.clamp(0.3, 4).reciprocal(),
    "lerp": lambda a, b, k: torch.lerp(a, b.to(a.dtype), 0.5),
    "lerp by a tensor": lambda a, b, k: torch.lerp(a, b.to(a.dtype), a.clamp(0, 1)),
    "addcmul": lambda a, b, k: torch.addcmul(a, b, b, value=0.5),
    "addcdiv": lambda a, b, k: torch.addcdiv(a, b, b.clamp(0.5, 2)),
    "remainder": lambda a, b, k: a % (k or 1.5),
    "remainder by tensors": lambda a, b, k: torch.remainder(a, b.clamp(0.5, 3)),
    "fmod": lambda a, b, k: torch.fmod(a, 1.5),
    "ldexp": lambda a, b, k: torch.ldexp(a, torch.full_like(a, 2)),
    "next": lambda a, b, k: torch.nextafter(a, b.to(a.dtype)),
    "in degrees": lambda a, b, k: a.deg2rad(),
}
ROUNDING: dict[str, Operator] = {
    "round": lambda a, b, k: a.round(),
    "round in place": lambda a, b, k: a.clone().clamp_(0, abs(k)).round_(),
    "round to tenths": lambda a, b, k: a.round(decimals=1),
    "round to tens": lambda a, b, k: a.round(decimals=-1),
    "floor": lambda a, b, k: a.floor(),
    "ceil": lambda a, b, k: a.ceil(),
    "ceil by floor": lambda a, b, k: -((-a).floor()),
    "trunc": lambda a, b, k: a.trunc(),
    "fix in place": lambda a, b, k: a.clone().fix_(),
    "floor division": lambda a, b, k: a // k,
    "floor division by tensors": lambda a, b, k: a // b.clamp(0.3, 3),
    "flooring division": lambda a, b, k: torch.div(a, b.clamp(0.3, 3), rounding_mode="floor"),
    "truncating division": lambda a, b, k: torch.div(a, k, rounding_mode="trunc"),
    "thirds": lambda a, b, k: (a.clamp(0, 1) * 3).round() / 3,
    "quarters": lambda a, b, k: (a.clamp(0, 1) * 4).round() / 4,
    "int": lambda a, b, k: a.clamp(-99, 99).int().to(a.dtype),
    "long": lambda a, b, k: a.clamp(-99, 99).long(),
    "sign": lambda a, b, k: a.sign(),
    "sgn": lambda a, b, k: a.sgn(),
    "greater": lambda a, b, k: (a > b).to(a.dtype),
    "greater, bool": lambda a, b, k: a > k,
    "less in place": lambda a, b, k: a.clone().lt_(b),
    "heaviside": lambda a, b, k: torch.heaviside(a, b.to(a.dtype)),
    "not": lambda a, b, k: a.logical_not(),
    "not bool": lambda a, b, k: ~a.bool(),
    "bool and": lambda a, b, k: (a > k) * b,
    "bool plus": lambda a, b, k: (a > k) + b,
    "place": lambda a, b, k: torch.bucketize(a, torch.tensor([0.0, 1.0, 2.0], dtype=a.dtype)),
}
CASTS: dict[str, Operator] = {
    "half": lambda a, b, k: a.half(),
    "bfloat16": lambda a, b, k: a.bfloat16(),
    "float": lambda a, b, k: a.float(),
    "double": lambda a, b, k: a.double(),
    "double and half": lambda a, b, k: a.double().half(),
    "int to half": lambda a, b, k: a.clamp(-4999, 4999).long().half(),
    "int to bfloat16": lambda a, b, k: a.clamp(-999, 999).long().bfloat16(),
    "uint8": lambda a, b, k: a.clamp(0, 9).to(torch.uint8),
    "uint8 below 0": lambda a, b, k: a.clamp(0, 9).to(torch.uint8) - 1,
    "uint8 negative": lambda a, b, k: -a.clamp(0, 9).to(torch.uint8),
    "int8 beyond its range": lambda a, b, k: small(a, 9) * 50,
    "int8 sum": lambda a, b, k: small(a, 120) + small(b, 120),
    "int8 square": lambda a, b, k: small(a, 99).square(),
    "int8 magnitude": lambda a, b, k: small(a, 127).abs(),
    "int over": lambda a, b, k: small(a, 9) / 3,
    "int over, floor": lambda a, b, k: small(a, 9) // (int(k) or -2),
    "int over, trunc": lambda a, b, k: torch.div(small(a, 9), 2, rounding_mode="trunc"),
    "int remainder": lambda a, b, k: small(a, 9) % 3,
    "int power": lambda a, b, k: small(a, 9).int() ** 2,
    "int clamp by a float": lambda a, b, k: small(a, 9).clamp(max=2.5),
    "int hardtanh": lambda a, b, k: F.hardtanh(small(a, 9), -1, 3),
    "int plus": lambda a, b, k: small(a, 9) + k,
    "int times": lambda a, b, k: small(a, 9) * k,
    "int where": lambda a, b, k: torch.where(a > 0, small(a, 9), 7),
    "int and": lambda a, b, k: small(a, 9) & 3,
    "int or": lambda a, b, k: small(a, 9) | small(b, 9),
    "int xor": lambda a, b, k: small(a, 9) ^ 5,
    "shifted left": lambda a, b, k: a.clamp(0, 9).int() << 2,
    "shifted right": lambda a, b, k: small(a, 9) >> 1,
}
PLACING: dict[str, Operator] = {
    "where": lambda a, b, k: torch.where(a > k, a, b),
    "where, a number": lambda a, b, k: torch.where(a > b, a, k),
    "where, two numbers": lambda a, b, k: torch.where(a > 0, 0.5, k),
    "masked": lambda a, b, k: a.masked_fill(b > k, k),
    "masked in place": lambda a, b, k: a.clone().masked_fill_(a > 0, k),
    "joined": lambda a, b, k: torch.cat([a, b.to(a.dtype)])[1 : 1 + len(a)],
    "stacked": lambda a, b, k: torch.stack([a, b.to(a.dtype)]).flip(0)[0],
    "flipped": lambda a, b, k: a.flip(0),
    "padded": lambda a, b, k: F.pad(a, (1, -1), value=k),
    "triangle": lambda a, b, k: a.reshape(2, -1).tril().flatten(),
    "enlarged": lambda a, b, k: F.interpolate(a[None, None], scale_factor=2)[0, 0, :SIZE],
    "expanded": lambda a, b, k: a[:1].expand(SIZE) * b,
    "all pairs": lambda a, b, k: (a.unsqueeze(0) + b.unsqueeze(1))[0],
    "sorted": lambda a, b, k: a.sort().values,
    "a part written": lambda a, b, k: put(a.clone(), slice(1), k),
    "a part copied": lambda a, b, k: put(a.clone(), slice(3), b[:3].to(a.dtype)),
    "by index": lambda a, b, k: put(a.clone(), torch.tensor([1, 2]), b[:2].to(a.dtype)),
    "by mask": lambda a, b, k: put(a.clone(), a > 0, k),
    "copied": lambda a, b, k: torch.empty_like(a).copy_(b),
    "filled": lambda a, b, k: a.clone().fill_(k),
    "added to zeros": lambda a, b, k: torch.zeros_like(a) + a,
    "largest": lambda a, b, k: a - a.amax(),
    "largest of two": lambda a, b, k: a.reshape(-1, 2).max(-1).values.repeat(2),
    "largest so far": lambda a, b, k: a.cummax(0).values,
    "largest around": lambda a, b, k: F.max_pool1d(a[None], 3, 1, 1)[0],
    "mean around": lambda a, b, k: F.avg_pool1d(a[None], 2, 1, 1)[0, :SIZE],
    "sum of two": lambda a, b, k: a.reshape(-1, 2).sum(-1).repeat(2),
    "mean of two": lambda a, b, k: a.reshape(-1, 2).mean(-1).repeat(2),
    "product of two": lambda a, b, k: a.reshape(-1, 2).prod(-1).repeat(2),
    "running sum": lambda a, b, k: a[:4].cumsum(0).repeat(SIZE // 4),
    "running product": lambda a, b, k: a[:4].cumprod(0).repeat(SIZE // 4),
    "differences": lambda a, b, k: torch.diff(a, prepend=a[:1]),
}
OPERATORS = CUTTING | BOUNDED | ARITHMETIC | ROUNDING | CASTS | PLACING

Step = tuple[str, int, int, float]
"""Operator, two operands, a number."""


def fresh(a: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.empty(a.shape, dtype=dtype)


def small(a: Tensor, most: int) -> Tensor:
    return a.clamp(-most, most).to(torch.int8)


def drawn(rng: random.Random) -> list[Step]:
    """Steps that mostly read what was made last."""
    steps: list[Step] = []
    for made in range(2, 2 + rng.randint(1, 9)):
        group = rng.choice([CUTTING, BOUNDED, ARITHMETIC, ARITHMETIC, ROUNDING, CASTS, PLACING])
        near = max(0, made - 1 - int(rng.expovariate(0.7)))
        step = rng.choice(sorted(group)), near, rng.randrange(made), rng.choice(NUMBERS)
        steps.append(step)
    return steps


def data(rng: random.Random, kind: str, dtype: torch.dtype) -> list[Tensor]:
    columns = []
    for _ in range(2):
        values = [*rng.sample(VALUES, SIZE - 16), *(rng.gauss(0, 2) for _ in range(16))]
        whole = {
            "graded": round,
            "binary": lambda v: v > 0,
            "ternary": lambda v: (v > 1) - (v < -1),
        }
        columns.append([whole.get(kind, float)(value) for value in values])
    return [torch.tensor(column, dtype=torch.float64).to(dtype) for column in columns]


def run(steps: Sequence[Step], inputs: Sequence[Tensor]) -> list[Tensor]:
    made = [tensor.clone() for tensor in inputs]
    for name, first, second, number in steps:
        made.append(OPERATORS[name](made[first], made[second], number))
    return made


def possible(steps: list[Step], inputs: Sequence[Tensor]) -> list[Step]:
    """The steps that torch has a kernel for, without those that need what others made."""
    kept: list[Step] = []
    places = {0: 0, 1: 1}
    for place, (name, first, second, number) in enumerate(steps, len(inputs)):
        if first not in places or second not in places:
            continue
        step = name, places[first], places[second], number
        try:
            run([*kept, step], inputs)
        except (RuntimeError, TypeError):
            continue
        places[place] = len(inputs) + len(kept)
        kept.append(step)
    return kept


def derived(
    steps: Sequence[Step], inputs: Sequence[Tensor], kind: str
) -> list[tuple[Signal, Tensor]]:
    """What is known of every tensor of a program, and the tensor."""
    model = nn.Module()
    watched, watch = forward_pass(model)
    made = [tensor.clone() for tensor in inputs]
    for tensor in made:
        watched.give(tensor, UNKNOWN if kind == "unknown" else SIGNALS[kind])
    with torch.no_grad():
        watch.start()
        try:
            for name, first, second, number in steps:
                made.append(OPERATORS[name](made[first], made[second], number))
        finally:
            watch.stop()
    return [(watched.tensors.signal(tensor), tensor) for tensor in made]


def outside(signal: Signal, tensor: Tensor) -> set[float]:
    """Values that a signal does not foretell."""
    values = set(tensor.double().flatten().tolist())
    if isinstance(signal, TruthTable) and signal.scale:
        name, unit = split(signal.scale.name)
        if name:
            return set()  # multiples of what is told by its name alone
        told = [float(multiple * unit) for multiple in signal.support]  # up to rounding
        return {v for v in values if min(abs(v - t) for t in told) > ROUGHLY * max(map(abs, told))}
    if isinstance(signal, TruthTable):
        return values - {float(value) for value in signal.support}
    if isinstance(signal, Interval) and not all(signal.low <= v <= signal.high for v in values):
        return {v for v in values if not signal.low <= v <= signal.high}
    return {v for v in values if kind_of(signal) is INTEGER and not v.is_integer()}


def fault(steps: Sequence[Step], inputs: Sequence[Tensor], kind: str) -> str:
    """What is wrong with what is derived of a program; "" if nothing is."""
    for place, (signal, tensor) in enumerate(derived(steps, inputs, kind)):
        if not tensor.isfinite().all():
            return ""  # values are taken to be finite
        if wrong := outside(signal, tensor):
            return f"tensor {place} holds {sorted(wrong)[:4]}, which {signal} does not"
    return ""


def smallest(steps: list[Step], inputs: Sequence[Tensor], kind: str) -> list[Step]:
    """A faulty program without the steps that have no part in the fault."""
    for place in reversed(range(len(steps))):
        made = len(inputs) + place
        rest = steps[:place] + [
            (name, first - (first > made), second - (second > made), number)
            for name, first, second, number in steps[place + 1 :]
            if made not in (first, second)
        ]
        if possible(rest, inputs) == rest and fault(rest, inputs, kind):
            return smallest(rest, inputs, kind)
    return steps


@random_examples
def test_no_value_lies_outside_of_the_set_found():
    with_ends = finite = 0
    for number in range(PROGRAMS):
        rng = random.Random(f"{SEED}/{number}")
        dtype = rng.choice(DTYPES)
        kind = rng.choice(["analog", "analog", "unknown", "graded", "ternary", "binary"])
        inputs = data(rng, kind, dtype)
        steps = possible(drawn(rng), inputs)
        wrong = fault(steps, inputs, kind)
        if wrong:
            least = smallest(steps, inputs, kind)
            pytest.fail(
                f"program {SEED}/{number}, {kind} in {dtype}: {least}\n{fault(least, inputs, kind)}"
            )
        signals = [signal for signal, _ in derived(steps, inputs, kind)]
        with_ends += any(isinstance(signal, Interval) for signal in signals)
        finite += any(isinstance(signal, TruthTable) for signal in signals[len(inputs) :])
    print(f"{PROGRAMS} programs, {with_ends} with ends, {finite} with finite sets")
    assert min(with_ends, finite) > PROGRAMS / 4


@random_examples
@pytest.mark.parametrize("name", sorted(OPERATORS))
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_operators_between_two_ends_stay_in_their_set(name, dtype):
    """Each operator on what lies between two ends, and rounded afterwards."""
    for number in range(times(8)):
        rng = random.Random(f"{name}/{number}")
        inputs = data(rng, "analog", dtype)
        before = "clamp", 0, 0, rng.choice((-3, 0, 0.7))
        also = rng.choice(["sigmoid", "tanh", "relu6", "quarters", "clamp in place"]), 1, 1, 2
        steps = [before, also, (name, 2, 3, rng.choice(NUMBERS)), ("round", 4, 4, 0)]
        steps = possible(steps, inputs)
        assert not fault(steps, inputs, "analog"), steps
