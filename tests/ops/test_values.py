"""Signals: tables that are never smaller than the truth."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from syops import get_model_syops
from syops.ledger.ledger import Ledger
from syops.ops.values import Opaque
from syops.trace.observer import Observer
from syops.trace.settings import Settings

UNARY = {
    "1 - a": lambda a: 1 - a,
    "-a": lambda a: -a,
    "2 * a": lambda a: 2 * a,
    "a / 4": lambda a: a / 4,
    "a.clamp(0, 1)": lambda a: a.clamp(0, 1),
    "a.abs()": torch.abs,
    "a > 0": lambda a: (a > 0).float(),
    "a.bool()": lambda a: a.bool().float(),
    "a.int()": lambda a: a.int().float(),
    "relu": torch.relu,
    "sign": torch.sign,
    "roll": lambda a: a.roll(1, 0),
    "flip": lambda a: a.flip(0),
    "clone": torch.clone,
    "reshape": lambda a: a.reshape(2, -1).reshape(-1),
    "a += 1": lambda a: a.clone().add_(1),
    "first twice": lambda a: a[:1].expand(a.shape[0]),
}
BINARY = {
    "+": torch.add,
    "-": torch.sub,
    "*": torch.mul,
    "max": torch.maximum,
    "min": torch.minimum,
    "==": lambda a, b: (a == b).float(),
    "where": lambda a, b: torch.where(a > 0, b, a),
    "masked": lambda a, b: a.masked_fill(b > 0, 0.0),
    "a -= b": lambda a, b: a.clone().sub_(b),
    "stacked": lambda a, b: torch.stack([a, b]).sum(0),
}
EXPRESSION = st.recursive(
    st.sampled_from(["x", "y", "z"]),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(sorted(UNARY)), inner),
        st.tuples(st.sampled_from(sorted(BINARY)), inner, inner),
    ),
    max_leaves=6,
)
MOVES = {"roll", "flip", "first twice", "stacked"}


def evaluate(expression, tensors):
    if isinstance(expression, str):
        return tensors[expression]
    name, *operands = expression
    function = UNARY.get(name) or BINARY[name]
    return function(*(evaluate(operand, tensors) for operand in operands))


def operators(expression):
    if isinstance(expression, str):
        return set()
    name, *operands = expression
    return {name}.union(*(operators(operand) for operand in operands))


@settings(max_examples=150, deadline=None)
@given(EXPRESSION)
def test_a_derived_set_holds_every_value_and_is_exact_where_positions_stay(expression):
    """All assignments of three spike tensors at once: 8 positions, each a different one."""
    rows = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)))
    inputs = dict(zip("xyz", rows.T.contiguous(), strict=True))
    found = []

    class Model(nn.Module):
        def forward(self, x, y, z):
            out = evaluate(expression, {"x": x, "y": y, "z": z})
            found.append(observer._pass.tensors.signal(out))
            return out

    model = Model()
    observer = Observer(model, Ledger(), Settings())
    with torch.no_grad():
        out = observer.watching(
            lambda: observer.run(tuple(inputs.values()), {}, [(0, 1)] * len(inputs))
        )
    (signal,) = found
    if isinstance(signal, Opaque):
        return
    seen = set(out.tolist())
    assert seen <= {float(value) for value in signal.support}
    if not operators(expression) & MOVES:
        assert seen == {float(value) for value in signal.support}


def test_a_network_of_logic_stays_binary_beyond_the_limit_of_atoms():
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 1)

        def forward(self, *spikes):
            x = spikes[0]
            for s in spikes[1:]:
                x = s * (1 - x) + x * (1 - s)
                x = s + x - s * x
            return self.fc(x)

    spikes = tuple((torch.rand(3, 4) < 0.5).float() for _ in range(40))
    report = get_model_syops(Deep(), spikes, input_signal="binary")
    assert [row.signal for row in report.layers if row.kind == "linear"] == ["binary"]


MOVED = {
    "as it is": lambda a: a,
    "rolled": lambda a: a.roll(1, -1),
    "rolled by two": lambda a: a.roll(2, -1),
    "flipped": lambda a: a.flip(-1),
    "transposed": lambda a: a.mT,
    "transposed and flipped": lambda a: a.mT.flip(0),
    "first row": lambda a: a[:1].expand_as(a),
    "second row": lambda a: a[1:2].expand_as(a),
    "first column": lambda a: a[:, :1],
    "last column": lambda a: a[:, -1:],
    "indexed": lambda a: a[torch.tensor([2, 0, 1])],
    "indexed otherwise": lambda a: a[torch.tensor([1, 0, 2])],
    "gathered": lambda a: a.gather(1, torch.tensor([[1, 0, 2]] * 3)),
    "max-pooled": lambda a: torch.max_pool2d(a[None], 3, 1, 1)[0],
    "stacked, one of them": lambda a: torch.stack([a, a.mT])[1],
    "put together": lambda a: torch.cat([a[1:], a[:1]]),
    "triangle": torch.tril,
    "complement": lambda a: 1 - a,
}


IMAGES = torch.tensor(list(itertools.product((0.0, 1.0), repeat=9))).reshape(512, 3, 3)


@pytest.fixture(scope="module")
def moved():
    """Every image, moved in each way."""
    return {name: torch.stack([move(x) for x in IMAGES]) for name, move in MOVED.items()}


@pytest.mark.parametrize(
    ("first", "second"), list(itertools.combinations_with_replacement(MOVED, 2))
)
def test_two_moves_of_one_tensor_agree_only_where_they_are_the_same(moved, first, second):
    """The sum of two moved copies, over all 512 images of 3 x 3 spikes."""

    class Model(nn.Module):
        def forward(self, x):
            out = MOVED[first](x) + MOVED[second](x)
            signals.append(observer._pass.tensors.signal(out))
            return out

    model, signals = Model(), []
    observer = Observer(model, Ledger(), Settings())

    def run():
        for x in (IMAGES[0], IMAGES[137]):
            observer.run((x,), {}, [(0, 1)])

    with torch.no_grad():
        observer.watching(run)
    supports = {frozenset(float(v) for v in signal.support) for signal in signals}
    (support,) = supports
    assert {*(moved[first] + moved[second]).unique().tolist()} <= support
    if first == second and not first.startswith(("indexed", "gathered")):
        assert support == {0, 2} if first != "triangle" else support <= {0, 2}
