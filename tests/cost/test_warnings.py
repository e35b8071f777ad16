"""What may mislead is said before the figures, and nothing where nothing does."""

import ast
import re
import runpy
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import norse.torch as norse
import pytest
import sinabs.layers as sinabs
import snntorch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, neuron
from torch import nn

from syops import get_model_bounds, get_model_syops
from syops.cost import warnings
from syops.cost.energy import EnergyModel
from syops.ledger.rows import Drive
from syops.ledger.updates import Updates
from syops.models import calibrate, create_model, demo
from syops.ops.classes import Seen, ValueEvidence
from syops.report.comparison import compare
from syops.report.gate import Limits, check
from syops.report.report import Report
from syops.units import joules
from tests import ROOT
from tests.support.networks import SMALLEST, TINY, bundled, frame
from tests.support.reports import BINARY, FIXED, SMALL, analog, spiking


def kinds(report):
    return [warning.kind for warning in report.warnings]


def named(report, kind):
    (warning,) = [warning for warning in report.warnings if warning.kind == kind]
    assert all(layer in warning.text for layer in warning.layers[:6])
    return warning


class Stepwise(nn.Module):
    """One time-step a call, or ``loop`` of them."""

    def __init__(self, loop=1, mode="s"):
        super().__init__()
        self.loop, self.mode = loop, mode
        self.first, self.fc = nn.Linear(5, 6), nn.Linear(6, 2)
        self.sn = neuron.IFNode(step_mode=mode)
        nn.init.constant_(self.first.weight, 0.3)

    def forward(self, x):
        if self.mode == "m":
            return self.fc(self.sn(self.first(x.repeat(self.loop, 1, 1)))).mean(0)
        return sum(self.fc(self.sn(self.first(x))) for _ in range(self.loop))


# --- incomplete ---------------------------------------------------------------------------------


def test_unknown_operator_makes_totals_incomplete():
    report = replace(SMALL, unaccounted={"aten.foo at layer1": 3})
    assert not report.complete
    assert report.warnings[0].kind == "incomplete"
    assert report.warnings[0].layers == ("aten.foo at layer1",)
    assert SMALL.complete
    assert SMALL.warnings == ()


def test_gate_names_an_incomplete_report():
    report = replace(SMALL, unaccounted={"aten.foo at layer1": 3})
    (finding,) = check(report, Limits(mac=1e9))
    assert finding.ok
    assert finding.text.endswith("(the report is incomplete)")
    *_, finding = check(SMALL, Limits(), baseline=report)
    assert finding.text.endswith("(the baseline is incomplete)")
    (finding,) = check(SMALL, Limits(mac=1e9))
    assert "incomplete" not in finding.text


# --- time ---------------------------------------------------------------------------------------


def test_one_neuron_update_although_T_is_claimed():
    x = torch.rand(3, 5)
    assert named(get_model_syops(Stepwise(), x, time_steps=4), "one_step").layers == ("sn",)
    assert named(get_model_bounds(Stepwise(), (3, 5), time_steps=4), "one_step").layers == ("sn",)


@pytest.mark.parametrize("mode", ["s", "m"])
def test_steps_are_counted_not_calls(mode):
    x = torch.rand(3, 5)
    report = get_model_syops(Stepwise(4, mode), x, time_steps=4)
    (updates,) = report.updates
    assert updates == Updates("sn", 1 if mode == "m" else 4, starts=1, steps=4, samples=12)
    assert kinds(report) == ["repeated"]


def test_one_update_where_T_is_not_told():
    x = torch.rand(3, 5)
    warning = named(get_model_syops(Stepwise(), x), "one_step")
    assert warning.layers == ("sn",)
    assert warning.text.startswith("one time-step was counted")
    assert "unroll=0" in warning.advice
    assert kinds(get_model_syops(Stepwise(), x, time_steps=1)) == []


