"""Operators that only move, repeat or drop values. They cost nothing.

What keeps the order of elements keeps the signal; what moves positions keeps the value set
on an atom of its own, the same one for the same geometry of the same tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from syops.ops.rule import (
    COPY,
    Call,
    Cost,
    Free,
    Rule,
    Tally,
    canonical,
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

KEEP = (
    *("view", "_unsafe_view", "_reshape_alias", "reshape", "unsqueeze", "squeeze"),
    *("clone", "detach", "alias", "view_copy", "_to_sparse", "_to_sparse_csr", "_to_dense"),
)
VIEWS = ("view", "_unsafe_view", "_reshape_alias")
"""Reshapes that only some tensors allow: those that lie in memory as they have to."""
MOVE = (
    *("slice", "select", "permute", "transpose", "t", "flip"),
    *("roll", "rot90", "expand", "repeat", "unfold", "diagonal"),
    *("unbind", "split", "split_with_sizes", "unsafe_split"),
    *("unsafe_split_with_sizes", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"),
    *("native_channel_shuffle", "tril", "triu", "im2col", "squeeze_copy"),
    *("reflection_pad1d", "reflection_pad2d", "reflection_pad3d"),
    *("replication_pad1d", "replication_pad2d", "replication_pad3d"),
    *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "constant_pad_nd"),
    *("_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d"),
    "diag_embed",
)
WHOLE = {
    *("permute", "transpose", "t", "flip", "roll", "rot90"),
    *("expand", "repeat", "squeeze_copy"),
    *("pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle"),
}
"""Of these, those that leave out none of the values."""
ZERO_FILLING = ("tril", "triu", "im2col", "diag_embed")
GATHER = (
    "index",
    "index_select",
    "gather",
    "take",
    "masked_select",
    "as_strided",
    "_unsafe_index",
)
OVERWRITE = (
    *("index_put", "_index_put_impl", "scatter", "index_copy", "index_fill", "masked_scatter"),
    *("slice_scatter", "select_scatter", "diagonal_scatter", "as_strided_scatter"),
    *("put", "_unsafe_index_put"),
)
LIFTS = ("lift", "lift_fresh")
JOIN = ("cat", "stack")
WINDOW_MAX = (
    *("max_pool2d_with_indices", "max_pool3d_with_indices"),
    *("adaptive_max_pool2d", "adaptive_max_pool3d"),
    *("mkldnn_max_pool2d", "mkldnn_max_pool3d", "fractional_max_pool2d"),
    "fractional_max_pool3d",
)


def keep(call: Call) -> Signal:
    """The same values, unless the bits are read as another type."""
    source = call.args[0]
    if source.dtype != call.out.dtype:
        return UNKNOWN
    known = call.signal(source)
    if not isinstance(known, Table) or not known.scale.dims:
        return known
    return _rescaled(known, scale_after(call, source, known.scale, call.out))


def lifted(call: Call) -> Signal:
    """``torch.tensor(...)``: a single number is a constant, as if it had been a Python number."""
    literal = call.args[0]
    if literal.numel() != 1 or literal.device.type != "cpu" or literal.is_complex():
        return keep(call)
    return call.constant(literal.item())


def move(call: Call) -> Sequence[Signal]:
    known = call.signal(call.args[0])
    outputs = tensors_in((call.out,))
    if isinstance(known, Shown) and not _leaves_none_out(call):
        known = part_of(known)
    if not isinstance(known, Table):
        return [known] * len(outputs)
    moved = []
    for place, out in enumerate(outputs):
        scale = scale_after(call, call.args[0], known.scale, out)
        plain = rescaled(known, UNSCALED)
        assert isinstance(plain, Table)
        moved.append(_rescaled(call.atoms.rebased(plain, (call.geometry, place)), scale))
    return moved


def _leaves_none_out(call: Call) -> bool:
    name = canonical(call.func)
    return name in WHOLE or (name in PADS and min(call.args[1], default=0) >= 0)


def move_or_zero(call: Call) -> Signal:
    (moved,) = move(call)
    return _joined(call, [moved, constant(0)])


def constant_pad(call: Call) -> Signal:
    (moved,) = move(call)
    value = call.args[2] if len(call.args) > 2 else 0
    return _joined(call, [moved, call.constant(value)])


def _rescaled(signal: Signal, scale: Scale | None) -> Signal:
    """With the scale that is left of it; None: it is lost, and the values may be any."""
    return ANALOG if scale is None else rescaled(signal, scale)


def _joined(call: Call, parts: Sequence[Signal]) -> Signal:
    """Parts of one tensor, which keep a scale that they have in common along its dimensions."""
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
    """Which positions are taken depends on values: nothing else agrees with the result."""
    known = call.signal(call.args[0])
    return call.atoms.joined((known,)) if isinstance(known, Table) else part_of(known)


def repeated(call: Call) -> Signal:
    """Values repeated so many times each; or, of how many times alone, positions."""
    return gather(call) if isinstance(call.arg("self"), Tensor) else INTEGER


def overwritten(call: Call) -> Signal:
    """Some positions get new values. (Adding or reducing forms give analog values.)"""
    if any(call.arg(name) for name in ("accumulate", "reduce")):
        return ANALOG
    values = call.arg("value") if not isinstance(call.arg("value"), Tensor) else None
    source = call.constant(values) if values is not None else call.signal(call.tensors[-1])
    return call.atoms.joined((call.signal(call.args[0]), source))


def join(call: Call) -> Signal:
    parts: list[Signal] = []
    for tensor in tensors_in(call.args[:1]):
        known = call.signal(tensor)
        if isinstance(known, Table) and known.scale.dims:
            known = _rescaled(known, scale_after(call, tensor, known.scale, call.out))
        parts.append(known)
    return _joined(call, parts)


def window_max(call: Call) -> Sequence[Signal]:
    """The largest value of each window is one of its values; indices are never synaptic.

    Not a move: the largest of ``1 - x`` is taken elsewhere than the largest of ``x``.
    """
    known = call.signal(call.args[0])
    outputs = tensors_in((call.out,))
    is_random = len(call.tensors) > 1  # fractional pooling: samples say where the windows lie
    geometry = None if is_random else call.geometry
    largest = part_of(known)
    if isinstance(known, Table):
        scale = scale_after(call, call.args[0], known.scale, outputs[0])
        largest = _rescaled(call.atoms.joined((rescaled(known, UNSCALED),), geometry), scale)
    return [largest, *[INTEGER] * (len(outputs) - 1)]


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
    """Elements of ``x[indices]``; where a mask chooses them, those that are given for them."""
    x, values = call.args[0], call.tensors[-1]
    given = [index for index in indices if index is not None]
    if any(index.dtype in (torch.bool, torch.uint8) for index in given):
        return values.numel()
    kept = [n for i, n in enumerate(x.shape) if i >= len(indices) or indices[i] is None]
    return math.prod((*torch.broadcast_shapes(*(index.shape for index in given)), *kept))


MOVES = Free("moves values")
ADDING = ("index_put", "_index_put_impl", "_unsafe_index_put", "put", "scatter")
"""Overwriting operators that can also add to what was there."""

RULES: dict[str, Rule] = {
    **dict.fromkeys(KEEP, Rule(keep, MOVES, moves=True)),
    **dict.fromkeys(LIFTS, Rule(lifted, COPY)),
    **dict.fromkeys(MOVE, Rule(move, MOVES, moves=True)),
    **dict.fromkeys(ZERO_FILLING, Rule(move_or_zero, MOVES, moves=True)),
    **dict.fromkeys(GATHER, Rule(gather, Free("looks values up"))),
    **dict.fromkeys(OVERWRITE, Rule(overwritten, MOVES)),
    **dict.fromkeys(ADDING, Rule(overwritten, sum_cost)),
    **dict.fromkeys(JOIN, Rule(join, MOVES, moves=True)),
    **dict.fromkeys(WINDOW_MAX, Rule(window_max, window_max_cost)),
    "constant_pad_nd": Rule(constant_pad, MOVES, moves=True),
    "repeat_interleave": Rule(repeated, MOVES),
}

PADS = {
    *("constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d"),
    *("replication_pad1d", "replication_pad2d", "replication_pad3d"),
}


def channel_after(
    name: str, args: Sequence[object], source: Tensor, out: Tensor, dim: int
) -> int | None:
    """Where dimension ``dim`` of ``source`` went, or None where it is no dimension any more.

    Positions along it must stay as they are; every other dimension may be moved or repeated.
    """
    rank = source.dim()
    if name in ("permute", "transpose", "t"):
        order = list(range(rank))
        if name == "permute":
            order = [int(d) % rank for d in args[1]]  # type: ignore[attr-defined]
        elif name == "t":
            order.reverse()
        elif name == "transpose":
            first, second = (int(d) % rank for d in args[1:3])  # type: ignore[call-overload]
            order[first], order[second] = order[second], order[first]
        else:
            return None
        return order.index(dim)
    if name in ("expand", "repeat"):
        moved = dim + out.dim() - rank
        return moved if out.shape[moved] == source.shape[dim] else None
    if name in ("select", "unbind"):
        cut = int(args[1]) % rank if len(args) > 1 else 0  # type: ignore[call-overload]
        return None if cut == dim else dim - (cut < dim)
    if name == "stack":
        new = int(args[1]) % out.dim() if len(args) > 1 else 0  # type: ignore[call-overload]
        return dim + (new <= dim)
    if name in ("slice", "split", "unsafe_split", "cat"):
        return dim if out.shape[dim] == source.shape[dim] else None
    if name in KEEP:
        return _reshaped(source, out, dim)
    return None


def scale_after(call: Call, source: Tensor, scale: Scale, out: Tensor) -> Scale | None:
    """The scale of what a moving operator hands on of ``source``; None where it is lost.

    A scale that is one number stays what it is. One that differs along dimensions stays where
    positions along these keep their order, and has another name after a reshape that splits or
    merges them.
    """
    if not scale.dims:
        return scale
    name = canonical(call.func)
    if source is out or not out.numel():
        return None
    if name in KEEP:
        return _scale_reshaped(scale, tuple(source.shape), tuple(out.shape))
    dims = [_dim_after(name, call.args, source, out, dim) for dim in scale.dims]
    kept = tuple(dim for dim in dims if dim is not None)
    return Scale(scale.name, kept) if len(kept) == len(dims) else None


def _dim_after(
    name: str, args: Sequence[object], source: Tensor, out: Tensor, dim: int
) -> int | None:
    rank = source.dim()
    if name == "constant_pad_nd":
        return dim if dim < rank - len(args[1]) // 2 else None  # type: ignore[arg-type]
    if name in PADS or name in WINDOW_MAX or name.startswith(("upsample", "_upsample")):
        spatial = int(next(letter for letter in name if letter.isdigit()))
        return dim if dim < rank - spatial else None
    if name == "flip":
        return None if dim in {int(d) % rank for d in args[1]} else dim  # type: ignore[attr-defined]
    if name in ("split_with_sizes", "unsafe_split_with_sizes"):
        return dim if out.shape[dim] == source.shape[dim] else None
    return channel_after(name, args, source, out, dim)


def _scale_reshaped(scale: Scale, before: tuple[int, ...], after: tuple[int, ...]) -> Scale | None:
    """Dimensions that are split or merged: it is a function of all that they become."""
    blocks = [b for b in _blocks(before, after) if any(dim in b[0] for dim in scale.dims)]
    if all(len(old) == len(new) == 1 for old, new in blocks):
        place = {old[0]: new[0] for old, new in blocks}
        return Scale(scale.name, tuple(place[dim] for dim in scale.dims))
    order = [dim for old, _ in blocks for dim in old]
    sizes = [([before[d] for d in old], [after[d] for d in new]) for old, new in blocks]
    turned = f"{scale.name} at {[order.index(dim) for dim in scale.dims]} as {sizes}"
    return Scale(turned, tuple(dim for _, new in blocks for dim in new))


def _blocks(before: tuple[int, ...], after: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """The least groups of dimensions that a reshape turns into one another; without sizes of 1."""
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


def _reshaped(source: Tensor, out: Tensor, dim: int) -> int | None:
    """A dimension survives a reshape where its size and all that lies inside it do."""
    size, inside = source.shape[dim], math.prod(source.shape[dim + 1 :])
    for candidate in range(out.dim()):
        if out.shape[candidate] == size and math.prod(out.shape[candidate + 1 :]) == inside:
            return candidate
    return None
