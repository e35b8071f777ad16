"""A count that is kept in a file: going on from it, and what is refused."""

from __future__ import annotations

import errno
import os
import signal

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.kills import try_kills
from syops import get_model_syops
from syops.cost.energy import EnergyModel
from syops.errors import SyopsFileError, SyopsTypeError, SyopsValueError
from syops.run import keeping
from syops.run.checkpoint import read

X = torch.rand(23, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(23) % 3
BATCHES = 6


class Drawing(nn.Module):
    """A network whose spikes are drawn from torch's and NumPy's random numbers."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        x = (torch.rand_like(x) < x).float()
        hidden = self.first(x) > 0.2 * float(np.random.rand())
        return self.second(hidden.float())


class Asleep(nn.Linear):
    """A layer that must not run."""

    def forward(self, x):
        raise AssertionError


class Failing:
    """The batches of a loader, up to one that cannot be read."""

    def __init__(self, loader, at):
        self.loader, self.at = loader, at

    def __iter__(self):
        for number, batch in enumerate(self.loader):
            if number == self.at:
                raise OSError("the disk is gone")
            yield batch


def net():
    torch.manual_seed(0)
    np.random.seed(0)
    return Drawing()


def loader(labels=Y):
    return DataLoader(TensorDataset(X, labels), batch_size=4, shuffle=True)


def begun(file, at=3, **options):
    with pytest.raises(OSError, match="the disk is gone"):
        get_model_syops(net(), Failing(loader(), at), checkpoint=file, **options)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "count.checkpoint"


@pytest.fixture(scope="module")
def whole():
    return get_model_syops(net(), loader())


def same(report, whole):
    told = (report.provenance.weights, report.provenance.data, report.provenance.seeds)
    assert told == (whole.provenance.weights, whole.provenance.data, whole.provenance.seeds)
    return report == whole


def test_a_count_goes_on_where_it_ended(file, whole):
    """Also the order of shuffled samples and the random numbers of the model."""
    assert whole.scores is not None
    for at in (0, 1, 2, 2, 5):
        begun(file, at)
        assert read(file).batches == at if at else not file.exists()
    report = get_model_syops(net(), loader(), checkpoint=file)
    assert same(report, whole)
    assert read(file).batches == BATCHES


def test_what_is_measured_beside_the_counts_is_kept(file):
    layer = nn.Sequential(nn.Linear(4, 3), neuron.IFNode(0.2))
    options = {"zeros": True, "spread": True, "neuron_rates": True}
    batches = list(X.round().split(4))
    whole = get_model_syops(layer, batches, **options)
    for at in (2, 5):
        with pytest.raises(OSError, match="gone"):
            get_model_syops(layer, Failing(batches, at), checkpoint=file, **options)
    report = get_model_syops(layer, batches, checkpoint=file, **options)
    assert same(report, whole)
    assert report.zero_counts == whole.zero_counts is not None
    assert report.spread == whole.spread is not None
    assert report.neuron_layers == whole.neuron_layers is not None
    assert 0 < whole.neuron_layers[0].spikes < 23 * 3


def test_a_complete_count_is_not_run_again(tmp_path):
    layer = nn.Linear(4, 3)
    asleep = Asleep(4, 3)
    asleep.load_state_dict(layer.state_dict())
    asleep.__class__.__name__ = "Linear"
    inputs = [X[:10], X[10:]]
    report = get_model_syops(layer, inputs, checkpoint=tmp_path / "x")
    assert get_model_syops(asleep, inputs, checkpoint=tmp_path / "x") == report
    grown = [*inputs, X[:1]]
    assert same(
        get_model_syops(layer, grown, checkpoint=tmp_path / "x"), get_model_syops(layer, grown)
    )


def test_what_was_counted_before_an_error_is_in_the_report_and_in_the_file(file, whole):
    for samples in (8, 8):  # the second time nothing new is counted
        with pytest.raises(OSError, match="the disk is gone") as caught:
            get_model_syops(net(), Failing(loader(), 2), checkpoint=file)
        assert caught.value.report.samples == samples
        assert "at batch 2 (the first is 0), after 8 samples" in caught.value.report.ended[0]
    assert read(file).report.samples == 8
    assert read(file).report.ended == ()
    assert same(get_model_syops(net(), loader(), checkpoint=file), whole)


@pytest.mark.parametrize("presses", [1, 2])
def test_an_interrupt_leaves_whole_batches(file, whole, presses):
    class Pressing(Drawing):
        calls = 0

        def forward(self, x):
            Pressing.calls += x.device.type != "meta"
            found = super().forward(x)
            if Pressing.calls == 3 and x.device.type != "meta":
                for _ in range(presses):
                    signal.raise_signal(signal.SIGINT)
            return found

    Pressing.__name__ = "Drawing"
    net()  # seeds
    network = Pressing()
    network.load_state_dict(net().state_dict())
    with pytest.raises(KeyboardInterrupt):
        get_model_syops(network, loader(), checkpoint=file, checkpoint_seconds=0)
    assert read(file).batches == 4 - presses
    assert same(get_model_syops(net(), loader(), checkpoint=file), whole)


def test_a_batch_with_a_bad_label_is_not_in_the_file(tmp_path):
    layer = nn.Linear(4, 3)
    good = [(X[:4], Y[:4]), (X[4:8], Y[4:8]), (X[8:12], Y[8:12])]
    bad = [*good[:2], (X[8:12], Y[8:12] + 7)]
    for seconds in (0, 60):
        file = tmp_path / str(seconds)
        with pytest.raises(SyopsValueError, match=r"batch 2 .*: labels"):
            get_model_syops(layer, bad, checkpoint=file, checkpoint_seconds=seconds)
        assert not file.exists() or read(file).batches == 2
        report = get_model_syops(layer, good, checkpoint=file)
        assert same(report, get_model_syops(layer, good))


def test_a_full_disk(file, whole, monkeypatch):
    begun(file, 2)
    content = file.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        for seconds, samples in ((0, 12), (60, 23)):
            with pytest.raises(SyopsFileError) as caught:
                get_model_syops(net(), loader(), checkpoint=file, checkpoint_seconds=seconds)
            assert "No space left on device; the checkpoint still has the first 2 batches" in str(
                caught.value
            )
            assert caught.value.report.samples == samples
        assert file.read_bytes() == content
        assert os.listdir(file.parent) == [file.name]
        with pytest.raises(SyopsFileError, match="the checkpoint was not written"):
            get_model_syops(net(), loader(), checkpoint=file.with_name("new"))
    assert same(get_model_syops(net(), loader(), checkpoint=file), whole)


def test_checkpoints_come_by_time(file, monkeypatch):
    made, now = [], [0.0]
    monkeypatch.setattr(keeping, "write", lambda path, checkpoint: made.append(checkpoint.batches))
    monkeypatch.setattr(keeping.time, "monotonic", lambda: now[0])

    def ticking():
        for batch in loader():
            now[0] += 4
            yield batch

    get_model_syops(net(), ticking(), checkpoint=file, checkpoint_seconds=10)
    assert made == [3, 6]
    made.clear()
    get_model_syops(net(), ticking(), checkpoint=file, checkpoint_seconds=0)
    assert made == [1, 2, 3, 4, 5, 6]
    made.clear()
    get_model_syops(net(), ticking(), checkpoint=file, checkpoint_seconds=1e9)
    assert made == [6]


def other_network():
    network = net()
    with torch.no_grad():
        network.second.bias[0] += 1
    return network


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"limit": 9}, "limit: there None, here 9"),
        ({"graded": "ac"}, "convention: there .*graded='mac'.*, here .*graded='ac'"),
        ({"time_steps": 2}, "time_steps: there None, here 2"),
        ({"energy": "horowitz45-int8"}, "energy: "),
        ({"output": 0}, "output: there None, here 0"),
        ({"prepare": lambda batch: batch[0]}, "prepare: there None"),
        ({"neurons": {nn.ReLU: "graded"}}, "neurons: there {}, here {'ReLU'"),
    ],
)
def test_other_options_are_refused(file, options, told):
    begun(file)
    content = file.read_bytes()
    with pytest.raises(SyopsValueError, match=f"checkpoint of another count \\(.*{told}"):
        get_model_syops(net(), loader(), checkpoint=file, **options)
    assert file.read_bytes() == content


def test_prices_that_differ_far_behind_are_refused(file):
    begun(file, energy=EnergyModel("mine", 1, 2, technology="90 nm " * 20))
    other = EnergyModel("mine", 1, 2, technology="90 nm " * 20 + "!")
    with pytest.raises(SyopsValueError, match="checkpoint of another count .energy"):
        get_model_syops(net(), loader(), checkpoint=file, energy=other)


def test_other_networks_weights_and_versions_are_refused(file, monkeypatch):
    begun(file)
    layer = nn.Linear(4, 3)
    with pytest.raises(SyopsValueError, match="model: there 'Drawing', here 'Linear'"):
        get_model_syops(layer, loader(), checkpoint=file)
    with pytest.raises(SyopsValueError, match="weights: there [0-9a-f]{12}, here [0-9a-f]{12}"):
        get_model_syops(other_network(), loader(), checkpoint=file)
    monkeypatch.setattr(keeping, "versions", lambda: {"torch": "2.6.0"})
    with pytest.raises(SyopsValueError, match=r"versions: there .*, here \{'torch': '2.6.0'\}"):
        get_model_syops(net(), loader(), checkpoint=file)


def test_other_data_is_refused(file):
    begun(file)
    content = file.read_bytes()
    for other in (loader(1 - Y), list(loader())[:2], [(x, y) for x, y in loader()][::-1]):
        with pytest.raises(SyopsValueError, match="checkpoint of other data"):
            get_model_syops(net(), other, checkpoint=file)
    network = net()
    torch.manual_seed(7)  # another order
    with pytest.raises(SyopsValueError, match="needs the same seed"):
        get_model_syops(network, loader(), checkpoint=file)
    assert file.read_bytes() == content


def test_another_batch_size_is_named(file):
    begun(file)
    smaller = [(x[:2], y[:2]) for x, y in loader()]
    with pytest.raises(SyopsValueError, match="Give the batch size that it was begun with"):
        get_model_syops(net(), smaller, checkpoint=file)


def test_torn_files_are_named_and_left_alone(file):
    begun(file)
    content = file.read_bytes()
    torn = [content[:size] for size in (0, 1, 40, 110, 5000, len(content) - 1)]
    changed = [bytearray(content) for _ in range(3)]
    for place, copy in zip((200, 9000, len(content) - 3), changed, strict=True):
        copy[place] ^= 1
    for bad in (*torn, *map(bytes, changed), b"my notes", b"{}\n{}", b"\xff\xfe\x00"):
        file.write_bytes(bad)
        with pytest.raises(SyopsFileError, match="count.checkpoint"):
            get_model_syops(net(), loader(), checkpoint=file)
        assert file.read_bytes() == bad
    file.write_bytes(content.replace(b'"syops checkpoint": 1', b'"syops checkpoint": 2'))
    with pytest.raises(SyopsFileError, match="checkpoint of version 2, this syops reads 1"):
        get_model_syops(net(), loader(), checkpoint=file)


def test_time_steps_of_each_batch_may_differ(file):
    network = nn.Linear(4, 3)
    frames = [
        X[:20].reshape(5, 4, 4).round(),
        X[:12].reshape(3, 4, 4).round(),
        X[:8].reshape(2, 4, 4),
    ]
    whole = get_model_syops(network, frames, unroll=0)
    for at in (1, 2):
        with pytest.raises(OSError, match="gone"):
            get_model_syops(network, Failing(frames, at), unroll=0, checkpoint=file)
    assert same(get_model_syops(network, frames, unroll=0, checkpoint=file), whole)


def test_limit_cuts_the_last_batch_once(file):
    begun(file, 2, limit=10)
    whole = get_model_syops(net(), loader(), limit=10)
    for _ in range(2):
        assert same(get_model_syops(net(), loader(), limit=10, checkpoint=file), whole)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"checkpoint": 5}, SyopsTypeError, "checkpoint must be a path, got int"),
        ({"checkpoint": "/nowhere/x"}, SyopsFileError, "cannot write /nowhere/x"),
        ({"checkpoint": "/"}, SyopsFileError, "cannot read /"),
        ({"stop_when": 0.1}, SyopsValueError, "stop_when needs all samples in one process"),
        ({"keep_samples": "x.npz"}, SyopsValueError, "keep_samples .* leave out checkpoint"),
        ({"checkpoint_seconds": -1}, SyopsValueError, "checkpoint_seconds must be 0 or more"),
        ({"checkpoint_seconds": "1"}, SyopsTypeError, "checkpoint_seconds must be a number"),
        ({"checkpoint_seconds": float("nan")}, SyopsValueError, "must be 0 or more, got nan"),
    ],
)
def test_bad_arguments(file, options, error, told):
    with pytest.raises(error, match=told):
        get_model_syops(net(), loader(), **({"checkpoint": file} | options))


def test_what_cannot_be_told_from_others_is_refused(file):
    with pytest.raises(SyopsValueError, match="batches hold objects"):
        get_model_syops(net(), [(X, object())], checkpoint=file, prepare=lambda batch: batch[0])
    network = net()
    network.register_buffer("mask", torch.eye(3).to_sparse())
    with pytest.raises(SyopsValueError, match="weights cannot be read"):
        get_model_syops(network, loader(), checkpoint=file)
    assert not file.exists()


@pytest.mark.slow
def test_killed_counts_go_on():
    tried = try_kills(4, seed=1)
    assert tried.counts >= 1
    assert not tried.differ
