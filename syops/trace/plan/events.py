"""Tell what happens in a forward pass: its events, with the tensors in them told by number.

A tensor is told by when it was met: the number of its first appearance, or the name of the
parameter that it is. Whether it has been written into since is told by torch's version counters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from syops.ledger.updates import Updates
from syops.trace.axes import Axes
from syops.trace.neurons.library import TimeIn
from syops.trace.rows import CallSite

Id = int | str
"""The number of a tensor's first appearance in a pass, or the name of a parameter or buffer."""


class TensorMetadata(NamedTuple):
    """How the values of a tensor lie in memory."""

    shape: torch.Size
    stride: tuple[int, ...]
    offset: int | torch.SymInt
    dtype: torch.dtype
    device: torch.device

    def fits(self, tensor: Tensor, start: int = 0) -> bool:
        """Return whether the values of a tensor, which is not a sparse one, lie so.

        ``start``: the place in its memory from which the offset is told; see `Register.starts`.
        """
        shape, offset = tensor.shape, tensor.storage_offset() - start
        return (shape, tensor.stride(), offset, tensor.dtype, tensor.device) == self


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor that was met before; ``writes``: how often it has been written into since."""

    id: Id
    writes: int


@dataclass(frozen=True, slots=True)
class New:
    """A tensor that comes from outside of the pass, or that nobody saw being made.

    Attributes:
        metadata: of its values.
        shares: the tensors that it shares memory with.
        literal: its values, where an operator makes a constant of them.
    """

    metadata: TensorMetadata
    shares: tuple[str, ...] = ()
    literal: bytes | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor that an operator made; ``of``: the place of the operand that it is a view of."""

    metadata: TensorMetadata
    of: int | None = None


Met = Ref | New


@dataclass(frozen=True, slots=True)
class Given:
    """The model is called.

    Attributes:
        tensors: that it is called with.
        states: the buffers that are known to be states.
        signals: what is known of their values.
        time_axis, differ, axes: see `ForwardPass.begin`.
        weights: the parameters and buffers that the model has; see `Tensors.layouts`.
    """

    tensors: tuple[Met, ...]
    states: tuple[Met, ...]
    signals: tuple[Any, ...]
    time_axis: int | None
    differ: bool | None
    axes: Axes
    weights: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ReadOut:
    """Values leave a tensor for Python without an operator."""

    tensor: Met


@dataclass(frozen=True, slots=True)
class NeuronUpdated:
    """A neuron is called, which brings its states forward in time.

    Attributes:
        path: the neuron's.
        x: what it is called with.
        lies: where ``x`` has its time-steps; None: it is one.
        steps, samples: how far, and for how many samples.
        states: the tensors that it keeps.
        updates: what it comes to.
    """

    path: str
    x: Met
    lies: TimeIn | None
    steps: int
    samples: int
    states: tuple[Met, ...]
    updates: Updates = field(compare=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """A neuron that is looked into returns.

    Attributes:
        path: the neuron's.
        outputs: what it returns.
        kept: how many variables it keeps itself.
        module: the neuron.
    """

    path: str
    outputs: tuple[Met, ...]
    kept: int
    module: nn.Module = field(compare=False)


@dataclass(frozen=True, slots=True)
class Entered:
    """A neuron takes these tensors, and is not looked into."""

    path: str
    tensors: tuple[Met, ...]
    module: nn.Module = field(compare=False)


@dataclass(frozen=True, slots=True)
class Left:
    """A neuron returns.

    Attributes:
        path: the neuron's.
        outputs: what it returns.
        states: the tensors that it keeps.
        kept: how many variables these are.
        signal, is_declared: see `ForwardPass.leave_neuron`.
        module: the neuron.
        reads: the readings that are taken of what it returns.
    """

    path: str
    outputs: tuple[Met, ...]
    states: tuple[Met, ...]
    kept: int
    signal: Any
    is_declared: bool
    module: nn.Module = field(compare=False)
    reads: list[Read] = field(default_factory=list, compare=False)


@dataclass(frozen=True, slots=True)
class Ended:
    """The model returns.

    Attributes:
        outputs: what it returns.
        kept: other tensors of the pass that the model keeps.
        has_states: whether parameters or buffers were written into or replaced.
        replaced: the tensors that have taken the places of some; None for one of a special kind.
        unseen: the modules that read tensors which nobody saw being made.
    """

    outputs: tuple[Met, ...]
    kept: tuple[Id, ...]
    has_states: bool
    replaced: tuple[tuple[str, Met | None], ...]
    unseen: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Executed:
    """An operator is executed.

    Attributes:
        func: the overload.
        path, module: the innermost module.
        args, kwargs: its arguments, each tensor replaced by what it is.
        checks: whether torch reads values to check them, and lets none out.
        out: its result, each tensor replaced by what it is.
        site: where it was called, if it has a row.
        has_views: whether part of its result is a view of an operand.
        unseen: the places of operands that nobody saw being made.
        reads: the readings that are to be taken once it was executed.
    """

    func: Any
    path: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    checks: bool
    out: Any
    has_views: bool
    site: CallSite | None = None
    unseen: Sequence[int] = ()
    reads: Sequence[Read] = ()


Event = Given | ReadOut | NeuronUpdated | Sent | Entered | Left | Ended | Executed


@dataclass(frozen=True, slots=True)
class ReadSource:
    """Where a tensor that is read is found once an operator was executed.

    Attributes:
        place: its place among the operands, or, after these, among the results.
        view: its size, stride and offset, if it is another view of that memory.
    """

    place: int
    view: tuple[torch.Size, tuple[int, ...], int | torch.SymInt] | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """Take readings of tensors.

    Attributes:
        method: of the gauge.
        sources: the tensors.
        cache: the number of the cache that is used; None: none.
        args: further arguments.
    """

    method: str
    sources: tuple[ReadSource, ...]
    cache: int | None
    args: tuple[Any, ...]


def metadata_of(tensor: Tensor, start: int = 0) -> TensorMetadata:
    """Return how the values of a tensor lie in memory; ``start``: see `TensorMetadata.fits`."""
    offset = tensor.storage_offset() - start
    return TensorMetadata(tensor.shape, tensor.stride(), offset, tensor.dtype, tensor.device)
