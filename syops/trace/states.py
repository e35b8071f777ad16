"""Lend a model copies of its states, reset before each batch, and put its own states back."""

from __future__ import annotations

import copy
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache, partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from syops._torch import CHILDREN, PARAMETERS, buffers_of, storage_identity
from syops.errors import SyopsTypeError, first_line
from syops.trace import neurons
from syops.trace.neurons.library import is_from
from syops.trace.paths import paths_of
from syops.trace.weights import applies_its_weights


class Lending:
    """Keep a model as found while forward passes run on copies of its states.

    A state is any attribute of a module but its parameters: buffers, membrane potentials,
    counters, lists of spikes; also of a module that the model does not register, and of an object
    that holds tensors. `put_back` gives the model its own ones again.

    Attributes:
        not_reset: a sentence for each module whose own method to reset it failed.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        holders = tuple(_holders(model))
        self._found = [_Found(holder) for holder in holders]
        own = paths_of(model)
        self._modules = [
            (own.get(holder, ""), holder)
            for holder in holders
            if isinstance(holder, nn.Module) and neurons.can_reset(holder)
        ]
        self.not_reset: tuple[str, ...] = ()
        states = chain.from_iterable(_tensors(found.changeable) for found in self._found)
        owners = Counter(storage_identity(tensor) for tensor in states)
        self._shared = {storage for storage, tensors in owners.items() if tensors > 1}
        self._switched: list[tuple[nn.Module, bool]] = []

    def begin(self) -> None:
        """Put the model into eval mode, if it is not.

        Raises:
            SyopsTypeError: a module does not let itself be put into eval mode.
        """
        modules = paths_of(self._model)
        if not any(module.training for module in modules):
            return
        self._switched = [(module, module.training) for module in modules if _has_own_train(module)]
        try:
            self._model.eval()
        except Exception as error:
            own = [path for module, path in modules.items() if _has_own_train(module)]
            raise SyopsTypeError(
                f"{', '.join(own) or 'model'}: eval() failed ({type(error).__name__}: "
                f"{first_line(error)}), and a model is counted in eval mode; count the module that "
                "it was made of"
            ) from error

    def put_back(self) -> None:
        """Give the model back all that it had."""
        try:
            for module, training in self._switched:
                if module.training != training:  # it may do more than to set a flag
                    module.train(training)
        finally:
            for found in self._found:
                found.put_back()

    def renew(self) -> None:
        """Give the model fresh copies of its states, and reset those known how to be reset."""
        copies: dict[Any, Any] = dict.fromkeys((("shared", s) for s in self._shared), True)
        for found in self._found:
            found.put_back()
            found.lend(copies)
        for module in paths_of(self._model):
            vars(module)["training"] = False
        self.not_reset = neurons.reset(self._modules)

    def shelter(self) -> None:
        """Give the model copies of its containers, so that it can be put back.

        For what runs on something else, and could only reach the model by accident.
        """
        states = chain.from_iterable(_tensors(found.changeable) for found in self._found)
        copies: dict[Any, Any] = {id(tensor): tensor for tensor in states}
        for found in self._found:
            found.lend(copies)


class _Found:
    """Remember one module, or an object that holds tensors, as it was found."""

    def __init__(self, holder: object) -> None:
        self._holder = holder
        attributes = vars(holder)
        self._size = len(attributes)
        self._states = {name: value for name, value in attributes.items() if _is_state(name)}
        self.changeable = {
            name: value
            for name, value in self._states.items()
            if type(value) not in _PLAIN and _is_changeable(value)
        }

    def put_back(self) -> None:
        attributes = vars(self._holder)
        attributes.update(self._states)
        if len(attributes) != self._size:
            for name in [n for n in attributes if n not in self._states and _is_state(n)]:
                del attributes[name]

    def lend(self, copies: dict[Any, Any]) -> None:
        attributes = vars(self._holder)
        for name, value in self.changeable.items():
            attributes[name] = _copied(value, copies)


def _holders(model: nn.Module) -> Iterator[object]:
    """Yield what has states: the modules first, then what can be reached from their attributes."""
    todo: deque[object] = deque(paths_of(model))
    met = set(map(id, todo))
    while todo:
        holder = todo.popleft()
        yield holder
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


def _reached(value: Any) -> Iterator[object]:
    """Yield the modules, and the objects with tensors of their own, in a state."""
    match _sort(value):
        case "mapping":
            for item in value.values():
                yield from _reached(item)
        case "sequence" if not _PLAIN.issuperset(map(type, value)):
            for item in value:
                yield from _reached(item)
        case "module":
            yield value
        case "object" if _holds_tensors(value):
            yield value


def _holds_tensors(value: Any) -> bool:
    """Return whether an object of the user's own has tensors, or containers of them."""
    held = getattr(value, "__dict__", None)
    return isinstance(held, dict) and any(
        next(_tensors(item), None) is not None for item in held.values() if _is_changeable(item)
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


def _has_own_train(module: nn.Module) -> bool:
    return "train" in vars(module) or type(module).train is not nn.Module.train


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
    return type(value) in (*_MAPPINGS, list, deque, set)


_MAPPINGS = (dict, OrderedDict, defaultdict)


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
        case "mapping":
            for item in value.values():
                yield from _held(item)
        case "sequence":
            for item in value:
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
