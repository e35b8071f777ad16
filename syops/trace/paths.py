"""Name modules, parameters and buffers by their paths; a module with several, by its caller's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from torch import Tensor, nn

from syops._torch import buffers_of, children_of, parameters_of

_MOST = 10_000
"""Paths that are looked at below one module: shared parts of shared parts multiply."""


def paths_of(model: nn.Module) -> dict[nn.Module, str]:
    """Return the modules of a model, each with its first path, in the order of `modules`.

    A pass needs them so often that torch's own recursive generators would be felt.
    """
    found: dict[nn.Module, str] = {}
    todo = [("", model)]
    while todo:
        path, module = todo.pop()
        if module in found:
            continue
        found[module] = path
        below = [
            (f"{path}.{name}" if path else name, child)
            for name, child in children_of(module).items()
            if child is not None
        ]
        todo += reversed(below)
    return found


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of a model by their paths."""
    found = {}
    for module, path in paths_of(model).items():
        for tensors in (parameters_of(module), buffers_of(module)):
            for name, tensor in tensors.items():
                if tensor is not None:
                    found[f"{path}.{name}" if path else name] = tensor
    return found


def all_paths(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Return all paths below a module with what they lead to, in the order of registration."""
    return islice(module.named_modules(remove_duplicate=False), _MOST)


class Paths:
    """Tell by which path each module of a model is called.

    That is the path of the module around it and the name by which that one has it. Of several
    names it is the first one after that of the part that was called last.
    """

    def __init__(self, model: nn.Module) -> None:
        modules = paths_of(model)
        self._first = {id(module): path for module, path in modules.items()}
        parts = (part for module in modules for part in children_of(module).values())
        places = Counter(id(part) for part in parts if part is not None)
        self._shared = {
            id(part) for module in modules if places[id(module)] > 1 for part in paths_of(module)
        }
        self._below: dict[int, tuple[list[str], dict[int, list[int]]]] = {}
        self._last: dict[str, int] = {}

    def first(self, module: nn.Module) -> str:
        """Return the first path by which a module is registered."""
        return self._first[id(module)]

    def begin(self) -> None:
        """Begin a forward pass."""
        self._last.clear()

    def of(self, module: nn.Module, caller_path: str, caller: nn.Module) -> str:
        """Return the path of a module that is called now, in the module around it."""
        path = self._first[id(module)]
        if not self._shared:
            return path
        if module is caller:
            return caller_path
        names, places = self._parts(caller)
        found = places.get(id(module))
        if found:
            last = self._last.get(caller_path, -1)
            place = next((place for place in found if place > last), found[0])
            self._last[caller_path] = place
            if id(module) in self._shared:
                path = f"{caller_path}.{names[place]}" if caller_path else names[place]
        self._last.pop(path, None)  # its own parts are called from the first one on
        return path

    def _parts(self, module: nn.Module) -> tuple[list[str], dict[int, list[int]]]:
        """Return the names of all that is below a module, and at which places each part is."""
        if id(module) not in self._below:
            names, places = list[str](), dict[int, list[int]]()
            for name, part in islice(all_paths(module), 1, None):
                places.setdefault(id(part), []).append(len(names))
                names.append(name)
            self._below[id(module)] = names, places
        return self._below[id(module)]
