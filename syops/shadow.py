"""A model without values: its structure on ``meta``, where only shapes are worked out."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from syops.frameworks import neuron_signal


class _SilentNeuron(nn.Module):
    """Stands for a neuron where there are no values: same shape, same dtype."""

    def forward(self, x: Tensor, *args: Any) -> Tensor:
        return torch.empty_like(x)


def shadow(model: nn.Module) -> nn.Module:
    """A copy of the model on ``meta``: its structure, with no values and no memory.

    Hooks are left behind, and neurons stand still.

    Raises:
        Exception: whatever a module raises that cannot be copied.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        for tensor in _tensors_of(module):
            memo.setdefault(id(tensor), _on_meta(tensor))
        if neuron_signal(module) is not None:
            memo[id(module)] = _SilentNeuron()
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            memo[id(hooks)] = OrderedDict()
    return copy.deepcopy(model, memo)


def _tensors_of(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, nn.Module):
        for name, attribute in vars(value).items():
            if name != "_modules":
                yield from _tensors_of(attribute)
    elif type(value) in (dict, OrderedDict):
        for item in value.values():
            if not isinstance(item, nn.Module):
                yield from _tensors_of(item)
    elif type(value) in (list, tuple):
        for item in value:
            if not isinstance(item, nn.Module):
                yield from _tensors_of(item)


def _on_meta(tensor: Tensor) -> Tensor:
    empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(empty, requires_grad=tensor.requires_grad)
    return empty


_Meta = tuple[torch.Size, tuple[int, ...], torch.dtype]
"""Shape, stride and dtype: all that a tensor on ``meta`` is."""


def call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What an operator returns on ``meta``.

    Networks repeat themselves, so what was worked out once for given shapes is remembered.
    Operators whose results share memory with their operands are always executed.
    """
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


@cache
def _is_functional(func: Any) -> bool:
    schema = func._schema
    return all(value.alias_info is None for value in (*schema.arguments, *schema.returns))


def _signature(value: Any) -> Any:
    if isinstance(value, Tensor):
        if not value.is_meta:
            raise TypeError
        return _Shape((value.shape, value.stride(), value.dtype))
    if isinstance(value, (list, tuple)):
        return tuple(_signature(item) for item in value)
    return value


class _Shape(tuple[Any, ...]):
    """A tensor argument in a signature."""


@lru_cache(maxsize=4096)
def _results(func: Any, args: Any, kwargs: Any) -> tuple[_Meta, ...] | None:
    out = func(*_arguments(args), **dict(_arguments(kwargs)))
    tensors = out if isinstance(out, (tuple, list)) else (out,)
    if not all(isinstance(tensor, Tensor) and tensor.is_meta for tensor in tensors):
        return None
    return tuple((tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors)


def _arguments(signature: Any) -> Any:
    if isinstance(signature, _Shape):
        shape, stride, dtype = signature
        return torch.empty_strided(shape, stride, dtype=dtype, device="meta")
    if isinstance(signature, tuple):
        return tuple(_arguments(item) for item in signature)
    return signature
