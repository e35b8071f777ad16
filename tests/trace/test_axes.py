"""Firing rates at each time-step are those of the spikes themselves, in every layout."""

from __future__ import annotations

from fractions import Fraction
from itertools import count
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from torch.nn import functional as F

from syops import count_syops, get_model_bounds, get_model_syops
from syops.ledger.samples import Moments
from syops.report.report import Report
from syops.trace.axes import Axes, along, apart, number_in, reshaped, split_of
from tests.support.examples import examples
from tests.support.loops import NEURONS, Looped, Network, run

T, N = 3, 2


class Flat(nn.Module):
    """Apply a layer to [T·N, ...] of [T, N, ...]."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class Turned(nn.Module):
    """Apply a linear layer to [N, T, ...] of [T, N, ...], with the features in two parts."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x.transpose(0, 1).contiguous()).permute(1, 0, *range(2, x.dim()))


class Steps(nn.Module):
    """Run single-step modules at each time-step."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.Sequential(*parts)

    def forward(self, x):
        return torch.stack([self.parts(step) for step in x])


class Residual(nn.Sequential):
    def forward(self, x):
        return torch.maximum(x, super().forward(x))


def conv() -> nn.Module:
    return nn.Conv2d(2, 2, 3, padding=1)


PARTS = {
    "convolution": lambda: Flat(conv()),
    "multi-step convolution": lambda: layer.Conv2d(2, 2, 3, padding=1, step_mode="m"),
    "normalised": lambda: Flat(nn.Sequential(conv(), nn.BatchNorm2d(2))),
    "linear": lambda: nn.Linear(4, 4),
    "turned": lambda: Turned(nn.Linear(4, 4)),
    "loop": lambda: Steps(conv(), neuron.LIFNode(), conv()),
    "residual": lambda: Residual(Flat(conv()), neuron.LIFNode(step_mode="m")),
    "pooling": lambda: Flat(nn.MaxPool2d(3, 1, 1)),
    "padded": lambda: Flat(nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(3, 1))),
}


def spikes_by_step(model: nn.Module, x: torch.Tensor) -> dict[str, list[float]]:
    """Run the steps one by one; return the rate of what each layer with weights gets."""
    seen: dict[str, list[float]] = {}

    def hook(name: str):
        return lambda module, args: seen.setdefault(name, []).append(
            float((args[0] != 0).double().mean())
        )

    kinds = nn.Conv2d, nn.Linear
    hooks = [
        module.register_forward_pre_hook(hook(name))
        for name, module in model.named_modules()
        if isinstance(module, kinds)
    ]
    functional.reset_net(model)
    with torch.no_grad():
        for step in x:
            model(step[None])
    for handle in hooks:
        handle.remove()
    functional.reset_net(model)
    return seen


@given(
    names=st.lists(st.sampled_from(sorted(PARTS)), min_size=1, max_size=4), seed=st.integers(0, 99)
)
@examples(15)
def test_rates_by_step_are_those_of_the_steps_run_one_by_one(names, seed):
    torch.manual_seed(seed)
    parts = [PARTS["convolution"](), neuron.IFNode(step_mode="m")]
    for name in names:
        parts += [PARTS[name](), neuron.IFNode(v_threshold=0.2, step_mode="m")]
    model = nn.Sequential(*parts, nn.Linear(4, 2)).eval()
    x = torch.randn(T, N, 2, 4, 4) * 2
    report = get_model_syops(model, x, batch_dim=1, time_steps=T, input_signal="analog")
    truth = spikes_by_step(model, x)
    for each in report.layers:
        if each.signal != "binary":
            continue
        assert each.rates == pytest.approx(truth[each.path], abs=1e-12), each.name
        assert sum(each.rates) / T == pytest.approx(each.rate)


def test_replayed_batches_add_up_by_step():
    torch.manual_seed(0)
    model = nn.Sequential(Flat(conv()), neuron.IFNode(step_mode="m"), Flat(conv())).eval()
    batches = [torch.randn(T, N, 2, 4, 4) * 2 for _ in range(4)]
    told = {"batch_dim": 1, "input_signal": "analog"}
    whole = get_model_syops(model, torch.cat(batches, 1), **told)
    report = get_model_syops(model, batches, **told)
    assert report.rows[-1].drives[0].steps == whole.rows[-1].drives[0].steps
    assert len(report.layers[-1].rates) == T
    again = Report.from_json(report.to_json())
    assert again.layers[-1].rates == report.layers[-1].rates


class Reversed(nn.Module):
    def forward(self, x):
        return x.flip(0)


class WithItsReverse(nn.Module):
    def forward(self, x):
        return torch.maximum(x, x.flip(0))


class Normalised(nn.Module):
    """Whatever a norm without fixed statistics works out, it does of all that it normalises."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        return (self.norm(x) > 0).float()


