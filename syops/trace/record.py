"""Define what is known of one tensor during a forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from syops._torch import version_of
from syops.ledger.steps import Step
from syops.ops.rule import Derivation, Softmax
from syops.ops.values import Signal
from syops.trace.aliasing import Layout, storage_of
from syops.trace.axes import Place
from syops.trace.filling import Filling
from syops.trace.lineage import LayerResult, Padding, ResultView


@dataclass(slots=True)
class Record:
    """Hold what is known of one tensor.

    A tensor is recognised by its implementation, since torch may drop the Python object of an
    intermediate result and make another. The weak reference ``ref`` keeps the implementation's
    address from being used again, but does not keep the values in memory.
    """

    ref: Any
    version: int
    storage: int
    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype
    signal: Signal
    view: ResultView | None = None
    padding: Padding | None = None
    name: str = ""
    made_of_weights: bool = False
    """Whether it is a view of a weight. ``weight.data`` has a version counter of its own."""
    readings: dict[Any, Any] | None = None
    """What was worked out for readings of it, once there is any; see `cache`."""
    step: Step | None = None
    """How it was made, where somebody asks."""
    recipe: Derivation | None = None
    """How it was computed from parameters, of a learned tensor."""
    offset: int = 0
    filling: Filling | None = None
    """The results that were written into it piece by piece."""
    scaled: tuple[float, Record] | None = None
    """The number that an attention scaled it by, and what was scaled."""
    scores: LayerResult | None = None
    """The product of two activations that it is, up to a scale, a mask and the like."""
    softened: Softmax | None = None
    """Of the weights of an attention: the softmax of such a product that they are."""
    fixed: bool = False
    """Made of parameters, literals and shapes alone: no data and no chance had a part in it."""
    parts: frozenset[str] = frozenset()
    """The parameters that it is made of, if it is fixed."""
    rounded: bool = False
    """Whether an operator that rounds made it of parameters, or had a part in that."""
    time: Place | None = None
    """Where its time-steps are, where that is known."""
    samples: Place | None = None
    """Where its samples are, where that is known and wanted."""
    mixed: bool = False
    """Whether several samples had a part in all of it, where samples are followed."""
    computed: bool = False
    """Whether the model computed it in this pass, or other code computed it of such a tensor."""
    earlier: bool = False
    """Whether it was computed so in an earlier pass."""
    value: Any = None
    """Which `Value` it holds, where inputs and weights alone made it, before any neuron."""

    def after_write(
        self, signal: Signal, version: int, padding: Padding | None = None, fixed: bool = False
    ) -> Record:
        """Return the record after a write: its place in memory, and what is given."""
        return Record(
            self.ref,
            version,
            self.storage,
            self.shape,
            self.stride,
            self.dtype,
            signal,
            padding=padding,
            made_of_weights=self.made_of_weights,
            step=self.step,
            fixed=fixed,
            parts=self.parts,
            offset=self.offset,
        )

    @property
    def cache(self) -> dict[Any, Any]:
        """What is kept of its values from one reading to the next."""
        if self.readings is None:
            self.readings = {}
        return self.readings

    @property
    def layout(self) -> Layout:
        """Where it lies in its storage."""
        return Layout(self.offset, self.shape, self.stride)

    @property
    def holds(self) -> Iterator[ResultView]:
        """The results that the tensor is made of."""
        if self.view is not None:
            yield self.view
        elif self.filling is not None:
            yield from (piece.view for piece in self.filling.pieces)

    def describes(self, tensor: Tensor) -> bool:
        """Return whether ``tensor``, whose record it is, still holds the values it was made for."""
        return (
            not self.ref.expired()
            and (
                self.version == version_of(tensor)
                or (self.made_of_weights and version_of(tensor) == 0)
            )
            and self.storage == storage_of(tensor)
        )

    def use(self, what: str, by: LayerResult | None = None) -> None:
        """Note that an operator reads the values of the tensor and does not only move them."""
        if self.view is not None or self.filling is not None:
            for view in self.holds:
                view.use(what, by)
        if self.padding is not None:
            self.padding.uses += 1

    def is_padded_by(self, inner: Tensor) -> bool:
        """Return whether the tensor is ``inner``, a part of it, with a border around it."""
        return (
            len(self.shape) == inner.dim() > 1
            and self.shape[0] == inner.shape[0]
            and self.shape.numel() > inner.numel()
            and self.stride == inner.stride()
        )


@dataclass(slots=True)
class Before:
    """Hold what was known of an operator's tensors before it ran."""

    records: list[tuple[Tensor, Record | None]]
    writes: list[tuple[Tensor, list[tuple[int, Record]]]]
    fixed: bool
    """Whether no data and no chance has a part in what it makes."""
