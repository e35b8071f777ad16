"""A loop over time-steps in the caller is counted as the same loop in the model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from syops import count_syops, get_model_syops
from tests.support.examples import examples
from tests.support.loops import NEURONS, Looped, Network, forward_rows, run, synaptic

STEPS, SAMPLES = 5, 3


def events(seed: int = 1) -> torch.Tensor:
    drawn = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2, (STEPS, SAMPLES, 6), generator=drawn).float()


def in_model(library: str):
    return get_model_syops(Looped(library), events(), batch_dim=1)


def in_caller(library: str):
    net = Network(library).eval()
    with torch.no_grad(), count_syops(net, time_steps=STEPS) as count:
        run(net, events())
    return count.report


@pytest.mark.parametrize("library", NEURONS)
def test_rows_of_a_loop_in_the_caller(library):
    inside, outside = in_model(library), in_caller(library)
    assert outside.rows == inside.rows
    assert (outside.samples, outside.passes) == (inside.samples, inside.passes) == (SAMPLES, 1)
    assert outside.dc_mj == inside.dc_mj > 0
    assert outside.time_steps == STEPS
    assert outside.energy_ratio < 1
    assert not outside.warnings
    assert not outside.notes


@pytest.mark.parametrize("count", [in_model, in_caller])
def test_one_network_in_five_libraries(count):
    reports = {library: count(library) for library in NEURONS}
    first, *others = (synaptic(report.rows) for report in reports.values())
    assert [path for path, *_ in first] == ["fc1", "fc2", "head", "rec"]
    assert all(0 < drive[1] < drive[0] for *_, drive in first)
    assert all(rows == first for rows in others)


class Cell(nn.Module):
    """A random network for one time-step, which keeps its states in a random way."""

    def __init__(self, plan: dict[str, Any]) -> None:
        super().__init__()
        self.plan = plan
        drawn = torch.Generator().manual_seed(plan["seed"])
        self.first = nn.Conv1d(2, 3, 3, padding=1, bias=plan["bias"])
        self.norm = nn.BatchNorm1d(3)
        self.inner = nn.Conv1d(3, 3, 1, bias=False)
        self.back = nn.Linear(5, 5, bias=False)
        self.head = nn.Linear(15, 2)
        for parameter in self.parameters():
            parameter.data = torch.randint(-8, 9, parameter.shape, generator=drawn) / 8
        if plan["keeps"] == "buffer":
            self.register_buffer("mem", torch.zeros(plan["samples"], 3, 5))
            self.register_buffer("spikes", torch.zeros(plan["samples"], 3, 5))

    def forward(self, x, state=None):
        mem, spikes = self._recalled(state)
        current = self.first(x)
        current = self.norm(current) if self.plan["norm"] else current
        if mem is None:
            mem, spikes = torch.zeros_like(current), torch.zeros_like(current)
        mem = mem * 0.5 + current + self.back(spikes)
        fired = Spike.apply(mem - 0.25)
        mem = mem - fired * 0.25
        skipped = self._joined(fired, spikes)
        inner = (self.inner(skipped) > 0.25).float()
        read = mem if self.plan["reads"] == "mem" else self._joined(inner, fired)
        return self.head(read.flatten(1)), self._kept(mem, fired)

    def _joined(self, a, b):
        return {"add": a + b, "or": a + b - a * b, "first": a}[self.plan["joins"]]

    def _recalled(self, state):
        if self.plan["keeps"] == "caller":
            return state or (None, None)
        return getattr(self, "mem", None), getattr(self, "spikes", None)

    def _kept(self, mem, spikes):
        keeps = self.plan["keeps"]
        if keeps == "in place" and getattr(self, "mem", None) is not None:
            self.mem.copy_(mem)
            self.spikes.copy_(spikes)
        elif keeps != "caller":
            self.mem, self.spikes = mem, spikes
        return (mem, spikes) if keeps == "caller" else None

    def reset(self):
        if self.plan["keeps"] == "buffer":
            self.mem = torch.zeros(self.plan["samples"], 3, 5)
            self.spikes = torch.zeros(self.plan["samples"], 3, 5)
        elif self.plan["keeps"] != "caller":
            self.mem = self.spikes = None


class LoopedCell(Cell):
    def forward(self, x):
        return run(super().forward, x)


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x > 0).float()

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient / (1 + x.abs()) ** 2


PLANS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10**6),
        "bias": st.booleans(),
        "norm": st.booleans(),
        "joins": st.sampled_from(["add", "or", "first"]),
        "reads": st.sampled_from(["mem", "spikes"]),
        "keeps": st.sampled_from(["caller", "attribute", "in place", "buffer"]),
        "samples": st.integers(1, 3),
        "steps": st.integers(1, 4),
        "binary": st.booleans(),
    }
)


def batch(plan, seed=0):
    drawn = torch.Generator().manual_seed(plan["seed"] + seed)
    size = plan["steps"], plan["samples"], 2, 5
    values = torch.randint(0, 2 if plan["binary"] else 9, size, generator=drawn)
    return values / (1 if plan["binary"] else 8)


def made(kind, plan):
    net = kind(plan).eval()
    net.reset()
    return net


def layers(report):
    """The rows inside the totals, with the classes of what drives them, however these are known."""
    return tuple(
        replace(row, repeated=0, changed=0, drives=tuple(map(classed, row.drives)))
        for row in report.rows
        if row.kind in report.kinds
    )


def without_steps(report):
    return [
        replace(row, drives=tuple(replace(drive, steps=None) for drive in row.drives))
        for row in layers(report)
    ]


def classed(drive):
    return replace(drive, evidence=drive.evidence.signal, magnitudes=())


@examples(25)
@given(PLANS, st.booleans())
def test_any_network_with_its_loop_in_the_model_or_in_the_caller(plan, trains):
    inside = get_model_syops(made(LoopedCell, plan), batch(plan), batch_dim=1)
    trains = trains and plan["keeps"] != "in place"  # which gradients do not survive
    net, plain = made(Cell, plan), made(Cell, plan)
    expected = run(plain, batch(plan))
    if trains:
        expected.sum().backward()
    with torch.set_grad_enabled(trains), count_syops(net, time_steps=plan["steps"]) as count:
        out = run(net, batch(plan))
        if trains:
            out.sum().backward()
    assert torch.equal(out, expected)
    if trains:
        assert all(gradients_are_equal(net, plain))
    outside = count.report
    assert forward_rows(outside) == inside.rows
    assert (outside.samples, outside.passes) == (inside.samples, inside.passes)
    assert [caution.kind for caution in outside.warnings] == [
        caution.kind for caution in inside.warnings
    ]
    if plan["keeps"] != "caller":
        unrolled = get_model_syops(made(Cell, plan), batch(plan), unroll=0)
        assert unrolled.rows == inside.rows
        assert unrolled.energy_ratio == outside.energy_ratio


def gradients_are_equal(one, other):
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        yield (a.grad is None) == (b.grad is None) and (
            a.grad is None or torch.equal(a.grad, b.grad)
        )


@examples(12)
@given(PLANS, st.integers(2, 3))
def test_several_batches_in_one_block(plan, number):
    batches = [batch(plan, seed) for seed in range(number)]
    inside = get_model_syops(made(LoopedCell, plan), batches, batch_dim=1)
    net = made(Cell, plan)
    with torch.no_grad(), count_syops(net, time_steps=plan["steps"]) as count:
        for x in batches:
            net.reset()
            run(net, x)
    outside = count.report
    assert layers(outside) == layers(inside)
    assert (outside.samples, outside.passes) == (number * plan["samples"], number)


@examples(12)
@given(PLANS)
def test_each_call_a_batch_of_its_own(plan):
    """What one call hands to the next is known: classes are those of the whole loop."""
    inside = get_model_syops(made(LoopedCell, plan), batch(plan), batch_dim=1)
    net = made(Cell, plan)
    with torch.no_grad(), count_syops(net) as count:
        run(net, batch(plan))
    outside = count.report
    assert without_steps(outside) == without_steps(inside)  # each call has time-steps of its own
    assert outside.samples == plan["steps"] * plan["samples"]
    assert outside.energy_ratio is None


def test_generator_that_the_model_returns_is_told_in_a_note():
    class Yields(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x):
            for step in x:
                spikes = (step > 0).float()
                yield self.fc(spikes), spikes @ spikes.t()

    model = Yields()
    with count_syops(model, samples=2) as count:
        for _ in model(torch.ones(3, 2, 4)):
            pass
    assert count.report.totals.ac_events == 3 * 2 * 4 * 3
    assert any("returned a generator" in note for note in count.report.notes)
