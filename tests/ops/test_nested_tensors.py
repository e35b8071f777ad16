"""Jagged tensors are counted by their real lengths; what cannot be watched is refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from syops import SyopsError, check_full_spike, get_model_bounds, get_model_syops

LENGTHS = (5, 1, 3)


def rows(width=8, density=0.5):
    generator = torch.Generator().manual_seed(0)
    return [(torch.rand(n, width, generator=generator) < density).float() for n in LENGTHS]


def jagged(parts):
    return torch.nested.nested_tensor(parts, layout=torch.jagged)


def linear_rows(report):
    return [(r.path, r.calls, r.dense) for r in report.rows if r.kind == "linear"]


@pytest.mark.parametrize("bias", [True, False])
def test_jagged_input_is_counted_by_its_real_lengths(bias):
    model = nn.Sequential(nn.Linear(8, 6, bias), nn.ReLU(), nn.Linear(6, 4, bias))
    parts = rows()
    report = get_model_syops(model, jagged(parts))
    tokens = sum(LENGTHS)
    assert report.samples == len(LENGTHS)
    assert linear_rows(report) == [("0", 1, tokens * 48), ("2", 1, tokens * 24)]
    flat = get_model_syops(model, torch.cat(parts))
    assert report.totals == flat.totals
    assert linear_rows(get_model_bounds(model, jagged(parts))) == linear_rows(report)


@pytest.mark.parametrize("signal", ["analog", "binary", "graded"])
def test_declared_signal_of_a_jagged_input(signal):
    model = nn.Sequential(nn.Linear(8, 6))
    report = get_model_syops(model, jagged(rows()), input_signal=signal)
    assert report.layers[0].signal == signal
    audit = check_full_spike(model, jagged(rows()), input_signal=signal, allow=())
    assert audit.full_spike is (signal == "binary")


def test_wrongly_declared_signal_of_a_jagged_input_is_an_error():
    with pytest.raises(SyopsError, match="the input holds 2.0"):
        get_model_syops(nn.Linear(8, 6), jagged([2 * x for x in rows()]), input_signal="binary")


def test_spikes_made_of_jagged_tensors_are_spikes():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(8, 6), nn.Linear(6, 4)

        def forward(self, x):
            return self.b((self.a(x) > 0).float())

    report = get_model_syops(Net(), jagged(rows()))
    assert report.layers[-1].signal == "binary"


@pytest.mark.parametrize("run", [get_model_syops, get_model_bounds, check_full_spike])
def test_strided_nested_input_is_refused(run):
    nested = torch.nested.nested_tensor(rows(), layout=torch.strided)
    with pytest.raises(SyopsError, match="layout=torch.jagged"):
        run(nn.Linear(8, 6), nested)


def test_attention_over_jagged_tensors_is_refused_with_the_layer():
    class Attention(nn.Module):
        def forward(self, x):
            q = x.unflatten(-1, (2, 4)).transpose(1, 2)
            return F.scaled_dot_product_attention(q, q, q)

    with pytest.raises(SyopsError, match=r"1 \(Attention\) makes a nested tensor.*pad"):
        get_model_syops(nn.Sequential(nn.Linear(8, 8), Attention()), jagged(rows()))
