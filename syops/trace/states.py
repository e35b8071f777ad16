"""Lend a model copies of its states for each pass, reset, and put its own states back."""

from __future__ import annotations

import copy
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import lru_cache, partial
from itertools import chain
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn

from syops._torch import CHILDREN, PARAMETERS, buffers_of, storage_identity
from syops.trace import neurons
from syops.trace.neurons.library import is_from
from syops.trace.paths import paths_of
from syops.trace.weights import applies_its_weights


class Lending:
    """Lend a model copies of its states for a pass.

    A state is any attribute of a module but its parameters: buffers, membrane potentials,
    counters, lists of spikes; also of a module that the model does not register, and of an object
    that holds tensors, or does so after a pass. What a pass does to them is lost when `put_back`
    gives the model its own ones again; what anybody else does to these between two passes stays.

    Attributes:
        not_reset: a sentence for each module whose own method to reset it failed.
        has_changed: whether the model is another one than when its states were lent first.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.has_changed = False
        self._registered: dict[nn.Module, str] = {}
        self._found: list[_Found] = []
        self._empty: list[_Empty] = []
        self._resettable: list[tuple[str, nn.Module]] = []
        self._shared: set[int] = set()
        self._is_lent = False
        self.not_reset: tuple[str, ...] = ()

    def put_back(self) -> None:
        """Give the model its own states again, if it has copies."""
        if self._is_lent:
            for found in self._found:
                found.put_back()
            for empty in self._empty:
                empty.put_back()
            self._is_lent = False

    def renew(self) -> None:
        """Give the model fresh copies of its states, and reset those known how to be reset."""
        self.put_back()
        self._find()
        self._lend(dict.fromkeys((("shared", s) for s in self._shared), True))
        for module in self._registered:
            vars(module)["training"] = False
        self.not_reset = neurons.reset(self._resettable)

    def shelter(self) -> None:
        """Give the model copies of its containers, so that it can be put back.

        For what runs on something else, and could only reach the model by accident.
        """
        self._find()
        self._lend({id(tensor): tensor for tensor in self._states()})

    def _find(self) -> None:
        """Find the states of the model, unless it has changed nothing since they were found."""
        registered, (holders, empty) = paths_of(self._model), _holders(self._model)
        self._empty = list(map(_Empty, empty))
        is_same = registered == self._registered and all(each.is_current for each in self._found)
        if is_same and list(map(id, holders)) == [id(each.holder) for each in self._found]:
            return
        self.has_changed |= bool(self._found) and not is_same
        self._registered, self._found = registered, list(map(_Found, holders))
        self._resettable = [
            (registered.get(holder, ""), holder)
            for holder in holders
            if isinstance(holder, nn.Module) and neurons.can_reset(holder)
        ]
        owners = Counter(map(storage_identity, self._states()))
        self._shared = {storage for storage, tensors in owners.items() if tensors > 1}

    def _states(self) -> Iterator[Tensor]:
        return chain.from_iterable(_tensors(found.changeable) for found in self._found)

    def _lend(self, copies: dict[Any, Any]) -> None:
        self._is_lent = True
        for found in self._found:
            found.lend(copies)


class _Found:
    """Remember one module, or an object that holds tensors, as it was found."""

    def __init__(self, holder: object) -> None:
        self.holder = holder
        attributes = vars(holder)
        self._attributes = dict(attributes)
        self._states = {name: value for name, value in attributes.items() if _is_state(name)}
        self.changeable = {
            name: value
            for name, value in self._states.items()
            if type(value) not in _PLAIN and _is_changeable(value)
        }

    @property
    def is_current(self) -> bool:
        """Whether it has the attributes that it was found with, and no others."""
        now, then = vars(self.holder), self._attributes
        return now.keys() == then.keys() and all(map(is_, map(now.get, then), then.values()))

    def put_back(self) -> None:
        attributes = vars(self.holder)
        attributes.update(self._states)
        if len(attributes) != len(self._attributes):
            for name in [n for n in attributes if n not in self._states and _is_state(n)]:
                del attributes[name]

    def lend(self, copies: dict[Any, Any]) -> None:
        attributes = vars(self.holder)
        for name, value in self.changeable.items():
            attributes[name] = _copied(value, copies)


class _Empty:
    """Remember an object without tensors: a pass may put its first ones there."""

    def __init__(self, holder: object) -> None:
        self._holder = holder
        self._attributes = dict(vars(holder))
        self._containers = [
            (value, copy.copy(value))
            for value in self._attributes.values()
            if type(value) in _CONTAINERS
        ]
        self._is_filled = False

    def put_back(self) -> None:
        self._is_filled = self._is_filled or _holds_tensors(self._holder)
        if self._is_filled:
            for container, found in self._containers:
                _refill(container, found)
            attributes = vars(self._holder)
            attributes.update(self._attributes)
            for name in [name for name in attributes if name not in self._attributes]:
                del attributes[name]


def _refill(container: Any, found: Any) -> None:
    """Give a container what it held."""
    container.clear()
    (container.extend if isinstance(container, (list, deque)) else container.update)(found)


def _holders(model: nn.Module) -> tuple[list[object], list[object]]:
    """Return what has states, and the objects beside it that have none yet.

    The modules are first, then comes what can be reached from their attributes.
    """
    found, empty = list[object](), list[object]()
    todo: deque[object] = deque(paths_of(model))
    met = set(map(id, todo))
    while todo:
        holder = todo.popleft()
        is_empty = not isinstance(holder, nn.Module) and not _holds_tensors(holder)
        (empty if is_empty else found).append(holder)
        states = [
            value
            for name, value in vars(holder).items()
            if type(value) not in _PLAIN and _is_state(name)
        ]
        for value in _reached(states):
            if id(value) not in met:
                for part in value.modules() if isinstance(value, nn.Module) else (value,):
                    met.add(id(part))
                    todo.append(part)
    return found, empty


def _reached(value: Any) -> Iterator[object]:
    """Yield the modules, and the objects with attributes, in a state."""
    match _sort(value):
        case "mapping" | "sequence":
            for item in _items(value):
                yield from _reached(item)
        case "module":
            yield value
        case "object" if isinstance(getattr(value, "__dict__", None), dict):
            yield value


def _items(container: Any) -> Iterable[Any]:
    """Return what a container holds; nothing if these are numbers and text alone, however many."""
    items = container.values() if isinstance(container, dict) else container
    return () if _PLAIN.issuperset(map(type, items)) else items


def _holds_tensors(value: Any) -> bool:
    """Return whether an object of the user's own has tensors, or containers of them."""
    return any(
        next(_tensors(item), None) is not None
        for item in vars(value).values()
        if _is_changeable(item)
    )


