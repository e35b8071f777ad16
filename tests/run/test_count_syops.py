"""What `count_syops` watches, what it refuses, and how it leaves model and torch."""

from __future__ import annotations

import re
import signal
import threading
from dataclasses import replace
from itertools import cycle

import pytest
import torch
import torch._dynamo.eval_frame  # loaded in any case, so that what it is told can be compared
from hypothesis import given
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from syops import count_syops, get_model_bounds, get_model_syops
from syops._torch import Modes
from syops.errors import SyopsRuntimeError, SyopsTypeError, SyopsValueError
from tests import ROOT
from tests.support.examples import examples
from tests.support.loops import Looped, Network, forward_rows, synaptic

X = (torch.rand(4, 3, 6, generator=torch.Generator().manual_seed(0)) > 0.6).float()
"""Events [T, N, features]."""


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)).eval()


def called(net, inputs, count):
    """Call a model in the block of a count."""
    with count:
        for x in inputs:
            net(x)


def hooks(model: nn.Module) -> list[int]:
    return [
        len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()
    ]


@pytest.fixture
def net():
    """A network, of which nothing is left when its count is over."""
    net, modes = small(), Modes.now()
    yield net
    assert not any(hooks(net))
    assert Modes.now() == modes
    assert net(X[0]).requires_grad


# --- samples and steps ----------------------------------------------------------------------------


def test_many_batches_of_an_evaluation_loop(net):
    batches = [X[0], X[1, :2], X[2]]
    right = 0
    with torch.no_grad(), count_syops(net) as count:
        for x in batches:
            right += int((net(x).argmax(1) == 0).sum())
    expected = get_model_syops(net, batches)
    assert count.report.rows == expected.rows
    assert count.report.samples == expected.samples == 8
    assert count.report.passes == 3
    assert count.report.time_steps is None
    assert 0 <= right <= 8


def test_loop_in_the_model_and_batches_in_the_caller():
    looped = Looped("torch").eval()
    with torch.no_grad(), count_syops(looped, batch_dim=1) as count:
        looped(X)
        looped(X)
    assert count.report.rows == get_model_syops(looped, [X, X], batch_dim=1).rows
    assert count.report.samples == 6


def test_report_in_the_block_has_complete_batches(net):
    with count_syops(net, time_steps=2) as count:
        with pytest.raises(SyopsValueError, match="time_steps=2 calls of the model are one batch"):
            _ = count.report
        net(X[0])
        with pytest.raises(SyopsValueError, match="time_steps=2 calls of the model are one batch"):
            _ = count.report
        net(X[1])
        assert count.report.samples == 3
        net(X[2])
        assert count.report.samples == 3
        net(X[3])
    assert count.report.samples == 6


def test_last_batch_of_too_few_calls(net):
    count = count_syops(net, time_steps=3)
    with pytest.raises(SyopsValueError, match="the last batch had 1; the report has those"):
        called(net, X, count)
    assert count.report.samples == 3


def test_only_batch_of_too_few_calls(net):
    with pytest.raises(SyopsValueError, match=r"but there were 2, so that nothing is counted$"):
        called(net, X[:2], count_syops(net, time_steps=10))


def test_calls_of_one_batch_with_different_samples(net):
    with pytest.raises(SyopsValueError, match="has 3 samples and another one 2"):
        called(net, [X[0], X[1, :2]], count_syops(net, time_steps=2))


def test_samples_that_are_told(net):
    with count_syops(net, samples=12) as count:
        for x in X:
            net(x)
    assert count.report.samples == 12
    assert not count.report.notes
    with count_syops(net, samples=3) as count:
        for x in X:
            net(x)
    assert count.report.samples == 3
    assert "samples=3; the model was called with 12" in count.report.notes[0]


@pytest.mark.parametrize("samples", [0, -1, 1.5, "4", True])
def test_samples_that_are_none(net, samples):
    with pytest.raises((SyopsValueError, SyopsTypeError), match="samples must be a positive"):
        count_syops(net, samples=samples)


def test_no_calls(net):
    with count_syops(net) as count:
        pass
    with pytest.raises(SyopsValueError, match="the model was not called in the block"):
        _ = count.report


def test_before_and_after_the_block(net):
    count = count_syops(net)
    with pytest.raises(SyopsValueError, match="nothing is counted before the block"):
        _ = count.report
    with count:
        net(X[0])
    net(X[1])
    assert count.report.samples == 3
    with pytest.raises(SyopsRuntimeError, match="begun already"), count:
        pass


