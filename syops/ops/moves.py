"""Describe operators that only move, repeat or drop values, which costs nothing.

What keeps the order of elements keeps the signal; what moves positions keeps the value set
on an atom of its own, the same one for the same geometry of the same tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from syops.ops import dims
from syops.ops.rule import (
    COPY,
    Call,
    ChannelRule,
    Cost,
    Free,
    PieceRule,
    Rule,
    tallied,
    tensors_in,
)
from syops.ops.values import (
    ANALOG,
    INTEGER,
    UNKNOWN,
    UNSCALED,
    Shown,
    Signal,
    TruthTable,
    constant,
    part_of,
    put_together,
    rescaled,
)

# Signals


def keep(call: Call) -> Signal:
    """Return the signal of the same values, unless the bits are read as another type."""
    source = call.args[0]
    if source.dtype != call.out.dtype:
        return UNKNOWN
    known = call.signal(source)
    if not isinstance(known, TruthTable) or not known.scale.dims:
        return known
    if source is call.out or not call.out.numel():
        return ANALOG
    scale = dims.scale_reshaped(known.scale, tuple(source.shape), tuple(call.out.shape))
    return dims.with_scale(known, scale)


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
    if not isinstance(known, TruthTable):
        return [known] * len(outputs)
    moved = []
    for place, out in enumerate(outputs):
        scale = dims.scale_after(along, call, call.args[0], known.scale, out)
        plain = rescaled(known, UNSCALED)
        assert isinstance(plain, TruthTable)
        moved.append(dims.with_scale(call.atoms.rebased(plain, (call.geometry, place)), scale))
    return moved


def zero(call: Call) -> Signal:
    """Return the signal of zeros, which are put where there was nothing."""
    return constant(0)


def border(call: Call) -> Signal:
    """Return the signal of what ``constant_pad_nd`` puts around its operand."""
    return call.constant(call.args[2] if len(call.args) > 2 else 0)


def _joined(call: Call, parts: Sequence[Signal]) -> Signal:
    """Return the signal of parts of one tensor, which keep a scale that they have in common."""
    shown = put_together(parts)
    if shown is not None:
        return shown
    scales = {p.scale for p in parts if isinstance(p, TruthTable) and p.support != {0} and p.values}
    if len(scales) != 1 or not all(isinstance(part, TruthTable) for part in parts):
        return call.atoms.joined(parts, call.geometry)
    (scale,) = scales
    plain = [rescaled(part, UNSCALED) for part in parts]
    return rescaled(call.atoms.joined(plain, call.geometry), scale)


def gather(call: Call) -> Signal:
    """Return the signal of values at positions that other values tell: nothing else agrees."""
    known = call.signal(call.args[0])
    return call.atoms.joined((known,)) if isinstance(known, TruthTable) else part_of(known)


def repeated(call: Call) -> Signal:
    """Return the signal of values that are repeated; of positions, if only numbers are given."""
    return gather(call) if isinstance(call.arg("self", None), Tensor) else INTEGER


def overwritten(call: Call) -> Signal:
    """Return the signal of a tensor that got new values at some positions."""
    if any(call.arg(name, None) for name in ("accumulate", "reduce")):
        return ANALOG
    values = call.arg("value", None) if not isinstance(call.arg("value", None), Tensor) else None
    source = call.constant(values) if values is not None else call.signal(call.tensors[-1])
    return call.atoms.joined((call.signal(call.args[0]), source))


def join(call: Call, along: ChannelRule) -> Signal:
    """Return the signal of all operands side by side; ``along``: where a scale goes."""
    parts: list[Signal] = []
    for tensor in tensors_in(call.args[:1]):
        known = call.signal(tensor)
        if isinstance(known, TruthTable) and known.scale.dims:
            scale = dims.scale_after(along, call, tensor, known.scale, call.out)
            known = dims.with_scale(known, scale)
        parts.append(known)
    return _joined(call, parts)


# Costs


def written_cost(call: Call) -> Sequence[Cost]:
    """1 AC per value that is added to one that was there, 1 MAC if multiplied; else 0."""
    how = call.arg("reduce", "")
    if not call.arg("accumulate", None) and how not in ("add", "multiply"):
        return ()
    index = call.arg("index", call.arg("indices", None))
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
    where = along or channel or dims.nowhere

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


IN_ORDER = Rule(keep, MOVES, moves=True, geometry=True, in_order=True, whole=True)
SPLITS = _move(channel=dims.of_same_size, piece=dims.split)
LIFTS = Rule(lifted, COPY, lifts=True)
GATHERS = Rule(gather, Free("looks values up"))
PLACES = Rule(overwritten, MOVES, places=True)
MAY_ADD = Rule(overwritten, written_cost, places=True)

RULES: dict[str, Rule] = {
    # The order of elements stays.
    **dict.fromkeys(
        ("view", "_unsafe_view", "_reshape_alias", "reshape", "unsqueeze", "squeeze", "clone",
         "detach", "alias", "view_copy", "_to_sparse", "_to_sparse_csr", "_to_dense"),
        IN_ORDER,
    ),
    # Positions change places.
    "permute": _move(whole=True, channel=dims.permuted),
    "transpose": _move(whole=True, channel=dims.swapped),
    "t": _move(whole=True, channel=dims.turned),
    "flip": _move(whole=True, along=dims.not_flipped),
    **dict.fromkeys(
        ("roll", "rot90", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
         "native_channel_shuffle", "squeeze_copy"),
        _move(whole=True),
    ),
    # Values are repeated.
    **dict.fromkeys(
        ("expand", "repeat"), _move(whole=True, repeats=True, channel=dims.repeated_before)
    ),
    "repeat_interleave": Rule(repeated, MOVES),
    **{f"upsample_nearest{n}d": _move(along=dims.before_last(n)) for n in (1, 2, 3)},
    **{f"_upsample_nearest_exact{n}d": _move(along=dims.before_last(n)) for n in (1, 2, 3)},
    # Parts are taken.
    "select": _move(channel=dims.taken_away, piece=dims.selected),
    "unbind": _move(channel=dims.taken_away, piece=dims.unbound),
    "slice": _move(channel=dims.of_same_size, piece=dims.sliced),
    **dict.fromkeys(
        ("split", "unsafe_split", "split_with_sizes", "unsafe_split_with_sizes"), SPLITS
    ),
    **dict.fromkeys(("unfold", "diagonal"), _move()),
    **dict.fromkeys(("tril", "triu", "im2col", "diag_embed"), _move(fill=zero)),
    # A border is put around.
    "constant_pad_nd": _move(pads=True, along=dims.unpadded, fill=border),
    **{f"reflection_pad{n}d": _move(pads=True, along=dims.before_last(n)) for n in (1, 2, 3)},
    **{f"replication_pad{n}d": _move(pads=True, along=dims.before_last(n)) for n in (1, 2, 3)},
    # Tensors are put side by side.
    "cat": _join(dims.of_same_size),
    "stack": _join(dims.stacked),
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
}  # fmt: skip
"""The rules of these operators."""
