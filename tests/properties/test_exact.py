"""Counts of random networks and of delicate ones are those of the brute-force oracle, exactly."""

from __future__ import annotations

import math
from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, neuron
from torch import nn

from syops import get_model_syops
from tests.support import oracle
from tests.support.bounds import assert_foretold
from tests.support.examples import examples

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")

CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MAX_POOLS = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
MAX_INPUTS = 250
"""Input values of a layer: keeps the oracle's loops short."""


# --- neurons and inputs whose class is known by construction ---------------------------------


class Threshold(nn.Module):
    def forward(self, x):
        return (x > 0).to(x.dtype)


class TwoSided(nn.Module):
    """{-1, 0, 1}."""

    def forward(self, x):
        return (x > 0.3).to(x.dtype) - (x < -0.3).to(x.dtype)


class HalfCurrent(nn.Module):
    """{0, 1/2}: one constant magnitude, which folds into the weights."""

    def forward(self, x):
        return (x > 0).to(x.dtype) * 0.5


class Leaky(nn.Module):
    """A stateful neuron in plain torch, reset by its own hands at every sequence's start."""

    def forward(self, x):
        mem = torch.zeros_like(x)
        for _ in range(2):
            mem = 0.5 * mem + x
            spike = (mem > 1).to(x.dtype)
            mem = mem * (1 - spike)
        return spike


NEURONS = {
    "threshold": (Threshold, True),
    "two-sided": (TwoSided, True),
    "half": (HalfCurrent, True),
    "leaky": (Leaky, True),
    "spikingjelly": (neuron.IFNode, True),
    "relu": (nn.ReLU, False),
    "nothing": (nn.Identity, False),
}
SPIKING_INPUTS = {"binary", "ternary", "zeros"}
DECLARED = {kind: kind for kind in ("binary", "ternary", "analog", "graded")} | {"zeros": "binary"}


def values(kind: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    made = {
        "binary": lambda: torch.randint(0, 2, shape),
        "ternary": lambda: torch.randint(-1, 2, shape),
        "zeros": lambda: torch.zeros(shape),
        "analog": lambda: (torch.rand(shape) + 0.5) / 2 * (torch.randint(0, 2, shape) * 2 - 1),
        "graded": lambda: torch.randint(0, 4, shape).index_fill_(0, torch.tensor(0), 3),
    }[kind]()
    return made.to(dtype)


# --- random networks --------------------------------------------------------------------------


def padded(conv: type[nn.Module], *args, pads, **kwargs) -> nn.Module:
    """A convolution whose asymmetric zero padding is a call of F.pad, inside the same module."""

    class Padded(conv):  # type: ignore[misc, valid-type]
        def forward(self, x):
            flat = [p for pair in reversed(self.pads) for p in pair]
            return super().forward(F.pad(x, flat))

    layer = Padded(*args, **kwargs)
    layer.pads = pads
    return layer


@st.composite
def convolution(draw, dims: int, channels: int, size: tuple[int, ...]) -> nn.Module:
    def per_dim(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(dims))

    groups = draw(st.sampled_from([g for g in (1, 2, 3) if channels % g == 0]))
    shape = channels, groups * draw(st.integers(1, 2))
    stride, dilation, padding = per_dim(1, 3), per_dim(1, 2), per_dim(0, 2)
    kernel = per_dim(1, 3)
    common = {"dilation": dilation, "groups": groups, "bias": draw(st.booleans())}
    spelling = draw(st.sampled_from(["int", "same", "mode", "F.pad", "transposed"]))
    if spelling == "same":
        return CONVS[dims](*shape, kernel, padding="same", **common)
    if spelling == "transposed":
        output_padding = tuple(
            draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)
        )
        out = [
            (n - 1) * s - 2 * p + d * (k - 1) + o + 1
            for n, s, p, d, k, o in zip(
                size, stride, padding, dilation, kernel, output_padding, strict=True
            )
        ]
        if min(out) < 1:
            padding = (0,) * dims
        return TRANSPOSED[dims](*shape, kernel, stride, padding, output_padding, **common)
    mode = "zeros"
    if spelling == "mode":
        mode = draw(st.sampled_from(["reflect", "replicate", "circular"]))
        padding = tuple(min(p, n - 1) for p, n in zip(padding, size, strict=True))
    pads = tuple((p, p) for p in padding)
    if spelling == "F.pad":
        pads = tuple((p, q) for p, q in zip(padding, per_dim(0, 2), strict=True))
    kernel = tuple(
        k if n + sum(p) > d * (k - 1) else 1
        for k, n, p, d in zip(kernel, size, pads, dilation, strict=True)
    )
    if spelling == "F.pad":
        return padded(CONVS[dims], *shape, kernel, stride, 0, pads=pads, **common)
    return CONVS[dims](*shape, kernel, stride, padding, padding_mode=mode, **common)


