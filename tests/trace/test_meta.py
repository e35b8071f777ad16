"""What stands for a model where there are no values does what the model does."""

from __future__ import annotations

import functools
import threading
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, fx, nn
from torch.nn.utils import parametrizations, prune

from syops import check_full_spike, get_model_bounds, get_model_syops
from syops.errors import ForwardError
from syops.trace.meta import Shadow, _Shadowing
from tests.support.versions import needs_2


class Net(nn.Module):
    """A neuron between two layers, and a function of it all."""

    def __init__(self, function, sn=None, **attributes):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = layer.Linear(6, 5), layer.Linear(5, 4), layer.Linear(5, 4)
        self.sn = sn or neuron.LIFNode()
        self.function = function
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.function(self, x)


def read_a_potential(net, x):
    for step in x:
        net.fc2(net.sn(net.fc1(step)))
    return net.fc3(net.sn.v)


def read_potentials(net, x):
    for step in x:
        net.fc2(net.sn(net.fc1(step)))
    return net.fc3(net.sn.v_seq)


def read_potentials_of_a_sequence(net, x):
    return net.fc2(net.sn(net.fc1(x))), net.fc3(net.sn.v_seq)


def reset_and_read_a_threshold(net, x):
    net.sn.reset()
    functional.reset_net(net)
    assert isinstance(net.sn, neuron.LIFNode)
    spikes = net.sn(net.fc1(x)) * net.sn.v_threshold
    return net.fc2(spikes), net.fc3(net.sn.v * 1.0)


@pytest.mark.parametrize(
    ("function", "keywords"),
    [
        (read_a_potential, {}),
        pytest.param(read_potentials, {"store_v_seq": True}, marks=needs_2),
        (read_potentials_of_a_sequence, {"store_v_seq": True, "step_mode": "m"}),
        (reset_and_read_a_threshold, {"v_threshold": 0.5}),
    ],
)
def test_what_a_neuron_is_beside_its_spikes_can_be_read(function, keywords):
    net, x = Net(function, neuron.LIFNode(**keywords)), torch.ones(3, 2, 6)
    given = {"batch_dim": 1, "input_signal": "analog"}
    bounds = get_model_bounds(net, x, **given)
    counted = get_model_syops(net, x, **given)
    rows = {row.path: row for row in check_full_spike(net, x, allow=(), **given).rows}
    assert [(r.path, r.dense) for r in bounds.rows] == [(r.path, r.dense) for r in counted.rows]
    assert bounds.ec_mj == counted.ec_mj
    assert rows["fc2"].verdict == "spike"
    assert rows["fc3"].verdict == "analog"
    assert "LIFNode in sn" in str(rows["fc3"].causes[0])
    assert type(net.sn.v) is float  # as it was


def masked(net):
    prune.l1_unstructured(net[2], "weight", 0.5)


def normalised_by_a_hook(net):
    with warnings.catch_warnings(action="ignore"):
        nn.utils.weight_norm(net[2])


@pytest.mark.parametrize(
    "change", [masked, normalised_by_a_hook, lambda net: parametrizations.weight_norm(net[2])]
)
def test_weights_that_a_hook_makes_are_weights(change):
    net = nn.Sequential(
        *(nn.Linear(4, 4), neuron.IFNode(), nn.Linear(4, 3), nn.BatchNorm1d(3)),
        *(neuron.IFNode(), nn.Linear(3, 2)),
    )
    change(net)
    bounds = get_model_bounds(net, (2, 4), input_signal="analog")
    counted = get_model_syops(net, torch.ones(2, 4), input_signal="analog")
    told = {row.path: (row.kind, row.folded) for row in bounds.rows}
    assert told["2"] == ("linear", None)
    assert told["3"] == ("norm", "2")
    assert told == {row.path: (row.kind, row.folded) for row in counted.rows}
    assert bounds.ec_mj == counted.ec_mj
    assert not check_full_spike(net, (2, 4)).rows[1].note


@dataclass
class State:
    v: Tensor


class Pair(NamedTuple):
    v: Tensor


@pytest.mark.parametrize(
    "keep",
    [
        lambda x, net: x,
        lambda x, net: {"a": [(x,)]},
        lambda x, net: Pair(x),
        lambda x, net: State(x),
        lambda x, net: {x},
        lambda x, net: functools.partial(net.fc3.forward),
        lambda x, net: [nn.Linear(3, 4)],
        lambda x, net: State(nn.Parameter(x)),
        lambda x, net: State(nn.Linear(3, 4)),
    ],
)
def test_nothing_is_copied_wherever_it_is_kept(keep):
    net = Net(lambda net, x: net.fc1(x))
    net.fc1.kept = keep(torch.zeros(3, 4), net)
    copies = []

    def look(value):
        if isinstance(value, Tensor):
            copies.append(value)
        elif isinstance(value, nn.Module):
            look(list(value.parameters()))
        elif isinstance(value, (list, tuple, set)):
            for item in value:
                look(item)
        elif isinstance(value, dict):
            look(list(value.values()))
        elif isinstance(value, functools.partial):
            assert value.func.__self__ is twin.fc3
            look(list(value.func.__self__.parameters()))
        else:
            look(value.v)

    twin = Shadow(net, {}).module
    look(twin.fc1.kept)
    assert copies
    assert all(copy.is_meta for copy in copies)
    assert get_model_bounds(net, (2, 6)).mac == 6 * 5


