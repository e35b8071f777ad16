"""Reset modules of the user's own by their method `reset` or the like.

The method is called `reset`, `reset_states`, `reset_state` or `reset_mem`, and needs no arguments.
A method of such a name may instead initialise weights anew. Therefore weights are guarded, and a
method that writes weights does not count as one that resets states.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import lru_cache
from types import FunctionType
from typing import Any

from torch import Tensor, nn

from syops._torch import DispatchMode, children_of, parameters_of, schema_of, storage_identity
from syops.errors import first_line
from syops.trace.neurons.library import is_from

_NAMES = ("reset", "reset_states", "reset_state", "reset_mem")


def reset(module: nn.Module, packages: tuple[str, ...]) -> str:
    """Reset a module by a method of its own, if it has one.

    Args:
        module: any module.
        packages: the SNN libraries, whose methods are left to their adapters.

    Returns:
        why it was not reset; empty if it was, or if it has no such method.
    """
    kind: Any = type(module)
    name = _method(kind, packages)
    if not name or name in vars(module):
        return ""
    method: Callable[[], Any] = getattr(module, name)
    weights = _Weights(module)
    try:
        with weights:
            method()
    except _Written:
        pass
    except Exception as error:  # whatever the user's code raises
        return f"{name}() failed ({type(error).__name__}: {first_line(error)})"
    finally:
        written = weights.put_back()
    return f"{name}() writes weights or layers" if written or weights.refused else ""


def can_reset(module: nn.Module, packages: tuple[str, ...]) -> bool:
    """Return whether modules of this class have a method of their own that resets them."""
    kind: Any = type(module)
    return bool(_method(kind, packages))


@lru_cache(maxsize=1024)
def _method(kind: Any, packages: tuple[str, ...]) -> str:
    """Return the name of the method by which modules of a class reset their states, or nothing."""
    for name in _NAMES:
        function = inspect.getattr_static(kind, name, None)
        is_own = not any(is_from(function, package) for package in ("torch", *packages))
        if is_own and isinstance(function, FunctionType):
            arguments = list(inspect.signature(function).parameters.values())[1:]
            needed = (p for p in arguments if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
            if all(p.default is not p.empty for p in needed):
                return name
    return ""


class _Written(Exception):
    """Report that a method was about to write into weights."""


class _Weights(DispatchMode):
    """Guard the parameters and layers of a module while its own code runs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.refused = False
        self._held = [(p, p.detach()) for p in module.parameters()]
        self._storages = {_storage(p) for p, _ in self._held} - {0}
        self._layers = [
            (part, dict(parameters_of(part)), dict(children_of(part))) for part in module.modules()
        ]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if schema_of(func).is_mutable and not self._storages.isdisjoint(
            _written(func, args, kwargs)
        ):
            self.refused = True
            raise _Written
        return func(*args, **kwargs)

    def put_back(self) -> bool:
        """Put parameters and layers that were replaced back; return whether there were any."""
        written = False
        for part, parameters, modules in self._layers:
            for held, found in ((parameters_of(part), parameters), (children_of(part), modules)):
                if held.keys() != found.keys() or any(held[n] is not found[n] for n in found):
                    held.clear()
                    held.update(found)  # type: ignore[arg-type]
                    written = True
        for parameter, data in self._held:
            if _storage(parameter) != _storage(data):
                parameter.data = data
                written = True
        return written


def _written(func: Any, args: Any, kwargs: dict[str, Any]) -> Iterable[int]:
    """Yield the storages that an operator writes into."""
    for place, argument in enumerate(schema_of(func).arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[place] if place < len(args) else kwargs.get(argument.name)
            for tensor in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(tensor, Tensor):
                    yield _storage(tensor)


def _storage(tensor: Tensor) -> int:
    try:
        return storage_identity(tensor)
    except (NotImplementedError, RuntimeError):
        return 0  # a sparse tensor, for instance, has no storage
