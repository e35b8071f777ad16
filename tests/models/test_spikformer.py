"""Spikformer, against the paper, published numbers and a plain-torch reference."""

import itertools
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from syops import fold_bn, get_model_syops
from syops.errors import SyopsLookupError, SyopsTypeError, SyopsValueError
from syops.models import (
    attach_aap,
    calibrate,
    create_model,
    detach_aap,
    list_models,
    zero_init_residual,
)
from syops.models.parts import Streams
from tests.support.versions import differentiable

pytestmark = pytest.mark.slow  # deep networks; test_all_networks counts each kind of them

NAMES = ("spikformer_4_384", "spikformer_8_384", "spikformer_8_512", "spikformer_8_768")
SMALL = {"depth": 2, "width": 48, "heads": 3}
LOGICAL = {
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


def fresh(x, **kwargs):
    """A small seeded model in eval mode that fires on ``x`` up to its last neuron.

    BN weights of 4: a LIF neuron keeps half of its input, and attention would fall silent.
    """
    torch.manual_seed(1)
    model = create_model("spikformer_4_384", **{**SMALL, **kwargs}).to(x.dtype).eval()
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.constant_(module.weight, 4.0)
    calibrate(model, x)
    return model


def on_meta(name, **kwargs):
    with torch.device("meta"):
        return create_model(name, **kwargs).eval()


def streams_of(out):
    return tuple(out) if isinstance(out, tuple) else (out,)


# --- names, keywords, bad input ----------------------------------------------------------------


def test_the_four_names():
    assert tuple(name for name in list_models() if "former" in name) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_unknown_keyword_is_told_with_the_known_ones(name):
    with pytest.raises(
        SyopsLookupError, match="classes.*known: g, aap, .*T, num_classes, in_channels"
    ):
        create_model(name, classes=10)


@pytest.mark.parametrize("keyword", ["depth", "width", "heads", "T", "num_classes", "in_channels"])
@pytest.mark.parametrize("value", [0, -8, 8.0, "8", True, None])
def test_sizes_are_positive_integers(keyword, value):
    with pytest.raises(SyopsValueError, match=f"{keyword}=.*integer of at least 1"):
        create_model("spikformer_4_384", **{keyword: value})


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"width": 64, "heads": 3}, "width=64, heads=3: expected a width"),
        ({"width": 36, "heads": 3}, "width=36, heads=3: expected a width"),
        ({"patch": 5}, "patch=5 is not one of 4, 16"),
        ({"patch": [4]}, r"patch=\[4\] is not one of 4, 16"),
        ({"g": "NAND"}, "g='NAND' is not one of ADD, AND, IAND, OR, XOR"),
        ({"aap": True}, "AAP beside g='ADD'.*choose g from AND, IAND, OR, XOR"),
        ({"aap": 1, "g": "IAND"}, "aap=1: expected True or False"),
    ],
)
def test_arguments_that_cannot_be_used(kwargs, message):
    with pytest.raises(SyopsValueError, match=message):
        create_model("spikformer_4_384", **kwargs)


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 1, 32, 32), (0, 3, 32, 32), (2, 48)])
def test_wrong_shape_is_told_with_the_expected_ones(shape):
    model = create_model("spikformer_4_384", **SMALL)
    with pytest.raises(SyopsValueError, match=r"\[N, 3, H, W\] or event data \[T, N, 3, H, W\]"):
        model(torch.zeros(shape))


@pytest.mark.parametrize(("patch", "size"), [(4, (3, 32)), (4, (32, 3)), (16, (15, 15))])
def test_an_image_smaller_than_a_patch(patch, size):
    model = create_model("spikformer_4_384", patch=patch, **SMALL)
    with pytest.raises(SyopsValueError, match=f"at least {patch}x{patch}"):
        model(torch.zeros(1, 3, *size))
    model(torch.zeros(2, 3, patch, patch))


def test_input_of_another_type():
    model = create_model("spikformer_4_384", **SMALL)
    with pytest.raises(SyopsValueError, match="float64: expected torch.float32"):
        model(torch.zeros(1, 3, 32, 32, dtype=torch.float64))
    with pytest.raises(SyopsTypeError, match="list"):
        model([1.0])


# --- structure ---------------------------------------------------------------------------------


def attention_biases(depth, width):
    """Those of q, k and v, which the published ImageNet networks do without."""
    return 3 * depth * width


