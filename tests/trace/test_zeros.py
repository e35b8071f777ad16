"""Zeros: pairs of inputs and weights by running the layer itself, updates and shares by hand."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import snntorch as snn
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from torch.nn.utils import prune

from syops import Report, create_model, get_model_syops
from syops.errors import SyopsTypeError, SyopsValueError
from syops.models.demo import digits, weights


def zeros_of(model, inputs, **more):
    return get_model_syops(model, inputs, zeros=True, **more).zeros()


# Each with the shape of a sample.
LAYERS = [
    (nn.Linear(7, 5), (7,)),
    (nn.Linear(7, 5), (3, 7)),
    (nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (4, 9)),
    (nn.Conv1d(4, 4, 4, padding="same", dilation=2, padding_mode="circular"), (4, 12)),
    (nn.Conv2d(2, 3, (2, 3), padding=(1, 2)), (2, 5, 6)),
    (nn.Conv2d(2, 4, 3, padding="same", groups=2, dilation=2), (2, 6, 5)),
    (nn.Conv2d(2, 3, 3, padding=(2, 1), padding_mode="reflect"), (2, 5, 6)),
    (nn.Conv3d(2, 2, 2, padding="valid", padding_mode="replicate"), (2, 3, 4, 3)),
    (nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2), (4, 5)),
    (nn.ConvTranspose2d(3, 2, (3, 2), stride=(1, 2), dilation=(2, 1)), (3, 4, 3)),
    (nn.ConvTranspose3d(2, 3, 2, padding=1), (2, 3, 3, 4)),
    (layer.Conv2d(2, 3, 3, padding=1, step_mode="m"), (2, 2, 4, 4)),
]


@pytest.mark.parametrize(("original", "shape"), LAYERS, ids=lambda value: str(value)[:24])
@pytest.mark.parametrize("spiking", [True, False])
def test_pairs_are_what_the_layer_adds_up_of_ones(original, shape, spiking):
    torch.manual_seed(0)
    model = copy.deepcopy(original)
    model.weight.data[torch.rand(model.weight.shape) < 0.4] = 0
    x = torch.randint(-1, 2 if spiking else 3, (3, *shape)).float()
    x[0] *= 1 if spiking else 0.5
    ones = copy.deepcopy(original).double()
    nn.init.zeros_(ones.bias)

    def added(inputs, weight):
        ones.weight.data = weight.double()
        with torch.no_grad():
            return int(ones(inputs.double()).sum())

    zeros = zeros_of(model, x)
    effective = added(x != 0, model.weight != 0)
    assert zeros.dense * 3 == added(torch.ones_like(x), torch.ones_like(model.weight))
    assert (zeros.effective_ac * 3, zeros.effective_mac * 3) == (
        (effective, 0) if spiking else (0, effective)
    )
    assert zeros.connection_sparsity == float((model.weight == 0).double().mean())
    assert zeros.rows[0].sparsity == pytest.approx(float((x == 0).double().mean()))


def test_spikes_reach_as_many_weights_as_events_say():
    """With no zero weights, effective ACs of a whole network are those of the fan-outs."""
    images, _ = digits()
    model = create_model("fsnn_digits", weights=weights("fsnn_digits"))
    report = get_model_syops(model, list(images[:6].split(3)), zeros=True)
    zeros = report.zeros()
    spikes = [layer.path for layer in report.layers if layer.signal == "binary"]
    assert zeros.effective_ac == report.ac_events
    assert {row.name for row in zeros.rows if row.effective_ac} == set(spikes)
    assert zeros.not_measured == ()


class Two(nn.Module):
    """A linear layer before a neuron of snnTorch that never fires."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3, bias=False)
        self.fc.weight.data = torch.eye(3)
        self.lif = snn.Leaky(beta=0.5, threshold=100.0, init_hidden=True)

    def forward(self, x):
        return self.lif(self.fc(x))


def test_membrane_updates_by_hand():
    # [N, T, C]: the first step counts all 3; then potentials that are not zero halve, or get input.
    x = torch.tensor([[[1.0, 0, 0], [0, 0, 0], [0, 2, 0]], [[0, 0, 0], [0, 0, 0], [0, 0, 0]]])
    report = get_model_syops(Two(), list(x.split(1)), unroll=1, zeros=True)
    zeros = report.zeros()
    assert zeros.membrane_updates * 2 == (3 + 1 + 2) + (3 + 0 + 0)
    assert zeros.activation_sparsity == 1
    assert zeros.footprint == 4 * 9 + sum(b.nbytes for b in Two().buffers())
    assert zeros.untimed == ()


def test_neurons_that_make_several_steps_are_named():
    model = nn.Sequential(layer.Linear(3, 3), neuron.LIFNode(), nn.ReLU())
    functional.set_step_mode(model, "m")
    zeros = zeros_of(model, torch.ones(4, 2, 3), batch_dim=1)
    assert zeros.membrane_updates is None
    assert zeros.untimed == ("1",)
    assert any("several time-steps" in note for note in zeros.notes)


