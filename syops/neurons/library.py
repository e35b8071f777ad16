"""What an adapter of an SNN library answers."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from syops.signals import ANALOG, INTEGER, Opaque

NeuronSignal = tuple[int, ...] | Opaque
"""The values that a neuron gives: {0, 1}, {-1, 0, 1}, {0..k}, or analog ones."""


SIGNALS: dict[str, NeuronSignal] = {
    "analog": ANALOG,
    "binary": (0, 1),
    "ternary": (-1, 0, 1),
    "graded": INTEGER,
}
"""What a user can say of an input or a neuron."""


class Library:
    """The modules of one library that keep states, and those that are neurons.

    Modules are recognised by the names of their classes: no library is imported for it.
    """

    def owns(self, module: nn.Module) -> bool:
        """Whether the module keeps states in the way of this library: its class or a subclass."""
        raise NotImplementedError

    def signal(self, module: nn.Module) -> NeuronSignal | None:
        """The values that a neuron of exactly this type gives.

        None to watch it from inside, as everything with synaptic weights has to be.
        """
        return None

    def states(self, module: nn.Module) -> dict[str, Any]:
        """What the module keeps from one time-step to the next, by name, as it is now."""
        raise NotImplementedError

    def reset(self, module: nn.Module) -> None:
        """Make the states those of a module that was just constructed."""
        raise NotImplementedError

    def steps(self, module: nn.Module, out: Tensor) -> int:
        """How many time-steps a call goes through that gave ``out``; 0 where it is not known."""
        return 0

    def stand_still(self, module: nn.Module, x: Tensor) -> None:
        """Give a neuron on ``meta`` the states it would have after ``x``, which it does not read.

        Only for neurons that have a `signal`.
        """


def is_from(kind: object, package: str) -> bool:
    """Whether a class or function is defined in a package."""
    where = getattr(kind, "__module__", None) or ""
    return where == package or where.startswith(f"{package}.")


def derives_from(kind: type, package: str, *names: str) -> bool:
    """Whether a class is, or derives from, one of the named classes of a package."""
    return any(cls.__name__ in names and is_from(cls, package) for cls in kind.__mro__)
