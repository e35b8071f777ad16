"""Rates of neurons: against hooks that add up what neurons send, in every way of counting."""

from __future__ import annotations

import itertools
import json
from array import array
from dataclasses import replace
from fractions import Fraction
from functools import reduce
from operator import add

import numpy as np
import pytest
import sinabs.layers as sinabs_layers
import snntorch
import torch
from hypothesis import given
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from syops import Report, count_syops, get_model_syops
from syops.errors import SyopsTypeError, SyopsValueError
from syops.ledger.neurons import NeuronLayer, quantile_of
from tests.support.examples import examples
from tests.support.loops import NEURONS, Looped, Network, run

T = 3


class Truth:
    """Add up what neurons send, [steps, N, neurons], with hooks of its own."""

    def __init__(self, neurons, steps_at=None):
        self.sent = {module: [] for module in neurons}
        self.handles = [
            module.register_forward_hook(lambda m, _, out: self.sent[m].append(self.plain(out)))
            for module in neurons
        ]
        self.steps_at = steps_at

    def plain(self, out):
        x = (out[0] if isinstance(out, tuple) else out).detach().clone()
        return x.unsqueeze(0) if self.steps_at is None else x.movedim(self.steps_at, 0)

    def end(self):
        for handle in self.handles:
            handle.remove()
        return [torch.cat(each) for each in self.sent.values()]


def truth_of(neurons, calls, steps_at=None):
    """Return [T, N of all batches, neurons] of each module."""
    batches = []
    for call in calls:
        hooks = Truth(neurons, steps_at)
        with torch.no_grad():
            call()
        batches.append(hooks.end())
    return [torch.cat(each, 1) for each in zip(*batches, strict=True)]


def check(layers, truth):
    for found, sent in zip(layers, truth, strict=True):
        steps, samples, *shape = sent.shape
        assert found.shapes == (tuple(shape),)
        assert found.counts.tolist() == (sent != 0).sum((0, 1)).flatten().tolist()
        assert found.steps == tuple((each.numel(), int((each != 0).sum())) for each in sent)
        assert (found.entries, found.spikes) == (sent.numel(), int((sent != 0).sum()))
        assert found.times == steps * samples
        assert found.analog == found.graded == 0


def batches():
    x = (torch.rand(T, 8, 6, generator=torch.Generator().manual_seed(1)) > 0.4).float()
    return list(x.split((3, 3, 2), 1))


@pytest.mark.parametrize("library", [name for name in NEURONS if name != "torch"])
def test_every_library_in_every_loop(library):
    """In the model, in the caller, and step by step; merged, and from a file."""
    net, inner = Looped(library).eval(), Network(library).eval()
    told = {"neuron_rates": True, "time_steps": T}
    plain = {"batch_dim": 1, "progress": False, **told}
    report = get_model_syops(net, batches(), **plain)
    fresh = [Looped(library).eval() for _ in batches()]
    truth = [
        truth_of([one.sn1, one.sn2], [lambda one=one, x=x: one(x)])
        for one, x in zip(fresh, batches(), strict=True)
    ]
    truth = [torch.cat(each, 1) for each in zip(*truth, strict=True)]
    truth = [sent.flatten(2) for sent in truth]  # of sinabs [T, N, 1, C]
    check(report.neuron_layers, truth)
    assert len({float((sent != 0).double().mean()) for sent in truth}) == 2
    with count_syops(inner, **told) as count:
        for x in batches():
            for module in inner.modules():
                if library == "sinabs" and hasattr(module, "reset_states"):
                    module.v_mem = module.v_mem.new_zeros(0)
                elif isinstance(module, snntorch.Leaky):
                    module.mem = module.mem.new_zeros(0)
            functional.reset_net(inner) if library == "spikingjelly" else None
            run(inner, x)
    check(count.report.neuron_layers, truth)
    parts = [get_model_syops(net, x, **plain) for x in batches()]
    merged = reduce(add, [Report.from_json(part.to_json()) for part in parts])
    assert merged.neuron_layers == report.neuron_layers
    assert replace(parts[0], neuron_layers=None).merge(parts[1]).neuron_layers is None


def multi():
    torch.manual_seed(0)
    net = nn.Sequential(
        layer.Conv2d(2, 3, 3, padding=1),
        neuron.IFNode(0.4),
        layer.Conv2d(3, 2, 3),
        neuron.LIFNode(v_threshold=0.2),
    )
    functional.set_step_mode(net, "m")
    return net.eval()


