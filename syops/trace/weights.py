"""Recognise modules that apply their weights as the layers of torch do."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from torch import nn

from syops._torch import FORWARDS, BatchNorm, Convolution
from syops.trace.neurons import LIBRARIES
from syops.trace.neurons.library import TORCH_LAYERS, is_from

RECURRENT = (nn.RNNBase, nn.RNNCellBase)
"""Layers whose hidden state is analog from the first step on."""
_FOLDABLE = (Convolution, nn.Linear, BatchNorm)
_APPLYING = FORWARDS.union(*(library.forwards for library in LIBRARIES))
"""Methods that apply a layer's weights."""


def applies_its_weights(module: nn.Module) -> bool:
    """Return whether a convolution, linear layer or BatchNorm computes as torch's own does.

    A subclass does, unless it has a forward of its own.
    """
    kind: type = type(module)
    return _is_plain(kind) and not vars(module).keys() & _APPLYING


@cache
def _is_plain(kind: type) -> bool:
    methods = [getattr(kind, name) for name in _APPLYING if hasattr(kind, name)]
    return issubclass(kind, _FOLDABLE) and all(map(_computes_as_torch, methods))


def _computes_as_torch(method: Callable[..., Any]) -> bool:
    """Return whether a method of a layer is torch's own, or that of a library's equal layer."""
    if is_from(method, "torch.nn.modules"):
        return method.__qualname__.partition(".")[0] in TORCH_LAYERS
    return any(library.computes_as_torch(method) for library in LIBRARIES)
