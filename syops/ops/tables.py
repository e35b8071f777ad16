"""Apply an operator to truth tables instead of tensors.

So a result has the operator's own semantics and the rounding of its dtype, and is exact as long as
the operands are given by tables over the same positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, reduce
from typing import Any

import torch
from torch import Tensor

from syops._torch import OpOverload, schema_of
from syops.ops.factors import scale_broadcast
from syops.ops.ranges import MAX_VALUES
from syops.ops.rule import Call, Number
from syops.ops.values import (
    ANALOG,
    INTEGER,
    UNSCALED,
    Atoms,
    Signal,
    TruthTable,
    is_integer,
    rescaled,
)

MAX_ENTRIES = 256
"""Assignments that a table may have before its operands are re-based."""


def evaluated(
    call: Call,
    signals: Sequence[Signal],
    otherwise: Callable[[Sequence[Signal]], Signal] | None = None,
) -> Signal:
    """Apply an operator to the tables of its operands.

    Args:
        call: the call.
        signals: the tables of ``call.tensors``.
        otherwise: what comes out of operands of which no more is known than whether they hold
            integers: for tables that are too large together. By default, any values.
    """
    tables = []
    for tensor, table in zip(call.tensors, signals, strict=True):
        assert isinstance(table, TruthTable)
        if tensor.shape != call.out.shape:
            table = broadcast(table, tensor, call.out, call.atoms)
            assert isinstance(table, TruthTable)
        tables.append(table)
    tables = _within_limit(tables, call.atoms)
    atoms = sorted({atom for table in tables for atom in table.atoms}, key=lambda atom: atom.id)
    if math.prod(atom.size for atom in atoms) > MAX_VALUES:
        if otherwise is not None:
            return otherwise([INTEGER if is_integer(table) else ANALOG for table in tables])
        return _anything(call)
    operands = tuple(
        (table.values, tuple(atoms.index(a) for a in table.atoms), tensor.dtype, tensor.dim() == 0)
        for table, tensor in zip(tables, call.tensors, strict=True)
    )
    sizes = tuple(atom.size for atom in atoms)
    values = _apply(_returning(call.func), template_of(call), operands, sizes, call.out.dtype)
    if values is None:
        return _anything(call)
    if len(set(values)) == 1:
        return TruthTable((), values[:1])
    result = TruthTable(tuple(atoms), values)
    return result if len(values) <= MAX_ENTRIES else call.atoms.rebased(result)


def _anything(call: Call) -> Signal:
    """Return the signal of truth values, or of values of which nothing is known."""
    return call.atoms.fresh((False, True)) if call.out.dtype == torch.bool else ANALOG


def cast_values(known: TruthTable, before: torch.dtype, after: torch.dtype) -> Signal:
    """Return the table of values in another dtype."""
    operand = (known.values, tuple(range(len(known.atoms))), before, False)
    sizes = tuple(atom.size for atom in known.atoms)
    template = ((_SLOT,), (("dtype", after),))
    values = _apply(torch.ops.aten._to_copy.default, template, (operand,), sizes, after)
    return ANALOG if values is None else TruthTable(known.atoms, values)


def broadcast(table: TruthTable, tensor: Tensor, out: Tensor, atoms: Atoms) -> Signal:
    """Return the signal of a tensor after it was broadcast."""
    plain = rescaled(table, UNSCALED)
    assert isinstance(plain, TruthTable)
    moved = atoms.rebased(plain, ("expand", tuple(tensor.shape), tuple(out.shape)))
    return rescaled(moved, scale_broadcast(table.scale, tensor, out))


def _within_limit(tables: list[TruthTable], atoms: Atoms) -> list[TruthTable]:
    """Re-base the largest operands until the joint table is small enough."""
    tables = list(tables)
    while _entries(tables) > MAX_ENTRIES:
        sizes = [len(t.values) if len(t.atoms) > 1 else 0 for t in tables]
        largest = sizes.index(max(sizes))
        if not sizes[largest]:
            break
        rebased = atoms.rebased(tables[largest])
        assert isinstance(rebased, TruthTable)
        tables[largest] = rebased
    return tables


def _entries(tables: Sequence[TruthTable]) -> int:
    return math.prod(atom.size for atom in {a: None for t in tables for a in t.atoms})


class _Slot:
    """Mark where a tensor stood in an argument list."""

    def __repr__(self) -> str:  # a part of names, which other processes must give as well
        return "_"


_SLOT = _Slot()


def template_of(call: Call) -> tuple[Any, Any]:
    """Return the arguments of a call, with a mark in place of each tensor."""
    return _template(call.args), tuple((k, _template(v)) for k, v in call.kwargs.items())


def _template(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _SLOT
    if isinstance(value, (list, tuple)):
        return tuple(_template(item) for item in value)
    return Number(value) if isinstance(value, (int, float, complex)) else value


Values = tuple[int | float, ...]
Operand = tuple[Values, tuple[int, ...], torch.dtype, bool]


@cache
def _returning(func: Any) -> Any:
    """Return the form of an operator that returns its result, for one that writes to ``out=``."""
    has_out = any(argument.is_out for argument in schema_of(func).arguments)
    return func.overloadpacket if has_out else func


@lru_cache(maxsize=4096)
def _apply(
    func: Any,
    template: tuple[Any, Any],
    operands: tuple[Operand, ...],
    sizes: tuple[int, ...],
    out: torch.dtype,
) -> Values | None:
    """Return the values of ``func`` for all assignments; None where one of them is not finite.

    ``operands``: values, the positions of its atoms among all, dtype, and whether the tensor
    is zero-dimensional (those take part in type promotion differently). ``out``: dtype of the
    result.
    """
    try:
        remaining = iter(_tables(operands, sizes))
        args = _filled(template[0], remaining)
        kwargs = {name: _filled(value, remaining) for name, value in template[1]}
        kwargs.pop("device", None)
        kwargs.pop("memory_format", None)
        result = func(*_unbroadcast(func, args, sizes), **kwargs)
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return None
    if result.dtype != out:
        if isinstance(func, OpOverload):
            return None
        result = result.to(out)  # what ``out=`` asks for
    full = result.expand(sizes or (1,)).reshape(-1)
    if full.is_complex() or not bool(torch.isfinite(full).all()):
        return None
    return tuple(full.tolist())


def _tables(operands: tuple[Operand, ...], sizes: tuple[int, ...]) -> list[Tensor]:
    """Return each operand's values as a tensor with one dimension for each atom of all.

    A tensor without dimensions hardly takes part in type promotion, but its table has dimensions:

    >>> half, tenth = torch.ones(3, dtype=torch.float16), torch.tensor(0.1, dtype=torch.float64)
    >>> (half + tenth).dtype, (half + tenth.reshape(1)).dtype
    (torch.float16, torch.float64)

    The sum on tables would be worked out in float64, where 1 + 0.1 is another number. So the table
    of ``tenth`` is cast beforehand to what torch makes of it beside the others: float16.
    """
    dtypes = [dtype for _, _, dtype, is_scalar in operands if not is_scalar]
    tables = []
    for values, positions, dtype, is_scalar in operands:
        table = torch.tensor(values, dtype=dtype, device="cpu")
        if is_scalar and not positions:
            tables.append(table.reshape(()))
            continue
        if is_scalar and dtypes:
            common = reduce(torch.promote_types, dtypes)
            promoted = torch.result_type(table.new_empty(1, dtype=common), table.new_empty(()))
            if promoted != torch.promote_types(common, dtype):
                table = table.to(promoted)
        shape = [1] * max(1, len(sizes))
        for position in positions:
            shape[position] = sizes[position]
        tables.append(table.reshape(shape))
    return tables


def _filled(template: Any, tensors: Any) -> Any:
    if template is _SLOT:
        return next(tensors)
    if isinstance(template, Number):
        return template.value
    if isinstance(template, tuple):
        return tuple(_filled(item, tensors) for item in template)
    return template


def _unbroadcast(func: Any, args: tuple[Any, ...], sizes: tuple[int, ...]) -> tuple[Any, ...]:
    """Give in-place forms a first operand of the full shape, since they write into it."""
    if (
        isinstance(func, OpOverload)
        and schema_of(func).is_mutable
        and args
        and isinstance(args[0], Tensor)
    ):
        return (args[0].expand(sizes or (1,)).clone(), *args[1:])
    return args
