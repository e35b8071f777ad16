"""States that a model keeps in buffers or attributes are data from the first time-step on."""

import copy
import types

import numpy as np
import pytest
import snntorch
import torch
from sinabs import layers as sinabs_layers
from spikingjelly.activation_based import neuron
from torch import nn

from syops import check_full_spike, get_model_bounds, get_model_syops

N, SIZE, STEPS = 3, 6, 4


class Recurrent(nn.Module):
    """A spiking layer with recurrent weights, written as users do.

    ``kept``: where its states are at the first time-step. ``body``: what drives it.
    """

    def __init__(self, kept, body="layer", in_place=False):
        super().__init__()
        self.fc, self.rec = nn.Linear(8, SIZE), nn.Linear(SIZE, SIZE, bias=False)
        self.both = nn.Linear(8 + SIZE, SIZE)
        self.conv = nn.Conv1d(1, 1, 3, padding=1)
        self.register_buffer("mask", torch.rand(SIZE))
        self.kept, self.body, self.in_place = kept, body, in_place
        self.T = STEPS
        zeros = {"spk": torch.zeros(N, SIZE), "v": torch.zeros(N, SIZE)}
        for name, value in zeros.items():
            if kept == "buffer":
                self.register_buffer(name, value)
            elif kept == "attribute":
                setattr(self, name, value)

    def drive(self, x):
        spk = self.spk
        match self.body:
            case "layer":
                return self.fc(x) + self.rec(spk)
            case "functional":
                return self.fc(x) + nn.functional.linear(spk.detach(), self.rec.weight)
            case "matmul":
                return self.fc(x) + spk @ self.rec.weight.t()
            case "moved":
                return self.fc(x) + self.rec(spk.flip(1).to(x))
            case "concatenated":
                return self.both(torch.cat([(x > 0.5).to(x), spk], 1))
            case "masked":
                return self.fc(x) + self.rec(spk * (self.v < 0.4))
            case "convolution":
                return self.fc(x) + self.conv(spk.unsqueeze(1)).squeeze(1)
            case "potential":
                return self.fc(x) + self.rec(self.v)
            case "prepared":
                return self.fc(x) + spk @ (self.rec.weight @ self.rec.weight)

    def forward(self, x):
        if self.kept == "local":
            self.spk, self.v = x.new_zeros(N, SIZE), x.new_zeros(N, SIZE)
        out = 0
        for _ in range(self.T):
            v = 0.9 * self.v + self.drive(x)
            spk = (v > 0.3).to(x)
            if self.in_place:
                self.spk.copy_(spk)
                self.v.copy_(v - spk)
            else:
                self.spk, self.v = spk, v - spk
            out = out + self.spk
        return out


def made(*args, **kwargs):
    torch.manual_seed(0)
    return Recurrent(*args, **kwargs)


def rows_of(report):
    return [
        (row.name, row.kind, row.signal, row.calls, row.ac, row.ac_events, row.mac, row.dense)
        for row in report.layers
        if row.kind in ("linear", "conv", "matmul")
    ]


BODIES = {
    "layer": "binary",
    "functional": "binary",
    "matmul": "binary",
    "moved": "binary",
    "concatenated": "binary",
    "masked": "binary",
    "convolution": "binary",
    "potential": "analog",
}


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("kept", ["buffer", "attribute"])
@pytest.mark.parametrize("in_place", [False, True])
def test_kept_state_counts_as_one_made_in_the_forward(body, kept, in_place):
    x = [torch.rand(N, 8) for _ in range(2)]
    model = made(kept, body, in_place)
    report = get_model_syops(model, x)
    assert rows_of(report) == rows_of(get_model_syops(made("local", body), x))
    last = next(row for row in report.layers if row.name == rows_of(report)[-1][0])
    assert (last.signal, last.calls) == (BODIES[body], 2 * STEPS)
    assert not report.notes
    assert not report.prepared
    assert report.ann is not None
    assert not model.spk.any()
    assert not model.v.any()


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("kept", ["buffer", "attribute"])
def test_bounds_of_a_kept_state_hold_what_is_measured(body, kept):
    bounds = get_model_bounds(made(kept, body), (N, 8))
    report = get_model_syops(made(kept, body), torch.rand(N, 8))
    assert [(row.name, row.dense, row.calls) for row in bounds.layers] == [
        (row.name, row.dense, row.calls) for row in report.layers
    ]
    low, high = bounds.ec_mj
    assert low <= report.dc_mj <= high
    assert (
        bounds.ann.mac
        == report.ann.mac
        == get_model_syops(made("local", body), torch.rand(N, 8)).ann.mac
    )