class Net(nn.Module):
    """Layers, each with a neuron behind; ``time`` says how a [T, N, ...] input is walked."""

    def __init__(self, stages: list[nn.Module], time: str) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.time = time

    def step(self, x):
        for stage in self.stages:
            x = stage(x)
        return x

    def forward(self, x):
        if self.time == "loop":
            return torch.stack([self.step(x[t]) for t in range(x.shape[0])])
        if self.time == "flatten":
            return self.step(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return self.step(x)


@st.composite
def networks(draw):
    """A network, an input shape without N and T, and which layers are fed with spikes."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    dims = draw(st.sampled_from([1, 2, 3]))
    size = tuple(draw(st.integers(2, {1: 9, 2: 5, 3: 3}[dims])) for _ in range(dims))
    channels = draw(st.integers(1, 4))
    shape = (channels, *size)
    stages, fed_by_spikes = [], []
    spikes = None
    for _ in range(draw(st.sampled_from([1, 2, 0]))):
        layer = draw(convolution(dims, channels, size))
        name = draw(st.sampled_from(sorted(NEURONS)))
        make, fires = NEURONS[name]
        parts = [layer]
        channels = layer.out_channels
        with torch.no_grad():
            size = tuple(layer(torch.zeros(1, *((layer.in_channels, *size)))).shape[2:])
        if draw(st.booleans()):
            norm = BATCH_NORMS[dims](channels)
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            parts.append(norm)
        parts.append(make())
        if min(size) >= 2 and draw(st.booleans()):
            parts.append(MAX_POOLS[dims](2))
            size = tuple(n // 2 for n in size)
        stages.append(nn.Sequential(*parts))
        fed_by_spikes.append(spikes)
        spikes = fires
        if channels * torch.Size(size).numel() > MAX_INPUTS:
            break
    if channels * torch.Size(size).numel() <= MAX_INPUTS:
        features = channels * torch.Size(size).numel()
        stages.append(nn.Sequential(nn.Flatten(), nn.Linear(features, draw(st.integers(1, 4)))))
        fed_by_spikes.append(spikes)
    return stages, shape, fed_by_spikes


def check(report, model, batches, fed_by_spikes, fold_bn, samples):
    """Totals and rows of ``report`` are the oracle's."""

    def run():
        for batch in batches:
            functional.reset_net(model)
            model(batch)
            functional.reset_net(model)

    seen = oracle.calls(model, run)
    expected = oracle.Totals()
    rows = defaultdict(oracle.Totals)
    for call in seen:
        if isinstance(call.layer, oracle.NORMS):
            norm_mac = 0 if fold_bn else 2 * call.input.numel()
            expected.mac += norm_mac
            rows[call.path].mac += norm_mac
            continue
        spikes = fed_by_spikes[int(call.path.split(".")[1])]
        count = call.count()
        expected.add(count, spikes)
        rows[call.path].add(count, spikes)
    assert oracle.totals_of(report) == expected
    assert report.samples == samples
    assert report.ac == float(expected.ac / samples)
    assert report.ac_events == float(Fraction(expected.ac_events, samples))
    assert report.mac == float(Fraction(expected.mac, samples))
    assert report.dense_ac == float(Fraction(expected.dense_ac, samples))
    got = {
        row.path: oracle.Totals(row.ac, row.ac_events, row.mac, row.dense if row.ac_events else 0)
        for row in report.layers
        if row.kind in ("conv", "linear", "norm")
    }
    assert got.keys() == rows.keys()
    for path, row in rows.items():
        assert got[path].ac == pytest.approx(float(row.ac / samples), rel=1e-12), path
        assert got[path].ac_events == pytest.approx(row.ac_events / samples, rel=1e-12), path
        assert got[path].mac == pytest.approx(row.mac / samples, rel=1e-12), path


@st.composite
def convolutions(draw):
    """A convolution on [N, C, *size]."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    dims = draw(st.sampled_from([1, 2, 3]))
    channels, most = draw(st.integers(1, 6)), {1: 12, 2: 6, 3: 4}[dims]
    size = tuple(draw(st.integers(2, most)) for _ in range(dims))
    return draw(convolution(dims, channels, size)), (channels, *size)


@examples(60, derandomize=False)
@given(
    layer=convolutions(),
    kind=st.sampled_from(sorted(SPIKING_INPUTS)),
    batch=st.integers(1, 2),
)
def test_a_random_convolution_is_counted_to_the_last_synapse(layer, kind, batch):
    layer, shape = layer
    x = values(kind, (batch, *shape), torch.float32)
    expected = oracle.Totals()
    expected.add(oracle.count_of(layer, oracle.activity(x)), spikes=True)
    assert totals(layer, x) == expected


@examples(40, derandomize=False)
@given(
    network=networks(),
    kind=st.sampled_from(sorted(DECLARED)),
    declared=st.booleans(),
    time=st.sampled_from(["none", "loop", "flatten"]),
    steps=st.integers(1, 3),
    sizes=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]),
    fold_bn=st.booleans(),
)
def test_a_random_network_is_counted_to_the_last_synapse(
    network, kind, declared, time, steps, sizes, dtype, fold_bn
):
    stages, shape, fed_by_spikes = network
    fed_by_spikes = [kind in SPIKING_INPUTS if fed is None else fed for fed in fed_by_spikes]
    model = Net(stages, time).to(dtype)
    sequence = () if time == "none" else (steps,)
    batches = [values(kind, (*sequence, n, *shape), dtype) for n in sizes]
    report = get_model_syops(
        model,
        batches if len(batches) > 1 else batches[0],
        batch_dim=len(sequence),
        fold_bn=fold_bn,
        input_signal=DECLARED[kind] if declared else "auto",
    )
    check(report, model, batches, fed_by_spikes, fold_bn, sum(sizes))
    alone = batches[0] if len(batches) == 1 else tuple(batches[0].shape)
    assert_foretold(
        model,
        alone,
        [report],
        batch_dim=len(sequence),
        fold_bn=fold_bn,
        input_signal=DECLARED[kind] if declared else "auto",
    )


# --- products of two activations ---------------------------------------------------------------


def as_operand(kind: str, x: torch.Tensor) -> torch.Tensor:
    """What becomes of an analog input so that its class is known."""
    return {
        "binary": lambda: (x > 0).to(x.dtype),
        "ternary": lambda: TwoSided()(x),
        "analog": lambda: x * 0.5,
        "graded": lambda: (x > 0).to(x.dtype) + (x > 0.5).to(x.dtype) + (x < 9).to(x.dtype),
        "looked up": lambda: x,
    }[kind]()


class Product(nn.Module):
    def __init__(self, left: str, right: str, spelling: str) -> None:
        super().__init__()
        self.kinds = left, right
        self.spelling = spelling

    def forward(self, a, b):
        a, b = as_operand(self.kinds[0], a), as_operand(self.kinds[1], b)
        match self.spelling:
            case "@":
                return a @ b
            case "transposed":
                return (b.mT @ a.mT).mT
            case "einsum":
                return torch.einsum("...mk,...kn->...mn", a, b)
            case "bmm":
                batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
                a, b = (x.expand(*batch, *x.shape[-2:]).flatten(0, -3) for x in (a, b))
                return torch.bmm(a, b)
            case "baddbmm":
                batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
                a, b = (x.expand(*batch, *x.shape[-2:]).flatten(0, -3) for x in (a, b))
                return torch.baddbmm(torch.zeros(1, 1, 1, dtype=a.dtype), a, b)
        raise AssertionError


@examples(40, derandomize=False)
@given(
    seed=st.integers(0, 2**16),
    left=st.sampled_from(["binary", "ternary", "analog", "graded", "looked up"]),
    right=st.sampled_from(["binary", "ternary", "analog", "graded", "looked up"]),
    looked_up=st.tuples(*[st.sampled_from(sorted(DECLARED))] * 2),
    batch=st.sampled_from([((2,), (2,)), ((2, 3), (2, 3)), ((2, 1), (1, 3)), ((2, 3), (1, 1))]),
    mkn=st.tuples(*[st.integers(1, 4)] * 3),
    spelling=st.sampled_from(["@", "transposed", "einsum", "bmm", "baddbmm"]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]),
    calls=st.integers(1, 2),
)
def test_a_product_of_two_activations_counts_coincidences(
    seed, left, right, looked_up, batch, mkn, spelling, dtype, calls
):
    torch.manual_seed(seed)
    m, k, n = mkn
    k += spelling == "einsum"  # without a sum to take, einsum multiplies element by element
    shapes = (*batch[0], m, k), (*batch[1], k, n)
    kinds = [
        look if kind == "looked up" else kind
        for kind, look in zip((left, right), looked_up, strict=True)
    ]
    spikes = [kind in SPIKING_INPUTS for kind in kinds]
    expected, batches = oracle.Totals(), []
    for _ in range(calls):
        operands, factors = [], []
        for kind, look, fires, shape in zip((left, right), looked_up, spikes, shapes, strict=True):
            x = values(look if kind == "looked up" else "analog", shape, dtype)
            active = oracle.activity(as_operand(kind, x).double().numpy())
            operands.append(x)
            factors.append(active if fires else active * 0 + 1)
        batches.append(dict(zip(("a", "b"), operands, strict=True)))
        expected.add(oracle.matmul(*factors), any(spikes))
    report = get_model_syops(Product(left, right, spelling), batches)
    assert oracle.totals_of(report) == expected


class Attention(nn.Module):
    """softmax-free spiking self-attention over tokens [N, L, D], two heads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.proj = (nn.Linear(width, width) for _ in range(4))
        self.fire = Threshold()

    def heads(self, x):
        return self.fire(x).unflatten(-1, (2, -1)).transpose(1, 2)

    def operands(self, x):
        s = self.fire(x)
        return self.heads(self.q(s)), self.heads(self.k(s)), self.heads(self.v(s))

    def forward(self, x):
        q, k, v = self.operands(x)
        y = (q @ k.transpose(-2, -1)) @ v * 0.25
        return self.proj(self.fire(y.transpose(1, 2).flatten(2) - 0.5))


def test_spiking_attention_has_a_row_for_each_product_and_counts_coincidences():
    torch.manual_seed(0)
    model, x = Attention(6), torch.randn(2, 5, 6)
    report = get_model_syops(model, x)
    with torch.no_grad():
        q, k, v = (oracle.activity(t.numpy()) for t in model.operands(x))
        seen = oracle.calls(model, lambda: model(x))
    scores = oracle.matmul(q, k.swapaxes(-1, -2))
    mixed = oracle.matmul(np.ones((2, 2, 5, 5), int), v)  # the scores are in the role of weights
    expected = oracle.Totals()
    for count in (scores, mixed, *(call.count() for call in seen)):
        expected.add(count, spikes=True)
    assert oracle.totals_of(report) == expected
    rows = [row for row in report.layers if row.kind == "matmul"]
    assert [row.dense * 2 for row in rows] == [scores.dense, mixed.dense]
    assert [row.ac_events * 2 for row in rows] == [scores.events, mixed.events]
    assert rows[0].ac == pytest.approx(float(scores.ac / 2), rel=1e-12)
    linear = [row.path for row in report.layers if row.kind == "linear"]
    assert linear == ["q", "k", "v", "proj"]


# --- one operator at a time --------------------------------------------------------------------


class Calls(nn.Module):
    """A forward function with layers of its own, for networks that are told in one line."""

    def __init__(self, forward, **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self._forward = forward

    def forward(self, *args):
        return self._forward(self, *args)


def spikes(*shape: int) -> torch.Tensor:
    return torch.randint(0, 2, shape).float()


def signals(report) -> list[str]:
    return [row.signal for row in report.layers if row.kind in ("conv", "linear", "matmul")]


def totals(model, inputs, **options) -> oracle.Totals:
    return oracle.totals_of(get_model_syops(model, inputs, **options))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int8, torch.uint8])