def group_norm(x):
    return F.group_norm(x, 1)


def batch_norm(x):
    return F.batch_norm(x.flatten(0, 1), None, None, training=True).view_as(x)


def layer_norm(x):
    return F.layer_norm(x.movedim(0, -1), (T,)).movedim(-1, 0)


@pytest.mark.parametrize(
    ("norm", "axes"), [(group_norm, "time"), (batch_norm, ""), (layer_norm, "samples")]
)
def test_norms_mix_what_they_normalise_together(norm, axes):
    """A group norm of [T, N, ...] mixes samples; batch statistics of [T·N, ...] mix both."""
    model = nn.Sequential(Normalised(norm), Flat(conv())).eval()
    x = torch.randn(T, N, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    report = get_model_syops(model, x, batch_dim=1, spread=True)
    last = report.layers[-1]
    assert last.signal == "binary"
    assert (last.rates is not None) == (axes == "time")
    assert (report.spread is not None) == (axes == "samples"), report.spread_reason


@pytest.mark.parametrize("between", [Reversed, WithItsReverse])
def test_time_steps_that_are_mixed_have_no_rates(between):
    model = nn.Sequential(
        Flat(conv()), neuron.IFNode(step_mode="m"), between(), Flat(conv())
    ).eval()
    report = get_model_syops(model, torch.randn(T, N, 2, 4, 4) * 2, batch_dim=1)
    last = report.layers[-1]
    assert last.signal == "binary"
    assert last.rates is None


def test_a_neuron_that_is_called_twice_a_step_does_not_tell_the_step():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.lif, self.conv = neuron.LIFNode(), conv()

        def forward(self, x):
            return torch.stack([self.conv(self.lif(self.lif(step))) for step in x])

    report = get_model_syops(Shared().eval(), torch.rand(T, N, 2, 4, 4), batch_dim=1, time_steps=T)
    (last,) = [each for each in report.layers if each.kind == "conv"]
    assert last.signal == "binary"
    assert last.rates is None


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.data())
@examples(30)
def test_a_reshaped_tensor_has_its_steps_where_the_layout_says(rest, data):
    shape = [T, N, *rest]
    x = torch.arange(T).reshape(T, *[1] * (len(shape) - 1)).expand(shape)
    cut = data.draw(st.integers(1, len(shape)))
    new = [prod(shape[:cut]), *shape[cut:]]
    layout = reshaped(along(shape, 0, T), new)
    assert layout is not None
    assert number_in(layout) == T
    split = split_of(Axes(time=layout), last=0)
    for step, part in zip(count(), apart(x.reshape(new), split)):
        assert (part == step).all()


