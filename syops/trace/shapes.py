"""Execute operators on ``meta``, where tensors have shapes and no values."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from syops._torch import schema_of, version_of
from syops.ops.registry import find
from syops.ops.rule import Number, tensors_in
from syops.trace.formulas import by_formula


def on_meta(tensor: Tensor) -> Tensor:
    """Return a tensor without values; a single number that is not a parameter is remembered.

    A dense one stands for a sparse one.
    """
    is_strided = tensor.layout == torch.strided
    stride = tensor.stride() if is_strided else torch.empty(tensor.shape, device="meta").stride()
    empty = torch.empty_strided(tensor.shape, stride, dtype=tensor.dtype, device="meta")
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(empty, requires_grad=tensor.requires_grad)
    number = getattr(tensor, "number", None)
    if tensor.numel() == 1 and not tensor.is_meta:
        number = torch.clone(tensor.detach())  # `_OnMeta` would take the method for another copy
    if number is not None:
        empty.number = number  # type: ignore[attr-defined]
    return empty


META = torch.device("meta")

_Meta = tuple[torch.Size, tuple[int, ...], torch.dtype]
"""Shape, stride and dtype: all that a tensor on ``meta`` is."""


def executed_on_meta(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what an operator returns on ``meta``.

    Networks repeat themselves, so what was worked out once for given shapes is remembered.
    Operators whose results share memory with their operands are always executed. Whatever device
    the model asks for, tensors stay on ``meta``; only single numbers keep their values: those of
    literals, and those that the model kept, which can be read.
    """
    number = getattr(args[0], "number", None) if args else None
    if number is None or version_of(args[0]) != 0:  # written into
        return _execute(func, args, kwargs)
    rule = find(func)
    if rule is not None and rule.tells and not tensors_in(args[1:]):
        return func(number, *args[1:], **kwargs)
    made = _execute(func, args, kwargs)
    alone = not schema_of(func).is_mutable and not tensors_in(args[1:])
    if alone and isinstance(made, Tensor) and made.numel() == 1:
        kwargs.pop("device", None)
        made.number = func(number, *args[1:], **kwargs)  # type: ignore[attr-defined]
    return made


def _execute(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if "device" in kwargs:
        kwargs = {n: v for n, v in kwargs.items() if n != "pin_memory"} | {"device": META}
    args, kwargs = _each_on_meta(args), _each_on_meta(kwargs)
    try:
        signature = _signature(args), _signature(tuple(sorted(kwargs.items())))
        results = _results(func, *signature) if _is_functional(func) else None
    except TypeError:  # an argument that cannot be hashed, or a tensor that has values
        results = None
    if results is None:
        return func(*args, **kwargs)
    made = tuple(
        torch.empty_strided(shape, stride, dtype=dtype, device="meta")
        for shape, stride, dtype in results
    )
    return made[0] if len(made) == 1 else made


def _each_on_meta(value: Any) -> Any:
    """Return arguments with all tensors on ``meta``, literals too: torch wants one device."""
    if isinstance(value, Tensor):
        return value if value.is_meta or not value.dim() else on_meta(value)
    if isinstance(value, dict):
        return {name: _each_on_meta(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_each_on_meta(item) for item in value)
    return value


@cache
def _is_functional(func: Any) -> bool:
    schema = schema_of(func)
    return all(value.alias_info is None for value in (*schema.arguments, *schema.returns))


def _signature(value: Any) -> Any:
    if isinstance(value, Tensor):
        if not value.is_meta:
            raise TypeError
        return _Shape((value.shape, value.stride(), value.dtype))
    if isinstance(value, (list, tuple)):
        return tuple(_signature(item) for item in value)
    return Number(value) if isinstance(value, (int, float, complex)) else value


class _Shape(tuple[Any, ...]):
    """Stand for a tensor argument in a signature."""


@lru_cache(maxsize=4096)
def _results(func: Any, args: Any, kwargs: Any) -> tuple[_Meta, ...] | None:
    told = _arguments(args), dict(_arguments(kwargs))
    out = by_formula(func, *told)
    if out is None:
        out = func(*told[0], **told[1])
    tensors = out if isinstance(out, (tuple, list)) else (out,)
    if not all(isinstance(tensor, Tensor) and tensor.is_meta for tensor in tensors):
        return None
    return tuple((tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors)


def _arguments(signature: Any) -> Any:
    if isinstance(signature, _Shape):
        shape, stride, dtype = signature
        return torch.empty_strided(shape, stride, dtype=dtype, device="meta")
    if isinstance(signature, Number):
        return signature.value
    if isinstance(signature, tuple):
        return tuple(_arguments(item) for item in signature)
    return signature
