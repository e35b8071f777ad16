"""Attention is two products, each with its own row, whatever kernel torch chooses."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from syops import check_full_spike, get_model_bounds, get_model_syops

B, H, L, S, D, E = 2, 3, 5, 4, 6, 7


class Attention(nn.Module):
    """``fire`` of three inputs, attended ``times`` times in one place."""

    def __init__(self, fire=lambda x: (x > 0.5).float(), backend=None, times=1, **kwargs):
        super().__init__()
        self.fire, self.backend, self.times, self.kwargs = fire, backend, times, kwargs

    def forward(self, q, k, v):
        q, k, v = map(self.fire, (q, k, v))
        outs = []
        for _ in range(self.times):
            if self.backend is None:
                outs.append(F.scaled_dot_product_attention(q, k, v, **self.kwargs))
            else:
                with sdpa_kernel(self.backend):
                    outs.append(F.scaled_dot_product_attention(q, k, v, **self.kwargs))
        return torch.stack(outs)


def tensors(leading, d=D, e=E, kv=None):
    generator = torch.Generator().manual_seed(0)
    kv = leading if kv is None else kv
    shapes = (*leading, L, d), (*kv, S, d), (*kv, S, e)
    return tuple(torch.rand(shape, generator=generator) for shape in shapes)


def products(report):
    layers = zip(report.rows, report.layers, strict=True)
    return {
        row.operator: (row.calls, layer.signal, row.dense, layer.ac_events, layer.ac)
        for row, layer in layers
        if row.kind == "matmul"
    }


def by_hand(q, k, v, heads, samples, times=1):
    """Coincidences of q and k, and spikes of v times the rows of the attention."""
    q, k, v = ((x > 0.5).double() for x in (q, k, v))
    shared = q.shape[-3] // k.shape[-3] if q.dim() > 3 else 1
    if shared > 1:
        k, v = k.repeat_interleave(shared, -3), v.repeat_interleave(shared, -3)
    pairs = int((q @ k.transpose(-1, -2)).sum())
    dense = heads * L * S * q.shape[-1]
    rate = int(q.sum()) * int(k.sum()) / (q.numel() * k.numel())
    mixed = int(v.sum()) * L
    return {
        "q @ k": (
            *(times, "binary", dense * times),
            *(times * pairs / samples, pytest.approx(times * rate * dense / samples)),
        ),
        "attn @ v": (
            *(times, "binary", heads * L * S * v.shape[-1] * times),
            *(times * mixed / samples, pytest.approx(times * mixed / samples)),
        ),
    }


SHAPES = {
    "4-D": ((B, H), D, D, None, {}),
    "3-D": ((B * H,), D, D, None, {}),
    "5-D": ((2, B, H), D, D, None, {}),
    "v of another width": ((B, H), D, E, None, {}),
    "causal": ((B, H), D, D, None, {"is_causal": True}),
    "scale 1": ((B, H), D, E, None, {"scale": 1.0}),
    "scale": ((B, H), D, E, None, {"scale": 0.3}),
    "mask": ((B, H), D, D, None, {"attn_mask": torch.ones(L, S).bool()}),
    "grouped queries": ((B, 4), D, D, (B, 2), {"enable_gqa": True}),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("backend", [None, SDPBackend.MATH])
@pytest.mark.parametrize("times", [1, 3])
def test_both_products_are_rows_on_every_kernel(shape, backend, times):
    leading, d, e, kv, kwargs = SHAPES[shape]
    inputs = tensors(leading, d, e, kv)
    model = Attention(backend=backend, times=times, **kwargs)
    report = get_model_syops(model, inputs)
    heads = inputs[0].shape[:-2].numel()
    assert products(report) == by_hand(*inputs, heads, leading[0], times)
    bounds = get_model_bounds(model, inputs)
    assert [(r.operator, r.dense, r.calls) for r in bounds.rows if r.kind == "matmul"] == [
        (r.operator, r.dense, r.calls) for r in report.rows if r.kind == "matmul"
    ]
    assert bounds.ec_mj[0] <= report.dc_mj <= bounds.ec_mj[1]
    assert check_full_spike(model, inputs, allow=()).full_spike


@pytest.mark.parametrize("shape", ["4-D", "3-D", "v of another width"])
def test_spikes_looked_up_in_the_data_are_told_on_every_kernel(shape):
    leading, d, e, kv, kwargs = SHAPES[shape]
    inputs = tuple((x > 0.5).float() for x in tensors(leading, d, e, kv))
    report = get_model_syops(Attention(lambda x: x, **kwargs), inputs)
    heads = inputs[0].shape[:-2].numel()
    assert products(report) == by_hand(*inputs, heads, leading[0])


@pytest.mark.parametrize("shape", ["4-D", "3-D"])
@pytest.mark.parametrize("which", list(itertools.product([True, False], repeat=3)))
def test_each_product_is_classed_by_its_own_operands(shape, which):
    leading, d, e, kv, kwargs = SHAPES[shape]
    spikes = iter(which)
    model = Attention(lambda x: (x > 0.5).float() if next(spikes) else x.exp(), **kwargs)
    found = products(get_model_syops(model, tensors(leading, d, e, kv)))
    q, k, v = which
    assert found["q @ k"][1] == ("binary" if q or k else "analog")
    assert found["attn @ v"][1] == ("binary" if v else "analog")


def graded(x):
    return sum((x > bound).float() for bound in (0.2, 0.5, 0.7))


@pytest.mark.parametrize("counted", ["mac", "ac"])
@pytest.mark.parametrize("signal", ["derived", "graded", "auto"])
@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("d", [3, 6, 16])
def test_graded_operands_are_graded_on_every_kernel(counted, signal, scale, d):
    inputs = tensors((B, H), d, d)
    fire, kwargs = graded, {}
    if signal != "derived":
        inputs, fire, kwargs = tuple(map(graded, inputs)), lambda x: x, {"input_signal": signal}
    q, k, v = map(graded, inputs) if signal == "derived" else inputs
    for backend in (None, SDPBackend.MATH):
        model = Attention(fire, backend, scale=scale)
        found = products(get_model_syops(model, inputs, graded=counted, **kwargs))
        assert {row: signal for row, (_, signal, *_) in found.items()} == {
            "q @ k": "graded", "attn @ v": "graded"
        }  # fmt: skip
        driven = int(q.sum()) * S  # the other one is in the role of weights
        assert found["q @ k"][3] == (counted == "ac") * driven / B
        assert found["attn @ v"][3] == (counted == "ac") * int(v.sum()) * L / B
        bounds = get_model_bounds(model, inputs, graded=counted, **kwargs)
        assert {row.signal for row in bounds.layers if row.kind == "matmul"} == {"graded"}
        if signal == "auto":
            nothing_known = get_model_bounds(model, tuple(x.to("meta") for x in inputs))
            signals = {row.signal for row in nothing_known.layers if row.kind == "matmul"}
            assert signals == {"unknown"}


class Learned(nn.Module):
    """An attention with parameters in the place of some of its operands."""

    def __init__(self, which, fire, backend=None):
        super().__init__()
        self.fire, self.backend = fire, backend
        shapes = (B, H, L, D), (B, H, S, D), (B, H, S, E)
        self.own = nn.ParameterList(
            nn.Parameter(torch.rand(shape)) if is_own else None
            for shape, is_own in zip(shapes, which, strict=True)
        )

    def forward(self, *inputs):
        pairs = zip(self.own, inputs, strict=True)
        q, k, v = (self.fire(x) if own is None else own for own, x in pairs)
        if self.backend is None:
            return F.scaled_dot_product_attention(q, k, v)
        with sdpa_kernel(self.backend):
            return F.scaled_dot_product_attention(q, k, v)


@pytest.mark.parametrize("which", list(itertools.product([True, False], repeat=3)))
@pytest.mark.parametrize("fire", [lambda x: (x > 0.5).float(), graded, torch.exp])
def test_learned_operands_are_in_the_role_of_weights_on_every_kernel(which, fire):
    inputs = tensors((B, H))

    def told(report):
        layers = zip(report.rows, report.layers, strict=True)
        return [(r.key, r.dense, r.drives, la.ac, la.ac_events, la.mac) for r, la in layers]

    fused, by_parts = (
        get_model_syops(Learned(which, fire, backend), inputs)
        for backend in (None, SDPBackend.MATH)
    )
    bounds = get_model_bounds(Learned(which, fire), inputs)
    listed = [*(["q @ k"] if which[:2] == (True, True) else []), *(["attn @ v"] * all(which))]
    if not all(which):
        assert [row for row in told(fused) if row[0][1] == "matmul"] == [
            row for row in told(by_parts) if row[0][1] == "matmul"
        ]
    for report in (fused, by_parts, bounds):
        named = [row.operator for row in report.rows if row.kind == "matmul"]
        assert named == [name for name in ("q @ k", "attn @ v") if name not in listed]
        assert len([row for row in report.prepared if row.kind == "matmul"]) == len(listed)
    assert bounds.ec_mj[0] <= fused.dc_mj <= bounds.ec_mj[1]


def test_layer_on_the_weights_of_an_attention_is_a_layer():
    class Talking(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Linear(S, S)

        def forward(self, q, k, v):
            return self.mix((q @ k.mT).softmax(-1)) @ v

    report = get_model_syops(Talking(), tensors((B, H)))
    assert [(row.path, row.operator) for row in report.rows if row.kind in ("linear", "matmul")] \
        == [("", "q @ k"), ("mix", "linear"), ("", "matmul")]  # fmt: skip


def test_integers_stay_integers_when_a_scale_is_taken_back():
    """A quotient of a rounded product is not always what it was."""
    numbers = torch.arange(1.0, 256.0).reshape(1, 1, -1, 1)
    lost = 0
    for d in range(1, 40):
        x = numbers.expand(-1, -1, -1, d)
        scale = (d**-0.5) ** 0.5
        lost += int((x * scale / scale != x).any())
        report = get_model_syops(Attention(lambda x: x, SDPBackend.MATH), (x, x, x))
        assert products(report)["q @ k"][1] == "graded"
    assert lost


class Heads(nn.Module):
    """`nn.MultiheadAttention` whose projections hand on what they get."""

    def __init__(self, need_weights, mask=False):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.kwargs = {"need_weights": need_weights}
        if mask:
            self.kwargs["attn_mask"] = torch.zeros(5, 5)

    def forward(self, x):
        return self.attention(x, x, x, **self.kwargs)[0]


@pytest.mark.parametrize("mask", [True, False])
def test_weights_of_an_attention_that_are_asked_for_change_no_row(mask):
    x = torch.randn(2, 5, 8)
    reports = [
        count(Heads(need_weights, mask), x)
        for need_weights in (True, False)
        for count in (get_model_syops, get_model_bounds)
    ]
    rows = [[(r.operator, r.dense, r.calls) for r in report.rows if r.kind == "matmul"] for report
            in reports]  # fmt: skip
    assert rows == [[("q @ k", 400, 1), ("attn @ v", 400, 1)]] * 4
    assert len({report.mac for report in reports}) == 1


class Written(nn.Module):
    """An attention of products, however it is written."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def forward(self, q, k, v):
        return self.how(*((x > 0.5).float() for x in (q, k, v)))


