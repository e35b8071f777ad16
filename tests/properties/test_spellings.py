"""The same network counts the same, however it is written.

Weights and inputs lie on a dyadic grid, so that every sum is exact in any order and the spikes of
all spellings are the same ones. One spelling is checked against the brute-force oracle.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from syops import get_model_syops
from tests.support import oracle

T, N, CLASSES = 3, 2, 5
IMAGE = 2, 7, 6
HIDDEN = 4
FEATURES = HIDDEN * 4 * 3


def dyadic(*shape: int) -> torch.Tensor:
    return torch.randint(-8, 9, shape).float() / 8


@pytest.fixture
def weights():
    torch.manual_seed(11)
    return {
        "stem": dyadic(HIDDEN, IMAGE[0], 3, 3),
        "stem_bias": dyadic(HIDDEN),
        "conv": dyadic(HIDDEN, HIDDEN, 3, 3),
        "fc": dyadic(CLASSES, FEATURES),
        "fc_bias": dyadic(CLASSES),
    }


@pytest.fixture
def x():
    """[T, N, C, H, W]"""
    torch.manual_seed(12)
    return dyadic(T, N, *IMAGE)


class Written(nn.Module):
    """stem conv (analog) → IF → 3x3 stride-2 conv → IF → linear, at every time-step.

    The hidden convolution strides by 2 and pads by 1; the stem pads by 1 too.
    """

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        for name, weight in weights.items():
            self.register_parameter(name, nn.Parameter(weight.clone()))


def if_step(mem, current):
    """An integrate-and-fire neuron in plain torch: threshold 1, hard reset to 0."""
    mem = mem + current
    spike = (mem >= 1).float()
    return mem * (1 - spike), spike


class Functionals(Written):
    """Functional calls in a loop over time, neurons in plain torch."""

    def stem_of(self, x):
        return F.conv2d(x, self.stem, self.stem_bias, padding=1)

    def conv_of(self, s):
        return F.conv2d(s, self.conv, stride=2, padding=1)

    def fc_of(self, s):
        return F.linear(s, self.fc, self.fc_bias)

    def forward(self, x):
        mem1 = mem2 = torch.zeros(())
        out = []
        for step in x:
            mem1, s = if_step(mem1, self.stem_of(step))
            mem2, s = if_step(mem2, self.conv_of(s))
            out.append(self.fc_of(s.flatten(1)))
        return torch.stack(out)


class FPad(Functionals):
    def stem_of(self, x):
        return F.conv2d(F.pad(x, (1, 1, 1, 1)), self.stem, self.stem_bias)

    def conv_of(self, s):
        return F.conv2d(F.pad(s, [1] * 4), self.conv, None, 2)


class PadBySteps(Functionals):
    """One border after the other."""

    def conv_of(self, s):
        s = F.pad(F.pad(s, (1, 0, 0, 0)), (0, 0, 1, 0))
        s = nn.ZeroPad2d((0, 1, 0, 1))(s)
        return F.conv2d(s, self.conv, stride=2)


class SamePadding(Functionals):
    def stem_of(self, x):
        return F.conv2d(x, self.stem, self.stem_bias, padding="same")


class BiasApart(Functionals):
    def stem_of(self, x):
        return F.conv2d(x, self.stem, padding=1) + self.stem_bias[:, None, None]

    def fc_of(self, s):
        return s.matmul(self.fc.t()) + self.fc_bias


class MatrixProduct(Functionals):
    def fc_of(self, s):
        return s @ self.fc.T + self.fc_bias


class TransposedProduct(Functionals):
    def fc_of(self, s):
        return (self.fc @ s.T).T + self.fc_bias


class AddMM(Functionals):
    def fc_of(self, s):
        return torch.addmm(self.fc_bias, s, self.fc.t())


class MatrixVector(Functionals):
    def fc_of(self, s):
        return torch.stack([torch.mv(self.fc, row) for row in s]) + self.fc_bias


class BatchedProduct(Functionals):
    def fc_of(self, s):
        weight = self.fc.t().expand(len(s), -1, -1)
        return torch.baddbmm(self.fc_bias.expand(len(s), 1, -1), s[:, None], weight)[:, 0]


class Einsum(Functionals):
    def fc_of(self, s):
        return torch.einsum("nf,of->no", s, self.fc) + self.fc_bias


class UnflattenedEinsum(Functionals):
    def fc_of(self, s):
        s = s.unflatten(1, (HIDDEN, -1))
        return torch.einsum("ncp,ocp->no", s, self.fc.unflatten(1, (HIDDEN, -1))) + self.fc_bias


class TensorDot(Functionals):
    def fc_of(self, s):
        return torch.tensordot(s, self.fc, dims=([1], [1])) + self.fc_bias


class FullKernel(Functionals):
    """The classifier as a convolution whose kernel is the whole feature map."""

    def fc_of(self, s):
        maps = s.unflatten(1, (HIDDEN, 4, 3))
        return F.conv2d(maps, self.fc.unflatten(1, (HIDDEN, 4, 3)), self.fc_bias).flatten(1)


class InPlaceNeurons(Functionals):
    """Membrane potentials and spikes live in buffers that are written again and again."""

    def forward(self, x):
        mem1, mem2 = torch.zeros(N, HIDDEN, *IMAGE[1:]), torch.zeros(N, HIDDEN, 4, 3)
        out, s = torch.empty(T, N, CLASSES), torch.empty_like(mem1)
        for t in range(T):
            mem1 += self.stem_of(x[t])
            torch.ge(mem1, 1, out=s)
            mem1[s.bool()] = 0
            mem2.add_(self.conv_of(s))
            spike = mem2.ge(1).to(x)
            mem2.masked_fill_(spike.bool(), 0)
            out[t] = self.fc_of(spike.flatten(1))
        return out


class MultiStepFunctionals(Functionals):
    """Layers see T·N samples at once, only the neurons loop."""

    def fire(self, currents):
        mem, spikes = torch.zeros(()), []
        for current in currents:
            mem, s = if_step(mem, current)
            spikes.append(s)
        return torch.stack(spikes)

    def forward(self, x):
        s = self.fire(self.stem_of(x.flatten(0, 1)).unflatten(0, (T, N)))
        s = self.fire(self.conv_of(s.flatten(0, 1)).unflatten(0, (T, N)))
        return self.fc_of(s.flatten(2).flatten(0, 1)).unflatten(0, (T, N))


class MultiStepLinear(MultiStepFunctionals):
    """F.linear on [T, N, features]."""

    def forward(self, x):
        s = self.fire(self.stem_of(x.flatten(0, 1)).unflatten(0, (T, N)))
        s = self.fire(self.conv_of(s.flatten(0, 1)).unflatten(0, (T, N)))
        return F.linear(s.flatten(2), self.fc, self.fc_bias)


class MultiStepEinsum(MultiStepLinear):
    def forward(self, x):
        s = self.fire(self.stem_of(x.flatten(0, 1)).unflatten(0, (T, N)))
        s = self.fire(self.conv_of(s.flatten(0, 1)).unflatten(0, (T, N)))
        return torch.einsum("tnf,of->tno", s.flatten(2), self.fc) + self.fc_bias


class SpikesLast(MultiStepLinear):
    """F.linear on a permuted, not contiguous, tensor: time runs last."""

    def forward(self, x):
        s = self.fire(self.stem_of(x.flatten(0, 1)).unflatten(0, (T, N)))
        s = self.fire(self.conv_of(s.flatten(0, 1)).unflatten(0, (T, N)))
        last = s.flatten(2).permute(1, 2, 0).contiguous()
        return F.linear(last.permute(2, 0, 1), self.fc, self.fc_bias)


class Modules(nn.Module):
    """Torch's modules around neurons of spikingjelly, called once for each time-step."""

    def __init__(self, weights: dict[str, torch.Tensor], package=nn, **padding) -> None:
        super().__init__()
        padding = padding or {"padding": 1}
        self.stem = package.Conv2d(IMAGE[0], HIDDEN, 3, **padding)
        self.if1 = neuron.IFNode()
        self.conv = package.Conv2d(HIDDEN, HIDDEN, 3, stride=2, padding=1, bias=False)
        self.if2 = neuron.IFNode()
        self.flatten = package.Flatten()
        self.fc = package.Linear(FEATURES, CLASSES)
        with torch.no_grad():
            self.stem.weight.copy_(weights["stem"])
            self.stem.bias.copy_(weights["stem_bias"])
            self.conv.weight.copy_(weights["conv"])
            self.fc.weight.copy_(weights["fc"])
            self.fc.bias.copy_(weights["fc_bias"])

    def step(self, x):
        return self.fc(self.flatten(self.if2(self.conv(self.if1(self.stem(x))))))

    def forward(self, x):
        return torch.stack([self.step(step) for step in x])


