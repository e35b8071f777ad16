"""Later batches follow what the first one taught: equal to analysing every batch anew.

Control flow that changes from batch to batch departs from the plan in the middle of a pass. The
networks here do so in every way that was thought of; random programs do the rest.
"""

from __future__ import annotations

import gc
import itertools
import json
import random
import weakref
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn

import syops.run.loop
from syops import SyopsError, get_model_syops
from syops.errors import SyopsValueError
from syops.models import create_model
from syops.ops import Rule, Tally, analog
from syops.trace.forward import ForwardPass
from syops.trace.plan.tree import Plans
from tests.support.examples import random_examples, some, times
from tests.support.networks import BLOCKS, TINY, bundled, frame

from ..properties import test_no_layer_disappears as programs


@dataclass
class Counted:
    """A report as data, and how its passes went."""

    report: dict
    passes: int
    analysed: int


def counted(monkeypatch, model, batches, *, replay=True, **options):
    """Count batches; ``replay``: with a plan."""
    analysed = []
    begin = ForwardPass.__init__

    def noted(self, *args, **kwargs):
        analysed.append(self)
        begin(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ForwardPass, "__init__", noted)
        if not replay:
            patch.setattr(syops.run.loop, "Plans", lambda: None)
        torch.manual_seed(0)
        report = get_model_syops(model, batches, progress=False, **options)
        passes = len(analysed)
    return Counted(json.loads(report.to_json()), report.passes, passes)


def same_by_replay(monkeypatch, model, batches, **options):
    """Count with and without a plan; the share of passes that followed it."""
    anew = counted(monkeypatch, model, batches, replay=False, **options)
    replayed = counted(monkeypatch, model, batches, **options)
    assert anew.analysed >= anew.passes == len(batches)
    for known in (anew.report, replayed.report):
        known.pop("versions")
    assert replayed.report == anew.report
    return 1 - replayed.analysed / replayed.passes


# Bundled networks


def inputs_of(name, batches=3):
    if "7b" in name:
        return [(torch.rand(2, 1, 2, 128, 128) > 0.9).float() for _ in range(batches)]
    return [torch.rand(1, *frame(name)) for _ in range(batches)]


@pytest.mark.parametrize("name", bundled(quick=TINY, slow=BLOCKS))
def test_bundled_networks_are_replayed(name, monkeypatch):
    torch.manual_seed(0)
    steps = {} if name.startswith("resnet") else {"T": 2}
    model = create_model(name, num_classes=4, **steps).eval()
    followed = same_by_replay(monkeypatch, model, inputs_of(name), batch_dim=int("7b" in name))
    assert followed == pytest.approx(0 if name == "preact_resnet18" else 2 / 3)


# Networks whose control flow changes


class Spiking(nn.Module):
    """Two layers with a threshold between them, and what a test does in the middle."""

    def __init__(self, between):
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.norm = nn.BatchNorm1d(8)
        self.kept = []
        self.between = between

    def forward(self, x):
        return self.second(self.between(self, x, (self.norm(self.first(x)) > 0).float()))


def is_high(x):
    return bool(x[0, 0] > 0)


def depth(net, x, s):
    for _ in range(int(x[0, 0].abs() * 10) % 4):
        s = (net.second(s) > 0).float()
    return s


def literals(net, x, s):
    return torch.clamp(torch.round(s + s), 0, 2 if is_high(x) else 1)


def negative_zero(net, x, s):
    return s * (-0.0 if is_high(x) else 0.0)


def number_or_bool(net, x, s):
    return s + (True if is_high(x) else 1)


def written(net, x, s):
    if is_high(x):
        s.mul_(2)
    part = s.view(-1, 2, 4)
    if x[0, 1] > 0:
        part[:, 0] = 0
    return part.transpose(1, 2).reshape(-1, 8)


def kept(net, x, s):
    net.kept = [net.first(x)] if is_high(x) else []
    return s


def list_of_numbers(net, x, s):
    mask = torch.tensor([1.0, 0.0] * 4)
    if is_high(x):
        mask = torch.tensor([float(value > 0) for value in x[0].tolist()])
    return s * mask


def other_memory(net, x, s):
    if is_high(x):
        s.data = torch.rand_like(s)
    return s


def unseen_write(net, x, s):
    if is_high(x):
        s.numpy()[:] = 0.5
    return s


def other_weights(net, x, s):
    return F.linear(s, net.first.weight * 2 if is_high(x) else net.first.weight)


def other_place(net, x, s):
    if is_high(x):
        return net.first(s)
    return net.first(s)


def other_shape(net, x, s):
    return s[s.sum(1) > 3]


def outside(net, x, s):
    made = torch.from_numpy(x.numpy().copy()) if is_high(x) else x
    return s * (made > 0).float()


