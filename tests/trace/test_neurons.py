"""Neurons of every library: reset before each batch, put back afterwards."""

import copy
import inspect
import random
import warnings
import weakref
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from types import SimpleNamespace

import norse.torch as norse
import numpy as np
import pytest
import sinabs.layers as sinabs
import snntorch
import torch
from snntorch import utils
from torch import nn
from torch.nn.modules import module as modules
from torch.nn.modules.module import register_module_forward_hook

import syops.trace.observer
import syops.trace.states
from syops import SyopsError, check_full_spike, get_model_bounds, get_model_syops
from syops.errors import ForwardError, SyopsValueError
from tests.support.examples import random_examples, some
from tests.support.versions import OLD, base, neuron

SIZE = 6


def classes(module, base_class=nn.Module):
    found = {
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, base_class) and value is not base_class
    }
    return sorted(found, key=lambda cls: cls.__name__)


SETTINGS = (
    {},
    {"beta": 0.9},
    {"beta": 0.9, "linear_features": SIZE},
    {"beta": 0.9, "all_to_all": False},
    {"alpha": 0.8, "beta": 0.7},
    {"alpha": 0.8, "beta": 0.7, "linear_features": SIZE},
    {"beta": 0.9, "channels": SIZE},
    {"beta": 0.9, "in_features": SIZE, "out_features": SIZE},
    {"input_size": SIZE, "hidden_size": SIZE},
    {"tau_mem": 10.0},
    {"tau_mem": 10.0, "tau_adapt": 10.0},
    {"rec_connect": nn.Linear(SIZE, SIZE)},
    {"tau_mem": 10.0, "rec_connect": nn.Linear(SIZE, SIZE)},
    {"tau_mem": 10.0, "tau_adapt": 10.0, "rec_connect": nn.Linear(SIZE, SIZE)},
    {"T": 5},
    {"num_timesteps": 5},
    {"tau_mem": 10.0, "num_timesteps": 5},
    {"tau_mem": 10.0, "tau_adapt": 10.0, "num_timesteps": 5},
)
"""What the constructors of neurons ask for."""


class Between(nn.Module):
    """A neuron between two layers, however it is called: step by step, or on a sequence."""

    def __init__(self, sn, layout):
        super().__init__()
        self.fc1, self.sn, self.fc2 = nn.Linear(SIZE, SIZE), sn, nn.Linear(SIZE, 4)
        self.layout = layout

    def forward(self, x):  # [T, N, SIZE]
        if self.layout == "sequence":
            return self.fc2(_first(self.sn(self.fc1(x))))
        if self.layout == "batch first":
            return self.fc2(_first(self.sn(self.fc1(x.transpose(0, 1)))))
        if self.layout == "flat":
            return self.fc2(_first(self.sn(self.fc1(x.transpose(0, 1).flatten(0, 1)))))
        return sum(self.fc2(_first(self.sn(self.fc1(step)))) for step in x)


def _first(out):
    return out[0] if isinstance(out, tuple) else out


def networks(cls, more):
    """The networks that can be made of a class of neurons, with a name for each."""
    accepted = inspect.signature(cls).parameters
    extra = {name: value for name, value in more.items() if name in accepted}
    for settings in SETTINGS:
        if not settings.keys() <= accepted.keys():
            continue
        made = 0
        for layout in ("step", "sequence", "batch first", "flat"):
            try:
                net = Between(cls(**copy.deepcopy(settings), **extra), layout).eval()
                with torch.no_grad():
                    out = net(torch.rand(5, 3, SIZE))
            except Exception:
                continue
            if isinstance(out, torch.Tensor) and out.shape[-1] == 4 and made < 2:
                made += 1
                yield (
                    f"{layout}, {', '.join(settings)}",
                    lambda s=settings, w=layout: Between(cls(**copy.deepcopy(s), **extra), w),
                )


NEURONS = {
    f"{library}: {cls.__name__}": (cls, more)
    for library, found, more in (
        ("spikingjelly", classes(neuron, base.MemoryModule), {}),
        ("snntorch", classes(snntorch), {}),
        ("snntorch, hidden", classes(snntorch, snntorch.SpikingNeuron), {"init_hidden": True}),
        ("sinabs", classes(sinabs, sinabs.StatefulLayer), {}),
        ("norse", classes(norse), {}),
    )
    for cls in found
}
"""Classes of neurons, and what else their constructors are given."""