class SingleStep(nn.Module):
    """spikingjelly's own loop over a single-step network."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.net = Modules(weights, layer)

    def forward(self, x):
        return functional.multi_step_forward(x, [self.net.step])


class MultiStep(Modules):
    """step_mode 'm': every layer takes [T, N, ...]."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        super().__init__(weights, layer)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        return self.step(x)


class Containers(nn.Module):
    """Plain torch layers in spikingjelly's containers."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        m = Modules(weights)
        m.if1.step_mode = m.if2.step_mode = "m"
        self.net = nn.Sequential(
            layer.SeqToANNContainer(m.stem),
            m.if1,
            layer.SeqToANNContainer(m.conv),
            m.if2,
            layer.MultiStepContainer(m.flatten, m.fc),
        )

    def forward(self, x):
        return self.net(x)


class SequentialSteps(nn.Module):
    """A Sequential that is called once for each time-step, neurons as modules in plain torch."""

    class IF(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mem: torch.Tensor | float = 0.0

        def forward(self, x):
            self.mem, spike = if_step(self.mem, x)
            return spike

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        m = Modules(weights)
        self.net = nn.Sequential(m.stem, self.IF(), m.conv, self.IF(), m.flatten, m.fc)

    def forward(self, x):
        for module in self.net:
            if isinstance(module, self.IF):
                module.mem = 0.0
        return torch.stack([self.net(step) for step in x])


SPELLINGS = {
    **{
        cls.__name__: cls
        for cls in (
            Functionals, FPad, PadBySteps, SamePadding, BiasApart, MatrixProduct,
            TransposedProduct, AddMM, MatrixVector, BatchedProduct, Einsum, UnflattenedEinsum,
            TensorDot, FullKernel, InPlaceNeurons, MultiStepFunctionals, MultiStepLinear,
            MultiStepEinsum, SpikesLast, SingleStep, MultiStep, Containers, SequentialSteps,
        )
    },
    "layer modules in a loop": lambda weights: Modules(weights, layer),
    "padding='same'": lambda weights: Modules(weights, padding="same"),
    "padding_mode='zeros'": lambda weights: Modules(weights, padding=1, padding_mode="zeros"),
}  # fmt: skip


@pytest.fixture
def truth(weights, x):
    """What the oracle says of the spelling with torch's modules."""
    model = Modules(weights)
    expected = oracle.Totals()
    for call in oracle.calls(model, lambda: model(x)):
        expected.add(call.count(), spikes=call.path != "stem")
    assert 0 < expected.ac_events < expected.ac < expected.dense_ac
    return expected


