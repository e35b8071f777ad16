"""Tell weights from data: a weight is what depends on weights and constants alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from syops.ops.rule import Call, Rule
from syops.ops.traits import Traits
from syops.ops.values import ANALOG, LEARNED, UNKNOWN, Signal, TruthTable, kind_of
from syops.trace.live import Tensors
from syops.trace.record import Record


class DataReads:
    """Tell which numbers of Python may come from the data of the model.

    Attributes:
        has_numbers: whether real numbers were read out of data, so that a number is not a constant.
    """

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self.has_numbers = False
        self._has_read = False
        self._has_asked = False

    def read_out(self, tensor: Tensor, is_truth: bool = False) -> None:
        """Note that values of a tensor become a number of Python.

        ``is_truth``: it is only true or false.
        """
        record, signal = self._tensors.known(tensor)
        if signal is LEARNED if record is None else record.fixed:
            return
        if is_truth or tensor.dtype == torch.bool:
            self._has_asked = True
        else:
            self._has_read = True
            self.has_numbers |= kind_of(signal) in (ANALOG, UNKNOWN)

    def may_be_in(self, tensor: Tensor, is_literal: bool) -> bool:
        """Return whether a tensor that nobody saw being made may hold more than literals."""
        return not is_literal or (self._has_read and tensor.numel() > 1)

    def is_fixed(
        self,
        traits: Traits,
        is_literal: bool,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        known: Sequence[tuple[Record | None, Signal]],
    ) -> bool:
        """Return whether all that an operator reads is learned or constant, and nothing is drawn.

        ``is_literal``: it makes a tensor of a value of Python's.
        """
        if is_literal:
            return not (self._has_read or self._has_asked)
        for record, signal in known:
            if signal is not LEARNED if record is None else not record.fixed:
                return False
        if traits.is_random and traits.draws(args, kwargs):
            return False
        if not (self._has_read or self._has_asked):
            return True
        # A number among the arguments may have been read out of data; 0 and 1 may be truth values.
        return not any(self._has_read or n in (0, 1) for n in traits.numbers_in(args, kwargs))


def signals_of(rule: Rule, call: Call, is_fixed: bool, outputs: Sequence[Tensor]) -> list[Signal]:
    """Return the signals of the results of an operator.

    An index, a mask, a condition or a draw makes a selection of weights data: what is not fixed
    is not a weight.
    """
    known = rule.signal(call)
    signals = [known] * len(outputs) if isinstance(known, Signal) else list(known)
    if not is_fixed:
        return [ANALOG if signal is LEARNED else signal for signal in signals]
    if rule.counted or not reads_learned(call):
        return signals
    return [LEARNED if _is_real(signal) else signal for signal in signals]


def reads_learned(call: Call) -> bool:
    """Return whether an operator reads a weight."""
    return LEARNED in call.signals.values()


def _is_real(signal: Signal) -> bool:
    """Return whether it may hold real numbers; zeros under a learned factor are none."""
    if isinstance(signal, TruthTable):
        return bool(signal.scale) and signal.support != {0}
    return kind_of(signal) is ANALOG