@cache
def made_of(name):
    """The networks that can be made of a class of `NEURONS`, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict(networks(*NEURONS[name]))


def test_every_library_takes_part():
    jelly = 9 if OLD else 20
    for library, least in (("spikingjelly", jelly), ("snntorch", 8), ("sinabs", 6), ("norse", 10)):
        found = [name for name in NEURONS if name.startswith(f"{library}: ") and made_of(name)]
        assert len(found) >= least, found


def counts(net, x, **options):
    report = get_model_syops(net, x, batch_dim=1, graded="ac", **options)
    return [
        (row.name, row.kind, row.signal, row.calls, row.ac, row.ac_events, row.mac, row.dense)
        for row in report.layers
    ]


def states(net):
    """What a network keeps, by identity and value."""
    found = []
    for path, module in net.named_modules():
        for name, value in {**vars(module), **module._buffers, **_memories(module)}.items():
            if isinstance(value, torch.Tensor):
                found.append((path, name, value, value.detach().clone(), value._version))
            elif not name.endswith("hooks"):
                found.append((path, name, value, None, None))
    return found


def _memories(module):
    return vars(module).get("_memories", {})


def assert_as_before(net, before):
    now = states(net)
    assert [(path, name) for path, name, *_ in now] == [(path, name) for path, name, *_ in before]
    for (path, name, value, held, version), (*_, found, then, old) in zip(now, before, strict=True):
        assert value is found, (path, name)
        if held is not None:
            assert version == old, (path, name)
            assert torch.equal(held.nan_to_num(), then.nan_to_num()), (path, name)


def synaptic(rows):
    return [row for row in rows if row[2]]


WITH_BUFFERS = [name for name in NEURONS if name.startswith(("snntorch", "sinabs"))]


@random_examples
@pytest.mark.parametrize("name", some(WITH_BUFFERS, one_of=2))
def test_states_that_an_adapter_tells_are_those_that_a_pass_finds(name, monkeypatch):
    """What is computed of weights alone is a row only where a pass takes a state for a weight."""
    x = torch.rand(5, 3, SIZE, generator=torch.Generator().manual_seed(0)) * 3
    nets = [make() for make in some(list(made_of(name).values()), one_of=3)]
    told = [synaptic(counts(net, x)) for net in nets]
    monkeypatch.setattr(syops.trace.observer, "buffers_of_neurons", lambda model: frozenset())
    monkeypatch.setattr(syops.trace.states, "_is_of_its_library", lambda module: False)
    assert [synaptic(counts(net, x)) for net in nets] == told


@random_examples
@pytest.mark.parametrize("name", some(list(NEURONS), one_of=3))
def test_counts_do_not_depend_on_what_ran_before(name):
    for make in some(list(made_of(name).values()), one_of=3):
        assert_independent_of_what_ran_before(make)


def assert_independent_of_what_ran_before(make):
    torch.manual_seed(0)
    other, net = make(), make().eval()
    net.load_state_dict(other.state_dict())
    x = torch.rand(5, 3, SIZE) * 3
    fresh = counts(other, x)
    for used in (torch.rand(5, 3, SIZE) * 3, torch.rand(5, 2, SIZE) * 3):
        with torch.no_grad(), suppress(RuntimeError):  # some refuse a batch of another size
            net(used)
        before = states(net)
        assert counts(net, x) == fresh
        assert_as_before(net, before)
    check_full_spike(net, x, batch_dim=1)
    assert_as_before(net, before)


# Updates


NO_NEURONS = ("norse: SequentialState", "norse: SpikeLatency", "norse: SpikesToTimes")


@random_examples
@pytest.mark.parametrize(
    "name", some([name for name in NEURONS if not name.startswith(NO_NEURONS)], one_of=3)
)
def test_updates_are_the_neurons_times_the_time_steps(name):
    x = torch.rand(5, 3, SIZE, generator=torch.Generator().manual_seed(0)) * 3
    for how, make in made_of(name).items():
        if how == "flat, T":  # takes samples for time-steps
            continue
        net = make()
        one = get_model_syops(net, x, batch_dim=1)
        several = get_model_syops(net, [x, x.flip(0), x * 0, x * 2], batch_dim=1)
        bounds = get_model_bounds(net, tuple(x.shape), batch_dim=1)
        for report in (one, several, bounds):
            found = [row.dense for row in report.layers if row.kind == "neuron"]
            assert found == [5 * SIZE], how


class Handing(nn.Module):
    """A network that keeps the states of its neuron; ``steps``: how many it takes a call."""

    def __init__(self, sn, out=SIZE):
        super().__init__()
        self.fc1, self.sn, self.fc2 = nn.Linear(SIZE, SIZE), sn, nn.Linear(out, 4)
        self.steps = 5

    def forward(self, x):
        states, sent = (), []
        for step in x[: self.steps]:
            spikes, *states = self.sn(self.fc1(step), *states)
            sent.append(self.fc2(spikes))
        return sum(sent)


@pytest.mark.parametrize(
    ("sn", "states", "inside"),
    [
        (lambda: snntorch.Leaky(beta=0.9), 1, 0),
        (lambda: snntorch.Lapicque(beta=0.9), 1, 0),
        (lambda: snntorch.Synaptic(alpha=0.9, beta=0.8), 2, 0),
        (lambda: snntorch.Alpha(alpha=0.9, beta=0.8), 3, 0),
        (lambda: snntorch.RLeaky(beta=0.9, linear_features=SIZE), 2, SIZE),
        (norse.LIFCell, 2, 0),
        (lambda: norse.LIFRecurrentCell(SIZE, 9), 3, SIZE + 9),
    ],
)
def test_updates_of_neurons_whose_states_the_caller_keeps(sn, states, inside):
    torch.manual_seed(0)
    neuron = sn()
    size = getattr(neuron, "hidden_size", SIZE)
    net, x = Handing(neuron, int(size)), torch.rand(5, 3, SIZE) * 3
    report = get_model_syops(net, x, batch_dim=1)
    (row,) = [row for row in report.rows if row.kind == "neuron"]
    assert (row.path, row.calls, row.dense) == ("sn", 5, 5 * 3 * size)
    assert row.written == row.dense * states
    others = [r for r in report.rows if r.path.startswith("sn") and r.kind != "neuron"]
    assert sum(r.dense for r in others) == 5 * 3 * size * inside
    assert {r.kind for r in others} <= {"linear"}


def test_updates_where_a_batch_takes_fewer_time_steps():
    net = Handing(snntorch.Leaky(beta=0.9))
    batches = [torch.rand(steps, 3, SIZE) for steps in (5, 5, 5, 2, 2, 5, 3)]
    report = get_model_syops(net, batches, batch_dim=1)
    (row,) = [row for row in report.rows if row.kind == "neuron"]
    assert (row.calls, row.dense) == (27, 27 * 3 * SIZE)


@pytest.mark.parametrize("sn", [lambda: snntorch.Leaky(beta=0.9), norse.LIFCell])
def test_energy_models_that_price_updates_know_neurons_of_other_libraries(sn):
    net, x = Handing(sn()), torch.rand(5, 3, SIZE) * 3
    menu = get_model_syops(net, (x > 1).float(), batch_dim=1).energy_menu()
    refused = {each.name for each in menu.estimates if each.refused}
    assert refused == {"lemaire-2022", "spikesim", "speck-at-rest"}  # each for another reason


# Modules of the user's own


class Own(nn.Module):
    """A neuron with a state of its own in a buffer, recurrent."""

    def __init__(self):
        super().__init__()
        self.rec = nn.Linear(SIZE, SIZE)
        self.register_buffer("v", torch.zeros(1, SIZE))
        self.register_buffer("spk", torch.zeros(1, SIZE))

    def forward(self, x):
        self.v = 0.5 * self.v + x + self.rec(self.spk)
        self.spk = (self.v > 0.5).to(x)
        return self.spk


class Resets(Own):
    def reset(self):
        self.v, self.spk = torch.zeros(1, SIZE), torch.zeros(1, SIZE)


class ResetsStates(Own):
    def reset_states(self, value=0.0, **unused):
        self.v, self.spk = torch.full((1, SIZE), value), torch.zeros(1, SIZE)


class ResetsInPlace(Own):
    def reset_state(self):
        self.v.zero_()
        self.spk.zero_()


class Leaky(snntorch.Leaky):
    """A neuron of a library with one state more."""

    def __init__(self):
        super().__init__(beta=0.9, init_hidden=True)
        self.seen = 0

    def forward(self, x):
        self.seen += 1
        return super().forward(x) * (self.seen % 2)

    def reset_mem(self):
        self.seen = 0
        return super().reset_mem()


class Adaptive(sinabs.LIF):
    def __init__(self):
        super().__init__(tau_mem=10.0)
        self.register_buffer("gain", torch.ones(()))  # no state

    def forward(self, x):
        return super().forward(x[:, None])[:, 0] * self.gain


class Jelly(neuron.LIFNode):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def reset(self):
        super().reset()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * (self.calls < 3)


class Outer(nn.Module):
    """A network that resets its neuron to a value of its own."""

    def __init__(self):
        super().__init__()
        self.inner = Resets()

    def reset(self):
        self.inner.reset()
        self.inner.v = torch.full((1, SIZE), 0.4)

    def forward(self, x):
        return self.inner(x)


OWN = (Resets, ResetsStates, Leaky, Adaptive, Jelly, Outer)


@pytest.mark.parametrize("cls", OWN)
def test_modules_with_a_reset_of_their_own(cls):
    torch.manual_seed(0)
    net, x = Between(cls(), "step"), torch.rand(5, 3, SIZE) * 2
    for module in net.modules():
        reset = getattr(module, "reset", None)
        if callable(reset):
            reset()
    fresh = counts(net, x)
    with torch.no_grad():
        net(torch.rand(5, 3, SIZE) * 2)
    before = states(net)
    assert counts(net, x) == fresh
    assert_as_before(net, before)
    check_full_spike(net, x, batch_dim=1)
    assert_as_before(net, before)


class Initialises(nn.Linear):
    """What its `reset` does is not a reset of states."""

    how = staticmethod(lambda layer: layer.reset_parameters())

    def reset(self):
        self.how()


def _replace(layer):
    layer.weight = nn.Parameter(torch.zeros(SIZE, SIZE))


def _assign_data(layer):
    layer.weight.data = torch.zeros(SIZE, SIZE)


def _write_data(layer):
    layer.weight.data.fill_(1)


def _add_a_layer(layer):
    layer.more = nn.Linear(2, 2)


def _swallow(layer):
    with suppress(Exception):
        nn.init.zeros_(layer.weight)


def _fail(layer):
    raise KeyError("no such state")


@pytest.mark.parametrize(
    "how",
    [
        *(nn.Linear.reset_parameters, _replace, _assign_data, _write_data, _add_a_layer, _swallow),
        _fail,
    ],
)
def test_a_reset_that_is_none_leaves_the_weights_and_is_told(how):
    layer = type("Layer", (Initialises,), {"how": how})(SIZE, SIZE)
    net, x = Between(layer, "step"), torch.rand(5, 3, SIZE)
    before, weights = states(net), copy.deepcopy(net.state_dict())
    report = get_model_syops(net, x, batch_dim=1)
    check_full_spike(net, x, batch_dim=1)
    assert_as_before(net, before)
    assert {name: id(p) for name, p in net.named_parameters()}.keys() == weights.keys()
    assert all(torch.equal(weights[name], held) for name, held in net.state_dict().items())
    why = "failed (KeyError: 'no such state')" if how is _fail else "writes weights or layers"
    assert f"sn was not reset: reset() {why}" in report.notes


def test_methods_that_need_something_reset_nothing():
    class Needs(Own):
        def reset(self, batch):
            raise AssertionError

        reset_state = classmethod(lambda cls: 1 / 0)
        reset_mem = property(lambda self: 1 / 0)

    report = get_model_syops(Between(Needs(), "step"), torch.rand(5, 3, SIZE), batch_dim=1)
    assert not report.notes or "was not reset" not in str(report.notes)


@dataclass
class Kept:
    v: torch.Tensor
    past: list


class Hides(nn.Module):
    """Keeps its states where no module registers them."""

    def __init__(self, kind):
        super().__init__()
        self.fc = nn.Linear(SIZE, SIZE)
        self.kind = kind
        if kind == "object":
            self.state = Kept(torch.zeros(1, SIZE), [])
        elif kind == "namespace":
            self.state = [SimpleNamespace(v=torch.zeros(1, SIZE), past=[])]
        else:
            self.state = (deque([neuron.LIFNode()]),)

    def forward(self, x):
        x = self.fc(x)
        if self.kind == "module":
            return self.state[0][0](x)
        state = self.state if self.kind == "object" else self.state[0]
        state.v = state.v + x
        state.v.clamp_(max=2)
        state.past.append(state.v)
        return (state.v > 1).to(x)


@pytest.mark.parametrize("kind", ["object", "namespace", "module"])
def test_states_that_are_not_registered_are_put_back(kind):
    torch.manual_seed(0)
    net, x = Between(Hides(kind), "step"), torch.rand(5, 3, SIZE) * 2
    with torch.no_grad():
        net(x)

    def held():
        state = net.sn.state[0][0] if kind == "module" else net.sn.state
        state = state[0] if kind == "namespace" else state
        return state, state.v, state.v.clone(), list(getattr(state, "past", ()))

    before = held()
    for run in (get_model_syops, get_model_bounds, check_full_spike):
        run(net, x, batch_dim=1)
        after = held()
        assert all(a is b for a, b in zip(after[:2], before[:2], strict=True))
        assert torch.equal(after[2], before[2])
        assert [id(v) for v in after[3]] == [id(v) for v in before[3]]


# What runs on meta touches nothing of the user's


class Tutorial(nn.Module):
    """As snnTorch's tutorials are written."""

    def __init__(self, cls=snntorch.Leaky, **settings):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, 4)
        self.lif1 = cls(beta=0.9, init_hidden=True, **settings)
        self.lif2 = snntorch.Leaky(beta=0.9, init_hidden=True, output=True)
        self.T = 5

    def forward(self, x):
        utils.reset(self)
        return sum(self.lif2(self.fc2(self.lif1(self.fc1(step))))[0] for step in x[: self.T])


