"""Describe operators that only move, repeat or drop values, which costs nothing.

What keeps the order of elements keeps the signal; what moves positions keeps the value set
on an atom of its own, the same one for the same geometry of the same tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from syops.ops.rule import (
    COPY,
    Call,
    ChannelRule,
    Cost,
    Free,
    Piece,
    PieceRule,
    Rule,
    Tally,
    tallied,
    tensors_in,
)
from syops.ops.values import (
    ANALOG,
    INTEGER,
    UNKNOWN,
    UNSCALED,
    Scale,
    Shown,
    Signal,
    Table,
    constant,
    part_of,
    put_together,
    rescaled,
)

Arguments = Sequence[Any]

# Signals


def keep(call: Call) -> Signal:
    """Return the signal of the same values, unless the bits are read as another type."""
    source = call.args[0]
    if source.dtype != call.out.dtype:
        return UNKNOWN
    known = call.signal(source)
    if not isinstance(known, Table) or not known.scale.dims:
        return known
    if source is call.out or not call.out.numel():
        return ANALOG
    scale = _scale_reshaped(known.scale, tuple(source.shape), tuple(call.out.shape))
    return _rescaled(known, scale)


def lifted(call: Call) -> Signal:
    """Return the signal of ``torch.tensor(...)``: a single number is a constant."""
    literal = call.args[0]
    if literal.numel() != 1 or literal.device.type != "cpu" or literal.is_complex():
        return keep(call)
    return call.constant(literal.item())


def move(call: Call, along: ChannelRule, is_whole: bool) -> Sequence[Signal]:
    """Return the signals of what is moved.

    Args:
        call: the call.
        along: where a dimension goes that a scale lies along.
        is_whole: whether none of the values is left out.
    """
    known = call.signal(call.args[0])
    outputs = call.outputs
    if isinstance(known, Shown) and not is_whole:
        known = part_of(known)
    if not isinstance(known, Table):
        return [known] * len(outputs)
    moved = []
    for place, out in enumerate(outputs):
        scale = _scale_after(along, call, call.args[0], known.scale, out)
        plain = rescaled(known, UNSCALED)
        assert isinstance(plain, Table)
        moved.append(_rescaled(call.atoms.rebased(plain, (call.geometry, place)), scale))
    return moved


def zero(call: Call) -> Signal:
    """Return the signal of zeros, which are put where there was nothing."""
    return constant(0)


def border(call: Call) -> Signal:
    """Return the signal of what ``constant_pad_nd`` puts around its operand."""
    return call.constant(call.args[2] if len(call.args) > 2 else 0)


def _rescaled(signal: Signal, scale: Scale | None) -> Signal:
    """Return a signal with the scale that is left; None: it is lost, and values may be any."""
    return ANALOG if scale is None else rescaled(signal, scale)


def _joined(call: Call, parts: Sequence[Signal]) -> Signal:
    """Return the signal of parts of one tensor, which keep a scale that they have in common."""
    shown = put_together(parts)
    if shown is not None:
        return shown
    scales = {p.scale for p in parts if isinstance(p, Table) and p.support != {0} and p.values}
    if len(scales) != 1 or not all(isinstance(part, Table) for part in parts):
        return call.atoms.joined(parts, call.geometry)
    (scale,) = scales
    plain = [rescaled(part, UNSCALED) for part in parts]
    return rescaled(call.atoms.joined(plain, call.geometry), scale)


def gather(call: Call) -> Signal:
    """Return the signal of values at positions that other values tell: nothing else agrees."""
    known = call.signal(call.args[0])
    return call.atoms.joined((known,)) if isinstance(known, Table) else part_of(known)


def repeated(call: Call) -> Signal:
    """Return the signal of values that are repeated; of positions, if only numbers are given."""
    return gather(call) if isinstance(call.arg("self"), Tensor) else INTEGER


def overwritten(call: Call) -> Signal:
    """Return the signal of a tensor that got new values at some positions."""
    if any(call.arg(name) for name in ("accumulate", "reduce")):
        return ANALOG
    values = call.arg("value") if not isinstance(call.arg("value"), Tensor) else None
    source = call.constant(values) if values is not None else call.signal(call.tensors[-1])
    return call.atoms.joined((call.signal(call.args[0]), source))


def join(call: Call, along: ChannelRule) -> Signal:
    """Return the signal of all operands side by side; ``along``: where a scale goes."""
    parts: list[Signal] = []
    for tensor in tensors_in(call.args[:1]):
        known = call.signal(tensor)
        if isinstance(known, Table) and known.scale.dims:
            known = _rescaled(known, _scale_after(along, call, tensor, known.scale, call.out))
        parts.append(known)
    return _joined(call, parts)


def window_max(call: Call, rank: int) -> Sequence[Signal]:
    """Return the signals of the largest value of each window, and of where it was.

    Not a move: the largest of ``1 - x`` is taken elsewhere than the largest of ``x``.
    ``rank``: how many dimensions a window has.
    """
    known = call.signal(call.args[0])
    outputs = call.outputs
    is_random = len(call.tensors) > 1  # fractional pooling: samples say where the windows lie
    geometry = None if is_random else call.geometry
    largest = part_of(known)
    if isinstance(known, Table):
        scale = _scale_after(_before_last(rank), call, call.args[0], known.scale, outputs[0])
        largest = _rescaled(call.atoms.joined((rescaled(known, UNSCALED),), geometry), scale)
    return [largest, *[INTEGER] * (len(outputs) - 1)]


# Costs


def window_max_cost(call: Call) -> Sequence[Cost]:
    """0: windows are compared; a row of its own."""
    return (Tally("pool", "max_pool"),)


def sum_cost(call: Call) -> Sequence[Cost]:
    """1 AC per value that is added to what was there, 1 MAC for a product; else 0."""
    how = call.arg("reduce", "")
    if not call.arg("accumulate") and how not in ("add", "multiply"):
        return ()
    index = call.arg("index", call.arg("indices"))
    values = index.numel() if isinstance(index, Tensor) else _indexed(call, index)
    if how == "multiply":
        return tallied(call, "pool", mac=values)
    return tallied(call, "pool", ac=values)


def _indexed(call: Call, indices: Sequence[Tensor | None]) -> int:
    """Return the number of elements of ``x[indices]``; with a mask, of those given for them."""
    x, values = call.args[0], call.tensors[-1]
    given = [index for index in indices if index is not None]
    if any(index.dtype in (torch.bool, torch.uint8) for index in given):
        return values.numel()
    kept = [n for i, n in enumerate(x.shape) if i >= len(indices) or indices[i] is None]
    return math.prod((*torch.broadcast_shapes(*(index.shape for index in given)), *kept))


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


def _before_last(number: int) -> ChannelRule:
    """Return the rule of operators that leave all but the last dimensions as they are."""
    return lambda args, source, out, dim: dim if dim < source.dim() - number else None


def _scale_after(
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


def _scale_reshaped(scale: Scale, before: tuple[int, ...], after: tuple[int, ...]) -> Scale | None:
    """Return a scale whose dimensions were split or merged: a function of all they become."""
    blocks = [b for b in _blocks(before, after) if any(dim in b[0] for dim in scale.dims)]
    if all(len(old) == len(new) == 1 for old, new in blocks):
        place = {old[0]: new[0] for old, new in blocks}
        return Scale(scale.name, tuple(place[dim] for dim in scale.dims))
    order = [dim for old, _ in blocks for dim in old]
    sizes = [([before[d] for d in old], [after[d] for d in new]) for old, new in blocks]
    turned = f"{scale.name} at {[order.index(dim) for dim in scale.dims]} as {sizes}"
    return Scale(turned, tuple(dim for _, new in blocks for dim in new))


def _blocks(before: tuple[int, ...], after: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """Return the least groups of dimensions that a reshape turns into one another."""
    left = [dim for dim, size in enumerate(before) if size != 1]
    right = [dim for dim, size in enumerate(after) if size != 1]
    blocks = []
    while left and right:
        old, new = [left.pop(0)], [right.pop(0)]
        while (a := math.prod(before[d] for d in old)) != (b := math.prod(after[d] for d in new)):
            if a < b:
                old.append(left.pop(0))
            else:
                new.append(right.pop(0))
        blocks.append((old, new))
    return blocks


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


# Rules

MOVES = Free("moves values")


def _move(
    *,
    whole: bool = False,
    pads: bool = False,
    repeats: bool = False,
    channel: ChannelRule | None = None,
    along: ChannelRule | None = None,
    piece: PieceRule | None = None,
    fill: Callable[[Call], Signal] | None = None,
) -> Rule:
    """Return the rule of an operator that moves positions.

    Args:
        whole, pads, repeats, channel, piece: see `Rule`.
        along: where a dimension goes that a scale lies along, if ``channel`` does not say.
        fill: what is put where there was nothing.
    """
    where = along or channel or nowhere

    def signal(call: Call) -> Signal | Sequence[Signal]:
        is_whole = whole or (pads and min(call.args[1], default=0) >= 0)
        moved = move(call, where, is_whole)
        return moved if fill is None else _joined(call, [moved[0], fill(call)])

    return Rule(
        signal,
        MOVES,
        moves=True,
        geometry=True,
        whole=whole,
        pads=pads,
        repeats=repeats,
        channel=channel,
        piece=piece,
    )


def _join(channel: ChannelRule) -> Rule:
    """Return the rule of an operator that puts tensors side by side."""
    signal = partial(join, along=channel)
    return Rule(signal, MOVES, moves=True, joins=True, repeats=True, channel=channel)


def _largest(rank: int) -> Rule:
    """Return the rule of a pooling of the largest values."""
    return Rule(partial(window_max, rank=rank), window_max_cost)


IN_ORDER = Rule(keep, MOVES, moves=True, geometry=True, in_order=True, whole=True)
SPLITS = _move(channel=of_same_size, piece=split)
LIFTS = Rule(lifted, COPY, lifts=True)
GATHERS = Rule(gather, Free("looks values up"))
PLACES = Rule(overwritten, MOVES, places=True)
MAY_ADD = Rule(overwritten, sum_cost, places=True)

RULES: dict[str, Rule] = {
    # The order of elements stays.
    **dict.fromkeys(
        ("view", "_unsafe_view", "_reshape_alias", "reshape", "unsqueeze", "squeeze", "clone",
         "detach", "alias", "view_copy", "_to_sparse", "_to_sparse_csr", "_to_dense"),
        IN_ORDER,
    ),
    # Positions change places.
    "permute": _move(whole=True, channel=permuted),
    "transpose": _move(whole=True, channel=swapped),
    "t": _move(whole=True, channel=turned),
    "flip": _move(whole=True, along=not_flipped),
    **dict.fromkeys(
        ("roll", "rot90", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
         "native_channel_shuffle", "squeeze_copy"),
        _move(whole=True),
    ),
    # Values are repeated.
    **dict.fromkeys(
        ("expand", "repeat"), _move(whole=True, repeats=True, channel=repeated_before)
    ),
    "repeat_interleave": Rule(repeated, MOVES),
    **{f"upsample_nearest{n}d": _move(along=_before_last(n)) for n in (1, 2, 3)},
    **{f"_upsample_nearest_exact{n}d": _move(along=_before_last(n)) for n in (1, 2, 3)},
    # Parts are taken.
    "select": _move(channel=taken_away, piece=selected),
    "unbind": _move(channel=taken_away, piece=unbound),
    "slice": _move(channel=of_same_size, piece=sliced),
    **dict.fromkeys(
        ("split", "unsafe_split", "split_with_sizes", "unsafe_split_with_sizes"), SPLITS
    ),
    **dict.fromkeys(("unfold", "diagonal"), _move()),
    **dict.fromkeys(("tril", "triu", "im2col", "diag_embed"), _move(fill=zero)),
    # A border is put around.
    "constant_pad_nd": _move(pads=True, along=unpadded, fill=border),
    **{f"reflection_pad{n}d": _move(pads=True, along=_before_last(n)) for n in (1, 2, 3)},
    **{f"replication_pad{n}d": _move(pads=True, along=_before_last(n)) for n in (1, 2, 3)},
    # Tensors are put side by side.
    "cat": _join(of_same_size),
    "stack": _join(stacked),
    # Literals become tensors.
    **dict.fromkeys(("lift", "lift_fresh"), LIFTS),
    # Values tell which positions are taken, or written into.
    **dict.fromkeys(
        ("index", "index_select", "gather", "take", "masked_select", "as_strided",
         "_unsafe_index"),
        GATHERS,
    ),
    **dict.fromkeys(
        ("index_copy", "index_fill", "masked_scatter", "slice_scatter", "select_scatter",
         "diagonal_scatter", "as_strided_scatter"),
        PLACES,
    ),
    **dict.fromkeys(
        ("index_put", "_index_put_impl", "_unsafe_index_put", "put", "scatter"), MAY_ADD
    ),
    # The largest value of each window is taken.
    **dict.fromkeys(
        ("max_pool2d_with_indices", "adaptive_max_pool2d", "mkldnn_max_pool2d",
         "fractional_max_pool2d"),
        _largest(2),
    ),
    **dict.fromkeys(
        ("max_pool3d_with_indices", "adaptive_max_pool3d", "mkldnn_max_pool3d",
         "fractional_max_pool3d"),
        _largest(3),
    ),
}  # fmt: skip
"""The rules of these operators."""