def own_state(net, x, s):
    if not net.kept or net.kept[0].shape != s.shape:
        net.kept = [torch.zeros_like(s)]
    net.kept[0] = net.kept[0] * 0.5 + s
    return (net.kept[0] > 0.6).float()


def in_place_state(net, x, s):
    if not net.kept or net.kept[0].shape != s.shape:
        net.kept = [torch.zeros_like(s)]
    net.kept[0].mul_(0.5).add_(s)
    return (net.kept[0] > 0.6).float()


def padded(net, x, s):
    s = F.pad(s.view(-1, 1, 8), (1, 1))
    if is_high(x):
        s = s * 2
    return F.conv1d(s, net.first.weight[:1, None, :3]).flatten(1)


def attention(net, x, s):
    q = s.view(-1, 4, 2)
    if is_high(x):
        return F.scaled_dot_product_attention(q, q, q).flatten(1)
    return (q @ q.transpose(1, 2) @ q).flatten(1)


def chance(net, x, s):
    return F.dropout(s, training=True) if is_high(x) else s * torch.rand(8)


def number_read(net, x, s):
    return s * (0.5 if is_high(x) else float(x.max()))


TURNS: list[None] = []
"""Grows with each call; what the model itself keeps is put back before each batch."""


def every_other(net, x, s):
    TURNS.append(None)
    return s + s if len(TURNS) % 2 else s


def memory_shared_unseen(net, x, s):
    s.data.mul_(2)
    return s * 1.0 if is_high(x) else s


def view_of_a_buffer_written(net, x, s):
    net.norm.running_mean.view(2, 4)[:, :2] = s[0].view(2, 4)[:, :2]
    mean = net.norm.running_mean * 1
    return s * mean if is_high(x) else s + mean


def narrower(net, x, s):
    half = s.data[:2]
    if is_high(x):
        s.data = half
    return s.sum() + x


def inference(net, x, s):
    with torch.inference_mode(is_high(x)):
        s = (net.first(s) > 0).float()
    return s * 1.0


def quantized(net, x, s):
    whole = torch.quantize_per_tensor(s, 0.5, 0, torch.quint8).dequantize()
    return whole * (1 if is_high(x) else 2)


MASKS = torch.tensor([True] * 4), torch.tensor([True, False] * 2)
PLACES = torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, 2, 9])


def masked(net, x, s):
    return s[MASKS[int(x.numpy()[0, 0] > 0)]]


def caught(net, x, s):
    try:
        rows = s[PLACES[int(x.numpy()[0, 0] > 0)]] * 2
    except IndexError:
        rows = s
    return rows * MASKS[0][:, None]


CHANGING = (
    *(depth, literals, negative_zero, number_or_bool, written, kept, list_of_numbers),
    *(other_memory, unseen_write, other_weights, other_place, other_shape, outside, own_state),
    *(in_place_state, padded, attention, chance, number_read, every_other, narrower, inference),
    *(masked, caught, quantized, memory_shared_unseen, view_of_a_buffer_written),
)


@random_examples
@pytest.mark.parametrize(
    ("between", "graded"),
    some(list(itertools.product(CHANGING, ["mac", "ac"])), one_of=3),
    ids=lambda part: getattr(part, "__name__", part),
)
def test_control_flow_that_changes(between, graded, monkeypatch):
    for seed in range(times(2)):
        torch.manual_seed(seed)
        model = Spiking(between).eval()
        batches = [torch.randn(4, 8) for _ in range(12)]
        same_by_replay(monkeypatch, model, batches, graded=graded)


def test_spiking_neurons_in_a_loop(monkeypatch):
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = layer.Conv2d(1, 4, 3, padding=1, bias=False)
            self.norm = layer.BatchNorm2d(4)
            self.fire = neuron.LIFNode(surrogate_function=surrogate.ATan())
            self.out = layer.Linear(4 * 36, 3)

        def forward(self, x):
            total = 0.0
            for _ in range(1 + int(x.mean() * 100) % 3):
                total = total + self.out(self.fire(self.norm(self.conv(x))).flatten(1))
            return total

    model = Loop().eval()
    functional.reset_net(model)
    batches = [torch.rand(2, 1, 6, 6) for _ in range(16)]
    assert same_by_replay(monkeypatch, model, batches, time_steps=1) > 0.5


