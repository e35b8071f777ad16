"""Record the events of a pass that is analysed, and which readings are taken at each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from syops._torch import marks_of, storage_identity
from syops.ledger.updates import Updates
from syops.ops.rule import tensors_in
from syops.ops.traits import traits_of
from syops.trace.account import Account
from syops.trace.aliasing import storage_of
from syops.trace.axes import Axes
from syops.trace.gauge import Cache
from syops.trace.neurons.library import TimeIn
from syops.trace.plan.events import (
    Ended,
    Entered,
    Event,
    Executed,
    Given,
    Left,
    Met,
    NeuronUpdated,
    Output,
    Read,
    ReadOut,
    ReadSource,
    Ref,
    Sent,
    TensorMetadata,
    metadata_of,
)
from syops.trace.plan.register import Register, is_plain
from syops.trace.plan.tree import PlanNode
from syops.trace.rows import CallSite


class Recorder:
    """Grow the tree by what a pass does while it is analysed.

    Args:
        node: the last event that was recorded.
        register: the tensors that were met.
        caches: the numbers of those that were used, by their addresses, with the caches.

    Attributes:
        node: the last event; None once the pass has done what no plan can tell.
    """

    def __init__(
        self, node: PlanNode, register: Register, caches: dict[int, tuple[int, Cache]] | None = None
    ) -> None:
        self.node: PlanNode | None = node
        self.register = register
        self._caches = {} if caches is None else caches
        self._tensors: Sequence[Tensor] = ()
        self._outputs: dict[tuple[TensorMetadata, int | None], Output] = {}
        """Those that are alike are one object: a long pass leaves many."""
        self._trunk = node
        self._known = len(node.next)

    def give_up(self) -> None:
        """Note that no plan can describe the pass; later ones like it are analysed again."""
        self.node = None
        del self._trunk.next[self._known :]
        self._tensors = ()
        self._caches = {}

    def begun(
        self,
        given: Sequence[Tensor],
        signals: Sequence[Any],
        time_axis: int | None,
        differ: bool | None,
        axes: Axes,
    ) -> None:
        """Record the call of the model; see `ForwardPass.begin`."""
        buffers = self.register.tensors.buffered
        if self._can_tell((*given, *buffers)):
            self.register.give(given)
            met = tuple(map(self.register.meet, given))
            self.register.given = self.register.met
            states, weights = self.register.meet_states(buffers), self.register.weights
            self._add(Given(met, states, tuple(signals), time_axis, differ, axes, weights))

    def read_out(self, tensor: Tensor) -> None:
        """Record that values of a tensor are about to become Python numbers."""
        if self._can_tell([tensor]):
            self._add(ReadOut(self.register.meet(tensor)))

    def updated(
        self,
        updates: Updates,
        x: Tensor,
        lies: TimeIn | None,
        steps: int,
        samples: int,
        states: Sequence[Tensor],
    ) -> None:
        """Record a neuron's call; ``updates``: what it comes to. See `ForwardPass.update`."""
        if self._can_tell((x, *states)):
            met = self.register.meet(x)
            kept = self.register.meet_states(states)
            self._add(NeuronUpdated(updates.path, met, lies, steps, samples, kept, updates))

    def sent(self, where: tuple[str, nn.Module], outputs: Sequence[Tensor], kept: int) -> None:
        """Record what a neuron that is watched inside returns; see `ForwardPass.sent`."""
        if self._can_tell(outputs):
            path, module = where
            self._add(Sent(path, tuple(map(self.register.meet, outputs)), kept, module))

    def entered(self, where: tuple[str, nn.Module], tensors: Sequence[Tensor]) -> None:
        """Record the start of a neuron's ``forward``."""
        if self._can_tell(tensors):
            path, module = where
            self._add(Entered(path, tuple(map(self.register.meet, tensors)), module))

    def left(
        self,
        where: tuple[str, nn.Module],
        outputs: Sequence[Tensor],
        states: Sequence[Tensor],
        kept: int,
        signal: Any,
        is_declared: bool,
    ) -> None:
        """Record the end of a neuron's ``forward``; see `ForwardPass.leave_neuron`."""
        if self._can_tell((*outputs, *states)):
            path, module = where
            returned = tuple(map(self.register.meet, outputs))
            met = self.register.meet_states(states)
            self._add(Left(path, returned, met, kept, signal, is_declared, module))
            self._tensors = outputs

    def ended(
        self,
        model: nn.Module,
        given: Sequence[Tensor],
        outputs: Sequence[Tensor],
        has_states: bool,
        unseen: tuple[str, ...],
        account: Account,
    ) -> None:
        """Record the end of the pass, with what it comes to."""
        if self._can_tell(outputs):
            event = ended(self.register, model, given, outputs, has_states, unseen)
            self._add(event)
            if self.node is not None:
                self.node.end = account

    def _can_tell(self, tensors: Iterable[Tensor]) -> bool:
        """Return whether an event with these tensors can be part of the plan."""
        if self.node is not None and not all(map(is_plain, tensors)):
            self.give_up()
        return self.node is not None

    def _add(self, event: Event) -> None:
        """Add an event, unless a tensor in it shares memory though no operator made it a view.

        A stand-in for it would not share that memory; see `syops.trace.catch_up`.
        """
        if self.register.has_met_shared:
            self.give_up()
        if self.node is not None:
            self.node = self.node.add(event)

    def executed(
        self,
        func: Any,
        arguments: tuple[tuple[Any, ...], dict[str, Any]],
        out: Any,
        where: tuple[str, nn.Module],
        checks: bool,
        unseen: Sequence[Tensor],
        is_literal: bool,
    ) -> None:
        """Record an operator.

        Args:
            func: the overload.
            arguments: what it was called with.
            out: its result.
            where: the innermost module, after its path.
            checks: whether torch reads values to check them, and lets none out.
            unseen: the operands that nobody saw being made.
            is_literal: it makes a tensor of a value of Python's.
        """
        operands, results = operands_of(*arguments), tensors_in((out,))
        if not self._can_tell((*operands, *results)):
            return
        meet: Callable[[Tensor], Met] = self.register.meet
        meet = partial(self.register.meet, literal=True) if is_literal else meet
        args, kwargs = _with_each(arguments[0], meet), _with_each(arguments[1], meet)
        told = _with_each(out, lambda x: self._result(x, operands))
        if _lies_before(told) or _retyped(told, operands) or self._writes_outside(func, arguments):
            self.give_up()
            return
        places: Sequence[int] = ()
        if unseen:
            places = [place for place, x in enumerate(operands) if any(x is one for one in unseen)]
        has_views = _any_view(told)
        self._add(Executed(func, *where, args, kwargs, checks, told, has_views, unseen=places))
        self._tensors = (*operands, *results)

    def _writes_outside(self, func: Any, arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> bool:
        """Return whether an operator writes into memory that is there before and after the pass.

        That is the memory of parameters, buffers and inputs, also through a view of it.
        """
        written = traits_of(func).written(*arguments)
        return any(self.register.is_outside(storage_identity(tensor)) for tensor in written)

    def _result(self, tensor: Tensor, operands: Sequence[Tensor]) -> Ref | Output:
        entry = self.register.entry(tensor)
        if entry is not None:
            return Ref(entry.id, 0)
        of = base_of(tensor, operands)
        metadata = metadata_of(tensor, self.register.start(tensor))
        output = self._outputs.get((metadata, of))
        if output is None:
            output = self._outputs[metadata, of] = Output(metadata, of)
        base = None if of is None else self.register.entry(operands[of])
        version = None if base is None else base.version
        self.register.add(tensor, output.metadata, marks_of(tensor), version)
        return output

    def analysed(self) -> None:
        """Drop the tensors of the last operator, which is analysed."""
        self._tensors = ()

    @property
    def _event(self) -> Executed | Left | None:
        """The event that is being analysed."""
        event = self.node.event if self.node is not None and self._tensors else None
        return event if isinstance(event, (Executed, Left)) else None

    def called_at(self, site: CallSite) -> None:
        """Record that the operator has a row, of this call site."""
        event = self._event
        if isinstance(event, Executed):
            event.site = site

    def read(
        self, method: str, tensors: Sequence[Tensor], cache: Cache | None, args: tuple[Any, ...]
    ) -> None:
        """Record a reading."""
        event = self._event
        if event is None:
            self.give_up()
            return
        sources = [source for x in tensors if (source := self._source(x)) is not None]
        number = None
        if cache is not None:
            number, _ = self._caches.setdefault(id(cache), (len(self._caches), cache))
        if len(sources) < len(tensors):
            self.give_up()
            return
        read = Read(method, tuple(sources), number, args)
        if isinstance(event, Executed):
            event.reads = (*event.reads, read)
        else:
            event.reads.append(read)

    def _source(self, tensor: Tensor) -> ReadSource | None:
        same = next((i for i, known in enumerate(self._tensors) if known is tensor), None)
        if same is not None:
            return ReadSource(same)
        base = base_of(tensor, self._tensors)
        if base is None or self._tensors[base].dtype != tensor.dtype:
            return None
        offset = tensor.storage_offset() - self.register.start(tensor)
        return ReadSource(base, (tensor.shape, tensor.stride(), offset))


def ended(
    register: Register,
    model: nn.Module,
    given: Sequence[Tensor],
    outputs: Sequence[Tensor],
    has_states: bool,
    unseen: tuple[str, ...],
) -> Ended:
    """Return the end of a pass."""
    kept = register.kept((*given, *outputs), model)
    returned = tuple(map(register.meet, outputs))
    now = register.tensors.replaced() if has_states else {}
    replaced = tuple((name, register.meet(x) if is_plain(x) else None) for name, x in now.items())
    return Ended(returned, kept, has_states, replaced, unseen)


def operands_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """Return the tensors that an operator is called with."""
    return tensors_in((*args, *kwargs.values()) if kwargs else args)


def _any_view(out: Any) -> bool:
    """Return whether part of a result is a view of an operand."""
    if isinstance(out, (list, tuple)):
        return any(map(_any_view, out))
    return isinstance(out, Output) and out.of is not None


def _lies_before(out: Any) -> bool:
    """Return whether a result lies in the memory of an input of the model, and before it."""
    if isinstance(out, Output):
        return out.metadata.offset < 0
    return isinstance(out, (list, tuple)) and any(map(_lies_before, out))


def _retyped(out: Any, operands: Sequence[Tensor]) -> bool:
    """Return whether a result is a view of an operand that reads its memory as another dtype."""
    if isinstance(out, Output):
        return out.of is not None and operands[out.of].dtype != out.metadata.dtype
    return isinstance(out, (list, tuple)) and any(_retyped(item, operands) for item in out)


def base_of(tensor: Tensor, others: Sequence[Tensor]) -> int | None:
    """Return the place of the first tensor that shares its memory with ``tensor``."""
    storage = storage_of(tensor)
    for place, other in enumerate(others):
        if storage_of(other) == storage:
            return place
    return None


def _with_each(value: Any, told: Callable[[Tensor], Any]) -> Any:
    """Return a value with each tensor in it replaced."""
    if isinstance(value, Tensor):
        return told(value)
    if isinstance(value, dict):
        return {name: _with_each(item, told) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_with_each(item, told) for item in value])
    return value