class Loop(nn.Module):
    """A neuron of any library in a loop over time-steps, called in one of its ways."""

    def __init__(self, sn, call, loop=4):
        super().__init__()
        self.first, self.sn, self.fc = nn.Linear(5, 6), sn, nn.Linear(6, 2)
        self.call, self.loop = call, loop

    def forward(self, x):
        out, state = 0, None
        for _ in range(self.loop):
            spikes, state = self.call(self.sn, self.first(x), state)
            out = out + self.fc(spikes)
        return out


def keeps(sn, x, state):
    return sn(x), None


def handed_on(sn, x, state):
    return sn(x) if state is None else sn(x, state)


def forgotten(sn, x, state):
    return sn(x, None)


def begun_anew(sn, x, state):
    return sn(x, sn.init_leaky())


def reset_before(reset):
    def call(sn, x, state):
        reset(sn)
        return sn(x), None

    return call


def zeroed(sn):
    sn.v = torch.zeros_like(sn.v) if isinstance(sn.v, torch.Tensor) else 0.0


def one_of_a_sequence(sn, x, state):
    return sn(x[:, None])[:, 0], None


def reset_one_of_a_sequence(sn, x, state):
    sn.reset_states()
    return one_of_a_sequence(sn, x, state)


RIGHT = [
    (neuron.LIFNode, keeps),
    (lambda: snntorch.Leaky(beta=0.9), handed_on),
    (lambda: snntorch.Leaky(beta=0.9, init_hidden=True), keeps),
    (norse.LIFCell, handed_on),
    (lambda: norse.LIFRecurrentCell(6, 6), handed_on),
    (lambda: sinabs.LIF(tau_mem=10.0), one_of_a_sequence),
    (lambda: sinabs.ALIF(tau_mem=10.0, tau_adapt=10.0), one_of_a_sequence),
]
WRONG = [
    (neuron.LIFNode, reset_before(lambda sn: sn.reset())),
    (neuron.ParametricLIFNode, reset_before(functional.reset_net)),
    (neuron.IFNode, reset_before(zeroed)),
    (lambda: snntorch.Leaky(beta=0.9), begun_anew),
    (
        lambda: snntorch.Leaky(beta=0.9, init_hidden=True),
        reset_before(lambda sn: sn.reset_mem()),
    ),
    (norse.LIFCell, forgotten),
    (lambda: norse.LIFRecurrentCell(6, 6), forgotten),
    (lambda: sinabs.LIF(tau_mem=10.0), reset_one_of_a_sequence),
]
COUNTS = [get_model_syops, get_model_bounds]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(("make", "call"), RIGHT + WRONG)
def test_one_update_of_a_neuron_of_any_library(make, call, count):
    report = count(Loop(make(), call, loop=1), torch.rand(3, 5), time_steps=4)
    assert named(report, "one_step").layers == ("sn",)
    assert kinds(count(Loop(make(), call, loop=1), torch.rand(3, 5))) == ["one_step"]
    assert kinds(count(Loop(make(), call, loop=1), torch.rand(3, 5), time_steps=1)) == []


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(("make", "call"), RIGHT)
def test_states_that_are_kept_over_steps(make, call, count):
    report = count(Loop(make(), call), torch.rand(3, 5), time_steps=4)
    assert report.updates == (Updates("sn", 4, starts=1, steps=4, samples=12),)
    assert not {"one_step", "reset", "samples"} & set(kinds(report))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("steps", [4, None])
@pytest.mark.parametrize(("make", "call"), WRONG)
def test_states_that_are_reset_at_every_step(make, call, steps, count):
    warning = named(count(Loop(make(), call), torch.rand(3, 5), time_steps=steps), "reset")
    assert warning.layers == ("sn",)
    assert "before the loop" in warning.advice
    assert "reset" not in kinds(count(Loop(make(), call), torch.rand(3, 5), time_steps=1))


def test_a_silent_neuron_is_not_taken_for_one_that_was_reset():
    """Its potential is 0 at every step, as after a reset."""
    net = Loop(neuron.IFNode(), keeps)
    nn.init.zeros_(net.first.weight), nn.init.zeros_(net.first.bias)
    assert "reset" not in kinds(get_model_syops(net, torch.rand(3, 5)))