class Weights(nn.Module):
    """Layers whose weights a loader changes from batch to batch."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, stride=2, padding=1)
        self.spare, self.used = nn.Parameter(torch.rand(8, 8)), nn.Parameter(torch.rand(8, 8))
        self.norm = nn.BatchNorm1d(8)

    def forward(self, x):
        return self.norm(F.linear(self.conv(x).flatten(1)[:, :8], self.used))


def other_kernel(model, number):
    model.conv.weight = nn.Parameter(torch.rand(2, 1, *[3 + number % 2] * 2))


def more_parameters(model, number):
    model.conv.more = nn.Parameter(torch.rand(number % 2))


def tied(model, number):
    model.spare = model.used if number % 2 else nn.Parameter(torch.rand(8, 8))


@pytest.mark.parametrize("change", [other_kernel, more_parameters, tied])
def test_weights_that_change_between_batches(change, monkeypatch):
    def counted_on():
        for number in range(6):
            change(model, number)
            yield torch.rand(2, 1, 8, 8)

    model = Weights().eval()
    expected, found = (
        counted(monkeypatch, model, counted_on(), replay=replay) for replay in (False, True)
    )
    assert found.report == expected.report
    assert found.analysed < found.passes


def test_buffer_that_is_replaced_by_data_or_by_weights(monkeypatch):
    class Replaced(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 8)
            self.register_buffer("scale", torch.ones(8))
            self.other = None

        def forward(self, x):
            both = self.scale * 2, x.mean(0) + 0
            scaled = self.layer(x * self.scale)
            self.scale, self.other = both[::-1] if is_high(x) else both
            return scaled

    batches = [torch.full((4, 8), value) for value in (-1.0, -2.0, 3.0, -4.0)]
    same_by_replay(monkeypatch, Replaced().eval(), batches)


@pytest.mark.parametrize("in_place", [False, True])
def test_buffers_that_are_states(in_place, monkeypatch):
    class Leaky(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 2)
            self.register_buffer("potential", torch.zeros(4, 8))
            self.register_buffer("decay", torch.full((8,), 0.5))

        def forward(self, x):
            for _ in range(2 if is_high(x) else 3):
                potential = self.potential * self.decay + self.first(x)
                spikes = (potential > 0.2).float()
                if in_place:
                    self.potential.copy_(potential - spikes)
                else:
                    self.potential = potential - spikes
                x = x * spikes
            return self.second(spikes)

    torch.manual_seed(0)
    batches = [torch.randn(4, 8) for _ in range(20)]
    assert same_by_replay(monkeypatch, Leaky().eval(), batches) > 0.5


def test_last_batch_is_smaller(monkeypatch):
    model = Spiking(literals).eval()
    batches = [torch.randn(n, 8) for n in (4, 4, 4, 4, 3)]
    same_by_replay(monkeypatch, model, batches)


def test_inputs_that_stand_still_or_not(monkeypatch):
    model = nn.Sequential(nn.Linear(8, 8), neuron.IFNode(), nn.Linear(8, 2)).eval()
    moving = [torch.randn(3, 2, 8) for _ in range(3)]
    still = [x[:1].expand(3, 2, 8) for x in moving]
    batches = [*moving[:2], *still[:2], moving[2], still[2]]
    same_by_replay(monkeypatch, model, batches, batch_dim=1, time_steps=3)


def in_one_memory(tensors):
    """Return the tensors as views of one, in which they lie one after the other."""
    return torch.stack(list(tensors)).unbind()


class Slices(nn.Module):
    """Weights get parts of an input, and of a copy that a write changes."""

    def __init__(self, part):
        super().__init__()
        self.part, self.layer = part, nn.Linear(4, 2)

    def forward(self, x):
        spikes = self.part(x)
        if x.sum() > 16:
            spikes = spikes + (x[:, 4:] > 0.5).float()
        return self.layer(spikes) + self.layer(x.flip(1)[:, :4])


PARTS = {
    "slice": lambda x: x[:, 2:6],
    "every other": lambda x: x[:, 1::2],
    "windows": lambda x: x.unfold(1, 4, 2)[:, 1],
    "turned": lambda x: x.t()[:4].t(),
    "by place": lambda x: x.as_strided((4, 4), (8, 1), x.storage_offset() + 1),
    "by place, before": lambda x: x.as_strided((4, 4), (8, 1), 0),
    "padded": lambda x: nn.functional.pad(x[:, 4:], (1, 1))[:, 1:-1],
    "copy, then written": lambda x: x.clone()[:, :4].mul_(1),
}


@pytest.mark.parametrize("signal", ["binary", "auto"])
@pytest.mark.parametrize("part", PARTS)
def test_batches_in_one_memory(part, signal, monkeypatch):
    x = (torch.rand(8, 4, 8, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    order = x.sum((1, 2)).argsort()  # the first and the last ones differ in what is done
    batches = [x[i] for i in (*order[:3], *order[-3:])]
    model = Slices(PARTS[part]).eval()
    share = same_by_replay(monkeypatch, model, batches, input_signal=signal, graded="ac")
    assert share == (0 if "place" in part else pytest.approx(4 / 6))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_inputs_in_one_memory(order, monkeypatch):
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 2)

        def forward(self, x, y):
            return self.layer(x * y) + self.layer(y)

    x = (torch.rand(4, 2, 3, 8) > 0.5).float()
    batches = [(pair[order[0]], pair[order[1]]) for pair in x]
    same_by_replay(monkeypatch, Both().eval(), batches, prepare=lambda batch: batch)


@random_examples
@pytest.mark.parametrize("seed", range(times(60)))
def test_random_programs(seed, monkeypatch):
    rng = random.Random(seed)
    steps = programs.possible(programs.drawn(rng))
    batches = [programs.data(number) for number in (0, 1, 0, 2, 3, 3)]
    if seed % 2:
        batches = list(zip(*map(in_one_memory, zip(*batches, strict=True)), strict=True))
    model = programs.Program(steps)
    same_by_replay(monkeypatch, model, batches, prepare=lambda batch: batch)


# What a run leaves behind


def test_bad_batch_among_replayed_ones_is_named():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    batches = [torch.rand(2, 4) for _ in range(9)]
    batches[5] = torch.full((2, 4), torch.nan)
    with pytest.raises(SyopsValueError, match=r"batch 5 .*after 10 samples.*NaN") as caught:
        get_model_syops(model, batches, input_signal="auto", progress=False)
    before = get_model_syops(model, batches[:5], progress=False)
    assert caught.value.report.totals == before.totals
    assert caught.value.report.samples == 10


def test_model_that_fails_after_replayed_batches():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x):
            if x.sum() < 0:
                raise ValueError("negative")
            return self.layer(x)

    batches = [torch.rand(2, 4) for _ in range(6)]
    batches[4] = -batches[4]
    with pytest.raises(SyopsError, match=r"batch 4 .*negative") as caught:
        get_model_syops(Fails().eval(), batches, progress=False)
    assert caught.value.report.samples == 8


def test_more_passes_than_are_settled_at_once(monkeypatch):
    model = nn.Sequential(nn.Linear(4, 4), neuron.IFNode(), nn.Linear(4, 2)).eval()
    batches = [torch.rand(1, 4) for _ in range(150)]
    assert same_by_replay(monkeypatch, model, batches) == pytest.approx(149 / 150)


def test_plan_is_given_up_where_no_pass_follows_it(monkeypatch):
    model = Spiking(number_read).eval()
    torch.manual_seed(0)
    plans = []

    def noted():
        plans.append(Plans())
        return plans[-1]

    monkeypatch.setattr(syops.run.loop, "Plans", noted)
    get_model_syops(model, [torch.randn(4, 8).abs() * -1 for _ in range(40)], progress=False)
    assert not plans[0].is_worth_it


@pytest.mark.parametrize("between", [literals, number_read], ids=lambda between: between.__name__)
def test_no_batch_is_kept_in_memory(between):
    def batches():
        for _ in range(6):
            batch = torch.randn(4, 8)
            alive.append(weakref.ref(batch))
            yield batch
            del batch

    alive = []
    torch.manual_seed(0)
    gc.collect()
    gc.disable()
    try:
        get_model_syops(Spiking(between).eval(), batches(), progress=False)
        assert not any(batch() is not None for batch in alive)
    finally:
        gc.enable()


def test_no_copy_of_a_state_is_kept_in_memory():
    class Buffered(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 8)
            self.register_buffer("mask", torch.ones(8))

        def forward(self, x):
            lent.append(weakref.ref(self.mask))
            return self.layer(x * self.mask)

    def batches():
        for _ in range(6):
            yield torch.rand(4, 8)
        gc.collect()
        alive.append(sum(mask() is not None for mask in lent))

    lent, alive = [], []
    get_model_syops(Buffered().eval(), batches(), progress=False)
    assert alive == [0]


def test_plan_does_not_grow_without_end(monkeypatch):
    def sometimes(net, x, s):
        return s * (0.5 if is_high(x) else float(x.max()))

    plans = []
    monkeypatch.setattr(syops.run.loop, "Plans", lambda: plans.append(Plans()) or plans[-1])
    batches = [torch.rand(1, 8) + (number % 3 > 0) - 1 for number in range(240)]
    get_model_syops(Spiking(sometimes).eval(), batches, progress=False)
    assert not plans[0].has_room
    assert plans[0].is_worth_it
    todo, ends = [plans[0].root], 0
    while todo:
        node = todo.pop()
        ends += node.end is not None
        todo += node.next
    assert ends <= 66


# Rules of the user's own


@torch.library.custom_op("replay::spikes", mutates_args=())
def sparse(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x @ weight.T


def test_rule_that_looks_at_values(monkeypatch):
    def between(net, x, s):
        return sparse(s, net.first.weight)

    def cost(call):
        return [Tally("add", "gather", ac=sum(map(sum, call.arg("x").tolist())))]

    batches = [torch.randn(4, 8) for _ in range(5)]
    model = Spiking(between).eval()
    same_by_replay(monkeypatch, model, batches, rules={sparse: Rule(analog, cost)})
