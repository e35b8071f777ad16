"""No synaptic operator disappears, no value is outside its set, and weights depend on no data.

Random programs over data, parameters, buffers and constants, each held against torch itself: every
product that FlopCounterMode sees belongs to a row or was prepared from weights, and what is called
a weight is the same tensor whatever the data and the dice.

    SYOPS_EXAMPLES=200 SYOPS_SEED=1 pytest tests/properties/test_no_layer_disappears.py
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.flop_counter import FlopCounterMode

from syops import SyopsError, check_full_spike, get_model_bounds, get_model_syops
from syops.ops.kinds import SPIKES, SYNAPTIC
from syops.ops.values import ANALOG, INTEGER, LEARNED, Interval, TruthTable, kind_of
from syops.trace.repeats import Value
from tests.support.examples import random_examples, times
from tests.support.forward import forward_pass

PROGRAMS = times(75)
SEED = int(os.environ.get("SYOPS_SEED", "0"))
N = 4
"""All tensors are [N, N], or broadcast to it."""

# Steps: each makes one tensor more of earlier ones


def full(t: Tensor) -> Tensor:
    return t.float().expand(N, N)


def row(t: Tensor) -> Tensor:
    return full(t)[0]


def places(t: Tensor) -> Tensor:
    """Positions that depend on values."""
    return (full(t).abs() * 3).nan_to_num(0, 0, 0).clamp(0, 99).long() % N


def mask(t: Tensor) -> Tensor:
    return full(t) > 0.3


def chances(t: Tensor) -> Tensor:
    return full(t).sigmoid()


def number(t: Tensor) -> float:
    return float(full(t).sum().clamp(-2, 2))


def place(t: Tensor) -> int:
    return int(row(t).argmax())


def written(canvas: Tensor, where: Any, value: Any) -> Tensor:
    canvas[where] = value
    return canvas


Make = Callable[[nn.Module, Tensor, Tensor, Tensor, float], Tensor]

PRODUCTS: dict[str, Make] = {
    "linear": lambda m, a, b, c, k: F.linear(full(a), full(b)),
    "linear with bias": lambda m, a, b, c, k: F.linear(full(a), full(b), row(c)),
    "matmul": lambda m, a, b, c, k: full(a) @ full(b),
    "mm out": lambda m, a, b, c, k: torch.mm(full(a), full(b), out=torch.empty(N, N)),
    "batched": lambda m, a, b, c, k: torch.bmm(full(a)[None], full(b)[None])[0],
    "added": lambda m, a, b, c, k: torch.addmm(full(c), full(a), full(b)),
    "added in place": lambda m, a, b, c, k: full(c).clone().addmm_(full(a), full(b)),
    "einsum": lambda m, a, b, c, k: torch.einsum("ij,kj->ik", full(a), full(b)),
    "vector": lambda m, a, b, c, k: torch.mv(full(a), row(b)).expand(N, N),
    "dot": lambda m, a, b, c, k: torch.dot(row(a), row(b)).expand(N, N),
    "conv 1d": lambda m, a, b, c, k: F.conv1d(full(a)[None], full(b)[:, :, None])[0],
    "conv 2d": lambda m, a, b, c, k: F.conv2d(
        full(a)[None, None], full(b)[None, None, :3, :3], padding=1
    )[0, 0],
    "transposed conv": lambda m, a, b, c, k: F.conv_transpose1d(full(a)[None], full(b)[:, :, None])[
        0
    ],
    "attention": lambda m, a, b, c, k: (
        (full(a) @ full(b).t()).softmax(-1) @ full(c)
    ),
    "the layer": lambda m, a, b, c, k: m.layer(full(a)),
    "the convolution": lambda m, a, b, c, k: m.conv(full(a)[None])[0],
    "rows one by one": lambda m, a, b, c, k: torch.stack([r @ full(b) for r in full(a)]),
}  # fmt: skip

SELECTIONS: dict[str, Make] = {
    "index": lambda m, a, b, c, k: full(a)[places(b)[0]],
    "index of two": lambda m, a, b, c, k: full(a)[places(b), places(c)],
    "index select": lambda m, a, b, c, k: full(a).index_select(1, places(b)[0]),
    "gather": lambda m, a, b, c, k: full(a).gather(0, places(b)),
    "take": lambda m, a, b, c, k: full(a).take(places(b)),
    "take along": lambda m, a, b, c, k: full(a).take_along_dim(places(b), 1),
    "embedding": lambda m, a, b, c, k: F.embedding(places(b)[0], full(a)),
    "the table": lambda m, a, b, c, k: m.table(places(b)[0]),
    "codebook": lambda m, a, b, c, k: full(a)[torch.cdist(full(b), full(a)).argmin(1)],
    "quantiser": lambda m, a, b, c, k: row(a)[torch.bucketize(full(b), m.levels)],
    "search": lambda m, a, b, c, k: row(a)[
        torch.searchsorted(row(c).sort()[0].contiguous(), full(b).contiguous()).clamp(max=N - 1)
    ],
    "argsort": lambda m, a, b, c, k: full(a)[row(b).argsort()],
    "topk": lambda m, a, b, c, k: full(a)[row(b).topk(N)[1]],
    "one-hot": lambda m, a, b, c, k: F.one_hot(places(b)[0], N).float() * full(a),
    "one-hot times": lambda m, a, b, c, k: F.one_hot(places(b)[0], N).float() @ full(a),
    "where": lambda m, a, b, c, k: torch.where(mask(a), full(b), full(c)),
    "where zero": lambda m, a, b, c, k: torch.where(mask(a), full(b), 0.0),
    "masked fill": lambda m, a, b, c, k: full(a).masked_fill(mask(b), k),
    "masked fill in place": lambda m, a, b, c, k: full(a).clone().masked_fill_(mask(b), k),
    "masked scatter": lambda m, a, b, c, k: full(a).masked_scatter(mask(b), full(c)),
    "times mask": lambda m, a, b, c, k: full(a) * mask(b),
    "put by mask": lambda m, a, b, c, k: written(torch.zeros(N, N), mask(a), row(b)[0]),
    "put by index": lambda m, a, b, c, k: written(full(a).clone(), places(b)[0], full(c)),
    "index copy": lambda m, a, b, c, k: full(a).index_copy(0, row(b).argsort(), full(c)),
    "index fill": lambda m, a, b, c, k: full(a).index_fill(0, places(b)[0], k),
    "index add": lambda m, a, b, c, k: full(a).index_add(0, places(b)[0], full(c)),
    "scatter": lambda m, a, b, c, k: full(a).scatter(1, places(b), full(c)),
    "scatter in place": lambda m, a, b, c, k: full(a).clone().scatter_(1, places(b), k),
    "scatter add": lambda m, a, b, c, k: full(a).scatter_add(1, places(b), full(c)),
    "put": lambda m, a, b, c, k: full(a).clone().put_(places(b)[0], row(c)),
    "select out": lambda m, a, b, c, k: torch.index_select(
        full(a), 0, places(b)[0], out=torch.empty(N, N)
    ),
    "largest": lambda m, a, b, c, k: full(a).max(0, keepdim=True)[0].expand(N, N),
    "sorted": lambda m, a, b, c, k: full(a).sort(1)[0],
}

CHANCE: dict[str, Make] = {
    "normal like": lambda m, a, b, c, k: torch.randn_like(full(a).contiguous()),
    "uniform like": lambda m, a, b, c, k: torch.rand_like(full(a).contiguous()),
    "bernoulli": lambda m, a, b, c, k: torch.bernoulli(chances(a)),
    "bernoulli in place": lambda m, a, b, c, k: full(a).clone().bernoulli_(0.5),
    "normal": lambda m, a, b, c, k: torch.normal(full(a), 1.0),
    "dropout": lambda m, a, b, c, k: F.dropout(full(a), training=True),
    "dropout in eval mode": lambda m, a, b, c, k: F.dropout(full(a), training=False),
    "multinomial": lambda m, a, b, c, k: full(a)[torch.multinomial(chances(b)[0], N)],
    "shuffled": lambda m, a, b, c, k: full(a)[torch.randperm(N)],
    "rolled by chance": lambda m, a, b, c, k: full(a).roll(int(torch.randint(0, N, ())), 0),
    "poisson": lambda m, a, b, c, k: torch.poisson(chances(a)),
}

READS: dict[str, Make] = {
    "times a number read": lambda m, a, b, c, k: full(a) * number(b),
    "row chosen by a number": lambda m, a, b, c, k: full(a)[place(b)].expand(N, N),
    "rows chosen by a list": lambda m, a, b, c, k: full(a)[places(b)[0].tolist()],
    "rows chosen by numpy": lambda m, a, b, c, k: full(a)[places(b)[0].numpy()],
    "a literal of tensors": lambda m, a, b, c, k: torch.tensor(list(row(b))) * full(a),
    "back from numpy": lambda m, a, b, c, k: torch.from_numpy(full(b).numpy().round()) + full(a),
    "rolled by a number": lambda m, a, b, c, k: full(a).roll(place(b), 0),
    "times a truth value": lambda m, a, b, c, k: full(a) * float(mask(b).any()),
    "filled with a number": lambda m, a, b, c, k: torch.full((N, N), number(a)),
}

POINTWISE: dict[str, Make] = {
    "add": lambda m, a, b, c, k: full(a) + b,
    "sub": lambda m, a, b, c, k: full(a) - b,
    "mul": lambda m, a, b, c, k: full(a) * b,
    "times": lambda m, a, b, c, k: full(a) * k,
    "plus": lambda m, a, b, c, k: a + k,
    "minus": lambda m, a, b, c, k: k - full(a),
    "over": lambda m, a, b, c, k: full(a) / (k or 4),
    "less mean": lambda m, a, b, c, k: full(a) - full(a).mean(1, keepdim=True),
    "standardised": lambda m, a, b, c, k: full(a) / (full(a).abs().amax() + 1),
    "softmax": lambda m, a, b, c, k: full(a).softmax(-1),
    "sigmoid": lambda m, a, b, c, k: full(a).sigmoid(),
    "tanh": lambda m, a, b, c, k: full(a).tanh(),
    "relu": lambda m, a, b, c, k: F.relu(full(a)),
    "clamp": lambda m, a, b, c, k: full(a).clamp(-1, 1),
    "round": lambda m, a, b, c, k: full(a).round(),
    "fired": lambda m, a, b, c, k: (full(a) > 0.5).float(),
    "fired by rounding": lambda m, a, b, c, k: full(a).clamp(0, 3).round(),
    "sign": lambda m, a, b, c, k: full(a).sign(),
    "greater": lambda m, a, b, c, k: full(a) > b,
    "and": lambda m, a, b, c, k: mask(a) & mask(b),
    "maximum": lambda m, a, b, c, k: torch.maximum(full(a), full(b)),
    "lerp": lambda m, a, b, c, k: torch.lerp(full(a), full(b), 0.5),
    "summed": lambda m, a, b, c, k: full(a).sum(0),
    "mean": lambda m, a, b, c, k: full(a).mean(),
    "running": lambda m, a, b, c, k: full(a).cumsum(1).clamp(-9, 9),
    "add in place": lambda m, a, b, c, k: full(a).clone().add_(full(b)),
    "mul in place": lambda m, a, b, c, k: full(a).clone().mul_(full(b)),
    "copied": lambda m, a, b, c, k: torch.empty(N, N).copy_(full(a)),
    "a row written": lambda m, a, b, c, k: written(full(a).clone(), 1, row(b)),
    "rows written": lambda m, a, b, c, k: written(torch.zeros(N, N), slice(1, 3), full(b)[:2]),
    "through a view": lambda m, a, b, c, k: (t := full(a).clone(), t.view(-1)[:5].copy_(
        full(b).reshape(-1)[:5]))[0],
    "kept in a buffer": lambda m, a, b, c, k: m.state.copy_(full(a)),
    "transposed": lambda m, a, b, c, k: full(a).t(),
    "flipped": lambda m, a, b, c, k: full(a).flip(0),
    "rolled": lambda m, a, b, c, k: full(a).roll(1, 0),
    "cat": lambda m, a, b, c, k: torch.cat([full(a)[:2], full(b)[2:]]),
    "padded": lambda m, a, b, c, k: F.pad(full(a)[:, :2], (1, 1), value=k),
    "tril": lambda m, a, b, c, k: full(a).tril(),
    "detached": lambda m, a, b, c, k: a.detach(),
    "data": lambda m, a, b, c, k: a.data,
    "double": lambda m, a, b, c, k: full(a).double(),
    "half": lambda m, a, b, c, k: full(a).half(),
    "one column": lambda m, a, b, c, k: full(a)[:, :1],
    "one number": lambda m, a, b, c, k: full(a)[0, 0],
    "constant": lambda m, a, b, c, k: torch.full((N, N), k),
    "positions": lambda m, a, b, c, k: torch.arange(N),
    "eye": lambda m, a, b, c, k: torch.eye(N),
    "literal": lambda m, a, b, c, k: torch.tensor([0.5, 2.0, -1.0, 0.0]),
    "literal index": lambda m, a, b, c, k: full(a)[torch.tensor([2, 0, 3, 1])],
    "its own order": lambda m, a, b, c, k: full(a)[m.order],
    "zeros like": lambda m, a, b, c, k: torch.zeros_like(full(a)) + b,
    "ones like": lambda m, a, b, c, k: torch.ones_like(full(a)),
    "layer norm": lambda m, a, b, c, k: F.layer_norm(full(a), (N,)),
    "normalised": lambda m, a, b, c, k: F.normalize(full(a), dim=1),
    "neuron": lambda m, a, b, c, k: m.fire(full(a)),
}  # fmt: skip

GROUPS = (PRODUCTS, SELECTIONS, CHANCE, READS, POINTWISE)
STEPS: dict[str, Make] = {name: make for group in GROUPS for name, make in group.items()}
WEIGHTS_OF_GROUPS = (5, 4, 1, 1, 6)
SCALARS = (-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, -0.3)

Step = tuple[str, int, int, int, float]


def drawn(rng: random.Random) -> list[Step]:
    steps: list[Step] = []
    for _ in range(rng.randint(2, 9)):
        (group,) = rng.choices(GROUPS, WEIGHTS_OF_GROUPS)
        name = rng.choice(sorted(group))
        # Late tensors more often: chains are where layers get lost.
        operands = [rng.randrange(rng.choice((2, 10, 40))) for _ in range(3)]
        if steps and rng.random() < 0.5:
            operands[rng.randrange(3)] = 9 + len(steps)
        steps.append((name, *operands, rng.choice(SCALARS)))  # type: ignore[arg-type]
    return steps


class Fires(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0.5, 1.0, 0.0)


class One(nn.Module):
    """One step, so that a path says which one a product belongs to."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    def forward(self, program: list[Program], tensors: list[Tensor]) -> Tensor:
        name, *operands, k = self.step
        return STEPS[name](program[0], *(tensors[i % len(tensors)] for i in operands), k)


