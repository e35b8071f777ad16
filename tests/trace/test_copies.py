"""A model can be copied and saved while it is counted, and nobody counts the copy."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from syops import count_syops, get_model_bounds, get_model_syops

X = (torch.arange(12.0).reshape(3, 4) % 3 == 0).float()
SPIKES = 4


class Fire(nn.Module):
    def forward(self, x):
        return (x > 0).float()


def network():
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(4)
    return nn.Sequential(nn.Linear(4, 4), norm, Fire(), nn.Linear(4, 2)).eval()


def saved(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "save": saved,
}


def check(made):
    """It computes what a network does that nobody ever counted, and counts and bounds are equal."""
    expected = network()
    assert torch.equal(made(X), expected(X))
    assert get_model_syops(made, X).totals == get_model_syops(expected, X).totals
    bounds = [get_model_bounds(each, X.shape).totals for each in (made, expected)]
    assert bounds[0] == bounds[1]


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("calls", [0, 1, 3])
def test_model_is_copied_in_a_loop_that_is_counted(copied, calls):
    model = network()
    with count_syops(model) as count:
        for _ in range(calls):
            model(X)
        made = copied(model)
        made(X)
        model(X)
    assert count.report.layers[0].ac_events * count.report.samples == (calls + 1) * SPIKES * 4
    check(made)


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_model_is_copied_between_batches(copied):
    model, made = network(), []

    def batches():
        for _ in range(3):
            yield X
            made.append(copied(model))

    report = get_model_syops(model, batches())
    assert report.layers[0].ac_events * report.samples == 3 * SPIKES * 4
    for each in made:
        check(each)


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("batches", [1, 3])
def test_model_copies_a_layer_of_its_own(copied, batches):
    class Copies(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, x):
            return copied(self.fc)(x)

    report = get_model_syops(Copies(), [X] * batches)
    assert report.totals.ac_events == batches * SPIKES * 2
    assert report.totals.mac == 0