@pytest.mark.parametrize("kept", ["buffer", "attribute", "local"])
def test_product_of_weights_beside_a_state_is_prepared(kept):
    report = get_model_syops(made(kept, "prepared"), torch.rand(N, 8))
    assert [row.calls for row in report.prepared] == [STEPS]
    assert [row.signal for row in report.layers if row.kind == "linear"] == ["analog", "binary"]


def test_audit_of_a_kept_state_names_it():
    (row,) = (r for r in check_full_spike(made("buffer"), (N, 8)).rows if r.layer == "rec")
    assert row.verdict == "unknown"
    assert "a tensor that the model keeps" in str(row.causes[0])


def test_state_by_hand():
    """Two steps, the spikes of the first one set by hand."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rec = nn.Linear(4, 5, bias=False)
            self.register_buffer("spk", torch.zeros(2, 4))

        def forward(self, x):
            outputs = []
            for step in x:
                outputs.append(self.rec(self.spk))
                self.spk = (step > 0).to(step)
            return torch.stack(outputs)

    x = torch.tensor([[[1.0, 1, 0, 0], [0, 0, 1, 0]], [[1, 1, 1, 1]] * 2])
    (row,) = get_model_syops(Net(), x, batch_dim=1, time_steps=2).layers
    assert (row.signal, row.calls, row.mac) == ("binary", 2, 0)
    assert row.dense == 2 * 4 * 5  # for each sample
    assert row.ac == row.ac_events == 3 * 5 / 2
    assert row.rate == 3 / 16


# What is not a state, or is counted without a second run


class Counts(nn.Module):
    """Counts its calls, and reads a table by that."""

    def __init__(self, in_place):
        super().__init__()
        self.fc, self.in_place = nn.Linear(8, SIZE), in_place
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        self.register_buffer("a", torch.rand(SIZE, 4))
        self.register_buffer("last", torch.zeros(N, SIZE))

    def forward(self, x):
        for _ in range(3):
            y = self.fc(x) @ (self.a * (self.step + 1))
            if self.in_place:
                self.step += 1
            else:
                self.step = self.step + 1
        self.last = y  # written, and never read
        return y


@pytest.mark.parametrize("in_place", [False, True])
def test_buffer_that_no_data_is_written_into_is_no_state(in_place):
    net = Counts(in_place)
    assert runs_of(net, torch.rand(N, 8)) == 1
    report = get_model_syops(net, torch.rand(N, 8))
    assert [(row.kind, row.calls) for row in report.layers if row.kind in ("linear", "matmul")] == [
        ("linear", 3),
        ("linear", 3),
    ]


def runs_of(net, x, **options):
    runs = []
    handle = net.register_forward_pre_hook(lambda *_: runs.append(1))
    get_model_syops(net, x, **options)
    handle.remove()
    return len(runs)


class Looped(nn.Sequential):
    def forward(self, x):
        return torch.stack([super(Looped, self).forward(step) for step in x])


LIBRARIES = {
    "spikingjelly": lambda: neuron.LIFNode(),
    "snntorch": lambda: snntorch.Leaky(beta=0.9, init_hidden=True),
    "snntorch recurrent": lambda: snntorch.RLeaky(beta=0.9, linear_features=SIZE, init_hidden=True),
    "snntorch synaptic": lambda: snntorch.Synaptic(alpha=0.9, beta=0.9, init_hidden=True),
    "batch norm": lambda: nn.BatchNorm1d(SIZE),
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_neurons_of_libraries_need_one_run(name):
    net = Looped(nn.Linear(8, SIZE), LIBRARIES[name](), nn.Linear(SIZE, 2))
    assert runs_of(net, torch.rand(STEPS, N, 8), batch_dim=1) == 1


def test_neurons_of_sinabs_need_one_run():
    net = nn.Sequential(
        nn.Linear(8, SIZE), sinabs_layers.LIFSqueeze(tau_mem=20.0, batch_size=N), nn.Linear(SIZE, 2)
    )
    assert runs_of(net, torch.rand(N * STEPS, 8)) == 1


@pytest.mark.parametrize("in_place", [False, True])
def test_no_batch_is_run_twice(in_place):
    net = made("buffer", in_place=in_place)
    assert runs_of(net, [torch.rand(N, 8)] * 5) == 5


class NeedsValues(Recurrent):
    def drive(self, x):
        return super().drive(x) * (2 if x.sum() > 0 else 1)


def test_model_that_needs_values_runs_again_for_the_first_batch_only():
    assert runs_of(NeedsValues("buffer"), [torch.rand(N, 8)] * 5) == 6


class Draws(Recurrent):
    """Feeds itself random spikes."""

    def drive(self, x):
        return self.fc(torch.bernoulli(x)) + self.rec(self.spk) + np.random.rand()


def test_second_run_draws_the_same_numbers():
    x = [torch.rand(N, 8) for _ in range(3)]
    reports = []
    for kept in ("buffer", "local"):
        torch.manual_seed(0)
        model = Draws(kept)
        torch.manual_seed(1)
        np.random.seed(1)
        reports.append(get_model_syops(model, x))
    first, second = map(rows_of, reports)
    assert first == second


class Overwrites(Recurrent):
    def drive(self, x):
        return self.fc(x.mul_(0.5)) + self.rec(self.spk)


def test_model_that_overwrites_its_input_runs_once():
    net, x = made("buffer"), torch.rand(N, 8)
    net.__class__ = Overwrites
    expected = x * 0.5**STEPS
    assert runs_of(net, x) == 1
    assert torch.equal(x, expected)


class Holder:
    """What a neuron keeps, outside of its module; it has no tensors before the first pass."""

    def __init__(self):
        self.potential = None
        self.history = []
        self.named = {}
        self.calls = 0


def _in_an_attribute(holder, current):
    before = 0 if holder.potential is None else holder.potential
    holder.potential = before + current
    return holder.potential


def _in_a_list(holder, current):
    holder.history.append(current)
    return sum(holder.history)


def _in_a_dict(holder, current):
    holder.named["v"] = holder.named.get("v", 0) + current
    return holder.named["v"]


def _in_a_new_attribute(holder, current):
    holder.added = getattr(holder, "added", 0) + current
    return holder.added


class Outside(nn.Module):
    """Fire once three inputs came; what is kept of them is in an object of the user's."""

    def __init__(self, keep, wrap):
        super().__init__()
        self.keep, self.held = keep, wrap(Holder())
        self.fc = nn.Linear(4, 2)

    @property
    def holder(self):
        held = self.held
        while not isinstance(held, Holder):
            held = held.held if isinstance(held, types.SimpleNamespace) else held[0]
        return held

    def forward(self, x):
        self.holder.calls += 1
        return self.fc((self.keep(self.holder, x) >= 2.5).float())


WRAPS = {
    "itself": lambda holder: holder,
    "list": lambda holder: [holder],
    "dict": lambda holder: {0: (holder,)},
    "object": lambda holder: types.SimpleNamespace(held=types.SimpleNamespace(held=holder)),
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.parametrize("keep", [_in_an_attribute, _in_a_list, _in_a_dict, _in_a_new_attribute])
def test_objects_that_get_their_first_tensors_in_a_pass(keep, wrap):
    model, x = Outside(keep, wrap), torch.ones(2, 4)
    before = {name: copy.copy(value) for name, value in vars(model.holder).items()}
    history = model.holder.history
    report = get_model_syops(model, [x] * 4, time_steps=1)
    assert report.totals.ac_events == 0  # each batch starts without potential
    for run in (check_full_spike, get_model_bounds):
        run(model, (2, 4))
    assert vars(model.holder) == before
    assert model.holder.history is history
