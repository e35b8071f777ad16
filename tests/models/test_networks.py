"""The bundled networks, against the paper, published numbers and a plain-torch reference."""

import copy
import itertools
import math
import re
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import neuron
from torch import nn

from syops.errors import ForwardError, SyopsLookupError, SyopsTypeError, SyopsValueError
from syops.models import calibrate, create_model, list_models
from syops.models.connect import CONNECTIONS
from syops.models.parts import Neurons

pytestmark = pytest.mark.slow  # test_all_networks counts each kind of them

DEPTHS = (18, 34, 50, 101)
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
TRUTH = {
    "AND": lambda s, x: s & x,
    "IAND": lambda s, x: ~s & x,
    "OR": lambda s, x: s | x,
    "XOR": lambda s, x: s ^ x,
}


def images(n=2, channels=3, size=32, seed=0, dtype=torch.float32):
    """Smooth random images: unlike white noise, they drive neurons in all places."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, channels, 8, 8, generator=generator, dtype=dtype)
    return F.interpolate(coarse, size=(size, size), mode="bilinear")


def fresh(name, x, **kwargs):
    """A seeded model in eval mode that fires on ``x``."""
    torch.manual_seed(1)
    model = create_model(name, num_classes=10, **kwargs).to(x.dtype).eval()
    calibrate(model, x)
    return model


def on_meta(name, **kwargs):
    with torch.device("meta"):
        return create_model(name, **kwargs).eval()


def watch(model, kinds, see):
    for name, module in model.named_modules():
        if isinstance(module, kinds):
            module.register_forward_hook(
                lambda module, args, out, name=name: see(name, module, args[0], out)
            )


# --- names, keywords ---------------------------------------------------------------------------


def test_list_models():
    families = ("dsnn", "fsnn", "sew_resnet", "spiking_resnet")
    spiking = {f"{f}{d}" for f, d in itertools.product(families, (*DEPTHS, 152))}
    tdbn = {"spiking_resnet34_tdbn", "spiking_resnet50_tdbn"}
    seven_b = {f"{f}_{w}7b" for f, w in itertools.product(("sew", "dsnn", "fsnn"), ("", "wide"))}
    others = {"preact_resnet18", "spiking_7b", "plain_7b"} | {f"resnet{d}" for d in DEPTHS}
    spikformer = {f"spikformer_{size}" for size in ("4_384", "8_384", "8_512", "8_768")}
    digits = {f"{family}_digits" for family in ("dsnn", "fsnn", "sew", "spiking")}
    small = {f"{family}18_small" for family in ("dsnn", "fsnn", "sew_resnet", "resnet")}
    assert set(list_models()) == spiking | tdbn | seven_b | others | spikformer | digits | small


def test_listing_needs_no_torch():
    code = "import sys, syops.models as m; m.list_models(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_name_is_told_with_a_close_match():
    with pytest.raises(SyopsLookupError, match=r"dsn18.*did you mean 'dsnn18'.*sew_resnet101"):
        create_model("dsn18")


@pytest.mark.parametrize("keyword", ["classes", "depth", "aap"])
def test_unknown_keyword_is_told_with_the_known_ones(keyword):
    with pytest.raises(
        SyopsLookupError,
        match=f"{keyword}.*known: g, residual, classifier, T, num_classes, in_channels",
    ):
        create_model("dsnn18", **{keyword: 1})


@pytest.mark.parametrize("keyword", ["T", "num_classes", "in_channels"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "4", True, None])
def test_sizes_are_positive_integers(keyword, value):
    with pytest.raises(SyopsValueError, match=keyword):
        create_model("fsnn18", **{keyword: value})


@pytest.mark.parametrize("g", ["NAND", "iand", 3, ["OR"]])
def test_unknown_g(g):
    with pytest.raises(SyopsValueError, match=r"g=.*ADD, AND, IAND, OR, XOR"):
        create_model("sew_resnet18", g=g)


@pytest.mark.parametrize("name", ["dsnn18", "fsnn50"])
def test_add_is_for_sew_only(name):
    with pytest.raises(SyopsValueError, match="sew_resnet"):
        create_model(name, g="ADD")


# --- g -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("g", TRUTH)
def test_g_is_the_logical_operation_of_its_name(g):
    s, x = torch.tensor(list(itertools.product([False, True], repeat=2))).T
    assert torch.equal(CONNECTIONS[g](s.float(), x.float()), TRUTH[g](s, x).float())


def test_add_is_the_sum():
    s, x = torch.tensor(list(itertools.product([0.0, 1.0], repeat=2))).T
    assert CONNECTIONS["ADD"](s, x).tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("g", "by_s", "by_x"),
    [
        ("ADD", 1, 1),
        ("AND", 0.75, 0.25),
        ("IAND", -0.75, 0.75),
        ("OR", 0.25, 0.75),
        ("XOR", 1 - 2 * 0.75, 1 - 2 * 0.25),
    ],
)
def test_g_is_differentiable(g, by_s, by_x):
    s, x = torch.tensor([0.25, 0.75]).requires_grad_().unbind()
    assert torch.autograd.grad(CONNECTIONS[g](s, x), (s, x)) == (by_s, by_x)


def test_the_neuron_has_the_surrogate_gradient_of_the_paper():
    """Appendix C.3 with alpha = 2, and no gradient through the reset."""
    x = torch.tensor([0.4, 0.7, 0.6], dtype=torch.float64, requires_grad=True)
    sn = Neurons()()
    sn.step_mode = "m"
    spikes = sn(x.unsqueeze(1))
    assert spikes.flatten().tolist() == [0, 1, 0]  # H = 0.4, 1.1, 0.6

    def slope(h):
        return 1 / (1 + (math.pi * (h - 1)) ** 2)

    expected = [slope(0.4) + slope(1.1), slope(1.1), slope(0.6)]
    torch.testing.assert_close(
        torch.autograd.grad(spikes.sum(), x)[0], torch.tensor(expected, dtype=torch.float64)
    )


# --- structure ---------------------------------------------------------------------------------


def published_params(depth):
    """The parameters of torchvision's ResNets."""
    return {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160}[depth]


