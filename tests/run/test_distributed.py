"""Processes that share a data set out: gloo, uneven shares, and processes that fail."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from spikingjelly.activation_based import neuron
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from syops import Report, get_model_syops
from syops.errors import SyopsError, SyopsRuntimeError, SyopsTypeError, SyopsValueError
from syops.run.checkpoint import read

X = torch.rand(23, 4, generator=torch.Generator().manual_seed(0)).round()
Y = torch.arange(23) % 3


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)
        self.neurons = neuron.IFNode(1e-6)

    def forward(self, x):
        return self.second(self.neurons(self.first(x)))


class Breaking:
    """The batches of a loader; on one process, a call instead of one of them."""

    def __init__(self, loader, at, rank, do):
        self.loader, self.at, self.rank, self.do = loader, at, rank, do

    def __iter__(self):
        for number, batch in enumerate(self.loader):
            if number == self.at and dist.get_rank() == self.rank:
                self.do()
            yield batch


def net():
    torch.manual_seed(0)
    return Net()


def loader(size=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(TensorDataset(X, Y), size, shuffle=True, generator=generator)


def share(rank, size, folder, make, options):
    """Count in one process, and write what comes of it."""
    store, patience = f"file://{folder}/store", timedelta(seconds=60)
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=size, timeout=patience)
    options = {"distributed": True, "progress": False} | options(rank)
    try:
        report, told = get_model_syops(net(), make(rank), **options), "done"
    except (SyopsError, OSError, KeyboardInterrupt) as error:
        report, told = getattr(error, "report", None), f"{type(error).__name__}: {error}"
    (folder / f"{rank}.txt").write_text(told)
    if report is not None:
        report.save(folder / f"{rank}.json")
    os._exit(0)  # without the teardown of what was forked


def counted(folder, size, make=lambda rank: loader(), options=lambda rank: {}):
    """Return for each process what it says, and its report; None where it was killed."""
    for old in folder.glob("[0-9s]*"):
        old.unlink()
    fork = multiprocessing.get_context("fork")
    args = [(rank, size, folder, make, options) for rank in range(size)]
    processes = [fork.Process(target=share, args=each) for each in args]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode is not None
    found = []
    for rank in range(size):
        said, saved = folder / f"{rank}.txt", folder / f"{rank}.json"
        report = Report.load(saved) if saved.exists() else None
        found.append((said.read_text() if said.exists() else None, report))
    return found


@pytest.fixture(scope="module")
def whole():
    return get_model_syops(net(), loader())


def same(report, whole):
    assert report.provenance.data == whole.provenance.data
    assert report.provenance.weights == whole.provenance.weights
    return report == whole


@pytest.mark.parametrize("size", [2, 3])
def test_uneven_shares_are_the_counts_of_one_process(tmp_path, whole, size):
    """8 batches of 3 samples, the last one of 2."""
    for told, report in counted(tmp_path, size):
        assert told == "done"
        assert same(report, whole)


def test_more_processes_than_batches(tmp_path, whole):
    for told, report in counted(tmp_path, 3, lambda rank: loader(12)):
        assert told == "done"
        assert same(report, get_model_syops(net(), loader(12)))
    assert {told for told, _ in counted(tmp_path, 2, lambda rank: iter([]))} == {
        "SyopsValueError: inputs: the loader gave no batch"
    }


def test_limit_is_that_of_all_processes(tmp_path):
    options = {"limit": 10, "neuron_rates": True}
    one = get_model_syops(net(), loader(), **options)
    assert 0 < one.neuron_layers[0].spikes < one.neuron_layers[0].entries == 60
    for _, report in counted(tmp_path, 2, options=lambda rank: options):
        assert same(report, one)


def test_an_error_in_one_process_is_told_to_all(tmp_path):
    def fail():
        raise OSError("the disk is gone")

    found = counted(tmp_path, 2, lambda rank: Breaking(loader(), 5, 1, fail))
    assert found[1][0] == "OSError: the disk is gone"
    assert found[0][0].startswith("SyopsRuntimeError: process 1 of 2 failed: OSError: the disk")
    for _, report in found:  # batches 0, 2, 4, 6 and 1, 3
        assert report.samples == 6 * 3
        assert any("at batch 5" in note for note in report.ended)


def test_a_process_that_dies_fails_the_others_and_can_go_on(tmp_path, whole):
    file = tmp_path / "count"

    def kept(rank):
        return {"checkpoint": file, "checkpoint_seconds": 0}

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    found = counted(tmp_path, 2, lambda rank: Breaking(loader(), 5, 1, die), kept)
    told, report = found[0]
    assert "process 0 of 2: another process has died or does not answer" in told
    assert report.samples == 4 * 3
    assert report.ended == (told.removeprefix("SyopsRuntimeError: "),)
    assert found[1] == (None, None)
    assert [read(tmp_path / f"count.{rank}-of-2").batches for rank in (0, 1)] == [4, 2]
    for _ in range(2):
        for told, report in counted(tmp_path, 2, options=kept):
            assert told == "done"
            assert same(report, whole)


def test_other_orders_are_refused(tmp_path):
    for told, report in counted(tmp_path, 2, lambda rank: loader(seed=rank)):
        assert told.startswith("SyopsRuntimeError: distributed: the processes read other batches")
        assert report is None


def test_what_cannot_be_shared_out(tmp_path):
    with pytest.raises(SyopsRuntimeError, match="there is no process group"):
        get_model_syops(net(), loader(), distributed=True)

    def sampled(rank):
        data = TensorDataset(X, Y)
        return DataLoader(data, 3, sampler=DistributedSampler(data))

    for make, kind in ((sampled, SyopsValueError), (lambda rank: X, SyopsTypeError)):
        for told, _ in counted(tmp_path, 2, make):
            assert told.startswith(f"{kind.__name__}: distributed: ")


@pytest.mark.slow
def test_torchrun(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def net():\n    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))\n"
        "def data():\n    return torch.utils.data.TensorDataset(torch.eye(4).repeat(6, 1)[:23],"
        " torch.arange(23) % 3)\n"
    )
    run = (
        "-m",
        "syops",
        "run",
        "mine:net",
        "--data",
        "mine:data",
        "--batch-size",
        "3",
        "--format",
        "json",
    )
    one = [sys.executable, *run, "-o", "one.json"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=3"]
    many = [*torchrun, *run, "--shuffle", "--distributed", "-o", "many.json"]
    for command in (one, many):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    reports = [Report.load(tmp_path / f"{name}.json") for name in ("one", "many")]
    assert reports[1].totals == reports[0].totals
    assert reports[1].provenance.data == reports[0].provenance.data
    assert done.stdout == ""