class Program(nn.Module):
    """The tensors that it starts with are numbers 0 to 9, those that it makes follow."""

    def __init__(self, steps: list[Step]) -> None:
        super().__init__()
        torch.manual_seed(len(steps))
        self.w, self.u = (nn.Parameter(torch.randn(N, N) / 2) for _ in range(2))
        self.v, self.a = nn.Parameter(torch.rand(N)), nn.Parameter(torch.tensor(0.7))
        self.register_buffer("kept", torch.rand(N, N).round())
        self.register_buffer("mask", torch.rand(N, N) > 0.5)
        self.register_buffer("order", torch.tensor([2, 0, 3, 1]))
        self.register_buffer("levels", torch.tensor([0.0, 0.5, 1.0]))
        self.register_buffer("state", torch.rand(N, N))
        self.layer, self.conv = nn.Linear(N, N), nn.Conv1d(N, N, 3, padding=1)
        self.table, self.fire = nn.Embedding(N, N), Fires()
        self.steps = nn.ModuleList(map(One, steps))
        self.requires_grad_(False)
        self.made: Callable[[int, Tensor], None] = lambda place, tensor: None

    def forward(self, spikes: Tensor, values: Tensor) -> Tensor:
        tensors = [
            *(spikes, values, self.w, self.u, self.v, self.a, self.kept, self.mask, self.state),
            torch.arange(N),
        ]
        for step in self.steps:
            tensors.append(step([self], tensors))
            self.made(len(tensors) - 1, tensors[-1])
        for place, tensor in enumerate(tensors):
            self.made(place, tensor)
        return full(tensors[-1])


