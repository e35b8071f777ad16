"""Write calls and arguments in a few letters, the same in every process."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from syops.errors import shown

_FEW = 8
"""Elements of a list that is an argument rather than a data set."""


def call_of(function: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    """Return a call as one would write it, without arguments that are the defaults.

    >>> def count(model, limit=None): ...
    >>> call_of(count, {"model": torch.nn.Linear(2, 2), "limit": 8})
    'count(Linear, limit=8)'
    """
    told = []
    for name, parameter in inspect.signature(function).parameters.items():
        value, default = arguments[name], parameter.default
        if default is parameter.empty:
            told.append(in_letters(value))
        elif value is not default and not (type(value) is type(default) and value == default):
            told.append(f"{name}={in_letters(value)}")
    return f"{function.__name__}({', '.join(told)})"


def in_letters(value: Any) -> str:
    """Return a value; of large or unknown ones what they are."""
    if isinstance(value, Tensor) and value.is_nested:
        return f"{type(value).__name__}[nested]"
    if isinstance(value, Tensor | np.ndarray):
        return f"{type(value).__name__}{list(value.shape)}"
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, int | float | bool | type(None) | torch.device):
        return shown(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{in_letters(k)}: {in_letters(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple) or (isinstance(value, list) and len(value) <= _FEW):
        return f"[{', '.join(map(in_letters, value))}]"
    return str(getattr(value, "__qualname__", type(value).__name__))
