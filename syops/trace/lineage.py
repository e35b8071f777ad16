"""Follow the results of layers and norms, and padded tensors, through operators that move them.

Two questions are answered only by the rest of a forward pass: what reads the results of a layer or
a norm, and whether a padded tensor is read by one operator alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from syops._torch import version_of
from syops.ledger.rows import Row
from syops.ops.classes import Unit
from syops.ops.rule import Piece, Rule
from syops.trace.axes import NOWHERE, Axes, Split

PART: Piece = (-1, 0, 0)
"""A part of a result that is not an interval."""


@dataclass(frozen=True, slots=True)
class LayerKey:
    """Name weights that can take up a scale and a shift of their results.

    Attributes:
        path: the module that applies them, by the first name that the model has for it.
        weight: the parameter that they are, where a function applies it; "" where they are those
            of a module of torch's, whatever it makes them of.
        is_norm: whether they are the scale and shift of a normalisation.
    """

    path: str
    weight: str = ""
    is_norm: bool = False


@dataclass(frozen=True, slots=True)
class Slots:
    """Say where the channels lie of weights that a function applies.

    Attributes:
        outputs, inputs: dimensions of the parameter along which its channels lie.
        groups: those of a convolution.
        transposed: whether it is a transposed convolution.
        bias: the parameter that is added to the results, "" if there is none.
    """

    outputs: int
    inputs: int
    groups: int = 1
    transposed: bool = False
    bias: str = ""


@dataclass(frozen=True, slots=True)
class Use:
    """Describe one read of a result.

    Attributes:
        what: the operator.
        by: a normalisation of its channels, or a layer with weights for each of its channels.
        piece: which piece of it.
        biases: what had been added to it; see `ResultView`.
    """

    what: str
    by: LayerResult | None = None
    piece: Piece = None
    biases: tuple[str, ...] = ()


@dataclass(eq=False, slots=True)
class LayerResult:
    """Follow the result of one call of a synaptic operation or a norm, with every use of it.

    Attributes:
        layer: its weights; None if they cannot be changed.
        path: the module, by the name that it was called by.
        parts: the parameters that these are made of.
        slots: where they lie, if a function applied them.
        reads: the results that it read, where their channels are its own input channels.
        dims: number of dimensions of what a normalisation read.
        of_other: whether it is a normalisation of anything else than results.
        operator: what the rest of the pass tells that it was; "": what it was called at once.
    """

    layer: LayerKey | None
    path: str = ""
    parts: frozenset[str] = frozenset()
    slots: Slots | None = None
    reads: ResultView | None = None
    dims: int = 0
    of_other: bool = False
    operator: str = ""
    uses: list[Use] = field(default_factory=list)

    def named(self, row: Row) -> Row:
        """Return the row of the operation, by the name that it has now."""
        return replace(row, operator=self.operator) if self.operator else row


@dataclass(frozen=True, slots=True)
class ResultView:
    """Describe a tensor made of results, with their channels along one of its dimensions.

    Attributes:
        results: what it is made of.
        dim: position p along this dimension belongs to channel ``p // inner % channels``.
        channels, inner: see above.
        piece: what it has of a result, if that is one.
        biases: parameters with one value for each channel that were added to the results; "" for
            one that is computed.
    """

    results: tuple[LayerResult, ...]
    dim: int
    channels: int
    inner: int = 1
    piece: Piece = None
    biases: tuple[str, ...] = ()

    def use(self, what: str, by: LayerResult | None = None) -> None:
        """Note that the values are read."""
        for result in self.results:
            result.uses.append(Use(what, by, self.piece, self.biases))


class LayerTrail:
    """Collect what a forward pass tells of its layers.

    Attributes:
        results: of all calls, in their order.
        read: the parameters that something else than the layer that they belong to read.
    """

    def __init__(self) -> None:
        self.results: list[LayerResult] = []
        self.read: set[str] = set()

    def add(self, result: LayerResult) -> LayerResult:
        self.results.append(result)
        return result


class Unnormalised:
    """Hold what a norm read, moved as the norm's result was moved."""

    __slots__ = ("norm", "read", "tensor")

    def __init__(
        self, norm: LayerKey, tensor: Tensor, read: tuple[tuple[Tensor, int], ...] = ()
    ) -> None:
        self.norm = norm
        self.tensor = tensor
        self.read = read or ((tensor, version_of(tensor)),)

    @property
    def is_stale(self) -> bool:
        """Whether it has been written into since."""
        return any(version_of(tensor) != version for tensor, version in self.read)


