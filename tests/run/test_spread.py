"""How samples differ: equal to counting each sample by itself, however data is split."""

from __future__ import annotations

import json
import math
import random
import statistics
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from spikingjelly.activation_based import layer, neuron
from torch import nn
from torch.nn import functional as F

from syops import count_syops, get_model_syops
from syops.errors import SyopsFileError, SyopsTypeError, SyopsValueError
from syops.ledger.samples import Moments, quantile
from syops.report.report import Report
from tests.support.examples import examples
from tests.support.loops import NEURONS, Looped, Network, run


class Flat(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class Padded(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3)

    def forward(self, x):
        return self.conv(F.pad(x, (1, 1, 1, 1)))


class Attention(nn.Module):
    """Spikes times spikes, and the result times spikes."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(4, 4, bias=False) for _ in range(3))
        self.neurons = nn.ModuleList(neuron.IFNode(0.2, step_mode="m") for _ in range(3))

    def forward(self, x):
        q, k, v = (n(f(x)) for n, f in zip(self.neurons, (self.q, self.k, self.v), strict=True))
        return q @ k.transpose(-2, -1) @ v


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 3)

    def forward(self, x):
        return self.fc(x.mean((-2, -1)).mean(0))


def conv():
    return nn.Conv2d(2, 2, 3, padding=1)


NETS = {
    "multi-step": lambda: nn.Sequential(
        Flat(conv()), neuron.IFNode(0.3, step_mode="m"), Flat(conv()), Head()
    ),
    "normalised": lambda: nn.Sequential(
        layer.Conv2d(2, 2, 3, padding=1, step_mode="m"),
        layer.BatchNorm2d(2, step_mode="m"),
        neuron.LIFNode(v_threshold=0.1, step_mode="m"),
        layer.MaxPool2d(2, step_mode="m"),
        Flat(conv()),
    ),
    "norm that is counted": lambda: nn.Sequential(
        Flat(nn.BatchNorm2d(2)), neuron.IFNode(0.3, step_mode="m"), Flat(conv()), Head()
    ),
    "padded": lambda: nn.Sequential(
        Flat(conv()), neuron.IFNode(0.3, step_mode="m"), Flat(Padded()), Head()
    ),
    "attention": Attention,
}
T = 2


def net(name):
    torch.manual_seed(3)
    return NETS[name]().eval()


def alone(model, x, **told):
    """Return ACs, MACs and energy of each sample, counted by itself."""
    reports = [get_model_syops(model, part, **told) for part in x.split(1, told["batch_dim"])]
    totals = [each.totals for each in reports]
    events = told.get("ac") == "events"
    return (
        [Fraction(each.ac_events if events else each.ac) for each in totals],
        [Fraction(each.mac) for each in totals],
        [each._sums.dc for each in reports],
    )


@pytest.mark.parametrize("ac", ["rate", "events"])
@pytest.mark.parametrize("name", NETS)
def test_samples_of_a_batch_are_those_counted_alone(name, ac):
    x = torch.randn(T, 4, 2, 4, 4)
    told = {"batch_dim": 1, "time_steps": T, "input_signal": "analog", "ac": ac}
    report = get_model_syops(net(name), x, spread=True, **told)
    if name == "attention" and ac == "events":
        assert "coincidences" in report.spread_reason
        return
    truth = alone(net(name), x, **told)
    found = report.spread.ac, report.spread.mac, report.spread.dc
    assert found == tuple(map(Moments.of, truth)), report.spread_reason
    assert len(set(truth[2])) > 1


@pytest.mark.parametrize("library", NEURONS)
def test_samples_in_loops_of_every_library(library):
    x = (torch.rand(T, 3, 6, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    told = {"batch_dim": 1, "time_steps": T}
    report = get_model_syops(Looped(library).eval(), x, spread=True, **told)
    truth = alone(Looped(library).eval(), x, **told)
    assert report.spread is not None, report.spread_reason
    assert report.spread.dc == Moments.of(truth[2])


@given(st.randoms(use_true_random=False))
@examples(8)
def test_any_split_gives_identical_sums(drawn: random.Random):
    torch.manual_seed(0)
    x = torch.randint(-8, 9, (6, 2, 4, 4)) / 8
    model = nn.Sequential(conv(), neuron.IFNode(0.25), conv()).eval()
    for part in model.parameters():
        part.data = (part.data * 16).round() / 16  # sums are exact in any order
    told = {"spread": True, "progress": False, "input_signal": "analog"}
    whole = get_model_syops(model, x, **told)
    assert whole.spread.dc.deviation > 0
    sizes, left = [], 6
    while left:
        sizes.append(drawn.randint(1, left))
        left -= sizes[-1]
    parts = x.split(sizes)
    cut = drawn.randint(0, len(parts) - 1)
    halves = [list(some) for some in (parts[:cut], parts[cut:]) if some]
    *first, last = [get_model_syops(model, some, **told) for some in halves]
    merged = last.merge(Report.from_json(first[0].to_json())) if first else last
    for report in (get_model_syops(model, list(parts), **told), merged):
        for name in ("ac", "mac", "dc"):
            assert getattr(report.spread, name) == getattr(whole.spread, name)
    assert whole.spread.dc.mean == pytest.approx(whole.dc_mj * 1e9)


def test_spread_of_other_prices_needs_the_counts_of_each_sample():
    torch.manual_seed(0)
    x = torch.randn(4, 2, 4, 4)
    model = nn.Sequential(conv(), neuron.IFNode(0.2), conv()).eval()
    report = get_model_syops(model, x, spread=True)
    each = [get_model_syops(model, part).priced("horowitz45-int8") for part in x.split(1)]
    truth = [one._sums.dc for one in each]
    assert report.priced("horowitz45-int8").spread.dc == Moments.of(truth)
    again = Report.from_json(report.to_json())
    assert again.spread == report.spread
    assert again.priced("horowitz45-int8").spread is None
    assert "were not kept" in again.priced("horowitz45-int8").spread_reason
    assert again.select("conv").spread is None
    without = get_model_syops(model, x)
    assert without.spread is None
    assert "spread=True" in without.spread_reason
    assert report.merge(without).spread is None


def test_a_class_that_is_overturned_holds_for_all_samples():
    model = nn.Linear(4, 3)
    spikes, values = torch.eye(4), torch.rand(4, 4)
    both = get_model_syops(model, [spikes, values], spread=True, progress=False)
    assert both.spread.ac == Moments.of([Fraction(0)] * 8)
    assert both.spread.mac == Moments.of([Fraction(12)] * 8)
    first, second = (get_model_syops(model, x, spread=True) for x in (spikes, values))
    assert first.spread.ac == Moments.of([Fraction(3)] * 4)
    merged = first.merge(second)
    for report in (merged, merged.merge(first)):
        assert report.spread is None
        assert "classes of layers" in report.spread_reason


class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(torch.maximum(x, x.flip(0)))


def test_samples_that_are_mixed_have_no_spread():
    report = get_model_syops(Mixing(), torch.eye(4), spread=True)
    assert report.spread is None
    assert "fc" in report.spread_reason
    assert "not known; it is not known which part of fc" in str(report)
    assert get_model_syops(Mixing(), list(torch.eye(4).split(1)), spread=True).spread.dc.number == 4


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x - x.mean(0),
        lambda x: torch.where(x.sum(0) > 0.5, x, 1 - x),
        lambda x: x * x.max(),
        lambda x: x + x[:1],
    ],
)
def test_samples_behind_a_mixture_are_not_told_apart(mix):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x):
            return self.first(x), self.last((mix(x) > 0.5).float())

    report = get_model_syops(Net(), torch.eye(4), spread=True)
    assert report.spread is None
    assert "last" in report.spread_reason
    assert "first" not in report.spread_reason


def test_samples_that_cannot_be_kept_leave_the_report(tmp_path):
    path = tmp_path / "samples.npz"
    with pytest.raises(SyopsValueError, match="keep_samples: it is not known which") as raised:
        get_model_syops(Mixing(), torch.eye(4), keep_samples=path)
    assert raised.value.report == get_model_syops(Mixing(), torch.eye(4))
    assert not path.exists()


def test_the_count_ends_when_the_interval_is_narrow():
    torch.manual_seed(0)
    batches = [(torch.rand(8, 20) > 0.5).float() for _ in range(60)]
    report = get_model_syops(nn.Linear(20, 3), batches, stop_when=0.05, progress=False)
    dc = report.spread.dc
    assert 32 <= report.samples < 480
    assert dc.half_width <= 0.05 * dc.mean
    assert any("stop_when=0.05" in note for note in report.notes)
    seen = [float(each.sum()) for batch in batches for each in batch][: report.samples]
    assert dc.deviation == pytest.approx(statistics.stdev(seen) * 3 * 0.9)
    with pytest.raises(SyopsValueError, match="stop_when: it is not known which part of fc"):
        get_model_syops(Mixing(), [torch.eye(4)] * 9, stop_when=0.1, progress=False)


@pytest.mark.parametrize(
    ("told", "error", "words"),
    [
        ({"stop_when": 2.0}, SyopsValueError, "stop_when must be a share between 0 and 1"),
        ({"stop_when": "1 %"}, SyopsTypeError, "stop_when must be a share such as 0.01"),
        ({"keep_samples": "samples.csv"}, SyopsValueError, "keep_samples must be the path of an"),
        ({"keep_samples": 3}, SyopsTypeError, "keep_samples must be the path of an"),
        ({"keep_samples": "/no/such/folder/x.npz"}, SyopsFileError, "cannot write"),
    ],
)
def test_arguments_that_cannot_be_right(told, error, words):
    with pytest.raises(error, match=words):
        get_model_syops(nn.Linear(4, 3), torch.eye(4), **told)


def test_samples_are_kept_in_a_file(tmp_path):
    torch.manual_seed(0)
    x = torch.randn(5, 2, 4, 4)
    model = nn.Sequential(conv(), neuron.IFNode(0.2), conv()).eval()
    path = tmp_path / "samples.npz"
    report = get_model_syops(model, [x[:2], x[2:]], keep_samples=path, progress=False)
    kept = np.load(path)
    counted = [each for each in report.layers if each.counted]
    assert kept["layers"].tolist() == [each.name for each in counted]
    for place, part in enumerate(x.split(1)):
        one = [each for each in get_model_syops(model, part).layers if each.counted]
        assert kept["ac"][place] == pytest.approx([each.ac for each in one])
        assert kept["mac"][place] == pytest.approx([each.mac for each in one])
        assert kept["dc_pj"][place] / 1e9 == pytest.approx([each.dc_mj for each in one])


@pytest.mark.parametrize("freedom", [1, 2, 3, 8, 29, 200, 201, 5000])
def test_quantiles_of_students_t(freedom):
    """Integrate the density, independently of how the quantile is found."""
    end, pieces = quantile(freedom), 20_000
    log = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
    scale = math.exp(log) / math.sqrt(freedom * math.pi)
    points = np.linspace(0, end, pieces + 1)
    density = scale * (1 + points**2 / freedom) ** (-(freedom + 1) / 2)
    assert 2 * np.trapezoid(density, points) == pytest.approx(0.95, abs=1e-6)


def test_spread_of_each_class():
    """Against the samples of a class, counted by themselves; merged, from a file, as a table."""
    torch.manual_seed(0)
    x, labels = torch.randn(7, 2, 4, 4), torch.tensor([2, -1, 2, 2, -1, 5, 2])
    model = nn.Sequential(conv(), neuron.IFNode(0.2), conv()).eval()
    parts = [(x[:3], labels[:3]), (x[3:], labels[3:].numpy())]
    told = {"spread": True, "progress": False, "output": False}
    report = get_model_syops(model, parts, **told)
    truth = alone(model, x, batch_dim=0)
    for label, spread in report.spread.by_class.items():
        places = (labels == label).nonzero().flatten().tolist()
        expected = [Moments.of([each[place] for place in places]) for each in truth]
        assert [spread.ac, spread.mac, spread.dc] == expected
    assert list(report.spread.by_class) == [-1, 2, 5]
    one, two = (get_model_syops(model, [part], **told) for part in parts)
    merged = Report.from_json((two + Report.from_json(one.to_json())).to_json())
    assert merged.spread == replace(report.spread, basis=merged.spread.basis)
    frame = merged.spread_frame()
    assert frame["samples"].tolist() == [7, 2, 4, 1]
    energies = [float(truth[2][place]) for place in (0, 2, 3, 6)]
    assert frame.loc[2, "dc_pj_deviation"] == pytest.approx(statistics.stdev(energies))
    assert frame.loc[5].isna().sum() == 6  # deviation and interval of a single sample
    missing = get_model_syops(model, [parts[0], x[3:]], **told)
    assert missing.spread.by_class is None
    assert report.merge(missing).spread.by_class is None
    with pytest.raises(SyopsValueError, match="spread_frame: samples were not told apart"):
        get_model_syops(model, x).spread_frame()
    damaged = json.loads(report.to_json())
    del damaged["spread"]["by_class"]["2"]
    with pytest.raises(SyopsValueError, match="by_class must be the 7 samples by class"):
        Report.from_json(json.dumps(damaged))


@pytest.mark.parametrize("library", ["torch", "snntorch, hidden", "sinabs"])
def test_samples_of_a_loop_of_the_callers_own(library):
    """Of batches of 3 and 1, against blocks with a single sample."""
    x = (torch.rand(T, 4, 6, generator=torch.Generator().manual_seed(1)) > 0.5).float()

    def counted(part):
        net = Network(library).eval()
        with count_syops(net, time_steps=T, spread=True) as count:
            run(net, part)
        return count.report

    parts = [counted(part) for part in x.split((3, 1), 1)]
    truth = [counted(part)._sums.dc for part in x.split(1, 1)]
    assert (parts[0] + parts[1]).spread.dc == Moments.of(truth), parts[0].spread_reason
    assert len(set(truth)) > 1


def test_blocks_whose_samples_are_not_told_apart():
    x = torch.eye(4)
    mixing = Mixing()
    with count_syops(mixing, spread=True) as count:
        mixing(x)
    assert "which part of fc" in count.report.spread_reason
    net = nn.Sequential(nn.Linear(4, 3))
    with count_syops(net, samples=4, spread=True) as count:
        net[0](x)  # a part alone: nobody says how many samples it had
    assert count.report.ac == 3
    assert "of 4 samples, and 0 are told apart" in count.report.spread_reason


def test_an_early_end_goes_by_the_class_that_holds():
    """Spikes that vary in number stop being ACs; MACs do not vary, so that the count ends."""
    torch.manual_seed(0)
    spikes = [(torch.rand(16, 20) > 0.9).float() for _ in range(3)]
    told = {"stop_when": 0.001, "progress": False}
    whole = get_model_syops(nn.Linear(20, 3), spikes, **told)
    assert whole.samples == 48
    assert whole.spread.dc.deviation > 0
    batches = [spikes[0], torch.rand(16, 20), *spikes[1:]]
    report = get_model_syops(nn.Linear(20, 3), batches, **told)
    assert report.samples == 32
    assert report.spread.dc == Moments.of([Fraction(60) * Fraction("4.6")] * 32)