def outputs(model, x):
    functional.reset_net(model)
    with torch.no_grad():
        return model.eval()(x)


def test_modules_count_like_the_oracle(weights, x, truth):
    report = get_model_syops(Modules(weights), x, batch_dim=1)
    assert oracle.totals_of(report) == truth
    assert report.unaccounted == {}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_a_network_counts_the_same(spelling, weights, x, truth):
    model = SPELLINGS[spelling](weights)
    assert torch.equal(outputs(model, x), outputs(Modules(weights), x))
    report = get_model_syops(model, x, batch_dim=1)
    assert oracle.totals_of(report) == truth
    assert report.unaccounted == {}


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_a_padding_mode_counts_like_the_same_pad_in_front(mode):
    torch.manual_seed(13)
    conv = nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode=mode)
    s = torch.randint(0, 2, (2, 2, 5, 6)).float()

    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = conv.weight, conv.bias

        def forward(self, x):
            return F.conv2d(F.pad(x, (2, 2, 1, 1), mode=mode), self.weight, self.bias)

    expected = oracle.Totals()
    expected.add(oracle.count_of(conv, oracle.activity(s)), spikes=True)
    assert oracle.totals_of(get_model_syops(conv, s)) == expected
    assert oracle.totals_of(get_model_syops(Padded(), s)) == expected