def test_activations_are_modules_of_torch_and_neurons():
    x = torch.tensor([[-1.0, 2, 0, 3]])
    model = nn.Sequential(nn.ReLU(), nn.Sigmoid(), nn.Softmax(-1), nn.Hardtanh(0, 1))
    zeros = zeros_of(model, x)
    assert [row.sparsity for row in zeros.rows] == [0.5, 0, 0]
    assert zeros.activation_sparsity == 2 / 12
    assert zeros.nonzero_share is zeros.connection_sparsity is None


def test_pruned_weights_are_counted_with_hooks_in_place():
    model = nn.Linear(10, 4)
    prune.random_unstructured(model, "weight", 0.25)
    zeros = zeros_of(model, torch.ones(1, 10))
    assert (zeros.effective_ac, zeros.connection_sparsity) == (30, 0.25)


def test_what_is_no_watched_layer_is_named():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.rand(3, 4))
            self.rnn, self.fc = nn.RNNCell(3, 2), nn.Linear(2, 2)

        def forward(self, x):
            return self.fc(self.rnn(nn.functional.linear(x, self.weight)))

    zeros = zeros_of(Functional(), torch.rand(2, 4))
    assert zeros.not_measured[0] == "Functional"
    assert {name.split(":")[0] for name in zeros.not_measured} == {"Functional", "rnn"}
    assert zeros.dense == 4
    assert any("Not measured" in note for note in zeros.notes)


class Remembers(nn.Module):
    """Has a buffer that turns out to be a state, so that the first batch runs twice."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.register_buffer("last", torch.zeros(1, 4))

    def forward(self, x):
        out = self.fc(x) + x @ self.last.t().expand(-1, 4)
        self.last = out[:1].detach()
        return out


def test_a_batch_that_runs_twice_counts_once():
    x = torch.eye(4)
    zeros = zeros_of(Remembers(), [x, x, x])
    assert (zeros.effective_ac, zeros.dense) == (4, 16)


def test_the_model_and_torch_are_left_as_found():
    model, module = Two(), torch.nn.modules.module
    tables = module._global_forward_hooks, module._global_forward_pre_hooks
    before = [dict(table) for table in tables]
    plain = get_model_syops(model, torch.eye(3).reshape(1, 3, 3), unroll=1)
    zeroed = get_model_syops(model, torch.eye(3).reshape(1, 3, 3), unroll=1, zeros=True)
    assert [dict(table) for table in tables] == before
    assert zeroed.rows == plain.rows
    with pytest.raises(Exception, match="failed"):
        get_model_syops(model, torch.ones(1, 2, 5), unroll=1, zeros=True)
    assert [dict(table) for table in tables] == before


def test_reports_with_zeros_merge_and_are_saved():
    x = torch.randint(-1, 2, (4, 10)).float()
    model = nn.Sequential(nn.Linear(10, 4), nn.ReLU(), nn.Linear(4, 2))
    parts = [get_model_syops(model, part, zeros=True) for part in x.split(2)]
    whole, merged = get_model_syops(model, x, zeros=True), parts[0].merge(parts[1])
    assert merged.zeros().rows == whole.zeros().rows
    assert Report.from_json(whole.to_json()) == whole
    assert parts[0].merge(replace(parts[1], zero_counts=None)).zero_counts is None
    damaged = json.loads(whole.to_json())
    damaged["zeros"]["modules"][0]["effective"] = 10**6
    with pytest.raises(SyopsValueError, match="effective must be at most dense"):
        Report.from_json(json.dumps(damaged))
    told = json.loads(whole.zeros().to_json())
    assert told["per_sample"]["dense"] == 48
    assert "Connection sparsity" in str(whole.zeros())


def test_a_measured_ann_tells_the_share_of_a_baseline():
    ann = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 2))
    ann[0].weight.data = torch.eye(4)
    measured = get_model_syops(ann, torch.tensor([[-1.0, 2, 0, 0]]), time_steps=1, zeros=True)
    share = (2 * 4 + 1 * 2) / 24
    assert measured.baselines(nonzero=measured).nonzero == share
    with pytest.raises(SyopsValueError, match="zeros=True"):
        measured.baselines(nonzero=replace(measured, zero_counts=None))


def test_zeros_that_were_not_measured_are_an_error():
    report = get_model_syops(nn.Linear(2, 2), torch.eye(2))
    with pytest.raises(SyopsValueError, match="zeros=True"):
        report.zeros()
    with pytest.raises(SyopsTypeError, match="zeros must be True or False, got 1"):
        get_model_syops(nn.Linear(2, 2), torch.eye(2), zeros=1)