def test_integer_networks_are_counted_like_floating_point_ones(dtype):
    torch.manual_seed(1)
    x = torch.randint(0, 2, (2, 3, 5, 5)).to(dtype)
    weight = torch.randint(0, 3, (4, 3, 3, 3)).to(dtype)
    model = Calls(lambda self, x: F.conv2d(x, self.weight, padding=1))
    model.register_buffer("weight", weight)
    expected = oracle.Totals()
    expected.add(
        oracle.convolution(oracle.activity(x), 4, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
        spikes=True,
    )
    assert totals(model, x) == expected


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float64])
def test_an_input_that_the_model_casts_stays_a_spike_tensor(dtype):
    x = spikes(3, 8).to(dtype)
    report = get_model_syops(Calls(lambda self, x: self.fc(x.float()), fc=nn.Linear(8, 5)), x)
    assert oracle.totals_of(report).ac_events == int(x.sum()) * 5
    assert report.totals.mac == 0


def test_unbatched_images_in_a_loop_over_samples_are_counted_the_same():
    torch.manual_seed(2)
    conv, x = nn.Conv2d(2, 3, 3, stride=2, padding=1), spikes(4, 2, 7, 6)
    looped = Calls(lambda self, x: torch.stack([self.conv(image) for image in x]), conv=conv)
    expected = oracle.Totals()
    expected.add(oracle.count_of(conv, oracle.activity(x)), spikes=True)
    assert totals(looped, x) == expected


def test_the_rate_of_each_call_is_weighted_with_its_own_dense_count():
    conv = nn.Conv1d(1, 1, 3)
    batches = [torch.ones(1, 1, 4), torch.zeros(1, 1, 5), torch.eye(9)[None, :1]]
    expected = oracle.Totals()
    for x in batches:
        expected.add(oracle.count_of(conv, oracle.activity(x)), spikes=True)
    assert expected.ac == 6 + Fraction(21, 9)
    assert totals(conv, batches) == expected