@pytest.mark.parametrize(
    ("name", "published", "left_out"),
    [
        ("spikformer_4_384", 9.32, 0),
        ("spikformer_8_384", 16.81, attention_biases(8, 384)),
        ("spikformer_8_512", 29.68, attention_biases(8, 512)),
        ("spikformer_8_768", 66.34, attention_biases(8, 768)),
    ],
)
@pytest.mark.parametrize("aap", [False, True])
def test_parameter_count_is_the_published_one(name, published, left_out, aap):
    model = on_meta(name, aap=aap, g="IAND", classifier="shared")
    params = sum(p.numel() for p in model.parameters())
    assert (params - left_out) / 1e6 == pytest.approx(published, abs=0.01)


def expected_names(depth):
    def bn(name):
        kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        return {f"{name}.{kind}" for kind in kinds}

    convs = ("patches.0", "patches.1", "patches.2", "position")
    parts = [f"attention.{part}" for part in ("q", "k", "v", "proj")] + ["mlp.hidden", "mlp.out"]
    names = {"fc.weight", "fc.bias"}
    names |= {"conv1.weight"} | bn("bn1")
    for conv in convs:
        names |= {f"{conv}.conv.weight"} | bn(f"{conv}.bn")
    for i, part in itertools.product(range(depth), parts):
        linear = f"blocks.{i}.{part}"
        names |= {f"{linear}.linear.weight", f"{linear}.linear.bias"} | bn(f"{linear}.bn")
    return names


@pytest.mark.parametrize("aap", [False, True])
def test_state_dict_has_the_documented_names_and_the_aap_adds_none(aap):
    names = on_meta("spikformer_4_384", aap=aap, g="OR").state_dict().keys()
    assert names == expected_names(4) | ({"fc_acc.weight", "fc_acc.bias"} if aap else set())


@pytest.mark.parametrize("name", NAMES[1:])
def test_imagenet_sizes_see_196_patches(name):
    model = on_meta(name, T=2)
    tokens = []
    model.blocks.register_forward_pre_hook(lambda _, args: tokens.append(args[0].spike.shape))
    assert model(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 1000)
    assert tokens == [(2, 1, 14 * 14, int(name.rsplit("_", 1)[1]))]
    assert {block.attention.heads for block in model.blocks} == {12 if "768" in name else 8}
    assert len(model.blocks) == 8


# --- what the network computes -----------------------------------------------------------------


def test_the_neuron_leaks_half_and_has_the_surrogate_gradient_of_the_paper():
    """Eq. (1)-(3) with tau = 2; Appendix C.3 with alpha = 2; no gradient through the reset."""
    x = torch.tensor([1.2, 1.6, 1.9], dtype=torch.float64, requires_grad=True)
    sn = create_model("spikformer_4_384", **SMALL).sn1
    spikes = sn(x.unsqueeze(1))
    assert spikes.flatten().tolist() == [0, 1, 0]  # H = 0.6, 1.1, 0.95

    def slope(h):
        return 1 / (1 + (torch.pi * (h - 1)) ** 2)

    # After the spike V = 0, whatever came before: x_3 alone reaches H_3.
    expected = [0.5 * slope(0.6) + 0.25 * slope(1.1), 0.5 * slope(1.1), 0.5 * slope(0.95)]
    torch.testing.assert_close(
        torch.autograd.grad(spikes.sum(), x)[0], torch.tensor(expected, dtype=torch.float64)
    )


