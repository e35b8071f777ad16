"""Define the questions that an adapter of an SNN library answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from torch import Tensor, nn

from syops.choices import Signal
from syops.ops.values import ANALOG, INTEGER, Opaque

NeuronSignal = tuple[int, ...] | Opaque
"""The values that a neuron sends: {0, 1}, {-1, 0, 1}, {0..k}, or analog ones."""


SIGNALS: dict[Signal, NeuronSignal] = {
    "analog": ANALOG,
    "binary": (0, 1),
    "ternary": (-1, 0, 1),
    "graded": INTEGER,
}
"""What a user can declare of an input or a neuron."""


TORCH_LAYERS = {
    *("Linear", "Conv1d", "Conv2d", "Conv3d", "_ConvNd"),
    *("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"),
    *("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "_BatchNorm", "SyncBatchNorm"),
}
"""Classes of torch that apply the weights that they have, and no others."""


class TimeIn(NamedTuple):
    """Say which dimension of a tensor has time-steps.

    Attributes:
        dim: the dimension.
        inside: it is [N·T], not [T·N] or T alone.
    """

    dim: int
    inside: bool = False


class Library:
    """Answer what the counter has to know of the modules of one SNN library.

    An adapter derives from this class, in a file of its own in this folder, and overrides the
    methods whose default answer is wrong for its library. It recognises modules by the names of
    their classes, since no library is imported; see `is_from` and `derives_from`.

    Attributes:
        packages: the names by which the library is imported.
        forwards: methods besides ``forward`` in which its layers apply their weights.
    """

    packages: tuple[str, ...] = ()
    forwards: frozenset[str] = frozenset()

    # Which classes

    def owns(self, module: nn.Module) -> bool:
        """Return whether a module keeps states in the way of this library.

        Subclasses of the library's classes do too, unless they keep them in another way.
        """
        raise NotImplementedError

    def is_neuron(self, module: nn.Module) -> bool:
        """Return whether a call brings states of the module forward in time; see `layout`.

        This need not be a module that the library owns: the caller may keep the states.
        """
        return self.owns(module)

    # What neurons send

    def signal(self, module: nn.Module) -> NeuronSignal | None:
        """Return the values that a neuron of exactly this type sends in its configuration.

        Such a neuron is not watched from inside; its work is one row. None, the default, has it
        watched, as every module with synaptic weights must be.
        """
        return None

    def sends_spikes(self, module: nn.Module) -> bool:
        """Return whether the module's first result is what a neuron sends, watched or not."""
        return self.is_neuron(module)

    # States

    def states(self, module: nn.Module) -> dict[str, Any]:
        """Return what the module keeps from one time-step to the next, by name, as it is now."""
        raise NotImplementedError

    def kept(self, module: nn.Module) -> int:
        """Return how many states the module keeps for each element of its output."""
        return sum(value is not None for value in self.states(module).values())

    def reset(self, module: nn.Module) -> None:
        """Give the module the states of one that was just constructed."""
        raise NotImplementedError

    def stand_still(self, module: nn.Module, x: Tensor) -> None:
        """Give a neuron on ``meta`` states of the shapes that they have after a call with ``x``.

        Asked only for neurons that have a `signal`: where there are no values they do not run.
        """

    # Time-steps

    def takes_a_sequence(self, module: nn.Module) -> bool:
        """Return whether a neuron or layer is called with [T, N, ...] rather than [N, ...]."""
        return False

    def layout(self, module: nn.Module, x: Tensor) -> tuple[int, int]:
        """Return the time-steps and the samples of a call of a neuron with ``x``."""
        return steps_and_samples(x, self.takes_a_sequence(module))

    def time_in(self, module: nn.Module) -> TimeIn | None:
        """Return where a call finds its time-steps; None: the call is one time-step."""
        return TimeIn(0) if self.takes_a_sequence(module) else None

    # Layers and operators

    def computes_as_torch(self, method: Callable[..., Any]) -> bool:
        """Return whether a layer's method does with its weights what torch's layer does.

        A norm can be folded only into such layers.
        """
        return False

    def by_parts(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Execute the parts of an operator of the library one by one, which are then counted.

        NotImplemented for every other operator.
        """
        return NotImplemented


def steps_and_samples(x: Tensor, has_time: bool) -> tuple[int, int]:
    """Return T and N of [T, N, ...], or 1 and N of [N, ...]; what has no dimension N is one sample.

    >>> import torch
    >>> steps_and_samples(torch.zeros(4, 2, 8), has_time=True)
    (4, 2)
    >>> steps_and_samples(torch.zeros(2, 8), has_time=False)
    (1, 2)
    """
    steps, *rest = x.shape if has_time and x.dim() else (1, *x.shape)
    return steps, rest[0] if len(rest) > 1 else 1


def is_from(kind: object, package: str) -> bool:
    """Return whether a class or function is defined in a package.

    >>> is_from(nn.Linear, "torch.nn"), is_from(nn.Linear, "torchvision")
    (True, False)
    """
    where = getattr(kind, "__module__", None) or ""
    return where == package or where.startswith(f"{package}.")


def derives_from(kind: Any, package: str, *names: str) -> bool:
    """Return whether a class is, or derives from, one of the named classes of a package.

    >>> derives_from(nn.Conv2d, "torch", "Module", "Tensor")
    True
    """
    return _derives_from(kind, package, names)


@lru_cache(maxsize=4096)
def _derives_from(kind: type, package: str, names: tuple[str, ...]) -> bool:
    return any(cls.__name__ in names and is_from(cls, package) for cls in kind.__mro__)
