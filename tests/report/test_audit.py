"""`get_model_bounds` and `check_full_spike`: against counted runs, brute force and outsiders."""

from __future__ import annotations

import json
import re
import warnings

import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import base, neuron
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from syops import check_full_spike, create_model, get_model_bounds, get_model_syops
from syops.errors import ForwardError, SyopsTypeError, SyopsValueError
from syops.report.report import Report
from tests import ROOT
from tests.support.networks import BLOCKS, TINY, bundled, frame


def on_meta(name, **keywords):
    with torch.device("meta"):
        return create_model(name, **keywords)


class Net(nn.Module):
    """fc1, something in between, fc2, fc3: what arrives at fc2 is what is asked for."""

    def __init__(self, between, *, spikes=True, **modules):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(8, 6), nn.Linear(6, 5), nn.Linear(5, 2)
        self.sn = neuron.IFNode() if spikes else nn.Identity()
        self.between = between
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.fc3(self.fc2(self.between(self, self.sn(self.fc1(x)))))


def row_of(audit, layer="fc2"):
    (row,) = (row for row in audit.rows if row.layer == layer)
    return row


# Bounds


def test_bounds_have_no_rates_and_say_so():
    report = get_model_bounds(on_meta("fsnn18", T=4), (2, 3, 224, 224), input_signal="analog")
    assert not report.measured
    assert report.ac is report.ac_events is report.dc_mj is report.energy_ratio is None
    assert {(r.rate, r.ac, r.dc_mj, r.share) for r in report.layers} == {(None,) * 4}
    low, high = report.ec_mj
    assert low == pytest.approx(4.6e-9 * report.mac, rel=1e-12)
    assert report.mac == pytest.approx(0.1185e9, rel=1e-3)
    assert (high - low) / 0.9 == pytest.approx(6.782, abs=5e-4)
    assert low == pytest.approx(sum(r.ec_mj[0] for r in report.layers if r.counted))
    text = str(report)
    assert "not known without data" in text
    assert "None" not in text
    again = Report.from_json(report.to_json())
    assert again == report
    assert json.loads(report.to_json())["per_sample"]["dc_mj"] is None
    assert report.merge(again).ec_mj == report.ec_mj
    assert report.to_frame()["ac"].isna().all()


@pytest.mark.parametrize("signal", ["analog", "binary", "ternary", "graded"])
def test_bounds_and_a_counted_run_agree_on_every_input_signal(signal):
    model = create_model("dsnn18", T=2, num_classes=5)
    x = (torch.rand(2, 3, 64, 64) < 0.4).float()
    counted = get_model_syops(model, x, input_signal=signal)
    bounds = get_model_bounds(model, x, input_signal=signal)
    assert counted.ec_mj == bounds.ec_mj
    assert [r.signal for r in counted.layers] == [r.signal for r in bounds.layers]


def test_several_inputs_have_a_signal_each():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 3), nn.Linear(5, 3)

        def forward(self, x, y):
            return self.a(x) + self.b(y)

    example = torch.zeros(2, 4), torch.ones(2, 5)
    report = get_model_bounds(Two(), example, input_signal=["binary", "analog"])
    assert [r.signal for r in report.layers if r.kind == "linear"] == ["binary", "analog"]
    assert report.ec_mj == get_model_syops(Two(), example, input_signal=["binary", "analog"]).ec_mj
    with pytest.raises(SyopsValueError, match="names 3 signals"):
        get_model_bounds(Two(), example, input_signal=["binary"] * 3)


class Sizes(TorchDispatchMode):
    """The largest tensor with memory of its own that is made."""

    def __init__(self):
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor) and not tensor.is_meta:
                self.largest = max(self.largest, tensor.untyped_storage().nbytes())
        return out


