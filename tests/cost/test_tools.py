"""Conventions of other tools, against the tools that are installed, and by hand."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from benchmarks.peer_networks import CASES
from syops import count_syops, get_model_bounds, get_model_syops
from syops.cost.tools import TOOLS
from syops.errors import SyopsValueError
from syops.report.report import Report

peers = pytest.importorskip("benchmarks.conventions", reason="sinabs or op_counter is missing")


@pytest.mark.parametrize("tool", ["spikingjelly", "sinabs"])
@pytest.mark.parametrize("name", CASES)
def test_figures_are_the_tools(name, tool):
    """spikingjelly's as integers, the float32 sums of sinabs to 1e-7 of the dense count."""
    found = peers.compared(name, tool)
    assert found.fits, found
    assert sum(map(abs, found.theirs)) > 0


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["syops-0.0.5", "neurobench"])
@pytest.mark.parametrize("name", CASES)
def test_figures_are_those_of_downloaded_tools(name, tool):
    found = peers.compared(name, tool)
    assert found.fits, found


class Two(nn.Module):
    """Two layers by hand: 2 x 2 weights of which one is 0, then 2 x 3."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu, self.last = nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 3, bias=False)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, -1.0]]))
            self.first.bias.zero_()

    def forward(self, x):
        return self.last(self.relu(self.first(x)))


SPIKES = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
"""The first layer sends [[1, 1], [1, 0]], which is binary again."""


@pytest.fixture(scope="module")
def report():
    return get_model_syops(Two(), SPIKES, values=True)


def test_neurobench_skips_zero_weights(report):
    """Entry 0 fires twice and has 2 weights, entry 1 once and has 1; then 3 spikes x 3."""
    seen = report.under("neurobench")
    assert (seen.totals.ac, seen.totals.mac) == (2 * 2 + 1 + 9, 0)


def test_version_005_multiplies_operations_by_a_rate(report):
    """(4 · 2 + 2 biases) · 3/4; ReLU: 4 elements, and 2/2 in the first sample; 4 · 3 · 3/4."""
    seen = report.under("syops-0.0.5")
    assert (seen.totals.ac, seen.totals.mac) == (7.5 + 4 + 9, 0)
    assert {layer.kind for layer in seen.layers} == {"linear", "activation"}
    assert seen.ann is None
    assert seen.under("dst") == report


def test_version_005_takes_two_values_for_spikes():
    with pytest.raises(
        SyopsValueError, match="'syops-0.0.5' needs a count on data with values=True"
    ):
        get_model_syops(Two(), SPIKES / 2).under("syops-0.0.5")
    halves = get_model_syops(Two(), SPIKES / 2, convention="syops-0.0.5")
    assert halves.layers[0].signal == "two"
    assert halves.totals.ac == 10 * 0.375 + 4 * 0.5 + 12 * 0.375
    assert halves.under("dst").mac == (8 + 12) / 2


def test_a_call_is_classed_alone():
    """{0, 1} in one call and {0, 2} in the next: graded in all for syops, each of its own there."""
    network = nn.Linear(2, 3)
    report = get_model_syops(network, [SPIKES, SPIKES * 2], values=True)
    seen = report.under("spikingjelly")
    assert (seen.totals.ac, seen.totals.mac) == (9, 12)
    assert report.totals.mac == 24


def test_negative_inputs_subtract_in_sinabs():
    report = get_model_syops(nn.Linear(2, 3), torch.tensor([[1.0, -1.0]]), convention="sinabs")
    assert (report.ac, report.under("exact").ac) == (0, 6)


@pytest.mark.parametrize("padding", ["same", 1])
def test_padding_that_repeats_entries_has_them_reach_more(padding):
    """A kernel of ones sums up how many ones of an input reach a position; sinabs pads zeros."""
    layer = nn.Conv2d(1, 3, (4, 3), padding=padding, padding_mode="reflect", bias=False)
    nn.init.ones_(layer.weight)
    x = (torch.rand(2, 1, 6, 5, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    network = nn.Sequential(layer)
    report = get_model_syops(network, x, values=True, zeros=True)
    assert report.under("neurobench").totals.ac == report.zeros().effective_ac * 2 == layer(x).sum()
    if padding == 1:  # a word means nothing to sinabs
        assert report.under("sinabs").ac == peers.sinabs(network, [x])[0] != report.ac_events


def test_loops_of_the_callers():
    network = nn.Linear(2, 3)
    with count_syops(network, time_steps=2, convention="spikingjelly") as count:
        for _ in range(2):
            network(SPIKES)
    assert count.report.totals.ac == 18


def test_reports_keep_what_calls_look_like(report):
    again = Report.from_json(report.to_json())
    assert again == report
    both = report.merge(again)
    for tool in TOOLS:
        assert again.under(tool).totals == report.under(tool).totals
        assert both.under(tool).ac == pytest.approx(report.under(tool).ac)
    content = json.loads(report.to_json())
    content["modules"][0]["look"] = "odd"
    with pytest.raises(SyopsValueError, match="look must be"):
        Report.from_json(json.dumps(content))


def test_nothing_else_changes(report):
    plain = get_model_syops(Two(), SPIKES)
    assert plain.totals == report.totals
    assert plain.modules == ()
    with pytest.raises(SyopsValueError, match="needs a count on data"):
        get_model_bounds(Two(), (1, 2), convention="neurobench")
    assert report.under("neurobench").memory().rows == report.memory().rows
