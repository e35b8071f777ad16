"""Watches forward passes: module hooks say where we are, a dispatch mode what is done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from torch import nn

from syops.errors import ForwardError, SyopsError, first_line
from syops.forward import RECURRENT, ForwardPass
from syops.frameworks import NeuronSignal, neuron_signal
from syops.history import History
from syops.ledger import Ledger
from syops.measuring import Measurements
from syops.rules.base import input_tensors
from syops.shadow import SilentNeuron, call
from syops.tensors import Tensors


class Observer:
    """Counts every forward pass of ``model`` that is run through it, in one ledger.

    A context manager: its hooks are on the model from entry to exit.

    Args:
        model: any module; nothing is written onto it but hooks.
        ledger: where the counts go.
        fold_bn: whether normalisations are folded where possible.
        graded: "mac" or "ac".
        strict: an operator without a rule is an error.
        values: False for a shadow on ``meta``: dense counts and derived signals only.
        neurons: signals of neuron classes beside those that are known.
        history: where it goes by which operators each tensor was made; None not to ask.
    """

    def __init__(
        self,
        model: nn.Module,
        ledger: Ledger,
        *,
        fold_bn: bool = True,
        graded: str = "mac",
        strict: bool = False,
        values: bool = True,
        neurons: Mapping[type, NeuronSignal] = MappingProxyType({}),
        history: History | None = None,
    ) -> None:
        self._model = model
        self._ledger = ledger
        self._fold_bn = fold_bn
        self._graded = graded
        self._strict = strict
        self._values = values
        self._neurons = neurons
        self._history = history
        self._where: list[tuple[str, nn.Module]] = []
        self._handles: list[Any] = []
        self._pass: ForwardPass | None = None

    def __enter__(self) -> Observer:
        for path, module in self._model.named_modules():
            enter, leave = self._hooks(path, module)
            self._handles += (
                module.register_forward_pre_hook(enter, prepend=True, with_kwargs=True),
                module.register_forward_hook(leave, prepend=True, always_call=True),
            )
        return self

    def __exit__(self, *exc: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def run(
        self, args: Sequence[Any], kwargs: dict[str, Any], inputs: Sequence[NeuronSignal | None]
    ) -> Any:
        """Call the model once and add what it did to the ledger.

        Args:
            args, kwargs: what the model is called with.
            inputs: the signals of the tensors among them (their values, or an opaque one);
                None to look one up in the data.

        Returns:
            the model's output.

        Raises:
            ForwardError: the model failed; names the layer.
            SyopsValueError: a tensor that was looked at holds NaN or infinite values.
        """
        self._where[:] = [("", self._model)]
        self._pass = ForwardPass(
            self._model, self._where, self._measured, self._execute, self._strict, self._history
        )
        for tensor, signal in zip(input_tensors(args, kwargs), inputs, strict=True):
            if signal is not None:
                self._pass.give(tensor, signal)
        try:
            self._pass.start()
            output = self._model(*args, **kwargs)
        except SyopsError:
            raise
        except Exception as error:
            raise ForwardError(
                f"the model failed in {self._pass.failed_in or 'its forward'}: "
                f"{type(error).__name__}: {first_line(error)}"
            ) from error
        finally:
            finished, self._pass = self._pass, None
            finished.stop()
        finished.finish(output, self._ledger)
        return output

    def _execute(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return func(*args, **kwargs) if self._values else call(func, args, kwargs)

    def _measured(self, tensors: Tensors) -> Measurements:
        return Measurements(
            tensors, graded=self._graded, fold_bn=self._fold_bn, values=self._values
        )

    def _hooks(
        self, path: str, module: nn.Module
    ) -> tuple[Callable[..., None], Callable[..., None]]:
        if isinstance(module, SilentNeuron):
            neuron: NeuronSignal | None = module.silent_signal
        else:
            neuron = neuron_signal(module, self._neurons)
        recurrent = isinstance(module, RECURRENT)

        def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self._pass is None:
                return
            self._where.append((path, module))
            if neuron is not None:
                self._pass.enter_neuron((*args, *kwargs.values()))
            elif recurrent:
                self._pass.enter_recurrent((*args, *kwargs.values()))

        def leave(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if self._pass is None:
                return
            if output is None and sys.exc_info()[1] is not None:
                self._pass.fail()
            if neuron is not None:
                self._pass.leave_neuron(neuron, output)
            elif recurrent:
                self._pass.leave_recurrent()
            self._where.pop()

        return enter, leave
