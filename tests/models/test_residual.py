"""Spiking ResNet, td-BN, the ANNs, both spike streams of Eq. (10), and the neurons' keywords."""

import math

import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import surrogate
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from syops import get_model_syops
from syops.errors import SyopsLookupError, SyopsTypeError, SyopsValueError
from syops.models import calibrate, create_model
from syops.models.parts import Neurons
from tests.support.versions import differentiable

pytestmark = pytest.mark.slow  # deep networks; test_all_networks counts each kind of them

# The parameters of torchvision's ResNets.
PUBLISHED = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}


def images(n=2, channels=3, size=64, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, channels, 8, 8, generator=generator, dtype=dtype)
    return F.interpolate(coarse, size=(size, size), mode="bilinear")


def fresh(name, x, **kwargs):
    torch.manual_seed(1)
    model = create_model(name, num_classes=10, **kwargs).to(x.dtype).eval()
    calibrate(model, x)
    return model


def on_meta(name, **kwargs):
    with torch.device("meta"):
        return create_model(name, **kwargs).eval()


# --- architecture ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        *((f"spiking_resnet{d}", d) for d in PUBLISHED),
        *((f"resnet{d}", d) for d in (18, 34, 50, 101)),
        *((f"spiking_resnet{d}_tdbn", d) for d in (34, 50)),
        pytest.param("fsnn152", 152, marks=pytest.mark.slow),
        pytest.param("sew_resnet152", 152, marks=pytest.mark.slow),
    ],
)
def test_parameter_count_is_the_published_one(name, depth):
    model = on_meta(name)
    assert sum(p.numel() for p in model.parameters()) == PUBLISHED[depth]
    assert model.state_dict().keys() == on_meta(f"sew_resnet{depth}").state_dict().keys()


def test_an_aap_adds_its_down_samplings():
    def extra(depth):
        both = on_meta(f"dsnn{depth}", classifier="shared"), on_meta(f"fsnn{depth}")
        dsnn, fsnn = (sum(p.numel() for p in network.parameters()) for network in both)
        return dsnn - fsnn

    # pointwise C_in C_out, BN 2 C_out, and depthwise 9 C_in where it strides
    basic = sum(c * 2 * c + 2 * (2 * c) + 9 * c for c in (64, 128, 256))
    wide = sum(c * 2 * c + 2 * (2 * c) + 9 * c for c in (256, 512, 1024)) + 64 * 256 + 2 * 256
    assert [extra(d) for d in (18, 34)] == [basic] * 2
    assert [extra(d) for d in (50, 101, 152)] == [wide] * 3
    assert (basic, wide) == (177_856, 2_792_704)


def dense_counts(model, size=224):
    """O_mac with every BN counted, and the dense AC, from what the layers are called with."""
    counts = {"mac": 0, "ac": 0}

    def count(name, module, out):
        if isinstance(module, _BatchNorm):
            counts["mac"] += 2 * out.numel()
        else:
            kind = "mac" if name in ("conv1", "fc", "fc_acc") else "ac"
            counts[kind] += out.numel() * module.weight[0].numel()

    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear | _BatchNorm):
            module.register_forward_hook(lambda m, _, out, name=name: count(name, m, out))
    model(torch.empty(1, 3, size, size, device="meta"))
    return counts["mac"] / 1e9, counts["ac"] / 1e9


@pytest.mark.parametrize(
    ("name", "T", "mac", "ac", "ec_min", "ec_width"),
    [
        ("spiking_resnet34_tdbn", 6, 0.155, 21.271, 0.69, 19.16),
        ("spiking_resnet50_tdbn", 6, 0.245, 23.815, 1.10, 21.49),
        ("spiking_resnet34", 250, 1.588, 886.3, 7.31, 798.48),
        ("spiking_resnet34", 256, 1.623, 907.6, 7.45, 817.84),
    ],
)
def test_dense_operations_are_those_of_table_2(name, T, mac, ac, ec_min, ec_width):
    model = on_meta(name)
    assert {"spiking_resnet34": 4}.get(name, 6) == model.T
    model.T = T
    o_mac, dense_ac = dense_counts(model)
    assert o_mac == pytest.approx(mac, abs=0.001)
    assert dense_ac == pytest.approx(ac, rel=1e-4)
    assert 4.6 * o_mac == pytest.approx(ec_min, abs=0.06 if T == 6 else 0.003 * ec_min)
    assert 0.9 * dense_ac == pytest.approx(ec_width, rel=0.003)