SEQUENCES = [
    (lambda: neuron.LIFNode(step_mode="m"), (4, 3, 6)),
    (norse.LIF, (4, 3, 6)),
    (lambda: norse.LIFRecurrent(6, 6), (4, 3, 6)),
    (lambda: snntorch.StateLeaky(beta=0.9, channels=6), (4, 3, 6)),
    (lambda: sinabs.LIF(tau_mem=10.0), (3, 4, 6)),
    (lambda: sinabs.IAFSqueeze(batch_size=3), (12, 6)),
    (lambda: sinabs.IAFSqueeze(num_timesteps=4), (12, 6)),
]


class Shaped(nn.Module):
    """Gives a neuron its input in the shape that it asks for, whatever the model's own is."""

    def __init__(self, sn, shape):
        super().__init__()
        self.first, self.sn, self.fc = nn.Linear(5, 6), sn, nn.Linear(6, 2)
        self.shape = shape

    def forward(self, x):
        spikes = self.sn(self.first(x).reshape(self.shape))
        return self.fc(spikes[0] if isinstance(spikes, tuple) else spikes)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(("make", "shape"), SEQUENCES)
def test_time_steps_in_the_batch_dimension(make, shape, count):
    net = Shaped(make(), shape)
    warning = named(count(net, torch.rand(12, 5)), "samples")
    assert warning.layers == ("sn",)
    assert "4 a sample" in warning.text
    # What to type makes it right.
    flattened = nn.Sequential(nn.Flatten(0, 1), net)
    for x, batch_dim in ((torch.rand(3, 4, 5), 0), (torch.rand(4, 3, 5), 1)):
        report = count(flattened, x, batch_dim=batch_dim)
        assert report.samples == 3
        assert "samples" not in kinds(report)


def test_time_taken_for_samples_of_a_single_sample():
    net, x = Stepwise(1, "m"), torch.rand(4, 1, 5)
    net.sn.step_mode = "m"
    flat = nn.Sequential(net.first, net.sn, net.fc)
    assert "batch_dim=1" in named(get_model_syops(flat, x), "samples").advice
    assert kinds(get_model_syops(flat, x, batch_dim=1)) == []


def test_a_sequence_given_to_neurons_of_one_step():
    net = nn.Sequential(nn.Linear(5, 6), neuron.IFNode(), nn.Linear(6, 2))
    x = torch.rand(4, 3, 5)
    warning = named(get_model_syops(net, x, batch_dim=1), "one_step")
    assert "T = 4" in warning.text
    assert 'step_mode="m"' in warning.advice
    assert kinds(get_model_syops(net, x, batch_dim=1, time_steps=1)) == []
    net[1].step_mode = "m"
    assert kinds(get_model_syops(net, x, batch_dim=1)) == []


def test_axes_that_look_exchanged():
    model = Stepwise(1, "m")
    warning = named(get_model_syops(model, torch.rand(4, 3, 5), time_steps=4), "axes")
    assert "batch_dim=1" in warning.advice
    warning = named(get_model_syops(model, torch.rand(3, 4, 5), time_steps=4, batch_dim=1), "axes")
    assert "batch_dim=0" in warning.advice


@pytest.mark.parametrize(
    ("shape", "batch_dim"), [((4, 3, 5), 1), ((4, 4, 5), 0), ((4, 4, 5), 1), ((3, 3, 5), 0)]
)
def test_axes_that_may_be_right(shape, batch_dim):
    report = get_model_syops(Stepwise(1, "m"), torch.rand(shape), time_steps=4, batch_dim=batch_dim)
    assert "axes" not in kinds(report)


def test_a_batch_of_T_images_has_no_time_axis():
    shaped = replace(SMALL, rows=(replace(SMALL.rows[0], operator="conv2d"), *SMALL.rows[1:]))
    assert "axes" not in kinds(replace(shaped, input_shape=(4, 3, 8, 8)))
    assert "axes" in kinds(replace(shaped, input_shape=(4, 2, 3, 8, 8)))


# --- the same values at every time-step ---------------------------------------------------------


