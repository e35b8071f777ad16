"""Follows a forward pass without values, on ``meta``: dense counts and derived signals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from torch import nn

from syops.errors import ForwardError, SyopsError, first_line
from syops.ledger.rows import Ledger
from syops.ledger.steps import History
from syops.ops.registry import Find, find
from syops.ops.values import Shown
from syops.trace.meta import Shadow
from syops.trace.neurons import NeuronSignal
from syops.trace.observer import Observer, StatesFound

T = TypeVar("T")

_INSTEAD = (
    "if the input is right, the model needs values (control flow that depends on data, a custom "
    "kernel): get_model_syops measures it on data; a neuron that is one kernel can be named in "
    "neurons="
)


def trace(
    model: nn.Module,
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
    signals: Sequence[NeuronSignal | Shown],
    ledger: Ledger,
    *,
    neurons: Mapping[type, NeuronSignal],
    history: History,
    find: Find = find,
) -> frozenset[str]:
    """Count one forward pass of a shadow of the model; the model itself is not run.

    Args:
        model: any module.
        arguments: what its forward takes, on ``meta``.
        signals: of the tensors among them.
        ledger: where dense counts and derived signals go.
        neurons: signals of further neuron classes.
        history: where it goes by which operators each tensor was made.
        find: gives the rule of an operator.

    Returns:
        the names of buffers that are states, not weights.

    Raises:
        SyopsError: the model cannot be copied.
        ForwardError: it cannot run without values; names the layer.
    """

    def run(observer: Observer) -> frozenset[str]:
        observer.run(*arguments, signals)
        return observer.states

    return without_values(
        model,
        run,
        ledger,
        neurons=neurons,
        find=find,
        history=history,
    )


def without_values(
    model: nn.Module,
    work: Callable[[Observer], T],
    ledger: Ledger,
    *,
    neurons: Mapping[type, NeuronSignal],
    find: Find = find,
    history: History | None = None,
    states: frozenset[str] = frozenset(),
    hooked: frozenset[tuple[str, str]] = frozenset(),
) -> T:
    """Watch what ``work`` does with a shadow of the model.

    See `trace`, and `Observer` for ``hooked``.
    """
    try:
        stand_in = Shadow(model, neurons)
    except Exception as error:  # whatever an attribute raises that cannot be copied
        raise SyopsError(
            f"model: {type(model).__name__} cannot be copied ({type(error).__name__}: "
            f"{first_line(error)}); get_model_syops counts it as it is"
        ) from error
    try:
        return follow(
            stand_in,
            work,
            ledger,
            find=find,
            history=history,
            states=states,
            hooked=hooked,
        )
    except ForwardError as error:
        raise ForwardError(f"without values, {error}; {_INSTEAD}") from error.__cause__
    except StatesFound as found:
        states = found.states
    return without_values(
        model,
        work,
        ledger,
        neurons=neurons,
        find=find,
        history=history,
        states=states,
        hooked=hooked,
    )


def follow(
    stand_in: Shadow,
    work: Callable[[Observer], T],
    ledger: Ledger,
    *,
    find: Find = find,
    history: History | None = None,
    states: frozenset[str] = frozenset(),
    hooked: frozenset[tuple[str, str]] = frozenset(),
) -> T:
    """Watch what ``work`` does with a shadow that is there already.

    ``hooked``: see `Observer`.

    Raises:
        StatesFound: see `Observer.run`; the shadow is of no more use.
    """
    observer = Observer(
        stand_in.module,
        ledger,
        values=False,
        find=find,
        history=history,
        states=states,
        hooked=hooked,
    )
    return observer.watching(lambda: stand_in.run(lambda: work(observer)))
