"""What lies between two ends, and what comes out of it by rounding; never a value outside."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syops import check_full_spike, get_model_bounds, get_model_syops
from syops.ledger.ledger import Ledger
from syops.ledger.steps import History
from syops.ops.values import INTEGER, Interval, Table
from syops.trace import inputs as arguments
from syops.trace.bounds import trace
from syops.trace.settings import Settings


class Sent(nn.Module):
    """Everything that ``forward`` makes goes to synapses."""

    def __init__(self, make: Callable[..., list[Tensor]], dtype: torch.dtype) -> None:
        super().__init__()
        self.make = make
        self.weight = nn.Parameter(torch.ones(1, 1, dtype=dtype))

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        made = self.make(*inputs)
        for tensor in made:
            F.linear(tensor.to(self.weight.dtype).reshape(-1, 1), self.weight)
        return made


def derived(make: Callable[..., list[Tensor]], inputs: list[Tensor], signal: str) -> list[Any]:
    """The signal of each tensor that ``make`` returns."""
    history = History()
    trace(
        Sent(make, inputs[0].dtype),
        (tuple(x.to("meta") for x in inputs), {}),
        [arguments.SIGNALS[signal]] * len(inputs),
        Ledger(),
        Settings(),
        history,
    )
    (arrivals,) = history.arrivals.values()
    return [arrival.step.signal for (arrival,) in arrivals]


def outside(signal: Any, values: set[float]) -> set[float]:
    """The values that a signal does not foretell."""
    if isinstance(signal, Table):
        assert not signal.scale
        return values - {float(value) for value in signal.support}
    if isinstance(signal, Interval):
        whole = signal.kind is not INTEGER or all(value.is_integer() for value in values)
        return {v for v in values if not signal.low <= v <= signal.high} if whole else values
    return set() if signal is not INTEGER or all(v.is_integer() for v in values) else values


# Neurons that fire by rounding


FIRED = {
    "round(clamp(v, 0, 1))": (lambda v: v.clamp(0, 1).round(), "{0,1}"),
    "floor(clamp(v, 0, 1))": (lambda v: v.clamp(0, 1).floor(), "{0,1}"),
    "ceil(clamp(v, 0, 1))": (lambda v: v.clamp(0, 1).ceil(), "{0,1}"),
    "trunc(clamp(v, -1, 1))": (lambda v: v.clamp(-1, 1).trunc(), "{-1,0,1}"),
    "round(clamp(v, 0, 4))": (lambda v: v.clamp(0, 4).round(), "{0..4}"),
    "clamp(round(v), 0, 4)": (lambda v: v.round().clamp(0, 4), "{0..4}"),
    "floor(clamp(v, 0, 4) + 0.5)": (lambda v: (v.clamp(0, 4) + 0.5).floor(), "{0..4}"),
    "in place": (lambda v: (v * 1).clamp_(0, 4).round_(), "{0..4}"),
    "hardtanh": (lambda v: F.hardtanh(v, 0, 8).round(), "{0..8}"),
    "hardtanh in place": (lambda v: F.hardtanh(v * 1, 0, 8, inplace=True).round_(), "{0..8}"),
    "relu6": (lambda v: F.relu6(v).round(), "{0..6}"),
    "nn.ReLU6": (lambda v: nn.ReLU6()(v).floor(), "{0..6}"),
    "sigmoid": (lambda v: v.sigmoid().round(), "{0,1}"),
    "4 sigmoid": (lambda v: (4 * v.sigmoid()).round(), "{0..4}"),
    "tanh": (lambda v: v.tanh().round(), "{-1,0,1}"),
    "tanh to 0..2": (lambda v: (v.tanh() + 1).round(), "{0,1,2}"),
    "hardsigmoid": (lambda v: (F.hardsigmoid(v) * 3).round(), "{0,1,2,3}"),
    "softmax": (lambda v: v.softmax(-1).round(), "{0,1}"),
    "int": (lambda v: v.clamp(0, 4).int().float(), "{0..4}"),
    "long": (lambda v: (v.sigmoid() * 3 + 0.5).long().float(), "{0,1,2,3}"),
    "min and max": (lambda v: v.max(0 * v.bool()).min(v.new_ones(())).round(), "{0,1}"),
    "one end at a time": (lambda v: F.relu(v).clamp(max=4).round(), "{0..4}"),
    "integers, one end at a time": (lambda v: v.round().clamp(min=0).clamp(max=4), "{0..4}"),
    "clip": (lambda v: torch.clip(v, -1, 1).round(), "{-1,0,1}"),
    "divided": (lambda v: (v.clamp(0, 8) / 2).round(), "{0..4}"),
    "floor division": (lambda v: v.clamp(0, 8) // 2, "{0..4}"),
    "rounding division": (lambda v: v.clamp(0, 8).div(2, rounding_mode="floor"), "{0..4}"),
    "moved": (lambda v: v.clamp(0, 1)[:, :4].flip(0).repeat(1, 2).round(), "{0,1}"),
    "joined": (lambda v: torch.cat([v.clamp(0, 1), v.clamp(1, 2)])[:4].round(), "{0,1,2}"),
    "padded": (lambda v: F.pad(v.clamp(1, 2)[:, :6], (1, 1)).round(), "{0,1,2}"),
    "largest": (lambda v: F.max_pool1d(v.clamp(0, 2)[None], 3, 1, 1)[0].round(), "{0,1,2}"),
    "where": (lambda v: torch.where(v > 3, v.clamp(0, 1), v.new_zeros(())).round(), "{0,1}"),
    "chance": (lambda v: v.clamp(0, 0) + (torch.rand_like(v) + 0.5).floor(), "real"),
    "no end": (lambda v: v.clamp(min=0).round(), "integers"),
    "cast": (lambda v: v.int().float(), "integers"),
    "decimals": (lambda v: v.clamp(0, 1).round(decimals=1), "real"),
    "half, not 1": (lambda v: (v.clamp(0, 1) * 0.5 + 0.25).round(), "{0,1}"),
}  # fmt: skip


class Firing(nn.Module):
    def __init__(self, fire: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.fire = fire
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.fire(self.first(x)))


@pytest.mark.parametrize("name", FIRED)
def test_rounding_of_what_lies_between_two_ends_is_a_finite_set(name):
    fire, values = FIRED[name]
    assert check_full_spike(Firing(fire), (4, 8), allow=()).rows[1].values == values


@pytest.mark.parametrize("most", [1, 4])
def test_both_orders_of_round_and_clamp_count_alike(most):
    def layers(fire):
        torch.manual_seed(0)
        net = Firing(fire)
        report = get_model_syops(net, torch.randn(64, 8) * 2, graded="ac")
        bounds = get_model_bounds(net, (1, 8), graded="ac", input_signal="analog")
        return report.layers[-1], (report.ac, report.mac), (bounds.dense_ac, bounds.mac)

    round_last = layers(lambda v: v.clamp(0, most).round())
    round_first = layers(lambda v: v.round().clamp(0, most))
    assert round_last == round_first
    assert round_last[2] == (8 * 3 * most, 8 * 8)


def test_rounded_and_clamped_neuron_of_spikeyolo():
    """SpikeYOLO's potential decays by what it fired; SDT v3 rounds by adding one half."""

    class Fires(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, most):
            return torch.round(torch.clamp(x, min=0, max=most))

    class FiresV3(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, most):
            return torch.floor(torch.clamp(x, 0, most) + 0.5)

    class Potential(nn.Module):
        def __init__(self, most: int, function: Any) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 3)
            self.most, self.function = most, function

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            spike, before, out = torch.zeros_like(x[0]), torch.zeros_like(x[0]), torch.zeros_like(x)
            for step in range(x.shape[0]):
                now = (before - spike.detach()) * 0.25 + x[step] if step else x[step]
                spike = self.function.apply(now, self.most)
                before = now.clone()
                out[step] = spike
            return self.last(out)

    for function, (most, values) in itertools.product(
        (Fires, FiresV3), ((1, "{0,1}"), (4, "{0..4}"))
    ):
        row = check_full_spike(Potential(most, function), (3, 2, 8), batch_dim=1).rows[1]
        assert (row.values, row.verdict) == (values, "spike" if most == 1 else "graded")


