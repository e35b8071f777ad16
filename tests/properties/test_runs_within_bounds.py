"""What a run measures lies between the ends that were foretold without data."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from syops import check_full_spike, create_model, get_model_bounds, get_model_syops
from syops.cost.energy import EnergyModel
from syops.models import calibrate
from tests.models.test_all_networks import small
from tests.support.bounds import assert_foretold, assert_within
from tests.support.examples import examples, random_examples, some
from tests.support.networks import BLOCKS, TINY, bundled


@torch.library.custom_op("invariants::passes", mutates_args=())
def passes(x: Tensor) -> Tensor:
    """An operator that nobody has a rule for, and that hands spikes on."""
    return x.clone()


@passes.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def mixed(shape, others):
    """Spikes in the first columns and rows, and others elsewhere."""
    x = others(shape)
    spikes = (torch.rand(shape) < 0.5).float()
    x[:, :3], x[:2] = spikes[:, :3], spikes[:2]
    return x


INPUTS = {
    "analog": lambda shape: torch.rand(shape) + 0.1,
    "binary": lambda shape: (torch.rand(shape) < 0.4).float(),
    "ternary": lambda shape: torch.randint(-1, 2, shape).float(),
    "graded": lambda shape: torch.randint(0, 9, shape).float(),
    "partly analog": lambda shape: mixed(shape, INPUTS["analog"]),
    "partly graded": lambda shape: mixed(shape, INPUTS["graded"]),
    "partly ternary": lambda shape: mixed(shape, INPUTS["ternary"]),
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
    "partly analog": ("analog", "auto"),
    "partly graded": ("graded", "auto"),
    "partly ternary": ("ternary", "auto"),
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
    "columns": lambda x: x[:, :3].repeat(1, 2),
    "rows": lambda x: x[:1].expand(x.shape),
    "chosen": lambda x: x[:, torch.tensor([0, 0, 1, 1, 2, 2])],
    "largest": lambda x: nn.functional.max_pool1d(x[None], 3, 1, 1)[0],
    "largest so far": lambda x: x.cummax(1).values,
    "sorted": lambda x: x.sort(1).values,
    "padded": lambda x: nn.functional.pad(x[:, :4], (1, 1), value=1),
    "cropped": lambda x: nn.functional.pad(x, (2, -2)),
    "joined": lambda x: torch.stack([x, torch.zeros_like(x)], 1)[:, 0],
    "joined whole": lambda x: torch.cat([x, torch.ones_like(x)], 1).reshape(2, -1, 6)[0],
    "turned": lambda x: x.t().contiguous().reshape(x.shape),
    "written": lambda x: torch.zeros_like(x).copy_(x),
    "written in part": lambda x: torch.zeros_like(x).index_copy(1, torch.tensor([1]), x[:, :1]),
    "overwritten": lambda x: x.index_fill(1, torch.tensor([1, 2, 3]), 1),
    "masked": lambda x: x.masked_fill(x > 1, 0),
    "half": lambda x: x.half().float(),
    "whole": lambda x: x.int().float(),
    "double": lambda x: (x.double() * 2).float(),
    "clamped": lambda x: x.clamp(-1, 1),
    "averaged": lambda x: nn.functional.avg_pool1d(x[None], 3, 1, 1)[0],
    "summed": lambda x: x.sum(1, keepdim=True).expand(x.shape),
}


class Net(nn.Module):
    """What every step makes goes to a layer of its own, and to one that all share; products of
    two; and what the last step made is where the next round begins."""

    def __init__(self, steps: list[str], loops: int) -> None:
        super().__init__()
        self.steps, self.loops = steps, loops
        self.own = nn.ModuleList(nn.Linear(6, 6) for _ in range(len(steps) + 1))
        self.shared, self.other = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = y = x.float()
        outs = [self.other(x)]
        for _ in range(self.loops):
            outs.append(self.own[-1](y))
            for step, layer in zip(self.steps, self.own[:-1], strict=True):
                y = STEPS[step](y)
                outs += [layer(y), y @ x.transpose(0, 1)]
            outs.append(self.shared(y))
        return torch.stack([out.sum() for out in outs])


@examples(30)
@given(
    st.lists(st.sampled_from(sorted(STEPS)), max_size=5),
    st.sampled_from([(what, said) for what, names in SAID.items() for said in names]),
    st.sampled_from(["mac", "ac"]),
    st.sampled_from(["rate", "events"]),
    st.sampled_from([(0.9, 4.6), (3.0, 1.0)]),
    st.integers(1, 2),
)
def test_random_networks_run_within_bounds(steps, inputs, graded, ac, prices, loops):
    what, said = inputs
    net = Net(steps, loops)
    energy = EnergyModel("some", e_ac_pj=prices[0], e_mac_pj=prices[1])
    common = {"input_signal": said, "graded": graded, "energy": energy}
    torch.manual_seed(0)
    batches = [INPUTS[what]((5, 6)), INPUTS[what]((5, 6))]
    runs = [get_model_syops(net, batch, ac=ac, **common) for batch in batches]
    runs.append(get_model_syops(net, [(b,) for b in batches], ac=ac, **common))
    runs.append(runs[0].merge(runs[0]))
    assert_foretold(net, batches[0], runs, **common)
    if said == "auto":
        assert_foretold(net, batches[0].to("meta"), runs, **common)


@random_examples
@pytest.mark.parametrize(
    ("step", "what"), some(list(itertools.product(sorted(STEPS), sorted(SAID))), one_of=13)
)
def test_every_operator_runs_within_bounds(step, what):
    torch.manual_seed(0)
    net = Net([step, "turned"], 1)
    runs = [get_model_syops(net, INPUTS[what]((5, 6))) for _ in range(2)]
    assert_foretold(net, INPUTS[what]((5, 6)), runs)
    assert_foretold(net, (5, 6), [run for run in runs if what not in ("bytes", "bools")])


def test_row_of_unknown_signal_spans_ac_and_mac():
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
    (caution,) = [warning for warning in bounds.warnings if warning.kind == "either"]
    assert caution.layers == ("fc",)
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


# The bundled networks, by default


def fed(name: str) -> tuple[nn.Module, tuple[int, ...], int]:
    """A small one whose deep layers fire, the shape of its input, and its batch dimension."""
    keywords, (channels, *frame), events = small(name)
    frame = frame if events or name.endswith(("digits", "_small")) else [32, 32]
    if name in TINY:
        keywords = {**keywords, "blocks": 4}  # two before and two after the down-sampling
    if name == "spikformer_4_384":
        keywords = {**keywords, "depth": 1}
    shape = (2, 1, channels, *frame) if events else (1, channels, *frame)
    torch.manual_seed(0)
    model = create_model(name, num_classes=5, **keywords)
    calibrate(model, torch.rand((2, 2, *shape[2:]) if events else (2, *shape[1:])))
    return model, shape, int(events)


def of_a_class(what: str, shape: tuple[int, ...]) -> Tensor:
    """As an example is: not one without a value that tells its class."""
    x = INPUTS[what](shape)
    x.flatten()[:3] = torch.tensor(
        {"graded": [0.0, 1, 5], "analog": [0.5, 1, 0]}.get(what, [0, 1, 0])
    )
    return x


@pytest.mark.once
@pytest.mark.parametrize("name", bundled(quick=TINY, slow=BLOCKS))
def test_bundled_networks_run_within_bounds(name):
    """Images, spikes and counted events; bounds of an input's class, and of its shape alone."""
    model, shape, batch_dim = fed(name)
    all_runs = []
    for what in ("analog", "binary", "graded"):
        run = get_model_syops(model, of_a_class(what, shape), batch_dim=batch_dim)
        assert_foretold(model, of_a_class(what, shape), [run], batch_dim=batch_dim)
        assert run.layers[0].signal == what
        all_runs.append(run)
    assert_foretold(model, shape, all_runs, batch_dim=batch_dim)


