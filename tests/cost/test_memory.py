"""The memory model: accesses counted by hand and by brute force, costs by closed formulas."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

from syops import MemoryModel, Report, get_model_bounds, get_model_syops
from syops.cost.traffic import itemsize
from syops.errors import SyopsTypeError, SyopsValueError
from syops.ops.kinds import KINDS

FREE = MemoryModel(points=((0, 1.0),))
"""A pJ for each byte, wherever it comes from."""


class Net(nn.Module):
    """At each of T steps: a convolution on spikes, whose neuron has two states."""

    def __init__(self, steps=3):
        super().__init__()
        self.T = steps
        self.stem = nn.Conv2d(1, 2, 3, padding=1, stride=2)
        self.sn1 = neuron.IFNode(v_threshold=0.3)
        self.conv = nn.Conv2d(2, 4, 3, padding=1, groups=2, bias=False)
        self.sn2 = neuron.IzhikevichNode()
        self.norm, self.fc = nn.LayerNorm(36), nn.Linear(36, 5)

    def forward(self, x):
        x = self.stem(x)
        total = 0
        for _ in range(self.T):
            total = total + self.sn2(self.conv(self.sn1(x))).flatten(1)
        return self.fc(self.norm(total / self.T))


@pytest.fixture(scope="module")
def counted() -> tuple[Report, torch.Tensor]:
    """The report of 2 samples, and the spikes that reached the convolution: [T · 2, 2, 3, 3]."""
    torch.manual_seed(1)
    model, seen = Net(), []
    model.sn1.register_forward_hook(lambda module, args, spikes: seen.append(spikes))
    report = get_model_syops(model, torch.rand(2, 1, 6, 6))
    return report, torch.cat(seen)


def test_memory_notes_omitted_operations(counted):
    report = replace(counted[0].priced("loihi"), unaccounted={"aten.foo at stem": 2})
    notes = report.memory().notes
    assert "Not counted, as syops has no rule for it: aten.foo at stem, called 2 times" in notes
    assert [warning.kind for warning in report.warnings] == ["incomplete", "ends", "unpriced"]
    said = tuple(f"Warning: {warning}" for warning in report.warnings)
    *warnings, twice = report.memory().table().warnings
    assert tuple(warnings) == said
    assert twice.endswith("some of it is counted twice")
    assert report.memory().table().total[0] == "total (incomplete)"
    assert counted[0].memory().table().warnings == ()


def fan_outs(spikes: torch.Tensor) -> int:
    """Synapses of a 3x3 convolution with padding 1, 2 output channels an input channel."""
    reached = 0
    for _, _, y, x in spikes.nonzero().tolist():
        for dy, dx in itertools.product((-1, 0, 1), repeat=2):
            reached += 2 * (0 <= y + dy < 3 and 0 <= x + dx < 3)
    return reached


def accesses(report: Report, path: str) -> dict[str, tuple[float | None, float | None]]:
    (row,) = (row for row in report.memory().rows if row.path == path)
    named = zip(("weights", "inputs", "states", "outputs"), row.accesses, strict=True)
    return {name: (a.reads, a.writes) for name, a in named if (a.reads, a.writes) != (0, 0)}


def test_every_access_is_counted(counted):
    report, spikes = counted
    arrived, reached = int(spikes.sum()) / 2, fan_outs(spikes) / 2
    assert 0 < arrived < 54
    macs = 2 * 9 * 9  # of the stem: 2 channels, 3x3 kernel, 3x3 outputs
    assert accesses(report, "stem") == {
        "weights": (macs, 0),
        "inputs": (macs, 0),
        "outputs": (0, 18),
    }
    assert accesses(report, "conv") == {
        "weights": (reached, 0),
        "inputs": (arrived, arrived),
        "states": (reached, reached),
    }
    assert accesses(report, "sn1") == {"states": (3 * 18, 3 * 18)}
    assert accesses(report, "sn2") == {"states": (3 * 2 * 36, 3 * 2 * 36)}
    assert accesses(report, "norm") == {"weights": (72, 0), "inputs": (36, 0), "outputs": (0, 36)}
    assert accesses(report, "fc") == {"weights": (180, 0), "inputs": (36, 0), "outputs": (0, 5)}


def test_buffer_sizes(counted):
    """Those of one sample and one step: 4 bytes each."""
    report, _ = counted
    rows = {row.path: row for row in report.memory().rows}
    sizes = {path: tuple(a.buffer // 4 for a in row.accesses) for path, row in rows.items()}
    assert sizes == {
        "stem": (18, 36, 0, 18),
        "sn1": (0, 0, 18, 0),
        "conv": (36, 1000, 36, 0),
        "sn2": (0, 0, 72, 0),
        "norm": (72, 36, 0, 36),
        "fc": (180, 36, 0, 5),
    }
    rows = replace(report, ann_rows=None).memory().rows  # an equal share of T = 3 steps
    shared = {row.path: tuple(a.buffer // 4 for a in row.accesses) for row in rows}
    assert shared["conv"] == sizes["conv"]
    assert shared["sn2"] == sizes["sn2"]
    assert shared["stem"] == (18, 12, 0, 6)
    other = report.memory(MemoryModel(queue=8, message_bytes=2)).rows[2].inputs
    assert (other.buffer, other.bytes_each) == (16, 2)


def test_the_energy_is_the_sum_of_bytes_times_their_price(counted):
    report, spikes = counted
    free = report.memory(FREE)
    assert free.energy_mj == pytest.approx(free.bytes / 1e9)
    reached, arrived = fan_outs(spikes) / 2, int(spikes.sum()) / 2
    # 8 KiB cost 1.25 pJ a byte, nothing costs nothing: 36 floats are 144 bytes, a queue 4000.
    small = 1.25 / 8192
    conv = 4 * (3 * reached * 144 * small + 2 * arrived * 4000 * small)
    (row,) = (row for row in report.memory().rows if row.path == "conv")
    assert row.energy_mj == pytest.approx(conv / 1e9)
    memory = report.memory()
    assert memory.energy_mj == pytest.approx(sum(row.energy_mj for row in memory.rows))
    assert memory.total_mj == pytest.approx(memory.energy_mj + report.dc_mj)
    assert report.dc_mj == report.priced(report.energy).dc_mj  # no part of it


def test_memory_energy_at_firing_rates_0_and_1(counted):
    """Dense layers and neurons in any case; at rate 1 the convolution's 3 · 54 spikes and MACs."""
    report, spikes = counted
    memory = report.memory(FREE)
    conv = 4 * (3 * fan_outs(spikes) / 2 + 2 * int(spikes.sum()) / 2)
    low, high = memory.ec_mj
    assert low == pytest.approx(memory.energy_mj - conv / 1e9)
    dense = 3 * 4 * 9 * 9  # T · channels · kernel · outputs
    assert high == pytest.approx(low + 4 * (3 * dense + 2 * 3 * 18) / 1e9)


