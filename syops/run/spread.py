"""Tell samples apart while counting: end early, and keep what each sample costs."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from syops.cost.figures import Figures
from syops.cost.spread import SpreadUnknown, Terms, sample_values
from syops.errors import SyopsTypeError, SyopsValueError
from syops.files import check_writable, write_whole
from syops.ledger.samples import SampleCounts
from syops.run.loop import CountedBatch
from syops.run.scores import are_classes, labels_of

LEAST = 32
"""Samples that a count has at least before it may end early."""

GROWTH = 1.05
"""By how much the samples have to grow until the interval is looked at again."""


class StopWhen:
    """End a count once the 95 % confidence interval of the mean DC is narrow enough.

    Args:
        share: half of the interval, as a share of the mean.
        report: gives the report of what has been counted.
        notes: gets what a reader should know of the end.

    Raises:
        SyopsTypeError, SyopsValueError: ``share`` is not a share.
    """

    def __init__(self, share: float, report: Callable[[], Figures], notes: dict[str, None]) -> None:
        if isinstance(share, bool) or not isinstance(share, (int, float)):
            raise SyopsTypeError(f"stop_when must be a share such as 0.01, got {share!r}")
        if not 0 < share < 1:
            raise SyopsValueError(f"stop_when must be a share between 0 and 1, got {share!r}")
        self._share = share
        self._report = report
        self._notes = notes
        self._samples = 0
        self._next = LEAST

    def __call__(self, found: CountedBatch) -> bool:
        """Return whether the count ends here.

        Raises:
            SyopsValueError: it is not known how samples differ.
        """
        self._samples += found.samples
        if self._samples < self._next:
            return False
        self._next = math.ceil(self._samples * GROWTH)
        found.settle()
        report = self._report()
        if report.spread is None:
            raise SyopsValueError(f"stop_when: {report.spread_reason}")
        dc = report.spread.dc
        if dc.half_width is None or dc.half_width > self._share * dc.mean:
            return False
        self._notes[
            f"The count ended after {self._samples} samples, as stop_when={self._share:g} says: "
            "the 95 % confidence interval of the mean DC is within that share of it"
        ] = None
        return True


class Labels:
    """Note the class of each sample, where there are labels.

    Args:
        counts: of each sample.
    """

    def __init__(self, counts: SampleCounts) -> None:
        self._counts = counts

    def __call__(self, found: CountedBatch) -> bool:
        """Note those of a batch; see `syops.run.loop.After`."""
        labels = labels_of(found)
        is_known = labels is not None and are_classes(labels, found.samples)
        self._counts.label(labels.tolist() if labels is not None and is_known else None)
        return False


def check_path(path: object) -> None:
    """Refuse where samples cannot be kept, before anything is counted.

    Raises:
        SyopsTypeError, SyopsValueError: no path, or not that of an ``.npz`` file.
        SyopsFileError: it cannot be written.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise SyopsTypeError(f"keep_samples must be the path of an .npz file, got {path!r}")
    if Path(path).suffix.lower() != ".npz":
        raise SyopsValueError(f"keep_samples must be the path of an .npz file, got {str(path)!r}")
    check_writable(Path(path))


def write_samples(report: Figures, path: str | os.PathLike[str]) -> None:
    """Write what each sample costs in each layer.

    The file has ``layers``, their names; and ``ac``, ``mac`` and ``dc_pj``, [samples, layers] in
    the order in which samples were counted, under the conventions and prices of the report.

    Raises:
        SyopsValueError: samples cannot be told apart in a layer.
        SyopsFileError: the file cannot be written.
    """
    table = report.sample_table
    assert table is not None
    terms = Terms(report.energy, report.convention, report.kinds)
    names, columns = [], []
    for layer, row, key in zip(report.layers, report.effective_rows, table.keys, strict=True):
        if not layer.counted:
            continue
        one = type(table)(table.counts, (key,))
        try:
            values = sample_values(one, (row,), terms)
        except SpreadUnknown as reason:
            raise SyopsValueError(f"keep_samples: {reason}") from None
        names.append(layer.name)
        columns.append([list(map(float, each)) for each in values])
    whole = np.array(columns, dtype=np.float64).reshape(len(names), 3, table.counts.number)
    ac, mac, dc = whole.transpose(1, 2, 0)

    def write(partial: Path) -> None:
        with partial.open("wb") as file:  # given a path, NumPy would add a suffix
            np.savez(file, layers=np.array(names), ac=ac, mac=mac, dc_pj=dc)

    write_whole(Path(path), write)
