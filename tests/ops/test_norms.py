"""Norms cost 2 MACs per element, however torch computes them."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from syops import check_full_spike, count_syops, get_model_bounds, get_model_syops

FEATURES = 6


class Functional(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        return self.norm(x)


NORMS = {
    "nn.LayerNorm": nn.LayerNorm(FEATURES),
    "nn.RMSNorm": nn.RMSNorm(FEATURES),
    "nn.RMSNorm without weights": nn.RMSNorm(FEATURES, elementwise_affine=False),
    "F.rms_norm": Functional(lambda x: functional.rms_norm(x, [FEATURES], eps=1e-3)),
    "F.rms_norm by name": Functional(
        lambda x: functional.rms_norm(input=x, normalized_shape=(FEATURES,))
    ),
    "torch.rms_norm": Functional(lambda x: torch.rms_norm(x, (FEATURES,))),
}


def network(norm):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, FEATURES), norm, nn.Linear(FEATURES, 3))


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_norm_is_2_macs_per_element_in_the_totals(norm):
    model, x = network(norm), torch.rand(5, 4)
    macs = 4 * FEATURES + 2 * FEATURES + FEATURES * 3
    assert get_model_syops(model, x).totals.mac == 5 * macs
    assert get_model_syops(model, [x] * 4).totals.mac == 4 * 5 * macs
    assert get_model_bounds(model, x.shape, input_signal="analog").mac == macs
    assert "norm" in str(check_full_spike(model, x.shape, allow=()))


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_results_and_gradients_of_a_norm_are_those_without_counting(norm):
    model, x = network(norm), torch.rand(5, 4)
    expected = model(x)
    expected.sum().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    with count_syops(model) as count:
        found = model(x)
        found.sum().backward()
    assert torch.equal(found, expected)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)
    assert count.report.totals.mac == 5 * (4 * FEATURES + 2 * FEATURES + FEATURES * 3)


def test_norm_under_vmap_is_counted_by_its_parts():
    norm = Functional(torch.vmap(lambda row: functional.rms_norm(row, (FEATURES,))))
    report = get_model_syops(network(norm), torch.rand(5, 4))
    assert report.complete
    assert "pow" in [layer.operator for layer in report.layers]