class Stem(nn.Module):
    """Two layers before the first neuron, on what `make` makes of the input."""

    def __init__(self, make):
        super().__init__()
        self.make = make
        self.conv1, self.bn, self.conv2 = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)
        self.sn, self.fc = neuron.IFNode(step_mode="m"), nn.Linear(64, 2)
        self.embedding = nn.Parameter(torch.rand(4, 1, 1, 1, 1))

    def stem(self, x):
        return self.conv2(torch.relu(self.bn(self.conv1(x))))

    def forward(self, x):
        return self.fc(self.sn(self.make(self, x)).flatten(2)).mean(0)


def in_one(net, steps):
    """All time-steps in one call of the stem."""
    return net.stem(steps.flatten(0, 1)).unflatten(0, steps.shape[:2])


def batch_first(net, steps):
    return net.stem(steps.flatten(0, 1)).unflatten(0, steps.shape[:2]).transpose(0, 1)


def in_a_loop(net, steps):
    return torch.stack([net.stem(step) for step in steps])


IMAGE = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
INSIDE = {
    "repeat": lambda net, x: in_one(net, x.unsqueeze(0).repeat(4, 1, 1, 1, 1)),
    "expand": lambda net, x: in_one(net, x.expand(4, *x.shape)),
    "stack": lambda net, x: in_one(net, torch.stack([x] * 4)),
    "cat": lambda net, x: net.stem(torch.cat([x] * 4)).unflatten(0, (4, 3)),
    "repeat the batch": lambda net, x: net.stem(x.repeat(4, 1, 1, 1)).unflatten(0, (4, 3)),
    "cat and split": lambda net, x: in_one(net, torch.cat([x] * 4).view(4, 3, 1, 8, 8)),
    "batch first": lambda net, x: batch_first(net, x.unsqueeze(1).repeat(1, 4, 1, 1, 1)),
    "interleave": lambda net, x: (
        net.stem(x.repeat_interleave(4, 0)).unflatten(0, (3, 4)).transpose(0, 1)
    ),
    "scaled": lambda net, x: in_one(net, (2 * x - 1).expand(4, *x.shape)),
    "scaled after": lambda net, x: in_one(net, 2 * x.expand(4, *x.shape) - 1),
    "loop": lambda net, x: torch.stack([net.stem(x) for _ in range(4)]),
    "loop over copies": lambda net, x: in_a_loop(net, x.unsqueeze(0).repeat(4, 1, 1, 1, 1)),
    "index copies": lambda net, x: torch.stack(
        [net.stem(x.expand(4, *x.shape)[t]) for t in range(4)]
    ),
}
ONCE = {
    "after the stem": lambda net, x: net.stem(x).expand(4, -1, -1, -1, -1),
    "embedded": lambda net, x: in_one(net, x + net.embedding),
    "embedded after": lambda net, x: in_one(net, x.expand(4, *x.shape) + net.embedding),
    "a stronger image": lambda net, x: torch.stack([net.stem(x * (1 + t)) for t in range(4)]),
    "times one number": lambda net, x: net.stem(x.expand(4, *x.shape).mean() * x).expand(
        4, -1, -1, -1, -1
    ),
    "random": lambda net, x: in_one(net, (torch.rand(4, *x.shape) < x).float()),
    "random loop": lambda net, x: torch.stack([net.stem(torch.rand_like(x)) for _ in range(4)]),
    "noise": lambda net, x: in_one(net, x + torch.randn(4, *x.shape)),
}
SEQUENCES_OF = {"in one": in_one, "loop": in_a_loop}


