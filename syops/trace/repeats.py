"""Find layers that get the same values at every time-step, such as those of a repeated image.

Each tensor that is made of inputs, weights and literals alone, without neurons or chance, gets a
number. The same operator on the same numbers gives the same number again, in any iteration of a
loop. A tensor that was repeated along a dimension holds copies; after an operator has computed with
it, the copies are compared.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from syops.ops.rule import Call, Rule
from syops.ops.traits import Traits
from syops.ops.values import LEARNED, Signal, TruthTable
from syops.trace.aliasing import strides_of
from syops.trace.live import Tensors
from syops.trace.record import Record


class Value(NamedTuple):
    """Identify what a tensor holds.

    Attributes:
        number: the same for the same values.
        copies: how many equal parts it has, or had before it was computed with.
        axis: the dimension along which they lie; None: in the first one, with the samples.
        is_sure: whether they need not be compared, as they were not computed with.
        differ: they are time-steps of an input that are not copies.
    """

    number: int
    copies: int = 1
    axis: int | None = None
    is_sure: bool = True
    differ: bool = False


Read = Value | tuple[str, torch.Size, tuple[int, ...]]
"""A value, or the name of a parameter and how it is seen."""

_NO_COPIES = Value(0)


@dataclass(frozen=True, slots=True)
class Again:
    """Say how much of a product was done on the values of the time-step before.

    Attributes:
        parts: the parts of the product, of equal cost.
        later: those that come after the first time-step.
        same: how many of these get the values of the step before.
        copies: in how many equal parts the operand may be, where these are to be compared.
    """

    parts: int
    later: int
    same: int = 0
    copies: int = 0


class Repeats:
    """Number the values in one forward pass.

    Args:
        tensors: what is known of the live tensors.
        has_values: whether tensors can be compared.
    """

    def __init__(self, tensors: Tensors, has_values: bool) -> None:
        self._tensors = tensors
        self._has_values = has_values
        self._numbers: dict[Hashable, int] = {}
        self._arrived: dict[Hashable, int] = {}

    def give(
        self, place: int, x: Tensor, axis: int | None = None, differ: bool | None = None
    ) -> None:
        """Note that the model is called with ``x``.

        Args:
            place: of ``x`` among the tensors that it is called with.
            x: any tensor.
            axis: the dimension that is time, if one is.
            differ: whether the time-steps differ, if that is known.
        """
        if x.is_nested or x.layout != torch.strided or self._tensors.signal(x) is LEARNED:
            return
        value = Value(self._number(("input", place)))
        if axis is not None and differ is not None:
            value = value._replace(copies=x.shape[axis], axis=axis, differ=differ)
        self._tensors.latest(x).value = value

    def hand(
        self, x: Tensor, name: Hashable, same: Tensor | None, time: tuple[int, bool] | None
    ) -> None:
        """Note that the model is called with ``x`` by code that is not its own.

        Args:
            x: any tensor.
            name: a new one for ``x``, in case that nobody knows what it holds.
            same: a tensor that is known to hold the same.
            time: the dimension of ``x`` that counts time-steps, and whether these differ.
        """
        if x.is_nested or x.layout != torch.strided or self._tensors.signal(x) is LEARNED:
            return
        record = self._tensors.latest(x)
        if record.value is not None:
            return
        before = None if same is None else self._tensors.find(same)
        known = None if before is None else before.value
        value = known or Value(self._number(("input", name)))
        if time is not None:
            axis, differ = time
            value = value._replace(copies=x.shape[axis], axis=axis, differ=differ)
        record.value = value

    def before(
        self,
        traits: Traits,
        operands: Sequence[Tensor],
        known: Sequence[tuple[Record | None, Signal]],
    ) -> list[Read] | None:
        """Return what an operator is about to read; None if anything else has a part in it."""
        read: list[Read] = []
        is_learned = bool(operands)
        for tensor, (record, signal) in zip(operands, known, strict=True):
            if record is not None and record.value is not None:
                is_learned = False
                read.append(record.value)
            elif signal is LEARNED and (name := self._tensors.name(tensor)):
                read.append((name, tensor.shape, strides_of(tensor)))
            else:
                return None
        return None if is_learned else read

    def after(self, rule: Rule, traits: Traits, call: Call, read: Sequence[Read]) -> None:
        """Number the results of an operator that has ``read`` such values."""
        if traits.is_random and traits.draws(call.args, call.kwargs):
            return
        numbers = tuple([each.number if isinstance(each, Value) else each for each in read])
        key = call.func, _plain(call.args), _plain(call.kwargs.items()), numbers
        source, value = None, None
        if not rule.joins or len(set(numbers)) == 1:
            source, value = _holding_copies(rule, call.tensors, read)
        for place, out in enumerate(call.outputs):
            record = self._tensors.latest(out)
            if source is None or value is None:
                record.value = Value(self._number((key, place)))
            elif _is_step(rule, call, out, value):
                record.value = Value(self._number(("step", value.number)))
            else:
                # A neuron of the user's own may be silent at every step of a sequence by chance.
                is_threshold = not rule.moves and isinstance(record.signal, TruthTable)
                found = _NO_COPIES if is_threshold else _copies(rule, source, out, value)
                record.value = found._replace(number=self._number((key, place)))

    def arrive(self, layer: Hashable, x: Tensor) -> Again | None:
        """Return what is known of a product of weights with ``x``; ``layer`` tells layers apart."""
        record = self._tensors.find(x)
        value = record.value if record is not None else None
        if value is None or not x.numel() or x.layout != torch.strided:
            return None
        parts = x.shape[0] if x.dim() and value.axis != 1 else 1
        if value.copies > 1 and parts % value.copies == 0 and (value.is_sure or self._has_values):
            later = parts - parts // value.copies
            if value.is_sure or value.differ:
                return Again(parts, later, 0 if value.differ else later)
            return Again(parts, later, copies=value.copies)
        last = self._arrived.get(layer)
        self._arrived[layer] = value.number
        return None if last is None else Again(1, 1, int(last == value.number))

    def _number(self, key: Hashable) -> int:
        return self._numbers.setdefault(key, len(self._numbers))


def _plain(arguments: Iterable[Any]) -> tuple[Any, ...]:
    """Return the arguments of an operator but for its tensors."""
    plain: list[Any] = []
    for each in arguments:
        if isinstance(each, (list, tuple)):
            plain.append(_plain(each))
        elif not isinstance(each, Tensor):
            plain.append(each)
    return tuple(plain)


def _holding_copies(
    rule: Rule, tensors: Sequence[Tensor], read: Sequence[Read]
) -> tuple[Tensor, Value] | tuple[None, None]:
    """Return the operand that has copies, or that an operator may make copies of."""
    for tensor, value in zip(tensors, read, strict=True):
        if isinstance(value, Value) and (value.copies > 1 or rule.repeats):
            return tensor, value
    return None, None


def differ(x: Tensor, axis: int | None) -> bool | None:
    """Return whether the time-steps of an input differ; the first two mostly tell.

    None where ``axis``, the dimension that is time, is None, or the values cannot be looked at.
    """
    if axis is None or x.is_nested or x.layout != torch.strided or x.is_meta:
        return None
    first, *later = x.unbind(axis)
    return not all(torch.equal(first, step) for step in later)


def _is_step(rule: Rule, call: Call, out: Tensor, value: Value) -> bool:
    """Return whether an operator takes a single step out of what is known to be copies."""
    if rule.piece is None or value.axis is None or value.differ or not value.is_sure:
        return False
    source = call.args[0]
    dim = call.arg("dim", 0) % source.dim()
    return dim == value.axis and out.numel() * value.copies == source.numel()


def _copies(rule: Rule, source: Tensor, out: Tensor, value: Value) -> Value:
    """Return the copies that a result holds, if its operand holds those of ``value``."""
    axis = _grown(source, out) if rule.repeats else None
    if axis is not None:
        copies = out.numel() // source.numel()
        return Value(0, copies, axis if out.shape[axis] == copies else None)
    if value.copies == 1 or (rule.moves and out.numel() < source.numel()):
        return _NO_COPIES
    axis, is_sure = _kept(source, out, value)
    is_sure = is_sure and value.is_sure and rule.in_order
    return Value(0, value.copies, axis, is_sure, value.differ)


def _grown(source: Tensor, out: Tensor) -> int | None:
    """Return the dimension along which a tensor was repeated, if it is one of the first two.

    A grey image has no copies where it is made one of three colours.
    """
    if not out.numel() > source.numel() > 0 or out.numel() % source.numel():
        return None
    same = 0
    while same < source.dim() and source.shape[-1 - same] == out.shape[-1 - same]:
        same += 1
    grown = out.dim() - 1 - same
    is_time = grown == 0 or (grown == 1 and out.dim() in (3, 5, 6))
    return grown if is_time else None


def _kept(source: Tensor, out: Tensor, value: Value) -> tuple[int | None, bool]:
    """Return the dimension of the copies, and whether that is certain (else it is the first).

    Time and samples may be made one dimension, and two again.
    """
    axis = value.axis
    if axis is not None and out.shape[: axis + 1] == source.shape[: axis + 1]:
        return axis, True
    if axis is not None or not (source.dim() and out.dim()):
        return None, out.shape[:1] == (source.shape[:2].numel(),)
    if out.shape[0] != source.shape[0] == out.shape[:2].numel() and value.copies in out.shape[:2]:
        return out.shape.index(value.copies), True
    return None, out.shape[0] == source.shape[0]
