"""Operators on functions are counted by what the functions do."""

import importlib
import subprocess
import sys

import pytest
import torch
from torch import nn

from syops import SyopsError, check_full_spike, get_model_bounds, get_model_syops

X = (torch.rand(4, 8, generator=torch.Generator().manual_seed(0)) < 0.5).float()


class Net(nn.Module):
    def __init__(self, run):
        super().__init__()
        self.a, self.b, self.run = nn.Linear(8, 8, bias=False), nn.Linear(8, 8), run

    def forward(self, x):
        return self.run(self, x)


def loop(net, x):
    def more(i, x):
        return i < 3

    def step(i, x):
        return i + 1, (net.a(x) > 0).float()

    return torch.while_loop(more, step, (torch.tensor(0), x))[1]


def dense_of(report):
    return {row.path: (row.calls, row.dense) for row in report.rows if row.kind == "linear"}


@pytest.mark.parametrize("branch", [True, False])
def test_branch_of_cond_that_is_taken_is_counted(branch):
    def run(net, x):
        flag = x.sum() > 0 if branch else x.sum() < 0
        return torch.cond(flag, lambda x: net.a(x), lambda x: net.b(x), (x,))

    report = get_model_syops(Net(run), X)
    assert dense_of(report) == {"a" if branch else "b": (1, 4 * 64)}
    assert report.totals.ac_events == int(X.sum()) * 8
    with pytest.raises(SyopsError, match="needs values"):
        get_model_bounds(Net(run), X)


@pytest.mark.parametrize("times", [2, torch.tensor([2, 0] * 4)])
def test_spikes_that_are_repeated_inside_of_cond_stay_spikes(times):
    def run(net, x):
        s = (x > 0).float()
        return torch.cond(
            x.sum() > 0,
            lambda s: net.a(s.repeat_interleave(times, 1)[:, :8]),
            lambda s: net.b(s),
            (s,),
        )

    report = get_model_syops(Net(run), X)
    assert [layer.signal for layer in report.layers if layer.path == "a"] == ["binary"]
    fired = (X > 0).repeat_interleave(times, 1)[:, :8]
    assert report.totals.ac_events == int(fired.sum()) * 8


def test_every_turn_of_while_loop_is_counted():
    report = get_model_syops(Net(loop), X)
    assert dense_of(report) == {"a": (3, 3 * 4 * 64)}
    assert {layer.signal for layer in report.layers if layer.path == "a"} == {"binary"}


def test_flex_attention_is_counted():
    flex = importlib.import_module("torch.nn.attention.flex_attention")

    def run(net, x):
        heads = x.reshape(1, 2, 4, 4)
        return flex.flex_attention(heads, heads, heads)

    report = get_model_syops(Net(run), X)
    products = [row for row in report.rows if row.kind == "matmul"]
    assert sum(row.dense for row in products) == 2 * (2 * 4 * 4 * 4)
    assert not report.unaccounted


def test_checkpointed_layers_are_counted():
    from torch.utils.checkpoint import checkpoint

    report = get_model_syops(Net(lambda net, x: checkpoint(net.a, x, use_reentrant=False)), X)
    assert dense_of(report) == {"a": (1, 4 * 64)}
    audit = check_full_spike(Net(lambda net, x: checkpoint(net.a, x, use_reentrant=False)), X)
    assert [row.layer for row in audit.rows] == ["a"]


def test_operator_that_cannot_be_watched_is_named_with_its_layer():
    wrap = importlib.import_module("torch._ops").HigherOrderOperator

    class Opaque(wrap):
        def __call__(self, function, x):
            return super().__call__(function, x)

    opaque = Opaque("syops_test_opaque")
    opaque.fallthrough(torch._C.DispatchKey.AutogradCPU)
    model = nn.Sequential(Net(lambda net, x: opaque(net.a, x)))
    with pytest.raises(SyopsError, match="syops_test_opaque in 0: .* call its functions directly"):
        get_model_syops(model, X)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "dense"),
    [
        ("torch.cond(x.sum() > 0, self.a, self.b, (x,))", 256),
        ("torch.while_loop(lambda x: x.sum() > 0, lambda x: (self.a(x) * 0,), (x,))[0]", 256),
        ("flex_attention(x[None, None], x[None, None], x[None, None])", 256),
        ("torch.compile(self.a)(x)", 256),
    ],
)
@pytest.mark.skipif(torch.__version__ < "2.7", reason="flex_attention loads the compiler there")
def test_compiler_loaded_during_a_count_is_disabled(run, dense):
    """In a process of its own: these load the compiler when they are first called."""
    code = f"""
import sys, torch
from torch import nn
from torch.nn.attention.flex_attention import flex_attention
from syops import get_model_syops

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        return {run}

model, x = Net(), torch.ones(4, 8)
found = sys.meta_path[:]
assert "torch._dynamo" not in sys.modules
first = get_model_syops(model, x)
assert "torch._dynamo" in sys.modules
assert sys.meta_path == found
assert torch._dynamo.eval_frame._stance.stance == "default"
assert torch._dynamo.__spec__.loader is torch._dynamo.__loader__
assert torch._dynamo.__loader__.get_source("torch._dynamo")
assert sum(row.dense for row in first.rows if row.kind in ("linear", "matmul")) == {dense}
assert first.rows == get_model_syops(model, x).rows
assert torch.compile(lambda x: x + 1, backend="eager")(x).sum() == 64
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.slow
def test_what_the_compiler_computes_while_it_is_loaded_is_not_counted():
    """In a process of its own: torch 2.6 computes something then; and before that, an error.

    Either way the hook on imports is gone afterwards.
    """
    code = """
import sys, torch
from torch import nn
from syops import SyopsError, get_model_syops

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        return torch.cond(x.sum() > 0, self.fc, self.fc, (x,))

found = sys.meta_path[:]
try:
    get_model_syops(nn.Linear(3, 3), torch.ones(4, 8))
except SyopsError:
    assert sys.meta_path == found
    assert "torch._dynamo" not in sys.modules
else:
    raise AssertionError
first = get_model_syops(Net(), torch.ones(4, 8))
assert "torch._dynamo" in sys.modules
assert sys.meta_path == found
assert [row.operator for row in first.rows] == ["sum", "linear"], first.rows
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