def check_repeated(report, dense, share=1):
    """Both layers of the stem are named, and the DC is that of doing them once."""
    warning = named(report, "repeated")
    assert warning.layers == ("conv1", "conv2")
    for row, each in zip(report.rows, dense, strict=False):
        assert (row.dense, row.repeated, row.changed) == (each, each * 3 // 4, 0)
    once = report.dc_mj - 4.6e-9 * sum(row.repeated for row in report.rows) / report.samples
    assert f"DC would be {joules(once)} instead of {joules(report.dc_mj)}" in warning.text


@pytest.mark.parametrize("how", INSIDE)
def test_image_repeated_before_the_stem(how):
    report = get_model_syops(Stem(INSIDE[how]).eval(), IMAGE)
    report = replace(report, rows=tuple(row for row in report.rows if "conv" in row.path))
    check_repeated(report, [4 * 3 * 36 * 4 * 9, 4 * 3 * 16 * 4 * 4 * 9])


def test_a_repeated_input_without_anything_to_save_is_no_warning():
    report = get_model_syops(Stem(INSIDE["loop"]).eval(), IMAGE)
    assert "repeated" in kinds(report)
    free = EnergyModel("free", e_ac_pj=1, e_mac_pj=0)
    for each in (report.under("sdt"), report.priced(free)):
        assert "repeated" not in kinds(each)


@pytest.mark.parametrize("how", INSIDE)
def test_image_repeated_before_the_stem_is_seen_without_data(how):
    """As far as nothing was computed with the copies."""
    warnings = get_model_bounds(Stem(INSIDE[how]), (3, 1, 8, 8)).warnings
    layers = [warning.layers for warning in warnings if warning.kind == "repeated"]
    computed = how == "scaled after"
    both = "loop" in how or "index" in how
    assert layers == ([] if computed else [("conv1", "conv2")] if both else [("conv1",)])


@pytest.mark.parametrize("how", ONCE)
@pytest.mark.parametrize("count", COUNTS)
def test_image_that_is_seen_once_or_changes(how, count):
    assert "repeated" not in kinds(count(Stem(ONCE[how]), IMAGE))


@pytest.mark.parametrize("how", SEQUENCES_OF)
@pytest.mark.parametrize("samples", [1, 3, 4])
def test_image_repeated_by_the_caller(how, samples):
    net = Stem(SEQUENCES_OF[how])
    still = torch.rand(samples, 1, 8, 8).repeat(4, 1, 1, 1, 1)
    moving = still.clone()
    moving[-1, -1] += 1  # one step of one sample
    for x in (still, still[:1].expand(4, -1, -1, -1, -1)):
        report = get_model_syops(net, x, batch_dim=1)
        assert named(report, "repeated").layers == ("conv1", "conv2")
    assert "repeated" not in kinds(get_model_syops(net, moving, batch_dim=1))
    assert "repeated" not in kinds(get_model_syops(net, [still, moving], batch_dim=1))
    assert "repeated" in kinds(get_model_syops(net, [still, still], batch_dim=1))
    whole = get_model_syops(net, still, batch_dim=1)
    part = get_model_syops(net, moving, batch_dim=1)
    assert "repeated" not in kinds(whole.merge(part))
    assert "repeated" in kinds(whole.merge(whole))


def test_image_repeated_by_the_caller_with_samples_first():
    net = Stem(batch_first)
    still = IMAGE.unsqueeze(1).repeat(1, 4, 1, 1, 1)
    assert "repeated" in kinds(get_model_syops(net, still, time_steps=4))
    assert "repeated" not in kinds(get_model_syops(net, torch.rand_like(still), time_steps=4))


def test_equal_images_in_a_batch_are_not_repeated():
    for x in (IMAGE[:1].expand(4, -1, -1, -1), torch.zeros(4, 1, 8, 8)):
        net = Stem(ONCE["after the stem"])
        assert "repeated" not in kinds(get_model_syops(net, x, time_steps=4))


class OwnNeuron(nn.Module):
    """A network with neurons in plain torch, whose state may begin anew at every step."""

    def __init__(self, forgets, moving):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.forgets, self.moving = forgets, moving

    def forward(self, x):
        out, v, w = 0, torch.zeros(()), torch.zeros(())
        for t in range(4):
            if self.forgets:
                v, w = torch.zeros(()), torch.zeros(())
            v = 0.5 * v + self.fc1(x[:, t] if self.moving else x[:, 0])
            spikes = (v > 0.1).float()
            v = v * (1 - spikes)
            w = 0.5 * w + self.fc2(spikes)
            out = out + self.fc3((w > 0.1).float())
        return out


@pytest.mark.parametrize("count", COUNTS)
def test_states_of_ones_own_that_begin_anew_make_all_layers_the_same(count):
    x = torch.rand(3, 4, 5)
    layers = ("fc1", "fc2", "fc3")
    assert named(count(OwnNeuron(True, False), x), "repeated").layers == layers
    assert named(count(OwnNeuron(False, False), x), "repeated").layers == ("fc1",)
    assert "repeated" not in kinds(count(OwnNeuron(False, True), x))
    assert "repeated" not in kinds(count(OwnNeuron(True, True), x))


class Buffered(nn.Module):
    """Keeps its state in a buffer, written in place or replaced."""

    def __init__(self, how):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(5, 6), nn.Linear(6, 2)
        self.register_buffer("v", torch.zeros(1, 6))
        self.how = how

    def forward(self, x):
        out = 0
        for _ in range(4):
            current = self.fc1(x)
            if self.how == "replaced":
                self.v = 0.5 * self.v + current
            elif self.how == "in place":
                self.v.mul_(0.5).add_(current.sum(0, keepdim=True))
            elif self.how == "a row":
                self.v[0] += current[0]
            else:
                self.v.data = self.v + current.sum(0, keepdim=True)
            out = out + self.fc2((self.v > 0).float())
        return out


@pytest.mark.parametrize("how", ["replaced", "in place", "a row", "data"])
def test_states_that_are_written_are_not_the_same(how):
    report = get_model_syops(Buffered(how), torch.rand(3, 5))
    assert named(report, "repeated").layers == ("fc1",)


def test_spikes_that_are_repeated_cost_acs_once():
    net = Stem(INSIDE["repeat"]).eval()
    report = get_model_syops(net, (IMAGE > 0.5).float())
    once = get_model_syops(Stem(ONCE["after the stem"]).eval(), (IMAGE > 0.5).float())
    assert report.rows[0].drives[0].ac == 4 * once.rows[0].drives[0].ac
    rows = (report.rows[0],)
    text = named(replace(report, rows=rows), "repeated").text
    price = [joules(replace(each, rows=each.rows[:1]).dc_mj) for each in (once, report)]
    assert f"DC would be {price[0]} instead of {price[1]}" in text


# --- values -------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 1])
def test_constant_input_is_taken_for_spikes(value):
    model = nn.Sequential(nn.Linear(5, 3))
    x = torch.full((2, 5), float(value))
    assert named(get_model_syops(model, x), "constant").layers == ("0",)
    assert kinds(get_model_syops(model, x, input_signal="analog")) == []
    x[0, 0] = 1 - value
    assert kinds(get_model_syops(model, x)) == []


def test_one_constant_batch_among_others_is_not_constant_input():
    model = nn.Sequential(nn.Linear(5, 3))
    batches = [torch.zeros(2, 5), torch.ones(2, 5)]
    assert kinds(get_model_syops(model, batches)) == []
    one, two = (get_model_syops(model, batch) for batch in batches)
    assert kinds(one) == kinds(two) == ["constant"]
    assert kinds(one.merge(two)) == []


def test_silent_and_saturated_layers():
    rows = (
        analog("stem", 10),
        spiking("a", 100, 0),
        spiking("b", 100, 1),
        spiking("c", 100, 0.5),
    )
    report = replace(SMALL, rows=rows, samples=32)
    assert named(report, "silent").layers == ("a",)
    assert named(report, "saturated").layers == ("b",)
    assert kinds(replace(report, samples=31)) == []
    assert kinds(replace(report, rows=rows[:3])) == []  # nothing in it works: not trained
    assert kinds(replace(report, measured=False)) == []


def test_graded_rows_tell_their_share_and_what_they_are_as_ac():
    warning = named(FIXED, "graded")
    assert warning.layers == ("layer2.0.conv1",)
    assert "6.3% of DC" in warning.text
    assert 'graded="ac"' in warning.advice
    as_ac = replace(FIXED, convention=FIXED.convention.but(graded="ac"))
    assert "graded" not in kinds(as_ac)
    assert "DC is 10.2 mJ" in warning.text
    assert f"{as_ac.dc_mj:.1f}" == "10.2"
    ends = replace(FIXED, rows=(FIXED.rows[6], *FIXED.rows[1:6], FIXED.rows[8]))
    assert "graded" not in kinds(ends)  # the first layer costs MACs in every network


# --- every format -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "html", "notebook", "page", "json"])
def test_warnings_precede_the_figures(form):
    write = {
        "text": FIXED.__str__,
        "markdown": FIXED.to_markdown,
        "latex": FIXED.to_latex,
        "html": FIXED.to_html,
        "notebook": FIXED._repr_html_,
        "page": FIXED.to_page,
        "json": FIXED.to_json,
    }[form]
    text = " ".join(write().split())
    figures = text.index('"per_sample"' if form == "json" else "10.9 mJ")
    for said in ("the totals are incomplete", "is counted as MACs at"):
        assert 0 <= text.index(said) < figures
    assert '"complete": false' in text if form == "json" else "incomplete" in text[figures:]


def test_comparisons_say_the_warnings_of_each_network():
    both = compare({"one": FIXED, "two": SMALL})
    for table in (both.table(), both.layers().table()):
        *warnings, not_alike = table.warnings
        assert [text.startswith("Warning: one: ") for text in warnings] == [True, True]
        assert not_alike == "Not alike: BatchNorms folded in one; counted in two"


def test_files_and_pipes_are_warned_of_on_stderr(syops, tmp_path):
    FIXED.save(tmp_path / "report.json")
    status, out, err = syops("check", tmp_path / "report.json", "--max-mac", "2G")
    assert status == 0
    assert "syops: warning: the totals are incomplete" in err
    assert "incomplete" in out
    status, out, err = syops("compare", tmp_path / "report.json", "--format", "csv")
    assert "warning" not in out
    assert "the totals are incomplete" in err


def test_warnings_survive_a_file():
    read = Report.from_json(FIXED.to_json())
    assert read.warnings == FIXED.warnings


# --- splits -------------------------------------------------------------------------------------

FACTS = st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0, 250, 1000]))


