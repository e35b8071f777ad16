"""A model without values: its structure on ``meta``, where only shapes are worked out."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from syops.frameworks import NeuronSignal, neuron_signal, states_of
from syops.rules.base import Number


class SilentNeuron(nn.Module):
    """Stands for a known neuron where there are no values: same shape, same dtype.

    Args:
        name: the neuron's class.
        signal: the values that it gives.
        parameters: its own, such as the ``w`` of a PLIF neuron.
        states: variables that it keeps from one time-step to the next.
    """

    def __init__(
        self, name: str, signal: NeuronSignal, parameters: Iterable[nn.Parameter], states: int
    ) -> None:
        super().__init__()
        self.name = name
        self.signal = signal
        self.states = states
        self.own = nn.ParameterList(parameters)

    def forward(self, x: Tensor, *args: Any) -> Tensor:
        return torch.empty_like(x)


def shadow(model: nn.Module, neurons: Mapping[type, NeuronSignal]) -> nn.Module:
    """A copy of the model on ``meta``: its structure, with no values and no memory.

    Hooks are left behind, and neurons stand still: those that are known, and ``neurons``.

    Raises:
        Exception: whatever a module raises that cannot be copied.
    """
    return _shadowed(model, {}, neurons)


def _shadowed(value: Any, memo: dict[int, Any], neurons: Mapping[type, NeuronSignal]) -> Any:
    """A deep copy in which tensors lie on ``meta``, neurons stand still and hooks are gone.

    ``memo`` is that of `copy.deepcopy`, which copies what is neither a module, a tensor nor a
    plain container: most of a model's attributes need no copy.
    """
    if value is None or isinstance(value, _IMMUTABLE):
        return value
    if id(value) in memo:
        return memo[id(value)]
    if isinstance(value, Tensor):
        memo[id(value)] = _on_meta(value)
    elif isinstance(value, nn.Module) and not hasattr(value, "__deepcopy__"):
        signal = neuron_signal(value, neurons)
        if signal is not None:
            own = [_shadowed(parameter, memo, neurons) for parameter in value.parameters()]
            name = type(value).__name__
            memo[id(value)] = SilentNeuron(name, signal, own, states_of(value))
            return memo[id(value)]
        copied = memo[id(value)] = type(value).__new__(type(value))
        for name, attribute in vars(value).items():
            is_hooks = name in ("_forward_hooks", "_forward_pre_hooks")
            vars(copied)[name] = OrderedDict() if is_hooks else _shadowed(attribute, memo, neurons)
    elif type(value) in (dict, OrderedDict):
        copied = memo[id(value)] = type(value)()
        for key, item in value.items():
            copied[key] = _shadowed(item, memo, neurons)
    elif type(value) is list:
        items: list[Any] = []
        memo[id(value)] = items
        items.extend(_shadowed(item, memo, neurons) for item in value)
    elif type(value) is tuple:
        memo[id(value)] = tuple(_shadowed(item, memo, neurons) for item in value)
    else:
        return copy.deepcopy(value, memo)
    return memo[id(value)]


_IMMUTABLE = (bool, int, float, complex, str, bytes, torch.dtype, torch.device, type)


def _on_meta(tensor: Tensor) -> Tensor:
    empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(empty, requires_grad=tensor.requires_grad)
    return empty


META = torch.device("meta")

_Meta = tuple[torch.Size, tuple[int, ...], torch.dtype]
"""Shape, stride and dtype: all that a tensor on ``meta`` is."""


def call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What an operator returns on ``meta``.

    Networks repeat themselves, so what was worked out once for given shapes is remembered.
    Operators whose results share memory with their operands are always executed. Whatever device
    the model asks for, tensors stay on ``meta``; only single numbers keep their values.
    """
    if "device" in kwargs:
        kwargs = {n: v for n, v in kwargs.items() if n != "pin_memory"} | {"device": META}
    args, kwargs = _all_on_meta(args), _all_on_meta(kwargs)
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


def _all_on_meta(value: Any) -> Any:
    """Tensors of literals beside tensors without values: torch wants them on one device."""
    if isinstance(value, Tensor):
        return value if value.is_meta or not value.dim() else _on_meta(value)
    if isinstance(value, dict):
        return {name: _all_on_meta(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_all_on_meta(item) for item in value)
    return value


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
    return Number(value) if isinstance(value, (int, float, complex)) else value


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
    if isinstance(signature, Number):
        return signature.value
    if isinstance(signature, tuple):
        return tuple(_arguments(item) for item in signature)
    return signature
