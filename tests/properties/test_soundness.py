"""No value outside the derived set, ever: random programs over spikes, run on every input.

Signals are derived once, on ``meta``; then torch itself runs the program on every assignment of
the inputs, and every value of every tensor must have been foretold.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import event, given
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, neuron
from torch import Tensor, nn

from syops import check_full_spike, get_model_syops
from syops.ledger.ledger import Ledger
from syops.ledger.steps import History
from syops.ops.values import INTEGER, TruthTable
from syops.trace.bounds import trace
from syops.trace.neurons.library import SIGNALS
from syops.trace.settings import Settings
from tests.support.examples import examples

# Programs: every step reads earlier tensors and makes one more, or writes into one

Step = tuple[str, int, int, int, float]
"""Operator, three operands, a number."""

SCALARS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, -1, 1, 2)

SAME_POSITION: dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {
    "add": lambda a, b, c, k: a + b,
    "sub": lambda a, b, c, k: a - b,
    "mul": lambda a, b, c, k: a * b,
    "neg": lambda a, b, c, k: -a,
    "abs": lambda a, b, c, k: a.abs(),
    "square": lambda a, b, c, k: a**2,
    "add alpha": lambda a, b, c, k: torch.add(a, b, alpha=2),
    "add scalar": lambda a, b, c, k: a + k,
    "scalar minus": lambda a, b, c, k: k - a,
    "mul scalar": lambda a, b, c, k: a * k,
    "div scalar": lambda a, b, c, k: a / (k or 4),
    "floor div": lambda a, b, c, k: a // (k or 4),
    "remainder": lambda a, b, c, k: a % 2,
    "addcmul": lambda a, b, c, k: torch.addcmul(a, b, c, value=2),
    "lerp": lambda a, b, c, k: torch.lerp(a, b, 0.5),
    "greater": lambda a, b, c, k: a > b,
    "at least": lambda a, b, c, k: (a >= k).float(),
    "equal": lambda a, b, c, k: (a == b).to(torch.int32),
    "not equal": lambda a, b, c, k: a.ne(k),
    "where": lambda a, b, c, k: torch.where(a > 0, b, c),
    "where scalar": lambda a, b, c, k: torch.where(a != b, c, k),
    "masked fill": lambda a, b, c, k: a.masked_fill(b.bool(), k),
    "logical and": lambda a, b, c, k: torch.logical_and(a, b),
    "logical or": lambda a, b, c, k: a.logical_or(b).double(),
    "logical xor": lambda a, b, c, k: torch.logical_xor(a, b),
    "logical not": lambda a, b, c, k: a.logical_not(),
    "bitwise and": lambda a, b, c, k: a.bool() & b.bool(),
    "bitwise or": lambda a, b, c, k: a.int() | b.int(),
    "bitwise xor": lambda a, b, c, k: a.int() ^ b.int(),
    "bitwise not": lambda a, b, c, k: ~a.bool(),
    "maximum": lambda a, b, c, k: torch.maximum(a, b),
    "minimum": lambda a, b, c, k: torch.min(a, b),
    "clamp": lambda a, b, c, k: a.clamp(-1, 1),
    "clamp above": lambda a, b, c, k: a.clamp(max=k),
    "relu": lambda a, b, c, k: F.relu(a),
    "sign": lambda a, b, c, k: a.sign(),
    "heaviside": lambda a, b, c, k: torch.heaviside(a, b),
    "to bool": lambda a, b, c, k: a.bool(),
    "to int": lambda a, b, c, k: a.to(torch.int64),
    "to uint8": lambda a, b, c, k: a.abs().to(torch.uint8),
    "uint8 less 1": lambda a, b, c, k: a.abs().to(torch.uint8) - 1,
    "uint8 less 1.0": lambda a, b, c, k: a.abs().to(torch.uint8) - 1.0,
    "to half": lambda a, b, c, k: a.half(),
    "to float": lambda a, b, c, k: a.float(),
    "clone": lambda a, b, c, k: a.clone(),
    "round": lambda a, b, c, k: (a * 0.75).round(),
    "reshaped": lambda a, b, c, k: a.reshape(-1).view(a.shape),
    "zeros like": lambda a, b, c, k: torch.zeros_like(a) + a,
    "full like": lambda a, b, c, k: torch.full_like(a, k),
    "add in place": lambda a, b, c, k: a.add_(b),
    "sub in place": lambda a, b, c, k: a.sub_(b, alpha=2),
    "mul in place": lambda a, b, c, k: a.mul_(b),
    "mul scalar in place": lambda a, b, c, k: a.mul_(k),
    "clamp in place": lambda a, b, c, k: a.clamp_(min=0),
    "masked fill in place": lambda a, b, c, k: a.masked_fill_(b > 0, k),
    "copy": lambda a, b, c, k: a.copy_(b),
    "fill": lambda a, b, c, k: a.fill_(k),
    "zero": lambda a, b, c, k: a.zero_(),
    "relu in place": lambda a, b, c, k: F.relu(a, inplace=True),
    "less in place": lambda a, b, c, k: a.lt_(b),
    "logical or in place": lambda a, b, c, k: a.logical_or_(b),
    "through a view": lambda a, b, c, k: a.view(-1).add_(b.reshape(-1)),
    "out": lambda a, b, c, k: torch.add(a, b, out=c.view(torch.broadcast_shapes(a.shape, b.shape))),
    "out of less precision": lambda a, b, c, k: torch.mul(
        a.double(), 0.1, out=torch.empty(a.shape, device=a.device)
    ),
    "memory of another dtype": lambda a, b, c, k: torch.empty_like(a).double().copy_(a),
}

INDEX = torch.tensor([1, 0])


def put(a: Tensor, where: Any, value: Tensor | float) -> Tensor:
    a[where] = value
    return a


def equals_a_number(a: Tensor, number: Tensor) -> Tensor:
    """A tensor without dimensions does not make others more precise."""
    return (a * 0.1 == number * 0.1) & (number > 0)


def windows_written(a: Tensor, b: Tensor) -> Tensor:
    """Windows that overlap have as many elements as their storage, but not all of them."""
    both = torch.cat([a.flatten(), b.flatten()])[:6].clone()
    both.unfold(0, 3, 2).fill_(1)
    return both[None]


def overlapping_written(a: Tensor) -> Tensor:
    """What lies in two rows is added to twice."""
    made = a.flatten().clone()
    made.as_strided((2, 2), (1, 1)).add_(1)
    return made[None]


def shifted_in_place(a: Tensor, b: Tensor) -> Tensor:
    """Torch goes from left to right here, and adds to what it has just added to."""
    made = torch.cat([a, b.expand(a.shape)], -1)
    made[..., 1:] += made[..., :-1]
    return made


def delayed(a: Tensor, b: Tensor) -> Tensor:
    """The first column may get everywhere, so this is not a shift by one."""
    made = torch.cat([a, b.expand(a.shape)], -1)
    before = made[..., :-1].clone()
    made[..., 1:] = made[..., :-1]
    return made[..., 1:] - before


def bits_written(a: Tensor) -> Tensor:
    made = torch.zeros(a.shape, device=a.device)
    made.view(torch.int32).fill_(1)
    return made


def parts_written(a: Tensor, b: Tensor) -> Tensor:
    made = torch.zeros(2, *a.shape, dtype=torch.complex64, device=a.device)
    torch.view_as_real(made).copy_(torch.stack([a, b.expand(a.shape)], -1))
    return made.abs()


MOVING: dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {
    "cat": lambda a, b, c, k: torch.cat([a, b]),
    "cat last": lambda a, b, c, k: torch.cat([a, b, c], -1),
    "stack": lambda a, b, c, k: torch.stack([a, b]),
    "stack, taken": lambda a, b, c, k: torch.stack([a, b])[int(k) % 2],
    "first row": lambda a, b, c, k: a[:1],
    "last column": lambda a, b, c, k: a[..., -1:],
    "every other": lambda a, b, c, k: a[..., ::2],
    "selected": lambda a, b, c, k: a[0][None],
    "transposed": lambda a, b, c, k: a.transpose(0, -1),
    "permuted": lambda a, b, c, k: a.permute(*reversed(range(a.dim()))),
    "expanded": lambda a, b, c, k: a.expand(2, *a.shape),
    "repeated": lambda a, b, c, k: a.repeat(*([1] * (a.dim() - 1)), 2),
    "interleaved": lambda a, b, c, k: a.repeat_interleave(2, 0),
    "flipped": lambda a, b, c, k: a.flip(0),
    "rolled": lambda a, b, c, k: a.roll(1, -1),
    "tiled": lambda a, b, c, k: torch.tile(a, (2,)),
    "padded": lambda a, b, c, k: F.pad(a, (1, 1), value=k),
    "tril": lambda a, b, c, k: a.tril(),
    "indexed": lambda a, b, c, k: a[:, INDEX.to(a.device)],
    "index select": lambda a, b, c, k: a.index_select(-1, INDEX.to(a.device)),
    "gathered": lambda a, b, c, k: a.gather(-1, torch.zeros_like(a, dtype=torch.int64)),
    "flattened": lambda a, b, c, k: a.flatten()[None],
    "chunk": lambda a, b, c, k: a.chunk(2, -1)[0],
    "unbound": lambda a, b, c, k: a.unbind(0)[-1][None],
    "diagonal": lambda a, b, c, k: a.diagonal()[None],
    "max pool": lambda a, b, c, k: F.max_pool1d(a.float()[None], 2, 1)[0],
    "max pool padded": lambda a, b, c, k: F.max_pool2d(a[None], 3, 1, 1)[0],
    "largest": lambda a, b, c, k: a.amax(-1, keepdim=True),
    "max of a row": lambda a, b, c, k: a.max(0, keepdim=True).values,
    "sorted": lambda a, b, c, k: a.sort(-1).values,
    "counted": lambda a, b, c, k: a.sum(0, keepdim=True),
    "counted and cut off": lambda a, b, c, k: a.sum(0, keepdim=True).round().clamp(-1, k),
    "running": lambda a, b, c, k: a.cumsum(-1),
    "any": lambda a, b, c, k: a.any(0, keepdim=True),
    "put a row": lambda a, b, c, k: put(a, 0, b[0]),
    "put a column": lambda a, b, c, k: put(a, (..., 0), k),
    "put by index": lambda a, b, c, k: put(a, (slice(None), INDEX.to(a.device)), b),
    "put by mask": lambda a, b, c, k: put(a, b > 0, k),
    "index fill": lambda a, b, c, k: a.index_fill(0, INDEX[1:].to(a.device), k),
    "row in place": lambda a, b, c, k: a[0].add_(b[-1]),
    "column in place": lambda a, b, c, k: a[..., :1].mul_(k),
    "turned in place": lambda a, b, c, k: a.t().sub_(b),
    "swap": lambda a, b, c, k: a.copy_(a.flip(0)),
    "unfolded": lambda a, b, c, k: a.unfold(-1, 2, 1).flatten(1),
    "rows at a time": lambda a, b, c, k: torch.stack([row * k for row in a]),
    "windows written": lambda a, b, c, k: windows_written(a, b),
    "overlapping written": lambda a, b, c, k: overlapping_written(a),
    "shifted in place": lambda a, b, c, k: shifted_in_place(a, b),
    "delayed": lambda a, b, c, k: delayed(a, b),
    "its first column added": lambda a, b, c, k: a.add_(a[..., :1]),
    "a column to another": lambda a, b, c, k: a[..., :1].add_(a[..., 1:2]),
    "bits written": lambda a, b, c, k: bits_written(a),
    "parts written": lambda a, b, c, k: parts_written(a, b),
    "on a diagonal": lambda a, b, c, k: a.diag_embed(),
    "enlarged": lambda a, b, c, k: F.interpolate(
        a.float()[None, None], scale_factor=2, mode="nearest-exact"
    )[0, 0],
    "counted in int8": lambda a, b, c, k: a.repeat(99, 1).sum(0, keepdim=True, dtype=torch.int8),
    "running in int8": lambda a, b, c, k: a.repeat(9, 1).mul(20).cumsum(0, dtype=torch.int8),
    "fractions": lambda a, b, c, k: torch.arange(0, 1, 0.25, device=a.device)[None] + a.amax(),
    "a number of more precision": lambda a, b, c, k: equals_a_number(a.float(), b.double().amax()),
    "collected": lambda a, b, c, k: put(torch.zeros(2, *a.shape, device=a.device), 1, a),
}

OPERATORS = SAME_POSITION | MOVING
GROWTH = 16


def done(step: Step, tensors: list[Tensor]) -> Tensor:
    name, *operands, k = step
    a, b, c = (tensors[place % len(tensors)] for place in operands)
    return OPERATORS[name](a, b, c, k)


def feasible(steps: list[Step], inputs: list[Tensor]) -> list[Step]:
    """Those steps that torch can do: shapes and dtypes decide, no values."""
    tensors = [x.clone() for x in inputs]
    kept: list[Step] = []
    for name, *operands, k in steps:
        step = (name, *(place % len(tensors) for place in operands), k)
        before = [x._version for x in tensors]
        try:
            made = done(step, tensors)
        except (RuntimeError, IndexError, TypeError):
            assert before == [x._version for x in tensors]
            continue
        tensors.append(made)
        kept.append(step)
        if made.numel() > GROWTH * inputs[0].numel():
            break
    return kept


class Program(nn.Module):
    """Every tensor of the program, as it is at the end and as it was, goes to synapses."""

    def __init__(self, steps: list[Step]) -> None:
        super().__init__()
        self.steps = steps
        self.weight = nn.Parameter(torch.ones(1, 1))

    def computed(self, *inputs: Tensor) -> list[Tensor]:
        tensors, seen = list(inputs), []
        for step in self.steps:
            tensors.append(done(step, tensors))
            seen.append(tensors[-1].clone())
        return seen + tensors

    def forward(self, *inputs: Tensor) -> None:
        for tensor in self.computed(*inputs):
            F.linear(tensor.to(self.weight.dtype).reshape(-1, 1), self.weight)


def derived(program: Program, inputs: list[Tensor], signals: list[str]) -> list[Any]:
    """What is foretold of each tensor that goes to the synapses."""
    history = History()
    trace(
        program,
        (tuple(x.to("meta") for x in inputs), {}),
        [SIGNALS[name] for name in signals],
        Ledger(),
        Settings(),
        history,
    )
    (arrivals,) = history.arrivals.values()
    return [arrival.step.signal for (arrival,) in arrivals]


@dataclass
class Inputs:
    """Tensors of small sizes, and everything that can be in them."""

    shapes: tuple[tuple[int, ...], ...]
    signals: tuple[str, ...]

    def assignments(self):
        sets = [(0.0, 1.0) if s == "binary" else (-1.0, 0.0, 1.0) for s in self.signals]
        each = [
            [torch.tensor(v).reshape(shape) for v in itertools.product(values, repeat=size)]
            for values, shape, size in zip(
                sets, self.shapes, (torch.Size(s).numel() for s in self.shapes), strict=True
            )
        ]
        return itertools.product(*each)


MIXED = Inputs(((2, 2), (1, 2), (2, 1)), ("binary", "binary", "ternary"))
PLAIN = Inputs(((2, 2), (2, 2)), ("binary", "binary"))

STEPS = st.tuples(
    st.sampled_from(sorted(OPERATORS)),
    *(st.integers(0, 40) for _ in range(3)),
    st.sampled_from(SCALARS),
)


def violation(signal: Any, values: set[float]) -> bool:
    if isinstance(signal, TruthTable):
        return bool(signal.scale) or not values <= {float(v) for v in signal.support}
    if signal is INTEGER:
        return not all(value.is_integer() for value in values)
    return False


def seen_over(program: Program, assignments: Any) -> list[set[float]]:
    """The values of each tensor that goes to the synapses."""
    with torch.no_grad():
        runs = [program.computed(*(x.clone() for x in inputs)) for inputs in assignments]
        return [
            set(torch.stack(same).double().unique().tolist()) for same in zip(*runs, strict=True)
        ]


@examples(50)
@given(st.sampled_from([MIXED, PLAIN]), st.lists(STEPS, min_size=1, max_size=10))
def test_no_value_is_outside_of_the_derived_set(kind, steps):
    first = [torch.zeros(shape) for shape in kind.shapes]
    program = Program(feasible(steps, first))
    signals = derived(program, first, list(kind.signals))
    seen = seen_over(program, kind.assignments())
    for place, (signal, values) in enumerate(zip(signals, seen, strict=True)):
        assert not violation(signal, values), (place, program.steps, signal, values)
        event("table" if isinstance(signal, TruthTable) else "opaque")


@pytest.mark.parametrize("name", sorted(OPERATORS))
@examples(3)
@given(
    st.lists(STEPS, max_size=2),
    st.lists(STEPS, max_size=2),
    st.tuples(*[st.integers(0, 9)] * 3),
    st.sampled_from(SCALARS),
)
def test_derived_set_of_every_operator(name, before, after, operands, number):
    first = [torch.zeros(shape) for shape in PLAIN.shapes]
    program = Program(feasible([*before, (name, *operands, number), *after], first))
    signals = derived(program, first, list(PLAIN.signals))
    for signal, values in zip(signals, seen_over(program, PLAIN.assignments()), strict=True):
        assert not violation(signal, values), (program.steps, signal, values)


# Same positions: the derived set is the set of values


SAME_STEPS = st.tuples(
    st.sampled_from(sorted(SAME_POSITION)),
    *(st.integers(0, 40) for _ in range(3)),
    st.sampled_from(SCALARS),
)
KINDS = st.lists(st.sampled_from(["binary", "ternary"]), min_size=1, max_size=5)


@examples(150)
@given(KINDS, st.lists(SAME_STEPS, min_size=1, max_size=8))
def test_same_positions_up_to_the_limit_are_exact(kinds, steps):
    """All assignments lie side by side in one tensor, so one run sees every value."""
    sets = [(0.0, 1.0) if kind == "binary" else (-1.0, 0.0, 1.0) for kind in kinds]
    rows = torch.tensor(list(itertools.product(*sets)))
    inputs = [column.clone() for column in rows.unbind(1)]
    program = Program(feasible(steps, inputs))
    signals = derived(program, inputs, kinds)
    for signal, values in zip(signals, seen_over(program, [inputs]), strict=True):
        assert isinstance(signal, TruthTable), (program.steps, signal)
        assert {float(v) for v in signal.support} == values, program.steps


def test_a_table_holds_256_assignments():
    """What eight spikes have in common survives: their sum less itself is nothing."""
    rows = torch.tensor(list(itertools.product((0.0, 1.0), repeat=8)))
    inputs = [column.clone() for column in rows.unbind(1)]
    up: list[Step] = [("add", n, 0 if n == 1 else 6 + n, 0, 1.0) for n in range(1, 8)]
    down: list[Step] = [("add", 7 - n, 7 if n == 1 else 13 + n, 0, 1.0) for n in range(1, 8)]
    program = Program([*up, *down, ("sub", 14, 21, 0, 1.0)])
    signals = derived(program, inputs, ["binary"] * 8)
    seen = seen_over(program, [inputs])
    assert (seen[6], seen[13], seen[14]) == (set(range(9)), set(range(9)), {0})
    for place in (6, 13, 14):
        assert signals[place].support == seen[place]


def test_max_pool_is_not_a_move():
    """Where the largest of 1 - x lies is not where that of x lies: both can be 1."""
    x = [torch.zeros(1, 4)]
    steps: list[Step] = [
        ("scalar minus", 0, 0, 0, 1.0),
        ("max pool", 0, 0, 0, 1.0),
        ("max pool", 1, 0, 0, 1.0),
        ("mul", 2, 3, 0, 1.0),
    ]
    program = Program(steps)
    seen = seen_over(program, Inputs(((1, 4),), ("binary",)).assignments())
    signals = derived(program, x, ["binary"])
    assert seen[3] == {0, 1} == signals[3].support


@pytest.mark.parametrize(
    ("write", "values"),
    [
        (lambda x: x[0].add_(x[1]), "{0,1,2}"),
        (lambda x: x[:, 0].add_(x[:, 1]), "{0,1,2}"),
        (lambda x: x[:, 2:].add_(x[:, :2]), "{0,1,2}"),
        (lambda x: x[:, 1:].add_(x[:, :1]), "{0,1,2}"),
        (lambda x: x[:, ::2].add_(x[:, 1::2]), "{0,1,2}"),
        (lambda x: x.add_(x), "{0,2}"),
        (lambda x: x[:, 1:].add_(x[:, :-1]), "unknown"),
        (lambda x: x.add_(x[:, :1]), "unknown"),
        (lambda x: x[:2].add_(x.t()[:2]), "unknown"),
    ],
)
def test_write_of_a_tensor_into_itself(write, values):
    """Which does no harm where elements are read before they are written, or others are."""

    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = x.clone()
            write(x)
            return self.fc(x)

    (row,) = check_full_spike(Written(), (4, 4), input_signal="binary").rows
    assert row.values == values


def test_windows_at_different_places_do_not_agree():
    """Fractional pooling, twice: where its windows lie is a matter of chance."""

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(9, 1)

        def forward(self, x: Tensor) -> Tensor:
            first, second = (F.fractional_max_pool2d(x, 2, output_size=3) for _ in range(2))
            return self.fc((first - second).flatten(1))

    (row,) = check_full_spike(Pooled(), (1, 1, 8, 8), input_signal="binary").rows
    assert row.values == "{-1,0,1}"


def test_integer_and_float_constants_are_told_apart():
    """1 and 1.0 are equal, but not what they make of an integer tensor."""

    class Scaled(nn.Module):
        def __init__(self, *factors: float) -> None:
            super().__init__()
            self.fc, self.factors = nn.Linear(4, 1), factors

        def forward(self, x: Tensor) -> Tensor:
            dtypes = [(x.long() * factor).dtype for factor in self.factors]
            assert dtypes == [torch.int64 if type(f) is int else x.dtype for f in self.factors]
            return self.fc((x.long() * self.factors[-1]).to(x.dtype))

    for factors in ((3, 3.0), (5.0, 5)):
        assert check_full_spike(Scaled(*factors), (2, 4), input_signal="binary").full_spike


@examples(30)
@given(st.lists(SAME_STEPS, min_size=1, max_size=30))
def test_derived_set_beyond_the_limit_of_atoms(steps):
    """Ten spike tensors have 1024 assignments: more than a table holds."""
    rows = torch.tensor(list(itertools.product((0.0, 1.0), repeat=10)))
    inputs = [column.clone() for column in rows.unbind(1)]
    total: list[Step] = [("add", n, 0 if n == 1 else 8 + n, 0, 1.0) for n in range(1, 10)]
    program = Program(feasible([*total, *steps], inputs))
    signals = derived(program, inputs, ["binary"] * 10)
    for signal, values in zip(signals, seen_over(program, [inputs]), strict=True):
        assert not violation(signal, values), (program.steps, signal, values)
    assert isinstance(signals[8], TruthTable)
    assert signals[8].support >= set(range(11))


def test_a_signal_does_not_outlive_its_values():
    """A tensor is used, overwritten through a view of a view, and used again."""

    class Reused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.after = nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            s = (x > 0).float()
            view = s.t()[1:].t()
            out = self.before(s)
            view += s[:, :-1].clone()
            return out + self.after(s)

    x = torch.randn(3, 4)
    rows = {row.path: row for row in check_full_spike(Reused(), x).rows}
    assert (rows["before"].values, rows["before"].verdict) == ("{0,1}", "spike")
    assert (rows["after"].values, rows["after"].verdict) == ("{0,1,2}", "graded")
    signals = [row.signal for row in get_model_syops(Reused(), x).layers if row.kind == "linear"]
    assert signals == ["binary", "graded"]


# Neurons of spikingjelly, seen through their own arithmetic

NEURONS: dict[str, tuple[str, dict[str, Any]]] = {
    **dict.fromkeys(
        ("IFNode", "LIFNode", "ParametricLIFNode", "QIFNode", "EIFNode", "IzhikevichNode",
         "KLIFNode"), ("{0,1}", {}),
    ),
    "SimpleIFNode": ("{0,1}", {}),
    "GatedLIFNode": ("{0,1}", {"T": 4}),
    "ComplementaryLIFNode": ("{0,1}", {}),
    "HalfThresholdIFNode": ("{0,1}", {}),
    "TernaryIFNode": ("{-1,0,1}", {}),
    "TernaryLIFNode": ("{-1,0,1}", {}),
    "ILIFNode": ("{0..4}", {}),
}  # fmt: skip


class Between(nn.Module):
    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.fc1, self.cell, self.fc2 = nn.Linear(6, 32), cell, nn.Linear(32, 3)
        nn.init.normal_(self.fc1.weight, std=8)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.cell(self.fc1(x)))


@pytest.mark.parametrize("subclass", [False, True], ids=["", "subclass"])
@pytest.mark.parametrize("mode", ["s", "m"])
@pytest.mark.parametrize("name", NEURONS)
def test_neurons_of_spikingjelly_are_recognised(name, mode, subclass):
    """A subclass may compute anything, and is watched from inside."""
    expected, keywords = NEURONS[name]
    kind = getattr(neuron, name, None)
    if kind is None:
        pytest.skip(f"this spikingjelly has no {name}")
    if name == "GatedLIFNode" and mode == "s":
        pytest.skip("GatedLIFNode has no single step")
    if name == "ILIFNode" and subclass:
        pytest.skip("what it adds for its gradient is nothing, but cannot be told from real values")
    kind = type(f"My{name}", (kind,), {}) if subclass else kind
    net = Between(kind(step_mode=mode, **keywords))
    shape = (4, 5, 6) if mode == "m" else (5, 6)
    row = check_full_spike(net, shape).rows[-1]
    assert row.values == expected
    assert row.verdict == ("graded" if ".." in expected else "spike")
    fired: list[Tensor] = []
    net.cell.register_forward_hook(lambda module, args, out: fired.append(out))
    with torch.no_grad():
        for seed in range(5):
            functional.reset_net(net)
            net(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))
    low, *_, high = (int(v) for v in expected.strip("{}").replace("..", ",").split(","))
    assert {float(v) for v in torch.cat([f.flatten() for f in fired]).unique()} == {
        float(v) for v in range(low, high + 1)
    }
