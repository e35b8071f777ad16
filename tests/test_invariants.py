"""What a run measures lies between the ends that were foretold without data."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_soundness import examples
from torch import Tensor, nn

from syops import check_full_spike, get_model_bounds, get_model_syops
from syops.energy import EnergyModel


@torch.library.custom_op("invariants::passes", mutates_args=())
def passes(x: Tensor) -> Tensor:
    """An operator that nobody has a rule for, and that hands spikes on."""
    return x.clone()


@passes.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


INPUTS = {
    "analog": lambda shape: torch.rand(shape) + 0.1,
    "binary": lambda shape: (torch.rand(shape) < 0.4).float(),
    "ternary": lambda shape: torch.randint(-1, 2, shape).float(),
    "graded": lambda shape: torch.randint(0, 9, shape).float(),
    "zeros": torch.zeros,
    "bytes": lambda shape: torch.randint(0, 256, shape, dtype=torch.uint8),
    "bools": lambda shape: torch.rand(shape) < 0.4,
}
"""What the data may be, beside what is said of it."""

SAID = {
    "analog": ("analog", "auto"),
    "binary": ("binary", "ternary", "graded", "analog", "auto"),
    "ternary": ("ternary", "graded", "auto"),
    "graded": ("graded", "auto"),
    "zeros": ("binary", "ternary", "graded", "analog", "auto"),
    "bytes": ("graded", "auto"),
    "bools": ("binary", "auto"),
}

STEPS = {
    "custom": lambda x: passes(x),
    "threshold": lambda x: (x > 0.3).float(),
    "sum of spikes": lambda x: (x > 0.3).float() + (x > 0.1).float(),
    "moved": lambda x: x.flip(0),
    "one half": lambda x: x * 0.5,
    "rounded": lambda x: x.round(),
    "sign": lambda x: x.sign(),
    "relu": lambda x: x.relu(),
    "part": lambda x: torch.cat([x[:, :2], passes(x[:, 2:])], 1),
}


class Net(nn.Module):
    """Layers with steps between them, the last ones at every time-step; a product of two."""

    def __init__(self, steps: list[str], loops: int) -> None:
        super().__init__()
        self.steps, self.loops = steps, loops
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        outs = []
        for _ in range(self.loops):
            y = x
            for place, step in enumerate(self.steps):
                y = STEPS[step](y)
                if place % 2:
                    outs.append(self.last(y))
                    y = self.first(y)
            outs.append(self.last(y) + (y @ x.transpose(0, 1)) @ self.last(x))
        return torch.stack([out.sum() for out in outs])


def rows_of(report):
    return {row.key: layer for row, layer in zip(report.rows, report.layers, strict=True)}


def assert_within(run, bounds):
    """DC in EC, in all and row by row, and as many ACs and MACs as were foretold at most."""
    low, high = bounds.ec_mj
    assert low * (1 - 1e-9) <= run.dc_mj <= high * (1 + 1e-9)
    ends = rows_of(bounds)
    for key, layer in rows_of(run).items():
        end = ends[key]
        assert end.ec_mj[0] * (1 - 1e-9) <= layer.energy_mj <= end.ec_mj[1] * (1 + 1e-9), key
        assert layer.ac <= end.dense_ac * (1 + 1e-9), key
        assert layer.mac <= end.mac * (1 + 1e-9), key
        if layer.kind in ("linear", "matmul") and layer.signal != "graded":
            assert layer.ac_events <= layer.dense * (1 + 1e-9), key


@examples(60)
@given(
    st.lists(st.sampled_from(sorted(STEPS)), max_size=5),
    st.sampled_from([(what, said) for what, names in SAID.items() for said in names]),
    st.sampled_from(["mac", "ac"]),
    st.sampled_from(["rate", "events"]),
    st.sampled_from([(0.9, 4.6), (3.0, 1.0)]),
    st.integers(1, 2),
)
def test_what_is_measured_lies_within_the_bounds(steps, inputs, graded, ac, prices, loops):
    what, said = inputs
    net = Net(steps, loops)
    energy = EnergyModel("some", e_ac_pj=prices[0], e_mac_pj=prices[1])
    common = {"input_signal": said, "graded": graded, "energy": energy}
    torch.manual_seed(0)
    batches = [INPUTS[what]((5, 6)), INPUTS[what]((5, 6))]
    run = get_model_syops(net, batches[0], ac=ac, **common)
    both = get_model_syops(net, [(b,) for b in batches], ac=ac, **common)
    bounds = get_model_bounds(net, batches[0], **common)
    for report in (run, both, run.merge(run)):
        assert_within(report, bounds)
    audit = check_full_spike(net, batches[0], input_signal=said, allow=())
    for row, layer in zip(audit.rows, [v for v in run.layers if v.signal], strict=True):
        assert row.verdict != "spike" or layer.signal in ("binary", "ternary", "scaled")
    json.loads(bounds.to_json(), parse_constant=pytest.fail)
    assert type(bounds).from_json(bounds.to_json()) == bounds
    assert "inf" not in str(bounds).lower().replace("info", "")


def test_a_row_that_may_turn_out_either_way_spans_both():
    class Passed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(passes((x > 0).float()))

    bounds = get_model_bounds(Passed(), (1, 4))
    (layer,) = bounds.layers
    assert (layer.signal, layer.dense_ac, layer.mac) == ("unknown", 12, 12)
    assert bounds.ec_mj == (0, pytest.approx(12 * 4.6e-9))
    dear = get_model_bounds(Passed(), (1, 4), energy=EnergyModel("ac", e_ac_pj=9, e_mac_pj=1))
    assert dear.ec_mj == (0, pytest.approx(12 * 9e-9))
    assert bounds.break_even_rate is None
    assert "ACs or MACs, which is not known without data" in str(bounds)
    run = get_model_syops(Passed(), torch.ones(1, 4))
    assert (run.layers[0].signal, run.ac) == ("binary", 12)
    (row,) = check_full_spike(Passed(), (1, 4), allow=()).rows
    assert (row.verdict, row.values) == ("unknown", "unknown")


def test_integers_without_a_bound_have_no_upper_end():
    net = nn.Linear(4, 3)
    bounds = get_model_bounds(net, (1, 4), input_signal="graded", graded="ac")
    assert bounds.ec_mj == (0, math.inf)
    content = json.loads(bounds.to_json())
    assert content["per_sample"]["ec_mj"] == [0, None]
    assert content["per_sample"]["dense_ac"] is None
    assert "upper end: none" in " ".join(str(bounds).split())
    assert get_model_bounds(net, (1, 4), input_signal="graded").ec_mj[0] == pytest.approx(55.2e-9)
    run = get_model_syops(net, torch.full((1, 4), 9.0), graded="ac")
    assert run.ac == 9 * 12
    for text in (
        str(bounds),
        bounds.to_markdown(),
        bounds.to_latex(),
        bounds.to_csv(),
        bounds.to_html(),
    ):
        assert "inf" not in text.replace("info", "")
