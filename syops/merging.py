"""Two reports of the same network -> the report of both data sets together."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from syops.errors import SyopsTypeError, SyopsValueError
from syops.ledger import merge_rows, merge_updates

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
    _check_operands(one, two)
    ann = None
    if one.ann_rows is not None and two.ann_rows is not None:
        ann = merge_rows(one.ann_rows, two.ann_rows)
    return replace(
        one,
        rows=merge_rows(one.rows, two.rows),
        samples=one.samples + two.samples,
        unaccounted=dict(Counter(one.unaccounted) + Counter(two.unaccounted)),
        prepared=merge_rows(one.prepared, two.prepared),
        updates=merge_updates(*one.updates, *two.updates),
        notes=tuple(dict.fromkeys((*one.notes, *two.notes))),
        ann_rows=ann,
        accuracy=_accuracy(one, two),
        passes=one.passes + two.passes if one.passes and two.passes else 0,
    )


def _check_operands(one: Report, two: Report) -> None:
    """A row of both must have as many operands in one as in the other."""
    known = {row.key: len(row.drives) for row in one.rows}
    for row in two.rows:
        operands = {known.get(row.key, 0), len(row.drives)} - {0}
        if len(operands) > 1:
            raise SyopsValueError(
                f"the reports cannot be merged: {row.path or one.model}:{row.operator} has one "
                "operand in one and two in the other; they are of different networks"
            )


def _accuracy(one: Report, two: Report) -> float | None:
    """Of all samples, where it is known of both."""
    if one.accuracy is None or two.accuracy is None or one.accuracy == two.accuracy:
        return one.accuracy if one.accuracy == two.accuracy else None
    right = one.accuracy * one.samples + two.accuracy * two.samples
    return right / (one.samples + two.samples)