def test_padding_that_feeds_two_operators_belongs_to_the_rate():
    def forward(self, x):
        s = (x > 0).float()
        shared = F.pad(s, (1, 1))
        return self.a(shared) + self.b(shared)

    x = torch.ones(1, 1, 4)
    model = Calls(forward, a=nn.Conv1d(1, 1, 3), b=nn.Conv1d(1, 1, 3))
    result = totals(model, x)
    assert result.ac_events == 2 * 10
    assert result.dense_ac == 2 * 12
    assert result.ac == 2 * Fraction(4, 6) * 12


def test_padding_with_ones_is_a_spike_train_that_reaches_its_synapses():
    model = Calls(lambda self, x: self.conv(F.pad((x > 0).float(), (1, 1), value=1.0)),
                  conv=nn.Conv1d(1, 1, 3, bias=False))  # fmt: skip
    result = totals(model, -torch.ones(1, 1, 4))
    assert (result.dense_ac, result.ac_events, result.mac) == (12, 2, 0)


def test_weights_of_zeros_and_ones_are_weights_still():
    x = torch.rand(3, 4) + 0.1
    linear, masked = nn.Linear(4, 5), nn.Linear(4, 5)
    for layer in (linear, masked):
        nn.init.ones_(layer.weight)

    def forward(self, x):
        mask = self.fc.weight.new_ones(5, 4)
        return F.linear(x, self.fc.weight * mask) + torch.einsum("nf,of->no", x, self.fc.weight)

    assert totals(linear, x) == oracle.Totals(mac=60)
    assert totals(Calls(forward, fc=masked), x) == oracle.Totals(mac=120)


# --- normalisation -----------------------------------------------------------------------------


@pytest.mark.parametrize("fold_bn", [True, False])
@pytest.mark.parametrize(
    ("model", "shape", "foldable"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), (2, 3, 5, 5), True),
        (nn.Sequential(nn.ConvTranspose1d(3, 4, 1), nn.BatchNorm1d(4)), (5, 3, 10), True),
        (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), (50, 3), True),
        (
            Calls(
                lambda self, x: self.bn(self.fc(x).transpose(1, 2)),
                fc=nn.Linear(3, 4),
                bn=nn.BatchNorm1d(4),
            ),
            (5, 10, 3),
            True,
        ),
        (
            Calls(
                lambda self, x: self.bn(self.conv(x.flatten(0, 1))).unflatten(0, x.shape[:2]),
                conv=nn.Conv2d(3, 4, 1),
                bn=nn.BatchNorm2d(4),
            ),
            (2, 1, 3, 5, 5),
            True,
        ),
        (nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)), (2, 4, 5, 5), True),
        (nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)), (2, 4, 5, 5), False),
        # Along the tokens, not along the linear layer's features, though both are 4.
        (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), (12, 4, 3), False),
        (
            nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(1), nn.BatchNorm2d(4)),
            (2, 3, 5, 5),
            False,
        ),
        (
            nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)),
            (2, 3, 5, 5),
            False,
        ),
        (
            Calls(
                lambda self, x: self.bn(self.conv(x) + self.conv(x)),
                conv=nn.Conv2d(3, 4, 1),
                bn=nn.BatchNorm2d(4),
            ),
            (2, 3, 5, 5),
            False,
        ),
    ],
    ids=[
        "conv", "transposed conv", "linear", "linear, transposed", "conv, unflattened",
        "pre-activation", "before a padded one", "along the tokens", "after pooling",
        "batch statistics", "after an add",
    ],
)  # fmt: skip
def test_a_norm_costs_two_macs_an_element_unless_it_is_folded(model, shape, foldable, fold_bn):
    x = torch.randn(shape) + 0.01
    seen = oracle.calls(model, lambda: model(x))
    expected = 0
    for call in seen:
        if not isinstance(call.layer, oracle.NORMS):
            expected += call.count().dense
        elif not (foldable and fold_bn):
            expected += 2 * call.input.numel()
    report = get_model_syops(model, x, fold_bn=fold_bn)
    assert oracle.totals_of(report) == oracle.Totals(mac=expected)
    norms = [row for row in report.layers if row.kind == "norm"]
    assert len(norms) == 1
    assert (norms[0].folded is not None) == (foldable and fold_bn)


def test_a_norm_whose_convolution_goes_elsewhere_too_is_not_folded():
    def forward(self, x):
        y = self.conv(x)
        return self.bn(y) + y

    model = Calls(forward, conv=nn.Conv2d(3, 4, 1), bn=nn.BatchNorm2d(4))
    x = torch.randn(2, 3, 5, 5)
    assert totals(model, x) == oracle.Totals(mac=2 * 25 * 12 + 2 * 2 * 25 * 4)


# --- sums at any size and dtype ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "dtype"),
    [
        (20_000_001, torch.float32),
        (2**20 + 1, torch.float16),
        (2**20 + 1, torch.bfloat16),
        (1001, torch.int8),
        (1001, torch.uint8),
        (1001, torch.bool),
    ],
)
@pytest.mark.parametrize("derived", [True, False])
def test_sums_of_spikes_are_exact_beyond_what_the_dtype_can_hold(count, dtype, derived):
    weight = torch.ones(1, 1, dtype=torch.float16)

    def forward(self, x):
        x = x[0]
        s = (x > 0).to(x.dtype) if derived else x
        s = s.to(torch.int16) if s.dtype in (torch.bool, torch.int8, torch.uint8) else s
        return F.linear(s, self.weight.to(s.dtype))

    model = Calls(forward)
    model.register_buffer("weight", weight)
    result = totals(model, torch.ones(1, count, 1, dtype=dtype))  # one sample is quick to tell
    assert result == oracle.Totals(ac=Fraction(count), ac_events=count, dense_ac=count)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weighted_sums_of_spikes_beside_borders_are_exact(dtype):
    channels, size = (19_532, 32) if dtype == torch.float32 else (700, 16)
    conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False, dtype=dtype)
    result = totals(conv, torch.ones(1, channels, size, size, dtype=dtype))
    dense = channels * size**2 * 9
    events = channels * (3 * size - 2) ** 2  # along one dimension: all synapses but two
    assert result == oracle.Totals(ac=Fraction(dense), ac_events=events, dense_ac=dense)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_sums_of_coincidences_are_exact(dtype):
    n = 301
    model = Calls(lambda self, a, b: a @ b)
    ones = torch.ones(1, n, n, dtype=dtype)
    result = totals(model, (ones, ones))
    assert result == oracle.Totals(ac=Fraction(n**3), ac_events=n**3, dense_ac=n**3)


