"""Networks that are easy to count wrongly: each of them once was, here or elsewhere."""

from __future__ import annotations

from collections import deque, namedtuple

import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import neuron
from torch import nn

from syops import SyopsError, check_full_spike, get_model_bounds, get_model_syops
from syops.errors import SyopsValueError

torch.manual_seed(0)
X = torch.randn(2, 6)
SPIKES = (torch.rand(2, 6) < 0.5).float()


class Net(nn.Module):
    """A Linear(6, 3), a buffer of one element, and a forward that is a function of both."""

    def __init__(self, function, **attributes):
        super().__init__()
        self.fc = nn.Linear(6, 3)
        self.register_buffer("gain", torch.full((1,), 0.5))
        self.function = function
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.function(self, x)


def row_of(report, name="fc"):
    (row,) = (layer for layer in report.layers if layer.name == name)
    return row


def decaying_gain(self, x):
    out = 0
    for t in range(3):
        out = out + self.fc((x > 0.1 * t).float() * self.gain)
        self.gain *= 0.9
    return out


def gain_written_through(write):
    def function(self, x):
        out = 0
        for t in range(2):
            write(self.gain, x[t])
            out = out + self.fc((x > 0).float() * self.gain)
        return out

    return function


def data_written(self, x):
    spikes = torch.zeros_like(x)
    spikes += (x > 0).float()
    spikes.data.mul_(0.37 + x.abs())
    return self.fc(spikes)


ANALOG = {
    "a gain that decays": decaying_gain,
    "a gain written through a view": gain_written_through(
        lambda gain, x: gain.__setitem__(0, x.mean())
    ),
    "a gain written through .data": gain_written_through(
        lambda gain, x: gain.data.fill_(float(x.abs().mean()))
    ),
    "spikes written through .data": data_written,
    "a number read from the data": lambda self, x: self.fc((x > 0).float() * x.abs().max().item()),
    "a number read from the data, in a tensor": lambda self, x: self.fc(
        (x > 0).float() * torch.tensor(x.abs().max().item())
    ),
    "a number read from the data, all over a tensor": lambda self, x: self.fc(
        (x > 0).float() * torch.full_like(x, x.abs().max().item())
    ),
    "a number read from the data, where there are spikes": lambda self, x: self.fc(
        torch.zeros_like(x).masked_fill(x > 0, x.abs().max().item())
    ),
    "two outputs of one operator": lambda self, x: self.fc(torch.frexp(x)[0]),
    "bits read as another type": lambda self, x: self.fc(
        x.sign().view(torch.int32).float() / 2**31
    ),
}


@pytest.mark.parametrize("name", ANALOG)
def test_non_spikes_are_not_called_spikes(name):
    report = get_model_syops(Net(ANALOG[name]), X)
    assert row_of(report).signal == "analog"
    assert report.ac == 0


def test_long_sums_stay_integers():
    """{0..3000} and {0, 1} have more assignments than a table may have."""

    def function(self, x):
        counts = (x > 0).float().repeat(1500, 1).sum(0, keepdim=True)
        return self.fc(counts + (x > 1).float())

    (row,) = check_full_spike(Net(function), X, allow=()).rows
    assert (row.values, row.verdict) == ("integers", "graded")


def test_floor_is_graded():
    def rounded(self, x):
        signs = (x > 0).float() - (x.flip(0) > 0).float()
        return self.fc(torch.div(signs, self.gain, rounding_mode="floor"))

    report = get_model_syops(Net(rounded), X)
    assert row_of(report).signal == "graded"
    assert report.ac == 0


def negative_infinity(self, x):
    padded = F.pad((x > 0).float(), (1, 1), value=float("-inf"))
    return self.fc(F.max_pool1d(padded[:, None], 3, 1)[:, 0])


def state_row_by_row(self, x):
    self.state[0] = (x[0] > 0).float()
    self.state[1] = (x[1] > 0).float()
    return self.fc(self.state)


SPIKE = {
    "maximum of two": lambda self, x: self.fc(torch.aminmax((x > 0).float(), dim=0).max[None]),
    "a state written row by row": state_row_by_row,
    "preallocated": lambda self, x: self.fc(
        torch.zeros(2, 6).copy_(torch.stack([(row > 0).float() for row in x]))
    ),
}


