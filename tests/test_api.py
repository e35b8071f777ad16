"""`get_model_syops`: what it takes, what it refuses, and that it leaves the model as found."""

from __future__ import annotations

import gc

import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from torch.utils._python_dispatch import _get_current_dispatch_mode
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from syops import EnergyModel, SyopsError, get_model_syops
from syops.errors import (
    ForwardError,
    SyopsLookupError,
    SyopsTypeError,
    SyopsValueError,
)

SPIKES = (torch.arange(2 * 3 * 8 * 8).reshape(2, 3, 8, 8) % 3 == 0).float()


def spiking_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        neuron.LIFNode(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(4 * 36, 5),
    )


class Calls(nn.Module):
    """A module whose forward is a function of it and the inputs."""

    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, *args, **kwargs):
        return self.function(self, *args, **kwargs)


def hooks(model):
    return [
        (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
        for m in model.modules()
    ]


# What the model is called with


def test_every_form_of_the_input_counts_the_same():
    model = spiking_net()
    expected = get_model_syops(model, SPIKES).totals
    labels = torch.zeros(2)
    forms = [
        (SPIKES,),
        {"input": SPIKES},
        [SPIKES],
        [SPIKES[:1], SPIKES[1:]],
        [(SPIKES, labels)],
        [[SPIKES, labels]],
        [{"input": SPIKES}],
        ((SPIKES[i : i + 1], labels[i]) for i in range(2)),
        DataLoader(TensorDataset(SPIKES, labels), batch_size=1),
    ]
    for form in forms:
        report = get_model_syops(model, form)
        assert report.totals == expected
        assert report.samples == 2


def test_prepare_makes_of_a_batch_what_the_model_is_called_with():
    model = Calls(lambda self, x, *, scale: self.fc(x * scale), fc=nn.Linear(8, 2))
    batches = [{"events": SPIKES, "label": 3}]
    report = get_model_syops(model, batches, prepare=lambda b: {"x": b["events"], "scale": 2.0})
    assert report.totals.mac == SPIKES.numel() * 2  # {0, 2} in the data is graded
    positional = Calls(lambda self, x, y: self.fc(x) + y, fc=nn.Linear(8, 2))
    report = get_model_syops(positional, batches, prepare=lambda b: (b["events"], 1.0))
    assert report.totals.dense_ac == SPIKES.numel() * 2


def test_figures_are_per_sample_and_totals_are_sums():
    report = get_model_syops(nn.Linear(8, 5), SPIKES.flatten(0, 2))
    assert report.samples == 48
    assert report.totals.ac == report.totals.ac_events == int(SPIKES.sum()) * 5
    assert report.ac == pytest.approx(int(SPIKES.sum()) * 5 / 48)
    assert report.dense_ac == 40


def test_the_batch_dimension_of_a_sequence():
    sequence = SPIKES.reshape(4, 6, 16)
    report = get_model_syops(nn.Linear(16, 3), sequence, batch_dim=1)
    assert report.samples == 6
    assert report.dense_ac == 4 * 16 * 3


# Eq. (6)


@pytest.mark.parametrize("steps", [2, 4])
def test_the_ann_of_a_network_that_repeats_its_input_does_one_step(steps):
    """A stem computed once is done once by the ANN too; what runs at every step, once."""

    def forward(self, x):
        x = self.bn(self.stem(x)).repeat(self.T, 1)
        return self.fc(self.sn(x.unflatten(0, (self.T, -1))))

    model = Calls(
        forward,
        stem=nn.Linear(6, 10, bias=False),
        bn=nn.BatchNorm1d(10),
        sn=neuron.IFNode(step_mode="m"),
        fc=nn.Linear(10, 3),
    )
    model.T = steps
    report = get_model_syops(model, torch.randn(5, 6))
    ann = 4.6 * (6 * 10 + 10 * 3)
    snn = 4.6 * 6 * 10 + 0.9 * report.ac
    assert report.time_steps == steps
    assert report.energy_ratio == pytest.approx(snn / ann, rel=1e-12)
    assert steps == model.T


def test_the_ann_of_an_event_sequence_sees_one_frame():
    model = nn.Sequential(
        layer.Linear(6, 4), layer.BatchNorm1d(4), neuron.IFNode(), layer.Linear(4, 2)
    )
    functional.set_step_mode(model[0], "s")
    x = torch.rand(3, 5, 6)

    def forward(self, x):
        return torch.stack([self.net(step) for step in x])

    report = get_model_syops(Calls(forward, net=model), x, batch_dim=1, time_steps=3)
    assert report.energy_ratio == pytest.approx(report.dc_mj * 1e9 / (4.6 * (6 * 4 + 4 * 2)))


def test_no_ratio_without_T():
    report = get_model_syops(nn.Linear(8, 2), SPIKES)
    assert report.time_steps is None
    assert report.energy_ratio is None
    unknown = get_model_syops(nn.Linear(8, 2), SPIKES, time_steps=4)
    assert unknown.energy_ratio is None
    assert "T" in unknown.notes[0]


def test_unfolded_norms_are_part_of_both_sides_of_the_ratio():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.T, self.bn, self.fc = 2, nn.BatchNorm1d(6), nn.Linear(6, 3)

        def forward(self, x):
            return torch.stack([self.fc(self.bn(x).relu()) for _ in range(self.T)])

    report = get_model_syops(Net(), torch.rand(5, 6))
    assert report.mac == 2 * (2 * 6 + 6 * 3)
    assert report.energy_ratio == pytest.approx(2)


def looped(net, x):
    def step(i, x):
        return i + 1, net.fc(x)

    return torch.while_loop(lambda i, x: i < 1, step, (torch.tensor(0), x))[1]


@pytest.mark.parametrize(
    ("forward", "products"),
    [
        (lambda net, x: x @ (torch.randn_like(net.w) @ net.w), [(4, 8, 8), (8, 8, 8)]),
        (lambda net, x: x @ (net.w @ net.w), [(4, 8, 8)]),
        (lambda net, x: x @ torch.eye(8) @ net.w, [(4, 8, 8), (4, 8, 8)]),
        (lambda net, x: net.fc(net.w[x[:, 0].long()]), [(4, 8, 8)]),
        (lambda net, x: F.linear(x, net.w[x.argmax(0)]), [(4, 8, 8)]),
        (lambda net, x: torch.cond(len(x) > 2, net.fc, net.fc, (x,)), [(4, 8, 8)]),
        (looped, [(4, 8, 8)]),
        (lambda net, x: checkpoint(net.fc, x, use_reentrant=False), [(4, 8, 8)]),
    ],
)
def test_the_ann_does_what_the_network_does_in_one_step(forward, products):
    model = Calls(forward, fc=nn.Linear(8, 8))
    model.w, model.T = nn.Parameter(torch.rand(8, 8)), 1
    report = get_model_syops(model, torch.rand(4, 8))
    expected = sum(m * k * n for m, k, n in products)
    assert sum(row.dense for row in report.rows if row.kind in ("linear", "matmul")) == expected
    assert report.ann.totals.mac == expected


# The model is left as found


def test_outputs_are_bitwise_the_same_and_nothing_is_left_changed():
    model = spiking_net()
    model(SPIKES)  # leaves a membrane potential with a graph behind
    model[5].eval()
    potential, graph = model[2].v, model[2].v.grad_fn
    kept = potential.detach().clone()
    flags = [module.training for module in model.modules()]
    buffers = [(b, b.clone()) for b in model.buffers()]
    found = hooks(model)
    seen = []
    with model[5].register_forward_hook(lambda m, a, out: seen.append(out)):
        get_model_syops(model, [SPIKES, SPIKES[:1]])
    assert model[2].v is potential
    assert potential.grad_fn is graph
    assert torch.equal(potential, kept)
    assert [module.training for module in model.modules()] == flags
    assert hooks(model) == found
    for buffer, before in buffers:
        assert torch.equal(buffer, before)
    assert all(b is found_b for b, (found_b, _) in zip(model.buffers(), buffers, strict=True))

    functional.reset_net(model)
    model.eval()
    with torch.no_grad():
        assert torch.equal(seen[0], model(SPIKES))
        functional.reset_net(model)
        assert torch.equal(seen[1], model(SPIKES[:1]))


def test_states_in_plain_attributes_buffers_and_lists_come_back():
    class Stateful(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.register_buffer("mem", torch.ones(4))
            self.trace, self.calls, self.last = [torch.zeros(1)], 0, None

        def forward(self, x):
            self.mem += self.fc(x).sum(0)
            self.trace.append(self.mem)
            self.calls += 1
            self.last = x
            self.extra = x
            return self.mem

    model = Stateful()
    mem, trace = model.mem, model.trace
    get_model_syops(model, [torch.rand(2, 4), torch.rand(3, 4)])
    assert model.mem is mem
    assert torch.equal(mem, torch.ones(4))
    assert model.trace is trace
    assert len(trace) == 1
    assert model.calls == 0
    assert model.last is None
    assert not hasattr(model, "extra")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, StopIteration])