def scored(q, k, v):
    scores = torch.einsum("bhld,bhsd->bhls", q, k) / D**0.5
    scores = scores.masked_fill(torch.eye(L, S).bool(), float("-inf"))
    return torch.einsum("bhls,bhse->bhle", F.dropout(scores.softmax(-1), 0.5, False), v)


def turned(q, k, v):
    scores = (k @ q.transpose(-1, -2) * D**-0.5).tanh() * 30
    return (v.transpose(-1, -2) @ scores.softmax(-2)).transpose(-1, -2)


def in_place(q, k, v):
    scores = q.flatten(0, 1).bmm(k.flatten(0, 1).mT)
    scores *= D**-0.5
    scores += torch.zeros(L, S)
    return scores.softmax(-1).bmm(v.flatten(0, 1))


def mapped(q, k, v):
    return torch.vmap(lambda q, k, v: (q @ k.mT * D**-0.5).softmax(-1) @ v)(q, k, v)


@pytest.mark.parametrize("how", [scored, turned, in_place, mapped])
def test_attention_that_is_written_out_has_the_rows_of_the_kernel(how):
    inputs = tensors((B, H))
    report = get_model_syops(Written(how), inputs)
    assert products(report) == by_hand(*inputs, B * H, B)
    assert check_full_spike(Written(how), inputs, allow=()).full_spike


