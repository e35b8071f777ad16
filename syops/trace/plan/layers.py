"""Tell layers that need not be watched in a later pass: they do again what they have done.

A layer of torch that applies its weights is a function of its input, its weights and its settings.
Called in the same place of the plan with the same of all three, it executes the same operators.
These need not be told one by one: its result is compared with the plan's, and its readings are
taken of its input and its result.

That holds of classes of torch and of SNN libraries alone: a subclass may compute its settings or
its weights. It does not hold of a layer that reads other weights than its own, as one with a
parametrisation does, nor of one with an attribute that is not a plain value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from copy import deepcopy
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syops._torch import APPLYING, COMPUTING, buffers_of, marks_of, parameters_of, storage_identity
from syops.ops.traits import traits_of
from syops.trace.neurons import LIBRARIES, PACKAGES
from syops.trace.neurons.library import is_from
from syops.trace.plan.events import (
    Event,
    Executed,
    Id,
    New,
    Output,
    Read,
    ReadSource,
    Ref,
    TensorMetadata,
)
from syops.trace.plan.matching import Matching
from syops.trace.plan.register import KnownTensor, Register, is_plain
from syops.trace.plan.tree import PlanNode
from syops.trace.weights import applies_its_weights


@dataclass(frozen=True, slots=True)
class Layer:
    """What a layer does in one place of the plan.

    Attributes:
        kind: its class.
        methods: what computes its result, see `_METHODS`.
        attributes: the names of all its attributes.
        settings, values: gives its settings, which are these.
        x: its input.
        weights: those that it reads, by their names in the module; None for one that it lacks.
        end: the last event of the call.
        result: how the result lies in memory.
        place: the number of the result among the tensors that the call makes.
        made: how many tensors these are.
        reads: the readings that are taken, of its input (0) and its result (1).
    """

    kind: type
    methods: tuple[Any, ...]
    attributes: frozenset[str]
    settings: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    values: tuple[Any, ...]
    x: Ref
    weights: tuple[tuple[str, Ref | None], ...]
    end: PlanNode
    result: TensorMetadata
    place: int
    made: int
    reads: tuple[Read, ...]

    def is_called(self, module: nn.Module, x: Tensor, match: Matching) -> bool:
        """Return whether a layer that is about to run has the same input, weights and settings."""
        attributes = vars(module)
        if (
            type(module) is not self.kind
            or attributes.keys() != self.attributes
            or not applies_its_weights(module)
            or _methods(self.kind) != self.methods
            or not _calls_torch()
            or not _is_same(self.values, self.settings(attributes))
            or not match.met(self.x, x)
            or torch.is_autocast_enabled(x.device.type)
            or torch.is_inference_mode_enabled()
            or torch.is_grad_enabled()  # autograd keeps tensors that the layer makes inside
        ):
            return False
        weights = _weights(module)
        for name, told in self.weights:
            tensor = weights.get(name)
            if tensor is not told and (told is None or not match.met(told, tensor)):
                return False
        return True

    def returns(self, out: Any, x: Tensor, register: Register) -> bool:
        """Return whether a result of the layer is the plan's, and note it."""
        if not isinstance(out, Tensor) or not is_plain(out) or not self.result.fits(out):
            return False
        marks = marks_of(out)
        if marks[0] in register.entries or marks[1] == storage_identity(x):
            return False
        register.skip(self.place - 1)
        register.add(out, self.result, marks)
        register.skip(self.made - self.place)
        return True


