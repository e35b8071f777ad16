"""Follows results that are written into a tensor piece by piece: time-steps into a buffer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from syops.trace.lineage import View, together


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the elements of a tensor lie in its storage."""

    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def end(self) -> int:
        """The place after the last element."""
        sizes = zip(self.shape, self.stride, strict=True)
        return self.offset + sum((size - 1) * stride for size, stride in sizes) + 1

    def meets(self, other: Layout) -> bool:
        """Whether they might have elements in common."""
        return self.offset < other.end and other.offset < self.end


def offset_of(tensor: Tensor) -> int:
    """Where the first element lies; 0 for a tensor without a storage of its own."""
    return int(tensor.storage_offset()) if tensor.layout == torch.strided else 0


def layout_of(tensor: Tensor) -> Layout:
    """Where the elements of a tensor lie."""
    return Layout(offset_of(tensor), tuple(tensor.shape), tensor.stride())


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a tensor that is whole along all dimensions but one.

    Attributes:
        dim: the dimension along which it goes from ``start`` to ``stop``.
        places: the dimension of the tensor that each of its own is; -1 for those of size 1.
        is_whole: whether it is all of the tensor.
    """

    dim: int
    start: int
    stop: int
    places: tuple[int, ...]
    is_whole: bool


def box_in(outer: Layout, inner: Layout) -> Box | None:
    """The part of ``outer`` that ``inner`` is, if it is a box."""
    rest = inner.offset - outer.offset
    dims = [dim for dim, size in enumerate(outer.shape) if size > 1]
    at = {outer.stride[dim]: dim for dim in dims}
    if rest < 0 or not dims or 0 in at or len(at) < len(dims):
        return None
    starts = {}
    for dim in sorted(dims, key=lambda dim: -outer.stride[dim]):
        starts[dim], rest = divmod(rest, outer.stride[dim])
    sizes = zip(inner.shape, inner.stride, strict=True)
    places = tuple(-1 if size == 1 else at.get(stride, -2) for size, stride in sizes)
    if rest or -2 in places:
        return None
    own = {place: size for place, size in zip(places, inner.shape, strict=True) if place >= 0}
    stops = {dim: start + own.get(dim, 1) for dim, start in starts.items()}
    cut = [dim for dim in dims if stops[dim] - starts[dim] != outer.shape[dim]]
    if len(cut) > 1 or any(stop > outer.shape[dim] for dim, stop in stops.items()):
        return None
    dim = cut[0] if cut else dims[0]
    return Box(dim, starts[dim], stops[dim], places, is_whole=not cut)


@dataclass(frozen=True, slots=True)
class Piece:
    """What lies from ``start`` to ``stop``; its channels lie where those of the tensor do."""

    start: int
    stop: int
    view: View


@dataclass(frozen=True, slots=True)
class Filling:
    """Results that were written into a tensor along one dimension, piece by piece."""

    dim: int
    pieces: tuple[Piece, ...]

    def met_by(self, box: Box | None) -> Iterator[Piece]:
        """What may lie in a part of the tensor; None for one that is not known."""
        for piece in self.pieces:
            is_apart = box and (piece.stop <= box.start or box.stop <= piece.start)
            if box is None or box.dim != self.dim or not is_apart:
                yield piece

    def whole(self, shape: tuple[int, ...]) -> View | None:
        """The results that a tensor of this shape is made of, where nothing else is in it."""
        if sum(piece.stop - piece.start for piece in self.pieces) < shape[self.dim]:
            return None
        return together([piece.view for piece in self.pieces])


def written_into(before: Filling | None, box: Box, view: View | None, what: str) -> Filling | None:
    """What a tensor holds after something was written into a part of it; what was there is used.

    Args:
        before: what it held.
        box: the part.
        view: the results that were written, or None for anything else.
        what: the operator.
    """
    kept: tuple[Piece, ...] = ()
    if before is not None:
        met = list(before.met_by(box))
        for piece in met:
            if before.dim != box.dim or piece.start < box.start or piece.stop > box.stop:
                piece.view.use(what)
        kept = tuple(piece for piece in before.pieces if piece not in met)
    if view is not None:
        dim = box.places[view.dim]
        if dim < 0 or dim == box.dim:
            view.use(what)
        else:
            kept = (*kept, Piece(box.start, box.stop, replace(view, dim=dim)))
    return Filling(box.dim, kept) if kept else None


def moved_out(filling: Filling, outer: Layout, inner: Layout, what: str) -> View | None:
    """What a view of a tensor holds that is not filled with one thing; use what it may hold."""
    box = box_in(outer, inner)
    met = list(filling.met_by(box))
    if box is not None and box.dim == filling.dim and len(met) == 1:
        (piece,) = met
        is_all = (piece.start, piece.stop) == (box.start, box.stop)
        if is_all and piece.view.dim in box.places:
            return replace(piece.view, dim=box.places.index(piece.view.dim))
    for piece in met:
        piece.view.use(what)
    return None
