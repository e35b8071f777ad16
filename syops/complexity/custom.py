"""Have modules counted by functions that were written for syops-counter 0.0.5.

Such a function is called with a module, its positional arguments and its output, after each of its
calls, and adds to the module's ``__syops__``, an array [ops, ACs, MACs, 100 · rate]. Here it gets
a copy of the module that shares everything with it, so that nothing is written onto the module.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from torch import nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

from syops._torch import unwatched
from syops.errors import SyopsTypeError, SyopsValueError, shown
from syops.trace.paths import paths_of

Hook = Callable[[nn.Module, Any, Any], object]
"""Counts one call of a module."""

Sums = dict[str, np.ndarray]
"""What was counted so far, by the path of the module."""


class Substitutes:
    """Count modules of some classes with functions of the user's, while it is entered.

    Args:
        model: the network.
        hooks: a function for each class.
        ignored: classes that are not counted.

    Raises:
        SyopsTypeError: something that is not a class, or not a function.
    """

    def __init__(
        self,
        model: nn.Module,
        hooks: Mapping[type[nn.Module], Hook],
        ignored: Collection[type[nn.Module]] = (),
    ) -> None:
        if not isinstance(hooks, Mapping):
            raise SyopsTypeError(
                f"custom_modules_hooks must be a dict of functions by class, got {shown(hooks)}"
            )
        for kind, hook in hooks.items():
            if not (isinstance(kind, type) and callable(hook)):
                raise SyopsTypeError(
                    "custom_modules_hooks must have a function for each class of modules, got "
                    f"{shown({kind: hook})}"
                )
        self._model = model
        self._hooks = hooks
        self._paths = {
            module: path
            for module, path in paths_of(model).items()
            if type(module) in hooks and type(module) not in ignored
        }
        self._done: Sums = {path: np.zeros(4) for path in self._paths.values()}
        self._batch: Sums = {}
        self._handles: list[Any] = []

    def covers(self, path: str) -> bool:
        """Return whether a module is one of those, or a part of one."""
        return any(
            path == each or not each or path.startswith(f"{each}.") for each in self._paths.values()
        )

    def costs(self, samples: int) -> Sums:
        """Return what was counted, per sample: ops, ACs, MACs and 100 · rate."""
        self.next_batch()
        return {path: counts / samples for path, counts in self._done.items()}

    def next_batch(self) -> None:
        """Note that all calls of a batch were made."""
        for path, counts in self._batch.items():
            self._done[path] += counts
        self._batch.clear()

    def __enter__(self) -> None:
        if self._paths:
            self._handles = [
                register_module_forward_pre_hook(self._begin),
                register_module_forward_hook(self._count),
            ]

    def __exit__(self, *raised: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _begin(self, module: nn.Module, args: Any) -> None:
        if module is self._model:  # it may run a second time on the same batch
            self._batch.clear()

    def _count(self, module: nn.Module, args: Any, output: Any) -> None:
        path = self._paths.get(module)
        if path is None:
            return
        stand_in: Any = copy.copy(module)
        stand_in.__syops__ = np.zeros(4)
        stand_in.__params__ = sum(parameter.numel() for parameter in module.parameters())
        with unwatched():
            self._hooks[type(module)](stand_in, args, output)
        counts = np.asarray(stand_in.__syops__, dtype=float)
        if counts.shape != (4,):
            raise SyopsValueError(
                f"custom_modules_hooks: the function for {type(module).__name__} must keep "
                f"__syops__ an array of 4 numbers, got {shown(stand_in.__syops__)}"
            )
        self._batch[path] = self._batch.get(path, np.zeros(4)) + counts
