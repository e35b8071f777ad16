"""Weights are what depends on weights and constants alone.

What the counter sees is held against torch's own FlopCounterMode: every product is a call of a row
or was prepared from weights.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from syops import check_full_spike, get_model_bounds, get_model_syops

SIZE = 6


class Net(nn.Module):
    """``make`` brings something of parameters and data before a linear layer."""

    def __init__(self, make):
        super().__init__()
        torch.manual_seed(0)
        self.make = make
        self.w, self.v = nn.Parameter(torch.randn(SIZE, SIZE)), nn.Parameter(torch.randn(SIZE))
        self.a = nn.Parameter(torch.tensor(0.7))
        self.register_buffer("order", torch.tensor([2, 0, 1, 5, 4, 3]))
        self.register_buffer("mask", torch.eye(SIZE).bool())
        self.table = nn.Embedding(SIZE, SIZE)
        self.fc = nn.Linear(SIZE, 3, bias=False)
        self.requires_grad_(False)

    def forward(self, x):
        made = self.make(self, x)
        return self.fc(made) if made.dim() == 2 else self.fc(made.reshape(-1, SIZE))


def tokens(x):
    return x.long() % SIZE


DATA = {
    # What depends on data or chance is data, were all its values learned.
    "index": lambda m, x: m.w[tokens(x)[:, 0]],
    "index of two": lambda m, x: m.w[tokens(x), tokens(x.flip(0))],
    "mask": lambda m, x: m.w[x > 0].expand(SIZE, -1)[:, :SIZE],
    "bool row": lambda m, x: m.w * (x > 0),
    "index_select": lambda m, x: m.w.index_select(0, tokens(x)[:, 0]),
    "gather": lambda m, x: m.w.gather(0, tokens(x)),
    "take": lambda m, x: m.w.take(tokens(x)),
    "take_along_dim": lambda m, x: m.w.take_along_dim(tokens(x), 1),
    "embedding": lambda m, x: m.table(tokens(x)[:, 0]),
    "F.embedding": lambda m, x: F.embedding(tokens(x)[:, 0], m.w),
    "codebook": lambda m, x: m.w[torch.cdist(x, m.w).argmin(1)],
    "codebook, one-hot": lambda m, x: F.one_hot(tokens(x)[:, 0], SIZE).float() * m.v,
    "quantiser": lambda m, x: m.v[torch.bucketize(x, torch.linspace(0, 1, 5))],
    "searchsorted": lambda m, x: m.v[torch.searchsorted(m.v.sort()[0], x).clamp(max=SIZE - 1)],
    "argsort": lambda m, x: m.w[x[0].argsort()],
    "topk": lambda m, x: m.w[x.topk(2, 0)[1][0]],
    "where": lambda m, x: torch.where(x > 0.5, m.v, 0.0),
    "where of two": lambda m, x: torch.where(x > 0.5, m.w, m.w.t()),
    "where, other": lambda m, x: torch.where(x > 0.5, 1.0, m.w),
    "masked_fill": lambda m, x: m.w.masked_fill(x > 0.5, 0),
    "masked_fill_": lambda m, x: m.w.clone().masked_fill_(x > 0.5, 0),
    "masked_scatter": lambda m, x: torch.zeros_like(x).masked_scatter(x > 0.5, m.w),
    "index_put_": lambda m, x: torch.zeros_like(x).index_put_((x > 0.5,), m.a),
    "setitem": lambda m, x: _set(torch.zeros(SIZE, SIZE), x > 0.5, m.a),
    "scatter": lambda m, x: torch.zeros(SIZE, SIZE).scatter(1, tokens(x), m.w),
    "scatter_": lambda m, x: m.w.clone().scatter_(1, tokens(x), 1.0),
    "scatter_add": lambda m, x: torch.zeros(SIZE, SIZE).scatter_add(1, tokens(x), m.w),
    "index_copy": lambda m, x: torch.zeros(SIZE, SIZE).index_copy(0, x[0].argsort(), m.w),
    "index_add": lambda m, x: torch.zeros(SIZE, SIZE).index_add(0, tokens(x)[0], m.w),
    "copy_ of a part": lambda m, x: _copy(m.w.clone(), x),
    "multinomial": lambda m, x: m.w[torch.multinomial(m.v.softmax(0), SIZE)],
    "randperm": lambda m, x: m.w[torch.randperm(SIZE)],
    "randn_like": lambda m, x: torch.randn_like(m.w),
    "rand_like": lambda m, x: torch.rand_like(m.w),
    "bernoulli": lambda m, x: torch.bernoulli(m.w.sigmoid()),
    "bernoulli_": lambda m, x: torch.empty_like(m.w).bernoulli_(0.5),
    "normal": lambda m, x: torch.normal(m.w, 1.0),
    "uniform_": lambda m, x: torch.empty_like(m.w).uniform_(),
    "dropout": lambda m, x: F.dropout(m.w, training=True),
    "gumbel": lambda m, x: m.w - torch.empty_like(m.w).exponential_().log(),
    "item": lambda m, x: m.w[int(x.sum()) % SIZE :].repeat(2 * SIZE, 1)[:SIZE],
    "select by argmax": lambda m, x: m.w[int(x[0].argmax())][None],
    "times number": lambda m, x: m.w * float(x.sum()),
    "where, chosen by item": lambda m, x: m.w.roll(int(x.sum()), 0),
    "item in a literal": lambda m, x: m.w[torch.tensor([int(v) for v in x.argmax(1)])],
    "tolist": lambda m, x: m.w[x.argmax(1).tolist()],
    "tolist, one by one": lambda m, x: torch.stack([m.w[i] for i in x.argmax(1).tolist()]),
    "a literal of tensors": lambda m, x: m.w[torch.tensor([row.argmax() for row in x])],
    "as_tensor of tensors": lambda m, x: torch.as_tensor([row.sum() for row in x]) * m.v,
    "constructor": lambda m, x: torch.Tensor([row.sum() for row in x]) * m.v,
    "a list of tensors": lambda m, x: m.w[[x[0].argmax(), x[1].argmax()], :],
    "numpy": lambda m, x: m.w[torch.from_numpy(x.argmax(1).numpy())],
    "numpy index": lambda m, x: m.w[x.argmax(1).numpy()],
    "a function of numpy's": lambda m, x: torch.from_numpy(np.round(x.numpy())) * m.a,
    "asarray": lambda m, x: torch.tensor(np.asarray(x)) * m.v,
    "truth value as index": lambda m, x: m.w[int((x > 0.5).any())][None],
    "truth value as factor": lambda m, x: m.w * float((x > 0.5).all()),
    "truth of a comparison as factor": lambda m, x: m.w * float(torch.equal(x, x.flip(0))),
    "truth of a tolerant comparison": lambda m, x: m.w * float(torch.allclose(x, x.flip(0))),
    "truth values": lambda m, x: m.w * torch.tensor((x > 0.5).tolist()),
    "out=": lambda m, x: torch.index_select(m.w, 0, tokens(x)[0], out=torch.empty(SIZE, SIZE)),
    "zeros of data": lambda m, x: x * 0 + m.w,
    "repeat_interleave": lambda m, x: m.w.repeat_interleave(tokens(x)[0] * 0 + 1, 0),
    "sum": lambda m, x: m.w + x,
    "maximum": lambda m, x: torch.maximum(m.w, x),
    "lerp": lambda m, x: torch.lerp(m.w, m.w.t(), x),
}
NEED_VALUES = {
    *("mask", "repeat_interleave", "item", "select by argmax", "times number"),
    *("where, chosen by item", "item in a literal", "tolist", "tolist, one by one"),
    *("a literal of tensors", "as_tensor of tensors", "constructor", "a list of tensors"),
    *("numpy", "numpy index", "a function of numpy's", "asarray"),
    *("truth value as index", "truth value as factor", "truth values"),
    *("truth of a comparison as factor", "truth of a tolerant comparison"),
}
"""Shapes or numbers come out of data, so that they cannot run without it."""
WEIGHTS = {
    # What is made of weights, literals and shapes alone is a weight.
    "itself": lambda m: m.w,
    "moved": lambda m: m.w.t(),
    "product": lambda m: m.w @ m.w.t(),
    "adapter": lambda m: m.w + m.v[:, None] @ m.v[None],
    "softmax": lambda m: m.w.softmax(1),
    "standardised": lambda m: (m.w - m.w.mean(1, keepdim=True)) / m.w.std(1, keepdim=True),
    "normalised": lambda m: F.normalize(m.w),
    "by a literal": lambda m: m.w[torch.tensor([2, 0, 1, 5, 4, 3])],
    "by two": lambda m: torch.cat([m.w[torch.tensor([1, 0])], m.w[2:]]),
    "by a buffer": lambda m: m.w[m.order],
    "by arange": lambda m: m.w[torch.arange(SIZE - 1, -1, -1)],
    "by a slice": lambda m: torch.cat([m.w[1:], m.w[:1]]),
    "by its own order": lambda m: m.w[m.v.argsort()],
    "masked by a literal": lambda m: m.w.masked_fill(torch.tensor([True, False] * 3), 0),
    "masked": lambda m: m.w.masked_fill(m.mask, 0),
    "lower triangle": lambda m: m.w * torch.tril(torch.ones(SIZE, SIZE)),
    "eye": lambda m: m.w * (1 - torch.eye(SIZE)),
    "where": lambda m: torch.where(m.w > 0, m.w, m.a),
    "binarised": lambda m: m.w.sign() * m.w.abs().mean(),
    "written": lambda m: _rows(torch.empty(SIZE, SIZE), m.w),
    "written in part": lambda m: _set(m.w.clone(), m.mask, m.a),
    "gain read": lambda m: m.w * float(m.a),
    "positions": lambda m: m.w * torch.arange(SIZE),
}


def _set(canvas, where, value):
    canvas[where] = value
    return canvas


def _copy(canvas, x):
    canvas[1:3] = x[1:3]
    return canvas


def _rows(canvas, w):
    for i in range(len(w)):
        canvas[i] = w[i]
    return canvas


def flops_of_products(model, x):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    by_operator = counter.get_flop_counts()["Global"]
    return sum(by_operator.values())


def is_product(row):
    return row.kind in ("conv", "linear", "matmul", "recurrent") and row.operator != "cdist"


def accounted(report):
    return sum(2 * row.dense for row in (*report.rows, *report.prepared) if is_product(row))


@pytest.mark.parametrize("name", DATA)
def test_selection_of_weights_by_data_or_chance_is_data(name):
    model = Net(DATA[name])
    x = torch.rand(SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    report = get_model_syops(model, x)
    last = [row for row in report.rows if row.path == "fc"]
    assert len(last) == 1
    assert last[0].kind == "linear"
    assert accounted(report) == flops_of_products(model, x)
    if name not in NEED_VALUES:
        bounds = get_model_bounds(model, x)
        assert [row.dense for row in bounds.rows if row.path == "fc"] == [last[0].dense]
        assert check_full_spike(model, x, allow=()).rows[-1].layer == "fc"


@pytest.mark.parametrize("name", WEIGHTS)
def test_what_is_made_of_weights_and_constants_is_a_weight(name):
    make = WEIGHTS[name]
    model = Net(lambda m, x: F.linear(x, make(m)))
    x = (torch.rand(SIZE, SIZE) < 0.5).float()
    report = get_model_syops(model, x)
    first = next(row for row in report.rows if is_product(row))
    assert (first.kind, first.dense) == ("linear", SIZE**3)
    assert len(first.drives) == 1
    assert report.layers[report.rows.index(first)].signal == "binary"
    assert accounted(report) == flops_of_products(model, x)


@pytest.mark.parametrize("name", WEIGHTS)
def test_layer_on_weights_alone_is_prepared_and_listed(name):
    make = WEIGHTS[name]
    model = Net(lambda m, x: x @ m.fc(make(m)))
    model.forward = lambda x: model.make(model, x)
    x = (torch.rand(SIZE, SIZE) < 0.5).float()
    report = get_model_syops(model, x)
    assert [row.path for row in report.prepared if row.path == "fc"] == ["fc"]
    assert accounted(report) == flops_of_products(model, x)
    assert "Of weights alone, prepared once" in " ".join(report.to_text().split())
    again = type(report).from_json(report.to_json())
    assert again == report
    merged = report.merge(again)
    assert [row.calls for row in merged.prepared] == [2 * row.calls for row in report.prepared]


@pytest.mark.parametrize("spelling", ["where", "masked_fill", "times"])
def test_spikes_with_one_learned_amplitude_are_scaled(spelling):
    spelled = {
        "where": lambda m, x: torch.where(x > 0.5, m.a, 0.0),
        "masked_fill": lambda m, x: m.a.expand_as(x).masked_fill(x > 0.5, 0.0),
        "times": lambda m, x: (x > 0.5) * m.a,
    }
    report = get_model_syops(Net(spelled[spelling]), torch.rand(SIZE, SIZE))
    assert next(layer.signal for layer in report.layers if layer.path == "fc") == "scaled"


STANDARDISED = {
    # operator: operations, by hand, on SIZE² weights
    "by hand": (
        lambda m: (m.w - m.w.mean(1, keepdim=True)) / (m.w.var(1, keepdim=True) + 1e-5).sqrt(),
        {"mean": SIZE**2, "sub": SIZE**2, "var": SIZE**2, "add": SIZE, "sqrt": SIZE,
         "div": SIZE**2},
    ),
    "layer norm": (lambda m: F.layer_norm(m.w, (SIZE,)), {"layer_norm": 2 * SIZE**2}),
    "group norm": (lambda m: F.group_norm(m.w, 2), {"group_norm": 2 * SIZE**2}),
    "batch norm": (
        lambda m: F.batch_norm(m.w, None, None, training=True),
        {"batch_norm": 2 * SIZE**2},
    ),
    "softmax": (lambda m: m.w.softmax(0), {"softmax": SIZE**2}),
    "constants": (lambda m: m.w * torch.full((SIZE, SIZE), 2.0), {"mul": SIZE**2}),
    "positions": (
        lambda m: (torch.arange(float(SIZE))[:, None] * m.v).sin(),
        {"mul": SIZE**2, "sin": SIZE**2},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STANDARDISED)
def test_work_on_weights_alone_is_listed_and_in_no_row(name):
    make, operations = STANDARDISED[name]
    model = Net(lambda m, x: torch.stack([F.linear(x, make(m)) for _ in range(3)]).flatten(0, 1))
    x = (torch.rand(SIZE, SIZE) < 0.5).float()
    for report in (get_model_syops(model, x), get_model_bounds(model, x, input_signal="binary")):
        assert [row.kind for row in report.rows] == ["linear", "linear"]
        assert report.mac == 3 * SIZE * 3  # of the last layer
        listed = {row.operator: (row.calls, row.ac + row.mac) for row in report.prepared}
        assert listed == {operator: (3, 3 * count) for operator, count in operations.items()}
        told = f"in no total: Net ({', '.join(operations)})"
        assert told in " ".join(report.to_text().split())


@pytest.mark.parametrize("data", ["add", "left alone"])
def test_norm_of_weights_and_data_is_no_preparation(data):
    def run(m, x):
        return F.layer_norm(m.w + x if data == "add" else x, (SIZE,))

    report = get_model_syops(Net(run), torch.rand(SIZE, SIZE))
    assert not report.prepared
    assert [row.mac for row in report.rows if row.kind == "norm"] == [2 * SIZE**2]


ADDED = {
    "addmm": (lambda m, x: x.addmm(m.w, m.w), lambda m, x: x + m.w @ m.w),
    "addmv": (lambda m, x: x[0].addmv(m.w, m.v), lambda m, x: x[0] + m.w @ m.v),
    "addr": (lambda m, x: x.addr(m.v, m.v), lambda m, x: x + m.v[:, None] @ m.v[None]),
    "baddbmm": (
        lambda m, x: x[None].baddbmm(m.w[None], m.w[None])[0],
        lambda m, x: (x[None] + m.w[None] @ m.w[None])[0],
    ),
    "addmm of data": (lambda m, x: m.w.addmm(m.w, x), lambda m, x: m.w @ x),
    "addmm of a bias": (lambda m, x: m.v.addmm(x, m.w), lambda m, x: x @ m.w + m.v),
}


@pytest.mark.parametrize("name", ADDED)
def test_added_product_is_told_as_the_sum_of_both(name):
    x = torch.rand(SIZE, SIZE)
    fused, written = (get_model_syops(Net(make), x) for make in ADDED[name])
    told = [
        [
            [(row.kind, row.dense, row.ac, row.mac) for row in rows]
            for rows in (report.rows, report.prepared)
        ]
        for report in (fused, written)
    ]
    assert told[0] == told[1]


def test_state_of_zeros_is_no_weight():
    """What a neuron does at its first step is done at every step."""
    model = Net(lambda m, x: torch.zeros_like(x) * m.v + x)
    report = get_model_syops(model, torch.rand(SIZE, SIZE))
    assert not report.prepared
    assert [row.operator for row in report.rows] == ["mul", "add", "linear"]