def aap_params(depth):
    """Depthwise 3x3 where it strides, pointwise and BN at each change of shape."""
    e = 1 if depth < 50 else 4
    first = 64 * 256 + 2 * 256 if e == 4 else 0
    return first + sum(9 * c * e + (c * e) * (2 * c * e) + 2 * (2 * c * e) for c in (64, 128, 256))


def classifier_params(depth):
    """That of the accumulated stream, for 1000 classes."""
    return (513 if depth < 50 else 2049) * 1000


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("family", ["fsnn", "sew_resnet", "dsnn"])
def test_parameter_count_is_the_published_one(family, depth):
    params = sum(p.numel() for p in on_meta(f"{family}{depth}").parameters())
    more = aap_params(depth) + classifier_params(depth) if family == "dsnn" else 0
    assert params == published_params(depth) + more


def torchvision_names(depth):
    def bn(name):
        kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        return {f"{name}.{kind}" for kind in kinds}

    names = {"conv1.weight", "fc.weight", "fc.bias"} | bn("bn1")
    for stage, blocks in enumerate(BLOCKS[depth], start=1):
        for i in range(blocks):
            block = f"layer{stage}.{i}"
            for j in range(1, 3 if depth < 50 else 4):
                names |= {f"{block}.conv{j}.weight"} | bn(f"{block}.bn{j}")
            if i == 0 and (stage > 1 or depth >= 50):
                names |= {f"{block}.downsample.0.weight"} | bn(f"{block}.downsample.1")
    return names


@pytest.mark.parametrize("depth", DEPTHS)
def test_state_dict_has_the_names_of_torchvision_and_the_aap_apart(depth):
    without, with_aap = (on_meta(f"{f}{depth}").state_dict() for f in ("fsnn", "dsnn"))
    assert without.keys() == torchvision_names(depth)
    own = {"fc_acc.weight", "fc_acc.bias"}
    assert without.keys() == {k for k in with_aap if ".aap." not in k} - own
    assert own <= with_aap.keys()
    expected = {f"layer{i}.0.aap.{m}.weight" for i in (2, 3, 4) for m in ("depthwise", "pointwise")}
    if depth >= 50:
        expected.add("layer1.0.aap.pointwise.weight")
    assert {k for k in with_aap if ".aap." in k and ".aap.bn." not in k} == expected


# --- what the networks compute -----------------------------------------------------------------


