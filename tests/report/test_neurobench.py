"""The JSON of NeuroBench."""

import json

import pytest
import torch
from torch import nn

from syops import get_model_syops
from syops.errors import SyopsValueError


def test_keys_and_values_are_those_of_neurobench():
    """Expected is what `neurobench.benchmarks.Benchmark.run` of version 2.3.0 returns."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    network[0].weight.data[0, :3] = 0
    x, y = (torch.rand(8, 6) < 0.4).float(), torch.randint(0, 3, (8,))
    batches = [(x[:4], y[:4]), (x[4:], y[4:])]
    found = get_model_syops(network, batches, zeros=True).to_neurobench()
    assert found["ConnectionSparsity"] == pytest.approx(0.0667, abs=5e-5)  # rounded there
    assert json.loads(json.dumps(found)) == {
        "Footprint": 212,
        "ConnectionSparsity": found["ConnectionSparsity"],
        "ClassificationAccuracy": 0.125,
        "ActivationSparsity": 0.725,
        "SynapticOperations": {"Effective_MACs": 4.125, "Effective_ACs": 9.625, "Dense": 45.0},
    }


def test_membrane_updates_have_their_key():
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    network = nn.Sequential(nn.Linear(4, 3), neuron.IFNode())
    found = get_model_syops(network, torch.eye(4), zeros=True).to_neurobench()
    assert found["MembraneUpdates"] == 3.0  # three neurons at the first step


def test_counts_without_zeros_are_an_error():
    with pytest.raises(SyopsValueError, match="zeros=True"):
        get_model_syops(nn.Linear(4, 3), torch.eye(4)).to_neurobench()