@pytest.mark.parametrize("where", ["module", "neuron", "loader"])
def test_nothing_is_left_behind_after_an_exception(error, where):
    model = spiking_net()
    before = model[2].v

    def fail(*args):
        raise error

    def loader():
        yield SPIKES
        fail()

    if where == "neuron":
        model[2].register_forward_pre_hook(fail)
    elif where == "module":
        model[5].register_forward_pre_hook(fail)
    found = hooks(model)
    expected = error
    if where != "loader" and error is not KeyboardInterrupt:
        expected = ForwardError
    if where == "loader" and error is StopIteration:
        expected = RuntimeError  # what Python makes of it in a generator
    with pytest.raises(expected):
        get_model_syops(model, loader() if where == "loader" else SPIKES)
    assert hooks(model) == found
    assert model.training
    assert model[2].v is before
    assert _get_current_dispatch_mode() is None
    assert torch.is_grad_enabled()


def test_an_exception_that_the_model_handles_itself_does_no_harm():
    def forward(self, x):
        try:
            self.broken(x)
        except RuntimeError:
            return self.fc(x)

    report = get_model_syops(Calls(forward, broken=nn.Linear(3, 3), fc=nn.Linear(8, 2)), SPIKES)
    assert [row.name for row in report.layers if row.ac] == ["fc"]
    assert report.totals.dense_ac == SPIKES.numel() * 2