def reference(state, frames, depth, g):
    """Section 4.1, step by step and in plain torch: the logits of both streams.

    ``frames`` are T images [N, C, H, W]; ``g`` works on booleans. An IF neuron is Eq. (1)-(4).
    """
    potential: dict[str, torch.Tensor] = {}

    def spiking(name, current):
        h = potential.get(name, 0) + current
        spikes = h >= 1
        potential[name] = torch.where(spikes, 0, h)
        return spikes

    def conv_bn(x, conv, bn, stride=1, groups=1):
        weight = state[f"{conv}.weight"]
        x = F.conv2d(x.to(weight), weight, None, stride, weight.shape[-1] // 2, groups=groups)
        return batch_norm(x, bn)

    def batch_norm(x, bn):
        mean, var, weight, bias = (
            state[f"{bn}.{k}"].view(-1, 1, 1)
            for k in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def block(name, o, a, stride):
        convs = 2 if depth < 50 else 3
        h = o
        for i in range(1, convs + 1):
            strided = stride if i == convs - 1 else 1  # in the 3x3: the first of 2, second of 3
            h = conv_bn(h, f"{name}.conv{i}", f"{name}.bn{i}", strided)
            h = spiking(f"{name}.{i}", h)
        if f"{name}.downsample.0.weight" in state:
            shortcut = conv_bn(o, f"{name}.downsample.0", f"{name}.downsample.1", stride)
            o = spiking(f"{name}.shortcut", shortcut)
            if f"{name}.aap.depthwise.weight" in state:
                weight = state[f"{name}.aap.depthwise.weight"]
                a = F.conv2d(a.to(weight), weight, None, 2, 1, groups=len(weight))
            a = conv_bn(a, f"{name}.aap.pointwise", f"{name}.aap.bn").relu()
        return g(h, o), h + a.to(frames[0])

    sums = [0, 0]
    for frame in frames:
        o = spiking("stem", conv_bn(frame, "conv1", "bn1", 2))
        o = a = F.max_pool2d(o.to(frame), 3, 2, 1).bool()
        for stage, blocks in enumerate(BLOCKS[depth], start=1):
            for i in range(blocks):
                o, a = block(f"layer{stage}.{i}", o, a, 2 if stage > 1 and i == 0 else 1)
        sums = [total + x.to(frame).mean((2, 3)) for total, x in zip(sums, (o, a), strict=True)]
    return [x / len(frames) @ state["fc.weight"].T + state["fc.bias"] for x in sums]


@pytest.mark.parametrize(
    ("depth", "g"),
    [
        (18, "IAND"),
        (50, "XOR"),
        pytest.param(18, "AND", marks=pytest.mark.slow),
        pytest.param(18, "OR", marks=pytest.mark.slow),
    ],
)
def test_both_streams_are_those_of_the_equations(depth, g):
    x = images(dtype=torch.float64, size=48)
    model = fresh(f"dsnn{depth}", x, g=g, T=2)
    with torch.no_grad():
        got = model(x)
        expected = reference(model.state_dict(), [x] * 2, depth, TRUTH[g])
    torch.testing.assert_close(got.spike, expected[0], rtol=0, atol=1e-10)
    torch.testing.assert_close(got.accumulated, expected[1], rtol=0, atol=1e-10)
    assert got.spike[0].sub(got.spike[1]).abs().max() > 1e-3  # or it were silent


def test_event_data_brings_its_own_time_steps():
    frames = images(n=10, channels=2, size=64, dtype=torch.float64).unflatten(0, (5, 2))
    model = fresh("dsnn18", frames, in_channels=2, T=3)
    with torch.no_grad():
        got = model(frames)
        expected = reference(model.state_dict(), list(frames), 18, TRUTH["IAND"])
    torch.testing.assert_close(got.spike, expected[0], rtol=0, atol=1e-10)
    torch.testing.assert_close(got.accumulated, expected[1], rtol=0, atol=1e-10)


@pytest.mark.parametrize("depth", [18, 50])
def test_the_fsnn_is_the_dsnn_without_its_aap_bitwise(depth):
    x = images()
    dsnn = fresh(f"dsnn{depth}", x, g="OR")
    fsnn = create_model(f"fsnn{depth}", g="OR", num_classes=10).eval()
    state = dsnn.state_dict().items()
    fsnn.load_state_dict({k: v for k, v in state if not re.search(r"\.aap\.|^fc_acc\.", k)})
    with torch.no_grad():
        assert torch.equal(fsnn(x), dsnn(x).spike)


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("family", ["dsnn", "fsnn", "sew_resnet"])
def test_output_shapes(family, depth):
    out = on_meta(f"{family}{depth}", num_classes=7)(torch.empty(2, 3, 224, 224, device="meta"))
    assert [tuple(x.shape) for x in (out if family == "dsnn" else [out])] == (
        [(2, 7)] * (2 if family == "dsnn" else 1)
    )


def test_time_steps_may_be_changed():
    x = images()
    model = fresh("fsnn18", x, T=4)
    one = create_model("fsnn18", T=1, num_classes=10).eval()
    one.load_state_dict(model.state_dict())
    with torch.no_grad():
        four_steps = model(x)
        model.T = 1
        assert torch.equal(model(x), one(x))
        assert not torch.equal(model(x), four_steps)
    with pytest.raises(SyopsValueError, match="T=0"):
        model.T = 0


def test_neurons_start_afresh_at_every_call():
    x = images()
    model = fresh("dsnn18", x)
    with torch.no_grad():
        first = model(x)
        assert model.sn1.v.count_nonzero() > 0  # there is a state that could leak
        model(images(n=1, seed=5))
        hook = model.layer2.register_forward_pre_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model(images(n=2, seed=6))
        hook.remove()
        again = model(x)
    assert torch.equal(first.spike, again.spike)
    assert torch.equal(first.accumulated, again.accumulated)


@pytest.mark.parametrize(
    ("name", "g"),
    [("dsnn18", "IAND"), ("dsnn50", "OR"), ("fsnn50", "XOR"), ("sew_resnet34", "ADD")],
)
def test_gradients_reach_every_parameter(name, g):
    torch.manual_seed(0)
    model = create_model(name, g=g, T=2, num_classes=5)
    out = model(images(n=4))
    loss = sum(F.cross_entropy(x, torch.arange(4)) for x in (out if "dsnn" in name else [out]))
    loss.backward()
    silent = {k for k, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert silent == set()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    "shape", [(3, 32, 32), (2, 1, 32, 32), (4, 2, 1, 32, 32), (0, 3, 32, 32), (1, 1, 2, 3, 32, 32)]
)
def test_wrong_shape_is_told_with_the_expected_ones(shape):
    model = create_model("fsnn18", num_classes=2)
    with pytest.raises(SyopsValueError, match=r"\[N, 3, H, W\] or event data \[T, N, 3, H, W\]"):
        model(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_wrong_dtype_is_told_with_the_expected_one(dtype):
    with pytest.raises(SyopsValueError, match=rf"{dtype}: expected torch.float32"):
        create_model("fsnn18", num_classes=2)(torch.zeros(1, 3, 32, 32, dtype=dtype))


def test_an_input_that_is_no_tensor():
    with pytest.raises(SyopsTypeError, match="list"):
        create_model("fsnn18", num_classes=2)([1.0])


# --- operations per image: section 6 of the design, Table 2 of the paper ------------------------


def fed_by_spikes(name, family):
    """Whether only {0, 1} reaches this convolution or linear layer."""
    if name in ("conv1", "fc", "fc_acc"):
        return False
    if ".aap." in name:  # a_0 = o_0: before the first block, both streams carry spikes
        return name == "layer1.0.aap.pointwise"
    if family == "sew_resnet" and not name.startswith("layer1.0."):
        return not name.endswith((".conv1", ".downsample.0"))
    return True


@pytest.mark.parametrize(
    ("family", "depth", "mac", "dense_ac"),
    [
        ("fsnn", 18, 0.1185, 6.782),
        ("fsnn", 34, 0.1185, 14.181),
        ("fsnn", 50, 0.1201, 15.877),
        pytest.param("fsnn", 101, 0.1201, 30.725, marks=pytest.mark.slow),
        ("dsnn", 18, 0.1993, 6.782),
        pytest.param("dsnn", 34, 0.1993, 14.181, marks=pytest.mark.slow),
        ("dsnn", 50, 1.368, 16.082),
        ("dsnn", 101, 1.368, 30.931),
        ("sew_resnet", 18, 2.754, 4.162),
        pytest.param("sew_resnet", 34, 6.463, 7.861, marks=pytest.mark.slow),
        ("sew_resnet", 50, 5.137, 10.944),
        pytest.param("sew_resnet", 101, 8.671, 22.299, marks=pytest.mark.slow),
    ],
)
def test_dense_operations_are_those_of_table_2(family, depth, mac, dense_ac):
    n = 2
    counts = {"mac": 0, "ac": 0}

    def count(name, module, x, out):
        if isinstance(module, nn.BatchNorm2d):
            # Table 2 counts BN for SEW ResNet, and takes it as folded for FSNN and DSNN
            counts["mac"] += 2 * out.numel() if family == "sew_resnet" else 0
        else:
            synapses = out.numel() * module.weight[0].numel()
            counts["ac" if fed_by_spikes(name, family) else "mac"] += synapses

    model = on_meta(f"{family}{depth}")
    watch(model, (nn.Conv2d, nn.Linear, nn.BatchNorm2d), count)
    model(torch.empty(n, 3, 224, 224, device="meta"))
    assert counts["mac"] / n / 1e9 == pytest.approx(mac, abs=0.001)
    assert counts["ac"] / n / 1e9 == pytest.approx(dense_ac, abs=0.001)


@pytest.mark.parametrize(
    ("name", "g"),
    [*(("fsnn18", g) for g in TRUTH), ("dsnn18", "IAND"), ("dsnn50", "OR"), ("sew_resnet18", "ADD"),
     pytest.param("fsnn101", "IAND", marks=pytest.mark.slow),
     pytest.param("sew_resnet34", "ADD", marks=pytest.mark.slow),
     pytest.param("sew_resnet50", "ADD", marks=pytest.mark.slow)],
)  # fmt: skip
def test_spikes_reach_the_layers_that_they_should(name, g):
    seen = {}

    def look(name, module, x, out):
        binary = bool(((x == 0) | (x == 1)).all()) and x.count_nonzero() > 0
        seen[name] = seen.get(name, True) and binary

    x = images(size=64)
    model = fresh(name, x, g=g)
    watch(model, (nn.Conv2d, nn.Linear), look)
    with torch.no_grad():
        model(x)
    family = name.rstrip("0123456789")
    assert seen == {layer: fed_by_spikes(layer, family) for layer in seen}
    assert {"conv1", "layer4.1.conv2", "fc"} <= seen.keys()


# --- calibrate ---------------------------------------------------------------------------------


def test_calibrate_sets_the_statistics_of_the_input():
    x = images(n=3, seed=3)
    model = create_model("fsnn18", num_classes=10)
    calibrate(model, images(seed=9))
    grad_mode = []
    model.fc.register_forward_hook(lambda *_: grad_mode.append(torch.is_grad_enabled()))
    calibrate(model, x)  # nothing is left of what was there before
    current = F.conv2d(x, model.conv1.weight, stride=2, padding=3)
    torch.testing.assert_close(model.bn1.running_mean, current.mean((0, 2, 3)))
    torch.testing.assert_close(model.bn1.running_var, current.var((0, 2, 3)))
    assert grad_mode == [False]


def test_calibrate_lets_deep_layers_fire():
    x = images(size=48)
    torch.manual_seed(1)
    model = create_model("fsnn50").eval()
    fired = {}
    watch(model, neuron.IFNode, lambda name, module, x, out: fired.update({name: bool(out.any())}))
    with torch.no_grad():
        model(x)
        assert not all(fired.values())
        calibrate(model, x)
        model(x)
    assert all(fired.values())


@pytest.mark.parametrize("inputs", [images(), torch.zeros(2, 7)])
def test_calibrate_leaves_everything_else_as_found(inputs):
    model = create_model("dsnn18", num_classes=10).train()
    model.layer2.eval()
    model.layer3[0].bn1.momentum = 0.3
    model.bn1.weight.requires_grad_(False)
    with torch.no_grad():
        model(images())
    flags = {k: m.training for k, m in model.named_modules()}
    momenta = {k: m.momentum for k, m in model.named_modules() if hasattr(m, "momentum")}
    before = copy.deepcopy(model.state_dict())
    if inputs.dim() == 2:
        with pytest.raises(SyopsValueError, match="shape"):
            calibrate(model, inputs)
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    else:
        calibrate(model, inputs)
    assert {k: m.training for k, m in model.named_modules()} == flags
    assert {k: m.momentum for k, m in model.named_modules() if hasattr(m, "momentum")} == momenta
    assert all(torch.equal(p, before[k]) for k, p in model.named_parameters())
    assert all(p.grad is None for p in model.parameters())
    assert {m.v for m in model.modules() if isinstance(m, neuron.IFNode)} == {0.0}


def test_calibrate_leaves_other_modules_in_eval_mode():
    model = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm1d(3, affine=False)).train()
    x = torch.randn(50, 3)
    calibrate(model, x)
    torch.testing.assert_close(model[1].running_mean, x.mean(0))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_calibrate_refuses_values_that_would_poison_the_statistics(value):
    model = nn.BatchNorm1d(3)
    with pytest.raises(SyopsValueError, match="NaN or Inf"):
        calibrate(model, torch.full((2, 3), value))
    assert model.running_mean.isfinite().all()


def test_calibrate_says_why_the_model_failed():
    with pytest.raises(ForwardError, match="calibrate") as caught:
        calibrate(nn.BatchNorm1d(3), torch.zeros(1, 3))
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(SyopsTypeError, match="list"):
        calibrate(nn.BatchNorm1d(3), [1.0])
