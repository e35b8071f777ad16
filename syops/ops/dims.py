"""Tell where an operator that moves values puts the dimensions and the pieces of its operand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from syops.ops.rule import Call, ChannelRule, Piece
from syops.ops.values import ANALOG, Scale, Signal, rescaled

Arguments = Sequence[Any]
"""The positional arguments of a call."""

# Where a dimension goes, all of whose positions stay as they are. Every other one may be moved or
# repeated.


def permuted(args: Arguments, source: Tensor, out: Tensor, dim: int) -> int | None:
    """Return where ``permute`` puts a dimension."""
    return [int(d) % source.dim() for d in args[1]].index(dim)


def turned(args: Arguments, source: Tensor, out: Tensor, dim: int) -> int | None:
    """Return where ``t`` puts a dimension."""
    return source.dim() - 1 - dim


def swapped(args: Arguments, source: Tensor, out: Tensor, dim: int) -> int | None:
    """Return where ``transpose`` puts a dimension."""
    first, second = (int(d) % source.dim() for d in args[1:3])
    return {first: second, second: first}.get(dim, dim)


def repeated_before(args: Arguments, source: Tensor, out: Tensor, dim: int) -> int | None:
    """Return where a dimension is once others were put before it, unless it was repeated."""
    moved = dim + out.dim() - source.dim()
    return moved if out.shape[moved] == source.shape[dim] else None


def taken_away(args: Arguments, source: Tensor, out: Tensor, dim: int) -> int | None:
    """Return where a dimension is once another one is gone, of which one position is taken."""
    cut = int(args[1]) % source.dim() if len(args) > 1 else 0
    return None if cut == dim else dim - (cut < dim)


def stacked(args: Arguments, source: Tensor, out: Tensor, dim: int) -> int | None:
    """Return where a dimension is once another one was put in."""
    new = int(args[1]) % out.dim() if len(args) > 1 else 0
    return dim + (new <= dim)


def of_same_size(args: Arguments, source: Tensor, out: Tensor, dim: int) -> int | None:
    """Return the same dimension, unless it is the one that was cut or made longer."""
    return dim if out.shape[dim] == source.shape[dim] else None


# Where a dimension goes along which a scale lies. Others may get new positions.


def nowhere(args: Arguments, source: Tensor, out: Tensor, dim: int) -> int | None:
    """Return None: no dimension stays."""
    return None


def not_flipped(args: Arguments, source: Tensor, out: Tensor, dim: int) -> int | None:
    """Return the same dimension, unless it was flipped."""
    return None if dim in {int(d) % source.dim() for d in args[1]} else dim


def unpadded(args: Arguments, source: Tensor, out: Tensor, dim: int) -> int | None:
    """Return the same dimension, unless it may have got a border."""
    return dim if dim < source.dim() - len(args[1]) // 2 else None


def before_last(number: int) -> ChannelRule:
    """Return the rule of operators that leave all but the last dimensions as they are."""
    return lambda args, source, out, dim: dim if dim < source.dim() - number else None


def scale_after(
    along: ChannelRule, call: Call, source: Tensor, scale: Scale, out: Tensor
) -> Scale | None:
    """Return the scale of what a moving operator hands on of ``source``; None where it is lost.

    A scale that is one number stays what it is. One that differs along dimensions stays where
    positions along these keep their order.
    """
    if not scale.dims:
        return scale
    if source is out or not out.numel():
        return None
    dims = [along(call.args, source, out, dim) for dim in scale.dims]
    kept = tuple(dim for dim in dims if dim is not None)
    return Scale(scale.name, kept) if len(kept) == len(dims) else None


def with_scale(signal: Signal, scale: Scale | None) -> Signal:
    """Return a signal with the scale that is left; None: it is lost, and values may be any."""
    return ANALOG if scale is None else rescaled(signal, scale)


def scale_reshaped(scale: Scale, before: tuple[int, ...], after: tuple[int, ...]) -> Scale | None:
    """Return a scale whose dimensions were split or merged: a function of all they become."""
    groups = [b for b in _groups(before, after) if any(dim in b[0] for dim in scale.dims)]
    if all(len(old) == len(new) == 1 for old, new in groups):
        place = {old[0]: new[0] for old, new in groups}
        return Scale(scale.name, tuple(place[dim] for dim in scale.dims))
    order = [dim for old, _ in groups for dim in old]
    sizes = [([before[d] for d in old], [after[d] for d in new]) for old, new in groups]
    turned = f"{scale.name} at {[order.index(dim) for dim in scale.dims]} as {sizes}"
    return Scale(turned, tuple(dim for _, new in groups for dim in new))


def _groups(before: tuple[int, ...], after: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """Return the least groups of dimensions that a reshape turns into one another."""
    left = [dim for dim, size in enumerate(before) if size != 1]
    right = [dim for dim, size in enumerate(after) if size != 1]
    groups = []
    while left and right:
        old, new = [left.pop(0)], [right.pop(0)]
        while (a := math.prod(before[d] for d in old)) != (b := math.prod(after[d] for d in new)):
            if a < b:
                old.append(left.pop(0))
            else:
                new.append(right.pop(0))
        groups.append((old, new))
    return groups


# Which part of an operand a result is


def selected(args: Arguments, source: Tensor, out: Tensor, place: int) -> Piece:
    """Return the part that ``select`` takes."""
    dim = args[1] % source.dim()
    start = args[2] % source.shape[dim]
    return dim, start, start + 1


def unbound(args: Arguments, source: Tensor, out: Tensor, place: int) -> Piece:
    """Return the part that is a result of ``unbind``."""
    dim = (args[1] if len(args) > 1 else 0) % source.dim()
    return dim, place, place + 1


def sliced(args: Arguments, source: Tensor, out: Tensor, place: int) -> Piece:
    """Return the part that ``slice`` takes, if it leaves out no steps."""
    if len(args) > 4 and args[4] != 1:
        return None
    dim = (args[1] if len(args) > 1 else 0) % source.dim()
    first = (args[2] if len(args) > 2 else 0) or 0
    start = max(0, first + source.shape[dim] if first < 0 else first)
    return dim, start, start + out.shape[dim]


def split(args: Arguments, source: Tensor, out: Tensor, place: int) -> Piece:
    """Return the part that is a result of a split, into one size or into a size each."""
    dim = (args[2] if len(args) > 2 else 0) % source.dim()
    sizes = args[1]
    start = place * sizes if isinstance(sizes, int) else sum(sizes[:place])
    return dim, start, start + out.shape[dim]