def test_count_inside_inference_mode():
    model = spiking_net()
    expected = get_model_syops(model, SPIKES)
    with torch.inference_mode():
        assert get_model_syops(model, SPIKES).totals == expected.totals
        assert get_model_syops(model, SPIKES.clone()).totals == expected.totals

    class Decorated(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = model

        @torch.inference_mode()
        def forward(self, x):
            return self.net(x)

    assert get_model_syops(Decorated(), SPIKES).totals == expected.totals


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_counted_pass_keeps_no_tensors_alive():
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 2))
    get_model_syops(model, SPIKES)
    gc.collect()
    before = sum(isinstance(o, torch.Tensor) for o in gc.get_objects())
    report = get_model_syops(model, SPIKES)
    gc.collect()
    assert sum(isinstance(o, torch.Tensor) for o in gc.get_objects()) <= before
    assert report.samples == 2


@pytest.mark.parametrize("at", ["0.weight", "0.bias", "1.running_var", "1.bias"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_hold_nan_are_refused(at, dtype):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3))
    dict([*model.named_parameters(), *model.named_buffers()])[at].data[0] = float("nan")
    with pytest.raises(SyopsValueError, match=rf"^{at} holds NaN"):
        get_model_syops(model.to(dtype), SPIKES.to(dtype))


def test_masks_and_unset_states_may_hold_what_is_no_number():
    model = spiking_net()
    expected = get_model_syops(model, SPIKES).totals
    model.register_buffer("mask", torch.full((3, 3), float("-inf")))
    model.register_buffer("unset", torch.full((3,), float("nan")))
    assert get_model_syops(model, SPIKES).totals == expected


