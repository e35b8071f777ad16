"""An independent counter agrees: spikingjelly's, on a DSNN-18, as integers and layer by layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from syops import get_model_syops
from syops.models import calibrate, create_model

op_counter = pytest.importorskip(
    "spikingjelly.activation_based.op_counter", reason="this spikingjelly has no op_counter"
)


@pytest.fixture(scope="module")
def network():
    """A calibrated DSNN-18 and an image in which something is to be seen."""
    torch.manual_seed(0)
    model = create_model("dsnn18", T=4).eval()
    blobs = nn.functional.interpolate(torch.randn(1, 3, 14, 14), size=224, mode="bilinear")
    image = blobs + 0.1 * torch.randn(1, 3, 224, 224)
    calibrate(model, image)
    return model, image


@pytest.fixture(scope="module")
def theirs(network):
    """path -> (synaptic operations, MACs), BN left out; they look at the data, we derive."""
    model, image = network
    synops = op_counter.SynOpCounter()
    macs = op_counter.MACCounter(extra_ignore_modules=[nn.BatchNorm2d])
    with torch.no_grad(), op_counter.DispatchCounterMode([synops, macs]):
        model(image)
    root = type(model).__name__
    return {
        path: tuple(sum(c.get_counts()[f"{root}.{path}"].values()) for c in (synops, macs))
        for path, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    } | {"": (synops.get_total(), macs.get_total())}


@pytest.fixture(scope="module")
def report(network):
    return get_model_syops(*network, fold_bn=True)


def test_totals_are_spikingjellys_as_integers(report, theirs):
    assert report.samples == 1
    assert report.totals.ac_events > 10**8  # deep layers fire
    assert (report.totals.ac_events, report.totals.mac) == theirs[""]


def test_every_layer_is_spikingjellys_as_integers(report, theirs):
    ours = dict.fromkeys(theirs, (0, 0))
    for row in report.to_frame(totals=True).itertuples():
        if row.kind in ("conv", "linear"):
            synops, macs = ours[row.name]
            ours[row.name] = synops + row.ac_events, macs + row.mac
    del ours[""]
    assert ours == {path: counts for path, counts in theirs.items() if path}
    assert all(synops or macs for synops, macs in ours.values())


@pytest.fixture(scope="module")
def their_memory(network):
    """Bytes of each kind of access, by their counter of neuromorphic memory accesses."""
    model, image = network
    counter = op_counter.NeuromorphicMemoryAccessCounter()
    with torch.no_grad(), op_counter.ModuleCounterMode([counter], model=model):
        model(image)
    return counter.get_counts()


def test_weights_are_read_and_states_accessed_as_spikingjelly_counts(report, network, their_memory):
    """Byte by byte. Beside these they count biases, which we do not add; and we count inputs,
    outputs, and that every synaptic event reads and writes the state that it changes."""
    model, _ = network
    root = type(model).__name__
    memory, checked = report.memory(), 0
    for row in memory.rows:
        theirs = their_memory[f"{root}.{row.path}"]
        assert row.weights.bytes == theirs["weight_read_bytes"], row.name
        if row.kind == "neuron":
            states = theirs["neuron_state_read_bytes"], theirs["neuron_state_write_bytes"]
            assert (4 * row.states.reads, 4 * row.states.writes) == states, row.name
        checked += 1
    assert checked > 40
    whole = their_memory["Global"]
    assert sum(row.weights.bytes for row in memory.rows) == whole["weight_read_bytes"]
    assert whole["bias_read_bytes"] == 4 * 2 * 1000  # of the classifier, in both streams
    events = 2 * 4 * report.totals.ac_events
    neurons = sum(row.states.bytes for row in memory.rows if row.kind == "neuron")
    assert neurons == whole["neuron_state_read_bytes"] + whole["neuron_state_write_bytes"]
    assert sum(row.states.bytes for row in memory.rows) == neurons + events