def test_several_steps_a_call_and_replayed_batches():
    net, x = multi(), torch.rand(T, 7, 2, 5, 5)
    parts = list(x.split((2, 2, 2, 1), 1))
    report = get_model_syops(net, parts, batch_dim=1, neuron_rates=True, progress=False)

    def fresh(part):
        functional.reset_net(net)
        net(part)

    truth = truth_of([net[1], net[3]], [lambda p=p: fresh(p) for p in parts], steps_at=0)
    check(report.neuron_layers, truth)
    found = report.neuron_rates()
    for row, sent, held in zip(found.rows, truth, found.layers, strict=True):
        rates = (sent != 0).double().mean((0, 1)).flatten().numpy()
        quartiles = np.quantile(rates, [0, 0.25, 0.5, 0.75, 1])
        assert (row.least, row.lower, row.median, row.upper, row.most) == pytest.approx(quartiles)
        assert row.silent == pytest.approx((rates == 0).mean())
        assert row.saturated == pytest.approx((rates == 1).mean())
        assert row.spikes == pytest.approx(int((sent != 0).sum()) / 7)
        assert row.rate == pytest.approx(rates.mean())
        assert row.rates == pytest.approx((sent != 0).double().mean((1, 2, 3, 4)).tolist())
        # In the middle between two rates, no rounding decides.
        edges = np.arange(T * 7 + 2) / (T * 7) - 0.5 / (T * 7)
        assert held.tally == {
            int(n): int(k) for n, k in enumerate(np.histogram(rates, edges)[0]) if k
        }
    every = torch.cat([(sent != 0).double().mean((0, 1)).flatten() for sent in truth])
    assert found.silent == pytest.approx(float((every == 0).double().mean()))
    assert found.rates_frame().shape == (2, T)
    rows = json.loads(found.to_json())["rows"]
    assert [sum(row["histogram"]) for row in rows] == [75, 18]
    assert found.table().rows[0][:3] == ("1", "IFNode", 75)
    page = report.to_page()
    assert "Firing rates of the neurons of each module" in page
    assert "never fire" in page
    assert not get_model_syops(net, parts[0], batch_dim=1).neuron_layers
    with pytest.raises(SyopsValueError, match="neuron_rates=True"):
        get_model_syops(net, parts[0], batch_dim=1).neuron_rates()


class Sizes(nn.Module):
    """Neurons on images of any size; one that is not called, one that is not a spiking one."""

    def __init__(self):
        super().__init__()
        self.conv, self.sn, self.idle = nn.Conv2d(1, 2, 1), neuron.IFNode(0.1), neuron.IFNode()
        self.leak = neuron.LIAFNode(torch.tanh, threshold_related=False)

    def forward(self, x):
        return self.leak(self.sn(self.conv(x)))


def test_what_is_not_known_is_said():
    x = torch.rand(2, 1, 4, 4)
    report = get_model_syops(Sizes(), [x, x[..., :3]], neuron_rates=True, progress=False)
    found = report.neuron_rates()
    spiking, idle, leak = found.rows
    assert found.layers[0].shapes == ((2, 4, 3), (2, 4, 4))
    assert spiking.rate is not None
    assert spiking.median is spiking.silent is spiking.neurons is found.silent is None
    assert leak.rate is leak.rates is idle.rate is None
    told = "\n".join(found.notes)
    assert "sn: not the same neurons in all calls, of shapes [2, 4, 3] and" in told
    # The reasons stand before what every table says.
    assert "sn: not the same neurons in all calls" in str(found)
    assert found.table().total[2] is None  # the number of all, where not all are told apart
    assert "idle: not called" in told
    assert "leak: sends values that are not integers, which have no firing rate" in told
    assert "sn: not the same neurons" in report.neuron_rates().to_text()
    with pytest.raises(SyopsTypeError, match="neuron_rates must be True or False, got 1"):
        get_model_syops(Sizes(), x, neuron_rates=1)
    nothing = get_model_syops(nn.Linear(4, 3), torch.eye(4), neuron_rates=True)
    assert "No neurons to show" in nothing.neuron_rates().to_text()
    with pytest.raises(SyopsValueError, match="not known of any module"):
        nothing.plot("neuron_rates")


