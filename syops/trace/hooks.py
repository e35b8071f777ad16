"""Put hooks on all modules of a model, which tell an observer where a pass is, and remove them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from torch import nn

from syops._torch import (
    HOOK_TABLES,
    HOOKS,
    PRE_HOOKS,
    before_all_forward_hooks,
    hooks_of,
    without_forward_hook,
)
from syops.errors import SyopsRuntimeError
from syops.trace.neurons import NeuronSignal, is_one_neuron, library_of, updating
from syops.trace.paths import paths_of
from syops.trace.weights import applies_its_weights


class Hooked(Protocol):
    """What hooks call, in this order."""

    def on_enter(
        self, hooks: ModuleHooks, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Note that a module is called."""

    def on_return(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """Record what a module gives, before any other hook of it runs.

        Returns:
            what is taken for its result; None leaves that as it is.
        """

    def on_leave(
        self, hooks: ModuleHooks, module: nn.Module, args: tuple[Any, ...], output: Any
    ) -> None:
        """Note that a module has returned, or failed."""


class ModuleHooks:
    """Hold the two hooks of one module, and what the observer asks about it at each call.

    Attributes:
        observer: which they tell.
        path: of the module.
        neuron: the values that it sends, if it is a neuron that is not watched inside.
        library: the adapter of its library, if it brings states forward in time.
        keeper: the adapter of the library that it is of, if any.
        is_watched_neuron: whether it is a neuron that is watched inside.
        is_layer: whether it only applies its weights, as a layer of torch does.
    """

    def __init__(
        self, observer: Hooked, path: str, neuron: NeuronSignal | None, module: nn.Module
    ) -> None:
        self.observer = observer
        self.path = path
        self.neuron = neuron
        self.library = updating(module)
        self.keeper = library_of(module)
        self.is_watched_neuron = neuron is None and is_one_neuron(module)
        self.is_layer = applies_its_weights(module) and neuron is self.library is None

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.observer.on_enter(self, module, args, kwargs)

    def leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self.observer.on_leave(self, module, args, output)

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return HooksOfCopy, ()


class HooksOfCopy:
    """Take the place of hooks where a module is copied or saved while it is counted."""

    def __init__(self) -> None:
        self.observer = self

    def enter(self, *_: Any) -> None:
        """Do nothing: nobody observes the copy."""

    leave = on_enter = on_leave = enter


def is_idle(hook: Any) -> bool:
    """Return whether a hook of a module does nothing, as those of a copy do."""
    return isinstance(getattr(hook, "__self__", None), HooksOfCopy)


class Hooks:
    """Put the hooks of an observer on a model, and remove them.

    Args:
        model: any module; nothing else is written onto it.
        observer: which they tell.
        neuron_signal: the values that a module sends, if it is a neuron that is not watched inside.
    """

    def __init__(
        self,
        model: nn.Module,
        observer: Hooked,
        neuron_signal: Callable[[nn.Module], NeuronSignal | None],
    ) -> None:
        self._model = model
        self._observer = observer
        self._neuron_signal = neuron_signal
        self._watched: list[tuple[str, nn.Module]] = []
        self._of: dict[int, ModuleHooks] = {}

    def of(self, module: nn.Module) -> ModuleHooks | None:
        """Return the hooks of a module; None if it has none of them."""
        return self._of.get(id(module))

    def install(self) -> None:
        """Put them on the model.

        Raises:
            SyopsRuntimeError: another observer has hooks on the model, or on a part of it.
        """
        observer = self._observer
        self._watched = [(path, module) for module, path in paths_of(self._model).items()]
        self._of = {
            id(module): ModuleHooks(observer, path, self._neuron_signal(module), module)
            for path, module in self._watched
        }
        for _, module in self._watched:
            hooks = self._of[id(module)]
            # What other hooks make of a neuron's inputs and outputs is not the neuron's doing.
            is_first = hooks.neuron is None
            module.register_forward_pre_hook(hooks.enter, prepend=is_first, with_kwargs=True)
            module.register_forward_hook(hooks.leave, prepend=True, always_call=True)
        before_all_forward_hooks(observer.on_return)
        # Asked after one's own are there: of two calls at once, one at least sees the other.
        for path, module in self._watched:
            if any(hooks.observer is not observer for _, hooks in _found_on(module)):
                raise SyopsRuntimeError(
                    f"{path or type(module).__name__} is being counted by another call, of "
                    "another thread or around this one; wait for its end, or count a copy "
                    "(copy.deepcopy(model))"
                )

    def remove(self) -> None:
        """Remove all of them from the model, also those without a handle."""
        without_forward_hook(self._observer.on_return)
        for _, module in self._watched:
            for key, hooks in list(_found_on(module)):
                if hooks.observer is self._observer:
                    for name in HOOK_TABLES:
                        vars(module)[name].pop(key, None)


def _found_on(module: nn.Module) -> Iterator[tuple[int, ModuleHooks]]:
    """Yield the hooks of observers that a module has, with their keys."""
    for table in (PRE_HOOKS, HOOKS):
        for key, hook in list(hooks_of(module, table).items()):  # another thread may add one
            owner = getattr(hook, "__self__", None)
            if isinstance(owner, ModuleHooks):
                yield key, owner
