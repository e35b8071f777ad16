"""Watch the calls of a model that code makes which is not syops'.

A pass is what that code does between two points that it tells, with all calls of the model in
between. Operators of its own are followed, so that what is known of a tensor is known at the next
call; of these only products with the model's weights are counted.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from syops._torch import Modes, in_backward
from syops.errors import SyopsRuntimeError
from syops.ledger.ledger import Ledger
from syops.ops.values import UNKNOWN, kind_of
from syops.trace.axes import Axes
from syops.trace.forward import ForwardPass
from syops.trace.gauge import Gauge
from syops.trace.hooks import ModuleHooks
from syops.trace.live import Tensors
from syops.trace.neurons import NeuronSignal
from syops.trace.observer import Observer
from syops.trace.restore import left_as_found, take_apart
from syops.trace.settings import Settings
from syops.trace.spikes import Spikes


class Caller(Protocol):
    """What is told of the calls."""

    def calls(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note that the model, or a part of it, is about to run, called by other code."""

    def returned(self, module: nn.Module, output: Any) -> None:
        """Note that it has returned."""

    def failed(self) -> None:
        """Note that it has raised an exception."""


class Calls(Observer):
    """Observe calls of a model that other code makes, in passes.

    Args:
        model: any module; nothing is written onto it but hooks.
        ledger: where the counts go.
        settings: how passes are counted.
        caller: is told of the calls, and says where a pass begins and ends.
        spikes: where those of each neuron are counted, if anybody asks.
    """

    def __init__(
        self,
        model: nn.Module,
        ledger: Ledger,
        settings: Settings,
        caller: Caller,
        spikes: Spikes | None = None,
    ) -> None:
        super().__init__(model, ledger, replace(settings, by_caller=True), spikes=spikes)
        self._caller = caller
        self._modes = ExitStack()
        self._known: Tensors | None = None
        self._grad: bool | None = None
        self._found = (replace(Modes.now(), grad=None), self)

    def start(self) -> None:
        """Begin to watch this thread.

        Raises:
            SyopsRuntimeError: the model, or a part of it, is being counted by another call.
        """
        try:
            take_apart(self._modes)
            self.install()
            self._begin().start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Watch no longer, and leave the model and torch as they were found."""

        def ended() -> None:
            if self._watch is not None:
                self._watch.listener = None
                self._watch.stop()
            self._modes.close()

        left_as_found(ended, *self._found)
        self._pass, self._watch = None, None

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Work for oneself, between what the caller does: unwatched, and without gradients.

        Modes are not left meanwhile, and `put_back` knows what to put back: an interrupt may come
        before the work begins.
        """
        assert self._watch is not None
        self._grad = torch.is_grad_enabled()
        self._watch.listener = None
        try:
            torch.set_grad_enabled(False)
            yield
        finally:
            torch.set_grad_enabled(self._grad)
            self._grad = None
            self._watch.listener = self._pass

    def put_back(self) -> None:
        """Remove all hooks, and switch gradients on that were switched off meanwhile."""
        super().put_back()
        if self._grad is not None:
            torch.set_grad_enabled(self._grad)

    # Passes

    @property
    def is_open(self) -> bool:
        """Whether a pass has begun and not ended."""
        return self._pass is not None

    def open(self) -> None:
        """Begin a pass."""
        assert self._watch is not None
        tensors = Tensors(self._model, self.states)
        if self._known is not None:
            tensors.take_over(self._known)
        self._known = tensors
        self._paths.begin()
        if self._spikes is not None:
            self._spikes.begin()
        self._pass = self._analysis(self._watch, tensors, Gauge(tensors.factor))

    def called(
        self,
        given: Sequence[Tensor],
        signals: Sequence[NeuronSignal | None],
        call: int,
        repeats: Tensor | None,
        time: tuple[int, bool] | None,
        axes: Axes,
    ) -> None:
        """Note what the model is called with; see `ForwardPass.called`."""
        self._analysed.called(given, signals, call, repeats, time, axes)

    def returned(self, output: Any) -> frozenset[str]:
        """Note what the model has returned; see `ForwardPass.returned`."""
        found = self._analysed.returned(output)
        self.know(found | self._analysed.tensors.changed())
        return found

    def close(self, samples: int) -> None:
        """End the pass, and add what it did to the ledger; ``samples``: in it.

        Raises:
            SyopsValueError: a tensor that was looked at holds NaN or infinite values.
        """
        analysed = self._analysed
        self.drop()
        analysed.settle(self._accounts, samples)
        self._keep_looks()
        self._keep_spikes(samples)

    def drop(self) -> None:
        """End the pass, and forget what it did."""
        self._pass = None
        del self._where[1:]
        if self._watch is not None:
            self._watch.listener = None

    def of_earlier(self, samples: int) -> bool:
        """Return whether the pass has read what an earlier one computed for so many samples."""
        return any(samples in shape for shape in self._analysed.dispatch.earlier.shapes)

    def knows(self, tensor: Tensor) -> bool:
        """Return whether anything is known of the values of a tensor in this pass."""
        return kind_of(self._analysed.tensors.signal(tensor)) is not UNKNOWN

    def check_threads(self) -> None:
        """Refuse what ran where nothing can be seen.

        Raises:
            SyopsRuntimeError: a layer ran in another thread.
        """
        self._refuse_threads()

    @property
    def _analysed(self) -> ForwardPass:
        assert isinstance(self._pass, ForwardPass)
        return self._pass

    # Hooks

    @property
    def _is_here(self) -> bool:
        return self._watch is not None and not in_backward()

    def on_enter(
        self, hooks: ModuleHooks, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if not self._is_here:
            return
        if threading.get_ident() != self._thread:
            self._elsewhere[hooks.path or type(module).__name__] = None
            return
        if len(self._where) == 1:
            if torch.is_inference_mode_enabled():
                raise SyopsRuntimeError(
                    "count_syops cannot follow tensors through calls in inference mode, where "
                    "torch does not tell when they are written into; use torch.no_grad() instead"
                )
            self._caller.calls(module, args, kwargs)
        super().on_enter(hooks, module, args, kwargs)

    def on_return(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if self._is_here:
            super().on_return(module, args, output)

    def _left(self, hooks: ModuleHooks, module: nn.Module, output: Any) -> None:
        if not self._is_here or threading.get_ident() != self._thread:
            return
        depth = len(self._where)
        has_failed = output is None and sys.exc_info()[1] is not None
        super()._left(hooks, module, output)
        if depth == 1 or len(self._where) > 1 or self._pass is None:
            return
        if has_failed:
            self._caller.failed()
        else:
            self._caller.returned(module, output)
