"""`Report`: forms, merging and selecting, on networks whose counts are known by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import pandas as pd
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

from syops import Report, check_full_spike, get_model_bounds, get_model_syops
from syops.errors import SyopsValueError
from syops.ops.kinds import KINDS
from syops.report.report import MeasuredReport
from syops.show.layers import COLUMNS

IMAGE = torch.tensor([[0.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]])


def net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), neuron.IFNode(), nn.Linear(6, 3), nn.LayerNorm(3)
    )


@pytest.fixture(scope="module")
def report() -> Report:
    return get_model_syops(net(), IMAGE, time_steps=1)


def test_headline_figures_follow_from_the_rows(report):
    """Linear 4 -> 6 gets 3 spikes of 8; LayerNorm costs 2 MACs for each of 3 values."""
    first = report.layers[0]
    assert (first.rate, first.ac, first.dense) == (3 / 8, 3 * 6 / 2, 4 * 6)
    assert report.mac == 2 * 3
    assert report.dense_ac == 4 * 6 + 6 * 3
    assert report.dc_mj == pytest.approx((0.9 * report.ac + 4.6 * report.mac) / 1e9)
    low, high = report.ec_mj
    assert low == pytest.approx(4.6 * 6 / 1e9)
    assert high == pytest.approx((4.6 * 6 + 0.9 * 42) / 1e9)
    assert report.energy_ratio == pytest.approx(report.dc_mj * 1e9 / (4.6 * (42 + 6)))
    assert report.params == sum(p.numel() for p in net().parameters())
    assert sum(layer.params for layer in report.layers) == report.params
    assert sum(layer.share for layer in report.layers) == pytest.approx(1)


def test_loaded_report_is_measured_as_it_was(report, tmp_path):
    for made in (report, get_model_bounds(net(), IMAGE)):
        made.save(tmp_path / "report.json")
        loaded = Report.load(tmp_path / "report.json")
        assert loaded == made
        assert isinstance(loaded, MeasuredReport) == loaded.measured == made.measured


def test_the_frame_has_the_documented_columns(report):
    frame = report.to_frame()
    assert list(frame.columns) == [column.key for column in COLUMNS]
    assert list(frame.kind) == ["linear", "norm", "neuron", "linear", "norm"]
    assert frame.folded[1] == "0"
    totals = report.to_frame(totals=True)
    assert totals.ac[0] == Fraction(18)
    assert totals.ac_events[0] == 18
    assert totals.mac.sum() - totals.mac[2] == report.totals.mac
    assert isinstance(totals, pd.DataFrame)


def test_merged_reports_are_the_report_of_all_data(report):
    model = net()
    whole = get_model_syops(model, [IMAGE[:1], IMAGE[1:]], time_steps=1)
    parts = [get_model_syops(model, IMAGE[i : i + 1], time_steps=1) for i in range(2)]
    for merged in (parts[0].merge(parts[1]), parts[1].merge(parts[0])):
        assert merged.totals == whole.totals == report.totals
        assert merged.samples == 2
        assert merged.energy_ratio == pytest.approx(report.energy_ratio)
        assert {row.key: row for row in merged.rows} == {row.key: row for row in whole.rows}


def test_merging_joins_what_was_seen_before_it_classes():
    """One data set of spikes, one of counts: together they are graded, whatever the order."""
    model = nn.Linear(4, 2)
    spikes, counts = (get_model_syops(model, IMAGE * scale) for scale in (1, 2))
    saved = Report.from_json(counts.to_json())
    assert spikes.layers[0].signal == "binary"
    for merged in (spikes.merge(saved), saved.merge(spikes)):
        assert merged.layers[0].signal == "graded"
        assert merged.mac == 4 * 2
        assert merged.ac == 0


def test_reports_of_different_conventions_are_not_merged(report):
    with pytest.raises(SyopsValueError, match="convention"):
        report.merge(get_model_syops(net(), IMAGE, time_steps=1, fold_bn=False))


def test_select_takes_other_kinds_into_the_totals(report):
    chosen = report.select(["linear", "neuron"])
    assert chosen.mac == 6  # one update for each of 6 neurons, no LayerNorm
    assert chosen.ac == report.ac
    assert [layer.counted for layer in chosen.layers] == [True, False, True, True, False]
    assert report.select("norm").mac == 6
    assert report.select("norm").ac == 0
    with pytest.raises(SyopsValueError, match="kinds: no such kind: neurons"):
        report.select(["neurons"])


def test_pricing_by_events():
    model = nn.Conv2d(1, 1, 3, padding=1)
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 0, 0] = 1  # in the corner: reaches 4 of 9 positions
    report = get_model_syops(model, x, ac="events")
    assert report.ac_events == 4
    assert report.ac == 9
    assert report.dc_mj == pytest.approx(0.9 * 4 / 1e9)
    assert report.layers[0].dc_mj == report.dc_mj


def test_rows_of_one_module_are_told_apart():
    class Attention(nn.Module):
        def forward(self, q):
            return (q @ q.mT) @ q

    names = [layer.name for layer in get_model_syops(Attention(), IMAGE).layers]
    assert names == ["Attention:matmul#1", "Attention:matmul#2"]


# Against the ANN


class Steps(nn.Module):
    """T times the same image: a stem, spikes, a convolution with BatchNorm, a classifier."""

    def __init__(self, steps=4):
        super().__init__()
        self.T = steps
        self.stem = nn.Conv2d(1, 2, 3, padding=1, bias=False)
        self.sn1 = neuron.IFNode(v_threshold=0.2)
        self.conv = nn.Conv2d(2, 3, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(3)
        self.sn2 = neuron.IFNode(v_threshold=0.2)
        self.fc = nn.Linear(3 * 16, 5)

    def forward(self, x):
        x = self.stem(x)
        spikes = (self.sn2(self.bn(self.conv(self.sn1(x)))) for _ in range(self.T))
        return sum(self.fc(s.flatten(1)) for s in spikes)


STEM, CONV, FC = 2 * 9 * 16, 2 * 3 * 9 * 16, 3 * 16 * 5
"""Dense counts of one sample and one time-step."""


@pytest.fixture(scope="module")
def stepping() -> Report:
    torch.manual_seed(0)
    return get_model_syops(Steps(), torch.rand(2, 1, 4, 4))


def test_the_ann_has_every_synaptic_layer_once_as_macs(stepping):
    ann = stepping.ann
    macs = {layer.path: layer.mac for layer in ann.layers if layer.counted}
    assert macs == {"stem": STEM, "conv": CONV, "bn": 0, "fc": FC}
    keys = [{row.key for row in r.rows if row.path} for r in (ann, stepping)]
    assert keys[0] == keys[1]
    assert ann.ac == ann.dense_ac == 0
    assert ann.mac == stepping.ann_mac == STEM + CONV + FC
    assert ann.dc_mj == ann.ec_mj[0] == ann.ec_mj[1]
    assert ann.dc_mj == pytest.approx(4.6e-9 * (STEM + CONV + FC))
    assert (ann.network_type, ann.time_steps, ann.samples) == ("ANN", 1, 2)
    assert sum(layer.params for layer in ann.layers) == stepping.params
    assert ann.energy_ratio == 1
    assert ann.break_even_rate is None


def test_norms_cost_in_the_ann_what_they_do_in_the_snn():
    """2 MACs for each of 3 * 16 values, once in the ANN and at every step in the SNN."""
    report = get_model_syops(Steps(), torch.rand(2, 1, 4, 4), fold_bn=False)
    assert report.mac == STEM + 4 * 2 * 48
    assert report.ann.mac == STEM + CONV + FC + 2 * 48


def test_the_ann_follows_select(stepping):
    """Neurons: 2 * 16 and 3 * 16, updated once in the ANN, 4 times in the SNN."""
    chosen = stepping.select(["conv", "neuron"])
    assert chosen.mac == STEM + 4 * 80
    assert chosen.ann.mac == STEM + CONV + 80
    assert chosen.energy_ratio == pytest.approx(chosen.dc_mj / (4.6e-9 * (STEM + CONV + 80)))


def test_the_bounds_know_the_ann_and_the_break_even_rate(stepping):
    """E_ann = E_mac * stem + E_ac * r * 4 * (conv + fc)."""
    bounds = get_model_bounds(Steps(), (2, 1, 4, 4), input_signal="analog")
    expected = 4.6 * (CONV + FC) / (0.9 * 4 * (CONV + FC))
    assert bounds.break_even_rate == pytest.approx(expected)
    assert stepping.break_even_rate == pytest.approx(expected)
    assert bounds.ann.rows == stepping.ann.rows
    assert bounds.mean_rate is bounds.energy_ratio is None


@pytest.mark.parametrize("steps", [1, 2, 6, 40])
def test_below_the_break_even_rate_the_snn_needs_less(steps):
    torch.manual_seed(steps)
    report = get_model_syops(Steps(steps), torch.rand(3, 1, 4, 4))
    assert report.mean_rate == pytest.approx(report.ac / report.dense_ac)
    assert (report.mean_rate < report.break_even_rate) == (report.energy_ratio < 1)
    ann, low = report.ann.dc_mj, report.ec_mj[0]
    at_break_even = low + 0.9e-9 * report.break_even_rate * report.dense_ac
    assert at_break_even == pytest.approx(ann)


def test_the_mean_rate_is_that_of_synapses_whatever_else_is_selected(stepping):
    assert stepping.select(KINDS).mean_rate == stepping.mean_rate
    assert stepping.select("norm").mean_rate is None


def test_without_t_there_is_no_ann():
    report = get_model_syops(nn.Linear(4, 2), IMAGE)
    assert report.ann is report.ann_mac is report.energy_ratio is report.break_even_rate is None
    assert Report.from_json(report.to_json()) == report


def test_weights_that_are_moved_stay_weights_in_the_ann():
    class Two(nn.Module):
        T = 1

        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Parameter(torch.ones(4, 2)), nn.Parameter(torch.ones(2, 4))
            self.register_buffer("state", torch.zeros(2, 2))

        def forward(self, x):
            for weight in (self.a, self.b.t()):
                y = x @ weight
            self.state.add_(y)
            return self.state @ y

    report = get_model_syops(Two(), IMAGE)
    assert [(row.kind, row.weight) for row in report.ann.rows if row.kind != "add"] == [
        ("linear", "a"),
        ("linear", "b"),
        ("matmul", ""),
    ]
    assert {row.key for row in report.ann.rows} == {row.key for row in report.rows}


# Full-spike


class Ends(nn.Module):
    """A stem and a classifier that get analog values, and ``middle`` between spikes."""

    def __init__(self, middle):
        super().__init__()
        self.stem, self.middle, self.fc = nn.Linear(4, 4), middle, nn.Linear(4, 2)
        self.sn1, self.sn2 = neuron.IFNode(), neuron.IFNode()

    def forward(self, x):
        return self.fc(self.sn2(self.middle(self.sn1(self.stem(x)))) / 3 + x)


class Residual(nn.Linear):
    def forward(self, x):
        return super().forward(x + x)


class Added(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.b(self.a(x))


@pytest.mark.parametrize(
    ("model", "offending", "kind"),
    [
        (Ends(nn.Linear(4, 4)), [], "FSNN"),
        (Ends(Residual(4, 4)), [], "FSNN"),  # {0, 2}: one magnitude
        (Ends(Added()), ["middle.b"], "MPSNN"),
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), [], "ANN"),
        (nn.Sequential(nn.Linear(4, 4), Added(), nn.Linear(4, 2)), ["1.a", "1.b"], "ANN"),
        (nn.ReLU(), [], "ANN"),
    ],
)
def test_what_kind_of_network_it_is(model, offending, kind):
    for report in (
        get_model_syops(model, torch.randn(3, 4)),
        get_model_bounds(model, torch.randn(3, 4)),
        get_model_bounds(model, (3, 4), input_signal="analog").select("neuron"),
    ):
        assert [layer.name for layer in report.offending] == offending
        assert report.full_spike is (not offending)
        assert report.network_type == kind
    audit = check_full_spike(model, (3, 4))
    assert [row.layer for row in audit.offending] == offending


# Accuracy


def test_accuracy_is_a_share_and_is_kept(report):
    known = replace(report, accuracy=0.75)
    assert Report.from_json(known.to_json()).accuracy == 0.75
    assert json.loads(report.to_json())["accuracy"] is None
    with pytest.raises(SyopsValueError, match="accuracy must be a share between 0 and 1, got 71"):
        replace(report, accuracy=71)
    for wrong in (float("nan"), "0.7", -0.1):
        with pytest.raises(SyopsValueError, match="accuracy"):
            replace(report, accuracy=wrong)


def test_merged_accuracy_is_that_of_all_samples(report):
    one = replace(report, accuracy=0.5)
    two = replace(get_model_syops(net(), IMAGE.repeat(3, 1), time_steps=1), accuracy=0.9)
    assert one.merge(two).accuracy == two.merge(one).accuracy == pytest.approx(0.8)
    assert one.merge(replace(two, accuracy=0.5)).accuracy == 0.5
    assert one.merge(replace(two, accuracy=None)).accuracy is None
