"""Follow results that are written into a tensor piece by piece, as time-steps into a buffer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from syops.trace.aliasing import Box, Layout, box_in
from syops.trace.lineage import ResultView, together


@dataclass(frozen=True, slots=True)
class Piece:
    """Say what lies from ``start`` to ``stop``, with channels along the tensor's dimension."""

    start: int
    stop: int
    view: ResultView


@dataclass(frozen=True, slots=True)
class Filling:
    """Hold the results that were written into a tensor along one dimension, piece by piece."""

    dim: int
    pieces: tuple[Piece, ...]

    def met_by(self, box: Box | None) -> Iterator[Piece]:
        """Yield what may lie in a part of the tensor; None for one that is not known."""
        for piece in self.pieces:
            is_apart = box and (piece.stop <= box.start or box.stop <= piece.start)
            if box is None or box.dim != self.dim or not is_apart:
                yield piece

    def whole(self, shape: tuple[int, ...]) -> ResultView | None:
        """Return the results that fill a tensor of this shape; None if anything else is in it."""
        if sum(piece.stop - piece.start for piece in self.pieces) < shape[self.dim]:
            return None
        return together([piece.view for piece in self.pieces])


def written_into(
    before: Filling | None, box: Box, view: ResultView | None, what: str
) -> Filling | None:
    """Return what a tensor holds after a write into a part of it; what was there is used.

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


def moved_out(
    filling: Filling, outer: Layout, inner: Layout, what: str
) -> ResultView | Filling | None:
    """Return what a view holds of a tensor that is not filled with one thing.

    A view of the whole, such as `x[:]`, holds all that the tensor holds; torch 2.6 makes one to
    execute `x[:, 0]`. What a view may hold, and is not known to, is used.
    """
    if inner == outer:
        return filling
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