@pytest.mark.parametrize(
    "name", [pytest.param("sew_resnet18", marks=pytest.mark.slow), "sew_digits", "spikformer_4_384"]
)
def test_bundled_networks_with_graded_acs_run_within_bounds(name):
    model, shape, batch_dim = fed(name)
    for what in ("binary", "graded"):
        x = of_a_class(what, shape)
        run = get_model_syops(model, x, batch_dim=batch_dim, graded="ac")
        for inputs in (x, shape):
            assert_foretold(model, inputs, [run], batch_dim=batch_dim, graded="ac")


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_example_has_unknown_signal(value):
    net, x = nn.Linear(4, 3), torch.full((2, 4), value)
    bounds = get_model_bounds(net, x)
    assert (bounds.layers[0].signal, bounds.conventions["input_signal"]) == ("unknown", "auto")
    for other in (x, torch.rand(2, 4), torch.tensor([[0.0, 1, 0, 1]] * 2)):
        assert_within(get_model_syops(net, other), bounds)


@pytest.mark.parametrize(
    ("example", "told"),
    [
        (torch.rand(2, 4), "auto: analog"),
        (torch.eye(4), "auto: binary"),
        (-torch.eye(4), "auto: ternary"),
        (2 * torch.eye(4), "auto: graded"),
        (torch.full((2, 4), 0.5), "auto: analog"),
        (torch.full((2, 4), math.nan), "auto"),
        (torch.empty(2, 4, device="meta"), "auto"),
        ((2, 4), "auto"),
    ],
)
def test_signal_of_the_example_is_reported(example, told):
    bounds = get_model_bounds(nn.Linear(4, 3), example)
    assert bounds.conventions["input_signal"] == told
    shown = told.partition(": ")[2]
    words = f"Input: {shown}, as in the example" if shown else "Input: not declared: spikes or not"
    assert words in str(bounds)
    assert words in str(check_full_spike(nn.Linear(4, 3), example))
    assert [w.kind for w in bounds.warnings] == ([] if shown else ["either"])


