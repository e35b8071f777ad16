"""The ANN of Eq. (6) is counted when somebody asks for it, from the model as it was counted."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import nn

from syops import get_model_bounds, get_model_syops
from syops.ledger.rows import Drive, Row
from syops.ops.classes import ValueEvidence
from syops.trace import ann


class Steps(nn.Module):
    """T times the same layer; how often is told by T alone, or by ``steps``."""

    def __init__(self, T: int = 3) -> None:
        super().__init__()
        self.T = T
        self.fc = nn.Linear(4, 5)
        self.register_buffer("repeats", torch.tensor(2))

    def forward(self, x: torch.Tensor, steps: Any = None) -> torch.Tensor:
        times = self.T * int(self.repeats)
        return sum(self.fc(x) for _ in range(times if steps is None else len(steps)))


@pytest.fixture
def asked(monkeypatch):
    """The batches whose ANN was counted."""
    batches = []

    def one_step(shadow, args, *rest):
        batches.append(tuple(args[0].shape))
        return original(shadow, args, *rest)

    original = ann.one_step
    monkeypatch.setattr(ann, "one_step", one_step)
    return batches


def test_the_ann_is_counted_once_for_each_shape_when_it_is_asked_for(asked):
    batches = [torch.rand(2, 4), torch.rand(1, 4), torch.rand(2, 4), torch.rand(2, 4)]
    report = get_model_syops(Steps(), batches)
    assert report.mac == 6 * 20
    assert report.dc_mj > 0
    assert not asked
    assert report.ann.totals.mac == 7 * 2 * 20
    assert report.energy_ratio == 3
    assert report.notes == ()
    assert asked == [(2, 4), (1, 4)]
    (row,) = (row for row in report.ann_rows if row.kind == "linear")
    assert (row.calls, row.params) == (8, 25)


def test_bounds_count_the_ann_when_it_is_asked_for(asked):
    report = get_model_bounds(Steps(), (2, 4))
    assert not asked
    assert report.ann.mac == 40
    assert asked == [(2, 4)]


def test_a_model_that_is_changed_has_the_ann_that_it_had():
    model = Steps()
    reports = [get_model_syops(model, torch.rand(2, 4)), get_model_bounds(model, (2, 4))]
    model.T = 1
    model.repeats.fill_(7)
    model.fc = nn.Linear(4, 1)
    assert [report.ann.mac for report in reports] == [40, 40]


def test_a_report_keeps_nothing_of_the_model_and_of_its_inputs():
    model, x = Steps(), torch.rand(2, 4)
    reports = get_model_syops(model, x), get_model_bounds(model, x)
    kept = [weakref.ref(part) for part in (*model.modules(), *model.parameters(), x)]
    kept.append(weakref.ref(model.repeats))
    del model, x
    gc.collect()
    assert [part for part in kept if part() is not None] == []
    assert reports[0].ann.mac == reports[1].ann.mac == 40


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r)), replace]
)
def test_a_copy_of_a_report_has_the_same_ann(copied, asked):
    report = get_model_syops(Steps(), torch.rand(2, 4))
    twin = copied(report)
    assert len(asked) == 1
    assert twin == report
    assert twin.ann_rows is report.ann_rows or twin.ann_rows == report.ann_rows
    assert twin.ann.mac == 40
    assert len(asked) == 1


def test_an_argument_that_may_change_is_not_waited_for(asked):
    class Clock:
        def __len__(self) -> int:
            return 1

    report = get_model_syops(Steps(), (torch.rand(2, 4), Clock()))
    assert len(asked) == 1
    assert report.ann_rows is None
    assert "does as much with T set to 1" in report.notes[0]


def test_a_model_that_cannot_be_copied_says_so_when_its_ann_is_asked_for():
    class Unyielding:
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("not me")

    model = Steps()
    model.own = Unyielding()
    report = get_model_syops(model, torch.rand(2, 4))
    assert report.ann is None
    assert report.notes == ("E(SNN)/E(ANN) is not available: the model cannot be copied: not me",)


@pytest.mark.parametrize("number", [1, 2, 3, 7, 10])
def test_a_row_times_a_number_is_the_sum_of_so_many(number):
    drive = Drive(ValueEvidence(analog=True), 7, 3, Fraction(1, 3), 5)
    row = Row("fc", "linear", "linear", 0, 1, 25, 20, (drive,), mac=2, weights=20, written=10)
    total = row
    for _ in range(number - 1):
        total = total + row
    assert row.times(number) == total
