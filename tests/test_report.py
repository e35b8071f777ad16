"""`Report`: forms, merging and selecting, on networks whose counts are known by hand."""

from __future__ import annotations

import json
from fractions import Fraction

import pandas as pd
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

from syops import Report, get_model_syops
from syops.errors import SyopsValueError
from syops.report import COLUMNS

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


def test_the_frame_has_the_documented_columns(report):
    frame = report.to_frame()
    assert tuple(frame.columns) == COLUMNS
    assert list(frame.kind) == ["linear", "norm", "neuron", "linear", "norm"]
    assert frame.folded[1] == "0"
    totals = report.to_frame(totals=True)
    assert totals.ac[0] == Fraction(18)
    assert totals.ac_events[0] == 18
    assert totals.mac.sum() - totals.mac[2] == report.totals.mac
    assert isinstance(totals, pd.DataFrame)


def test_json_gives_the_same_report_back(report):
    again = Report.from_json(report.to_json())
    assert again == report
    assert again.to_json() == report.to_json()
    content = json.loads(report.to_json())
    assert content["conventions"]["fold_bn"] is True
    assert content["energy"]["e_mac_pj"] == 4.6
    assert content["versions"]["torch"] == torch.__version__
    assert content["totals"]["ac"] == str(report.totals.ac)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a syops report"),
        ("[1, 2]", "not a syops report"),
        ('{"schema": 999}', "schema version 999"),
        ('{"schema": 1, "model": "x"}', "damaged"),
    ],
)
def test_what_is_no_report_is_refused(text, words):
    with pytest.raises(SyopsValueError, match=words):
        Report.from_json(text)


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
    with pytest.raises(SyopsValueError, match="conventions"):
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
    assert report.layers[0].energy_mj == report.dc_mj


def test_rows_of_one_module_are_told_apart():
    class Attention(nn.Module):
        def forward(self, q):
            return (q @ q.mT) @ q

    names = [layer.name for layer in get_model_syops(Attention(), IMAGE).layers]
    assert names == ["Attention:matmul#1", "Attention:matmul#2"]