def _sort(value: Any) -> str:
    """Return what a value is to a state: "tensor", "module", "mapping", "sequence", or "object".

    "" if no tensor can be found in it.
    """
    kind: Any = type(value)
    return _sort_of(kind)


@lru_cache(maxsize=4096)
def _sort_of(kind: type) -> str:
    if issubclass(kind, Tensor):
        return "tensor"
    if issubclass(kind, nn.Module):
        return "module"
    if issubclass(kind, dict):
        return "mapping"
    if issubclass(kind, (list, tuple, set, deque)):
        return "sequence"
    return "" if issubclass(kind, _NO_HOLDERS) or is_from(kind, "torch") else "object"


_PLAIN = {bool, int, float, complex, str, bytes, type(None)}
"""Types of most attributes of a module; no tensor can be found in them."""

_NO_HOLDERS = (
    *(type, types.FunctionType, types.MethodType, types.ModuleType, partial, Enum),
    *(str, int, float, type(None)),
)


@lru_cache(maxsize=4096)
def _is_state(name: str) -> bool:
    """Return whether an attribute of that name is neither structure nor a hook."""
    return name not in (PARAMETERS, CHILDREN) and not name.endswith(
        ("_hooks", "_with_kwargs", "_always_called")
    )


def _is_changeable(value: Any) -> bool:
    """Return whether a forward pass could change the value in place."""
    if isinstance(value, Tensor):
        return not isinstance(value, nn.Parameter)
    if isinstance(value, tuple):
        return not _PLAIN.issuperset(map(type, value)) and any(map(_is_changeable, value))
    return type(value) in _CONTAINERS


