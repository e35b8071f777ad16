"""Tell whether tensors, arguments and results are those of an event of the plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from syops._torch import identity, marks_of, storage_identity
from syops.trace.plan.events import Met, New, Output, Ref
from syops.trace.plan.register import Register, bytes_of, is_plain


class Matching:
    """Compare what is met in a pass with what the plan tells, and note what is new there.

    Args:
        register: the tensors that the pass has met. What is noted before a comparison fails stays
            there; see `Register.forget`.
    """

    def __init__(self, register: Register) -> None:
        self._register = register
        self._entries = register.entries
        self._starts = register.starts

    def met(self, told: Met, tensor: Any) -> bool:
        """Return whether this is the tensor that the plan tells of."""
        if not isinstance(tensor, Tensor):
            return False
        if isinstance(told, Ref):
            entry = self._entries.get(identity(tensor)) or self._register.entry(tensor)
            if entry is None or entry.id != told.id:
                return False
            _, storage, version = marks_of(tensor)
            return (
                version - entry.version == told.writes
                and storage == entry.storage
                and entry.metadata.fits(tensor, self._starts.get(storage, 0))
            )
        return self._is_new(told, tensor)

    def _is_new(self, told: New, tensor: Tensor) -> bool:
        register = self._register
        if (
            not is_plain(tensor)
            or not told.metadata.fits(tensor, self._register.start(tensor))
            or register.entry(tensor) is not None
            or register.sharing(tensor) != told.shares
            or (told.literal is not None and bytes_of(tensor) != told.literal)
        ):
            return False
        register.add(tensor, told.metadata, marks_of(tensor))
        return True

    def all(self, told: Sequence[Met], tensors: Sequence[Tensor]) -> bool:
        """Return whether these are the tensors that the plan tells of."""
        return len(told) == len(tensors) and all(map(self.met, told, tensors))

    def arguments(self, told: Sequence[Any], values: Sequence[Any]) -> bool:
        """Return whether these are the arguments of an operator of the plan."""
        if len(told) != len(values):
            return False
        for each, value in zip(told, values, strict=True):
            if each is not value and not self.argument(each, value):
                return False
        return True

    def argument(self, told: Any, value: Any) -> bool:
        """Return whether this is an argument that the plan tells of."""
        kind = type(told)
        if kind is Ref or kind is New:
            return self.met(told, value)
        if kind is not type(value):
            return False
        if kind is list or kind is tuple:
            if told and isinstance(told[0], int):  # sizes and the like
                return bool(told == value)
            return self.arguments(told, value)
        if kind is dict:
            return told.keys() == value.keys() and all(
                self.argument(item, value[name]) for name, item in told.items()
            )
        if kind is torch.ScriptObject:  # packed weights: equal ones cannot be told
            return False
        if kind is float:
            return bool(told.hex() == value.hex())  # 0.0 and -0.0 differ, NaN is NaN
        return bool(told == value)

    def result(self, told: Any, out: Any, operands: Sequence[Tensor]) -> bool:
        """Return whether this is the result of an operator of the plan.

        ``operands``: what the result may be a view of.
        """
        kind = type(told)
        if kind is Output:
            return isinstance(out, Tensor) and self._is_made(told, out, operands)
        if kind is Ref:
            entry = self._register.entry(out) if isinstance(out, Tensor) else None
            return entry is not None and entry.id == told.id
        if kind is list or kind is tuple:
            return (
                isinstance(out, (list, tuple))
                and len(told) == len(out)
                and all(self.result(*each, operands) for each in zip(told, out, strict=True))
            )
        return not isinstance(out, Tensor)

    def _is_made(self, told: Output, out: Tensor, operands: Sequence[Tensor]) -> bool:
        """Return whether this is a tensor that an operator of the plan makes."""
        if out.layout != torch.strided or out.is_inference():
            return False
        marks = marks_of(out)
        key, storage, _ = marks
        if key in self._entries or not told.metadata.fits(out, self._starts.get(storage, 0)):
            return False
        version = None
        if told.of is not None:
            base = operands[told.of]
            if storage_identity(base) != storage:
                return False
            entry = self._register.entry(base)
            version = None if entry is None else entry.version
        self._register.add(out, told.metadata, marks, version)
        return True