# --- classes: derived where possible, whatever the data ----------------------------------------

RESIDUAL = {
    "ADD": (
        {
            "s + x": lambda s, x: s + x,
            "x + s": lambda s, x: x + s,
            "s += x": lambda s, x: s.add_(x),
            "out=": lambda s, x: torch.add(s, x, out=torch.empty_like(s)),
            "stacked": lambda s, x: torch.stack([s, x]).sum(0),
            "sum": lambda s, x: sum([s, x]),
            "reshaped": lambda s, x: (s.flatten() + x.flatten()).view_as(s),
            "permuted": lambda s, x: (s.mT + x.mT).mT,
        },
        "graded",
    ),
    "OR": (
        {
            "s + x - s * x": lambda s, x: s + x - s * x,
            "1 - (1 - s)(1 - x)": lambda s, x: 1 - (1 - s) * (1 - x),
            "maximum": torch.maximum,
            "clamp": lambda s, x: (s + x).clamp(max=1),
            "logical_or": lambda s, x: torch.logical_or(s, x).float(),
            "bool |": lambda s, x: (s.bool() | x.bool()).to(s.dtype),
            "in place": lambda s, x: s.clone().add_(x).sub_(s * x),
            "> 0": lambda s, x: ((s + x) > 0).float(),
        },
        "binary",
    ),
    "XOR": (
        {
            "s (1 - x) + x (1 - s)": lambda s, x: s * (1 - x) + x * (1 - s),
            "s + x - 2 s x": lambda s, x: s + x - 2 * s * x,
            "abs": lambda s, x: (s - x).abs(),
            "square": lambda s, x: (s - x) ** 2,
            "!=": lambda s, x: (s != x).float(),
            "logical_xor": lambda s, x: torch.logical_xor(s, x).float(),
            "remainder": lambda s, x: torch.remainder(s + x, 2),
        },
        "binary",
    ),
    "AND": (
        {
            "s * x": lambda s, x: s * x,
            "minimum": torch.minimum,
            "in place": lambda s, x: s.clone().mul_(x),
            "> 1": lambda s, x: (s + x > 1).float(),
            "relu": lambda s, x: F.relu(s + x - 1),
        },
        "binary",
    ),
    "IAND": (
        {
            "(1 - s) * x": lambda s, x: (1 - s) * x,
            "x - s * x": lambda s, x: x - s * x,
            "where": lambda s, x: torch.where(s.bool(), torch.zeros_like(x), x),
            "masked_fill": lambda s, x: x.masked_fill(s.bool(), 0.0),
            "addcmul": lambda s, x: torch.addcmul(x, s, x, value=-1),
        },
        "binary",
    ),
}
LOGIC = [
    pytest.param(function, signal, id=f"{g}: {spelling}")
    for g, (spellings, signal) in RESIDUAL.items()
    for spelling, function in spellings.items()
]


@pytest.mark.parametrize("make", [Threshold, neuron.IFNode], ids=["torch", "spikingjelly"])
@pytest.mark.parametrize(("g", "signal"), LOGIC)
def test_a_connection_of_two_neurons_has_the_class_of_its_truth_table(g, signal, make):
    """Also in a batch where no two spikes met, where ADD looks binary in the data."""
    model = Calls(
        lambda self, a, b: self.fc(g(self.left(a), self.right(b))),
        left=make(), right=make(), fc=nn.Linear(4, 3),
    )  # fmt: skip
    a = torch.tensor([[2.0, 2.0, -2.0, -2.0], [0.0] * 4])
    report = get_model_syops(model, (a, -a))
    assert signals(report) == [signal]
    with torch.no_grad():
        z = g((a > 0).float(), (-a > 0).float())
    assert set(z.unique().tolist()) <= {0, 1}
    expected = oracle.Totals()
    expected.add(oracle.linear(oracle.activity(z), 3), spikes=signal == "binary")
    assert oracle.totals_of(report) == expected


@pytest.mark.parametrize("g", ["s + x - s * x", "1 - (1 - s)(1 - x)", "clamp", "maximum"])
def test_a_long_chain_of_or_blocks_stays_binary(g):
    function = RESIDUAL["OR"][0][g]

    def forward(self, x):
        o = (x > 0).float()
        for _ in range(36):
            o = function((self.fc(o) > 0).float(), o)
        return self.fc(o)

    model = Calls(forward, fc=nn.Linear(6, 6))
    assert signals(get_model_syops(model, torch.randn(3, 6))) == ["binary"]


def test_a_chain_of_adds_is_graded_up_to_its_length():
    def forward(self, x):
        s = [(x > bound).float() for bound in (10, 20, 30)]
        return self.fc(s[0] + s[1] + s[2])

    model = Calls(forward, fc=nn.Linear(4, 3, bias=False))
    report = get_model_syops(model, torch.zeros(2, 4), graded="ac")
    assert signals(report) == ["graded"]
    dense_per_sample = 12
    assert report.ec_mj[1] == pytest.approx(3 * dense_per_sample * 0.9e-12 * 1e3)


def later(s):
    """The larger one of each two successive time-steps of [T, 1, F]."""
    return F.max_pool1d(s.permute(1, 2, 0), 2, stride=1).permute(2, 0, 1)


@pytest.mark.parametrize(
    "overlapping",
    [
        lambda s: s[1:] + s[:-1],
        lambda s: s[:-1] + s[1:],
        lambda s: s[:2] + s.flip(0)[:2],
        lambda s: (s + s.roll(1, 0))[:2],
        lambda s: s.narrow(0, 0, 2) + s.narrow(0, 1, 2),
        lambda s: s[torch.tensor([0, 1])] + s[torch.tensor([1, 2])],
        lambda s: s.unfold(0, 2, 1).sum(-1),
        lambda s: s[:2] + s[2:].expand(2, -1, -1),
        lambda s: (s + s.view(1, 3, 4))[1:, :1],
        lambda s: F.pad(s[:, 0, :3] + s[:, 0, :3].T, (0, 1))[1:, None],
        lambda s: later(s) + later(1 - s),
    ],
    ids=[
        "slices", "mirrored", "flip", "roll", "narrow", "index", "unfold", "expand", "broadcast",
        "transposed", "max-pool of the complement",
    ],
)  # fmt: skip
def test_a_tensor_added_to_its_moved_self_is_no_spike_tensor(overlapping):
    """{0, 1, 2}, not {0, 2}: positions moved, so the values are others."""
    model = Calls(lambda self, x: self.fc(overlapping((x > 0).float())), fc=nn.Linear(4, 3))
    x = -torch.ones(3, 1, 4)
    x[0] = 1  # one spike train that never meets itself
    report = get_model_syops(model, x, batch_dim=1)
    assert signals(report)[0] in ("graded", "analog")
    assert oracle.totals_of(report) == oracle.Totals(mac=2 * 4 * 3)


