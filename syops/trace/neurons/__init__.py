"""What is known of SNN libraries: which modules are neurons, and which states modules keep.

One adapter for each library answers the same questions; to add a library, add a file and name it in
`LIBRARIES`. No library is imported: modules are recognised by the names of their classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from torch import Tensor, nn

from syops.trace.neurons import own
from syops.trace.neurons.library import Library, NeuronSignal
from syops.trace.neurons.norse import Norse
from syops.trace.neurons.sinabs import Sinabs
from syops.trace.neurons.snntorch import SnnTorch
from syops.trace.neurons.spikingjelly import SpikingJelly

__all__ = [
    *("LIBRARIES", "Library", "NeuronSignal", "kept", "library_of", "neuron_signal"),
    *("reset", "stand_still", "state_tensors", "updating"),
]

LIBRARIES: tuple[Library, ...] = (SpikingJelly(), SnnTorch(), Sinabs(), Norse())


def library_of(module: nn.Module) -> Library | None:
    """The adapter that knows how a module keeps its states."""
    return next((library for library in LIBRARIES if library.owns(module)), None)


def neuron_signal(
    module: nn.Module, registered: Mapping[type, NeuronSignal] = MappingProxyType({})
) -> NeuronSignal | None:
    """The values that a known neuron module gives in its configuration.

    ``registered`` are the user's own. None for every other module, which is then watched from
    inside.
    """
    if type(module) in registered:
        return registered[type(module)]
    library = library_of(module)
    return None if library is None else library.signal(module)


def kept(neuron: nn.Module) -> int:
    """How many variables a neuron keeps for each of its outputs from one time-step to the next.

    One is taken for granted of a neuron whose library is not known.
    """
    library = library_of(neuron)
    if library is None:
        return 1
    states = library.states(neuron)
    return sum(value is not None and not name.endswith("_seq") for name, value in states.items())


def state_tensors(neuron: nn.Module) -> list[Tensor]:
    """The membrane potentials and other variables of a known neuron, as they are now."""
    library = library_of(neuron)
    states = library.states(neuron).values() if library is not None else ()
    return [value for value in states if isinstance(value, Tensor)]


def updating(module: nn.Module) -> Library | None:
    """The adapter that knows how far a call brings states of a module forward, if one does."""
    return next((library for library in LIBRARIES if library.is_neuron(module)), None)


def stand_still(neuron: nn.Module, x: Tensor) -> None:
    """Give a known neuron on ``meta`` the states it would have after ``x``."""
    library = library_of(neuron)
    if library is not None:
        library.stand_still(neuron, x)


def reset(modules: Iterable[tuple[str, nn.Module]]) -> tuple[str, ...]:
    """Reset the states of all modules that are known how to be reset.

    Those of libraries are; any other by a method `reset`, `reset_states` or `reset_state` of its
    own that needs no arguments, the innermost modules first.

    Args:
        modules: the modules with their paths, as `nn.Module.named_modules` gives them.

    Returns:
        a sentence for each module whose own method failed or would have written weights. Its
        states are left as they were.
    """
    failed = []
    for path, module in reversed(list(modules)):
        why = own.reset(module)
        if why:
            failed.append(f"{path or type(module).__name__} was not reset: {why}")
        library = library_of(module)
        if library is not None:
            library.reset(module)
    return tuple(failed)
