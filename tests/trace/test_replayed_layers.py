"""Layers of torch are not watched in passes that follow the plan: equal to watching them."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional, layer
from torch import nn
from torch.nn.utils import parametrize

from syops.trace.plan.layers import Layer
from tests.trace.test_replay import in_one_memory, same_by_replay


class Layers(nn.Module):
    """Layers of torch, and what a test does before the second one."""

    def __init__(self, between):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.third, self.fourth = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)
        self.out = nn.Linear(4, 2)
        self.between = between

    def forward(self, x):
        s = (self.norm(self.first(x)) > 0).float()
        s = self.between(self, x, s)
        return self.out((self.second(s) > 0).float().mean((2, 3)))


def images(number=8):
    x = torch.randn(number, 2, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    x[:, 0, 0, 0] = torch.tensor([-1.0, -1, -1, 1, 1, -1, 1, -1])[:number, None].expand(-1, 6)
    return list(x)


@pytest.fixture
def skipped(monkeypatch):
    """The layers that were not watched."""
    found = []
    returns = Layer.returns

    def noted(self, *args):
        found.append(self)
        return returns(self, *args)

    monkeypatch.setattr(Layer, "returns", noted)
    return found


def nothing(net, x, s):
    return s


def high(x):
    return bool(x.numpy()[0, 0, 0, 0] > 0)


def other_stride(net, x, s):
    net.second.stride = (2, 2) if high(x) else (1, 1)
    return s


def other_padding(net, x, s):
    net.second.padding_mode = "circular" if high(x) else "zeros"
    return s


def other_class(net, x, s):
    net.second.__class__ = nn.ConvTranspose2d if high(x) else nn.Conv2d
    return s


def written_weights(net, x, s):
    if high(x):
        net.second.weight.data.mul_(1.0)
        with torch.no_grad():
            net.second.weight.mul_(1.0)
    return s


def other_memory_of_weights(net, x, s):
    kept = net.second.weight.data
    net.second.weight.data = kept.clone() if high(x) else kept
    return s


def other_parameter(net, x, s):
    if high(x):
        net.second.weight = nn.Parameter(net.second.weight.detach().clone())
    return s


def spare_weights(net, x, s):
    with torch.no_grad():
        other = net.first.weight.expand(4, 4, 3, 3)
    return F.conv2d(s, other, padding=1) if high(x) else s


def own_forward(net, x, s):
    vars(net.second).pop("forward", None)
    if high(x):
        net.second.forward = lambda s: F.conv2d(s * 2, net.second.weight, padding=1)
    return s


def other_values(net, x, s):
    return s * 0.5 if high(x) else s


def written_input(net, x, s):
    return s.mul_(2) if high(x) else s


def other_layout(net, x, s):
    return s.to(memory_format=torch.channels_last) if high(x) else s


def fewer(net, x, s):
    return s[:1] if high(x) else s


def hooked(net, x, s):
    net.second._forward_pre_hooks = type(net.second._forward_pre_hooks)(
        (key, hook) for key, hook in net.second._forward_pre_hooks.items() if key >= 0
    )
    if high(x):
        net.second._forward_pre_hooks[-1] = lambda module, args: (args[0] * 3,)
        net.second._forward_pre_hooks.move_to_end(-1)
    return s


def caught(net, x, s):
    if high(x):
        try:
            net.second(s[:, :2])
        except RuntimeError:
            return s + s
    return s


def cast(net, x, s):
    with torch.autocast("cpu", enabled=high(x)):
        return (net.second(s) > 0).float()


def inference(net, x, s):
    with torch.inference_mode(high(x)):
        return (net.second(s) > 0).float()


def sizes(net, x, s):
    net.second.dilation = net.second.padding = torch.Size((2, 2) if high(x) else (1, 1))
    return s


def numpy_sizes(net, x, s):
    net.second.dilation = net.second.padding = (np.int64(2 if high(x) else 1),) * 2
    return s


def changed_lists(net, x, s):
    both = net.second.dilation, net.second.padding
    if not isinstance(both[0], list):
        net.second.dilation, net.second.padding = both = [1, 1], [1, 1]
    for sides in both:
        sides[:] = [2, 2] if high(x) else [1, 1]
    spikes = (net.second(s) > 0).float()
    for sides in both:
        sides[:] = [2, 2]
    return spikes


def other_attribute(net, x, s):
    old, new = ("spare", "other") if high(x) else ("other", "spare")
    vars(net.second).pop(old, None)
    setattr(net.second, new, 1)
    return s


def attribute_of_another_type(net, x, s):
    net.second.spare = np.ones(2) if high(x) else 1.0
    return s


def weights_beside_the_parameters(net, x, s):
    vars(net.second)["weight"] = net.third.weight if high(x) else net.fourth.weight
    return s


def other_function(net, x, s):
    conv2d = F.conv2d
    if not high(x):
        return s
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "conv2d", lambda x, *args: conv2d(x * 0.5, *args))
        return (net.second(s) > 0).float()


def function_that_raises(net, x, s):
    conv2d = F.conv2d

    def computes_and_raises(*args):
        conv2d(*args)
        raise KeyError

    if not high(x):
        return s
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyError):
        patch.setattr(F, "conv2d", computes_and_raises)
        net.second(s)
    return s


def other_method(net, x, s):
    method = nn.Conv2d._conv_forward
    if not high(x):
        return s
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Conv2d, "_conv_forward", lambda m, x, *args: method(m, x * 0.5, *args))
        return (net.second(s) > 0).float()


CHANGING = (
    *(sizes, numpy_sizes, changed_lists, other_attribute, attribute_of_another_type),
    *(weights_beside_the_parameters, other_function, function_that_raises, other_method),
    *(nothing, other_stride, other_padding, other_class, written_weights, other_memory_of_weights),
    *(other_parameter, spare_weights, own_forward, other_values, written_input, other_layout),
    *(fewer, hooked, caught, cast, inference),
)


@pytest.mark.parametrize("memory", ["each", "one"])
@pytest.mark.parametrize("between", CHANGING, ids=lambda between: between.__name__)
def test_layers_that_change(between, memory, skipped, monkeypatch):
    torch.manual_seed(0)
    batches = images()
    if memory == "each":
        batches = [batch.clone() for batch in batches]
    same_by_replay(monkeypatch, Layers(between).eval(), batches, graded="ac")
    assert skipped


def test_every_layer_of_torch_is_unwatched(skipped, monkeypatch):
    assert same_by_replay(monkeypatch, Layers(nothing).eval(), images(6)) == pytest.approx(5 / 6)
    assert len(skipped) == 4 * 4  # the first pass is analysed, the second one watched


@pytest.mark.parametrize("steps", ["s", "m"])
def test_layers_of_spikingjelly(steps, skipped, monkeypatch):
    model = nn.Sequential(
        layer.Conv2d(1, 3, 3, padding=1, step_mode=steps),
        layer.BatchNorm2d(3, step_mode=steps),
        layer.Conv2d(3, 2, 3, bias=False, step_mode=steps),
    ).eval()
    shape = (3, 2, 1, 6, 6) if steps == "m" else (2, 1, 6, 6)
    batches = list(in_one_memory((torch.rand(shape) > 0.5).float() for _ in range(5)))
    options = {"time_steps": 3, "batch_dim": 1} if steps == "m" else {}
    same_by_replay(monkeypatch, model, batches, input_signal="binary", **options)
    assert len(skipped) == 3 * 3


class Computed(nn.Conv2d):
    """A layer whose settings depend on something else."""

    wide = False
    padding = property(lambda self: (1 + self.wide,) * 2, lambda self, value: None)
    dilation = property(lambda self: (1 + self.wide,) * 2, lambda self, value: None)


class Signed(nn.Conv2d):
    """A layer whose weights depend on something else."""

    wide = False

    def __getattr__(self, name):
        found = super().__getattr__(name)
        return found.sign() if name == "weight" and self.wide else found


@pytest.mark.parametrize("kind", [Computed, Signed])
def test_layers_that_compute_what_they_apply_are_watched(kind, skipped, monkeypatch):
    def between(net, x, s):
        monkeypatch.setattr(kind, "wide", high(x))
        return s

    torch.manual_seed(0)
    model = Layers(between)
    model.second = kind(4, 4, 3, padding=1)
    same_by_replay(monkeypatch, model.eval(), images(), graded="ac")
    assert len({layer.kind for layer in skipped} & {Computed, Signed}) == 0


class Switched(nn.Module):
    """A parametrisation that makes other weights of the same, by turns."""

    def __init__(self):
        super().__init__()
        self.scale = None

    def forward(self, weight):
        return weight if self.scale is None else torch.round(weight * self.scale)


@pytest.mark.parametrize("what", ["literal", "data", "parameter"])
def test_parametrisations_that_change(what, skipped, monkeypatch):
    def between(net, x, s):
        switch = net.second.parametrizations.weight
        if what == "parameter":
            switch.original = net.fourth.weight if high(x) else net.third.weight
        else:
            scale = 2.0 if what == "literal" else x.mean()
            switch[0].scale = scale if high(x) else None
        return s

    torch.manual_seed(0)
    model = Layers(between)
    parametrize.register_parametrization(model.second, "weight", Switched())
    same_by_replay(monkeypatch, model.eval(), images(), graded="ac")
    assert skipped


def test_layer_that_does_something_else_is_run_again(skipped, monkeypatch):
    """Somebody may replace what a layer of spikingjelly calls, as its result tells."""
    forward = functional.seq_to_ann_forward

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = layer.Conv2d(1, 4, 3, padding=1, step_mode="m")

        def forward(self, x):
            with monkeypatch.context() as patch:
                if x.numpy()[0, 0, 0, 0, 0] > 0:
                    doubled = lambda *args: forward(*args).double()  # noqa: E731
                    patch.setattr(functional, "seq_to_ann_forward", doubled)
                return self.conv(x).float() * 2

    batches = [torch.full((3, 2, 1, 6, 6), value) for value in (-1.0, -1.0, -1.0, 1.0, -1.0)]
    found = same_by_replay(monkeypatch, Net().eval(), batches, time_steps=3, batch_dim=1)
    assert found == pytest.approx(3 / 5)
    assert len(skipped) == 3
