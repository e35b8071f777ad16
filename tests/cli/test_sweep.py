"""`syops run --sweep`: one network with several values of an argument, side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from syops import Report, compare

MINE = """
import torch
from torch import nn

class Net(nn.Module):
    '''Its first layer gets as many spikes at each time-step as the input has ones.'''
    def __init__(self, T=1, wide=False):
        super().__init__()
        self.T, self.out = T, nn.Linear(4, 6 if wide else 3)

    def forward(self, x):
        return sum(self.out((x > 0.5).float()) for _ in range(self.T)) / self.T

class Data(torch.utils.data.Dataset):
    broken = None
    def __len__(self):
        return 12
    def __getitem__(self, index):
        if index == 8 and self.broken is not None and torch.initial_seed() == 1:
            raise OSError("unreadable")
        return torch.eye(4)[index % 4], index % 3

class Broken(Data):
    broken = True
"""


@pytest.fixture
def mine(here):
    (here / "sweeping.py").write_text(MINE)
    return here


def run(syops, *more):
    return syops("run", "sweeping:Net", "--data", "sweeping:Data", "--batch-size", 4, *more)


def test_energy_against_accuracy_over_t(syops, mine):
    """One spike a sample and time-step, 3 synapses each, 0.9 pJ: 2.7 T pJ."""
    status, out, err = run(
        syops,
        "--sweep",
        "T=1,2,8",
        "--picture",
        "t.svg",
        "--format",
        "json",
        "--checkpoint",
        "kept",
    )
    assert status == 0, err
    rows = json.loads(out)["rows"]
    assert [(row["name"], row["time_steps"], row["ac"]) for row in rows] == [
        ("T=1", 1, 3.0),
        ("T=2", 2, 6.0),
        ("T=8", 8, 24.0),
    ]
    assert [row["dc_mj"] * 1e9 for row in rows] == pytest.approx([2.7, 5.4, 21.6])
    assert len({row["accuracy"] for row in rows}) == 1  # equal weights, equal steps
    drawn = Path("t.svg").read_text()
    assert "<svg" in drawn
    assert all(name in drawn for name in ("T=1", "T=2", "T=8"))
    assert sorted(path.name for path in mine.glob("kept*")) == ["kept.T=1", "kept.T=2", "kept.T=8"]


def test_each_value_is_counted_as_alone(syops, mine):
    status, out, _ = run(syops, "--sweep", "wide=False,True", "--shuffle", "--format", "csv")
    assert status == 0
    alone = []
    for wide in (False, True):
        run(syops, "--set", f"wide={wide}", "--shuffle", "-o", "one.json", "--format", "json")
        alone.append(Report.load("one.json"))
    both = compare(dict(zip(("wide=False", "wide=True"), alone, strict=True)))
    assert out == both.to_format("csv")


def test_what_was_counted_before_an_error_is_shown(syops, mine):
    command = ("run", "sweeping:Net", "--data", "sweeping:Broken", "--batch-size", 4, "--seed", 1)
    status, out, err = syops(*command, "--sweep", "T=1,2", "--format", "json")
    assert status == 2
    assert "unreadable" in err
    content = json.loads(out)
    assert [row["name"] for row in content["rows"]] == ["T=1"]
    assert "a part of the data was counted" in content["warnings"][0]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--sweep", "T=4"), "--sweep T: expected different values"),
        (("--sweep", "T=4,4"), "--sweep T: expected different values"),
        (("--sweep", "T"), "is not of the form NAME=VALUE"),
        (("--sweep", "T=1,2", "--set", "T=1"), "--set T and --sweep T: give one of them"),
        (("--sweep", "T=1,2", "--memory"), "it has no layers to show"),
        (("--sweep", "T=1,2", "--depth", 1), "it has no layers to show"),
        (("--sweep", "T=1,2", "--picture", "x.txt"), "its suffix must be .pdf, .png, .svg"),
        (("--picture", "x.svg"), "--picture needs --sweep"),
        (("--distributed",), "--distributed needs torchrun"),
    ],
)
def test_what_makes_no_sense_is_refused(syops, mine, options, text):
    status, out, err = run(syops, *options)
    assert (status, out) == (2, "")
    assert text in err