def by_kept_numbers(net, x):
    for _ in range(net.steps):
        x = net.fc(x)
    if net.wide > 2 and net.on:
        x = net.fc(x)
    return net.fc(x) if torch.as_tensor(net.pair.v).detach().item() == 2 else x


class Numbers(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.fc, self.function = nn.Linear(4, 4), function
        self.steps, self.pair = torch.tensor(3), Pair(torch.tensor(2.0))
        self.register_buffer("wide", torch.tensor([4]))
        self.register_buffer("on", torch.tensor(True))

    def forward(self, x):
        return self.function(self, x)


def test_numbers_that_the_model_keeps_can_be_read():
    net = Numbers(by_kept_numbers)
    assert get_model_bounds(net, (2, 4)).mac == 5 * 16
    assert get_model_syops(net, torch.ones(2, 4), input_signal="analog").mac == 5 * 16
    assert net.steps == 3


def by_a_written_number(net, x):
    net.wide += 1
    return net.fc(x) if net.wide > 2 else x


def by_the_data(net, x):
    return net.fc(x) if x.sum() > net.steps else x


@pytest.mark.parametrize("function", [by_a_written_number, by_the_data])
def test_numbers_of_the_pass_cannot_be_read(function):
    net = Numbers(function)
    with pytest.raises(ForwardError, match=r"without values, .*Numbers.*get_model_syops"):
        get_model_bounds(net, (2, 4))
    assert net.wide == 4


def test_modules_that_are_not_registered_are_watched():
    """A plain list hides them from torch: no hooks, so they are counted where they are called."""
    hidden = [nn.Linear(5, 4), neuron.IFNode(), nn.Linear(4, 3)]

    def function(net, x):
        x = net.sn(net.fc1(x))
        for module in net.hidden:
            x = module(x)
        return x

    net = Net(function, hidden=hidden)
    bounds = get_model_bounds(net, (2, 6))
    counted = get_model_syops(net, torch.ones(2, 6), input_signal="analog")
    assert [(r.path, r.kind, r.dense) for r in bounds.rows] == [
        (r.path, r.kind, r.dense) for r in counted.rows
    ]
    assert check_full_spike(net, (2, 6)).rows[-1].values.startswith("{0,1}")


def test_copies_are_remembered_of_what_lives_alone():
    """What is gone leaves its identity to another, which would then be taken for copied."""
    net = nn.Sequential(nn.Linear(2, 2), neuron.IFNode(), nn.BatchNorm1d(2))
    prune.identity(net[0], "weight")
    alive = set()

    def look(value):
        alive.add(id(value))
        for part in value.values() if isinstance(value, dict) else ():
            look(part)

    for module in net.modules():
        alive.add(id(module))
        look(vars(module))
        for hook in module._forward_pre_hooks.values():
            look(vars(hook))
    memo = _Shadowing(net, {}).memo
    kept = memo.pop(id(memo), [])  # `copy.deepcopy` keeps alive there what it has copied
    assert set(memo) <= alive | {id(value) for value in kept}


def test_a_traced_graph_has_bounds():
    net = fx.symbolic_trace(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
    assert get_model_bounds(net, (5, 4)).mac == 4 * 3 + 3 * 2


class Fused(nn.Module):
    """As if it were one kernel, with a handle that nobody can copy."""

    def __init__(self):
        super().__init__()
        self.handle = threading.Lock()

    def forward(self, x):
        return torch.from_numpy((x.numpy() > 0).astype("float32"))


def test_a_fused_neuron_need_not_be_copied():
    net = Net(lambda net, x: net.fc2(net.sn(net.fc1(x))), Fused())
    audit = check_full_spike(net, (2, 6), neurons={Fused: "binary"})
    assert audit.full_spike
    assert audit.rows[1].values == "{0,1}"


def sinabs_recurrent():
    from sinabs import activation
    from sinabs.layers import LIFRecurrent

    connect, spike = nn.Linear(5, 5), activation.SingleSpike
    return LIFRecurrent(tau_mem=10.0, rec_connect=connect, spike_fn=spike), "sn.rec_connect"


def norse_recurrent():
    from norse.torch import LIFRecurrentCell

    class First(LIFRecurrentCell):
        def forward(self, x):
            spikes, state = super().forward(x[:, 0])
            return super().forward(x[:, 1], state)[0] + 0 * spikes

    return First(5, 5), "sn:linear#2"


@pytest.mark.parametrize("make", [sinabs_recurrent, norse_recurrent])
def test_recurrent_neurons_of_other_libraries_have_bounds(make):
    sn, recurrent = make()
    net, x = Net(lambda net, x: net.fc2(net.sn(net.fc1(x))), sn), torch.ones(2, 3, 6)
    rows = {row.layer: row.verdict for row in check_full_spike(net, x).rows}
    assert rows[recurrent] == "spike"
    bounds = get_model_bounds(net, x, input_signal="analog")
    assert bounds.ec_mj == get_model_syops(net, x, input_signal="analog").ec_mj
