"""Rules for operators of one's own are scoped, and make rows like those of torch's operators."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from syops import SyopsError, check_full_spike, count_syops, get_model_bounds, get_model_syops
from syops.errors import SyopsLookupError, SyopsRuntimeError, SyopsTypeError, SyopsValueError
from syops.ops import (
    Free,
    Product,
    Rule,
    Tally,
    analog,
    binary,
    convolution,
    linear,
    matmul,
    unknown,
)
from syops.ops.values import INTEGER
from tests import ROOT


@torch.library.custom_op("own_operators::project", mutates_args=())
def project(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x @ weight.T


@project.register_fake
def _(x, weight):
    return x.new_empty(*x.shape[:-1], weight.shape[0])


@torch.library.custom_op("own_operators::convolve", mutates_args=())
def convolve(x: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
    return F.conv2d(x, weight, stride=stride, padding=1)


@convolve.register_fake
def _(x, weight, stride):
    return F.conv2d(x, weight, stride=stride, padding=1)


@torch.library.custom_op("own_operators::multiply", mutates_args=())
def multiply(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x @ y


@torch.library.custom_op("own_operators::fire", mutates_args=())
def fire(x: torch.Tensor) -> torch.Tensor:
    return (x > 0).to(x.dtype)


@fire.register_fake
def _(x):
    return torch.empty_like(x)


@torch.library.custom_op("own_operators::swap", mutates_args=())
def swap(x: torch.Tensor) -> torch.Tensor:
    """Samples and channels change places."""
    return x.transpose(0, 1).clone()


@swap.register_fake
def _(x):
    return x.new_empty(x.shape[1], x.shape[0], *x.shape[2:])


DEFINED = torch.library.Library("own_parts", "DEF")
DEFINED.define("parts(Tensor x) -> Tensor")
DEFINED.impl("parts", lambda x: x + 1, "CompositeImplicitAutograd")

PROJECT = Rule(analog, lambda call: linear(call, call.arg("x"), call.arg("weight")))
FIRE = Rule(binary, lambda call: Tally("neuron", "fire", mac=call.out.numel()))
OWN = {project: PROJECT, torch.ops.own_operators.fire: FIRE}
X = (torch.rand(4, 8, generator=torch.Generator().manual_seed(0)) < 0.5).float()


class Own(nn.Module):
    """Two layers by operators of one's own, or the same by those of torch."""

    def __init__(self, own=True, norm=False):
        super().__init__()
        torch.manual_seed(0)
        self.own = own
        self.first, self.second = nn.Linear(8, 16, bias=False), nn.Linear(16, 3, bias=False)
        self.norm = nn.BatchNorm1d(16) if norm else nn.Identity()
        self.T = 1

    def apply_to(self, x, layer):
        return project(x, layer.weight) if self.own else F.linear(x, layer.weight)

    def forward(self, x):
        x = self.norm(self.apply_to(x, self.first))
        x = fire(x) if self.own else (x > 0).to(x.dtype)
        return self.apply_to(x, self.second)


class Does(nn.Module):
    def __init__(self, run, *shape):
        super().__init__()
        self.run, self.weight = run, nn.Parameter(torch.randn(*(shape or (8, 8))))

    def forward(self, x):
        return self.run(x, self.weight)


def synaptic(report):
    return [
        (row.kind, row.operator, row.weight, row.dense, row.drives, row.joint_events)
        for row in report.rows
        if row.kind in ("linear", "conv", "matmul")
    ]


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("x", [X, torch.randn(4, 8)])
def test_own_linear_operator_counts_like_torchs(norm, x):
    ours = get_model_syops(Own(norm=norm), x, strict=True, rules=OWN)
    theirs = get_model_syops(Own(own=False, norm=norm), x, strict=True)
    assert synaptic(ours) == synaptic(theirs)
    assert (ours.ac, ours.mac, ours.totals.ac_events) == (
        theirs.ac, theirs.mac, theirs.totals.ac_events
    )  # fmt: skip
    assert [row.folded for row in ours.rows if row.kind == "norm"] == [
        row.folded for row in theirs.rows if row.kind == "norm"
    ]
    assert ours.energy_ratio == theirs.energy_ratio
    assert not ours.unaccounted
    assert any(row.kind == "neuron" for row in ours.rows)
    assert "project" in ours.conventions["rules"]


def test_bounds_and_audit_know_own_operators():
    ours = get_model_bounds(Own(), (4, 8), input_signal="binary", rules=OWN)
    theirs = get_model_bounds(Own(own=False), (4, 8), input_signal="binary")
    assert (ours.dense_ac, ours.mac, ours.ec_mj) == (theirs.dense_ac, theirs.mac, theirs.ec_mj)
    audit = check_full_spike(Own(), (4, 8), input_signal="binary", allow=(), rules=OWN)
    assert audit.full_spike
    assert not check_full_spike(Own(), (4, 8), allow=(), rules=OWN).full_spike
    assert check_full_spike(Own(), (4, 8), input_signal="analog").unknown