@settings(max_examples=60, deadline=None)
@given(st.lists(FACTS, min_size=2, max_size=5), st.permutations(range(5)), st.booleans())
def test_warnings_do_not_depend_on_how_reports_are_merged(facts, order, skipped):
    def part(value, spikes):
        seen = Drive(ValueEvidence(seen=Seen(value, value, True)), 1000, int(1000 * value))
        inner = Drive(BINARY, 1000, spikes, Fraction(spikes, 10), spikes)
        rows = (
            replace(analog("in", 10), drives=(seen,)),
            replace(analog("a", 100), drives=(inner,)),
            spiking("b", 100, 0.5),
        )
        unknown = {"aten.foo at a": 1} if skipped and spikes else {}
        return replace(SMALL, rows=rows, ann_rows=None, samples=16, accuracy=None, passes=1,
                       unaccounted=unknown)  # fmt: skip

    parts = [part(*fact) for fact in facts]
    whole = parts[0]
    for one in parts[1:]:
        whole = whole.merge(one)
    again = [parts[i] for i in order if i < len(parts)]
    other = again[-1]
    for one in reversed(again[:-1]):
        other = one.merge(other)
    assert other.warnings == whole.warnings


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_warnings_do_not_depend_on_batches(size):
    model, x = Stepwise(), torch.ones(6, 5)
    report = get_model_syops(model, list(x.split(size)), time_steps=4)
    assert kinds(report) == ["one_step", "constant"]


