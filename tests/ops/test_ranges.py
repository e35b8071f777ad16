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
