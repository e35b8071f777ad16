"""Say how a model is called on a batch: once, or once for each time-step of the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from syops._torch import tree_map
from syops.errors import SyopsTypeError, SyopsValueError
from syops.trace.inputs import Arguments, first_tensor

Call = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Any]
"""Calls a model with positional and keyword arguments."""


def once(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the model once."""
    return model(*args, **kwargs)


@dataclass(frozen=True)
class Unroll:
    """Call a model once for each slice of its first tensor.

    The other arguments are the same at every call.

    Attributes:
        dim: the dimension of the first tensor that counts time-steps.
    """

    dim: int

    @classmethod
    def of(cls, dim: object) -> Unroll:
        """Check what the user gave."""
        if isinstance(dim, bool) or not isinstance(dim, int):
            raise SyopsTypeError(
                "unroll must be the dimension of the first tensor that counts time-steps, such as "
                f"0; got {dim!r}"
            )
        return cls(dim)

    def __call__(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the model for each time-step, and return the list of its outputs."""
        steps = map(partial(self.step, (args, kwargs)), range(self.steps((args, kwargs))))
        return [model(*args, **kwargs) for args, kwargs in steps]

    def steps(self, batch: Arguments) -> int:
        """Return T of a batch."""
        first = first_tensor(batch)
        if not -first.dim() <= self.dim < first.dim():
            raise SyopsValueError(
                f"unroll={self.dim} does not exist in an input of shape {tuple(first.shape)}"
            )
        if not first.shape[self.dim]:
            raise SyopsValueError(
                f"inputs: a batch of shape {tuple(first.shape)} has no time-steps along "
                f"unroll={self.dim}"
            )
        return first.shape[self.dim]

    def step(self, batch: Arguments, step: int) -> Arguments:
        """Return what the model is called with at one time-step."""
        first = first_tensor(batch)
        args, kwargs = tree_map(
            lambda leaf: leaf.select(self.dim, step) if leaf is first else leaf, batch
        )
        return args, kwargs

    def axis(self, batch: Arguments) -> int:
        """Return the dimension of the first tensor of a batch that counts time-steps."""
        return self.dim % first_tensor(batch).dim()