# --- no false alarm -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", bundled(quick=TINY, slow=SMALLEST))
def test_bundled_networks_are_not_warned_of_without_data(name):
    """Sums of spikes beside that, which are MACs by design."""
    keywords = {} if name.startswith("resnet") else {"T": 4}
    events = "7b" in name
    shape = (4, 2, 2, 128, 128) if events else (4, *frame(name))
    with torch.device("meta"):
        model = create_model(name, **keywords)
    report = get_model_bounds(model, shape, batch_dim=1 if events else 0, input_signal="analog")
    assert set(kinds(report)) <= {"graded"}


SMALL_ONES = [
    *("dsnn18", "fsnn18", "sew_resnet18", "spiking_resnet18", "resnet18", "preact_resnet18"),
    *("dsnn_digits", "fsnn_digits", "sew_digits", "spiking_digits", "spikformer_4_384"),
    *("sew_7b", "dsnn_7b", "fsnn_7b", "spiking_7b", "plain_7b"),
]


@pytest.mark.parametrize("name", bundled(SMALL_ONES, quick=TINY | {"plain_7b"}, slow=SMALL_ONES))
def test_calibrated_networks_are_not_warned_of(name):
    torch.manual_seed(0)
    events = "7b" in name
    model = create_model(name)
    if events:
        x = (torch.rand(4, 1, 2, 128, 128) < 0.1).float()
    else:
        x = torch.rand(32, 1, 8, 8) if "digits" in name else torch.rand(2, 3, 32, 32)
    if "digits" in name:
        calibrate(model, x)
    found = kinds(get_model_syops(model, x, batch_dim=1 if events else 0))
    assert set(found) <= {"graded"}
    if "fsnn" in name or name.startswith(("resnet", "plain")):
        assert found == []