# Bad input: each a clear error that names the layer or argument


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"inputs": SPIKES * float("nan")}, SyopsValueError, ["0 (conv2d)", "NaN"]),
        ({"inputs": SPIKES / 0}, SyopsValueError, ["0 (conv2d)", "infinite"]),
        ({"inputs": SPIKES.to("meta")}, SyopsValueError, ["meta device", "get_model_bounds"]),
        ({"inputs": []}, SyopsValueError, ["no batch"]),
        ({"inputs": iter(())}, SyopsValueError, ["no batch"]),
        ({"inputs": torch.tensor(1.0)}, SyopsValueError, ["no dimensions"]),
        ({"inputs": SPIKES, "batch_dim": 4}, SyopsValueError, ["batch_dim=4", "(2, 3, 8, 8)"]),
        ({"inputs": SPIKES, "batch_dim": "N"}, SyopsTypeError, ["batch_dim", "'N'"]),
        ({"inputs": SPIKES[:0]}, SyopsValueError, ["no samples", "batch_dim=0"]),
        ({"inputs": SPIKES[:, :2]}, ForwardError, ["0 (Conv2d)", "expected input"]),
        ({"inputs": SPIKES, "graded": "maybe"}, SyopsValueError, ["graded", "mac, ac", "'maybe'"]),
        ({"inputs": SPIKES, "ac": "count"}, SyopsValueError, ["ac", "rate, events"]),
        ({"inputs": SPIKES, "input_signal": "spikes"}, SyopsValueError, ["input_signal"]),
        ({"inputs": SPIKES * 2, "input_signal": "binary"}, SyopsValueError, ["binary", "2.0"]),
        ({"inputs": SPIKES / 2, "input_signal": "graded"}, SyopsValueError, ["graded", "0.5"]),
        ({"inputs": SPIKES, "energy": "horowitz46"}, SyopsLookupError, ["horowitz45-fp32"]),
        ({"inputs": SPIKES, "energy": 4.6}, SyopsTypeError, ["energy"]),
        ({"inputs": SPIKES, "time_steps": 0}, SyopsValueError, ["time_steps"]),
        ({"inputs": "photo.png"}, SyopsTypeError, ["inputs", "str"]),
        ({"inputs": 3}, SyopsTypeError, ["inputs", "int"]),
        ({"inputs": [("a", 1)]}, SyopsTypeError, ["no tensor", "prepare="]),
        ({"inputs": {"input": 1}}, SyopsTypeError, ["no tensor", "prepare="]),
    ],
)
def test_bad_input_is_a_clear_error(arguments, error, words):
    model = spiking_net()
    found = hooks(model)
    with pytest.raises(error) as raised:
        get_model_syops(model, **arguments)
    assert isinstance(raised.value, SyopsError)
    message = str(raised.value)
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert hooks(model) == found
    assert model.training


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        (lambda: len, SyopsTypeError, ["torch.nn.Module"]),
        (lambda: torch.jit.script(nn.Linear(8, 2)), SyopsTypeError, ["scripted"]),
        (
            lambda: nn.Sequential(nn.ReLU(), torch.jit.script(nn.Linear(8, 2))),
            SyopsTypeError,
            ["1 is a scripted"],
        ),
        (lambda: nn.Sequential(nn.LazyLinear(2)), SyopsValueError, ["0.weight", "once"]),
        (lambda: nn.Linear(8, 2, device="meta"), SyopsValueError, ["weight", "meta"]),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_model_that_cannot_be_counted_is_refused(model, error, words):
    with pytest.raises(error) as raised:
        get_model_syops(model(), SPIKES)
    assert all(word in str(raised.value) for word in words), raised.value


def test_what_has_no_rule_is_named_and_strict_makes_it_an_error():
    model = Calls(lambda self, x: self.fc(torch.special.bessel_j0(torch.fft.fft(x).real)),
                  fc=nn.Linear(8, 2))  # fmt: skip
    report = get_model_syops(model, SPIKES)
    assert any("fft" in name for name in report.unaccounted)
    assert all(name.endswith("in the model") for name in report.unaccounted)
    with pytest.raises(SyopsValueError, match="fft.*no rule"):
        get_model_syops(model, SPIKES, strict=True)


def test_an_energy_model_of_ones_own():
    own = EnergyModel("mine", e_ac_pj=1.0, e_mac_pj=10.0)
    report = get_model_syops(nn.Linear(8, 5), SPIKES, energy=own)
    assert report.dc_mj == pytest.approx(report.ac * 1e-9)
    assert report.ec_mj == (0, pytest.approx(3 * 8 * 8 * 5 * 1e-9))
