"""Ctrl-C: a count ends between two batches, and what was counted is reported."""

from __future__ import annotations

import signal

import pytest
import torch
from torch import nn

from syops import get_model_syops
from syops.run.interrupts import held_back

X = torch.eye(4)


def press():
    signal.raise_signal(signal.SIGINT)  # in this thread, and now


class Pressed(nn.Module):
    """Press Ctrl-C so often in the midst of a batch that holds a 2."""

    def __init__(self, times):
        super().__init__()
        self.layer, self.times = nn.Linear(4, 3), times

    def forward(self, x):
        is_marked = float(x.detach().max()) == 2
        x = self.layer(x)
        for _ in range(self.times if is_marked else 0):
            press()
        return x


def test_interrupt_counts_the_batch_to_its_end():
    labels = torch.tensor([0, 1, 2, 0])
    labelled = [(x, labels) for x in (X, X, 2 * X, X)]
    with pytest.raises(KeyboardInterrupt) as caught:
        get_model_syops(Pressed(1), labelled)
    report = caught.value.report
    torch.manual_seed(0)
    whole = get_model_syops(Pressed(0), labelled[:3])
    assert (report.samples, report.totals) == (12, whole.totals)
    assert sum(report.scores.samples) == 12
    where = "the count was interrupted at batch 3 (the first is 0), after 12 samples"
    assert report.ended == (where,)
    assert str(report.warnings[0]) == f"a part of the data was counted: {where}"


def test_second_interrupt_ends_at_once_without_a_report():
    with pytest.raises(KeyboardInterrupt) as caught:
        get_model_syops(Pressed(2), [X, X, 2 * X, X])
    assert getattr(caught.value, "report", None) is None


def test_interrupt_while_a_batch_is_read():
    def batches():
        yield X
        press()
        yield X

    with pytest.raises(KeyboardInterrupt) as caught:
        get_model_syops(nn.Linear(4, 3), batches())
    assert caught.value.report.samples == 4


def test_handlers_of_others_are_left_alone():
    came = []
    before = signal.signal(signal.SIGINT, lambda *_: came.append(1))
    try:
        with held_back():
            press()
            assert came == [1]
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.getsignal(signal.SIGINT) is before