def test_no_activation_and_no_weight_is_allocated():
    model = create_model("dsnn18")
    before = {key: (value.data_ptr(), value.clone()) for key, value in model.state_dict().items()}
    flags = [module.training for module in model.modules()]
    with Sizes() as sizes:
        get_model_bounds(model, (1, 3, 224, 224))
    assert sizes.largest < 100_000
    for key, value in model.state_dict().items():
        assert value.data_ptr() == before[key][0]
        assert torch.equal(value, before[key][1])
    assert flags == [module.training for module in model.modules()]


def test_a_model_that_needs_values_is_named():
    def branch(net, x):
        return x if x.sum() > 0 else -x

    with pytest.raises(ForwardError, match=r"without values.*get_model_syops"):
        get_model_bounds(Net(branch), (2, 8))
    with pytest.raises(ForwardError, match=r"fc1 \(Linear\)"):
        get_model_bounds(Net(branch), (2, 9))


@pytest.mark.parametrize(
    ("inputs", "error"),
    [((0, 8), SyopsValueError), ("x", SyopsTypeError), (7, SyopsTypeError), ((), SyopsTypeError)],
)
def test_wrong_inputs_are_refused(inputs, error):
    with pytest.raises(error, match="inputs"):
        get_model_bounds(Net(lambda net, x: x), inputs)


@pytest.mark.parametrize("inputs", ["x", 7, (), (1.0, 8), ((1, 8), (1, 8)), [torch.ones(1, 8)]])
def test_wrong_inputs_say_what_to_give(inputs):
    with pytest.raises(SyopsTypeError, match="the shape of an input, such as"):
        get_model_bounds(Net(lambda net, x: x), inputs)


def test_arguments_are_checked_before_the_model_runs():
    with pytest.raises(SyopsValueError, match="time_steps"):
        get_model_bounds(Net(lambda net, x: x.item()), (2, 8), time_steps=0)


def test_tensors_made_on_the_way_need_no_device():
    def collect(net, x):
        out = torch.zeros(x.shape[0], 6, device="cpu")
        for i in range(x.shape[0]):
            out[i] = x[i]
        return out * torch.tensor([1.0, 1, 1, 1, 1, 1]).sum().ge(0)

    assert row_of(check_full_spike(Net(collect), (2, 8))).values == "{0,1}"


# Audit


def test_every_offending_add_of_a_sew_resnet_is_named():
    audit = check_full_spike(on_meta("sew_resnet18"), (1, 3, 224, 224))
    assert not audit.full_spike
    links = [link for row in audit.offending for cause in row.causes for link in cause.links]
    named = {link.path for link in links if link.operator == "add"}
    assert named == {f"layer{i}.{j}" for i in (1, 2, 3) for j in (0, 1)} | {"layer4.0"}
    (cause,) = row_of(audit, "layer2.0.conv1").causes
    assert str(cause).startswith(
        "{0,1,2,3} ← add in layer1.1 (residual: spikes {0,1} from layer1.1.sn + {0,1,2} from "
        "layer1.0) ← add in layer1.0 (residual: spikes {0,1} from layer1.0.sn + "
    )
    assert {row.verdict for row in audit.offending} == {"graded"}


@pytest.mark.parametrize("name", ["fsnn18", "fsnn34", "fsnn_7b", "spiking_resnet18"])
def test_full_spike_networks_pass(name):
    events = "7b" in name
    shape = (16, 1, 2, 128, 128) if events else (1, 3, 224, 224)
    audit = check_full_spike(on_meta(name), shape, batch_dim=int(events))
    assert audit.full_spike
    assert [row.layer for row in audit.rows if row.exempt] == [
        audit.rows[0].layer, audit.rows[-1].layer,
    ]  # fmt: skip
    assert not check_full_spike(on_meta(name), shape, batch_dim=int(events), allow=()).full_spike


@pytest.mark.parametrize("classifier", ["shared", "separate"])
def test_a_dual_stream_offends_in_its_accumulated_stream_alone(classifier):
    audit = check_full_spike(on_meta("dsnn18", classifier=classifier), (1, 3, 224, 224))
    aap = {f"layer{i}.0.aap.{what}" for i in (2, 3, 4) for what in ("depthwise", "pointwise")}
    own = {"fc_acc"} if classifier == "separate" else set()
    assert {row.layer for row in audit.offending} == aap | own


