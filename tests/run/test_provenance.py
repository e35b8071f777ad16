"""Where a report comes from: calls, seeds, fingerprints of weights and data, versions."""

import json
import random
import struct
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
import snntorch
import torch
from torch import nn

from syops import Report, count_syops, get_model_bounds, get_model_syops
from syops.errors import SyopsTypeError, SyopsValueError
from syops.ledger.provenance import Provenance
from syops.run import fingerprint


class Scribbling(nn.Module):
    """A model that writes into its input."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(x.mul_(0))


def net():
    torch.manual_seed(0)
    return nn.Linear(4, 3)


X = torch.rand(12, 4, generator=torch.Generator().manual_seed(0)).round()
Y = torch.arange(12) % 3


def data_of(inputs, **options):
    return get_model_syops(net(), inputs, **options).provenance.data


def test_weights_are_hashed_by_name_shape_and_value():
    layer = net()
    digest = sha256()
    for name, shape, values in (("bias", "(3,)", layer.bias), ("weight", "(3, 4)", layer.weight)):
        digest.update(f"{name} torch.float32 {shape}\n".encode())
        digest.update(struct.pack(f"<{values.numel()}f", *values.flatten().tolist()))
    assert get_model_syops(layer, X).provenance.weights == digest.hexdigest()
    with torch.no_grad():
        layer.weight[0, 0] += 1
    assert get_model_syops(layer, X).provenance.weights != digest.hexdigest()


@pytest.mark.filterwarnings("ignore")
def test_packed_weights_of_quantised_layers_are_hashed():
    def of(layer):
        made = torch.ao.nn.quantized.dynamic.Linear.from_float(layer)
        return fingerprint.of_weights(nn.Sequential(made), ())

    for layer in (net(), net()):
        layer.qconfig = torch.ao.quantization.default_dynamic_qconfig
        assert len(of(layer)) == 64
        before = of(layer)
        with torch.no_grad():
            layer.weight[0, 0] += 1
        assert of(layer) != before


def test_data_is_hashed_sample_by_sample():
    total = 0
    for x, y in zip(X, Y, strict=True):
        digest = sha256(b".0 torch.float32 (4,)\n.1 torch.int64 ()\n")
        digest.update(struct.pack("<4f", *x.tolist()) + struct.pack("<q", y))
        total += int.from_bytes(digest.digest())
    assert data_of([(X, Y)]) == f"{total % 2**256:064x}"


def test_the_fingerprint_of_data_depends_on_no_split_and_no_order():
    draw = random.Random(0)
    whole = data_of([(X, Y)])
    for _ in range(5):
        order = torch.tensor(draw.sample(range(12), 12))
        sizes = [3, 1, 6, 2]
        batches = list(zip(X[order].split(sizes), Y[order].split(sizes), strict=True))
        assert data_of(batches) == whole
        parts = [get_model_syops(net(), [batch]) for batch in draw.sample(batches, 4)]
        assert sum(parts).provenance.data == whole
    assert data_of([(X, Y), (X[:1], Y[:1])]) != whole  # a sample twice
    assert data_of([(X, Y.flip(0))]) != whole
    changed = X.clone()
    changed[7, 2] = 1 - changed[7, 2]
    assert data_of([(changed, Y)]) != whole


def test_samples_are_told_along_any_dimension_and_where_the_last_batch_is_cut():
    steps_first = X.reshape(3, 4, 4)  # [N, T, ...]
    whole = data_of([steps_first.transpose(0, 1)], batch_dim=1)
    assert whole == data_of(list(steps_first.transpose(0, 1).split(1, 1)), batch_dim=1)
    assert whole == data_of([steps_first.transpose(0, 1)], unroll=0)
    assert data_of([X[:8]]) == data_of([X[:5], X[5:]], limit=8) == data_of([X], limit=8)
    assert data_of([X.numpy()[:8]]) == data_of([X.numpy()[:5], X.numpy()[5:8]])


@pytest.mark.parametrize(
    "make",
    [
        lambda x: {"image": x, "name": [f"sample {value}" for value in x[:, 0].tolist()]},
        lambda x: (x.bfloat16(), x.to(torch.complex64), x.numpy() > 0),
        lambda x: [x, {"weight": 0.5, "more": (x[:, :0], np.float32(1))}],
    ],
)
def test_batches_of_any_parts_are_split_into_samples(make):
    def of(x):
        return fingerprint.of_samples(make(x), len(x), (0,))

    assert of(X) == of(X[:5]) + of(X[5:])
    assert of(X) != of(1 - X)


def test_what_cannot_be_read_is_not_known():
    batches = [(X, object()), (X, Y)]
    assert data_of(batches, prepare=lambda batch: batch[0]) is None
    assert data_of(batches[1:], prepare=lambda batch: batch[0]) == data_of([(X, Y)])
    assert fingerprint.of_samples(X.to_sparse(), 12, (0,)) is None


def test_a_model_that_writes_into_its_input():
    report = get_model_syops(Scribbling(), [X.clone()])
    assert report.provenance.data == data_of([X])


def test_states_in_buffers_are_no_weights():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 3), snntorch.Leaky(0.9, init_hidden=True))
    before = get_model_syops(network, X).provenance.weights
    network(X)
    assert network[1].mem.shape == (12, 3)
    assert get_model_syops(network, X).provenance.weights == before
    with count_syops(network, samples=12) as count:
        network(X)
        network(X)
    assert count.report.provenance.weights == before
    assert count.report.provenance.data is None


def test_calls_are_told_without_defaults():
    torch.manual_seed(7)
    report = get_model_syops(net(), X, time_steps=1, prepare=None)
    assert report.provenance.calls == ("get_model_syops(Linear, Tensor[12, 4], time_steps=1)",)
    bounds = get_model_bounds(net(), (1, 4), input_signal="binary").provenance
    assert bounds == Provenance(("get_model_bounds(Linear, [1, 4], input_signal='binary')",))
    torch.manual_seed(7)
    assert get_model_syops(nn.Linear(4, 3), X).provenance.seeds == (7,)


def test_provenance_is_kept_in_json_and_merged():
    one, two = get_model_syops(net(), X[:5]), get_model_syops(net(), [(X[5:], Y[5:])])
    assert Report.from_json(one.to_json()).provenance == one.provenance
    both = one + two
    assert both == one.merge(two) == sum([two, one]) == two + one
    assert both.provenance == (two + one).provenance
    assert len(both.provenance.calls) == 2
    assert both.provenance.seeds == (0,)
    old = replace(two, provenance=Provenance(), versions={"torch": "2.6.0", "norse": "1.1"})
    merged = old + one
    assert (merged.provenance.weights, merged.provenance.data) == (None, None)
    assert merged.versions["torch"] == ", ".join(sorted(("2.6.0", one.versions["torch"])))
    assert merged.versions == (one + old).versions
    assert merged.versions["norse"] == "1.1"


def test_reports_of_other_weights_are_not_merged():
    one, two = (get_model_syops(nn.Linear(4, 3), X) for _ in range(2))
    with pytest.raises(SyopsValueError, match="reports of different weights cannot be merged"):
        one + two
    with pytest.raises(SyopsTypeError, match="merged with another one, got int"):
        one + 1
    with pytest.raises(SyopsValueError, match="different (measured|conventions)"):
        one + get_model_bounds(net(), (12, 4))


def test_time_steps_read_from_the_data_may_differ():
    """As the batches of one count may."""
    frames = [X.reshape(4, 3, 4), X.reshape(6, 2, 4)]
    one, two = (get_model_syops(net(), [x], unroll=0) for x in frames)
    whole = get_model_syops(net(), frames, unroll=0)
    assert (one + two).time_steps is whole.time_steps is None
    assert (one + two).rows == whole.rows
    assert (one + two).totals == whole.totals
    with pytest.raises(SyopsValueError, match="different time_steps"):
        get_model_syops(net(), X, time_steps=1) + get_model_syops(net(), X, time_steps=2)


@pytest.mark.parametrize("value", ["", "0" * 63, "g" * 64, 5, ["0" * 64]])
def test_damaged_fingerprints_are_refused(value):
    content = json.loads(get_model_syops(net(), X).to_json())
    content["provenance"]["data"] = value
    with pytest.raises(SyopsValueError, match="damaged report: provenance.data must be"):
        Report.from_json(json.dumps(content))
