"""What an adapter of an SNN library answers."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from torch import Tensor, nn

from syops.choices import Signal
from syops.ops.values import ANALOG, INTEGER, Opaque

NeuronSignal = tuple[int, ...] | Opaque
"""The values that a neuron gives: {0, 1}, {-1, 0, 1}, {0..k}, or analog ones."""


SIGNALS: dict[Signal, NeuronSignal] = {
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

    def is_neuron(self, module: nn.Module) -> bool:
        """Whether a call brings states of the module forward in time, as far as `layout` says."""
        return False

    def layout(self, module: nn.Module, x: Tensor) -> tuple[int, int]:
        """Time-steps and samples of a call of a neuron with ``x``."""
        return steps_and_samples(x, self.takes_a_sequence(module))

    def takes_a_sequence(self, module: nn.Module) -> bool:
        """Whether a neuron is called with [T, N, ...]; if not, with [N, ...]."""
        return False

    def stand_still(self, module: nn.Module, x: Tensor) -> None:
        """Give a neuron on ``meta`` the states it would have after ``x``, which it does not read.

        Only for neurons that have a `signal`.
        """


def steps_and_samples(x: Tensor, has_time: bool) -> tuple[int, int]:
    """Of [T, N, ...], or of [N, ...]; what is left without a dimension N is one sample."""
    steps, *rest = x.shape if has_time and x.dim() else (1, *x.shape)
    return steps, rest[0] if len(rest) > 1 else 1


def is_from(kind: object, package: str) -> bool:
    """Whether a class or function is defined in a package."""
    where = getattr(kind, "__module__", None) or ""
    return where == package or where.startswith(f"{package}.")


def derives_from(kind: Any, package: str, *names: str) -> bool:
    """Whether a class is, or derives from, one of the named classes of a package."""
    return _derives_from(kind, package, names)


@lru_cache(maxsize=4096)
def _derives_from(kind: type, package: str, names: tuple[str, ...]) -> bool:
    return any(cls.__name__ in names and is_from(cls, package) for cls in kind.__mro__)
