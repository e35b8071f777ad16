"""Record where the time-steps and samples of an operator's results lie; see `syops.trace.axes`."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from syops.ops.rule import Call, Cost, Rule
from syops.ops.values import LEARNED
from syops.trace.axes import Operands, Place, after
from syops.trace.live import Tensors
from syops.trace.record import Before


def follow(
    tensors: Tensors,
    axes: Sequence[str],
    rule: Rule | None,
    call: Call,
    before: Before,
    costs: Sequence[Cost],
) -> None:
    """Record the places of the results of an operator.

    Args:
        tensors: what is known of the live tensors.
        axes: which are followed: "time", and "samples" where these are told apart.
        rule, call, before: the operator.
        costs: what it costs.
    """
    records = before.records
    if before.writes and rule is not None and (rule.overwrites or rule.moves):
        gone = [target for target, _ in before.writes]
        records = [each for each in records if not any(each[0] is target for target in gone)]
    for axis in axes:
        placed: list[tuple[Tensor, Place]] = []
        others: list[Tensor] = []
        for x, record in records:
            place = None if record is None else getattr(record, axis)
            if place is not None:
                placed.append((x, place))
            elif not (record.fixed if record else call.signals[id(x)] is LEARNED):
                others.append(x)
        if not placed:
            continue
        operands = Operands(tuple(placed), tuple(others))
        found = after(rule, call, costs, operands, in_order=axis == "time")
        for tensor, place in zip(call.outputs, found, strict=True):
            setattr(tensors.latest(tensor), axis, place)
    if "samples" in axes and not before.fixed:
        _follow_mixtures(tensors, call, before)


def _follow_mixtures(tensors: Tensors, call: Call, before: Before) -> None:
    """Mark results that were made of several samples: x.mean(0), and x - x.mean(0) after it."""
    records = [record for _, record in before.records if record is not None]
    has_mixed = any(record.mixed for record in records)
    has_apart = any(record.samples is not None for record in records)
    for tensor in call.outputs:
        record = tensors.latest(tensor)
        if has_mixed:
            record.samples = None
        record.mixed = has_mixed or (has_apart and record.samples is None)