def test_logical_and_is_a_product_of_spikes():
    for fire in (
        lambda v: torch.stack([v > 0, v > 1]).float().prod(0),
        lambda v: (v > 0).float().reshape(-1, 4, 2).prod(-1).repeat(1, 2),
        lambda v: (v > 0).float().cumprod(-1),
    ):
        assert check_full_spike(Firing(fire), (4, 8), allow=()).rows[1].values == "{0,1}"
    signed = check_full_spike(Firing(lambda v: v.sign().cumprod(-1)), (4, 8), allow=()).rows[1]
    assert signed.values == "{-1,0,1}"


DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


# The same number on every path through a kernel


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


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_a_table_holds_what_every_path_of_a_kernel_computes(name, dtype):
    """Functions that are not rounded once differ in the last bit: no proof rests on it."""
    function = UNARY.get(name) or BINARY[name]
    for levels in itertools.product(LEVELS, repeat=1 if name in UNARY else 2):

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


@pytest.mark.parametrize(
    "make",
    [
        lambda s: torch.atan2(s, s) - 0.7853981852531433,
        lambda s: torch.sgn(torch.fft.fft(s)).abs(),
        lambda s: torch.exp(s) - math.exp(1),
        lambda s: (s * 0.3).sigmoid() - 0.5,
    ],
    ids=["atan2", "sgn of complex", "exp", "sigmoid"],
)
def test_rounding_errors_prove_no_equality(make):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 3)

        def forward(self, s: Tensor) -> Tensor:
            return self.fc(make(s))

    (row,) = check_full_spike(Net(), (64, 8), allow=(), input_signal="binary").rows
    assert (row.values, row.verdict) == ("real", "analog")
