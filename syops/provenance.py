"""Follows results of synaptic operations, and padded tensors, through moves.

Needed for two questions that only the rest of a forward pass answers: does a convolution's
result go into a normalisation and nowhere else, and does a padded tensor feed only one operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from torch import Tensor

from syops.ledger import Row
from syops.rules.shape import JOIN, channel_after
from syops.signals import Unit

Piece = tuple[int, int, int] | None
"""(dimension, start, stop) of a part of a result; None is the whole."""


@dataclass(slots=True)
class Origin:
    """The result of one synaptic operation, and every use that was made of it."""

    path: str
    uses: list[tuple[Piece, bool]] = field(default_factory=list)
    """(which piece of it, whether by a normalisation)"""
    operator: str = ""
    """What the rest of the pass tells that it was; "": what it was called at once."""

    def named(self, row: Row) -> Row:
        """The row of the operation, by the name that it has now."""
        return replace(row, operator=self.operator) if self.operator else row

    @property
    def feeds_only_norms(self) -> bool:
        """Whether one normalisation reads it all, or each reads a piece of its own."""
        if not self.uses or not all(by_norm for _, by_norm in self.uses):
            return False
        if len(self.uses) == 1:
            return True
        pieces = sorted(piece for piece, _ in self.uses if piece is not None)
        return (
            len(pieces) == len(self.uses)
            and len({dim for dim, _, _ in pieces}) == 1
            and all(before[2] <= after[1] for before, after in pairwise(pieces))
        )


@dataclass(frozen=True, slots=True)
class View:
    """A tensor made of results of synaptic operations whose channels lie along ``dim``."""

    origins: tuple[Origin, ...]
    dim: int
    piece: Piece = None

    def use(self, by_norm: bool = False) -> None:
        """Its values are read."""
        for origin in self.origins:
            origin.uses.append((self.piece, by_norm))


@dataclass(slots=True)
class Padding:
    """A padded tensor: size and counts of what was padded, and how often the result is used.

    ``unit``: what its magnitudes are counted in.
    """

    numel: int
    spikes: int
    magnitude: int | None
    unit: Unit = Unit()
    of: Padding | None = None
    uses: int = 0

    def source(self) -> Padding | None:
        """What the firing rate is taken of: the tensor before all padding for one use alone."""
        if self.uses != 1:
            return None
        return (self.of and self.of.source()) or self


def views_after(
    name: str,
    args: Sequence[Any],
    views: Sequence[tuple[Tensor, View | None]],
    outputs: Sequence[Tensor],
) -> list[View | None]:
    """What the outputs of a moving operator hand on of its operands.

    Args:
        name: the operator.
        args: its arguments.
        views: its tensor operands with what they hand on.
        outputs: its results.
    """
    if not views or all(view is None for _, view in views):
        return [None] * len(outputs)
    if name in JOIN:
        after = [_joined(name, args, views, outputs[0])]
    elif len(views) == 1:
        source, view = views[0]
        after = [_moved(name, args, source, view, out, i) for i, out in enumerate(outputs)]
    else:
        after = [None] * len(outputs)
    if any(view is None for view in after):
        for _, view in views:
            if view is not None:
                view.use()
    return after


def _moved(
    name: str, args: Sequence[Any], source: Tensor, view: View | None, out: Tensor, index: int
) -> View | None:
    assert view is not None
    dim = channel_after(name, args, source, out, view.dim)
    if dim is None:
        return None
    if out.numel() >= source.numel():
        return replace(view, dim=dim)
    piece = _cut(name, args, source, out, index)
    if piece is None or view.piece is not None:
        return None
    return replace(view, dim=dim, piece=piece)


def _cut(name: str, args: Sequence[Any], source: Tensor, out: Tensor, index: int) -> Piece:
    """The part that an operator cuts out of its operand, if it is an interval."""
    dim = (args[1] if len(args) > 1 and name in ("select", "slice") else 0) % source.dim()
    size = source.shape[dim]
    if name == "select":
        start = args[2] % size
        return dim, start, start + 1
    if name == "unbind":
        dim = (args[1] if len(args) > 1 else 0) % source.dim()
        return dim, index, index + 1
    if name == "slice" and (len(args) < 5 or args[4] == 1):
        start = max(0, args[2] + size if (args[2] or 0) < 0 else args[2] or 0)
        return dim, start, start + out.shape[dim]
    if name in ("split", "chunk", "unsafe_split", "unsafe_chunk") and isinstance(args[1], int):
        dim = (args[2] if len(args) > 2 else 0) % source.dim()
        step = args[1] if "split" in name else -(-size // args[1])
        return dim, index * step, index * step + out.shape[dim]
    return None


def _joined(
    name: str, args: Sequence[Any], views: Sequence[tuple[Tensor, View | None]], out: Tensor
) -> View | None:
    """Results of one layer, put together again along another dimension (time, mostly)."""
    parts = [view for _, view in views if view is not None]
    dims = {channel_after(name, args, t, out, v.dim) for t, v in views if v is not None}
    paths = {origin.path for view in parts for origin in view.origins}
    whole = len(parts) == len(views) and all(view.piece is None for view in parts)
    if not whole or len(dims) > 1 or len(paths) > 1 or None in dims:
        return None
    (dim,) = dims
    assert dim is not None
    return View(tuple(origin for view in parts for origin in view.origins), dim)
