"""Gradients that a model computes in its forward are part of it; those of its caller are not."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from syops import count_syops, get_model_bounds, get_model_syops

IN, OUT = 5, 4


class Adapts(nn.Module):
    """Take a step along a gradient before it answers, as models do that learn at test time."""

    def __init__(self, gradient):
        super().__init__()
        self.fc = nn.Linear(IN, OUT, bias=False)
        self.gradient = gradient

    def forward(self, x):
        weight = self.fc.weight
        return (x @ (weight - self.gradient(weight.detach(), x)).t()).sigmoid()


def loss(weight, x):
    return (x @ weight.t()).sigmoid().sum()


def by_autograd(weight, x):
    with torch.enable_grad():
        weight = weight.clone().requires_grad_(True)
        return torch.autograd.grad(loss(weight, x), weight)[0]


def by_backward(weight, x):
    with torch.enable_grad():
        weight = weight.clone().requires_grad_(True)
        loss(weight, x).backward()
    return weight.grad


def by_function(weight, x):
    return torch.func.grad(loss)(weight, x)


WAYS = [by_autograd, by_backward, by_function]
SPIKES = torch.tensor([[1.0, 0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0, 0.0]])
PRODUCTS = 3
"""That of the loss, that of its gradient with respect to the weights, and that of the answer."""


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("way", WAYS)
def test_gradient_in_the_model_is_counted(way, batches):
    report = get_model_syops(Adapts(way), [SPIKES] * batches)
    assert report.totals.dense_ac == batches * PRODUCTS * 2 * IN * OUT
    assert report.totals.ac_events == batches * PRODUCTS * 5 * OUT
    assert report.totals.mac == 0
    assert report.complete


@pytest.mark.parametrize("way", WAYS)
def test_gradient_in_the_model_of_analog_inputs_lies_in_the_bounds(way):
    report = get_model_syops(Adapts(way), SPIKES * 0.3)
    assert report.totals.mac == PRODUCTS * 2 * IN * OUT
    low, high = get_model_bounds(Adapts(way), SPIKES.shape, input_signal="analog").ec_mj
    assert low <= report.dc_mj <= high


@pytest.mark.parametrize("way", WAYS)
def test_gradient_of_the_caller_is_not_counted(way):
    model = Adapts(way)
    with count_syops(model) as count:
        for _ in range(3):
            model(SPIKES).sum().backward()
    assert count.report.totals.ac_events == 3 * PRODUCTS * 5 * OUT


class Descends(nn.Module):
    """Return the gradient of its own output with respect to the input, as energy models do."""

    def __init__(self, checkpointed):
        super().__init__()
        self.first, self.last = nn.Linear(IN, OUT), nn.Linear(OUT, 3)
        self.checkpointed = checkpointed

    def output(self, x):
        return self.last(self.first(x).relu())

    def forward(self, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            made = checkpoint(self.output, x, use_reentrant=False) if self.checkpointed else None
            y = self.output(x) if made is None else made
            return torch.autograd.grad(y.square().sum(), x)[0]


@pytest.mark.parametrize("batches", [1, 2, 3, 5])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_gradient_through_layers_is_counted_alike_in_every_batch(checkpointed, batches):
    """A checkpoint runs once more what is before the input of its last layer."""
    torch.manual_seed(0)
    report = get_model_syops(Descends(checkpointed), [torch.rand(2, IN)] * batches)
    first, last = 2 * IN * OUT, 2 * OUT * 3
    assert report.totals.mac == batches * (2 * (first + last) + first * checkpointed)
    assert report.totals.ac_events == 0
