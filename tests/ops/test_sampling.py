"""Interpolation, distances and bags of embeddings are rows, counted by brute force here."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from syops import check_full_spike, get_model_bounds, get_model_syops
from syops.ops.sampling import CUBIC, LINEAR, taps_reached


class Net(nn.Module):
    def __init__(self, run):
        super().__init__()
        self.run, self.weight = run, nn.Parameter(torch.randn(10, 8))

    def forward(self, x):
        return self.run(x, self.weight)


def spikes(*shape, rate=0.5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator) < rate).float()


def only_row(run, x):
    report = get_model_syops(Net(run), x, strict=True)
    (layer,) = [layer for layer in report.layers if layer.counted]
    return report, layer


def matrix(size, out, mode, aligned, scale):
    """Column i of the linear map is what a unit at position i becomes."""
    how = {"scale_factor": scale} if scale else {"size": out}
    units = torch.eye(size, dtype=torch.float64)[:, None]
    if mode == "bicubic":  # along one dimension, the other one of size 1 stays as it is
        units = units[..., None, :]
        how = {name: (1, value) for name, value in how.items()}
    made = F.interpolate(units, mode=mode, align_corners=aligned, **how)
    return made.reshape(size, -1)


@pytest.mark.parametrize(("mode", "taps"), [("linear", LINEAR), ("bicubic", CUBIC)])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize(("size", "out"), [(5, 10), (6, 4), (7, 9), (3, 1), (1, 4), (8, 8), (9, 3)])
def test_taps_are_the_nonzeros_of_the_linear_map(mode, taps, aligned, size, out):
    reached = torch.tensor(taps_reached(size, out, taps, aligned, None))
    assert int(reached.sum()) == out * len(taps)
    nonzero = matrix(size, out, mode, aligned, None).abs() > 1e-12
    assert (reached >= nonzero.sum(1)).all()
    # What is more are coefficients of 0, and taps that meet at the border.
    assert int((reached - nonzero.sum(1)).sum()) == int((len(taps) - nonzero.sum(0)).sum())


@pytest.mark.parametrize("scale", [2.0, 1.7, 0.6])
def test_given_scale_factor_places_the_taps(scale):
    nonzero = matrix(9, None, "linear", False, scale).abs() > 1e-12
    reached = torch.tensor(taps_reached(9, nonzero.shape[1], LINEAR, False, scale))
    inside = slice(2, 7)
    assert (reached[inside] >= nonzero.sum(1)[inside]).all()
    assert int(reached.sum()) == 2 * nonzero.shape[1]


@pytest.mark.parametrize(
    ("mode", "rank", "taps"), [("linear", 1, 2), ("bilinear", 2, 4), ("trilinear", 3, 8),
                               ("bicubic", 2, 16)],
)  # fmt: skip
def test_interpolation_of_spikes_is_ac_by_taps(mode, rank, taps):
    x = torch.zeros(2, 3, *[8] * rank)
    inner = (..., *[slice(3, 5)] * rank)  # away from the border, where taps meet
    x[inner] = spikes(2, 3, *[2] * rank)

    def run(x, w):
        return F.interpolate(x, scale_factor=2, mode=mode)

    report, layer = only_row(run, x)
    dense = 2 * 3 * 16**rank * taps
    assert report.rows[0].dense == dense
    assert (layer.signal, layer.mac) == ("binary", 0)
    reached = 0
    for position in x.nonzero():
        unit = torch.zeros_like(x)
        unit[tuple(position)] = 1
        reached += int((run(unit, None) != 0).sum())
    assert report.totals.ac_events == reached
    assert report.totals.ac * x.numel() == int(x.sum()) * dense
    analog, _ = only_row(run, torch.randn(2, 3, *[8] * rank))
    assert analog.totals.mac == dense


def test_nearest_interpolation_is_a_copy():
    report = get_model_syops(Net(lambda x, w: F.interpolate(x, scale_factor=2)), spikes(1, 2, 4, 4))
    assert not report.rows


@pytest.mark.parametrize(("mode", "taps"), [("bilinear", 4), ("bicubic", 16), ("nearest", 0)])
def test_grid_sample(mode, taps):
    def run(x, w):
        return F.grid_sample(x, torch.rand(2, 5, 5, 2) * 2 - 1, mode=mode, align_corners=False)

    report = get_model_syops(Net(run), torch.randn(2, 3, 6, 6), strict=True)
    assert report.totals.mac == 2 * 3 * 25 * taps


def test_grid_sample_in_three_dimensions():
    def run(x, w):
        return F.grid_sample(x, torch.rand(1, 4, 4, 4, 3), align_corners=False)

    report = get_model_syops(Net(run), torch.randn(1, 2, 5, 5, 5), strict=True)
    assert report.totals.mac == 2 * 64 * 8


def test_affine_grid_is_a_product_with_theta():
    def run(x, w):
        return F.affine_grid(x, [2, 3, 6, 5], align_corners=False)

    report, _ = only_row(run, torch.randn(2, 2, 3))
    assert report.totals.mac == 2 * 30 * 2 * 3


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("rows", [4, 40])
def test_distances_to_prototypes(p, rows):
    report, layer = only_row(lambda x, w: torch.cdist(x, w, p=p), torch.randn(rows, 8))
    assert report.totals.mac == rows * 10 * 8
    assert (layer.kind, layer.operator) == ("linear", "cdist")


def test_distances_between_activations():
    report, layer = only_row(lambda x, w: torch.cdist(x, x.flip(1)), torch.randn(3, 5, 8))
    assert (layer.kind, report.totals.mac) == ("matmul", 3 * 5 * 5 * 8)
    report, _ = only_row(lambda x, w: F.pdist(x), torch.randn(6, 8))
    assert report.totals.mac == 15 * 8


def test_distance_to_prototypes_is_not_proven_spike_only():
    class Radial(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.w = nn.Linear(8, 8), nn.Parameter(torch.randn(10, 8))
            self.o = nn.Linear(10, 3)

        def forward(self, x):
            return self.o((torch.cdist(self.a(x), self.w) > 1).float())

    audit = check_full_spike(Radial(), (4, 8))
    assert not audit.full_spike
    assert [row.operator for row in audit.offending] == ["cdist"]


def test_resized_input_leaves_the_stem_the_first_layer():
    class Resized(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, x):
            x = F.interpolate(x, size=(8, 8), mode="bilinear")
            x = (self.stem(x) > 0).float().amax((2, 3))
            return self.head(x)

    audit = check_full_spike(Resized(), (1, 3, 5, 5))
    assert {row.path: row.exempt for row in audit.rows if row.path} == {
        "stem": "first",
        "head": "last",
    }


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_embedding_bag_adds_what_it_looks_up(mode):
    indices = torch.tensor([[1, 2, 2], [0, 0, 9]])

    def run(x, w):
        return F.embedding_bag(x, w, mode=mode)

    report, layer = only_row(run, indices)
    assert (layer.kind, layer.signal, layer.mac) == ("linear", "binary", 0)
    assert report.totals.ac == report.totals.ac_events == 6 * 8
    assert get_model_bounds(Net(run), indices).totals.dense_ac == 6 * 8


def test_embedding_bag_leaves_padding_out():
    def run(x, w):
        return F.embedding_bag(x, w, mode="sum", padding_idx=0)

    report, _ = only_row(run, torch.tensor([[1, 2, 2], [0, 0, 9]]))
    assert report.totals.ac == report.totals.ac_events == 4 * 8


def test_embedding_bag_with_weights_per_sample_multiplies():
    indices = torch.tensor([[1, 2, 2], [0, 0, 9]])

    def run(scales, w):
        return F.embedding_bag(indices, w, per_sample_weights=scales, mode="sum")

    report, _ = only_row(run, torch.rand(2, 3) + 0.5)
    assert (report.totals.mac, report.totals.ac) == (6 * 8, 0)
    report, _ = only_row(run, torch.tensor([[1.0, 0, 1], [0, 0, 1]]))
    assert (report.totals.mac, report.totals.ac_events) == (0, 3 * 8)


def test_largest_of_a_bag_only_compares():
    report = get_model_syops(
        Net(lambda x, w: F.embedding_bag(x, w, mode="max")), torch.tensor([[1, 2]]), strict=True
    )
    assert not report.rows
