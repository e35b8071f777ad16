"""Calls in a loop of the user's that go on from earlier ones are not samples of their own."""

import pytest
import snntorch
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

from syops import count_syops, get_model_syops
from syops.report.report import Report

X = (torch.rand(5, 3, 6, generator=torch.Generator().manual_seed(0)) > 0.5).float()
"""Events [T, N, features]."""


class HandsOn(nn.Module):
    """One time-step, with the membrane potential as argument and result."""

    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x, mem=None):
        mem = self.fc(x) if mem is None else 0.9 * mem + self.fc(x)
        spikes = (mem > 1).float()
        return self.out(spikes), mem - spikes


class Keeps(nn.Module):
    """One time-step of a neuron of the user's own, which keeps its membrane potential."""

    def __init__(self, how):
        super().__init__()
        self.fc, self.out, self.how = nn.Linear(6, 6), nn.Linear(6, 2), how
        if how == "buffer":
            self.register_buffer("mem", torch.zeros(3, 6))
        self.reset()

    def reset(self):
        self.mem = torch.zeros(3, 6)

    def forward(self, x):
        if self.how == "written":
            self.mem.mul_(0.9).add_(self.fc(x))
        elif self.how == "rows":
            for place, row in enumerate(self.fc(x)):
                self.mem[place] = 0.9 * self.mem[place] + row
        else:
            self.mem = 0.9 * self.mem + self.fc(x)
        return self.out((self.mem > 1).float())


class Anew(Keeps):
    """It forgets its potential at every call."""

    def forward(self, x):
        self.mem.zero_()
        return super().forward(x)


def watched(net, call, **options):
    """Return the report of five calls; ``call`` gets what it returned for the one before."""
    state = None
    with torch.no_grad(), count_syops(net.eval(), **options) as count:
        for x in X:
            state = call(net, x, state)
    return count.report


def dependent(report):
    return [warning for warning in report.warnings if warning.kind == "dependent"]


def steps(how):
    return lambda net, x, mem: net(x, None if mem is None else how(mem))[1]


@pytest.mark.parametrize(
    "how",
    [
        lambda mem: mem,
        lambda mem: mem.detach(),
        lambda mem: mem.data,
        lambda mem: mem.clone(),
        lambda mem: mem.view(18).view(3, 6),
        lambda mem: mem * 0.5,
        lambda mem: torch.cat((mem[:1], mem[1:])),
        lambda mem: mem.mul_(0.5),
    ],
)
def test_states_that_are_handed_on(how):
    report = watched(HandsOn(), steps(how))
    (warning,) = dependent(report)
    assert warning.text.startswith("4 of 5 calls")
    assert "time_steps=T" in warning.advice
    told = watched(HandsOn(), steps(how), time_steps=5)
    assert (report.samples, told.samples) == (15, 3)
    assert not dependent(told)


@pytest.mark.parametrize("how", ["plain", "buffer", "written", "rows"])
def test_states_that_own_neurons_keep(how):
    assert dependent(watched(Keeps(how), lambda net, x, _: net(x)))
    assert not dependent(watched(Anew(how), lambda net, x, _: net(x)))
    assert not dependent(watched(Keeps(how), lambda net, x, _: (net.reset(), net(x))[1]))


@pytest.mark.parametrize(
    ("sn", "reset"),
    [
        (neuron.LIFNode, functional.reset_net),
        (lambda: snntorch.Leaky(beta=0.9, init_hidden=True), lambda net: net[1].reset_mem()),
    ],
)
def test_states_that_neurons_of_libraries_keep(sn, reset):
    net = nn.Sequential(nn.Linear(6, 6), sn(), nn.Linear(6, 2))
    reset(net)
    report = watched(net, lambda net, x, _: net(x))
    assert dependent(report)
    assert [each.starts for each in report.updates] == [1]
    report = watched(net, lambda net, x, _: (reset(net), net(x))[1])
    assert not dependent(report)
    assert [each.starts for each in report.updates] == [5]


BUFFER = torch.empty(3, 6)


@pytest.mark.parametrize(
    "call",
    [
        lambda net, x, _: net(x),
        lambda net, x, y: net(x if y is None else torch.cat((x, torch.zeros_like(y)))),
        lambda net, x, _: net(BUFFER.copy_(x)),
        lambda net, x, _: (net(X[0]), X[0])[1],
    ],
)
@pytest.mark.parametrize("first", [nn.Identity(), nn.ReLU(inplace=True)])
def test_calls_of_their_own(call, first):
    net = nn.Sequential(first, nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 6))
    assert not dependent(watched(net, call))


def test_training_is_no_dependence():
    net = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    optimiser = torch.optim.Adam(net.parameters())
    with count_syops(net) as count:
        for x in X:
            optimiser.zero_grad()
            net(x).square().mean().backward()
            optimiser.step()
    assert [warning.kind for warning in count.report.warnings] == ["training"]


def test_facts_in_files_and_sums():
    report = watched(HandsOn(), steps(lambda mem: mem))
    again = Report.from_json(report.to_json())
    assert again.warnings == report.warnings
    assert (report + report).dependent == 8


def test_what_was_told_in_samples():
    assert not dependent(watched(HandsOn(), steps(lambda mem: mem), samples=3))


def test_unroll_tells_the_steps():
    net = nn.Sequential(nn.Linear(6, 6), snntorch.Leaky(beta=0.9, init_hidden=True))
    assert [w.kind for w in get_model_syops(net, X).warnings] == ["one_step"]
    assert get_model_syops(net, X, unroll=0).warnings == ()