def test_a_pointwise_convolution_counts_like_a_linear_layer_over_channels():
    torch.manual_seed(14)
    s, weight = torch.randint(0, 2, (2, 3, 4, 5)).float(), torch.randn(6, 3)

    class Pointwise(nn.Module):
        def __init__(self, forward) -> None:
            super().__init__()
            self.weight = nn.Parameter(weight)
            self._forward = forward

        def forward(self, x):
            return self._forward(x, self.weight)

    expected = oracle.Totals()
    expected.add(oracle.linear(oracle.activity(s), 6), spikes=True)
    for forward in (
        lambda x, w: F.conv2d(x, w[:, :, None, None]),
        lambda x, w: F.linear(x.movedim(1, -1), w).movedim(-1, 1),
        lambda x, w: torch.einsum("nchw,oc->nohw", x, w),
        lambda x, w: w @ x.flatten(2),
        lambda x, w: F.conv1d(x.flatten(2), w[:, :, None]),
        lambda x, w: (x.movedim(1, -1) @ w.T).movedim(-1, 1),
    ):
        assert oracle.totals_of(get_model_syops(Pointwise(forward), s)) == expected


def test_convolution_by_unfolding_has_the_same_synapses_and_events():
    """Its rate is that of the unfolded tensor, padding included: only ``ac`` may differ."""
    torch.manual_seed(15)
    s = torch.randint(0, 2, (2, 3, 6, 5)).float()
    conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)

    class Unfolded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = conv.weight

        def forward(self, x):
            return self.weight.flatten(1) @ F.unfold((x > 0).float(), 3, padding=1)

    count = oracle.count_of(conv, oracle.activity(s))
    totals = get_model_syops(Unfolded(), s).totals
    assert (totals.dense_ac, totals.ac_events, totals.mac) == (count.dense, count.events, 0)


@pytest.mark.parametrize("kinds", ["spikes", "analog"])
def test_fused_attention_counts_like_attention_written_out(kinds):
    torch.manual_seed(16)

    class Attention(nn.Module):
        def __init__(self, fused: bool) -> None:
            super().__init__()
            self.fused = fused

        def forward(self, *qkv):
            q, k, v = ((t > 0.1).float() if kinds == "spikes" else t * 0.3 for t in qkv)
            if self.fused:
                return F.scaled_dot_product_attention(q, k, v, scale=0.5)
            return torch.softmax(q @ k.mT * 0.5, -1) @ v

    qkv = tuple(torch.randn(2, 3, length, width) for length, width in ((4, 8), (5, 8), (5, 8)))
    active = [oracle.activity((t > 0.1).numpy()) for t in qkv]
    expected = oracle.Totals()
    expected.add(oracle.matmul(active[0], active[1].swapaxes(-1, -2)), kinds == "spikes")
    ones = oracle.activity(torch.ones(2, 3, 4, 5))
    expected.add(oracle.matmul(ones, active[2]), kinds == "spikes")
    for fused in (False, True):
        assert oracle.totals_of(get_model_syops(Attention(fused), qkv)) == expected, fused
