"""Notice functions of torch of which a dispatch mode sees nothing, or parts.

Values leave the tensors of a model for Python or NumPy without an operator: by ``x.tolist()``,
``x.numpy()`` and ``torch.tensor([x[0], x[1]])``. A tensor that the model makes of such numbers
looks like a literal, but is data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torch.overrides import TorchFunctionMode

from syops.ops.norms import WHOLE
from syops.ops.rule import tensors_in

_READING = {
    *(Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__),
    *(Tensor.__int__, Tensor.__float__, Tensor.__complex__, Tensor.__index__),
}
_MAKING = {torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor}
_WATCHED = {*_READING, *_MAKING, Tensor.__getitem__, Tensor.__setitem__}

Run = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
"""What executes an operator on these arguments and keyword arguments."""


class Wholes(TorchFunctionMode):
    """Call ``run`` with the operator that a function is, though torch makes it of others.

    Attributes:
        checks: whether torch reads values to check them, and lets none out.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run
        self.checks = False

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        operator = WHOLE.get(func)
        if operator is not None:
            return self._run(operator, args, kwargs or {})
        return func(*args, **kwargs) if kwargs else func(*args)


class Reads(Wholes):
    """Call ``on_read`` with each tensor whose values are about to leave it, too."""

    def __init__(self, run: Run, on_read: Callable[[Tensor], None]) -> None:
        super().__init__(run)
        self._on_read = on_read

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in _WATCHED:
            for tensor in _leaving(func, (*args, *(kwargs or {}).values())):
                self._on_read(tensor)
        elif func is one_hot and _has_classes(*args, **(kwargs or {})):
            self.checks = True
            try:
                return func(*args, **(kwargs or {}))
            finally:
                self.checks = False
        elif func in WHOLE:
            return super().__torch_function__(func, types, args, kwargs)
        return func(*args, **kwargs) if kwargs else func(*args)


def _has_classes(tensor: Tensor, num_classes: int = -1) -> bool:
    """Return whether `one_hot` is told the number of classes, and need not look for it."""
    return num_classes >= 0


def _leaving(func: Any, values: tuple[Any, ...]) -> Iterator[Tensor]:
    """Yield the tensors whose values a function reads without an operator."""
    if func in _READING:
        yield values[0]
    elif func in _MAKING:
        yield from tensors_in(value for value in values if not isinstance(value, Tensor))
    else:
        yield from _listed(values[1])


def _listed(index: Any) -> Iterator[Tensor]:
    """Yield the tensors in lists of an index. (Others are operands of an operator.)"""
    if isinstance(index, list):
        yield from tensors_in(index)
    elif isinstance(index, tuple):
        for item in index:
            yield from _listed(item)