def test_each_input_has_its_own_class():
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.a(x) + self.b(y)

    inputs = torch.eye(4), torch.rand(4, 4)
    bounds = get_model_bounds(Both(), inputs)
    assert [layer.signal for layer in bounds.layers if layer.kind == "linear"] == [
        *("binary", "analog")
    ]
    assert bounds.conventions["input_signal"] == "auto: binary, auto: analog"
    assert_within(get_model_syops(Both(), inputs), bounds)
    said = get_model_bounds(Both(), inputs, input_signal=["auto", "graded"])
    assert said.conventions["input_signal"] == "auto: binary, graded"


def test_memory_of_what_may_be_spikes_or_not_spans_both():
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(16, 3))
    low, high = get_model_bounds(net, (1, 2, 4, 4)).memory().ec_mj
    for said in ("analog", "binary"):
        ends = get_model_bounds(net, (1, 2, 4, 4), input_signal=said).memory().ec_mj
        assert low <= ends[0] <= ends[1] <= high


def test_a_layer_of_shown_spikes_and_of_halves_may_be_either():
    """It gets {0, 1} and {0, 1/2}: MACs, or ACs where a part of the input is silent."""

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> list[Tensor]:
            return [self.fc(part) for part in (x[:, :3], (x[:, 3:] > 0.3).float() * 0.5)]

    x = torch.ones(2, 6)
    silent = torch.tensor([[0.0, 0, 0, 1, 0, 1]] * 2)
    x[0, 0] = 0
    bounds = get_model_bounds(Shared(), x)
    assert [layer.signal for layer in bounds.layers if layer.kind == "linear"] == ["unknown"]
    runs = [get_model_syops(Shared(), data) for data in (x, silent)]
    assert [run.layers[-1].signal for run in runs] == ["graded", "scaled"]
    assert_foretold(Shared(), x, runs)
