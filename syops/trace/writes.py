"""Follow results into tensors that they are written into, and out of these again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from torch import Tensor

from syops._torch import identity
from syops.trace.aliasing import box_in, layout_of, storage_of
from syops.trace.filling import Filling, moved_out, written_into
from syops.trace.lineage import ResultView
from syops.trace.record import Record

Aliases = Iterable[tuple[int, Record]]
"""Tensors on one memory: their keys, and what was known of them."""


def overwrite(aliases: Aliases, what: str) -> None:
    """Note that results are written into."""
    for _, alias in aliases:
        for view in alias.holds:
            view.use(what)


def fill(
    source: Tensor, record: Record | None, target: Tensor, aliases: Aliases, what: str
) -> dict[int, tuple[ResultView | None, Filling | None]]:
    """Return what each tensor on the memory of ``target`` holds once ``source`` is copied there.

    ``what``: the operator that does so.
    """
    is_same = source.shape == target.shape and source.dtype == target.dtype and source.numel() > 0
    view = record.view if record is not None and is_same else None
    inner = layout_of(target)
    held: dict[int, tuple[ResultView | None, Filling | None]] = {}
    for key, alias in aliases:
        outer = alias.layout
        if alias.dtype == target.dtype and not outer.meets(inner):
            held[key] = alias.view, alias.filling
            continue
        box = box_in(outer, inner) if alias.dtype == target.dtype else None
        if key == identity(target) or (box is not None and box.is_whole):
            place = -1 if view is None or box is None else box.places[view.dim]
            now = None if view is None or place < 0 else replace(view, dim=place)
            held[key] = now, None
        elif box is None or (alias.view is not None and alias.filling is None):
            overwrite([(key, alias)], what)
            held[key] = None, None
        else:
            filling = written_into(alias.filling, box, view, what)
            held[key] = filling.whole(alias.shape) if filling else None, filling
        if view is not None and not any(held[key]):
            view.use(what)
    if view is not None:
        held[identity(target)] = view, None
    elif record is not None:
        for each in record.holds:
            each.use(what)
    return held


def taken_out(
    records: Sequence[tuple[Tensor, Record | None]], outputs: Sequence[Tensor], what: str
) -> list[ResultView | Filling | None] | None:
    """Return what parts hold that are taken out of a tensor that results were written into.

    None if it is not such a tensor.
    """
    fillings = [(r.filling, r) for _, r in records if r and r.filling and r.view is None]
    if not fillings:
        return None
    if len(records) == 1 and all(storage_of(out) == fillings[0][1].storage for out in outputs):
        ((filling, record),) = fillings
        return [moved_out(filling, record.layout, layout_of(out), what) for out in outputs]
    for _, record in fillings:
        for view in record.holds:
            view.use(what)
    return None