@pytest.mark.parametrize("name", SPIKE)
def test_spikes_are_called_spikes(name):
    model = Net(SPIKE[name])
    model.register_buffer("state", torch.zeros(2, 6))
    report = get_model_syops(model, X)
    assert row_of(report).signal == "binary"
    assert report.mac == 0


def spectral(net):
    nn.utils.parametrizations.spectral_norm(net.fc)
    return net


class LowRank(nn.Module):
    """A weight that is updated by a product of two."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 6))
        self.a, self.b = nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(2, 6))

    def forward(self, x):
        return F.linear(x, self.weight + self.a @ self.b)


@pytest.mark.parametrize(
    "make", [lambda: spectral(Net(lambda net, x: net.fc(x))), LowRank], ids=["spectral", "low rank"]
)
def test_work_on_weights_alone_is_counted_once(make):
    (row,) = check_full_spike(make(), (2, 6), input_signal="binary", allow=()).rows
    assert (row.verdict, row.kind) == ("spike", "linear")
    assert get_model_bounds(make(), (2, 6)).mac == 3 * 6
    counted = get_model_syops(make(), SPIKES, input_signal="analog", time_steps=1, batch_dim=0)
    assert counted.mac == 3 * 6


def test_a_state_in_a_buffer_is_no_weight():
    """It looks like one as long as nothing is written into it."""

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.back = nn.Linear(6, 3), nn.Linear(3, 3)
            self.register_buffer("state", torch.zeros(2, 3))

        def forward(self, x):
            for _ in range(2):
                self.state = self.fc(x) + self.back(self.state)
            return self.state

    counted = get_model_syops(Recurrent(), X, input_signal="analog")
    assert counted.mac == 2 * (3 * 6 + 3 * 3)
    assert get_model_bounds(Recurrent(), X).mac == counted.mac


def test_inputs_in_nested_containers_have_signals():
    class Nested(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(6, 3), nn.Linear(6, 3)

        def forward(self, x, more):
            return self.fc1(x) + self.fc2(more["events"][0])

    inputs = {"x": X, "more": {"events": [SPIKES]}}
    signals = ["analog", "binary"]
    for report in (
        get_model_syops(Nested(), inputs, input_signal=signals, time_steps=1),
        get_model_bounds(Nested(), inputs, input_signal=signals),
        get_model_bounds(Nested(), (X, {"events": [SPIKES]}), input_signal=signals),
    ):
        assert [layer.signal for layer in report.layers if layer.kind == "linear"] == signals
    with pytest.raises(SyopsValueError, match="3 signals, but the model is called with 2 tensors"):
        get_model_bounds(Nested(), inputs, input_signal=["analog"] * 3)


def test_max_pool_padding_with_minus_infinity():
    totals = get_model_syops(Net(negative_infinity), X).totals
    assert totals.dense_ac + totals.mac == 2 * 6 * 3


# Neurons


def test_a_hook_that_changes_what_a_neuron_gives_is_watched():
    lif = neuron.LIFNode()
    lif.register_forward_hook(lambda module, args, out: out * args[0])
    report = get_model_syops(nn.Sequential(lif, nn.Linear(6, 3)), 9 * X)
    assert report.mac == 6 * 3


def test_a_neuron_with_a_forward_of_its_own_is_watched():
    lif = neuron.LIFNode()
    lif.forward = lambda x: x * 0.3
    report = get_model_syops(nn.Sequential(lif, nn.Linear(6, 3)), X)
    assert report.mac == 6 * 3


def test_a_hidden_state_is_analog_inside_its_cell_only():
    def forward(self, x):
        spikes = (x > 0).float()
        return self.rnn(x, spikes) + self.fc2(spikes)

    report = get_model_syops(Net(forward, rnn=nn.RNNCell(6, 6), fc2=nn.Linear(6, 6)), X)
    spikes = X > 0
    assert row_of(report, "fc2").signal == "binary"
    assert row_of(report, "fc2").ac_events == int(spikes.sum()) * 6 / 2
    assert report.mac == 2 * 6 * 6  # input (analog here) and hidden state


# Products


def test_the_data_of_a_weight_is_a_weight():
    model = Net(lambda self, x: F.linear(x, self.fc.weight.data))
    model.fc.weight.data.copy_((model.fc.weight > 0).float())
    (row,) = get_model_syops(model, X).layers
    assert (row.kind, row.signal, row.mac) == ("linear", "analog", 18)


def test_grouped_query_attention_counts_each_key_for_every_query_head():
    torch.manual_seed(1)
    q, k, v = ((torch.rand(1, heads, 3, 2) < 0.5).float() for heads in (2, 1, 1))

    class Attention(nn.Module):
        def forward(self, q, k, v):
            return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)

    report = get_model_syops(Attention(), (q, k, v), input_signal="binary")
    scores, mixed = (layer for layer in report.layers if layer.kind == "matmul")
    events = int(sum((q[0, h] @ k[0, 0].T).sum() for h in range(2)))
    rate = q.mean().item() * k.mean().item()
    assert (scores.dense, scores.ac_events) == (2 * 3 * 3 * 2, events)
    assert scores.ac == pytest.approx(rate * scores.dense)
    assert mixed.ac_events == int(v.sum()) * 3 * 2
    assert mixed.ac == pytest.approx(v.mean().item() * 2 * 3 * 3 * 2)


# Normalisations


@pytest.mark.parametrize(
    ("result", "folds"),
    [
        (lambda self, x: F.linear(x, self.fc.weight, self.fc.bias), True),
        (lambda self, x: torch.addmm(self.fc.bias, x, self.fc.weight.T), True),
        (lambda self, x: torch.addmm(x[:, :3], x, self.fc.weight.T), False),
        (lambda self, x: torch.addmm(self.per_sample, x, self.fc.weight.T), False),
        (lambda self, x: x @ self.fc.weight.T + self.fc.bias, True),
        (lambda self, x: x @ self.fc.weight.T + x[:, :3], False),
        (lambda self, x: F.linear(x, self.fc.weight, self.fc.bias + x.mean()), False),
    ],
)
def test_a_norm_is_folded_only_behind_a_layer_with_a_bias_per_channel(result, folds):
    model = Net(lambda self, x: self.bn(result(self, x)), bn=nn.BatchNorm1d(3))
    model.per_sample = nn.Parameter(torch.randn(2, 3))
    report = get_model_syops(model, X)
    assert row_of(report, "bn").mac == (0 if folds else 2 * 3)


@pytest.mark.parametrize("samples", [1, 2])
def test_an_instance_norm_costs_the_same_whatever_the_batch(samples):
    model = nn.Sequential(nn.Conv1d(2, 4, 1), nn.InstanceNorm1d(4, track_running_stats=True))
    report = get_model_syops(model, torch.randn(samples, 2, 5))
    assert report.mac == 2 * 4 * 5 + 2 * 4 * 5


# Rates


@pytest.mark.parametrize(
    "spelling",
    [
        lambda s: F.pad(s[None], (0, 0, 0, 0, 0, 3)),
        lambda s: torch.cat([s[None], torch.zeros(3, 2, 6)]),
        lambda s: into_zeros(s, 0),
        lambda s: into_zeros(s[None], slice(0, 1)),
    ],
)
def test_silent_time_steps_are_no_padding_unless_they_are_spelled_so(spelling):
    report = get_model_syops(Net(lambda self, x: self.fc(spelling(x))), SPIKES)
    spikes = int(SPIKES.sum()) * 3
    assert report.totals.ac_events == spikes
    assert report.totals.ac in (spikes, 4 * spikes)
    padded = spelling(SPIKES).shape[0] == 4 and "pad" in spelling.__code__.co_names
    assert (report.totals.ac == 4 * spikes) is padded


def into_zeros(s, place):
    out = torch.zeros(4, 2, 6)
    out[place] = s
    return out


def test_cropping_is_no_padding():
    crops = [lambda x: F.pad(x, (-1, -1)), lambda x: x[:, 1:-1]]
    model = Net(lambda self, x: self.small(self.crop(x)), small=nn.Linear(4, 3))
    counts = []
    for crop in crops:
        model.crop = crop
        counts.append(get_model_syops(model, SPIKES).totals)
    assert counts[0] == counts[1]
    assert counts[0].ac == int(SPIKES[:, 1:-1].sum()) * 3


def test_magnitudes_do_not_overflow():
    x = torch.tensor([[-128, 2]], dtype=torch.int8)
    model = Net(lambda self, x: x @ self.ones)
    model.register_buffer("ones", torch.ones(2, 1, dtype=torch.int8))
    assert get_model_syops(model, x, graded="ac").ac_events == 130


# Eq. (6)


class Looped(nn.Module):
    def __init__(self, steps, inner):
        super().__init__()
        self.T, self.fc, self.steps, self.inner = steps, nn.Linear(6, 3), range(steps), inner

    def forward(self, x):
        if self.inner == "attribute":
            return sum(self.fc(x) for _ in range(self.T))
        if self.inner == "frames":
            return torch.stack([self.fc(frame) for frame in x])
        return sum(self.fc(x) for _ in self.steps)


@pytest.mark.parametrize(
    ("inner", "x", "batch_dim", "ann"),
    [
        ("attribute", X, 0, 18),
        ("elsewhere", X, 0, None),
        ("frames", torch.randn(4, 2, 6), 1, 18),
        ("frames", torch.randn(4, 2, 6), -2, 18),
        ("frames", torch.randn(8, 2, 6), 1, 18),
    ],
)
def test_the_ann_does_one_step_or_is_not_available(inner, x, batch_dim, ann):
    report = get_model_syops(Looped(4, inner), x, batch_dim=batch_dim)
    assert report.ann_mac == ann
    assert bool(report.notes) is (ann is None)


def test_the_ann_of_batches_of_different_sizes_is_their_mean():
    model = nn.Conv2d(1, 2, 3, padding=1)
    model.T = 1
    batches = [torch.rand(2, 1, 4, 4), torch.rand(1, 1, 8, 8), torch.rand(2, 1, 4, 4)]
    report = get_model_syops(model, batches)
    assert report.energy_ratio == pytest.approx(1)
    assert report.ann_mac * 5 == 2 * 9 * (4 * 16 + 64)


def test_the_ann_takes_nothing_from_the_random_numbers():
    class Poisson(nn.Module):
        def __init__(self):
            super().__init__()
            self.T, self.fc = 2, nn.Linear(6, 3)

        def forward(self, x):
            return sum(self.fc((torch.rand(x.shape) < x).float()) for _ in range(self.T))

    model = Poisson()
    torch.manual_seed(3)
    model(X)
    expected = torch.rand(1)
    torch.manual_seed(3)
    get_model_syops(model, X)
    assert torch.equal(torch.rand(1), expected)


# Merging


def test_merging_tells_weights_apart():
    def forward(self, x):
        out = self.fc(x).sum() if x.sum() > 3 else 0
        if x.sum() > 3:
            out = out + F.linear(x, self.first).sum()
        return out + F.linear(x[:, :3], self.second).sum()

    model = Net(forward)
    model.first, model.second = nn.Parameter(torch.ones(2, 6)), nn.Parameter(torch.ones(2, 3))
    x = torch.tensor([[1.0] * 6, [0.0] * 6])
    merged = get_model_syops(model, x[:1]).merge(get_model_syops(model, x[1:]))
    split = get_model_syops(model, [x[:1], x[1:]])
    dense = [{r.weight: r.dense for r in report.rows if r.weight} for report in (merged, split)]
    assert dense[0] == dense[1] == {"fc.weight": 18, "first": 12, "second": 12}


# The model is left as found


def test_states_that_share_memory_still_do_while_counted():
    def forward(self, x):
        self.ring.zero_()
        self.ring += x[0, :4]
        return self.fc(torch.cat([self.ring, self.head])[None])

    model = Net(forward)
    model.register_buffer("ring", torch.zeros(4))
    model.head = model.ring[:2]
    seen = []
    model.fc.register_forward_hook(lambda module, args, out: seen.append(out))
    get_model_syops(model, X)
    assert model.head.data_ptr() == model.ring.data_ptr()
    assert torch.equal(model.ring, torch.zeros(4))
    with torch.no_grad():
        assert torch.equal(seen[0], model(X))


def test_states_in_containers_come_back():
    Pair = namedtuple("Pair", "v i")

    def forward(self, x):
        self.pair.v.add_(1)
        self.queue.append(x)
        self.seen.add(1)
        return self.fc(x)

    model = Net(forward, pair=Pair(torch.zeros(1), torch.zeros(1)), queue=deque(), seen=set())
    pair, queue = model.pair, model.queue
    get_model_syops(model, [X, X])
    assert model.pair is pair
    assert pair.v.item() == 0
    assert model.queue is queue
    assert not queue
    assert not model.seen


@pytest.mark.parametrize("device", ["nonsense", "cuda" if not torch.cuda.is_available() else "x"])
def test_a_device_that_is_not_there_is_a_clear_error(device):
    with pytest.raises(SyopsValueError, match=f"device='{device}'") as raised:
        get_model_syops(nn.Linear(6, 3), X, device=device)
    assert isinstance(raised.value, SyopsError)
