"""Random layers against an independent truth, one-dimensional inputs included.

Events: the layer itself, every weight a one, on inputs of zeros and ones, summed in float64. Dense
counts: closed formulas of the shapes. The environment variable SYOPS_EXAMPLES sets how many.
"""

import copy
import math
import random
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from syops import get_model_bounds, get_model_syops
from tests.support.examples import random_examples, times

LAYERS = times(240)
CONVOLUTIONS = {
    (1, False): nn.Conv1d,
    (2, False): nn.Conv2d,
    (3, False): nn.Conv3d,
    (1, True): nn.ConvTranspose1d,
    (2, True): nn.ConvTranspose2d,
    (3, True): nn.ConvTranspose3d,
}


class Spelled(nn.Module):
    """A layer called in one of the ways that people write."""

    def __init__(self, layer, call):
        super().__init__()
        self.layer, self.call = layer, call

    def forward(self, x):
        return self.call(self.layer, x)


LINEAR = {
    "call": lambda layer, x: layer(x),
    "F.linear": lambda layer, x: F.linear(x, layer.weight, layer.bias),
    "@": lambda layer, x: x @ layer.weight.t(),
    "matmul": lambda layer, x: torch.matmul(x, layer.weight.mT),
    "W @ x": lambda layer, x: (layer.weight @ x.reshape(-1, x.shape[-1]).t()).t(),
    "einsum": lambda layer, x: torch.einsum("...i,oi->...o", x, layer.weight),
    "tensordot": lambda layer, x: torch.tensordot(x, layer.weight, dims=([-1], [1])),
    "vmap": lambda layer, x: torch.vmap(layer)(x) if x.dim() > 1 else layer(x),
    "vmap of @": lambda layer, x: (
        torch.vmap(lambda row: layer.weight @ row)(x) if x.dim() == 2 else x @ layer.weight.t()
    ),
    "unsqueeze_": lambda layer, x: layer(x.clone().unsqueeze_(0)).squeeze_(0),
    "squeeze_ after": lambda layer, x: layer(x[None]).squeeze_(0).unsqueeze_(-1).squeeze_(-1),
    "t_": lambda layer, x: x.reshape(-1, x.shape[-1]) @ layer.weight.detach().clone().t_(),
    "transpose_": lambda layer, x: layer(x[None].clone().transpose_(0, -2).transpose_(0, -2)),
}


def draw_linear(draw):
    sizes = [draw.randint(1, 3) for _ in range(draw.choice([0, 0, 1, 1, 2, 3]))]
    inside, outside = draw.randint(1, 9), draw.randint(1, 7)
    spelling = draw.choice(sorted(LINEAR))
    if spelling == "einsum":  # over one element it is an element-wise multiplication
        inside += 1
    layer = nn.Linear(inside, outside, bias=draw.random() < 0.5)
    x = spikes(draw, (*sizes, inside))
    dense = math.prod(sizes) * inside * outside
    return Spelled(layer, LINEAR[spelling]), x, dense, f"{layer} {tuple(x.shape)} {spelling}"


def draw_convolution(draw):
    rank, transposed = draw.randint(1, 3), draw.random() < 0.3
    groups = draw.choice([1, 1, 1, 2, 3])
    inside, outside = groups * draw.randint(1, 3), groups * draw.randint(1, 3)
    several = lambda low, high: tuple(draw.randint(low, high) for _ in range(rank))  # noqa: E731
    kernel, stride, dilation = several(1, 3), several(1, 3), several(1, 2)
    options = {"groups": groups, "dilation": dilation, "bias": draw.random() < 0.5}
    if transposed:
        least = [max(s, d) for s, d in zip(stride, dilation, strict=True)]
        options["output_padding"] = tuple(draw.randint(0, n - 1) for n in least)
        options["padding"] = several(0, 1)
    elif draw.random() < 0.15:
        stride, options["padding"] = (1,) * rank, draw.choice(["same", "valid"])
    else:
        options["padding"] = several(0, 2)
        options["padding_mode"] = draw.choice(["zeros"] * 4 + ["reflect", "replicate", "circular"])
    layer = CONVOLUTIONS[rank, transposed](inside, outside, kernel, stride, **options)
    size = tuple(draw.randint(5, 7) for _ in range(rank))
    batch = draw.choice([(), (1,), (2,), (3,)])
    x = spikes(draw, (*batch, inside, *size))
    with torch.no_grad():
        out = layer(x)
    sites = size if transposed else out.shape[-rank:]
    pairs = inside * outside // groups
    dense = math.prod(batch) * pairs * math.prod(kernel) * math.prod(sites)
    return Spelled(layer, LINEAR["call"]), x, dense, f"{layer} {tuple(x.shape)}"


def spikes(draw, shape):
    density = draw.choice([0.0, 0.1, 0.5, 0.9, 1.0])
    generator = torch.Generator().manual_seed(draw.randrange(2**32))
    return (torch.rand(shape, generator=generator) < density).float()


def events_of(model, x):
    ones = copy.deepcopy(model).double()
    with torch.no_grad():
        ones.layer.weight.fill_(1)
        if ones.layer.bias is not None:
            ones.layer.bias.zero_()
        return int(ones(x.double()).sum())


@random_examples
@pytest.mark.parametrize("shard", range(4))
def test_random_layer_is_counted_exactly(shard):
    for seed in range(shard, LAYERS, 4):
        draw = random.Random(seed)
        torch.manual_seed(seed)
        drawn = draw_linear(draw) if draw.random() < 0.5 else draw_convolution(draw)
        model, x, dense, described = drawn
        report = get_model_syops(model, x, input_signal="binary")
        rows = [row for row in report.rows if row.kind in ("conv", "linear", "matmul")]
        assert [row.dense for row in rows] == [dense], (seed, described)
        totals = report.totals
        rate = Fraction(int(x.sum()), x.numel())
        found = totals.ac_events, totals.ac, totals.mac, totals.dense_ac
        assert found == (events_of(model, x), rate * dense, 0, dense), (seed, described)
        bounds = get_model_bounds(model, x, input_signal="binary")
        assert bounds.totals.dense_ac == dense, (seed, described)
        assert bounds.totals.mac == 0, (seed, described)