@dataclass(slots=True)
class Padding:
    """Hold size and counts of what was padded, and how often the padded tensor is used.

    ``unit``: what its magnitudes are counted in. ``axes``, ``split``: how its counts are told apart
    by time-step and sample.
    """

    numel: int
    spikes: int
    magnitude: int | None
    unit: Unit = Unit()
    axes: Axes = NOWHERE
    split: Split | None = None
    of: Padding | None = None
    uses: int = 0

    def source(self) -> Padding | None:
        """Return what the rate is taken of: the tensor before all padding for a single use."""
        if self.uses != 1:
            return None
        return (self.of and self.of.source()) or self


def views_after(
    rule: Rule,
    name: str,
    args: Sequence[Any],
    views: Sequence[tuple[Tensor, ResultView | None]],
    outputs: Sequence[Tensor],
) -> list[ResultView | None]:
    """Return what the outputs of a moving operator hand on of its operands.

    Args:
        rule: the operator's.
        name: its name.
        args: its arguments.
        views: its tensor operands with what they hand on.
        outputs: its results.
    """
    if not views or all(view is None for _, view in views):
        return [None] * len(outputs)
    if rule.joins:
        after = [_joined(rule, args, views, outputs[0])]
    elif len(views) == 1:
        source, view = views[0]
        after = [_moved(rule, args, source, view, out, i) for i, out in enumerate(outputs)]
    else:
        after = [None] * len(outputs)
    if any(view is None for view in after):
        for _, view in views:
            if view is not None:
                view.use(name)
    return after


def _moved(
    rule: Rule,
    args: Sequence[Any],
    source: Tensor,
    view: ResultView | None,
    out: Tensor,
    index: int,
) -> ResultView | None:
    assert view is not None
    placed = _placed(rule, args, source, out, view)
    if placed is None or out.numel() >= source.numel():
        return placed
    piece = rule.piece(args, source, out, index) if rule.piece and view.piece is None else PART
    return replace(placed, piece=piece or PART)


def _placed(
    rule: Rule, args: Sequence[Any], source: Tensor, out: Tensor, view: ResultView
) -> ResultView | None:
    """Return a view with its channels where a move puts them; None where it puts them anywhere."""
    if rule.in_order:
        return _reshaped(source, out, view)
    dim = rule.channel(args, source, out, view.dim) if rule.channel else None
    return None if dim is None else replace(view, dim=dim)


def _reshaped(source: Tensor, out: Tensor, view: ResultView) -> ResultView | None:
    """Return a view after a reshape that keeps the channels along one dimension; else None."""
    if source.dtype != out.dtype or not out.numel():
        return None
    inner = view.inner * math.prod(source.shape[view.dim + 1 :])
    found: ResultView | None = None
    inside = out.numel()
    for dim, size in enumerate(out.shape):
        inside //= size
        if inner % inside or size * inside % (inner * view.channels):
            continue
        if inner == inside and size == view.channels:
            return replace(view, dim=dim, inner=1)
        found = found or replace(view, dim=dim, inner=inner // inside)
    return found


def _joined(
    rule: Rule, args: Sequence[Any], views: Sequence[tuple[Tensor, ResultView | None]], out: Tensor
) -> ResultView | None:
    """Join results along another dimension than their channels, mostly time."""
    placed = [view and _placed(rule, args, tensor, out, view) for tensor, view in views]
    known = [view for view in placed if view is not None]
    if len(known) < len(placed):
        return None
    return together(known)


def together(views: Sequence[ResultView]) -> ResultView | None:
    """Join results whose channels lie in the same way; None for others."""
    if len({(view.dim, view.channels, view.inner, view.biases) for view in views}) != 1:
        return None
    results = dict.fromkeys(result for view in views for result in view.results)
    piece = None if all(view.piece is None for view in views) else PART
    return replace(views[0], results=tuple(results), piece=piece)