@pytest.mark.parametrize("allow", ["first", ["stem"], None, [1], {"last", "middle"}])
def test_allow_must_be_first_or_last(allow):
    with pytest.raises(SyopsValueError, match="allow"):
        check_full_spike(Net(lambda net, x: x), (2, 8), allow=allow)


def test_spikformer_notes_the_operand_that_is_not_a_spike():
    audit = check_full_spike(on_meta("spikformer_4_384", g="IAND"), (1, 3, 32, 32))
    assert audit.full_spike
    noted = [row for row in audit.rows if "not a spike" in row.note]
    assert len(noted) == 4
    assert all(row.kind == "matmul" and row.verdict == "spike" for row in noted)
    assert "multiplication of values that are not spikes" in {lack.what for lack in audit.lacks}


@pytest.mark.parametrize(
    ("between", "values", "verdict", "cause"),
    [
        (lambda net, s: s + s, "{0,2}", "spike", None),
        (lambda net, s: s + s.flip(0), "{0,1,2}", "graded", "add in the model"),
        (lambda net, s: s + s.flip(0) - s * s.flip(0), "{0,1}", "spike", None),
        (lambda net, s: s.mean(0, keepdim=True), "{0,1,2}/2", "graded", "mean in the model"),
        (lambda net, s: s + net.bias, "real", "analog", "add in the model"),
        (lambda net, s: s * net.one, "{0,a}", "spike", None),
        (lambda net, s: (s * net.bias).round().clamp(-1, 3), "{-1..3}", "graded", "clamp in"),
        (lambda net, s: F.relu6((s * net.bias).floor()), "{0..6}", "graded", "hardtanh in"),
        (lambda net, s: (s * net.bias).round().clamp(0, 1), "{0,1}", "spike", None),
        (lambda net, s: (s * net.bias).round().clamp(min=0), "integers", "graded", "clamp"),
        (lambda net, s: (s * net.bias).round().clamp(0, 2.5), "real", "analog", "clamp in"),
        (lambda net, s: s.clone().add_(s.roll(1)), "{0,1,2}", "graded", "add in the model"),
    ],
)
def test_verdicts_and_causes(between, values, verdict, cause):
    net = Net(between)
    net.bias, net.one = nn.Parameter(torch.zeros(6)), nn.Parameter(torch.ones(1))
    row = row_of(check_full_spike(net, (2, 8)))
    assert (row.values, row.verdict) == (values, verdict)
    assert (cause is None) == (not row.causes)
    if cause:
        assert str(row.causes[0].links[0]).startswith(cause)


def test_a_write_into_a_part_is_followed():
    def write(net, s):
        out = torch.zeros_like(s)
        out[:, :3] = s[:, :3]
        out[:, 3:] += 2 * s[:, 3:]
        return out

    row = row_of(check_full_spike(Net(write), (2, 8)))
    assert told(row.values) >= {0, 1, 2}
    assert "write" in str(row.causes[0]) or "add" in str(row.causes[0])


# The truth: what arrives at each layer when neurons fire at random


class Fires(nn.Module):
    """In place of every neuron: random spikes at one rate."""

    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, x, *args):
        return (torch.rand_like(x) < self.rate).to(x)


VARIANTS = [
    ("fsnn_digits", {"g": "OR"}), ("dsnn_digits", {"g": "IAND"}),
    ("spikformer_4_384", {"g": "OR", "aap": True}),
    *(
        pytest.param(name, variant, marks=pytest.mark.slow)
        for name, variant in (
            ("fsnn18", {"g": "OR"}), ("fsnn_7b", {"g": "XOR"}), ("fsnn18", {"g": "AND"}),
            ("dsnn18", {"g": "IAND"}), ("sew_resnet18", {"g": "IAND"}),
            ("spikformer_4_384", {"g": "IAND"}),
        )
    ),
]  # fmt: skip