def test_memory_of_bounds_is_an_interval(counted):
    report, _ = counted
    bounds = get_model_bounds(Net(), (2, 1, 6, 6), input_signal="analog").memory()
    assert bounds.ec_mj == report.memory().ec_mj
    assert bounds.energy_mj is bounds.total_mj is bounds.energy_ratio is bounds.bytes is None
    assert bounds.break_even_rate == report.memory().break_even_rate
    rows = {row.path: row for row in bounds.rows}
    assert rows["stem"].weights.reads == 162
    assert rows["conv"].weights.reads is rows["conv"].bytes is rows["conv"].energy_mj is None
    assert "firing rates from 0 to 1" in str(bounds)


def test_the_ann_reads_every_weight_for_every_mac_and_keeps_no_states(counted):
    report, _ = counted
    ann = report.memory(FREE).ann
    conv = 4 * 9 * 9
    assert accesses(report.ann, "conv") == {
        "weights": (conv, 0),
        "inputs": (conv, 0),
        "outputs": (0, 36),
    }
    assert [row.path for row in ann.rows] == ["stem", "conv", "norm", "fc"]
    stem, norm, fc = 162 * 2 + 18, 72 + 72, 180 + 36 + 5
    assert ann.bytes == 4 * (stem + 2 * conv + 36 + norm + fc)
    memory = report.memory(FREE)
    assert memory.energy_ratio == pytest.approx(memory.total_mj / ann.total_mj)
    even = memory.break_even_rate
    ends = [a + b for a, b in zip(memory.ec_mj, report.ec_mj, strict=True)]
    assert ends[0] + even * (ends[1] - ends[0]) == pytest.approx(ann.total_mj)


