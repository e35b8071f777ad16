"""Baselines: a network of two layers by hand, and Eq. (6) where both say the same."""

from __future__ import annotations

import json

import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

from syops import MemoryModel, get_model_bounds, get_model_syops
from syops.cost.baselines import qnn_bits
from syops.errors import SyopsTypeError, SyopsValueError
from tests.support.reports import FIXED

FREE = MemoryModel(points=((0, 1.0),))
"""A pJ for each byte, wherever it comes from."""


class TwoLayers(nn.Module):
    """At each of 2 steps: 4 inputs, 3 neurons that pass the first 3 on, 2 outputs."""

    T = 2

    def __init__(self):
        super().__init__()
        self.fc1, self.sn = nn.Linear(4, 3, bias=False), neuron.IFNode(v_threshold=1.0)
        self.fc2 = nn.Linear(3, 2)
        self.fc1.weight.data = torch.eye(3, 4)

    def forward(self, x):
        return sum(self.fc2(self.sn(self.fc1(step))) for step in x)


SPIKES = torch.tensor([[[1.0, 1, 0, 1]], [[1.0, 0, 0, 0]]])
"""[T, N, C]: 4 spikes arrive at fc1 and 3 at fc2, which is 4 · 3 + 3 · 2 = 18 ACs."""


@pytest.fixture(scope="module")
def report():
    return get_model_syops(TwoLayers(), SPIKES, batch_dim=1)


def test_two_layers_by_hand(report):
    # The ANN does 12 + 6 MACs. At rate 1 there are 2 · 18 ACs at 0.9 pJ, at rate 0 nothing.
    assert report.ac == 18
    baselines = report.baselines(nonzero=0.25, memory=FREE)
    assert [row.name for row in baselines.rows[:4]] == [
        *("fp32 ANN", "int8 ANN"),
        *("2-bit QNN, from fp32", "2-bit QNN, from int8"),
    ]
    macs = [4.6, 0.23, 3.7 / 256 + 0.9 / 16, 0.2 / 16 + 0.03 / 4]
    assert [row.mac_pj for row in baselines.rows] == pytest.approx([*macs, *macs], rel=1e-12)
    energies = [18 * mac for mac in macs] + [18 * mac * 0.25 for mac in macs]
    assert [row.energy_mj * 1e9 for row in baselines.rows] == pytest.approx(energies)
    rates = [energy / 32.4 for energy in energies]
    assert [row.break_even_rate for row in baselines.rows] == pytest.approx(rates)
    assert [row.ratio for row in baselines.rows] == pytest.approx([16.2 / e for e in energies])
    assert baselines.spikes_per_synapse == 18 / 18


def test_two_layers_with_memory_by_hand(report):
    # The ANN reads 18 weights and 4 + 3 inputs and writes 3 + 2 outputs; it has no states.
    accesses = 18 + 7 + 5
    # The SNN reads and writes 3 states of 4 bytes at each step; for each AC it reads a weight and
    # reads and writes a potential; each spike is written and read as a message of 4 bytes.
    silent, dense, counted = 48, 48 + 36 * 12 + 14 * 8, 48 + 18 * 12 + 7 * 8
    baselines = report.baselines(nonzero=0.5, memory=FREE)
    for row, width in zip(baselines.rows[:4], (4, 1, 1, 1), strict=True):
        total = 18 * row.mac_pj + accesses * width
        assert row.memory_mj * 1e9 == pytest.approx(total)
        assert row.memory_ratio == pytest.approx((counted + 16.2) / total)
        even = (total - silent) / (dense + 32.4 - silent)
        assert row.memory_break_even_rate == pytest.approx(even)
    for row in baselines.rows[4:]:
        assert row.memory_mj is row.memory_ratio is row.memory_break_even_rate is None


def test_norms_are_not_skipped():
    """MACs of a norm that is not folded do not depend on zeros of activations."""
    report = get_model_bounds(nn.Sequential(nn.ReLU(), nn.LayerNorm(5)), (1, 5), time_steps=1)
    fp32, *_, skipping = report.baselines(nonzero=0.1).rows
    assert fp32.energy_mj * 1e9 == pytest.approx(10 * 4.6)
    assert skipping.energy_mj * 1e9 == pytest.approx(10 * skipping.mac_pj)


def test_fp32_ann_is_that_of_equation_6(report):
    for counted in (report, get_model_bounds(TwoLayers(), SPIKES, batch_dim=1)):
        fp32 = counted.baselines().rows[0]
        assert fp32.ratio == pytest.approx(counted.energy_ratio)
        assert fp32.break_even_rate == pytest.approx(counted.break_even_rate)
        assert fp32.memory_ratio == pytest.approx(counted.memory().energy_ratio)
        assert fp32.memory_break_even_rate == pytest.approx(counted.memory().break_even_rate)


def test_without_a_price_or_data_nothing_is_made_up(report):
    without_price = FIXED.priced("loihi")
    assert without_price.ann_rows is None
    with pytest.raises(SyopsValueError, match="time_steps=T"):
        without_price.baselines()
    stem = get_model_syops(TwoLayers(), SPIKES + 0.5, batch_dim=1, energy="loihi")
    for row in stem.baselines().rows:
        assert row.energy_mj > 0
        assert row.ratio is row.break_even_rate is row.memory_ratio is None
    bounds = get_model_bounds(TwoLayers(), (2, 1, 4), batch_dim=1, input_signal="binary")
    assert bounds.baselines().spikes_per_synapse is None
    assert bounds.baselines().rows[1].ratio is None
    even = report.baselines().rows[1].break_even_rate
    assert bounds.baselines().rows[1].break_even_rate == pytest.approx(even)


@pytest.mark.parametrize(
    ("share", "error", "said"),
    [(1.5, SyopsValueError, "between 0 and 1, got 1.5"), ("much", SyopsTypeError, "got 'much'")],
)
def test_a_share_that_is_none(report, share, error, said):
    with pytest.raises(error, match=said):
        report.baselines(nonzero=share)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 8, 255, 256, 2**40 - 1, 2**40])
def test_bits_of_a_qnn_tell_all_counts_of_spikes_apart(steps):
    assert 2 ** (qnn_bits(steps) - 1) < steps + 1 <= 2 ** qnn_bits(steps)


def test_baselines_in_text_and_json(report):
    baselines = report.baselines(nonzero=0.5)
    text = str(baselines)
    assert "Spikes per synapse and sample: 1" in text
    assert "The SNN (horowitz45-fp32): 16.2 pJ" in text
    told = json.loads(baselines.to_json())
    assert told["spikes_per_synapse"] == 1.0
    assert [row["nonzero"] for row in told["rows"]] == [1.0] * 4 + [0.5] * 4
    priced = report.priced("horowitz45-int8").baselines()
    assert any("Eq. (6)" in note for note in priced.notes)
    assert "2-bit QNN" in priced.to_page()