@pytest.mark.parametrize(
    "same_twice",
    [
        lambda s, x: s[1:] - s[1:] * x[1:],
        lambda s, x: s.flip(0) + x.flip(0) - s.flip(0) * x.flip(0),
        lambda s, x: s.mT + x.mT - s.mT * x.mT,
        lambda s, x: s.flatten(1) + x.flatten(1) - (s * x).flatten(1),
        lambda s, x: torch.cat([s, x]) * (1 - torch.cat([s, x])),
    ],
    ids=["slice", "flip", "transpose", "flatten", "cat"],
)
def test_the_same_move_made_twice_agrees_with_itself(same_twice):
    model = Calls(lambda self, a, b: self.fc(same_twice((a > 0).float(), (b > 0).float())),
                  fc=nn.LazyLinear(3))  # fmt: skip
    a, b = torch.randn(3, 4, 4), torch.randn(3, 4, 4)
    model(a, b)
    assert signals(get_model_syops(model, (a, b))) == ["binary"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s, y: s.add_(y),
        lambda s, y: s.copy_(y),
        lambda s, y: s[0].copy_(y[0]),
        lambda s, y: s.view(-1)[:4].add_(y.view(-1)[:4]),
        lambda s, y: s.detach().mul_(y),
        lambda s, y: s.__setitem__(slice(1, 2), y[1:2]),
        lambda s, y: torch.add(s, y, out=s),
        lambda s, y: s.masked_scatter_(s > 0, y),
        lambda s, y: s.index_add_(0, torch.tensor([0]), y[:1]),
    ],
    ids=[
        "add_", "copy_", "row", "view", "detached", "setitem", "out=", "scatter", "index_add_",
    ],
)  # fmt: skip
def test_a_class_never_outlives_the_values_it_described(spoil):
    def forward(self, x):
        s = (x > 0).float()
        spoil(s, self.conv(x[:, None])[:, 0])
        return self.fc(s)

    conv = nn.Conv1d(1, 1, 1)
    nn.init.zeros_(conv.weight)  # so that the data looks like spikes all the same
    nn.init.zeros_(conv.bias)
    model = Calls(forward, conv=conv, fc=nn.Linear(4, 3))
    report = get_model_syops(model, torch.rand(2, 4) + 0.1)
    assert signals(report)[-1] == "analog"
    assert oracle.totals_of(report) == oracle.Totals(mac=8 + 24)


@pytest.mark.parametrize(
    "alias",
    [lambda s: s.view(2, 4), lambda s: s.detach(), lambda s: s[:], lambda s: s.t().t()],
    ids=["view", "detached", "slice", "transposed twice"],
)
def test_an_alias_changes_class_with_the_values_that_it_shares(alias):
    def forward(self, x):
        s = (x > 0).float()
        shared = alias(s)
        s += torch.tanh(self.fc(s)) * 0  # zeros in the data, analog by derivation
        return self.out(shared)

    model = Calls(forward, fc=nn.Linear(4, 4), out=nn.Linear(4, 3))
    report = get_model_syops(model, torch.rand(2, 4) + 0.1)
    assert signals(report) == ["binary", "analog"]
    assert oracle.totals_of(report).mac == 24


def test_a_write_that_autograd_does_not_see_voids_the_class():
    def forward(self, x):
        s = (x > 0).float()
        s.data.mul_(x)
        return self.fc(s)

    report = get_model_syops(Calls(forward, fc=nn.Linear(4, 3)), torch.full((2, 4), 0.3))
    assert signals(report) == ["analog"]


def test_a_layer_that_gets_graded_spikes_once_is_graded_throughout():
    def forward(self, x):
        s = (x > 0).float()
        return self.fc(s) + self.fc(s * 1) + self.fc(s + s.flip(0)) + self.fc(s)

    model = Calls(forward, fc=nn.Linear(4, 3))
    report = get_model_syops(model, -torch.ones(2, 4))
    assert signals(report) == ["graded"]
    assert oracle.totals_of(report) == oracle.Totals(mac=4 * 24)


def test_a_layer_is_one_row_however_often_it_is_called():
    torch.manual_seed(6)
    x = spikes(3, 2, 4)

    def forward(self, x):
        twice = [self.fc(step) for step in x] + [self.fc(x[0])]
        return torch.stack(twice), torch.stack([F.linear(step, self.weight) for step in x])

    model = Calls(forward, fc=nn.Linear(4, 5))
    model.weight = nn.Parameter(torch.randn(6, 4))
    rows = get_model_syops(model, x, batch_dim=1).layers
    seen = torch.cat([x, x[:1]]).mean().item()
    assert [(row.path, row.calls, row.rate) for row in rows if row.kind == "linear"] == [
        ("fc", 4, pytest.approx(seen)),
        ("", 3, pytest.approx(x.mean().item())),
    ]
    assert [row.dense for row in rows if row.kind == "linear"] == [4 * 20, 3 * 24]


def test_spikes_written_into_a_preallocated_sequence_are_spikes():
    def forward(self, x):
        out = torch.zeros_like(x)
        for t in range(x.shape[0]):
            out[t] = (x[t] > 0).float()
        return self.fc(out)

    x = torch.randn(3, 2, 4)
    model = Calls(forward, fc=nn.Linear(4, 5))
    report = get_model_syops(model, x, batch_dim=1)
    assert signals(report) == ["binary"]
    assert report.totals.ac_events == int((x > 0).sum()) * 5