def with_random_spikes(model, rate):
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, base.MemoryModule) and hasattr(child, "v_threshold"):
                setattr(parent, name, Fires(rate))
            elif isinstance(child, Fires):
                child.rate = rate
    return model


@pytest.mark.parametrize("name", bundled(quick=TINY, slow=BLOCKS))
def test_the_class_is_the_one_found_by_brute_force(name):
    check_classes(name, {})


@pytest.mark.parametrize(
    ("name", "variant"),
    VARIANTS,
    ids=lambda part: part if isinstance(part, str) else "-".join(map(str, part.values())),
)
def test_the_class_of_a_variant_is_the_one_found_by_brute_force(name, variant):
    check_classes(name, variant)


def check_classes(name, variant):
    """The classes of the audit are those of what random spikes bring to each layer."""
    keywords = {"num_classes": 4, **variant, **({} if name.startswith("resnet") else {"T": 2})}
    events = "7b" in name
    shape = (2, 2, 2, 128, 128) if events else (2, *frame(name))
    torch.manual_seed(0)
    model = create_model(name, **keywords).eval()
    audit = check_full_spike(model, torch.randn(shape), batch_dim=int(events))
    seen: dict[str, set[float]] = {}

    def look(path):
        def hook(module, args):
            seen.setdefault(path, set()).update(args[0].unique()[:50].tolist())

        return hook

    for path, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Conv1d, nn.Linear)):
            module.register_forward_pre_hook(look(path))
    for rate in (0.02, 0.5, 0.98, 1.0):
        with torch.no_grad():
            with_random_spikes(model, rate)(torch.randn(shape))
    checked = 0
    for row in audit.rows:
        if row.path not in seen or row.kind == "matmul":
            continue
        checked += 1
        names, _, parts = row.values.partition("/")  # such as {0..4}/4
        values = {value * int(parts or 1) for value in seen[row.path]}
        whole = all(abs(value - round(value)) < 1e-4 for value in values)
        found = "spike" if values <= {0, 1} else "graded" if whole else "analog"
        assert row.verdict == found, (row, values)
        if row.verdict != "analog":
            assert told(names) >= {round(value) for value in values}
            assert parts or max(told(names)) == max(values)  # not every mean can be reached
    assert checked >= len(seen) - 1


def told(values: str) -> set[int]:
    if match := re.fullmatch(r"\{(-?\d+)\.\.(-?\d+)\}", values):
        return set(range(int(match[1]), int(match[2]) + 1))
    return {int(value) for value in values.strip("{}").split(",")}


# Neurons of others


def loop(cell):
    def run(net, x):
        state, out = None, []
        for _ in range(3):
            result = net.cell(x) if state is None else net.cell(x, state)
            spikes, *rest = result if isinstance(result, tuple) else (result,)
            state = rest[0] if rest else None
            out.append(spikes)
        return torch.stack(out)

    return Net(run, spikes=False, cell=cell)


class PlainLIF(nn.Module):
    def forward(self, x, v=None):
        v = 0.5 * v + x if v is not None else x
        spikes = (v > 1).float()
        return spikes, v - spikes


def of_snntorch(name, *args, **keywords):
    snntorch = pytest.importorskip("snntorch")
    return getattr(snntorch, name)(*args, init_hidden=True, **keywords)