def test_several_steps_in_each_call():
    net = nn.Sequential(layer.Linear(6, 5), neuron.IFNode(), layer.Linear(5, 2)).eval()
    functional.set_step_mode(net, "m")
    with count_syops(net, time_steps=2, batch_dim=1) as count:
        net(X)
        net(X)
    assert "steps_inside" in [caution.kind for caution in count.report.warnings]


def test_model_with_a_T_of_its_own(net):
    net.T = 2
    with count_syops(net, time_steps=2) as count:
        net(X[0])
        net(X[1])
    assert "the model has T = 2 itself" in count.report.notes[0]


def test_image_given_at_every_step(net):
    with count_syops(net, time_steps=4) as count:
        for _ in range(4):
            net(X[0] * 0.7)
    assert [(row.path, row.repeated, row.changed) for row in count.report.rows][0][1] == 3 * 3 * 30
    assert count.report.warnings[0].kind == "repeated"
    with count_syops(net, time_steps=4) as count:
        for x in X:
            net(x)
    assert not any(row.repeated for row in count.report.rows)


# --- what is watched ------------------------------------------------------------------------------


class Parts(nn.Module):
    """A network that is as often called by its parts."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4)
        self.fc = nn.Linear(16, 2)

    def forward(self, x):
        return by_parts(self, x)


def no_rates(operations):
    return replace(operations, rates=None)


def by_parts(net, x):
    spikes = (net.norm(net.conv(x)) > 0).float()
    skipped = spikes + spikes.flip(0) * 0  # {0, 1, 2}, although no two spikes meet
    return net.fc(skipped.flatten(1)) + F.linear(skipped.flatten(1), net.fc.weight)


@pytest.mark.parametrize("steps", [None, 2])
def test_parts_called_by_the_caller(steps):
    net = Parts().eval()
    batches = [torch.rand(2, 3, 6), torch.rand(2, 3, 6)]
    expected = get_model_syops(net, batches)
    with torch.no_grad(), count_syops(net, samples=4, time_steps=steps) as count:
        for x in batches:
            by_parts(net, x)
    counted, whole = (  # only who says what a time-step is knows rates by time-step
        [
            (row.path, row.dense, row.mac, row.folded, no_rates(row.operations("mac")))
            for row in rows
        ]
        for rows in (count.report.rows, [r for r in expected.rows if r.kind in expected.kinds])
    )
    assert counted == whole
    assert count.report.energy_ratio is None
    assert (
        "parts of the model were called apart from it" in " ".join(count.report.notes) or not steps
    )


def test_parts_without_samples():
    net = Parts().eval()
    count = count_syops(net)
    with pytest.raises(SyopsValueError, match=r"say count_syops\(\.\.\., samples=N\)"), count:
        by_parts(net, torch.rand(2, 3, 6))


def test_what_the_caller_does_besides_is_not_counted(net):
    other, target = nn.Linear(2, 7), torch.tensor([0, 1, 0])
    with count_syops(net, time_steps=2, strict=True) as count:
        for x in X:
            loss = F.cross_entropy(other(net(x)), target) + net[0].weight.pow(2).sum()
            torch.searchsorted(torch.arange(9.0), loss.detach())
            loss.backward()
    assert {row.path for row in count.report.rows} == {"0", "1", "2"}
    assert count.report.complete
    assert count.report.mac == get_model_syops(net, list(X)).mac * 2


def test_recomputation_for_gradients_is_not_counted(net):
    class Frugal(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return checkpoint(self.inner, x, use_reentrant=False)

    frugal = Frugal(net)
    with count_syops(frugal) as count:
        frugal(X[0]).sum().backward()
    assert [row.calls for row in count.report.rows] == [1, 1, 1]
    assert forward_rows(count.report) == get_model_syops(frugal, X[0]).rows


@examples(8)
@given(st.integers(1, 3), st.sampled_from(["detach", "clone", "stack", "to"]), st.booleans())
def test_states_that_the_caller_moves_stay_known(steps, how, one_batch):
    net = Network("torch").eval()
    moves = {
        "detach": torch.Tensor.detach,
        "clone": torch.Tensor.clone,
        "stack": lambda x: torch.stack([x])[0],
        "to": lambda x: x.double().float(),
    }
    with count_syops(net, time_steps=steps if one_batch else None) as count:
        state = None
        for x in X[:steps]:
            _, state = net(x, state)
            state = tuple(map(moves[how], state))
    rows = [row for row in count.report.rows if row.path in ("rec", "fc2", "head")]
    assert {row.operations("mac").signal for row in rows} == {"binary"}
    assert not any(drive.evidence.seen for row in rows for drive in row.drives)


def test_training_leaves_the_same_weights():
    def trained(steps=None):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
        optimizer = torch.optim.Adam(net.parameters())
        for _ in range(2):
            loss = torch.zeros(())
            for x in X:
                loss = loss + F.cross_entropy(net(x), torch.tensor([0, 1, 0]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield net

    *_, plain = trained()
    found = None
    watched = trained()
    net = next(watched)  # its first epoch is not counted
    with count_syops(net, time_steps=4) as count:
        *_, net = watched
    found = count.report
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, plain.state_dict()[name]), name
    assert (found.samples, found.passes) == (3, 1)
    assert next(row for row in found.rows if row.kind == "norm").mac == 2 * 4 * 3 * 8
    (warning,) = [each for each in found.warnings if each.kind == "training"]
    assert warning.layers == ("1", "2")
    norm = next(layer for layer in found.layers if layer.kind == "norm")
    assert f"{norm.dc_mj / found.dc_mj:.1%} of DC" in warning.text
    assert net.training


# --- what is refused, and what is left ------------------------------------------------------------


def test_failed_call_is_left_out(net):
    with count_syops(net) as count:
        net(X[0])
        with pytest.raises(RuntimeError, match="shapes"):
            net(torch.rand(3, 7))
        net(X[1])
    assert count.report.samples == 6
    assert "a call of the model failed" in count.report.notes[0]


def test_exception_in_the_block(net):
    count = count_syops(net, time_steps=2)
    with pytest.raises(ZeroDivisionError):
        called(net, (x if step < 3 else 1 / 0 for step, x in enumerate(X)), count)
    assert count.report.samples == 3


@pytest.mark.parametrize("delay", [2e-4, 1e-3, 2e-3, 4e-3, 7e-3, 1.1e-2])
def test_interrupt_at_any_instant(net, delay):
    count = count_syops(net, time_steps=2)
    with torch.no_grad():
        grads = torch.is_grad_enabled()
        before = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        try:
            # Once more after a while: Python drops what is raised while it frees an object.
            signal.setitimer(signal.ITIMER_REAL, delay, 5)
            with pytest.raises(KeyboardInterrupt):
                called(net, cycle(X), count)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert torch.is_grad_enabled() == grads


def test_grad_mode_of_the_caller_is_left():
    net = small()
    with count_syops(net):
        torch.set_grad_enabled(False)
        net(X[0])
    assert not torch.is_grad_enabled()
    torch.set_grad_enabled(True)


def test_inference_mode(net):
    with (
        torch.inference_mode(),
        pytest.raises(SyopsRuntimeError, match=r"use torch\.no_grad\(\) instead"),
    ):
        called(net, X, count_syops(net))


@pytest.mark.parametrize(
    "second",
    [lambda net: called(net, X, count_syops(net)), lambda net: get_model_syops(net, X[0])],
)
def test_model_that_is_being_counted(net, second):
    with count_syops(net) as count:
        net(X[0])
        with pytest.raises(SyopsRuntimeError, match="being counted by another call"):
            second(net)
        net(X[1])
    assert count.report.samples == 6


def test_two_models_in_one_block(net):
    other = small()
    with count_syops(net) as one, count_syops(other) as two:
        net(X[0])
        other(X[0])
        inside = get_model_syops(small(), X[0])
    assert forward_rows(one.report) == forward_rows(two.report) == inside.rows


def test_call_in_another_thread(net):
    def elsewhere(x):
        thread = threading.Thread(target=net, args=(x,))
        thread.start()
        thread.join()

    with pytest.raises(SyopsRuntimeError, match="in another thread"):
        called(elsewhere, X, count_syops(net))


def test_modes_of_the_caller(net):
    class Mode(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    with Mode(), count_syops(net, time_steps=4) as count:
        net(X[0])
        with Mode():
            net(X[1])
        for x in X[2:]:
            with Mode(), torch.no_grad():
                net(x)
    assert count.report.ac == get_model_syops(net, list(X)).ac * 4


# --- unroll ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["spikingjelly", "snntorch, hidden", "sinabs"])
def test_unrolled_by_its_own_states(library):
    class Kept(Network):
        """Gives back no states: its neurons keep them."""

        def forward(self, x):
            out, _ = super().forward(x, None)
            return out

    class Unrolled(Kept):
        def forward(self, x):
            return torch.stack([super(Unrolled, self).forward(step) for step in x])

    inside = get_model_syops(Unrolled(library), X, batch_dim=1)
    report = get_model_syops(Kept(library), X, unroll=0)
    assert report.rows == inside.rows
    assert (report.time_steps, report.samples, report.input_shape) == (4, 3, (3, 6))
    assert get_model_syops(Kept(library), X.transpose(0, 1), unroll=1).ac == report.ac
    assert get_model_syops(Kept(library), [X, X], unroll=0).ac == report.ac
    bounds = get_model_bounds(Kept(library), X, unroll=0)
    low, high = bounds.ec_mj
    assert low <= report.dc_mj <= high
    assert (bounds.mac, bounds.dense_ac) == (inside.mac, inside.dense_ac)
    assert report.energy_ratio < 1


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"unroll": 3}, SyopsValueError, "unroll=3 does not exist"),
        ({"unroll": True}, SyopsTypeError, "unroll must be the dimension"),
        ({"unroll": "0"}, SyopsTypeError, "unroll must be the dimension"),
        ({"unroll": 0, "time_steps": 3}, SyopsValueError, "time_steps=3, but dimension 0"),
    ],
)
def test_unroll_that_cannot_be(net, given, error, words):
    with pytest.raises(error, match=words):
        get_model_syops(net, X, **given)


def test_unroll_with_batches_of_different_length(net):
    report = get_model_syops(net, [X, X[:2]], unroll=0)
    assert report.time_steps is None
    assert report.samples == 6
    assert report.rows[0].calls == 6


def test_unroll_of_a_model_that_takes_its_states_back():
    class Handed(nn.Module):
        def forward(self, x, state):
            return x, state

    with pytest.raises(Exception, match="needs a loop of your own, which count_syops counts"):
        get_model_syops(Handed(), X, unroll=0)


def test_sinabs_batches_of_time_and_samples_are_right_by_themselves():
    """[N·T, ...] through `Squeeze` layers: time is known to them, and samples are divided by T."""
    import sinabs.layers

    torch.manual_seed(0)
    fc, head = nn.Linear(6, 8, bias=False), nn.Linear(8, 2, bias=False)
    squeezed = nn.Sequential(nn.Flatten(0, 1), fc, sinabs.layers.IAFSqueeze(num_timesteps=4), head)
    whole = nn.Sequential(fc, sinabs.layers.IAF(), head)
    x = X.transpose(0, 1).contiguous()
    one, other = get_model_syops(squeezed, x), get_model_syops(whole, x)
    counts = [[(c[1], *c[2:]) for c in synaptic(report.rows)] for report in (one, other)]
    assert [(d[1], d[3]) for *_, d in counts[0]] == [(d[1], d[3]) for *_, d in counts[1]]
    assert one.samples == other.samples == 3
    assert one.ac == other.ac
    assert not [caution for caution in one.warnings if caution.kind == "samples"]


# --- the docs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("README.md", "Where is my time loop?"),
        ("docs/own_network.md", "Where is the time loop?"),
    ],
)
def test_loops_of_the_docs(page, title):
    """Their examples give the same counts, on a network that keeps its states or hands them on."""
    section = (ROOT / page).read_text("utf-8").partition(f"## {title}")[2]
    unrolled, watched = re.findall(r"```python\n(.*?)```", section.partition("\n## ")[0], re.S)
    rows = []
    for code, library in ((unrolled, "snntorch, hidden"), (watched, "snntorch")):
        names = {"model": Rate(library).eval(), "x": X, "get_model_syops": get_model_syops}
        exec(code, names)
        rows.append(synaptic(names["report"].rows))
    assert rows[0] == rows[1]
    assert [path for path, *_ in rows[0]] == ["fc1", "fc2", "head"]


class Rate(Network):
    """The network without its recurrent layer."""

    def forward(self, x, mem=None):
        spikes, first = self._fire(self.sn1, self.fc1(x), mem and mem[0])
        out, second = self._fire(self.sn2, self.fc2(spikes), mem and mem[1])
        return self.head(out), (first, second)