@dataclass(frozen=True, slots=True)
class LayerCall:
    """A call of a layer that is watched.

    Attributes:
        start: the last event before it.
        module: the layer.
        x: its input.
        met: how many tensors were met before it.
    """

    start: PlanNode
    module: nn.Module
    x: Tensor
    met: int

    def learned(self, end: PlanNode, out: Any, register: Register) -> Layer | None:
        """Return what the layer has done; None where it has to be watched each time.

        Args:
            end: the last event of the call.
            out: what it returned.
            register: the tensors that were met.
        """
        x, result = register.entry(self.x), register.entry(out) if isinstance(out, Tensor) else None
        events = end.path(after=self.start)
        if x is None or result is None or not all(self._is_told_by_input(e, x) for e in events):
            return None
        made = {entry.id: entry for entry in register.since(self.met)}
        is_new = result.id in made and result.storage not in {x.storage, *register.tensors.storages}
        if not is_new or marks_of(out)[2] != result.version:
            return None
        reads = self._reads(events, {**made, x.id: x}, x, result)
        if reads is None or torch.is_autocast_enabled(self.x.device.type):
            return None
        kind, attributes = type(self.module), vars(self.module)
        settings = itemgetter("training", *(name for name in attributes if name not in _OF_ALL))
        values, methods = settings(attributes), _methods(kind)
        named = {ref.id for e in events for ref in _operands(e)}
        weights = tuple(_weights_told(self.module, named, register))
        reads_others = not {ref.id for _, ref in weights if ref} >= {
            told for told in named if isinstance(told, str)
        }
        is_known = all(map(_is_of_torch, (*kind.__mro__[:-1], *methods))) and _calls_torch()
        if reads_others or not is_known or not _is_setting(values):
            return None
        assert isinstance(result.id, int)
        return Layer(
            kind,
            methods,
            frozenset(attributes),
            settings,
            deepcopy(values),
            Ref(x.id, marks_of(self.x)[2] - x.version),
            weights,
            end,
            result.metadata,
            result.id - self.met,
            register.met - self.met,
            tuple(reads),
        )

    def _is_told_by_input(self, event: Event | None, x: KnownTensor) -> bool:
        """Return whether an event is an operator of the layer on its input and weights alone."""
        if not isinstance(event, Executed) or event.module is not self.module or event.unseen:
            return False
        traits = traits_of(event.func)
        return not (traits.targets or traits.is_random) and all(
            type(told) is Ref
            and (isinstance(told.id, str) or told.id == x.id or told.id > self.met)
            for told in _operands(event)
        )

    def _reads(
        self,
        events: Sequence[Any],
        known: Mapping[Id, KnownTensor],
        x: KnownTensor,
        result: KnownTensor,
    ) -> list[Read] | None:
        """Return the readings of a call, of its input and result; None if others are read."""
        reads, number = [], self.met
        memory: dict[Id, Id] = {}  # of a view that of its base; addresses are used again
        for event in events:
            operands = [told.id for told in _operands(event)]
            ids = list(operands)
            for told in _flat(event.out):
                number += type(told) is Output
                ids.append(number if type(told) is Output else told.id)
                if type(told) is Output and told.of is not None:
                    memory[number] = memory.get(operands[told.of], operands[told.of])
            for read in event.reads:
                sources = tuple(
                    _seen_from((x, result), known.get(ids[source.place]), source, memory)
                    for source in read.sources
                )
                if None in sources:
                    return None
                reads.append(replace(read, sources=sources))
        return reads


def _seen_from(
    bases: Sequence[KnownTensor],
    entry: KnownTensor | None,
    source: ReadSource,
    memory: Mapping[Id, Id],
) -> ReadSource | None:
    """Return where a tensor is found from the input or result of a layer, whose memory it shares.

    ``memory``: by number of a view, the tensor that it is a view of.
    """
    if entry is None:
        return None
    for place, base in enumerate(bases):
        if entry is base and source.view is None:
            return ReadSource(place)
        if memory.get(entry.id, entry.id) == memory.get(base.id, base.id):
            metadata = entry.metadata
            view = source.view or (metadata.shape, metadata.stride, metadata.offset)
            return ReadSource(place, view) if metadata.dtype == base.metadata.dtype else None
    return None


def _weights(module: nn.Module) -> dict[str, Tensor | None]:
    """Return the parameters and buffers of a module itself by their names in it."""
    return {**parameters_of(module), **buffers_of(module)}


def _weights_told(
    module: nn.Module, named: Set[Id], register: Register
) -> Iterator[tuple[str, Ref | None]]:
    """Yield those weights of a layer that it lacks or that are among the ones named."""
    for name, tensor in _weights(module).items():
        told = None if tensor is None else register.entry(tensor)
        if tensor is None:
            yield name, None
        elif told is not None and told.id in named:
            yield name, Ref(told.id, marks_of(tensor)[2] - told.version)


def _operands(event: Any) -> list[Any]:
    """Return what is told of the operands of an operator, in the order of `operands_of`."""
    return list(_flat((*event.args, *event.kwargs.values())))


def _flat(told: Any) -> Iterator[Any]:
    if isinstance(told, (Ref, New, Output)):
        yield told
    elif isinstance(told, (list, tuple)):
        for item in told:
            yield from _flat(item)


_PLAIN = {int, float, bool, str, type(None)}
_OF_ALL = frozenset(vars(nn.Module()))
"""The attributes of every module: its structure and hooks."""
_METHODS = (*COMPUTING, *(name for library in LIBRARIES for name in sorted(library.forwards)))


def _methods(kind: type) -> tuple[Any, ...]:
    """Return the methods of a class by which a layer computes its result."""
    return tuple([getattr(kind, name) for name in _METHODS if hasattr(kind, name)])


def _is_of_torch(part: object) -> bool:
    """Return whether a class or method is one of torch, of an SNN library or of Python."""
    if is_from(part, "torch.nn.modules") or getattr(part, "__objclass__", None) is object:
        return True
    return any(is_from(part, package) for package in PACKAGES)


def _calls_torch() -> bool:
    """Return whether nobody has replaced a function by which layers apply their weights."""
    return all(getattr(F, name) is function for name, function in APPLYING.items())


def _is_setting(value: Any) -> bool:
    """Return whether a value is of a type that layers of torch have for settings."""
    if type(value) in (tuple, list):
        return all(map(_is_setting, value))
    return type(value) in _PLAIN


def _is_same(told: Any, value: Any) -> bool:
    """Return whether a value is a setting of the same type and value."""
    if type(value) is not type(told):
        return False
    if type(told) in (tuple, list):
        return len(told) == len(value) and all(map(_is_same, told, value))
    return bool(told == value)