def test_rules_hold_for_one_call():
    named = {"own_operators::project in the model": 2, "own_operators::fire in the model": 1}
    assert get_model_syops(Own(), X).unaccounted == named
    assert not get_model_syops(Own(), X, rules=OWN).unaccounted
    assert get_model_syops(Own(), X).unaccounted == named


@pytest.mark.parametrize(
    "key", [project, torch.ops.own_operators.project, torch.ops.own_operators.project.default]
)
def test_operator_is_given_by_what_defined_it_by_packet_or_by_overload(key):
    report = get_model_syops(Does(project), X, strict=True, rules={key: PROJECT})
    assert report.totals.ac_events == int(X.sum()) * 8


def test_operators_of_torch_can_be_given_a_rule():
    def run(x, w):
        return torch.linalg.qr(x).R

    rule = Rule(unknown, lambda call: [Tally("elementwise", "qr", mac=7)])
    report = get_model_syops(Does(run), X, strict=True, rules={torch.ops.aten.linalg_qr: rule})
    assert [(row.operator, row.mac) for row in report.rows] == [("qr", 7)]


def test_own_convolution():
    x = (torch.rand(2, 3, 6, 6) < 0.4).float()
    rule = Rule(
        analog,
        lambda call: convolution(
            call, call.arg("x"), call.arg("weight"), stride=call.arg("stride"), padding=1
        ),
    )
    ours = get_model_syops(Does(lambda x, w: convolve(x, w, 2), 5, 3, 3, 3), x, strict=True,
                           rules={convolve: rule})  # fmt: skip
    theirs = get_model_syops(
        Does(lambda x, w: F.conv2d(x, w, stride=2, padding=1), 5, 3, 3, 3), x, strict=True
    )
    assert synaptic(ours) == synaptic(theirs)
    assert ours.totals.ac_events == theirs.totals.ac_events > 0


@pytest.mark.parametrize("by", ["matmul", "linear"])
def test_own_product_of_two_activations(by):
    def ours(x, w):
        return multiply(x, x.T.contiguous()) if by == "matmul" else project(x, x)

    rules = {
        multiply: Rule(analog, lambda call: matmul(call, call.arg("x"), call.arg("y"))),
        project: PROJECT,
    }
    report = get_model_syops(Does(ours), X, strict=True, rules=rules)
    (row,) = [row for row in report.rows if row.kind == "matmul"]
    assert row.dense == 4 * 8 * 4
    assert row.joint_events == int((X @ X.T).sum())


def test_free_operator_of_ones_own():
    report = get_model_syops(
        Does(lambda x, w: F.linear(fire(x), w)), torch.randn(4, 8), strict=True,
        rules={fire: Rule(binary, Free("a comparison"))},
    )  # fmt: skip
    assert [row.kind for row in report.rows] == ["linear"]
    assert report.layers[0].signal == "binary"


@pytest.mark.parametrize(
    ("rules", "error", "says"),
    [
        ({"own_operators::project": PROJECT}, SyopsTypeError, "expected operators such as"),
        ({nn.Linear: PROJECT}, SyopsTypeError, "expected operators such as"),
        ({project: linear}, SyopsTypeError, "expected a syops.ops.Rule"),
        ([project], SyopsTypeError, "expected a dict"),
        ({torch.ops.own_parts.parts: PROJECT}, SyopsValueError, "only calls other operators"),
        ({torch.ops.aten.linear.default: PROJECT}, SyopsValueError, "only calls other operators"),
        ({project: Rule(analog, lambda call: 3)}, SyopsTypeError, "cost of .*project"),
        ({project: Rule(analog, lambda call: [3])}, SyopsTypeError, "cost of .*project"),
        ({project: Rule(lambda call: "binary", Free("no"))}, SyopsTypeError, "signal of .*project"),
        ({project: Rule(analog, lambda call: call.arg("x").foo)}, SyopsRuntimeError,
         "rule of .*project.* failed: AttributeError"),
        ({project: Rule(analog, lambda call: Tally("conv", "project", mac=1))}, SyopsValueError,
         "of the kind 'conv'"),
        ({project: Rule(analog, lambda call: Product("pool", "project", 1, ()))}, SyopsValueError,
         "of the kind 'pool'"),
    ],
)  # fmt: skip
def test_wrong_rules_are_refused_in_our_words(rules, error, says):
    with pytest.raises(error, match=says) as caught:
        get_model_syops(Does(project), X, rules=rules)
    assert isinstance(caught.value, SyopsError)
    with pytest.raises(error, match=says):
        get_model_bounds(Does(project), X, rules=rules)