C, H = 2, 4
MOVES = {
    "flip": lambda x, k: x.flip(k % x.dim()),
    "roll": lambda x, k: x.roll(1, k % x.dim()),
    "turn": lambda x, k: x.transpose(k % x.dim(), 0),
    "flatten": lambda x, k: x.flatten(k % (x.dim() - 1), k % (x.dim() - 1) + 1),
    "apart": lambda x, k: x.unflatten(k % x.dim(), (2, -1)) if x.shape[k % x.dim()] % 2 == 0 else x,
    "other part": lambda x, k: (
        x.unflatten(k % x.dim(), (-1, 3)) if x.shape[k % x.dim()] % 3 == 0 else x
    ),
    "again": lambda x, k: torch.stack(list(x.unbind(k % x.dim())), k % x.dim()),
    "backwards": lambda x, k: torch.stack(list(x.unbind(k % x.dim()))[::-1], k % x.dim()),
    "elsewhere": lambda x, k: torch.stack([x.select(0, i) for i in range(x.shape[0])], -1),
    "pieces": lambda x, k: torch.cat(x.split(1, k % x.dim()), k % x.dim()),
    "piece": lambda x, k: x.narrow(k % x.dim(), x.shape[k % x.dim()] - 1, 1),
    "two halves": lambda x, k: torch.cat(x.chunk(2, k % x.dim())[::-1], k % x.dim()),
    "twice": lambda x, k: torch.cat([x, x], k % x.dim()),
    "one": lambda x, k: x.select(k % x.dim(), -1) if x.dim() > 2 else x,
    "chosen": lambda x, k: x[torch.arange(x.shape[0] - 1, -1, -1)],
    "indexed": lambda x, k: x.index_select(k % x.dim(), torch.tensor([0])),
    "repeated": lambda x, k: x.repeat_interleave(2, k % x.dim()),
    "beside": lambda x, k: x.unsqueeze(k % x.dim()).expand(
        *(2 if i == k % x.dim() else n for i, n in enumerate(x.unsqueeze(k % x.dim()).shape))
    ),
    "kept": lambda x, k: torch.zeros_like(x).copy_(x),
    "written": lambda x, k: x.clone().copy_(x.flip(0)),
    "every other": lambda x, k: x[:: 1 + k % 2],
}
LATER = {
    "with itself": lambda x, k: torch.maximum(x, x),
    "with its reverse": lambda x, k: torch.maximum(x, x.flip(0)),
    "with the first": lambda x, k: torch.maximum(x, x[:1]),
    "first with all": lambda x, k: torch.maximum(x[0], x),
    "with what is before": lambda x, k: torch.cat([x[:1], torch.maximum(x[1:], x[:-1])]),
    "with another place": lambda x, k: torch.maximum(
        x, x.transpose(0, k % x.dim()).reshape(x.shape)
    ),
}


class Program(nn.Module):
    """Apply operators, then a linear layer; what each entry belongs to goes the same way."""

    def __init__(self, program) -> None:
        super().__init__()
        self.program, self.weight = program, nn.Parameter(torch.ones(1, 512))

    def forward(self, x):
        x = self.work(x)
        return nn.functional.linear(x, self.weight[:, : x.shape[-1]])

    def work(self, x):
        for name, k in self.program:
            x = (MOVES | LATER)[name](x, k)
        return x


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(MOVES | LATER)), st.integers(0, 4)), min_size=1, max_size=4
    ),
    st.integers(0, 9),
)
@examples(200)
def test_steps_of_random_programs(program, seed):
    x = (torch.rand(T, N, C, H, generator=torch.Generator().manual_seed(seed)) > 0.5).float()
    model = Program(program)
    report = get_model_syops(model, x, batch_dim=1)
    (row,) = [row for row in report.rows if row.kind == "linear"]
    steps = row.drives[0].steps
    if steps is None:
        return
    tags = model.work(torch.arange(float(T)).reshape(T, 1, 1, 1).expand(T, N, C, H))
    seen = model.work(x)
    truth = [(int((tags == t).sum()), int(seen[tags == t].sum())) for t in range(T)]
    assert list(steps) + [(0, 0)] * (T - len(steps)) == truth


