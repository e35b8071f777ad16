"""Answer what SNN libraries have to tell: which modules are neurons, and which states they keep.

Each library has one adapter, in a file of its own in this folder; `docs/neurons.md` shows how to
add one. No library is imported: modules are recognised by the names of their classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from syops.trace.neurons import own
from syops.trace.neurons.library import Library, NeuronSignal

__all__ = [
    *("LIBRARIES", "Library", "NeuronSignal", "by_parts", "can_reset", "is_one_neuron", "kept"),
    *("library_of", "neuron_signal", "reset", "stand_still", "state_tensors"),
    *("takes_a_sequence", "updating"),
]


def _adapters() -> Iterator[Library]:
    """Yield an adapter for each subclass of `Library` that a file of this folder defines."""
    for found in iter_modules(__path__, f"{__name__}."):
        for value in vars(import_module(found.name)).values():
            if isinstance(value, type) and issubclass(value, Library) and value is not Library:
                yield value()


LIBRARIES = tuple(_adapters())
PACKAGES = tuple(package for library in LIBRARIES for package in library.packages)


def library_of(module: nn.Module) -> Library | None:
    """Return the adapter that knows how a module keeps its states."""
    return next((library for library in LIBRARIES if library.owns(module)), None)


def updating(module: nn.Module) -> Library | None:
    """Return the adapter that knows how far a call brings states of a module forward."""
    return next((library for library in LIBRARIES if library.is_neuron(module)), None)


def is_one_neuron(module: nn.Module) -> bool:
    """Return whether a module is a neuron of a library, and has no other one inside."""
    return _sends_spikes(module) and not any(
        _sends_spikes(part) for part in module.modules() if part is not module
    )


def _sends_spikes(module: nn.Module) -> bool:
    library = updating(module)
    return library is not None and library.sends_spikes(module)


def neuron_signal(
    module: nn.Module, registered: Mapping[type, NeuronSignal] = MappingProxyType({})
) -> NeuronSignal | None:
    """Return the values that a known neuron sends in its configuration.

    ``registered`` are those that the user declared. None for every other module, which is then
    watched from inside.
    """
    if type(module) in registered:
        return registered[type(module)]
    library = library_of(module)
    return None if library is None else library.signal(module)


def kept(library: Library | None, neuron: nn.Module) -> int:
    """Return how many states a neuron of a library keeps for each element of its output.

    One is assumed for a neuron whose library is not known.
    """
    return 1 if library is None else library.kept(neuron)


def state_tensors(library: Library | None, neuron: nn.Module) -> list[Tensor]:
    """Return the membrane potentials and other states of a neuron of a library, as they are now."""
    states = library.states(neuron).values() if library is not None else ()
    return [value for value in states if isinstance(value, Tensor)]


def stand_still(neuron: nn.Module, x: Tensor) -> None:
    """Give a known neuron on ``meta`` states of the shapes that they have after ``x``."""
    library = library_of(neuron)
    if library is not None:
        library.stand_still(neuron, x)


def takes_a_sequence(module: nn.Module) -> bool:
    """Return whether a neuron or layer is called with [T, N, ...] rather than with [N, ...]."""
    return any(library.takes_a_sequence(module) for library in LIBRARIES)


def by_parts(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Execute the parts of an operator one by one; return NotImplemented if it has none."""
    out = func.decompose(*args, **kwargs)
    for library in LIBRARIES:
        if out is NotImplemented:
            out = library.by_parts(func, args, kwargs)
    return out


def can_reset(module: nn.Module) -> bool:
    """Return whether `reset` knows what to do with a module."""
    return library_of(module) is not None or own.can_reset(module, PACKAGES)


def reset(modules: Iterable[tuple[str, nn.Module]]) -> tuple[str, ...]:
    """Reset the states of all modules for which a way to do so is known, the innermost first.

    A module of the user's own is reset by its own method; see `syops.trace.neurons.own`. A module
    of a library is reset by the library's adapter.

    Args:
        modules: the modules with their paths, as `nn.Module.named_modules` gives them.

    Returns:
        a sentence for each module whose own method failed or would have written weights. Its
        states are left as they were.
    """
    failed = []
    for path, module in reversed(list(modules)):
        why = own.reset(module, PACKAGES)
        if why:
            failed.append(f"{path or type(module).__name__} was not reset: {why}")
        library = library_of(module)
        if library is not None:
            library.reset(module)
    return tuple(failed)
