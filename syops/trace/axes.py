"""Follow the time-steps of tensors through a pass.

Positions along a dimension may be time-steps, or a dimension may hold time-steps and samples, one
inside of the other. A `Layout` says so; it is known of the inputs and of what neurons send, and
follows from the operands for what operators make of these. Of an operator that is not followed,
nothing is known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeGuard

import torch
from torch import Tensor

from syops.ops.rule import Call, Cost, Normalisation, Product, Rule


class Axis(NamedTuple):
    """A part of a dimension; ``is_time``: its positions are time-steps, from the first one on."""

    size: int
    is_time: bool = False


Layout = tuple[tuple[Axis, ...], ...]
"""The axes of each dimension, the outer one first; one of them is time."""

Time = int | Layout
"""The time-step that all of a tensor belongs to, or where its time-steps lie."""


def along(shape: Sequence[int], dim: int, steps: int, inside: bool = False) -> Time | None:
    """Return where time-steps lie in a tensor.

    Args:
        shape: of the tensor.
        dim: the dimension that has them.
        steps: how many there are.
        inside: whether the dimension is [N·T] rather than [T·N].

    Returns:
        None where the dimension does not have so many.

    >>> along([6, 8], dim=0, steps=2)
    ((Axis(size=2, is_time=True), Axis(size=3, is_time=False)), (Axis(size=8, is_time=False),))
    """
    if dim >= len(shape) or not steps or not shape[dim] or shape[dim] % steps:
        return None
    if steps == 1:
        return 0
    rest = shape[dim] // steps
    axes = [Axis(steps, is_time=True), *([Axis(rest)] if rest > 1 else [])]
    layout = [(Axis(size),) for size in shape]
    return (*layout[:dim], tuple(reversed(axes) if inside else axes), *layout[dim + 1 :])


def reshaped(layout: Layout, shape: Sequence[int]) -> Layout | None:
    """Return the layout after a reshape; None where it tears time-steps apart.

    >>> layout = along([6, 8], dim=0, steps=2)
    >>> reshaped(layout, [2, 24]) == along([2, 24], dim=0, steps=2)
    True
    """
    left = [axis for axes in layout for axis in axes if axis.size != 1][::-1]
    result = []
    for size in shape:
        axes: list[Axis] = []
        while size > 1:
            axis = left.pop()
            if axis.size > size:
                if axis.is_time or axis.size % size:
                    return None
                left.append(Axis(axis.size // size))
                axis = Axis(size)
            if size % axis.size:
                return None
            size //= axis.size
            if axes and not axes[-1].is_time and not axis.is_time:
                axis = Axis(axes.pop().size * axis.size)
            axes.append(axis)
        result.append(tuple(axes) or (Axis(1),))
    return tuple(result)


def time_dim(layout: Layout) -> int:
    """Return the dimension that has time-steps."""
    return next(dim for dim, axes in enumerate(layout) if any(axis.is_time for axis in axes))


def is_before(layout: Layout, last: int) -> bool:
    """Return whether none of the last dimensions has the time-steps."""
    return time_dim(layout) < len(layout) - last


def steps_in(layout: Layout) -> int:
    """Return the number of time-steps."""
    return next(axis.size for axis in layout[time_dim(layout)] if axis.is_time)


def after(
    rule: Rule | None,
    call: Call,
    costs: Sequence[Cost],
    times: Sequence[Time | None],
    others: Sequence[Tensor],
) -> list[Time | None]:
    """Return the time-steps of each result of an operator.

    Args:
        rule: of the operator.
        call: it.
        costs: of it.
        times: those of its operands, one known at least.
        others: the operands without, in which data or chance has a part.
    """
    nothing: list[Time | None] = [None] * len(call.outputs)
    if rule is None:
        return nothing
    known = [time for time in times if time is not None]
    if all(isinstance(time, int) for time in known):
        return [_of_steps(rule, call, times, out) for out in call.outputs]
    if any(isinstance(time, int) for time in known) or (rule.joins and len(known) < len(times)):
        return nothing
    found: list[Time | None] = []
    for place, out in enumerate(call.outputs):
        each = {
            _moved(rule, call, costs, tensor, time, out, place)
            for tensor, time in zip(call.tensors, times, strict=True)
            if _is_layout(time)
        }
        time = each.pop() if len(each) == 1 else None
        is_mixed = _is_layout(time) and any(_varies(x, time, out) for x in others)
        found.append(None if is_mixed else time)
    return found


def _varies(x: Tensor, layout: Layout, out: Tensor) -> bool:
    """Return whether a tensor is not the same for all time-steps of a result it is joined with."""
    dim = time_dim(layout) + x.dim() - out.dim()
    return dim >= 0 and x.shape[dim] != 1


def _is_layout(time: Time | None) -> TypeGuard[Layout]:
    return isinstance(time, tuple)


def _of_steps(rule: Rule, call: Call, times: Sequence[Time | None], out: Tensor) -> Time | None:
    """Return the time of what is made of tensors that belong to one time-step each.

    It belongs to the last of these. Only where they are put side by side it has several.
    """
    steps = [time for time in times if isinstance(time, int)]
    if not rule.joins or len(set(steps)) == 1 == len(set(times)):
        return max(steps)
    if call.func is torch.ops.aten.stack.default and list(times) == list(range(len(times))):
        return along(out.shape, int(call.arg("dim")) % out.dim(), len(times))
    return None


def _moved(
    rule: Rule,
    call: Call,
    costs: Sequence[Cost],
    source: Tensor,
    layout: Layout,
    out: Tensor,
    place: int,
) -> Time | None:
    """Return where the time-steps of an operand are in a result."""
    dim, name = time_dim(layout), call.func.overloadpacket.__name__
    if rule.in_order:
        same = source.numel() == out.numel()
        return reshaped(layout, out.shape) if same else None
    if rule.moves:
        if name in ("select", "unbind"):
            cut = int(call.arg("dim")) % source.dim()
            if cut == dim:
                index = int(call.arg("index")) if name == "select" else place
                return index % steps_in(layout) if len(layout[dim]) == 1 else None
        to = None if rule.channel is None else rule.channel(call.args, source, out, dim)
        return None if to is None else _placed(layout, out, to)
    if torch.Tag.pointwise in call.func.tags:
        return _placed(layout, out, dim + out.dim() - source.dim())
    return _placed(layout, out, dim) if _stays(call, costs, source, dim, name) else None


def _stays(call: Call, costs: Sequence[Cost], source: Tensor, dim: int, name: str) -> bool:
    """Return whether an operator does for each position of a dimension what it does."""
    for cost in costs:
        if isinstance(cost, Normalisation):
            return cost.input is source
        if isinstance(cost, Product) and len(cost.operands) == 1:
            operand = cost.operands[0]
            if operand.tensor is not source or operand.channel is None:
                return False
            return dim < operand.channel % source.dim()
    pooled = re.search(r"pool(\d)d", name)
    return pooled is not None and dim < source.dim() - int(pooled[1])


def _placed(layout: Layout, out: Tensor, to: int) -> Layout | None:
    """Return the layout of a result that has time-steps as ``layout`` has, in another dimension."""
    axes = layout[time_dim(layout)]
    if not 0 <= to < out.dim() or out.shape[to] != _size(axes):
        return None
    shape = out.shape
    return (*((Axis(n),) for n in shape[:to]), axes, *((Axis(n),) for n in shape[to + 1 :]))


def _size(axes: Sequence[Axis]) -> int:
    size = 1
    for axis in axes:
        size *= axis.size
    return size


def by_step(x: Tensor, layout: Layout) -> Tensor:
    """Return a view of [T, ...] of a tensor; the dimensions after that of time stay the last."""
    dim = time_dim(layout)
    apart = x.unflatten(dim, [axis.size for axis in layout[dim]])
    place = next(i for i, axis in enumerate(layout[dim]) if axis.is_time)
    return apart.movedim(dim + place, 0)
