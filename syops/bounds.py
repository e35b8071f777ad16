"""Follows a forward pass without values, on ``meta``: dense counts and derived signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from syops.errors import ForwardError, SyopsError, first_line
from syops.history import History
from syops.ledger import Ledger
from syops.neurons import NeuronSignal
from syops.observer import Observer
from syops.rules.registry import Find
from syops.shadow import Shadow

_INSTEAD = (
    "if the input is right, the model needs values (control flow that depends on data, a custom "
    "kernel): get_model_syops measures it on data; a neuron that is one kernel can be named in "
    "neurons="
)


def trace(
    model: nn.Module,
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
    signals: Sequence[NeuronSignal],
    ledger: Ledger,
    *,
    fold_bn: bool,
    neurons: Mapping[type, NeuronSignal],
    find: Find,
    states: frozenset[str] = frozenset(),
) -> tuple[History, frozenset[str]]:
    """Count one forward pass of a shadow of the model; the model itself is not run.

    Args:
        model: any module.
        arguments: what its forward takes, on ``meta``.
        signals: of the tensors among them.
        ledger: where dense counts and derived signals go.
        fold_bn: whether normalisations are folded where possible.
        neurons: signals of further neuron classes.
        find: gives the rule of an operator.
        states: names of buffers that are known to be states, not weights.

    Returns:
        by which operators each tensor was made; and all buffers that are states.

    Raises:
        SyopsError: the model cannot be copied.
        ForwardError: it cannot run without values; names the layer.
    """
    try:
        stand_in = Shadow(model, neurons)
    except Exception as error:  # whatever an attribute raises that cannot be copied
        raise SyopsError(
            f"model: {type(model).__name__} cannot be copied ({type(error).__name__}: "
            f"{first_line(error)}); get_model_syops counts it as it is"
        ) from error
    args, kwargs = arguments
    history = History()
    observer = Observer(
        stand_in.module,
        ledger,
        fold_bn=fold_bn,
        values=False,
        neurons=neurons,
        find=find,
        states=states,
        history=history,
    )

    def run() -> bool:
        return stand_in.run(lambda: observer.run(args, kwargs, signals))

    try:
        is_counted = observer.watching(run)
    except ForwardError as error:
        raise ForwardError(f"without values, {error}; {_INSTEAD}") from error.__cause__
    if is_counted:
        return history, states
    return trace(
        model,
        arguments,
        signals,
        ledger,
        fold_bn=fold_bn,
        neurons=neurons,
        find=find,
        states=observer.states,
    )