def test_memory_of_merged_and_loaded_reports(counted):
    report, _ = counted
    again = Report.from_json(report.to_json())
    assert again.memory() == replace(report.memory(), report=again)
    twice = report.merge(report)
    assert twice.memory().energy_mj == report.memory().energy_mj
    assert twice.memory().bytes == report.memory().bytes


def test_selected_kinds_are_those_of_the_report(counted):
    report, _ = counted
    rows = report.select(["conv"]).memory().rows
    assert [row.path for row in rows] == ["stem", "sn1", "conv", "sn2"]
    assert len(report.select(KINDS).memory().rows) == len(report.memory().rows)


def test_product_of_two_spike_tensors_reads_the_first_as_events():
    """q reaches a row of k for each of its spikes; a state changes where both have one."""

    class Attention(nn.Module):
        T = 1

        def forward(self, q, k):
            return (q @ k) @ torch.full((3, 2), 0.3)

    q, k = (torch.tensor([[[1.0, 0, 1], [0, 0, 1]]]), torch.eye(3)[None])
    report = get_model_syops(Attention(), (q, k))
    (pair, _) = report.memory().rows
    assert (pair.weights.reads, pair.states.reads, pair.inputs.reads) == (3 * 3, 3, 3 + 3)
    assert pair.weights.buffer == 4 * 9
    both = get_model_syops(Attention(), (q.repeat(2, 1, 1), k.repeat(2, 1, 1))).memory().rows[0]
    assert (both.weights.reads, both.weights.buffer) == (9, 4 * 9)  # of one sample


def test_product_of_spikes_and_analog_reads_the_analog_as_weights():
    class Mixed(nn.Module):
        T = 1

        def forward(self, x, s):
            return x @ s

    x, s = torch.randn(1, 2, 3), torch.ones(1, 3, 5)
    (row,) = get_model_syops(Mixed(), (x, s)).memory().rows
    assert (row.weights.reads, row.states.writes) == (15 * 2, 15 * 2)
    assert (row.weights.buffer, row.states.buffer) == (4 * 6, 4 * 10)


def test_a_recorded_potential_is_no_state():
    model = nn.Sequential(neuron.IFNode(step_mode="m", store_v_seq=True))
    x = torch.rand(4, 1, 3)
    (row,) = get_model_syops(model, x, batch_dim=1, time_steps=4).memory().rows
    assert (row.states.reads, row.states.buffer) == (12, 4 * 3)


def test_a_graded_spike_is_read_once_whatever_its_size():
    model = nn.Linear(4, 3)
    model.T = 1
    report = get_model_syops(model, torch.tensor([[0.0, 2, 3, 0]]), graded="ac")
    assert report.ac_events == 5 * 3
    (row,) = report.memory().rows
    assert (row.weights.reads, row.inputs.reads, row.states.writes) == (6, 2, 6)
    dense = get_model_syops(model, torch.tensor([[0.0, 2, 3, 0]])).memory().rows[0]
    assert (dense.weights.reads, dense.inputs.reads, dense.outputs.writes) == (12, 4, 3)


def test_half_precision_needs_half_as_much():
    net = nn.Sequential(nn.Linear(4, 3)).half()
    x = torch.ones(1, 4, dtype=torch.float16)
    (row,) = get_model_syops(net, x, input_signal="analog").memory(FREE).rows
    assert row.bytes == 2 * (12 + 4 + 3)


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("float32", 4), ("bfloat16", 2), ("float8_e4m3fn", 1), ("int8", 1), ("bool", 1), ("mixed", 4)],
)
def test_the_size_of_an_element(dtype, size):
    assert itemsize(dtype) == size


