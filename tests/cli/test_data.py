"""`syops run --data`: every kind of source, its options, and what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

X = torch.eye(4).repeat(5, 1)
Y = torch.arange(20) % 4

SOURCE = """
import os, signal, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

x, y = torch.eye(4).repeat(5, 1), torch.arange(20) % 4

def net(): return nn.Sequential(nn.Identity(), nn.Linear(4, 4))
def loader(): return DataLoader(TensorDataset(x, y), 8)
def samples(): return TensorDataset(x, y)
def batches():
    yield from zip(x.split(8), y.split(8))
def broken():
    yield x[:8], y[:8]
    raise ValueError("no more")
def pressed():
    yield x[:8], y[:8]
    os.kill(os.getpid(), signal.SIGINT)
    yield x[8:], y[8:]
def number(): return 3
"""


@pytest.fixture
def mine(here):
    (here / "mine.py").write_text(SOURCE)
    np.savez(here / "xy.npz", x=X.numpy(), y=Y.numpy())
    np.save(here / "x.npy", X.numpy())
    np.save(here / "y.npy", Y.numpy())
    return here


def test_all_sources_count_the_same(syops, mine):
    found = []
    for source in (
        ("xy.npz", "--batch-size", 8),
        ("x.npy", "--labels", "y.npy", "--shuffle", "--workers", 1),
        ("mine:loader",),
        ("mine:samples", "--batch-size", 3),
        ("mine:batches",),
    ):
        status, out, err = syops("run", "mine:net", "--data", *source, "--format", "json")
        assert status == 0, err
        found.append(json.loads(out))
    for each in found:
        assert each["samples"] == 20
        assert each["totals"] == found[0]["totals"]
        assert each["scores"]["samples"] == [5, 5, 5, 5]
        assert each["scores"] == found[0]["scores"]


def test_limit_and_no_accuracy(syops, mine):
    command = ("run", "mine:net", "--data", "xy.npz", "--format", "json", "--limit", 7)
    status, out, _ = syops(*command, "--logits", "none")
    assert status == 0
    report = json.loads(out)
    assert (report["samples"], report["accuracy"], report["notes"]) == (7, None, [])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--data", "nothing"), "--data nothing does not exist; expected one of: a file .npy"),
        (("--data", "mine.py"), "is of no kind that can be read"),
        (("--data", "mine:number"), "returned int: expected a data set"),
        (("--data", "mine:nothing"), "cannot be called: AttributeError"),
        (("--data", "mine:loader", "--batch-size", 3), "--batch-size does not apply"),
        (("--data", "mine:loader", "--labels", "y.npy"), "--labels does not apply"),
        (("--data", "xy.npz", "--transform", "imagenet"), "--transform does not apply"),
        (("--data", "x.npy", "--input", "x.npy"), "give one of them"),
        (("--shuffle",), "--shuffle needs --data"),
        (("--data", "xy.npz", "--logits", "spike"), "output='spike': the model's output has"),
        (("--data", "empty"), "has no images"),
    ],
)
def test_errors_are_one_line(syops, mine, options, text):
    (mine / "empty").mkdir()
    status, _, err = syops("run", "mine:net", *options)
    assert status == 2
    assert text in err
    assert len([line for line in err.splitlines() if line.startswith("syops: error")]) == 1


def test_error_at_a_batch_prints_what_was_counted(syops, mine):
    status, out, err = syops("run", "mine:net", "--data", "mine:broken", "--format", "json")
    assert status == 2
    report = json.loads(out)
    assert report["samples"] == 8
    assert report["ended"][0].startswith("the count was ended by an error")
    assert "batch 1 (the first is 0), after 8 samples: mine:broken failed" in err


def test_interrupt_prints_what_was_counted(syops, mine):
    status, out, err = syops("run", "mine:net", "--data", "mine:pressed", "--format", "json")
    assert status == 130
    report = json.loads(out)
    assert report["samples"] == 8
    assert report["ended"][0].startswith("the count was interrupted at batch 1")
    assert "interrupted" in err


def test_report_that_cannot_be_written_is_printed(syops, mine, monkeypatch):
    def full(path, text, encoding):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("pathlib.Path.write_text", full)
    command = ("run", "mine:net", "--data", "xy.npz", "--format", "json", "-o", "out.json")
    status, out, err = syops(*command)
    assert status == 2
    assert json.loads(out)["samples"] == 20
    assert "cannot write out.json: No space left on device" in err


def test_checkpoint(syops, mine):
    command = ("run", "mine:net", "--data", "xy.npz", "--batch-size", 6, "--format", "json")
    _, plain, _ = syops(*command)
    first = syops(*command, "--checkpoint", "count", "--checkpoint-seconds", 0)
    assert first[0] == 0
    assert "the whole count is kept in count; remove it to count anew" in first[2]
    again = syops(*command, "--checkpoint", "count")
    assert "count is there" in again[2]
    for _, out, _ in (first, again):
        content = json.loads(out)
        assert "--checkpoint count" in content["provenance"]["calls"][0]
        content["provenance"]["calls"] = json.loads(plain)["provenance"]["calls"]
        assert content == json.loads(plain)
    Path("count").write_text(Path("count").read_text()[:-1])
    status, out, err = syops(*command, "--checkpoint", "count")
    assert (status, out) == (2, "")
    assert "syops: error: count is torn or was changed: its checksum is wrong" in err