def test_a_constant_magnitude_folds_into_the_weights_if_it_is_derived():
    x = spikes(3, 4)
    scaled = Calls(lambda self, x: self.fc(x * 0.25), fc=nn.Linear(4, 5))
    report = get_model_syops(scaled, x, input_signal="binary")
    assert signals(report) == ["scaled"]
    assert report.totals.ac_events == int(x.sum()) * 5
    # What is merely seen in the data proves no magnitude.
    x[0, 0] = 1
    assert totals(nn.Linear(4, 5), x * 0.25) == oracle.Totals(mac=60)
    assert totals(nn.Linear(4, 5), x * 2) == oracle.Totals(mac=60)


def decaying(self, s):
    steps = []
    for _ in range(2):
        self.threshold.mul_(0.9)
        steps.append(s * self.threshold)
    return torch.cat(steps)


@pytest.mark.parametrize(
    "magnitude",
    [
        decaying,
        lambda self, s: torch.div(s - s.flip(0), self.gain, rounding_mode="floor"),
        lambda self, s: s * self.gain + s.flip(0) * self.threshold,
        lambda self, s: s * self.gain + s,
        lambda self, s: s * self.gains[:, None],
        lambda self, s: s * (s.mean(0) + 1),
    ],
    ids=["over time", "floor", "two parameters", "added to spikes", "by sample", "by activity"],
)
def test_magnitudes_that_vary_do_not_fold_into_the_weights(magnitude):
    model = Calls(lambda self, x: self.fc(magnitude(self, (x > 0).float())), fc=nn.Linear(4, 3))
    model.gain = nn.Parameter(torch.tensor([4.0]))
    model.gains = nn.Parameter(torch.ones(2))
    model.register_buffer("threshold", torch.ones(1))
    (signal,) = signals(get_model_syops(model, torch.randn(2, 4)))
    assert signal in ("analog", "graded")  # rounded down they are whole numbers, and still MACs
    assert model.threshold.item() == 1


@pytest.mark.parametrize(
    "magnitude",
    [
        lambda self, s: s * self.gain,
        lambda self, s: s * self.gains,
        lambda self, s: self.gain * s * 2,
        lambda self, s: -s * self.threshold,
        lambda self, s: s / self.gain,
        lambda self, s: s * self.gain - s.flip(0) * self.gain,
        lambda self, s: s * float(self.gain),
    ],
)
def test_one_learned_magnitude_folds_into_the_weights(magnitude):
    model = Calls(lambda self, x: self.fc(magnitude(self, (x > 0).float())), fc=nn.Linear(4, 3))
    model.gain = nn.Parameter(torch.tensor([4.0]))
    model.gains = nn.Parameter(torch.rand(4))  # one for each input channel
    model.register_buffer("threshold", torch.ones(1))
    assert signals(get_model_syops(model, torch.randn(2, 4))) == ["scaled"]


def test_zeros_are_spikes_at_rate_zero_unless_derived_to_be_analog():
    x = torch.zeros(2, 4)
    model = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Linear(3, 5, bias=False))
    assert totals(model, x) == oracle.Totals(dense_ac=24, mac=30)


def test_a_declared_input_signal_overrules_the_data():
    x = spikes(2, 4)
    assert totals(nn.Linear(4, 3), x, input_signal="analog") == oracle.Totals(mac=24)
    assert totals(nn.Linear(4, 3), x, input_signal="graded") == oracle.Totals(mac=24)


def test_graded_spikes_cost_their_magnitude_when_asked():
    torch.manual_seed(3)
    x = torch.randint(-2, 4, (2, 3, 6, 5)).float()
    x[0, 0, 0, 0] = 3
    conv = nn.Conv2d(3, 4, 3, stride=2, padding=1, groups=1)
    count = oracle.count_of(conv, oracle.activity(x, magnitude=True))
    report = get_model_syops(conv, x, graded="ac")
    assert report.totals.ac_events == count.events
    assert report.totals.ac == count.ac
    assert report.totals.mac == 0
    assert report.ec_mj[0] == 0
    assert report.ec_mj[1] == pytest.approx(3 * count.dense / 2 * 0.9e-12 * 1e3)
    assert totals(conv, x) == oracle.Totals(mac=count.dense)


# --- however the data is split -----------------------------------------------------------------


@pytest.mark.parametrize("graded_at", [0, 1, 3])
@pytest.mark.parametrize("graded", ["mac", "ac"])
def test_the_class_of_a_looked_up_input_does_not_depend_on_the_batches(graded_at, graded):
    torch.manual_seed(4)
    x = spikes(4, 6)
    x[graded_at, 2] = 2
    model = nn.Linear(6, 3)
    count = oracle.linear(oracle.activity(x, magnitude=True), 3)
    splits = [x, list(x.split(1)), list(x.split(2)), [x[:3], x[3:]], list(x.flip(0).split(1))]
    for split in splits:
        report = get_model_syops(model, split, graded=graded)
        assert signals(report) == ["graded"]
        if graded == "mac":
            assert oracle.totals_of(report) == oracle.Totals(mac=count.dense)
        else:
            assert (report.totals.ac, report.totals.ac_events) == (count.ac, count.events)


def test_analog_and_ternary_evidence_is_joined_over_batches_too():
    binary, ternary, analog = torch.eye(3), -torch.eye(3), torch.eye(3) / 2
    linear = nn.Linear(3, 2)
    assert signals(get_model_syops(linear, [binary, ternary])) == ["ternary"]
    assert signals(get_model_syops(linear, [binary, torch.zeros(3, 3)])) == ["binary"]
    for split in ([binary, analog], [analog, ternary], [torch.cat([binary, analog])]):
        samples = sum(len(batch) for batch in split)
        assert totals(linear, split) == oracle.Totals(mac=samples * 3 * 2)


@pytest.mark.parametrize("time", ["module", "functional", "unbind", "whole"])
def test_the_class_of_a_looked_up_input_does_not_depend_on_the_time_loop(time):
    """Only the last time-step shows that the input is graded."""
    torch.manual_seed(5)
    x = spikes(3, 2, 4)
    x[2, 1, 1] = 2
    forwards = {
        "module": lambda self, x: torch.stack([self.fc(x[t]) for t in range(3)]),
        "functional": lambda self, x: torch.stack([F.linear(s, self.fc.weight) for s in x]),
        "unbind": lambda self, x: torch.stack([self.fc(s) for s in x.unbind(0)]),
        "whole": lambda self, x: self.fc(x),
    }
    model = Calls(forwards[time], fc=nn.Linear(4, 3))
    assert totals(model, x, batch_dim=1) == oracle.Totals(mac=3 * 2 * 12)