def data(seed: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    spikes = (torch.rand(N, N, generator=rng) < 0.5).float()
    return spikes, torch.randn(N, N, generator=rng)


# What torch says


def possible(steps: list[Step]) -> list[Step]:
    """Those steps that torch can do, and whose values stay finite."""
    steps = list(steps)
    while steps:
        program = Program(steps)
        tensors: dict[int, Tensor] = {}
        program.made = lambda place, tensor, kept=tensors: kept.__setitem__(place, tensor.clone())
        try:
            with torch.no_grad():
                for seed in range(2):
                    torch.manual_seed(seed)
                    program(*data(seed))
                    for place, tensor in tensors.items():
                        if not bool(tensor.double().abs().le(1e4).all()):
                            raise ArithmeticError(place)
            return steps
        except ArithmeticError as error:
            del steps[max(0, error.args[0] - 10)]
        except (RuntimeError, IndexError, TypeError, ValueError):
            del steps[max(0, max(tensors, default=9) - 9) if len(tensors) < 10 else -1]
    return steps


MORE = {
    torch.ops.aten.addmm_: lambda c, a, b, *_, **__: 2 * a[0] * a[1] * b[1],
    torch.ops.aten.mv: lambda a, b, *_, **__: 2 * a[0] * a[1],
    torch.ops.aten.dot: lambda a, b, *_, **__: 2 * a[0],
}
"""Products that FlopCounterMode has no formula for: of the shapes of their arguments."""


def flops(model: Program, inputs: tuple[Tensor, ...]) -> Counter[str]:
    """The floating-point operations of products, by module; a multiply-accumulate is two."""
    named = ("the layer", "the convolution")  # which are modules of their own inside of a step
    own = {f"steps.{i}" for i, one in enumerate(model.steps) if one.step[0] not in named}
    with FlopCounterMode(display=False, custom_mapping=MORE) as counter, torch.no_grad():
        model(*inputs)
    found: Counter[str] = Counter()
    for path, by_operator in counter.get_flop_counts().items():
        name = path.partition(".")[2]
        if name in ("layer", "conv") or name in own:
            found[name] += sum(by_operator.values())
    return +found


# What syops says


def accounted(report: Any) -> Counter[str]:
    found: Counter[str] = Counter()
    for entry in (*report.rows, *report.prepared):
        if entry.kind in ("conv", "linear", "matmul") and entry.operator != "cdist":
            found[entry.path] += 2 * entry.dense
    return +found


@dataclass
class Told:
    signal: Any
    fixed: bool
    value: Tensor
    numbered: Value | None


def told(steps: list[Step], seed: int) -> list[Told]:
    """What is known of every tensor when it is made and at the end, and what it holds."""
    model = Program(steps)
    inputs = data(seed)
    torch.manual_seed(seed)
    watched, watch = forward_pass(model)
    watched.give(inputs[0], (0, 1))
    watched.give(inputs[1], ANALOG)
    for place, tensor in enumerate(inputs):
        watched.repeats.give(place, tensor)
    found = []

    def made(place: int, tensor: Tensor) -> None:
        record, signal = watched.tensors.known(tensor)
        fixed = record.fixed if record else signal is LEARNED
        with _disable_current_modes():
            numbered = record.value if record else None
            found.append(Told(signal, fixed, tensor.detach().clone(), numbered))

    model.made = made
    with torch.no_grad():
        watch.start()
        try:
            model(*inputs)
        finally:
            watch.stop()
    return found


def outside(signal: Any, value: Tensor) -> bool:
    """Whether a tensor holds what its signal does not foretell."""
    values = value.double().flatten()
    if isinstance(signal, TruthTable):
        if not signal.values:
            return False  # memory that nothing was written into
        support = torch.tensor([float(v) for v in sorted(signal.support)], dtype=torch.float64)
        if not signal.scale:
            return not bool(torch.isin(values, support).all())
        return not signal.scale.dims and len(values.unique()) > len(support)
    if isinstance(signal, Interval) and not bool(
        ((values >= signal.low) & (values <= signal.high)).all()
    ):
        return True
    return kind_of(signal) is INTEGER and bool((values != values.round()).any())


def fault(steps: list[Step]) -> str:
    """What is wrong with what syops says of a program; "" if nothing is."""
    runs = [told(steps, seed) for seed in range(3)]
    for run in runs:
        by_number: dict[int, Tensor] = {}
        for one in run:
            if one.numbered is None:
                continue
            known = by_number.setdefault(one.numbered.number, one.value)
            if not torch.equal(known, one.value):
                return f"{known.tolist()} and {one.value.tolist()} have one number"
            axis = one.numbered.axis
            if axis is not None and one.numbered.is_sure:
                step, *others = one.value.unbind(axis)
                if not all(torch.equal(step, other) for other in others):
                    return f"{one.value.tolist()} is taken for copies along {axis}"
    for several in zip(*runs, strict=True):
        first = several[0]
        for one in several:
            if outside(one.signal, one.value):
                return f"{one.value.tolist()} is outside of {one.signal}"
        if all(one.fixed or one.signal is LEARNED for one in several) and not all(
            torch.equal(first.value, one.value) for one in several
        ):
            return f"a weight that depends on data or chance: {first.signal}"
    inputs = data(0)
    torch.manual_seed(0)
    truth = flops(Program(steps), inputs)
    torch.manual_seed(0)
    report = get_model_syops(Program(steps), inputs)
    if accounted(report) != truth:
        return f"flops {dict(truth)}, accounted {dict(accounted(report))}"
    try:
        bounds = get_model_bounds(Program(steps), inputs)
    except SyopsError:
        return ""  # it needs values
    if accounted(bounds) != truth:
        return f"flops {dict(truth)}, in the bounds {dict(accounted(bounds))}"
    low, high = bounds.ec_mj
    if not low * (1 - 1e-9) <= report.dc_mj <= high * (1 + 1e-9):
        return f"DC {report.dc_mj} is outside of EC, {low} to {high}"
    proven = {
        row.layer
        for row in check_full_spike(Program(steps), inputs, allow=()).rows
        if row.verdict == "spike"
    }
    wrong = {v.name for v in report.layers if v.kind in SYNAPTIC and v.signal not in SPIKES}
    return (
        f"proven to get spikes, but counted otherwise: {proven & wrong}" if proven & wrong else ""
    )


def smallest(steps: list[Step]) -> list[Step]:
    """A faulty program without the steps that have no part in the fault."""
    shorter = True
    while shorter:
        shorter = False
        for place in reversed(range(len(steps))):
            moved = [
                (name, *(o - (o > 10 + place) for o in operands), k)
                for name, *operands, k in steps[:place] + steps[place + 1 :]
            ]
            if moved and possible(moved) == moved and fault(moved):  # type: ignore[comparison-overlap]
                steps, shorter = moved, True  # type: ignore[assignment]
                break
    return steps


@random_examples
def test_no_layer_disappears():
    with_products = 0
    for number_ in range(PROGRAMS):
        steps = possible(drawn(random.Random(f"{SEED}/{number_}")))
        if not steps:
            continue
        wrong = fault(steps)
        if wrong:
            small = smallest(steps)
            pytest.fail(f"program {SEED}/{number_}: {fault(small)}\n{small}")
        with_products += bool(flops(Program(steps), data(0)))
    print(f"{PROGRAMS} programs, {with_products} with products")
    assert with_products > PROGRAMS / 2


@pytest.mark.parametrize(
    "steps",
    [
        # What was computed with copies need not hold copies.
        [("mm out", 1, 9, 12, 3.0), ("rows one by one", 10, 0, 0, 3.0)],
        # A number that was read out of data is written into a copy of weights.
        [("filled with a number", 1, 23, 10, 3.0), ("a row written", 8, 10, 12, 2.0)],
    ],
)
def test_programs_that_were_wrong_once(steps):
    assert not fault(steps)
