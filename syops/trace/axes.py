"""Follow the time-steps, and the samples, of tensors through a pass.

Positions along a dimension may be time-steps, or a dimension may hold time-steps and samples, one
inside of the other. A `Layout` says where one of the two lies; it is known of the inputs and of
what neurons send, and follows from the operands for what operators make of these. Of an operator
that is not followed, nothing is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from syops.ops.dimensions import BATCHED, LAST, LIKE, REDUCTIONS, SOFTMAX, STACK
from syops.ops.rule import Call, Cost, Normalisation, Product, Rule


class Axis(NamedTuple):
    """A part of a dimension; ``is_marked``: its positions are those that are followed, in order."""

    size: int
    is_marked: bool = False


Layout = tuple[tuple[Axis, ...], ...]
"""The axes of each dimension, the outer one first; one of them is marked."""

Place = int | Layout
"""The time-step or sample that all of a tensor belongs to, or where they lie in it."""

BEFORE = -1
"""The time-step of states that are there before the first one."""


def along(shape: Sequence[int], dim: int, number: int, inside: bool = False) -> Place | None:
    """Return where time-steps (or samples) lie in a tensor.

    Args:
        shape: of the tensor.
        dim: the dimension that has them.
        number: how many there are.
        inside: whether the dimension is [N·T] rather than [T·N].

    Returns:
        None where the dimension does not have so many.

    >>> along([6], dim=0, number=2)
    ((Axis(size=2, is_marked=True), Axis(size=3, is_marked=False)),)
    """
    if dim >= len(shape) or not number or not shape[dim] or shape[dim] % number:
        return None
    if number == 1:
        return 0
    rest = shape[dim] // number
    axes = [Axis(number, is_marked=True), *([Axis(rest)] if rest > 1 else [])]
    layout = [(Axis(size),) for size in shape]
    return (*layout[:dim], tuple(reversed(axes) if inside else axes), *layout[dim + 1 :])


def reshaped(layout: Layout, shape: Sequence[int]) -> Layout | None:
    """Return the layout after a reshape; None where it tears what is marked apart.

    >>> layout = along([6, 8], dim=0, number=2)
    >>> reshaped(layout, [2, 24]) == along([2, 24], dim=0, number=2)
    True
    """
    left = [axis for axes in layout for axis in axes if axis.size != 1][::-1]
    result = []
    for size in shape:
        axes: list[Axis] = []
        while size > 1:
            axis = left.pop()
            if axis.size > size:
                if axis.is_marked or axis.size % size:
                    return None
                left.append(Axis(axis.size // size))
                axis = Axis(size)
            if size % axis.size:
                return None
            size //= axis.size
            if axes and not axes[-1].is_marked and not axis.is_marked:
                axis = Axis(axes.pop().size * axis.size)
            axes.append(axis)
        result.append(tuple(axes) or (Axis(1),))
    return tuple(result)


def marked_dim(layout: Layout) -> int:
    """Return the dimension that has what is marked."""
    return next(dim for dim, axes in enumerate(layout) if any(axis.is_marked for axis in axes))


def is_before(layout: Layout, last: int) -> bool:
    """Return whether none of the last dimensions has what is marked."""
    return marked_dim(layout) < len(layout) - last


def number_in(layout: Layout) -> int:
    """Return the number of time-steps (or samples)."""
    return next(axis.size for axis in layout[marked_dim(layout)] if axis.is_marked)


class Operands(NamedTuple):
    """What is known of the operands of an operator.

    Attributes:
        placed: those of which it is known where their time-steps (or samples) are.
        others: those in which data or chance has a part, and of which it is not.
    """

    placed: tuple[tuple[Tensor, Place], ...]
    others: tuple[Tensor, ...]


def after(
    rule: Rule | None, call: Call, costs: Sequence[Cost], operands: Operands, in_order: bool
) -> list[Place | None]:
    """Return where the time-steps (or samples) of each result of an operator are.

    Args:
        rule: of the operator.
        call: it.
        costs: of it.
        operands: of it; some are placed.
        in_order: a later one follows from earlier ones: what is made of several belongs to the
            last. That holds for time-steps; what is made of several samples belongs to none.
    """
    nothing: list[Place | None] = [None] * len(call.outputs)
    if rule is None:
        return nothing
    steps = [place for _, place in operands.placed if isinstance(place, int)]
    if len(steps) == len(operands.placed):
        if any(x.numel() > 1 for x in operands.others):
            return nothing
        if BEFORE in steps and _grows(call, operands):
            return nothing
        return [_of_one(rule, call, steps, out, in_order) for out in call.outputs]
    if steps or (rule.joins and operands.others):
        return nothing
    found: list[Place | None] = []
    for number, out in enumerate(call.outputs):
        each = {
            _moved(rule, call, costs, tensor, place, out, number)
            for tensor, place in operands.placed
            if not isinstance(place, int)
        }
        place = each.pop() if len(each) == 1 else None
        is_mixed = isinstance(place, tuple) and any(_varies(x, place, out) for x in operands.others)
        found.append(None if is_mixed else place)
    return found


def _varies(x: Tensor, layout: Layout, out: Tensor) -> bool:
    """Return whether a tensor is not the same all along what is marked in a result of it."""
    dim = marked_dim(layout) + x.dim() - out.dim()
    return dim >= 0 and x.shape[dim] != 1


def _grows(call: Call, operands: Operands) -> bool:
    """Return whether a state from before the pass makes a result larger: it may be a sequence."""
    largest = max((x.numel() for x, place in operands.placed if place != BEFORE), default=0)
    return largest > 0 and any(out.numel() > largest for out in call.outputs)


def _of_one(
    rule: Rule, call: Call, steps: Sequence[int], out: Tensor, in_order: bool
) -> Place | None:
    """Return the place of what is made of tensors that belong to one time-step (or sample) each.

    Where they are put side by side, one after the other, it has all of them.
    """
    if len(set(steps)) == 1 and not (rule.joins and len(call.tensors) > len(steps)):
        return steps[0]
    if not rule.joins:
        return max(steps) if in_order else None
    if call.func is STACK and list(steps) == list(range(len(call.tensors))):
        return along(out.shape, int(call.arg("dim")) % out.dim(), len(steps))
    return None


def _moved(
    rule: Rule,
    call: Call,
    costs: Sequence[Cost],
    source: Tensor,
    layout: Layout,
    out: Tensor,
    number: int,
) -> Place | None:
    """Return where what is marked in an operand is in the result of that number."""
    dim, name = marked_dim(layout), call.func.overloadpacket.__name__
    if rule.in_order or rule.casts:
        same = source.numel() == out.numel()
        return reshaped(layout, out.shape) if same else None
    if rule.moves and rule.overwrites:  # a copy into another tensor
        return _placed(layout, out, dim + out.dim() - source.dim())
    if rule.moves:
        piece = None if rule.piece is None else rule.piece(call.args, source, out, number)
        if piece is not None and piece[0] == dim:
            return _part(layout, *piece, out)
        last = LAST.search(name)
        if last is not None or rule.pads:
            changed = int(last[1]) if last else len(call.args[1]) // 2
            return _placed(layout, out, dim) if dim < source.dim() - changed else None
        to = None if rule.channel is None else rule.channel(call.args, source, out, dim)
        return None if to is None else _placed(layout, out, to)
    if torch.Tag.pointwise in call.func.tags or name in LIKE:
        return _placed(layout, out, dim + out.dim() - source.dim())
    if name in REDUCTIONS:
        return _reduced(call, source, layout, out)
    return _placed(layout, out, dim) if _stays(call, costs, source, dim, name) else None


def _part(layout: Layout, dim: int, start: int, stop: int, out: Tensor) -> Place | None:
    """Return the place of a part along the marked dimension: one step, or the whole of it."""
    number, inner = number_in(layout), 1
    if not layout[dim][0].is_marked:
        return None
    for axis in layout[dim][1:]:
        inner *= axis.size
    if stop - start == number * inner:
        return _placed(layout, out, dim)
    return start // inner if stop - start == inner and start % inner == 0 else None


def _reduced(call: Call, source: Tensor, layout: Layout, out: Tensor) -> Layout | None:
    """Return the layout once some dimensions are summed up."""
    dims = call.arg("dim", None)
    if dims is None or not out.dim():
        return None
    gone = {int(d) % source.dim() for d in (dims if isinstance(dims, (list, tuple)) else [dims])}
    dim = marked_dim(layout)
    if not gone or dim in gone:
        return None
    before = 0 if call.arg("keepdim", False) else sum(each < dim for each in gone)
    return _placed(layout, out, dim - before)


def _stays(call: Call, costs: Sequence[Cost], source: Tensor, dim: int, name: str) -> bool:
    """Return whether an operator does for each position of a dimension what it does."""
    if name in BATCHED:
        return dim < source.dim() - 2 and source.dim() > 2
    if name == SOFTMAX:
        return int(call.arg("dim")) % source.dim() != dim
    for cost in costs:
        if isinstance(cost, Normalisation):
            return cost.input is source and (cost.affine or dim in cost.apart)
        if isinstance(cost, Product) and len(cost.operands) == 1:
            operand = cost.operands[0]
            if operand.tensor is not source or operand.channel is None:
                return False
            return dim < operand.channel % source.dim()
    last = LAST.search(name)
    return last is not None and dim < source.dim() - int(last[1])


def _placed(layout: Layout, out: Tensor, to: int) -> Layout | None:
    """Return the layout of a result that has what is marked in another dimension."""
    axes = layout[marked_dim(layout)]
    size = 1
    for axis in axes:
        size *= axis.size
    if not 0 <= to < out.dim() or out.shape[to] != size:
        return None
    shape = out.shape
    return (*((Axis(n),) for n in shape[:to]), axes, *((Axis(n),) for n in shape[to + 1 :]))


class Axes(NamedTuple):
    """Where the time-steps and the samples of a tensor are; None where that is not known."""

    time: Place | None = None
    samples: Place | None = None


NOWHERE = Axes()


class Split(NamedTuple):
    """Say how a tensor is read by time-step and by sample.

    Attributes:
        sizes: of all parts of the dimensions.
        first: which of these come first, those of time before those of samples.
        steps, samples: how many there are; 1 where the reading does not tell them apart.
    """

    sizes: tuple[int, ...]
    first: tuple[int, ...]
    steps: int
    samples: int


def split_of(axes: Axes, last: int) -> Split | None:
    """Return how a tensor is read apart, leaving its last dimensions whole; None: it is not.

    >>> split_of(Axes(along([6, 8], 0, 2), along([6, 8], 0, 3, inside=True)), last=1)
    Split(sizes=(2, 3, 8), first=(0, 1), steps=2, samples=3)
    """
    time, samples = (
        place if isinstance(place, tuple) and is_before(place, last) else None for place in axes
    )
    if time is None and samples is None:
        return None
    whole = time or samples
    assert whole is not None
    plain = tuple(tuple(Axis(axis.size) for axis in axes) for axes in whole)
    parts = [_refined(*each) for each in zip(time or plain, samples or plain, strict=True)]
    if any(part is None for part in parts):
        return split_of(Axes(time=time), last)
    flat = [each for part in parts if part for each in part]
    steps = [(place, size) for place, (size, is_time, _) in enumerate(flat) if is_time]
    each = [(place, size) for place, (size, _, is_sample) in enumerate(flat) if is_sample]
    sizes = tuple(size for size, _, _ in flat)
    first = tuple(place for place, _ in (*steps, *each))
    return Split(sizes, first, steps[0][1] if steps else 1, each[0][1] if each else 1)


def _refined(one: Sequence[Axis], two: Sequence[Axis]) -> list[tuple[int, bool, bool]] | None:
    """Return the parts of a dimension that tell both apart; None where there are none."""
    left, right, parts = list(one), list(two), []
    while left:
        a, b = left.pop(0), right.pop(0)
        size = min(a.size, b.size)
        for axis, rest in ((a, left), (b, right)):
            if axis.size > size:
                if axis.is_marked or axis.size % size:
                    return None
                rest.insert(0, Axis(axis.size // size))
        parts.append((size, a.is_marked and a.size == size, b.is_marked and b.size == size))
        if parts[-1][1:] == (True, True):
            return None
    return parts


def apart(x: Tensor, split: Split) -> Tensor:
    """Return a view of [T, N, ...], of [T, ...] or of [N, ...]; the last dimensions stay so."""
    front = tuple(range(len(split.first)))
    parts = x.view(split.sizes)
    return parts if split.first == front else parts.movedim(split.first, front)
