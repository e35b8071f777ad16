"""Keep what forward passes taught: their events in order, and what to measure at each.

The passes over many batches are mostly the same: the same operators on tensors of the same origin,
shape and layout. The first one is analysed, and each of its events becomes a node of a tree. A
later pass walks down the tree as long as it does the same; see `syops.trace.replay`. Where one
departs, the tree gets a branch.

A tensor is told by when it was met: the number of its first appearance, or the name of the
parameter that it is. Whether it has been written into since is told by torch's version counters.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from syops._torch import identity, storage_identity, unwatched, version_of, weak_reference
from syops.ledger.rows import Updates
from syops.ops.rule import tensors_in
from syops.ops.traits import traits_of
from syops.trace.account import Account
from syops.trace.gauge import Cache
from syops.trace.live import Tensors, storage_of
from syops.trace.states import tensors_of

Id = int | str
"""The number of a tensor's first appearance in a pass, or the name of a parameter or buffer."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the values of a tensor lie in memory."""

    shape: torch.Size
    stride: tuple[int, ...]
    offset: int | torch.SymInt
    dtype: torch.dtype
    device: torch.device

    def fits(self, tensor: Tensor) -> bool:
        """Return whether the values of a plain tensor lie so, on any device."""
        return (
            tensor.layout == torch.strided
            and tensor.shape == self.shape
            and tensor.dtype == self.dtype
            and tensor.stride() == self.stride
            and tensor.storage_offset() == self.offset
            and not tensor.is_inference()
        )


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor that was met before; ``writes``: how often it has been written into since."""

    id: Id
    writes: int


@dataclass(frozen=True, slots=True)
class New:
    """A tensor that comes from outside of the pass, or that nobody saw being made.

    Attributes:
        layout: of its values.
        shares: the tensors that it shares memory with.
        literal: its values, where an operator makes a constant of them.
    """

    layout: Layout
    shares: tuple[str, ...] = ()
    literal: bytes | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """A tensor that an operator made; ``of``: the place of the operand that it is a view of."""

    layout: Layout
    of: int | None = None


Met = Ref | New


@dataclass(frozen=True, slots=True)
class Given:
    """The model is called.

    Attributes:
        tensors: that it is called with.
        signals: what is known of their values.
        time_axis, differ: see `ForwardPass.begin`.
        weights: the parameters and buffers that the model has; see `Tensors.layouts`.
    """

    tensors: tuple[Met, ...]
    signals: tuple[Any, ...]
    time_axis: int | None
    differ: bool | None
    weights: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """Values leave a tensor for Python without an operator."""

    tensor: Met


@dataclass(frozen=True, slots=True)
class Brought:
    """A neuron is called, which brings its states forward in time.

    Attributes:
        path: the neuron's.
        steps, samples: how far, and for how many samples.
        states: the tensors that it keeps.
        updates: what it comes to.
    """

    path: str
    steps: int
    samples: int
    states: tuple[Met, ...]
    updates: Updates = field(compare=False)


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
    site: Hashable = None
    unseen: list[int] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)


Event = Given | Told | Brought | Entered | Left | Ended | Executed


@dataclass(frozen=True, slots=True)
class Source:
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
    sources: tuple[Source, ...]
    cache: int | None
    args: tuple[Any, ...]


class Node:
    """An event of a pass, and those that have come after it."""

    __slots__ = ("end", "event", "next", "parent")

    def __init__(self, event: Event | None = None, parent: Node | None = None) -> None:
        self.event = event
        self.parent = parent
        self.next: list[Node] = []
        self.end: Account | None = None
        """What a pass that ends here comes to."""

    def after(self, event: Event) -> Node | None:
        """Return the node of an event, if an equal one has come next before."""
        return next((node for node in self.next if node.event == event), None)

    def add(self, event: Event) -> Node:
        """Return the node of an event that has not come next before."""
        node = Node(event, self)
        self.next.append(node)
        return node

    def path(self) -> list[Event]:
        """Return the events up to this one, from the first one on."""
        events, node = [], self
        while node.event is not None and node.parent is not None:
            events.append(node.event)
            node = node.parent
        return events[::-1]


class Entry(NamedTuple):
    """What is known of a tensor that was met.

    Attributes:
        ref: keeps its address from being used again.
        id: which one it is.
        storage: the identity of its memory.
        version: when it was met.
        layout: of its values.
    """

    ref: Any
    id: Id
    storage: int
    version: int
    layout: Layout


class Register:
    """The tensors that a pass has met.

    Args:
        tensors: which of them are parameters and buffers.

    Attributes:
        entries: by identity.
        met: how many there are, but for parameters and buffers.
        given: how many of these the model was called with.
        has_met_shared: one shares memory with another one, though no operator made it a view.
        tensors: see above.
    """

    def __init__(self, tensors: Tensors) -> None:
        self.entries: dict[int, Entry] = {}
        self.met = 0
        self.given = 0
        self.has_met_shared = False
        self.tensors = tensors
        self._states: set[Id] = set()
        self._storages: set[int] = set()

    def entry(self, tensor: Tensor) -> Entry | None:
        """Return what is known of a tensor, if it was met or is a parameter or buffer."""
        entry = self.entries.get(identity(tensor))
        if entry is None:
            named = self.tensors.named(tensor)
            if named is not None:
                entry = self._enter(tensor, layout_of(tensor), *named)
        return entry

    def meet(self, tensor: Tensor, literal: bool = False) -> Met:
        """Say which tensor this is; or note it, and say what it is like, if it was not met.

        One that was given other memory, or lies there in another way, behind the back of the
        dispatcher equals none that was met.

        ``literal``: its values are to be told.
        """
        entry = self.entry(tensor)
        if entry is not None:
            if entry.storage != storage_identity(tensor) or not entry.layout.fits(tensor):
                return _MOVED
            return Ref(entry.id, version_of(tensor) - entry.version)
        shares = self._sharing(storage_identity(tensor))
        self.has_met_shared |= bool(shares)
        told = _bytes(tensor) if literal else None
        layout = layout_of(tensor)
        self.add(tensor, layout)
        return New(layout, shares, told)

    @property
    def weights(self) -> tuple[Any, ...]:
        """The parameters and buffers; None in place of the layout of one of a special kind."""
        return self.tensors.layouts(lambda x: layout_of(x) if is_plain(x) else None)

    def _sharing(self, storage: int) -> tuple[str, ...]:
        """Return the tensors that lie on a storage."""
        if storage not in self._storages and storage not in self.tensors.storages:
            return ()
        on_it = (e for e in self.entries.values() if e.storage == storage)
        shares = {str(entry.id) for entry in on_it if not entry.ref.expired()}
        return tuple(sorted(shares | self.tensors.names_on(storage)))

    def is_outside(self, storage: int) -> bool:
        """Return whether a parameter, a buffer or an input of the model lies on a storage."""
        return storage in self.tensors.storages or any(
            entry.storage == storage
            for entry in self.entries.values()
            if isinstance(entry.id, int) and entry.id <= self.given
        )

    def add(self, tensor: Tensor, layout: Layout, base: Tensor | None = None) -> None:
        """Note a tensor that was not met.

        Args:
            tensor: any plain tensor.
            layout: of its values.
            base: a tensor that it is a view of. A view takes over the version counter of its base
                once its operator has returned.
        """
        self.met += 1
        entry = None if base is None else self.entry(base)
        version = version_of(tensor) if entry is None else entry.version
        self._enter(tensor, layout, self.met, version)

    def _enter(self, tensor: Tensor, layout: Layout, id: Id, version: int) -> Entry:
        storage = storage_identity(tensor)
        self._storages.add(storage)
        entry = Entry(weak_reference(tensor), id, storage, version, layout)
        self.entries[identity(tensor)] = entry
        return entry

    def forget(self, met: int) -> None:
        """Forget the tensors that were noted after so many."""
        if met == self.met:
            return
        for key, entry in reversed(list(self.entries.items())):
            if isinstance(entry.id, int) and entry.id > met:
                del self.entries[key]
        self.met = met

    def meet_states(self, tensors: Iterable[Tensor]) -> tuple[Met, ...]:
        """Say which tensors the states of a neuron are, which it keeps."""
        met = self.met
        states = tuple(map(self.meet, tensors))
        self._states.update(range(met + 1, self.met + 1))
        return states

    def kept(self, besides: Iterable[Tensor], model: nn.Module) -> tuple[Id, ...]:
        """Return those of the tensors that the model keeps, but for the states of neurons.

        ``besides``: others that are not asked for.
        """
        known = {identity(tensor) for tensor in besides}
        alive = [
            entry
            for key, entry in self.entries.items()
            if key not in known
            and isinstance(entry.id, int)
            and entry.id not in self._states
            and not entry.ref.expired()
        ]
        if not alive:
            return ()
        storages = {storage_of(tensor) for tensor in tensors_of(model)}
        return tuple(entry.id for entry in alive if entry.storage in storages)


_MOVED = Ref("", -1)


def layout_of(tensor: Tensor) -> Layout:
    """Return how the values of a tensor lie in memory."""
    return Layout(
        tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.dtype, tensor.device
    )


def _bytes(tensor: Tensor) -> bytes:
    with unwatched():  # its values are not read by the model
        return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def is_plain(tensor: Tensor) -> bool:
    """Return whether a tensor can be told from others by its address, version and layout."""
    return (
        tensor.layout == torch.strided
        and not tensor.is_nested
        and not tensor.is_quantized
        and not tensor.is_inference()
        and not tensor.is_meta
        and not hasattr(type(tensor), "__tensor_flatten__")
    )


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
        self, node: Node, register: Register, caches: dict[int, tuple[int, Cache]] | None = None
    ) -> None:
        self.node: Node | None = node
        self.register = register
        self._caches = {} if caches is None else caches
        self._tensors: list[Tensor] = []
        self._trunk = node
        self._known = len(node.next)

    def give_up(self) -> None:
        """Note that no plan can describe the pass; later ones like it are analysed again."""
        self.node = None
        del self._trunk.next[self._known :]
        self._tensors = []
        self._caches = {}

    def begun(
        self,
        given: Sequence[Tensor],
        signals: Sequence[Any],
        time_axis: int | None,
        differ: bool | None,
    ) -> None:
        """Record the call of the model; see `ForwardPass.begin`."""
        if self._can_tell(given):
            met = tuple(map(self.register.meet, given))
            self.register.given = self.register.met
            weights = self.register.weights
            self._add(Given(met, tuple(signals), time_axis, differ, weights))

    def told(self, tensor: Tensor) -> None:
        """Record that values of a tensor are about to become Python numbers."""
        if self._can_tell([tensor]):
            self._add(Told(self.register.meet(tensor)))

    def brought(self, updates: Updates, steps: int, samples: int, states: Sequence[Tensor]) -> None:
        """Record a neuron's call; ``updates``: what it comes to. See `ForwardPass.update`."""
        if self._can_tell(states):
            met = self.register.meet_states(states)
            self._add(Brought(updates.path, steps, samples, met, updates))

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
            self._tensors = list(outputs)

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

        A stand-in for it would not share that memory; see `syops.trace.rehearse`.
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
        args, kwargs = _told(arguments, lambda x: self.register.meet(x, is_literal))
        told = _told(out, lambda x: self._result(x, operands))
        if _retyped(told, operands) or self._writes_outside(func, arguments):
            self.give_up()
            return
        places = [place for place, x in enumerate(operands) if any(x is one for one in unseen)]
        self._add(Executed(func, *where, args, kwargs, checks, told, unseen=places))
        self._tensors = [*operands, *results]

    def _writes_outside(self, func: Any, arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> bool:
        """Return whether an operator writes into memory that is there before and after the pass.

        That is the memory of parameters, buffers and inputs, also through a view of it.
        """
        written = map(storage_identity, traits_of(func).written(*arguments))
        return any(self.register.is_outside(storage) for storage in written)

    def _result(self, tensor: Tensor, operands: Sequence[Tensor]) -> Ref | Result:
        entry = self.register.entry(tensor)
        if entry is not None:
            return Ref(entry.id, 0)
        of = base_of(tensor, operands)
        layout = layout_of(tensor)
        self.register.add(tensor, layout, None if of is None else operands[of])
        return Result(layout, of)

    def analysed(self) -> None:
        """Drop the tensors of the last operator, which is analysed."""
        self._tensors = []

    @property
    def _event(self) -> Executed | Left | None:
        """The event that is being analysed."""
        event = self.node.event if self.node is not None and self._tensors else None
        return event if isinstance(event, (Executed, Left)) else None

    def called_at(self, site: Hashable) -> None:
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
        event.reads.append(Read(method, tuple(sources), number, args))

    def _source(self, tensor: Tensor) -> Source | None:
        same = next((i for i, known in enumerate(self._tensors) if known is tensor), None)
        if same is not None:
            return Source(same)
        base = base_of(tensor, self._tensors)
        if base is None or self._tensors[base].dtype != tensor.dtype:
            return None
        return Source(base, (tensor.shape, tensor.stride(), tensor.storage_offset()))


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


def _retyped(out: Any, operands: Sequence[Tensor]) -> bool:
    """Return whether a result is a view of an operand that reads its memory as another dtype."""
    if isinstance(out, Result):
        return out.of is not None and operands[out.of].dtype != out.layout.dtype
    return isinstance(out, (list, tuple)) and any(_retyped(item, operands) for item in out)


def base_of(tensor: Tensor, others: Sequence[Tensor]) -> int | None:
    """Return the place of the first tensor that shares its memory with ``tensor``."""
    storage = storage_of(tensor)
    return next((i for i, other in enumerate(others) if storage_of(other) == storage), None)


def _told(value: Any, told: Callable[[Tensor], Any]) -> Any:
    """Return a value with each tensor in it replaced."""
    if isinstance(value, Tensor):
        return told(value)
    if isinstance(value, dict):
        return {name: _told(item, told) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_told(item, told) for item in value)
    return value