def test_memory_needs_sizes_in_the_report():
    report = get_model_syops(Net(), torch.rand(1, 1, 6, 6))
    report = replace(report, time_steps=None, ann_rows=None)
    memory = report.memory()
    assert memory.ann is memory.energy_ratio is None
    assert "T is not known" in str(memory)
    assert "loihi is more than arithmetic" in " ".join(
        report.priced("loihi").memory().to_text().split()
    )


# Costs


def test_the_cost_of_a_byte_lies_on_straight_lines():
    model = MemoryModel()
    kib = 1024
    assert [model.pj_per_byte(n * kib) for n in (0, 4, 8, 20, 32, 1024, 9999)] == [
        *(0, Fraction("0.625"), Fraction("1.25"), Fraction("1.875"), Fraction("2.5")),
        *(Fraction("12.5"), Fraction("12.5")),
    ]
    assert model.pj_per_byte(528 * kib) == Fraction("7.5")
    assert MemoryModel(points=((10, 2), (20, 4))).pj_per_byte(3) == 2


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"points": ()}, SyopsValueError),
        ({"points": ((0, -1),)}, SyopsValueError),
        ({"points": ((0, float("nan")),)}, SyopsValueError),
        ({"points": ((8, 1), (8, 2))}, SyopsValueError),
        ({"points": ((8, 1), (4, 2))}, SyopsValueError),
        ({"points": (1, 2)}, SyopsTypeError),
        ({"points": (("a", 2),)}, SyopsTypeError),
        ({"points": None}, SyopsTypeError),
        ({"queue": -1}, SyopsValueError),
        ({"bits": 12}, SyopsValueError),
        ({"message_bytes": 1.5}, SyopsValueError),
    ],
)
def test_invalid_memory_models(arguments, error):
    with pytest.raises(error, match="memory model"):
        MemoryModel(**arguments)


# Against spikingjelly's implementation of the paper


def test_spikingjellys_lemaire_model_agrees_where_it_counts_the_same():
    """On fully-connected layers all weights and states are the paper's: it reads 4 bytes at the
    price of 8. The paper writes a spike where it is made, we where it is read."""
    op_counter = pytest.importorskip(
        "spikingjelly.activation_based.op_counter", reason="this spikingjelly has no op_counter"
    )
    torch.manual_seed(0)
    layers = [
        layer
        for sizes in itertools.pairwise((700, 900, 300, 300, 10))
        for layer in (nn.Linear(*sizes, bias=False), neuron.IFNode(v_threshold=0.05))
    ]
    model, x = nn.Sequential(*layers), (torch.rand(1, 700) < 0.3).float()
    theirs = op_counter.estimate_lemaire_energy(model, x)
    for layer in model:
        if isinstance(layer, neuron.IFNode):
            layer.reset()
    report = get_model_syops(model, x, time_steps=1)
    ours = report.memory()
    assert 4 * sum(row.weights.reads for row in ours.rows) == theirs.counts["read_params_bytes"]
    assert 4 * sum(row.states.reads for row in ours.rows) == theirs.counts["read_potential_bytes"]
    assert 4 * sum(row.states.writes for row in ours.rows) == theirs.counts["write_potential_bytes"]
    assert 4 * sum(row.inputs.reads for row in ours.rows) == theirs.counts["read_in_bytes"]
    twice = MemoryModel(points=tuple((size, 2 * cost) for size, cost in MemoryModel().points))
    parts = ("weights", "states")
    weights, states = (
        sum(
            getattr(row, part).bytes * twice.pj_per_byte(getattr(row, part).buffer)
            for row in ours.rows
        )
        for part in parts
    )
    assert float(weights) == pytest.approx(theirs.breakdown_pj["params_pj"])
    assert float(states) == pytest.approx(theirs.breakdown_pj["potential_pj"])