class Own(nn.Module):
    def forward(self, x):
        return (x > 0.5).float()


def test_layouts_that_are_not_known_have_a_mean_alone():
    x = torch.rand(4, 6)
    declared = {"neurons": {Own: "binary"}, "neuron_rates": True}
    found = get_model_syops(nn.Sequential(Own()), x, **declared).neuron_rates()
    assert found.rows[0].rate == pytest.approx(float((x > 0.5).double().mean()))
    assert found.layers[0].counts is found.layers[0].steps is None
    assert any("which dimension of the output holds the samples" in note for note in found.notes)
    # [N·2, C]: neurons see two patches of each sample as if they were samples.
    patches = nn.Sequential(nn.Flatten(0, 1), neuron.IFNode(0.5))
    found = get_model_syops(patches, torch.rand(4, 2, 5), neuron_rates=True).neuron_rates()
    assert found.rows[0].rate > 0
    assert found.rows[0].median is None


def test_integers_besides_spikes_are_said():
    """sinabs' neurons may fire several times a step: {0, 1, 2, ...}."""
    x = torch.tensor([[[0.2, 2.5, 1.0], [0.0, 1.0, 0.0]]])  # [N, T, C]
    model = sinabs_layers.IAF()
    found = get_model_syops(model, x, time_steps=2, neuron_rates=True).neuron_rates()
    assert found.layers[0].graded == 1
    assert found.layers[0].counts.tolist() == [0, 2, 1]
    assert found.rows[0].name == "IAF"
    assert "integers besides spikes" in found.to_text()


def test_sums_are_exact_under_autocast():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.sn = neuron.IFNode(0.5)

        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                return self.sn(x)

    found = get_model_syops(Half(), torch.ones(4099, 2), neuron_rates=True).neuron_layers
    assert found[0].counts.tolist() == [4099, 4099]


def test_steps_are_not_known_where_they_are_not_those_of_the_network():
    """A neuron that is called twice a step has 2 T calls; its spikes add up all the same."""

    class Twice(Network):
        def forward(self, x, state=None):
            self.sn1(self.fc1(x))
            return super().forward(x, state)

    net = Twice("spikingjelly").eval()
    x = batches()[0]
    report = get_model_syops(net, x, unroll=0, neuron_rates=True)
    rows = {row.name: row for row in report.neuron_rates().rows}
    assert rows["sn1"].rates is None
    assert rows["sn1"].median is not None
    assert len(rows["sn2"].rates) == T
    assert report.neuron_layers[0].times == 2 * T * 3


@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=5))
@examples(6)
def test_counts_add_up_in_any_order(counts):
    """What a layer has of a file is what it had, and a sum does not depend on its order."""
    parts = [
        NeuronLayer("n", "IF", 1, 27, sum(c), 0, 0, ((3,),), array("q", c), ((27, sum(c)),))
        for c in counts
    ]
    sums = {tuple(reduce(add, order).counts) for order in itertools.permutations(parts[:4])}
    assert sums == {tuple(map(sum, zip(*counts[:4], strict=True)))}
    whole = reduce(add, parts)
    values = sorted(whole.counts)
    for share in (0, 0.25, 0.4, 1):
        exact = np.quantile(values, share)
        assert quantile_of(whole.tally, share) == pytest.approx(float(exact))
    bins = [0] * 7
    for count in values:
        rate = Fraction(count, whole.times)
        bins[next(i for i in range(7) if rate < Fraction(i + 1, 7) or i == 6)] += 1
    assert whole.histogram(7) == tuple(bins)


def test_damaged_counts_are_refused():
    report = get_model_syops(multi(), torch.rand(T, 2, 2, 5, 5), batch_dim=1, neuron_rates=True)
    content = json.loads(report.to_json())
    assert Report.from_json(report.to_json()).neuron_layers == report.neuron_layers
    for key, value in (
        ("counts", "AAAA"),
        ("counts", content["neurons"][1]["counts"]),
        ("steps", [[1, 2]]),
        ("shapes", [[75]]),
        ("spikes", 10**9),
    ):
        damaged = json.loads(report.to_json())
        damaged["neurons"][0][key] = value
        if key == "shapes":
            damaged["neurons"][0]["entries"] += 1
        with pytest.raises(SyopsValueError, match=r"damaged report: neurons\[0\]"):
            Report.from_json(json.dumps(damaged))