@pytest.mark.parametrize("which", list(itertools.product([True, False], repeat=3)))
def test_flex_attention_is_two_rows(which):
    flex = pytest.importorskip("torch.nn.attention.flex_attention").flex_attention
    inputs = tensors((B, 4), 16, 16, (B, 2))
    q, k, v = which

    class Flex(nn.Module):
        def forward(self, *inputs):
            each = zip(inputs, which, strict=True)
            q, k, v = ((x > 0.5).float() if fires else x.exp() for x, fires in each)
            return flex(q, k, v, score_mod=lambda s, b, h, i, j: s + i - j, enable_gqa=True)

    found = products(get_model_syops(Flex(), inputs))
    assert found["q @ k"][:3] == (1, "binary" if q or k else "analog", B * 4 * L * S * 16)
    assert found["attn @ v"][:3] == (1, "binary" if v else "analog", B * 4 * L * S * 16)
    if all(which):
        assert found == by_hand(*inputs, B * 4, B)


def test_products_of_one_line_that_are_no_attention_stay_what_they_are():
    class Products(nn.Module):
        def forward(self, x):
            s = (x > 0.5).float()
            return torch.stack([(s * 0.5) @ (s * 0.5).transpose(-1, -2) @ s for _ in range(2)])

    report = get_model_syops(Products(), torch.rand(2, 5, 5))
    assert [row.operator for row in report.rows if row.kind == "matmul"] == ["matmul", "matmul"]


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_transformer_layers_are_counted_by_their_parts(fast, masked):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    inputs = {"src": torch.randn(2, 5, 8)}
    if masked:
        inputs["src_key_padding_mask"] = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 1]]).bool()
    torch.backends.mha.set_fastpath_enabled(fast)
    try:
        report = get_model_syops(model, inputs)
        bounds = get_model_bounds(model, inputs)
    finally:
        assert torch.backends.mha.get_fastpath_enabled() is fast
        torch.backends.mha.set_fastpath_enabled(True)
    by_row = {row.operator: row.dense for row in report.rows if row.kind == "matmul"}
    assert by_row == {"q @ k": 2 * 5 * 5 * 8, "attn @ v": 2 * 5 * 5 * 8}
    assert bounds.mac == report.mac
    torch.backends.mha.set_fastpath_enabled(False)
    # Torch's counter does not know the fused kernel of CPUs.
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(**inputs)
    torch.backends.mha.set_fastpath_enabled(True)
    kinds = ("linear", "matmul")
    assert counter.get_total_flops() == sum(2 * r.dense for r in report.rows if r.kind in kinds)
