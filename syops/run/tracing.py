"""Trace a network without data, for its bounds and for the audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from syops._torch import tree_map
from syops.choices import InputSignal
from syops.errors import ForwardError, SyopsError
from syops.ledger.ledger import Ledger
from syops.ledger.steps import History
from syops.ops.values import UNKNOWN
from syops.run.subject import Subject
from syops.trace import inputs as given
from syops.trace.bounds import trace
from syops.trace.input_signals import bounded_by, signal_in_words, signal_of_each
from syops.trace.model import weight_dtype
from syops.trace.restore import plainly


@dataclass(frozen=True)
class Trace:
    """One pass without values.

    Attributes:
        shapes: what the model was called with first, on ``meta``.
        ledger: the dense counts and derived signals.
        history: how each tensor was made.
        states: the buffers that are states, not weights.
        signals: what the inputs hold, in words.
        steps: T, or None where it is not known.
    """

    shapes: given.Arguments
    ledger: Ledger
    history: History
    states: frozenset[str]
    signals: tuple[str, ...]
    steps: int | None


def trace_on_meta(subject: Subject, inputs: Any, names: tuple[InputSignal, ...]) -> Trace:
    """Follow the network on ``meta``.

    Args:
        subject: the network.
        inputs: the shape of its input, or an example.
        names: what the inputs hold: one name for all tensors, or one each.
    """
    example = given.example(inputs, weight_dtype(subject.model))
    shapes: given.Arguments = tree_map(given.on_meta, example)
    steps, called = subject.steps_of(shapes), subject.one_call(shapes)
    ledger, history = Ledger(), History()
    ledger.samples = given.samples(called, subject.batch_dim)
    tensors = given.tensors_of(example)
    each = list(zip(signal_of_each(names, tensors), tensors, strict=True))
    signals = [bounded_by(name, tensor) for name, tensor in each]
    told = tuple(signal_in_words(name, s) for (name, _), s in zip(each, signals, strict=True))

    def traced() -> frozenset[str]:
        told = subject.model, shapes, signals, ledger, subject.settings, history
        return trace(*told, subject.call)

    try:
        states = plainly(traced)
    except ForwardError as error:
        if given.is_shape(inputs) and _runs_on_one(subject, shapes):
            raise ForwardError(
                f"inputs: the shape {tuple(inputs)} has no batch dimension, which comes first: "
                f"{(1, *inputs)}"
            ) from error.__cause__
        raise subject.explained(error, shapes) from error.__cause__
    return Trace(called, ledger, history, states, told if "auto" in names else names, steps)


def _runs_on_one(subject: Subject, sample: given.Arguments) -> bool:
    """Return whether the network runs on a batch that holds one sample: what it failed on."""
    if subject.batch_dim or subject.unroll is not None:
        return False
    batch: given.Arguments = tree_map(lambda leaf: leaf.unsqueeze(0), sample)
    told = subject.model, batch, [UNKNOWN], Ledger(), subject.settings, None
    try:
        plainly(lambda: trace(*told))
    except SyopsError:
        return False
    return True
