"""Neurons that the user declares, which take and return what neurons do."""

from collections import namedtuple

import pytest
import snntorch
import torch
from torch import nn

from syops import SyopsError, check_full_spike, count_syops, get_model_bounds, get_model_syops

SIZE, T, N = 6, 5, 3
State = namedtuple("State", "v i")


def fired(x, v):
    v = 0.9 * v + x
    return (v > 1).to(x), v - (v > 1).to(x)


class Single(nn.Module):
    def __init__(self):
        super().__init__()
        self.v = None

    def forward(self, x):
        spikes, self.v = fired(x, torch.zeros_like(x) if self.v is None else self.v)
        return spikes

    def reset(self):
        self.v = None


class Pair(nn.Module):
    def forward(self, x, v=None):
        return fired(x, torch.zeros_like(x) if v is None else v)


class Nested(nn.Module):
    """As those of norse: the states are a named tuple."""

    def forward(self, x, state=None):
        state = State(torch.zeros_like(x), torch.zeros_like(x)) if state is None else state
        spikes, v = fired(x + state.i, state.v)
        return spikes, State(v, 0.5 * x)


class InDict(nn.Module):
    def forward(self, input, states=None):
        v = torch.zeros_like(input) if states is None else states["states"]["v"]
        spikes, v = fired(input, v)
        return {"spikes": spikes, "states": {"v": v}}


class Wide(nn.Module):
    """Its result has another shape than its input, and another dtype."""

    def forward(self, x, v=None):
        return fired(torch.cat([x, -x], -1).double(), 0.0 if v is None else v)


class Opaque(nn.Module):
    """A kernel that needs values and is hidden from torch; it cannot be copied either."""

    def __init__(self):
        super().__init__()
        self.kernel = (each for each in ())

    def forward(self, x):
        return torch.from_numpy((x.numpy() > 0.5).astype("float32"))


class Keeper:
    """Keeps a potential, and cannot be told from a kernel."""

    def __init__(self):
        self.v = torch.full((N, SIZE), 0.25)


class Kept(nn.Module):
    def __init__(self):
        super().__init__()
        self.keeper = Keeper()

    def forward(self, x):
        spikes, v = fired(x, self.keeper.v)
        self.keeper.v = v
        return spikes


class Net(nn.Module):
    """A network in whose loop the states are handed on."""

    def __init__(self, sn, wide=1):
        super().__init__()
        self.fc1, self.sn, self.fc2 = nn.Linear(SIZE, SIZE), sn, nn.Linear(wide * SIZE, 4)
        self.T = T

    def forward(self, x):  # [N, SIZE]
        states, sent = None, []
        for _ in range(self.T):
            drive = self.fc1(x)
            if isinstance(self.sn, InDict):
                states = self.sn(input=drive, states=states)
                spikes = states["spikes"]
            elif isinstance(self.sn, (Single, Opaque, Kept)):
                spikes = self.sn(drive)
            else:
                spikes, states = self.sn(drive, states)
            sent.append(self.fc2(spikes.float()))
        return sum(sent)


NEURONS = {
    **{cls: cls for cls in (Single, Pair, Nested, InDict, Wide, Opaque, Kept)},
    snntorch.Leaky: lambda: snntorch.Leaky(beta=0.9),
}


@pytest.fixture(params=NEURONS, ids=lambda cls: cls.__name__)
def network(request):
    torch.manual_seed(0)
    wide = 2 if request.param is Wide else 1
    return Net(NEURONS[request.param](), wide), request.param, wide


def test_rows_and_ratio_of_a_declared_neuron(network):
    net, cls, wide = network
    sent = []
    net.sn.register_forward_hook(lambda module, args, out: sent.append(out))
    report = get_model_syops(net, torch.rand(N, SIZE) * 4, neurons={cls: "binary"})
    rows = {row.path: row for row in report.rows if row.path}
    assert rows.keys() == {"fc1", "sn", "fc2"}
    assert rows["sn"].kind == "neuron"
    assert rows["sn"].dense == T * N * SIZE * wide
    assert rows["fc2"].dense == T * N * SIZE * wide * 4
    spikes = sum(int((_first(out) != 0).sum()) for out in sent[:T])
    assert spikes > 0
    (last,) = [row for row in report.layers if row.name == "fc2"]
    assert last.ac_events == spikes * 4 / N
    assert report.ann_mac == SIZE * SIZE + SIZE * wide * 4