def reference(state, frames, g, patch=4, heads=3, depth=2):
    """Figure 1(c) and (d), step by step in plain torch: the logits of both streams.

    ``frames`` are T images [N, C, H, W]; ``g`` works on integers.
    """
    potential: dict[str, torch.Tensor] = {}

    def spiking(name, current, threshold=1.0):
        v = potential.get(name, torch.zeros_like(current))
        h = v + (current - v) / 2
        spikes = h >= threshold
        potential[name] = torch.where(spikes, 0, h)
        return spikes.long()

    def batch_norm(x, name):
        """x: channels last."""
        mean, var, weight, bias = (
            state[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def conv(x, name):
        conv, bn = ("conv1", "bn1") if name == "stem" else (f"{name}.conv", f"{name}.bn")
        weight = state[f"{conv}.weight"]
        current = F.conv2d(x.to(weight), weight, padding=1).movedim(1, -1)
        return spiking(name, batch_norm(current, bn).movedim(-1, 1))

    def linear(x, name):
        weight, bias = state[f"{name}.linear.weight"], state[f"{name}.linear.bias"]
        return spiking(name, batch_norm(x.to(weight) @ weight.T + bias, f"{name}.bn"))

    def attention(x, name):
        q, k, v = (linear(x, f"{name}.{part}") for part in "qkv")
        d = x.shape[-1] // heads
        mixed = torch.zeros_like(q)
        for head in range(heads):
            own = slice(head * d, (head + 1) * d)
            agreement = torch.einsum("nid,njd->nij", q[..., own], k[..., own])
            mixed[..., own] = torch.einsum("nij,njd->nid", agreement, v[..., own])
        return linear(spiking(name, mixed * 0.125, threshold=0.5), f"{name}.proj")

    sums = [0, 0]
    for frame in frames:
        x = frame
        for i, name in enumerate(("stem", "patches.0", "patches.1", "patches.2")):
            x = conv(x, name)
            if i >= (2 if patch == 4 else 0):
                x = F.max_pool2d(x.to(frame), 3, 2, 1).long()
        s = conv(x, "position")
        o, s = (t.flatten(2).movedim(1, -1) for t in (x, s))
        o, a = g(s, o), s + o
        for i in range(depth):
            s = attention(o, f"blocks.{i}.attention")
            o, a = g(s, o), s + a
            s = linear(linear(o, f"blocks.{i}.mlp.hidden"), f"blocks.{i}.mlp.out")
            o, a = g(s, o), s + a
        sums = [total + t.to(frame).mean(1) for total, t in zip(sums, (o, a), strict=True)]
    return [x / len(frames) @ state["fc.weight"].T + state["fc.bias"] for x in sums]


def on_integers(g):
    if g == "ADD":
        return lambda s, x: s + x
    return lambda s, x: LOGICAL[g](s.bool(), x.bool()).long()


@pytest.mark.parametrize(
    ("g", "aap", "patch", "size"),
    [("IAND", True, 4, 32), ("OR", True, 4, 20), ("ADD", False, 4, 16), ("XOR", True, 16, 64)],
)
def test_both_streams_are_those_of_the_equations(g, aap, patch, size):
    x = images(dtype=torch.float64, size=size)
    model = fresh(x, g=g, aap=aap, patch=patch, T=3)
    fired = {}
    for name, module in model.named_modules():
        if name.endswith(("sn", "sn1")):
            module.register_forward_hook(
                lambda _, __, out, name=name: fired.update({name: bool(out.any())})
            )
    with torch.no_grad():
        got = streams_of(model(x))
        expected = reference(model.state_dict(), [x] * 3, on_integers(g), patch)
    assert all(fired.values())  # or there were little to compare
    assert len(got) == (2 if aap else 1)
    for ours, theirs in zip(got, expected, strict=False):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_event_data_brings_its_own_time_steps():
    frames = images(n=10, channels=2, dtype=torch.float64).unflatten(0, (5, 2))
    model = fresh(frames, in_channels=2, T=3, g="IAND")
    with torch.no_grad():
        expected = reference(model.state_dict(), list(frames), on_integers("IAND"))
        torch.testing.assert_close(model(frames), expected[0], rtol=0, atol=1e-10)


def test_the_aap_leaves_the_spike_stream_alone_bitwise():
    x = images()
    dual = fresh(x, g="IAND", aap=True)
    single = create_model("spikformer_4_384", g="IAND", **SMALL).eval()
    lacking = single.load_state_dict(dual.state_dict(), strict=False)
    assert lacking.missing_keys == []
    aap = {f"fc_acc.{name}" for name in ("weight", "bias")}  # the accumulated stream's own
    assert {key for key in lacking.unexpected_keys if ".aap." not in key} == aap
    with torch.no_grad():
        spike, accumulated = dual(x)
        assert torch.equal(single(x), spike)
        assert not torch.equal(spike, accumulated)


def test_time_steps_may_be_changed():
    x = images()
    model = fresh(x, T=4)
    with torch.no_grad():
        four_steps = model(x)
        model.T = 1
        assert torch.equal(model(x), model(x.unsqueeze(0)))
        assert not torch.equal(model(x), four_steps)
    with pytest.raises(SyopsValueError, match="T=0"):
        model.T = 0


def test_neurons_start_afresh_at_every_call():
    x = images()
    model = fresh(x, g="IAND", aap=True)
    with torch.no_grad():
        first = model(x)
        model(images(n=1, seed=5))
        hook = model.blocks[1].register_forward_pre_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model(images(n=2, seed=6))
        hook.remove()
        again = model(x)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize(("g", "aap"), [("ADD", False), ("IAND", False), ("IAND", True)])
def test_gradients_reach_every_parameter(g, aap, n, training):
    x = images(n=n)
    model = fresh(x, T=2, g=g, aap=aap).train(training)
    loss = sum(F.cross_entropy(out, torch.arange(n)) for out in streams_of(model(x)))
    loss.backward()
    grads = {name: p.grad for name, p in model.named_parameters()}
    if not differentiable(training):
        grads = {name: grad for name, grad in grads.items() if name.startswith("fc.")}
    assert all(grad is not None and grad.isfinite().all() for grad in grads.values())
    # A bias before a BN has none to speak of: batch statistics take it out again.
    assert all(grad.any() for name, grad in grads.items() if not name.endswith("linear.bias"))


# --- what it costs -----------------------------------------------------------------------------

TOKENS = 64


def dense_by_hand(depth=4, width=384, T=4, classes=10, aap=False):
    """Operations of every synaptic layer of an image of 32x32, in the order of execution."""
    w = width
    rows = {
        "conv1": 32 * 32 * 9 * 3 * w // 8,  # once, before the image is repeated
        "patches.0.conv": T * 32 * 32 * 9 * (w // 8) * (w // 4),
        "patches.1.conv": T * 32 * 32 * 9 * (w // 4) * (w // 2),
        "patches.2.conv": T * 16 * 16 * 9 * (w // 2) * w,
        "position.conv": T * TOKENS * 9 * w * w,
    }
    for i in range(depth):
        attention = f"blocks.{i}.attention"
        rows |= {f"{attention}.{part}.linear": T * TOKENS * w * w for part in "qkv"}
        rows |= {f"{attention}:matmul#{j}": T * TOKENS * TOKENS * w for j in (1, 2)}
        rows |= {
            f"{attention}.proj.linear": T * TOKENS * w * w,
            f"blocks.{i}.mlp.hidden.linear": T * TOKENS * w * 4 * w,
            f"blocks.{i}.mlp.out.linear": T * TOKENS * 4 * w * w,
        }
    return rows | dict.fromkeys(["fc", *["fc_acc"] * aap], w * classes)


def synaptic(report):
    kinds = ("conv", "linear", "matmul", "recurrent")
    return {layer.name: layer for layer in report.layers if layer.kind in kinds}


@pytest.mark.parametrize(("g", "aap"), [("ADD", False), ("IAND", True)])
def test_every_operation_of_spikformer_4_384_is_counted(g, aap):
    torch.manual_seed(0)
    report = get_model_syops(create_model("spikformer_4_384", g=g, aap=aap), images(n=1))
    rows = synaptic(report)
    expected = dense_by_hand(aap=aap)
    assert {name: row.dense for name, row in rows.items()} == expected
    assert report.unaccounted == {}
    assert report.notes == ()
    # BN is folded throughout, behind a transpose as behind a convolution.
    norms = {layer.path: layer.folded for layer in report.layers if layer.kind == "norm"}
    synapses = [name for name in rows if name.endswith((".conv", ".linear"))]
    folded = {re.sub(r"\.(conv|linear)$", ".bn", name): name for name in synapses}
    assert norms == {**folded, "bn1": "conv1"}
    # ADD sends more than spikes into whatever takes the tokens of a block.
    takes_tokens = re.compile(r"attention\.[qkv]\.|mlp\.hidden\.")
    signals = {name: row.signal for name, row in rows.items()}
    # The classifier takes means of 64 tokens over 4 time-steps: 256 shares, one too many.
    analog = dict.fromkeys(["conv1", "fc", *["fc_acc"] * aap], "analog")
    graded = {name: "graded" for name in rows if g == "ADD" and takes_tokens.search(name)}
    assert signals == {**dict.fromkeys(rows, "binary"), **analog, **graded}
    assert len(graded) == (16 if g == "ADD" else 0)
    assert report.mac == sum(expected[name] for name in {*analog, *graded})
    assert report.dense_ac == sum(expected[name] for name in rows.keys() - {*analog, *graded})


@pytest.mark.parametrize("g", LOGICAL)
@pytest.mark.parametrize("aap", [False, True])
def test_only_spikes_reach_the_synapses_with_a_logical_g(g, aap):
    model = create_model("spikformer_4_384", g=g, aap=aap, T=2, **SMALL)
    report = get_model_syops(model, torch.zeros(1, 3, 8, 8), input_signal="analog")
    other = {name for name, row in synaptic(report).items() if row.signal != "binary"}
    assert other == {"conv1", "fc", *["fc_acc"] * aap}


def test_with_add_sums_reach_the_synapses_even_of_a_black_image():
    """There, the tensors would all pass for spikes."""
    model = create_model("spikformer_4_384", T=2, **SMALL)
    report = get_model_syops(model, torch.zeros(1, 3, 8, 8), input_signal="analog")
    signals = [row.signal for row in synaptic(report).values()]
    assert signals.count("graded") == 2 * 4 + 1  # the classifier takes means of sums


def test_mac_does_not_grow_with_depth_and_the_aap_adds_a_classifier():
    def mac(**kwargs):
        model = create_model("spikformer_4_384", T=2, **{**SMALL, **kwargs})
        return get_model_syops(model, images(n=1)).mac

    head = 48 * 10
    assert mac(g="IAND", depth=1) == mac(g="IAND", depth=3) == 32 * 32 * 9 * 3 * 6 + head
    assert mac(g="IAND", depth=3, aap=True) == mac(g="IAND", depth=3) + head
    assert mac(g="ADD", depth=2) - mac(g="ADD", depth=1) == 2 * TOKENS * 48 * 48 * (3 + 4)


def test_attention_counts_the_coincidences_of_its_spikes():
    x = images()
    model = fresh(x, g="IAND", depth=1)
    spikes = {}
    for part in "qkv":
        getattr(model.blocks[0].attention, part).register_forward_hook(
            lambda _, __, out, part=part: spikes.update({part: out.detach().long()})
        )
    rows = synaptic(get_model_syops(model, x))
    q, k, v = (spikes[part].unflatten(-1, (3, 16)) for part in "qkv")
    agreement = torch.einsum("tnihd,tnjhd->tnhij", q, k)
    first, second = (rows[f"blocks.0.attention:matmul#{j}"] for j in (1, 2))
    assert first.ac_events * 2 == agreement.sum() > 0
    rates = q.double().mean() * k.double().mean()
    assert first.ac == pytest.approx(float(rates) * 4 * TOKENS * TOKENS * 48, rel=1e-12)
    # (q kᵀ) v: v spikes, and the other operand takes the part of the weights.
    assert second.ac == pytest.approx(float(v.double().mean()) * 4 * TOKENS * TOKENS * 48)
    assert second.ac_events * 2 == v.sum() * TOKENS > 0


def test_folding_for_real_leaves_no_norm_and_the_same_outputs():
    x = images(dtype=torch.float64)
    model = fresh(x, g="IAND", aap=True)
    folded = fold_bn(model, x)
    assert not [m for m in folded.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    with torch.no_grad():
        for ours, theirs in zip(folded(x), model(x), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


# --- surgery -----------------------------------------------------------------------------------


def test_the_aap_can_be_removed_and_put_back():
    x = images()
    dual = fresh(x, g="XOR", aap=True)
    single = detach_aap(dual)
    with torch.no_grad():
        spike, accumulated = dual(x)
        assert torch.equal(single(x), spike)
        assert torch.equal(attach_aap(single)(x).accumulated, accumulated)  # it has no weights
    with pytest.raises(SyopsValueError, match="no auxiliary accumulation pathway"):
        detach_aap(single)
    with pytest.raises(SyopsValueError, match="beside g='ADD'"):
        attach_aap(create_model("spikformer_4_384", **SMALL))


@pytest.mark.parametrize("g", ["ADD", "IAND", "OR", "XOR"])
def test_zero_init_makes_every_block_the_identity_on_spikes(g):
    model = create_model("spikformer_4_384", g=g, **SMALL)
    zero_init_residual(model)
    maps = (torch.rand(4, 2, 48, 5, 5) < 0.3).float()
    assert torch.equal(model.position(Streams(maps, maps)).spike, maps)
    streams = model.tokens(Streams(maps, maps))
    assert torch.equal(model.blocks(streams).spike, streams.spike)


def test_the_neurons_keywords_and_half_the_threshold_in_attention():
    model = create_model("spikformer_4_384", neuron="PLIF", v_threshold=0.6, **SMALL)
    thresholds = {n: m.v_threshold for n, m in model.named_modules() if hasattr(m, "v_threshold")}
    assert len(thresholds) == 1 + 3 + 1 + 2 * 7
    assert {n for n, v in thresholds.items() if v == 0.3} == {
        f"blocks.{i}.attention.sn" for i in range(2)
    }
    assert set(thresholds.values()) == {0.3, 0.6}
    assert "blocks.0.attention.q.sn.w" in model.state_dict()