def test_example_of_the_docs_runs():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.full((5, 8), 0.5))

        def forward(self, x):
            spikes = torch.ops.my.fire(torch.ops.my.project(x, self.weight))
            return F.linear(spikes, self.weight.T)

    section = (ROOT / "docs" / "own_operators.md").read_text("utf-8")
    names = {"torch": torch, "get_model_syops": get_model_syops, "model": Net(), "loader": [X]}
    exec(section.partition("```python\n")[2].partition("```")[0], names)
    report = names["report"]
    assert report.complete
    fired = int((X @ torch.full((8, 5), 0.5) >= 1).sum())
    assert report.totals.ac_events == int(X.sum()) * 5 + fired * 8
    assert [(row.kind, row.mac) for row in report.rows] == [
        ("linear", 0), ("neuron", 4 * 5), ("linear", 0)
    ]  # fmt: skip


@pytest.mark.parametrize("is_followed", [True, False])
def test_results_are_followed_through_an_operator_that_says_where_channels_go(is_followed):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x):
            return self.norm(swap(swap(self.conv(x))))

    def channel(args, source, out, dim):
        return {0: 1, 1: 0}.get(dim, dim)

    moves = Rule(analog, Free("moves"), moves=True, channel=channel if is_followed else None)
    report = get_model_syops(Net(), torch.randn(4, 2, 5, 5), rules={swap: moves})
    (norm,) = (row for row in report.rows if row.kind == "norm")
    assert norm.folded == ("conv" if is_followed else None)
    assert norm.mac == (0 if is_followed else 2 * 4 * 3 * 5 * 5)


def test_an_operator_without_a_fake_kernel_is_named():
    class Net(nn.Module):
        def forward(self, x):
            return multiply(x, x)

    told = "without values, own_operators::multiply cannot run: it has no fake kernel"
    for without_values in (get_model_bounds, check_full_spike):
        with pytest.raises(SyopsError, match=f"{told}.*register_fake") as caught:
            without_values(Net(), (4, 4))
        assert ".;" not in str(caught.value)


INTEGERS = Rule(lambda call: INTEGER, Free("a test"))
SAID = [
    (FIRE, 1.0, None),
    (FIRE, 0.5, "says {0, 1}, but it gave values from 0 to 0.5 that are not all whole"),
    (FIRE, 2.0, "says {0, 1}, but it gave values from 0 to 2; give it the signal analog"),
    (FIRE, -1.0, "says {0, 1}, but it gave values from -1 to 0"),
    (FIRE, float("nan"), "but it gave NaN or infinite values; check the data"),
    (INTEGERS, 3.0, None),
    (INTEGERS, 0.5, "says integers, but it gave values from 0 to 0.5 that are not all whole"),
    (Rule(analog, Free("a test")), 0.5, None),
    (Rule(unknown, Free("a test")), 0.5, None),
]


@torch.library.custom_op("own_operators::send", mutates_args=())
def send(x: torch.Tensor, size: float) -> torch.Tensor:
    return (x > 0).to(x.dtype) * size if size == size else x * size


@send.register_fake
def _(x, size):
    return torch.empty_like(x)


class Sending(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size, self.fc = size, nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(send(x, self.size))


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize(("rule", "size", "words"), SAID)
def test_results_are_what_a_rule_says(rule, size, words, watched):
    net, rules = nn.Sequential(Sending(size)).eval(), {send: rule}

    def count():
        if not watched:
            return get_model_syops(net, [X, X, X], rules=rules)
        with count_syops(net, rules=rules) as counted:
            net(X)
        return counted.report

    if words is None:
        assert count().layers[-1].calls in (1, 3)
    else:
        with pytest.raises(SyopsValueError) as error:
            count()
        assert "own_operators::send in 0: its rule in rules= " in str(error.value)
        assert words in str(error.value)
    get_model_bounds(net, (4, 8), rules=rules)  # without values nothing can be checked


def test_an_argument_that_an_operator_lacks_is_named():
    rule = Rule(analog, lambda call: linear(call, call.arg("input"), call.arg("weight")))
    with pytest.raises(SyopsLookupError) as error:
        get_model_syops(Own(), X, rules={project: rule, fire: FIRE})
    assert "own_operators::project has no argument 'input'" in str(error.value)
    assert "known: x, weight" in str(error.value)
    rule = Rule(analog, lambda call: [] if call.arg("bias", None) is None else None)
    assert get_model_syops(Own(), X, rules={project: rule, fire: FIRE}).mac == 0