def of_sinabs(name, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layers = pytest.importorskip("sinabs.layers")
    return getattr(layers, name)(*args)


@pytest.mark.parametrize(
    ("net", "shape", "values", "verdict"),
    [
        (lambda: loop(PlainLIF()), (2, 8), "{0,1}", "spike"),
        (lambda: loop(of_snntorch("Leaky", 0.9)), (2, 8), "{0,a}", "spike"),
        (lambda: loop(of_snntorch("Leaky", 0.9, learn_graded_spikes_factor=True)), (2, 8),
         "{0,a}", "spike"),
        (lambda: loop(of_snntorch("Synaptic", 0.9, 0.8)), (2, 8), "{0,a}", "spike"),
        (lambda: loop(pytest.importorskip("norse.torch").LIFCell()), (2, 8), "{0,1}", "spike"),
        (lambda: Net(lambda net, x: net.cell(x), spikes=False, cell=of_sinabs("LIF", 20.0)),
         (2, 3, 8), "integers", "graded"),
        (lambda: Net(lambda net, x: net.cell(x), spikes=False, cell=of_sinabs("IAF")),
         (2, 3, 8), "integers", "graded"),
    ],
    ids=["plain", "Leaky", "Leaky-graded", "Synaptic", "norse-LIF", "sinabs-LIF", "sinabs-IAF"],
)  # fmt: skip
def test_neurons_of_other_libraries_are_recognised(net, shape, values, verdict):
    model = net()
    row = row_of(check_full_spike(model, shape))
    assert (row.values, row.verdict) == (values, verdict)
    counted = get_model_syops(model, 3 * torch.randn(shape, generator=torch.manual_seed(1)))
    (layer,) = (layer for layer in counted.layers if layer.path == "fc2")
    assert layer.signal in ({"scaled"} if "a" in values else {"binary", "graded"})


class Fused(nn.Module):
    """A neuron that cannot be watched: one kernel, here one that needs values."""

    def forward(self, x):
        return torch.from_numpy((x.detach().numpy() > 0.5).astype("float32"))


def test_a_fused_neuron_is_named_by_the_user():
    net = Net(lambda net, x: net.cell(x), spikes=False, cell=Fused())
    with pytest.raises(ForwardError, match=r"cell \(Fused\).*neurons="):
        check_full_spike(net, (2, 8))
    assert row_of(check_full_spike(net, (2, 8), neurons={Fused: "binary"})).verdict == "spike"
    x = torch.randn(2, 8)
    counted = get_model_syops(net, x, neurons={Fused: "binary"})
    bounds = get_model_bounds(net, x, neurons={Fused: "binary"})
    assert counted.ec_mj == bounds.ec_mj
    with pytest.raises(SyopsTypeError, match="classes of modules"):
        check_full_spike(net, (2, 8), neurons={"Fused": "binary"})
    with pytest.raises(SyopsValueError, match="Fused must be one of"):
        check_full_spike(net, (2, 8), neurons={Fused: "spikes"})


# Command line


def test_the_command_tells_by_its_exit_status(syops):
    status, out, err = syops("audit", "sew_resnet18")
    assert (status, err) == (1, "")
    assert out.startswith("sew_resnet18: not spike-only: 10 of its 21")
    assert "{0,1,2} ← add in layer1.0" in out
    assert max(map(len, out.splitlines())) <= 80
    status, out, err = syops("audit", "fsnn18", "--format", "json")
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert told["full_spike"] is True
    assert len(told["rows"]) == 21
    assert syops("audit", "fsnn18", "--allow", "first")[0] == 1
    status, out, err = syops("audit", "fsnn18", "--input-shape", "1,5,64,64")
    assert (status, out) == (2, "")
    assert err.startswith("syops: error: ")
    assert len(err.splitlines()) == 1


def test_the_bounds_command(syops):
    status, out, err = syops("bounds", "fsnn18", "--depth", "1")
    assert (status, err) == (0, "")
    assert "fsnn18: 11.7 M parameters" in out
    assert "545 µJ to 6.65 mJ" in out
    status, out, _ = syops("bounds", "fsnn18", "--format", "json", "--input-signal", "binary")
    report = Report.from_json(out)
    assert (status, report.measured, report.mac) == (0, False, 512_000)


@pytest.mark.parametrize("name", ["sew_resnet18", "fsnn34"])
def test_the_docs_show_what_is_printed(syops, name):
    page = (ROOT / "docs" / "spike_only.md").read_text("utf-8")
    shown = page.split(f"$ syops audit {name}\n")[1].split("```")[0]
    printed = syops("audit", name)[1]
    assert printed.startswith(shown.removesuffix("...\n"))
    assert shown.endswith("...\n") or printed == shown