# --- any program -------------------------------------------------------------------------------


SIDE = 4
PURE = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "not": lambda a, b: 1 - a,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "clamp": lambda a, b: a.clamp(0, 1),
    "abs": lambda a, b: a.abs(),
    "halve": lambda a, b: a * 0.5,
    "double": lambda a, b: a * 2,
    "compare": lambda a, b: (a > b).float(),
    "equal": lambda a, b: (a == b).to(a.dtype),
    "logical_and": lambda a, b: torch.logical_and(a, b).float(),
    "where": lambda a, b: torch.where(a > 0, b, a),
    "masked_fill": lambda a, b: a.masked_fill(b > 0, 0),
    "relu": lambda a, b: F.relu(a - b),
    "sign": lambda a, b: torch.sign(a),
    "flip": lambda a, b: a.flip(0),
    "roll": lambda a, b: a.roll(1, 1),
    "transpose": lambda a, b: a.t(),
    "contiguous": lambda a, b: a.t().contiguous(),
    "reshape": lambda a, b: a.t().reshape(SIDE, SIDE),
    "halves": lambda a, b: torch.cat([a[: SIDE // 2], b[: SIDE // 2]]),
    "swap": lambda a, b: torch.cat([a[SIDE // 2 :], a[: SIDE // 2]]),
    "row": lambda a, b: a[:1] + b,
    "column": lambda a, b: a[:, 1:2] * b,
    "repeat": lambda a, b: a[:1].expand(SIDE, -1).clone(),
    "index": lambda a, b: a[torch.tensor([0, 2, 1, 3])],
    "pool": lambda a, b: F.max_pool1d(a[None], 3, 1, 1)[0],
    "pad": lambda a, b: F.pad(a[:, 1:], (1, 0)),
    "stack": lambda a, b: torch.stack([a, b])[1],
    "reduce": lambda a, b: torch.stack([a, b]).amax(0),
    "sum": lambda a, b: torch.stack([a, b]).sum(0),
    "cumulate": lambda a, b: a.cumsum(0),
    "view": lambda a, b: a.view(SIDE, SIDE) if a.is_contiguous() else a,
    "detach": lambda a, b: a.detach(),
    "chunk": lambda a, b: torch.cat(a.chunk(2, 1)[::-1], 1),
    "round": lambda a, b: (a * 0.6).round(),
}
IN_PLACE = {
    "add_": lambda a, b: a.add_(b),
    "mul_": lambda a, b: a.mul_(b),
    "copy_": lambda a, b: a.copy_(b),
    "rows": lambda a, b: a[1:3].copy_(b[1:3]),
    "setitem": lambda a, b: a.__setitem__((slice(None), 0), b[:, 1]),
    "mask": lambda a, b: a.masked_fill_(b > 0, 2),
    "clamp_": lambda a, b: a.clamp_(max=1),
    "zero_": lambda a, b: a[:2].zero_(),
    "fill_": lambda a, b: a[0].fill_(3),
    "transposed": lambda a, b: a.t().sub_(b),
    "out=": lambda a, b: torch.add(a, b, out=a),
}
PROGRAMS = st.lists(
    st.tuples(
        st.sampled_from(sorted(PURE) + sorted(IN_PLACE)), st.integers(0, 20), st.integers(0, 20)
    ),
    min_size=1,
    max_size=12,
)


class Program(nn.Module):
    """Runs instructions over a growing pool of square tensors, then feeds all to synapses."""

    def __init__(self, instructions) -> None:
        super().__init__()
        self.instructions = instructions
        size = 4 + len(instructions)
        self.readers = nn.ModuleList(nn.Linear(SIDE, 1, bias=False) for _ in range(size))

    def pool(self, a, b):
        pool = [(a > 0).float(), (b > 0).float(), (a > 0.5).float() - (a < -0.5).float(), b * 1]
        for name, i, j in self.instructions:
            a, b = pool[i % len(pool)], pool[j % len(pool)]
            if name in PURE:
                pool.append(PURE[name](a, b))
            elif a is not b and not a._is_view() and not b._is_view():
                shared = a.untyped_storage()._cdata == b.untyped_storage()._cdata
                if not (shared and name == "transposed"):  # torch refuses that
                    IN_PLACE[name](a, b)
        return pool

    def forward(self, a, b):
        for reader, x in zip(self.readers, self.pool(a, b), strict=False):
            reader(x)


def fits(signal: str, x: torch.Tensor) -> bool:
    found = set(x.unique().tolist()) - {0}
    match signal:
        case "binary":
            return found <= {1}
        case "ternary":
            return found <= {-1, 1}
        case "scaled":
            return len({abs(value) for value in found}) <= 1
        case "graded":
            return all(value == int(value) for value in found) or shares(found) <= 255
    return True


def shares(values: set[float]) -> float:
    """How many times the largest of these values is the greatest one that divides them all."""
    fractions = [abs(Fraction(value)) for value in values]
    unit = Fraction(
        math.gcd(*(f.numerator for f in fractions)), math.lcm(*(f.denominator for f in fractions))
    )
    return max(fractions) / unit


@examples(50, derandomize=False)
@given(instructions=PROGRAMS, seed=st.integers(0, 2**16))
def test_whatever_a_program_does_its_classes_are_never_smaller_than_the_truth(instructions, seed):
    torch.manual_seed(seed)
    model = Program(instructions)
    inputs = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE) * 0.7
    report = get_model_syops(model, inputs)
    assert not report.unaccounted
    assert_foretold(model, inputs, [report])
    assert_foretold(model, tuple(x.to("meta") for x in inputs), [report])
    with torch.no_grad():
        pool = model.pool(*(x.clone() for x in inputs))
    rows = {row.path: row for row in report.layers if row.kind == "linear"}
    for number, x in enumerate(pool):
        row = rows[f"readers.{number}"]
        assert fits(row.signal, x), (number, row.signal, x)
        if row.signal in ("binary", "ternary", "scaled"):
            assert row.ac_events * SIDE == int(x.count_nonzero())
