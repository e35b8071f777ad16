"""PreAct-ResNet-18 and the 7B-Nets."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from syops import get_model_syops
from syops.errors import SyopsValueError
from syops.models import attach_aap, calibrate, create_model, detach_aap, zero_init_residual

pytestmark = pytest.mark.slow  # deep networks; test_all_networks counts each kind of them

SEVEN_B = ("sew_7b", "sew_wide7b", "dsnn_7b", "dsnn_wide7b", "fsnn_7b", "fsnn_wide7b", "spiking_7b",
           "plain_7b")  # fmt: skip


def frames(t=2, n=1, channels=2, size=128, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(t * n, channels, 16, 16, generator=generator)
    return F.interpolate(coarse, size=(size, size), mode="bilinear").unflatten(0, (t, n))


def fresh(name, x, **kwargs):
    torch.manual_seed(1)
    model = create_model(name, **kwargs).eval()
    calibrate(model, x)
    return model


def on_meta(name, **kwargs):
    with torch.device("meta"):
        return create_model(name, **kwargs).eval()


def params(name, **kwargs):
    return sum(p.numel() for p in on_meta(name, **kwargs).parameters())


def dense_counts(model, shape):
    """Operations of the synaptic layers by path, and 2 per element of a BN."""
    synapses, norms = {}, 0

    def count(name, module, out):
        nonlocal norms
        if isinstance(module, _BatchNorm):
            norms += 2 * out.numel()
        else:
            synapses[name] = out.numel() * module.weight[0].numel()

    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear | _BatchNorm):
            module.register_forward_hook(lambda m, _, out, name=name: count(name, m, out))
    model(torch.empty(shape, device="meta"))
    return synapses, norms


# --- PreAct-ResNet-18 ---------------------------------------------------------------------------


def test_preact_has_the_parameters_of_resnet_with_bn_before_the_convolution():
    # A block's first BN has the channels that come in, and there is one more before the classifier.
    moved = sum(2 * (before - c) for before, c in ((64, 128), (128, 256), (256, 512)))
    assert params("preact_resnet18") == 11_689_512 + moved + 2 * 512


def test_preact_against_table_2():
    model = on_meta("preact_resnet18")
    assert model.T == 50
    synapses, norms = dense_counts(model, (1, 3, 224, 224))
    mac = (synapses.pop("conv1") + synapses.pop("fc") + norms) / 1e9
    ac = sum(synapses.values()) / 1e9
    # The paper rounds O_mac before it multiplies.
    assert round(4.6 * round(mac, 2), 2) == 1.43
    assert 4.6 * mac == pytest.approx(1.43, rel=0.01)
    assert 4.6 * mac + 0.9 * ac == pytest.approx(77.84, rel=0.003)


@pytest.mark.parametrize("training", [True, False])
def test_preact_runs_and_learns(training):
    torch.manual_seed(0)
    model = create_model("preact_resnet18", T=2, num_classes=4, neuron="PLIF").train(training)
    for x in (frames(n=1, channels=3, size=32), frames(n=2, channels=3, size=32)[0]):
        model.zero_grad()
        model(x).sum().backward()
        assert not [k for k, p in model.named_parameters() if p.grad is None]


def test_preact_feeds_its_convolutions_with_spikes_and_its_sums_with_currents():
    x = frames(channels=3, size=32)[0]
    model = fresh("preact_resnet18", x, T=2, num_classes=4)
    report = get_model_syops(model, x)
    rows = {row.path: row for row in report.layers}
    signals = {p: r.signal for p, r in rows.items() if r.kind in ("conv", "linear")}
    assert (signals.pop("conv1"), signals.pop("fc")) == ("analog", "graded")
    assert set(signals.values()) == {"binary"}
    folded = {p for p, r in rows.items() if r.kind == "norm" and r.folded}
    shortcuts = {f"layer{i}.0.downsample.1" for i in (2, 3, 4)}
    assert folded == {"bn1"} | shortcuts | {
        *(f"layer{i}.{j}.bn2" for i in range(1, 5) for j in (0, 1))
    }
    assert not report.unaccounted


def test_preact_block_matches_the_figure():
    x = frames(n=2, channels=3, size=32)[0].double()
    torch.manual_seed(1)
    model = create_model("preact_resnet18", T=1, num_classes=4).double().eval()
    calibrate(model, x)
    for i in (0, 1):
        block, seen = model.layer2[i], []
        block.register_forward_hook(lambda m, args, out, seen=seen: seen.append((args[0], out)))
        with torch.no_grad():
            model(x)
            o = seen[0][0].spike
            inner = (block.bn1(o) >= 1).double()
            second = (block.bn2(block.conv1(inner)) >= 1).double()
            shortcut = inner if i else block.downsample(inner)
            torch.testing.assert_close(seen[0][1].spike, shortcut + block.conv2(second))
        assert second.any()


def test_zero_init_leaves_a_preact_block_its_first_spikes():
    x = frames(channels=3, size=32)[0]
    model = fresh("preact_resnet18", x, T=2, num_classes=4)
    zero_init_residual(model)
    block, seen = model.layer1[1], []
    block.sn1.register_forward_hook(lambda m, args, out: seen.append(out))
    block.register_forward_hook(lambda m, args, out: seen.append(out.spike))
    with torch.no_grad():
        model(x)
    assert seen[0].any()
    assert torch.equal(*seen)
    with pytest.raises(SyopsValueError, match="PreAct"):
        attach_aap(model)


# --- 7B-Net -------------------------------------------------------------------------------------


def seven_b_params(widths, classes):
    """Stem, seven blocks, the widening, the classifier, and a tau of each PLIF neuron."""
    stem = 2 * widths[0] + 2 * widths[0] + 1
    blocks = sum(2 * (9 * c * c + 2 * c + 1) for c in widths)
    widening = 64 * 128 + 2 * 128 + 1 if widths[-1] == 128 else 0
    return stem + blocks + widening + (widths[-1] + 1) * classes


@pytest.mark.parametrize("name", SEVEN_B)
def test_parameters_of_the_7b_nets(name):
    wide = "wide" in name
    widths = (64,) * 4 + (128,) * 3 if wide else (32,) * 7
    aap = 64 * 128 + 2 * 128 if name == "dsnn_wide7b" else 0
    classes = 10 if wide else 11
    second = (widths[-1] + 1) * classes if name.startswith("dsnn") else 0
    assert params(name) == seven_b_params(widths, classes) + aap + second
    assert params(name, neuron="IF") < params(name)
    model = on_meta(name)
    assert (model.T, model.conv1.in_channels) == (16, 2)


@pytest.mark.parametrize(("name", "channels"), [("fsnn_7b", [32] * 7),
                                                ("fsnn_wide7b", [64] * 4 + [128] * 3)])  # fmt: skip
def test_dense_operations_of_the_7b_nets(name, channels):
    synapses, _ = dense_counts(on_meta(name), (16, 1, 2, 128, 128))
    sizes = [128 // 2**i for i in range(7)]
    expected = sum(2 * 9 * c * c * s * s for c, s in zip(channels, sizes, strict=True)) * 16
    assert sum(n for k, n in synapses.items() if ".block." in k) == expected
    assert synapses["conv1"] == 16 * 2 * channels[0] * 128 * 128
    assert synapses.get("layer5.widen.conv", 0) == (16 * 64 * 128 * 8 * 8 if "wide" in name else 0)


@pytest.mark.parametrize(("name", "clean"), [("fsnn_7b", True), ("fsnn_wide7b", True),
                                             ("spiking_7b", True), ("sew_7b", False)])  # fmt: skip
def test_full_spike_7b_nets(name, clean):
    x = frames()
    report = get_model_syops(fresh(name, x), x, batch_dim=1)
    signals = {r.path: r.signal for r in report.layers if r.kind in ("conv", "linear")}
    assert (signals.pop("conv1"), signals.pop("fc")) == ("analog", "graded")
    assert (set(signals.values()) == {"binary"}) is clean
    assert not report.unaccounted


@pytest.mark.parametrize("kwargs", [{}, {"residual": "spiking"}, {"g": "OR", "neuron": "LIF"}])
def test_7b_aap_detached_and_attached(kwargs):
    x = frames()
    dsnn = fresh("dsnn_wide7b", x, **kwargs)
    fsnn = detach_aap(dsnn)
    with torch.no_grad():
        out = dsnn(x)
        assert torch.equal(fsnn(x), out.spike)
        assert not torch.equal(out.accumulated, out.spike)
        assert torch.equal(attach_aap(fsnn)(x).spike, out.spike)
    assert fsnn.state_dict().keys() == create_model("fsnn_wide7b", **kwargs).state_dict().keys()


def test_a_plain_block_has_no_shortcut():
    x = frames()
    model = fresh("plain_7b", x)
    block, seen = model.layer3.block, []
    block.register_forward_hook(lambda m, args, out: seen.append(out.spike))
    block.sn.register_forward_hook(lambda m, args, out: seen.append(out))
    with torch.no_grad():
        model(x)
    assert seen[0].any()
    assert torch.equal(*seen)


def test_a_7b_net_needs_128_pixels():
    with pytest.raises(SyopsValueError, match="64x64 pixels.*128x128"):
        create_model("sew_7b")(frames(size=64))
