"""Sparse matrices count as dense ones do, in every layout, and a warning says so."""

import pytest
import torch
from torch import nn

from syops import get_model_bounds, get_model_syops

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")

LAYOUTS = {
    "dense": lambda matrix: matrix,
    "coo": lambda matrix: matrix.to_sparse(),
    "csr": lambda matrix: matrix.to_sparse_csr(),
    "csc": lambda matrix: matrix.to_sparse_csc(),
}
PRODUCTS = {
    "@": lambda left, right: left @ right,
    "matmul": torch.matmul,
    "mm": torch.mm,
    "sparse.mm": torch.sparse.mm,
}
ADJACENCY = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 0, 1]])
X = torch.tensor([[1.0, -1, 1, 1], [-1, -1, -1, 1], [1, -1, -1, -1]])
SPIKES = 5


class Graph(nn.Module):
    """Sum the spikes of neighbours, or their potentials, which is a product with a matrix."""

    def __init__(self, layout, product, spiking=True):
        super().__init__()
        self.register_buffer("adjacency", layout(ADJACENCY))
        self.product, self.spiking = product, spiking

    def forward(self, x):
        return self.product(self.adjacency, (x > 0).float() if self.spiking else x)


class Sparse(nn.Module):
    """Put spikes into a sparse matrix, and apply weights to them."""

    def __init__(self, layout, product):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(4, 2))
        self.layout, self.product = layout, product

    def forward(self, x):
        return self.product(self.layout((x > 0).float()), self.weight)


def told(report):
    return any(warning.kind == "sparse" for warning in report.warnings)


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_sparse_weights_count_as_dense_ones(layout, product, batches):
    report = get_model_syops(Graph(layout, product), [X] * batches)
    assert report.totals.dense_ac == batches * 3 * 3 * 4
    assert report.totals.ac_events == batches * SPIKES * 3
    assert report.complete
    assert told(report) == (layout is not LAYOUTS["dense"])
    analog = get_model_syops(Graph(layout, product, spiking=False), [X / 3] * batches)
    assert analog.totals.mac == batches * 3 * 3 * 4


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_bounds_of_sparse_weights_are_those_of_dense_ones(layout):
    bounds = get_model_bounds(Graph(layout, torch.sparse.mm), X.shape)
    assert bounds.totals.dense_ac == 3 * 3 * 4


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_spikes_in_a_sparse_matrix_are_spikes(layout, product, batches):
    report = get_model_syops(Sparse(layout, product), [X] * batches)
    assert report.totals.dense_ac == batches * 3 * 4 * 2
    assert report.totals.ac_events == batches * SPIKES * 2
    assert report.totals.mac == 0
    assert not told(report)