_MAPPINGS = (dict, OrderedDict, defaultdict)
_CONTAINERS = (*_MAPPINGS, list, deque, set)


def _copied(value: Any, copies: dict[Any, Any]) -> Any:
    """Copy tensors and plain containers, each of them once; return other things as they are."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if id(value) in copies:
        return copies[id(value)]
    copied = value
    if kind is dict:
        copied = {key: _copied(item, copies) for key, item in value.items()}
    elif kind in _MAPPINGS:
        copied = copy.copy(value)
        copied.update((key, _copied(item, copies)) for key, item in value.items())
    elif kind is deque:
        copied = deque((_copied(item, copies) for item in value), value.maxlen)
    elif kind in (list, tuple, set):
        copied = kind(_copied(item, copies) for item in value)
    elif isinstance(value, tuple) and hasattr(value, "_make"):
        copied = value._make(_copied(item, copies) for item in value)
    elif kind is Tensor or (isinstance(value, Tensor) and not isinstance(value, nn.Parameter)):
        copied = _copied_tensor(value, copies)
    copies[id(value)] = copied
    return copied


def _tensors(value: Any) -> Iterator[Tensor]:
    """Return the tensors with a storage of their own in a state."""
    return filter(_has_storage, _held(value))


def tensors_of(model: nn.Module) -> Iterator[Tensor]:
    """Yield the tensors that the modules of a model hold in attributes and in containers."""
    for module in paths_of(model):
        for value in vars(module).values():
            if type(value) not in _PLAIN:
                yield from _held(value)


def own_buffers(model: nn.Module) -> frozenset[str]:
    """Return the names of the buffers that may be states or weights, which only a pass can tell.

    Those of torch's own modules, and of norms that compute as torch's do, are weights. Those of
    the neurons of a library are told by its adapter.
    """
    return frozenset(
        f"{path}.{name}" if path else name
        for module, path in paths_of(model).items()
        if not (is_from(type(module), "torch.nn") or applies_its_weights(module))
        and not _is_of_its_library(module)
        for name, tensor in buffers_of(module).items()
        if tensor is not None
    )


def buffers_of_neurons(model: nn.Module) -> frozenset[str]:
    """Return the names of the buffers that neurons of known libraries keep as states."""
    found = set[str]()
    for module, path in paths_of(model).items():
        library = neurons.library_of(module)
        if library is not None:
            names = buffers_of(module).keys() & library.states(module).keys()
            found |= {f"{path}.{name}" if path else name for name in names}
    return frozenset(found)


def _is_of_its_library(module: nn.Module) -> bool:
    """Return whether a neuron is of a library's class, and not of a user's that is derived."""
    library = neurons.library_of(module)
    return library is not None and any(is_from(type(module), name) for name in library.packages)


def _held(value: Any) -> Iterator[Tensor]:
    """Yield a tensor, or those in a container."""
    match _sort(value):
        case "tensor":
            yield value
        case "mapping" | "sequence":
            for item in _items(value):
                yield from _held(item)


def _has_storage(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided


def _copied_tensor(tensor: Tensor, copies: dict[Any, Any]) -> Tensor:
    """Return a copy in which states that share memory still do."""
    if not _has_storage(tensor) or ("shared", storage_identity(tensor)) not in copies:
        return tensor.detach().clone()
    key = "storage", storage_identity(tensor)
    if key not in copies:
        copies[key] = tensor.untyped_storage().clone()
    empty = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return empty.set_(copies[key], tensor.storage_offset(), tensor.size(), tensor.stride())