def _first(out):
    """What a neuron returns first."""
    if torch.is_tensor(out):
        return out
    return next(iter(out.values() if isinstance(out, dict) else out))


def test_bounds_and_audit_of_a_declared_neuron(network):
    net, cls, wide = network
    held = net.sn.keeper.v if cls is Kept else None
    bounds = get_model_bounds(net, (N, SIZE), neurons={cls: "binary"})
    dense = {row.path: row.dense for row in bounds.rows if row.path}
    assert dense == {
        "fc1": T * N * SIZE**2,
        "sn": T * N * SIZE * wide,
        "fc2": T * N * SIZE * wide * 4,
    }
    audit = check_full_spike(net, (N, SIZE), neurons={cls: "binary"})
    assert audit.full_spike
    assert [row.values for row in audit.rows][-1] == "{0,1}"
    if held is not None:
        assert net.sn.keeper.v is held
        assert torch.equal(held, torch.full((N, SIZE), 0.25))


def test_states_that_a_declared_neuron_returns_are_analog():
    class Reads(Net):
        def forward(self, x):
            _, state = self.sn(self.fc1(x))
            return self.fc2(state)

    (_, last) = check_full_spike(Reads(Pair()), (N, SIZE), neurons={Pair: "binary"}).rows
    assert last.verdict == "analog"


def test_declared_leaky_in_a_loop_of_the_caller():
    class Step(Net):
        def forward(self, x, mem):
            spikes, mem = self.sn(self.fc1(x), mem)
            return self.fc2(spikes), mem

    net, mem = Step(snntorch.Leaky(beta=0.9)), torch.zeros(N, SIZE)
    with count_syops(net, time_steps=T, neurons={snntorch.Leaky: "binary"}) as count:
        for step in torch.rand(T, N, SIZE):
            _, mem = net(step, mem)
    report = count.report
    assert report.ann_mac == SIZE * SIZE + SIZE * 4
    assert [row.signal for row in report.layers if row.kind == "linear"] == ["analog", "binary"]


def test_kernel_that_takes_states_and_needs_values():
    class Kernel(nn.Module):
        def forward(self, x, v=None):
            return torch.from_numpy((x.numpy() > 0.5).astype("float32")), x

    net, options = Net(Kernel()), {"neurons": {Kernel: "binary"}}
    with pytest.raises(SyopsError, match=r"neurons: Kernel takes states .*register_fake"):
        get_model_bounds(net, (N, SIZE), **options)
    report = get_model_syops(net, torch.rand(N, SIZE), **options)
    assert report.energy_ratio is None
    assert "Kernel takes states" in " ".join(str(report).split())


def test_leaky_that_sends_other_values_than_declared_is_refused():
    net = Net(snntorch.Leaky(beta=0.9, graded_spikes_factor=0.5))
    with pytest.raises(SyopsError, match="sn"):
        get_model_syops(net, torch.rand(N, SIZE) * 9, neurons={snntorch.Leaky: "binary"})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("how", ["iand", "or", "maximum"])
def test_declared_leaky_keeps_connections_of_spikes_binary(dtype, how):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.lif, self.fc = snntorch.Leaky(beta=0.9), nn.Linear(SIZE, 4)

        def forward(self, s):
            x, _ = self.lif(s)
            made = {"iand": lambda: s * (1 - x), "or": lambda: s + x - s * x}
            made["maximum"] = lambda: torch.maximum(s, x)
            return self.fc(made[how]().to(dtype))  # snnTorch sends float32

    net = Block().to(dtype)
    x = (torch.rand(N, SIZE) < 0.5).to(dtype)
    options = {"input_signal": "binary"}
    declared = options | {"neurons": {snntorch.Leaky: "binary"}}
    assert check_full_spike(net, x, allow=(), **declared).full_spike
    assert get_model_syops(net, x, **declared).mac == 0
    assert not check_full_spike(net, x, allow=(), **options).full_spike  # {0,a}: a is not known
