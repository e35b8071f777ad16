"""Leave the model and torch as they were found, at whatever instant a run is stopped."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from syops._torch import Awaiting, Modes, compiler_is_loaded
from syops.errors import SyopsTypeError, first_line
from syops.trace.paths import paths_of

T = TypeVar("T")


class Found(Protocol):
    """Remember something as it was found, before anything was changed."""

    def put_back(self) -> None:
        """Make it what it was. Does no harm twice, nor where nothing has been changed."""


def left_as_found(work: Callable[[], T], *found: Found) -> T:
    """Run ``work``, then put everything back in the reverse order.

    An interrupt can come between any two steps of Python, also while things are being put back,
    inside a context manager, or before a handle of what was installed is in anyone's hands.
    Therefore all is noted before anything is changed, and putting back begins again from the
    start where it was interrupted.
    """
    try:
        try:
            return work()
        finally:
            _put_back(found)
    except BaseException:
        _put_back(found)
        raise


def _put_back(found: Sequence[Found]) -> None:
    if found:
        *before, last = found
        try:
            last.put_back()
        finally:
            _put_back(before)


def plainly(work: Callable[[], T]) -> T:
    """Run ``work`` as it can be watched, and put torch's modes back.

    Without gradients; out of an enclosing inference mode, which would leave tensors without
    version counters; compiled submodules in their original code, also where the compiler is loaded
    only meanwhile; attention and transformer layers by their parts, which their fused kernels hide.
    """

    def plain() -> T:
        with ExitStack() as modes:
            if torch.is_inference_mode_enabled():
                modes.enter_context(torch.inference_mode(False))
            modes.enter_context(torch.no_grad())
            take_apart(modes)
            return work()

    return left_as_found(plain, Modes.now())


def take_apart(modes: ExitStack) -> None:
    """Have compiled modules and fused layers run by their parts until ``modes`` is closed.

    What else is changed `Modes.put_back` makes what it was.
    """

    def stand_aside() -> None:
        modes.enter_context(torch.compiler.set_stance("force_eager"))

    torch.backends.mha.set_fastpath_enabled(False)
    if compiler_is_loaded():
        stand_aside()
    else:
        sys.meta_path.insert(0, Awaiting(stand_aside))


@dataclass(frozen=True)
class Random:
    """Remember the states of all global random generators, and put them back."""

    python: Any
    numpy: Any
    torch: Any
    cuda: Any

    @classmethod
    def now(cls) -> Random:
        return cls(
            random.getstate(),
            # A library that is not loaded has not drawn anything either.
            sys.modules["numpy"].random.get_state() if "numpy" in sys.modules else None,
            torch.get_rng_state(),
            torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None,
        )

    def put_back(self) -> None:
        """Make them draw again what they would have drawn."""
        random.setstate(self.python)
        if self.numpy is not None:
            sys.modules["numpy"].random.set_state(self.numpy)
        torch.set_rng_state(self.torch)
        if self.cuda is not None:
            torch.cuda.set_rng_state_all(self.cuda)


class InEvalMode:
    """Put a model into eval mode for a while.

    A module may do more in ``train()`` than to set a flag: adapters merge their weights there. It
    is called again in the end. What it leaves different from before is put back.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._own: list[tuple[nn.Module, bool]] = []
        self._found: list[_Attributes] = []

    def begin(self) -> None:
        """Put the model into eval mode, if it is not.

        Raises:
            SyopsTypeError: a module does not let itself be put into eval mode.
        """
        modules = paths_of(self._model)
        if not any(module.training for module in modules):
            return
        self._found = list(map(_Attributes.now, modules))
        self._own = [(module, module.training) for module in modules if _has_own_train(module)]
        try:
            self._model.eval()
        except Exception as error:
            own = [path for module, path in modules.items() if _has_own_train(module)]
            raise SyopsTypeError(
                f"{', '.join(own) or 'model'}: eval() failed ({type(error).__name__}: "
                f"{first_line(error)}), and a model is counted in eval mode; count the module that "
                "it was made of"
            ) from error
        self._found = [found.changed() for found in self._found]

    def put_back(self) -> None:
        """Put the model back into the modes that it was in."""
        try:
            for module, training in self._own:
                if module.training != training:
                    module.train(training)
        finally:
            for found in self._found:
                found.put_back()


@dataclass(frozen=True)
class _Attributes:
    """Remember attributes of a module.

    Attributes:
        module: any module.
        values: what it had.
        others: the names of those that it had not; None for all but ``values``.
    """

    module: nn.Module
    values: dict[str, Any]
    others: frozenset[str] | None = None

    @classmethod
    def now(cls, module: nn.Module) -> _Attributes:
        return cls(module, dict(vars(module)))

    def changed(self) -> _Attributes:
        """Return what has changed alone."""
        now = vars(self.module)
        values = {name: value for name, value in self.values.items() if now.get(name) is not value}
        return _Attributes(self.module, values, frozenset(now.keys() - self.values.keys()))

    def put_back(self) -> None:
        now = vars(self.module)
        others = now.keys() - self.values.keys() if self.others is None else self.others
        now.update(self.values)
        for name in others & now.keys():
            del now[name]


def _has_own_train(module: nn.Module) -> bool:
    return "train" in vars(module) or type(module).train is not nn.Module.train


class OnDevice:
    """Run a model on another device for a while, and move it back."""

    def __init__(self, model: nn.Module, device: torch.device | None) -> None:
        self._model = model
        self._found = device_of(model)
        self._device = device

    def begin(self) -> None:
        """Move the model to where it is to run."""
        self._move(self._device)

    def put_back(self) -> None:
        """Move the model back."""
        self._move(self._found)

    def _move(self, device: torch.device | None) -> None:
        if self._found is not None and device is not None and device_of(self._model) != device:
            self._model.to(device)


def device_of(model: nn.Module) -> torch.device | None:
    """Return the device of a model's first parameter or buffer; None if it has none."""
    first = next(chain(model.parameters(), model.buffers()), None)
    return None if first is None else first.device