@pytest.mark.parametrize("name", demo.NETWORKS)
def test_the_demo_is_not_warned_of(name):
    model = create_model(name, weights=demo.weights(name))
    images, _ = demo.digits()
    found = kinds(get_model_syops(model, list(images.split(demo.BATCH))))
    assert found == ([] if name == "fsnn_digits" else ["graded"])


def test_the_example_is_not_warned_of():
    path = str(ROOT / "examples" / "your_own_network.py")
    events = (torch.rand(32, 8, 2, 32, 32) < 0.1).float()
    torch.manual_seed(0)
    model = runpy.run_path(path)["SpikingNet"]()
    assert kinds(get_model_syops(model, list(events.split(16)))) == []


class Pairs(nn.Module):
    """Spikes times spikes."""

    def __init__(self):
        super().__init__()
        self.one, self.two = neuron.IFNode(0.5), neuron.IFNode(0.5)

    def forward(self, x):
        return self.one(x[:, 0]) @ self.two(x[:, 1])


def test_rates_of_batches_are_said_where_two_are_multiplied():
    """8 products: one sample has only spikes, the other one has none. Its rates are 1, or 1/2."""
    x = torch.stack([torch.ones(2, 2, 2), torch.zeros(2, 2, 2)])
    together = get_model_syops(Pairs(), x)
    assert together.ac == Fraction(1, 4) * 16 / 2
    told = named(together, "batched").text
    assert "2 a sample here, and 4 coincidences of spikes" in told
    parts = [get_model_syops(Pairs(), part) for part in x.split(1)]
    apart = get_model_syops(Pairs(), list(x.split(1)), progress=False)
    assert apart.ac == (parts[0] + parts[1]).ac == 8 / 2
    assert apart.ac_events == together.ac_events == 4
    assert "batched" not in kinds(apart) + kinds(parts[0] + parts[1])
    assert "batched" in kinds(apart + together)
    assert "batched" not in kinds(together.under("exact"))
    assert kinds(together.under("exact")) == kinds(apart)


def test_docs_explain_every_kind_of_warning():
    source = Path(warnings.__file__).read_text("utf-8")
    made = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    found = {
        node.args[0].value
        for node in made
        if ast.unparse(node.func) == "Caution" and isinstance(node.args[0], ast.Constant)
    }
    assert len(found) > 8
    rows = re.findall(
        r"^\| ((?:`\w+`(?:, )?)+) \|", (ROOT / "docs" / "reading.md").read_text("utf-8"), re.M
    )
    explained = {kind for row in rows for kind in re.findall(r"\w+", row)}
    assert found | {"silent", "saturated", "offending", "ends", "unpriced"} <= explained