def rates_by_call(net: Network, x: torch.Tensor) -> dict[str, list[float]]:
    """Return the rate of what each layer gets at each of its calls."""
    seen: dict[str, list[float]] = {}
    hooks = [
        part.register_forward_pre_hook(
            lambda _, args, name=name: seen.setdefault(name, []).append(float(args[0].mean()))
        )
        for name, part in net.named_children()
        if isinstance(part, nn.Linear)
    ]
    with torch.no_grad():
        run(net, x)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("library", NEURONS)
def test_steps_of_loops_in_the_model_and_in_the_caller(library):
    x = (torch.rand(4, 3, 6, generator=torch.Generator().manual_seed(0)) > 0.6).float()
    truth = rates_by_call(Network(library).eval(), x)
    inside = get_model_syops(Looped(library).eval(), x, batch_dim=1, time_steps=4)
    net = Network(library).eval()
    with count_syops(net, time_steps=4) as count, torch.no_grad():
        run(net, x)
    for report in (inside, count.report):
        rates = {each.path: each.rates for each in report.layers if each.kind == "linear"}
        assert rates.pop("rec") is None  # it has no call at the first step
        for path, found in rates.items():
            assert found == pytest.approx(truth[path]), path


class OneOutput(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)[0]


@pytest.mark.parametrize("library", ["spikingjelly", "snntorch, hidden", "sinabs"])
def test_steps_of_unrolled_calls(library):
    x = (torch.rand(3, 2, 6, generator=torch.Generator().manual_seed(1)) > 0.6).float()
    report = get_model_syops(OneOutput(Network(library)).eval(), [x, x], unroll=0)
    seen: dict[str, list[float]] = {}
    net = Network(library).eval()
    for name in ("fc1", "fc2", "head"):
        getattr(net, name).register_forward_pre_hook(
            lambda _, args, name=name: seen.setdefault(name, []).append(float(args[0].mean()))
        )
    with torch.no_grad():
        for step in x:
            net(step)
    for layer_ in report.layers:
        if layer_.kind == "linear":
            assert layer_.rates == pytest.approx(seen[layer_.path.removeprefix("net.")])


def test_rates_frame():
    torch.manual_seed(0)
    model = nn.Sequential(
        Flat(conv()), neuron.IFNode(step_mode="m"), Reversed(), Flat(conv()), Flat(conv())
    )
    model.insert(4, neuron.IFNode(step_mode="m"))
    report = get_model_syops(model.eval(), torch.rand(T, N, 2, 4, 4) * 2, batch_dim=1)
    frame = report.rates_frame()
    last = report.layers[-1]
    assert list(frame.index) == [each.name for each in report.layers if each.rate is not None]
    assert frame.shape == (2, T)
    assert frame.iloc[0].isna().all()
    assert frame.loc[last.name].tolist() == list(last.rates)
    assert get_model_bounds(model, (T, N, 2, 4, 4), batch_dim=1).rates_frame().shape == (0, 0)


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(MOVES | LATER)), st.integers(0, 4)), min_size=1, max_size=4
    ),
    st.integers(0, 9),
)
@examples(200)
def test_samples_of_random_programs(program, seed):
    x = (torch.rand(T, N, C, H, generator=torch.Generator().manual_seed(seed)) > 0.5).float()
    model = Program(program)
    report = get_model_syops(model, x, batch_dim=1, spread=True)
    if report.spread is None:
        return
    tags = torch.arange(float(N)).reshape(1, N, 1, 1).expand(T, N, C, H)
    last, first = model.work(tags), -model.work(-tags)
    assert torch.equal(last, first)  # no entry is made of two samples
    seen = model.work(x)
    truth = [Fraction(int(seen[last == n].sum())) for n in range(N)]
    assert report.spread.ac == Moments.of(truth)
    assert len({int((last == n).sum()) for n in range(N)}) == 1
