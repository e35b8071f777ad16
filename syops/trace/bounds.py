"""Follow a forward pass without values, on ``meta``: dense counts and derived signals."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from torch import nn

from syops.errors import ForwardError, SyopsError, first_line
from syops.ledger.ledger import Ledger
from syops.ledger.steps import History
from syops.ops.rule import input_tensors
from syops.ops.values import UNKNOWN, Shown
from syops.trace.meta import Shadow
from syops.trace.neurons import NeuronSignal
from syops.trace.observer import Observer, StatesFound
from syops.trace.settings import Settings
from syops.trace.states import own_buffers
from syops.trace.unroll import Call, once

T = TypeVar("T")

_INSTEAD = (
    "if the input is right, the model needs values (control flow that depends on data, a custom "
    "kernel): get_model_syops measures it on data; a neuron that is one kernel can be named in "
    "neurons="
)
_NO_KERNEL = re.compile(r"no fake impl registered for <CustomOpDef\((.+?)\)>")
"""What torch says of an operator that cannot run without values."""


def trace(
    model: nn.Module,
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
    signals: Sequence[NeuronSignal | Shown],
    ledger: Ledger,
    settings: Settings,
    history: History | None,
    call: Call = once,
) -> frozenset[str]:
    """Count one forward pass of a shadow of the model; the model itself is not run.

    Args:
        model: any module.
        arguments: what its forward takes, on ``meta``.
        signals: of the tensors among them.
        ledger: where dense counts and derived signals go.
        settings: how the pass is counted.
        history: where it goes by which operators each tensor was made; None not to ask.
        call: calls the model, once or several times in the pass.

    Returns:
        the names of buffers that are states, not weights.

    Raises:
        SyopsError: the model cannot be copied.
        ForwardError: it cannot run without values; names the layer.
    """

    def run(observer: Observer) -> frozenset[str]:
        observer.run(*arguments, signals, call=call)
        return observer.states

    return without_values(model, run, ledger, settings, history)


def states_of(
    model: nn.Module,
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
    settings: Settings,
    call: Call = once,
) -> frozenset[str]:
    """Return the buffers that are states, as far as a pass without values shows them.

    Args:
        model: any module; a shadow of it is run.
        arguments: what its forward takes, on ``meta``.
        settings: how passes are counted.
        call: calls the model, once or several times in the pass.
    """
    if not own_buffers(model) - settings.states:
        return settings.states
    signals = [UNKNOWN] * len(input_tensors(*arguments))
    try:
        return trace(model, arguments, signals, Ledger(), settings, None, call)
    except SyopsError:  # it needs values: a pass with values will show them
        return settings.states


def without_values(
    model: nn.Module,
    work: Callable[[Observer], T],
    ledger: Ledger,
    settings: Settings,
    history: History | None = None,
) -> T:
    """Watch what ``work`` does with a shadow of the model; see `trace`."""
    try:
        stand_in = Shadow(model, settings.neurons)
    except Exception as error:  # whatever an attribute raises that cannot be copied
        raise SyopsError(
            f"model: {type(model).__name__} cannot be copied ({type(error).__name__}: "
            f"{first_line(error)}); get_model_syops counts it as it is"
        ) from error
    try:
        return follow(stand_in, work, ledger, settings, history)
    except ForwardError as error:
        if found := _NO_KERNEL.search(str(error)):
            raise ForwardError(
                f"without values, {found[1]} cannot run: it has no fake kernel, which says what "
                "shape comes out; add one with its register_fake, or let get_model_syops measure "
                "the model on data"
            ) from error.__cause__
        raise ForwardError(f"without values, {error}; {_INSTEAD}") from error.__cause__
    except StatesFound as found:
        settings = replace(settings, states=found.states)
    return without_values(model, work, ledger, settings, history)


def follow(
    stand_in: Shadow,
    work: Callable[[Observer], T],
    ledger: Ledger,
    settings: Settings,
    history: History | None = None,
) -> T:
    """Watch what ``work`` does with a shadow that is there already.

    The signals of its neurons are known to the shadow itself.

    Raises:
        StatesFound: see `Observer.run`; the shadow is of no more use.
    """
    settings = replace(settings, values=False, neurons={})
    observer = Observer(stand_in.module, ledger, settings, history)
    return observer.watching(lambda: stand_in.run(lambda: work(observer)))