class Registry(nn.Module):
    """Classes that keep their instances, in containers of any kind."""

    found = None

    def __init__(self, **kept):
        super().__init__()
        self.fc, self.v = nn.Linear(SIZE, SIZE), torch.zeros(1, SIZE)
        kind = type(self)
        if isinstance(kind.found, list):
            kind.found.append(self)
        elif isinstance(kind.found, dict):
            kind.found.setdefault("all", []).append(self)
        elif kind.found is not None:
            kind.found.add(self)

    @classmethod
    def everyone(cls):
        return cls.found["all"] if isinstance(cls.found, dict) else list(cls.found)

    def forward(self, x):
        for each in self.everyone():
            each.v = torch.zeros_like(x[0])
        for step in x:
            self.v = self.v + self.fc(step)
        return self.v


def registries():
    for found in (list, dict, set, weakref.WeakSet, deque):
        make = {deque: list}.get(found, found)
        yield type(f"Keeps{found.__name__}", (Registry,), {"found": make()})


@pytest.mark.parametrize("cls", list(registries()), ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("run", [get_model_bounds, check_full_spike])
def test_a_run_on_meta_reaches_no_module_through_its_class(cls, run):
    mine, other = cls(), cls()
    found = cls.found
    before = states(mine), states(other), str(found)
    run(mine, torch.rand(5, 3, SIZE), batch_dim=1)
    assert_as_before(mine, before[0])
    assert_as_before(other, before[1])
    assert cls.found is found
    assert str(found) == before[2]


RUNS = {
    "count": lambda net, x: get_model_syops(net, x, batch_dim=1, time_steps=5),
    "bounds": lambda net, x: get_model_bounds(net, x, batch_dim=1, time_steps=5),
    "audit": lambda net, x: check_full_spike(net, x, batch_dim=1),
}


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(
    "settings",
    [{}, {"cls": snntorch.RLeaky, "linear_features": SIZE}, {"cls": snntorch.Lapicque}],
    ids=["Leaky", "RLeaky", "Lapicque"],
)
def test_networks_that_reset_all_neurons_of_their_library(run, settings):
    snntorch.SpikingNeuron.init()
    torch.manual_seed(0)
    net, other, x = Tutorial(**settings), Tutorial(), torch.rand(5, 3, SIZE) * 2
    with torch.no_grad():
        out = net(x)
        kept, instances = states(net), list(snntorch.SpikingNeuron.instances)
        RUNS[run](net, x)
        assert_as_before(net, kept)
        if run != "count":  # which runs the network's own forward
            assert other.lif1.mem.device.type == "cpu"
        assert snntorch.SpikingNeuron.instances == instances
        assert torch.equal(net(x), out)


class Fails(Tutorial):
    def forward(self, x):
        snntorch.SpikingNeuron.init()
        snntorch.SpikingNeuron.new = 1
        super().forward(x)
        raise RuntimeError("stopped")


@pytest.mark.parametrize("run", ["bounds", "audit"])
def test_classes_as_they_were_after_a_failure(run):
    net, x = Fails(), torch.rand(5, 3, SIZE)
    before, instances = states(net), snntorch.SpikingNeuron.instances
    with pytest.raises(SyopsError, match="stopped"):
        RUNS[run](net, x)
    assert snntorch.SpikingNeuron.instances is instances
    assert net.lif1 in instances
    assert not hasattr(snntorch.SpikingNeuron, "new")
    assert_as_before(net, before)


def closure(net):
    return lambda x: net.sn(net.fc1(x))


def default(net):
    def through(x, fc=net.fc1, *, sn=net.sn):
        return sn(fc(x))

    return through


def reference(net):
    parent = weakref.ref(net)
    return partial(_through, parent)


def _through(parent, x):
    return parent().sn(parent().fc1(x))


def method(net):
    return net.inner


def recursive(net):
    def through(x, again=True):
        return through(x, False) if again else net.sn(net.fc1(x))

    return through


GLOBAL = []


def of_the_script(net):
    GLOBAL[:] = [net]
    return lambda x: GLOBAL[0].sn(GLOBAL[0].fc1(x))


class Indirect(nn.Module):
    """Reaches its own layers by a detour."""

    def __init__(self, detour):
        super().__init__()
        self.fc1, self.sn, self.fc2 = nn.Linear(SIZE, SIZE), Resets(), nn.Linear(SIZE, 4)
        self.detour = detour(self)

    def inner(self, x):
        return self.sn(self.fc1(x))

    def forward(self, x):
        return sum(self.fc2(self.detour(step)) for step in x)


@pytest.mark.parametrize("detour", [closure, default, reference, method, recursive, of_the_script])
def test_a_run_on_meta_follows_references_into_its_copy(detour):
    torch.manual_seed(0)
    net, x = Indirect(detour), torch.rand(5, 3, SIZE) * 2
    with torch.no_grad():
        net(x)
    before = states(net)
    report = get_model_bounds(net, x, batch_dim=1)
    assert_as_before(net, before)
    if detour is not of_the_script:
        assert [(row.path, row.calls) for row in report.layers if row.path in ("fc1", "fc2")] == [
            *(("fc1", 5), ("fc2", 5)),
        ]


# Neurons that are declared


class Sends(nn.Module):
    """Declared to be a neuron, it sends whatever it is made with."""

    def __init__(self, sent):
        super().__init__()
        self.sent = sent

    def forward(self, x):
        return self.sent.expand(len(x), SIZE), x


CASES = {
    "binary": ([0, 1], [0, 0], [1.0]),
    "ternary": ([-1, 0, 1], [0, 1], [-1]),
    "graded": ([0, 4], [-3, 7.0], [1e6]),
    "analog": ([0.5, -2], [float("nan")], [1]),
}
WRONG = {
    "binary": {
        "values from 0 to 4; declare 'graded'": [0, 4],
        "values from -1 to 1; declare 'ternary'": [-1, 1],
        "values from 0 to 1.5 that are not all whole; declare 'analog'": [0, 1.5],
        "values from -0.25 to 1 that are not all whole": [1, -0.25],
        "NaN or infinite values; check the data": [0, float("nan")],
    },
    "ternary": {
        "values from -2 to 1; declare 'graded'": [-2, 1],
        "values from 0.5 to 0.5 that are not all whole": [0.5],
    },
    "graded": {
        "values from 0 to 0.3333 that are not all whole; declare 'analog'": [0, 1 / 3],
        "NaN or infinite": [float("inf")],
    },
}


def _declared(values, dtype=torch.float32):
    sent = torch.tensor(values, dtype=dtype).repeat(SIZE)[:SIZE]
    return nn.Sequential(nn.Linear(4, SIZE), Sends(sent), First(), nn.Linear(SIZE, 2))


class First(nn.Module):
    def forward(self, pair):
        return pair[0].float()


@pytest.mark.parametrize(("name", "values"), [(n, v) for n in CASES for v in CASES[n]])
def test_declared_neurons_that_send_what_they_should(name, values):
    report = get_model_syops(_declared(values), torch.rand(3, 4), neurons={Sends: name})
    assert report.layers[-1].calls == 1


@pytest.mark.parametrize(
    ("name", "why", "values"), [(n, why, v) for n in WRONG for why, v in WRONG[n].items()]
)
def test_declared_neurons_that_send_something_else_are_an_error(name, why, values):
    net = _declared(values)
    with pytest.raises(SyopsValueError) as error:
        get_model_syops(net, torch.rand(3, 4), neurons={Sends: name})
    assert f"1 (Sends): neurons= declares it {name!r}, but it sent {why}" in str(error.value)
    get_model_bounds(net, (3, 4), neurons={Sends: name})  # without values nothing can be checked


@pytest.mark.parametrize("dtype", [torch.bool, torch.int8, torch.float64, torch.bfloat16])
def test_declared_neurons_of_any_type(dtype):
    net, x = _declared([0, 1], dtype), torch.rand(3, 4)
    assert get_model_syops(net, x, neurons={Sends: "binary"}).layers[-1].signal == "binary"
    if dtype != torch.bool:
        with pytest.raises(SyopsValueError, match="from 0 to 2"):
            get_model_syops(_declared([0, 2], dtype), x, neurons={Sends: "binary"})


class Jagged(nn.Module):
    """Sends a jagged tensor of one value."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        sent = torch.full_like(x.values(), self.value)
        return torch.nested.nested_tensor_from_jagged(sent, x.offsets())


def test_a_declared_neuron_that_sends_jagged_tensors():
    rows = [torch.rand(n, SIZE) for n in (3, 2)]
    x = torch.nested.nested_tensor(rows, layout=torch.jagged)
    report = get_model_syops(
        nn.Sequential(Jagged(1), nn.Linear(SIZE, 2)), x, neurons={Jagged: "binary"}
    )
    assert report.layers[-1].signal == "binary"
    with pytest.raises(SyopsValueError, match="from 2 to 2"):
        get_model_syops(nn.Sequential(Jagged(2), nn.Linear(SIZE, 2)), x, neurons={Jagged: "binary"})


def test_a_declared_neuron_is_checked_at_every_step_and_batch():
    class Counts(nn.Module):
        calls = 0

        def forward(self, x):
            Counts.calls += 1
            return torch.zeros_like(x) + (Counts.calls == 7) * 2

    net = Between(Counts(), "step")
    with pytest.raises(SyopsValueError, match="batch 1.*sn .Counts.*from 2 to 2"):
        get_model_syops(net, [torch.rand(5, 3, SIZE)] * 3, batch_dim=1, neurons={Counts: "binary"})


# Hooks around neurons


def noisy(module, args, out):
    return out + torch.rand_like(out)


def noisy_in_place(module, args, out):
    out += torch.rand_like(out)


def other(module, args, out):
    return torch.full_like(out, 0.5)


def unchanged(module, args, out):
    return None


def doubled(module, args, out):
    return out * 2


HOOKS = {noisy: "analog", noisy_in_place: "analog", other: "scaled", unchanged: "binary"}
HOOKS |= {doubled: "scaled"}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("where", ["all modules", "module", "module, first", "later"])
@pytest.mark.parametrize("declared", [False, True])
def test_what_a_hook_makes_of_spikes_is_seen(hook, where, declared):
    sn = Fires() if declared else neuron.IFNode()
    net, x = nn.Sequential(nn.Linear(SIZE, SIZE), sn, nn.Linear(SIZE, 2)), torch.rand(9, SIZE) * 3
    neurons = {Fires: "binary"}
    if where == "later":  # registered when the model runs
        net[0].register_forward_hook(lambda *_: handles.append(net[1].register_forward_hook(hook)))
    handles = []
    if where == "all modules":
        handles = [register_module_forward_hook(lambda m, a, o: hook(m, a, o) if m is sn else None)]
    elif where != "later":
        handles = [sn.register_forward_hook(hook, prepend=where.endswith("first"))]
    try:
        report = get_model_syops(net, x, neurons=neurons)
        assert report.layers[-1].signal == HOOKS[hook]
    finally:
        for handle in handles:
            handle.remove()


class Fires(nn.Module):
    def forward(self, x):
        return (x > 0.5).to(x)


def test_hooks_for_all_modules_run_on_copies_too():
    sn = []
    handle = register_module_forward_hook(
        lambda m, a, o: noisy(m, a, o) if isinstance(m, neuron.IFNode) else sn.append(m)
    )
    try:
        net = nn.Sequential(nn.Linear(SIZE, SIZE), neuron.IFNode(), nn.Linear(SIZE, 2))
        assert not check_full_spike(net, (1, SIZE), allow=("first",)).full_spike
    finally:
        handle.remove()


def test_layers_in_a_hook_before_a_neuron_are_counted():
    net = Between(neuron.IFNode(), "step")
    more = nn.Linear(SIZE, SIZE)
    net.more = more
    net.sn.register_forward_pre_hook(lambda m, args: more(args[0]))
    report = get_model_syops(net, torch.rand(5, 3, SIZE), batch_dim=1)
    calls = {row.name: row.calls for row in report.layers if row.kind == "linear"}
    assert calls == {"fc1": 5, "more": 5, "fc2": 5}


def test_a_hook_that_fails_before_a_neuron_is_an_error_of_the_model():
    def fail(module, args):
        raise KeyError("no such state")

    net = Between(neuron.IFNode(), "step")
    handle = net.sn.register_forward_pre_hook(fail)
    with pytest.raises(ForwardError, match="no such state"):
        get_model_syops(net, torch.rand(5, 3, SIZE), batch_dim=1)
    handle.remove()
    assert get_model_syops(net, torch.rand(5, 3, SIZE), batch_dim=1).layers


def test_no_hook_is_left():
    net = Between(neuron.IFNode(), "step")
    before = list(modules._global_forward_hooks), list(modules._global_forward_hooks_always_called)
    for run in (get_model_syops, get_model_bounds, check_full_spike):
        run(net, torch.rand(5, 3, SIZE), batch_dim=1)
    with pytest.raises(SyopsError):
        get_model_syops(net, torch.rand(5, 3, SIZE + 1), batch_dim=1)
    after = list(modules._global_forward_hooks), list(modules._global_forward_hooks_always_called)
    assert after == before


# Modules that are registered several times


class Runs(nn.Module):
    """Runs its parts in a given order."""

    def __init__(self, order, **parts):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.order = order

    def forward(self, x):
        for name in self.order:
            x = self.get_submodule(name)(x)
        return x


def paths_of(net, x=(2, SIZE)):
    report = get_model_bounds(net, x)
    ann = get_model_bounds(net, x, time_steps=1).ann
    assert ann is not None
    return [row.path for row in report.layers if row.kind == "linear"]


def linear():
    return nn.Linear(SIZE, SIZE)


def test_a_shared_layer_is_named_by_the_block_that_calls_it():
    fc = linear()
    net = nn.Sequential(*(Runs(["a", "fc"], a=linear(), fc=fc) for _ in range(3)))
    assert paths_of(net) == ["0.a", "0.fc", "1.a", "1.fc", "2.a", "2.fc"]
    report = get_model_syops(net, torch.rand(2, SIZE))
    assert sum(row.params for row in report.layers) == report.params
    reverse = nn.Sequential(*(Runs(["fc", "a"], a=linear(), fc=fc) for _ in range(3)))
    assert paths_of(reverse) == ["0.fc", "0.a", "1.fc", "1.a", "2.fc", "2.a"]


def test_a_shared_block_has_shared_parts():
    block = Runs(["fc", "again.fc"], fc=linear(), again=nn.ModuleDict({"fc": linear()}))
    net = Runs(["one", "two", "one"], one=block, two=block)
    assert paths_of(net) == ["one.fc", "one.again.fc", "two.fc", "two.again.fc"]
    assert [row.calls for row in get_model_bounds(net, (2, SIZE)).layers] == [2, 2, 1, 1]


def test_of_several_names_the_next_one_is_taken():
    fc = linear()
    assert paths_of(nn.Sequential(linear(), fc, linear(), fc)) == ["0", "1", "2", "3"]
    assert paths_of(Runs(["a", "a2"], a=fc, b=linear(), a2=fc)) == ["a", "a2"]
    blocks = nn.ModuleDict({n: nn.ModuleDict({"fc": linear(), "shared": fc}) for n in "xy"})
    order = [f"blocks.{n}.{part}" for n in "xy" for part in ("fc", "shared")]
    assert paths_of(Runs(order, blocks=blocks)) == order


def test_a_module_that_is_not_below_its_caller_has_its_first_path():
    fc = linear()

    class Borrows(nn.Module):
        def forward(self, x):
            return fc(x)

    assert paths_of(Runs(["c", "a", "b"], a=fc, b=fc, c=Borrows())) == ["a", "b"]


def test_the_cause_names_the_neuron_that_sent_the_spikes():
    """spikingjelly's default surrogate is one object for all neurons."""
    fires, parts = Fires(), {}
    for n in range(3):
        parts |= {f"conv{n}": linear(), f"sn{n}": Runs(["fire"], fire=fires)}
    net = Runs([*parts, "dw", "last"], **parts, dw=linear(), last=linear())
    net.order.remove("sn2")
    (row,) = (row for row in check_full_spike(net, (2, SIZE)).rows if row.layer == "dw")
    assert "sn1.fire" in str(row.causes[0])
    assert "sn0" not in str(row.causes[0])


# Random generators


class Draws(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.T = nn.Linear(SIZE, 4), 2
        self.own = torch.Generator()

    def forward(self, x):
        noise = random.random() * np.random.rand() * torch.rand(1) + torch.rand(
            1, generator=self.own
        )
        return sum(self.fc(x * noise) for _ in range(self.T))


def generators(net):
    held = random.getstate(), np.random.get_state(), torch.get_rng_state(), net.own.get_state()
    return str([h.tolist() if isinstance(h, torch.Tensor) else h for h in held])


@pytest.mark.parametrize("run", [get_model_bounds, check_full_spike])
def test_bounds_and_audit_draw_nothing(run):
    net = Draws()
    before = generators(net)
    run(net, (3, SIZE))
    assert generators(net) == before


def test_a_count_draws_as_often_as_the_model():
    net, batches = Draws(), [torch.rand(3, SIZE), torch.rand(2, SIZE), torch.rand(3, SIZE)]
    random.seed(0), np.random.seed(0), torch.manual_seed(0), net.own.manual_seed(0)
    for batch in batches:
        net(batch)
    after = generators(net)
    random.seed(0), np.random.seed(0), torch.manual_seed(0), net.own.manual_seed(0)
    assert get_model_syops(net, batches).ann is not None
    assert generators(net) == after