def reference_ann(state, x, blocks):
    """torchvision's ResNet with basic blocks, in plain functions."""

    def conv_bn(x, conv, bn, stride=1):
        weight = state[f"{conv}.weight"]
        x = F.conv2d(x, weight, None, stride, weight.shape[-1] // 2)
        moments = state[f"{bn}.running_mean"], state[f"{bn}.running_var"]
        return F.batch_norm(x, *moments, state[f"{bn}.weight"], state[f"{bn}.bias"])

    x = F.max_pool2d(conv_bn(x, "conv1", "bn1", 2).relu(), 3, 2, 1)
    for stage, n in enumerate(blocks, start=1):
        for i in range(n):
            name = f"layer{stage}.{i}"
            stride = 2 if stage > 1 and i == 0 else 1
            out = conv_bn(x, f"{name}.conv1", f"{name}.bn1", stride).relu()
            out = conv_bn(out, f"{name}.conv2", f"{name}.bn2")
            if f"{name}.downsample.0.weight" in state:
                x = conv_bn(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
            x = (out + x).relu()
    return x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]


def test_the_ann_is_torchvisions_resnet():
    x = images(dtype=torch.float64)
    model = fresh("resnet18", x)
    with torch.no_grad():
        torch.testing.assert_close(model(x), reference_ann(model.state_dict(), x, (2, 2, 2, 2)))
    assert model.T == 1


# --- Eq. (10), SN(f(x) + x) ---------------------------------------------------------------------


def spiking_block(block, o, v):
    """One time-step of SN(f(o) + o) with IF neurons, from the block's own convolutions and BN."""

    def spiking(name, current):
        h = v.get(name, 0) + current
        spikes = (h >= 1).to(h)
        v[name] = h * (1 - spikes)
        return spikes

    def one(module, x):
        return module(x.unsqueeze(0)).squeeze(0)

    inner = spiking("inner", one(block.bn1, one(block.conv1, o)))
    f = one(block.bn2, one(block.conv2, inner))
    shortcut = o
    if len(block.downsample._modules):
        conv, bn = block.downsample  # no neuron
        shortcut = one(bn, one(conv, o))
    return f, spiking("sum", f + shortcut)


@pytest.mark.parametrize("name", ["spiking_resnet18", "fsnn18", "dsnn18", "spiking_resnet34_tdbn"])
def test_a_spiking_block_fires_after_the_sum(name):
    kwargs = {} if name.startswith("spiking") else {"residual": "spiking"}
    x = images(dtype=torch.float64)
    model, seen = fresh(name, x, T=3, **kwargs), []
    for block in model.layer2[:2]:
        block.register_forward_hook(lambda m, args, out: seen.append((m, args[0], out)))
    with torch.no_grad():
        model(x)
        for block, streams, out in seen:
            v = {}
            steps = [spiking_block(block, o, v) for o in streams.spike]
            expected = torch.stack([o for _, o in steps])
            assert expected.unique().tolist() == [0, 1]
            torch.testing.assert_close(out.spike, expected, rtol=0, atol=0)
            if name == "dsnn18":  # Eq. (11), s_l = f(o) as Eq. (10) has it
                s = torch.stack([f for f, _ in steps])
                torch.testing.assert_close(out.accumulated, s + block.aap(streams.accumulated))
    assert len({block for block, *_ in seen}) == 2


@pytest.mark.parametrize("name", ["spiking_resnet18", "spiking_resnet34_tdbn", "fsnn50"])
def test_full_spike(name):
    kwargs = {} if name.startswith("spiking") else {"residual": "spiking"}
    x = images(n=1)
    report = get_model_syops(fresh(name, x, T=2, **kwargs), x)
    rows = {row.path: row.signal for row in report.layers if row.kind in ("conv", "linear")}
    assert (rows.pop("conv1"), rows.pop("fc")) == ("analog", "graded")
    assert set(rows.values()) == {"binary"}
    assert not report.unaccounted


def test_the_residual_neurons_are_if_neurons():
    model = on_meta("fsnn50", residual="spiking", neuron="LIF", v_threshold=0.5)
    kinds = {}
    for path, module in model.named_modules():
        if hasattr(module, "v_threshold"):
            assert module.v_threshold == 0.5
            last = path.endswith(".sn")
            kinds.setdefault(last, set()).add(type(module).__name__)
    assert kinds == {True: {"IFNode"}, False: {"LIFNode"}}


@pytest.mark.parametrize("family", ["dsnn18", "fsnn18"])
def test_a_threshold_that_no_spike_reaches(family):
    assert create_model(family, v_threshold=1.5).sn1.v_threshold == 1.5
    with pytest.raises(SyopsValueError, match=r"v_threshold=1.5.*residual='spiking'.*<= 1"):
        create_model(family, residual="spiking", v_threshold=1.5)


def test_unknown_residual():
    with pytest.raises(SyopsValueError, match="residual='add' is not one of sew, spiking"):
        create_model("fsnn18", residual="add")
    with pytest.raises(SyopsLookupError, match="residual"):
        create_model("sew_resnet18", residual="sew")


# --- td-BN --------------------------------------------------------------------------------------


def test_tdbn_normalises_to_the_threshold():
    """Zheng et al. 2021: to N(0, (alpha V_th)²), over time too; the sum of two to N(0, V_th²)."""
    torch.manual_seed(0)
    model = create_model("spiking_resnet34_tdbn", num_classes=2, T=3, v_threshold=0.5)
    seen = {}
    for path, module in model.layer2.named_modules():
        if isinstance(module, _BatchNorm):
            module.register_forward_hook(lambda _m, _, out, path=path: seen.update({path: out}))
    with torch.no_grad():
        model(images())
    alphas = {
        path: out.std((0, 1, 3, 4), correction=0).median() / 0.5 for path, out in seen.items()
    }
    assert {"0.bn1", "0.bn2", "0.downsample.1", "3.bn2"} <= alphas.keys()
    for path, alpha in alphas.items():
        expected = 1 if path.endswith("bn1") else math.sqrt(0.5)
        assert alpha == pytest.approx(expected, rel=0.01), path


# --- neurons ------------------------------------------------------------------------------------


def test_lif_is_equation_5():
    sn = Neurons("LIF", v_threshold=0.8)()
    sn.step_mode = "m"
    x = torch.tensor([1.0, 0.9, 0.5, 1.6], dtype=torch.float64)
    v, spikes = 0.0, []
    for current in x:
        h = v + (current - v) / 2
        spikes.append(float(h >= 0.8))
        v = 0.0 if h >= 0.8 else h
    assert sn(x.unsqueeze(1)).flatten().tolist() == spikes == [0, 0, 0, 1]


def test_plif_starts_as_lif_and_learns_tau():
    x = torch.rand(5, 7, generator=torch.Generator().manual_seed(0)) * 3
    lif, plif = Neurons("LIF")(), Neurons("PLIF")()
    lif.step_mode = plif.step_mode = "m"
    spikes = plif(x)
    assert torch.equal(spikes, lif(x))
    spikes.sum().backward()
    assert [name for name, p in plif.named_parameters() if p.grad is not None] == ["w"]


@pytest.mark.parametrize("name", ["dsnn18", "sew_resnet18", "spiking_resnet34_tdbn"])
@pytest.mark.parametrize("neuron", ["IF", "LIF", "PLIF"])
def test_all_neurons_are_of_the_kind_asked_for(name, neuron):
    model = on_meta(name, neuron=neuron, v_threshold=0.7, detach_reset=False)
    neurons = [m for m in model.modules() if hasattr(m, "v_threshold")]
    kind = {"IF": "IFNode", "LIF": "LIFNode", "PLIF": "ParametricLIFNode"}[neuron]
    assert {type(m).__name__ for m in neurons} == {kind}
    assert {(m.v_threshold, m.detach_reset) for m in neurons} == {(0.7, False)}
    names = model.state_dict().keys() - on_meta(name).state_dict().keys()
    assert len(names) == (len(neurons) if neuron == "PLIF" else 0)
    assert all(k.rpartition(".")[2] == "w" for k in names)


def test_reset_gradient_may_be_kept():
    x = torch.tensor([[1.2], [0.6]], requires_grad=True)
    grads = []
    for detach in (True, False):
        sn = Neurons(detach_reset=detach)()
        sn.step_mode = "m"
        grads.append(torch.autograd.grad(sn(x)[1].sum(), x)[0][0].item())
    assert grads[0] == 0  # the first spike reset the potential: only the reset leads back
    assert grads[1] != 0


def test_surrogate():
    def slope(sn):
        x = torch.tensor([1.5], requires_grad=True)
        return torch.autograd.grad(sn(x).sum(), x)[0].item()

    assert slope(Neurons()()) == pytest.approx(1 / (1 + (math.pi * 0.5) ** 2))
    given = surrogate.Sigmoid(alpha=4.0)
    model = on_meta("fsnn18", surrogate=given)
    assert model.sn1.surrogate_function is not model.layer1[0].sn.surrogate_function
    p = 1 / (1 + math.exp(-2))
    assert slope(Neurons(surrogate=given)()) == pytest.approx(4 * p * (1 - p))


@pytest.mark.parametrize(
    ("keywords", "error", "told"),
    [
        ({"neuron": "QIF"}, SyopsValueError, "neuron='QIF' is not one of IF, LIF, PLIF"),
        ({"v_threshold": 0}, SyopsValueError, "v_threshold=0: .*above 0"),
        ({"v_threshold": math.nan}, SyopsValueError, "v_threshold=nan"),
        ({"v_threshold": "1"}, SyopsValueError, "v_threshold='1'"),
        ({"detach_reset": 1}, SyopsTypeError, "detach_reset=1"),
        ({"surrogate": "atan"}, SyopsTypeError, r"surrogate='atan'.*ATan\(alpha=2.0\)"),
        ({"thr": 1}, SyopsLookupError, "known: .*neuron, v_threshold, detach_reset, surrogate"),
    ],
)
def test_bad_keywords_of_neurons(keywords, error, told):
    with pytest.raises(error, match=told):
        create_model("spiking_resnet18", **keywords)


def test_the_ann_has_no_keywords_of_neurons():
    with pytest.raises(SyopsLookupError, match="neuron.*known: num_classes, in_channels$"):
        create_model("resnet18", neuron="IF")


# --- running ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("dsnn18", {"residual": "spiking", "neuron": "PLIF"}),
        *(
            pytest.param(*network, marks=pytest.mark.slow)
            for network in (
                ("spiking_resnet18", {}),
                ("spiking_resnet50_tdbn", {}),
                ("resnet18", None),
                ("fsnn50", {"residual": "spiking", "neuron": "LIF"}),
                ("dsnn18", {"g": "OR", "neuron": "PLIF"}),
            )
        ),
    ],
)
def test_forward_and_backward(name, kwargs):
    torch.manual_seed(0)
    kwargs = {} if kwargs is None else {"T": 2, **kwargs}
    model = create_model(name, num_classes=5, in_channels=2, **kwargs)
    one, two = (images(n=2 * n, channels=2).unflatten(0, (2, n)) for n in (1, 2))
    for training, x in ((True, one[0]), (True, two), (False, two[0]), (False, one)):
        n = x.shape[-4]
        model.train(training).zero_grad()
        out = model(x)
        outs = out if isinstance(out, tuple) else [out]
        assert [tuple(o.shape) for o in outs] == [(n, 5)] * len(outs)
        sum(o.sum() for o in outs).backward()
        missing = [k for k, p in model.named_parameters() if p.grad is None]
        assert not missing or not differentiable(training)


def test_an_image_that_is_too_small():
    with pytest.raises(SyopsValueError, match="31x64 pixels.*at least 32x32"):
        create_model("fsnn18", num_classes=2)(torch.zeros(1, 3, 31, 64))
