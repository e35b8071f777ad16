"""Two reports of the same network -> the report of both data sets together."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from syops.errors import SyopsTypeError, SyopsValueError
from syops.ledger import merge_rows

if TYPE_CHECKING:
    from syops.report import Report

_SAME = ("model", "params", "conventions", "energy", "time_steps", "kinds", "measured")


def merged(one: Report, two: Report) -> Report:
    """See `syops.report.Report.merge`."""
    if not isinstance(two, type(one)):
        raise SyopsTypeError(f"a report is merged with another one, got {type(two).__name__}")
    for what in _SAME:
        if getattr(one, what) != getattr(two, what):
            raise SyopsValueError(
                f"reports with different {what} cannot be merged: "
                f"{getattr(one, what)!r} and {getattr(two, what)!r}"
            )
    ann = None
    if one.ann_rows is not None and two.ann_rows is not None:
        ann = merge_rows(one.ann_rows, two.ann_rows)
    return replace(
        one,
        rows=merge_rows(one.rows, two.rows),
        samples=one.samples + two.samples,
        unaccounted=dict(Counter(one.unaccounted) + Counter(two.unaccounted)),
        prepared=merge_rows(one.prepared, two.prepared),
        notes=tuple(dict.fromkeys((*one.notes, *two.notes))),
        ann_rows=ann,
        accuracy=_accuracy(one, two),
        passes=one.passes + two.passes if one.passes and two.passes else 0,
    )


def _accuracy(one: Report, two: Report) -> float | None:
    """Of all samples, where it is known of both."""
    if one.accuracy is None or two.accuracy is None or one.accuracy == two.accuracy:
        return one.accuracy if one.accuracy == two.accuracy else None
    right = one.accuracy * one.samples + two.accuracy * two.samples
    return right / (one.samples + two.samples)
