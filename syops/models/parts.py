"""Provide what the model families share: neurons, streams, checks of arguments."""

import copy
import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from syops.errors import SyopsTypeError, SyopsValueError
from syops.models.jelly import base, neuron, surrogate


class Streams(NamedTuple):
    """Hold both streams of a dual-stream network, between its blocks and as its result.

    ``spike`` is o_l of Eq. (10), ``accumulated`` a_l of Eq. (11); None in a network without an AAP.
    """

    spike: Tensor
    accumulated: Tensor | None


CLASSIFIERS = ("shared", "separate")
"""Whether both streams have one classifier, or each its own. Eq. (12) leaves that open."""


class ResidualBlock(nn.Module):
    """Define what `syops.models.surgery` needs of a residual block of any family."""

    aap: nn.Module | None
    """What happens to a_{l-1} here, Eq. (11); None without an AAP."""

    @abstractmethod
    def make_aap(self) -> nn.Module:
        """Return a new ``aap`` for this block; `SyopsValueError` if it cannot have one."""

    @abstractmethod
    def last_norms(self) -> tuple[nn.Module, ...]:
        """Return the BNs that the residual mappings end in; at zero, blocks are the identity."""


_NEURONS: dict[str, Callable[..., nn.Module]] = {
    "IF": neuron.IFNode,  # Eq. (4)
    "LIF": neuron.LIFNode,  # Eq. (5), tau = 2
    "PLIF": neuron.ParametricLIFNode,  # Eq. (5), one learned tau a layer, 2 at first
}


@dataclass(frozen=True)
class Neurons:
    """Make the neurons of a network from the keywords that all spiking families have.

    Args:
        neuron: IF, LIF or PLIF.
        v_threshold: V_th of Eq. (2), above 0. The reset is hard, to 0.
        detach_reset: no gradient through the reset of Eq. (3).
        surrogate: a surrogate function of spikingjelly; default arctan, alpha = 2 (Appendix C.3).

    Raises `SyopsValueError` or `SyopsTypeError` for a value that cannot be used.
    """

    neuron: str = "IF"
    v_threshold: float = 1.0
    detach_reset: bool = True
    surrogate: nn.Module | None = None

    def __post_init__(self) -> None:
        one_of("neuron", self.neuron, tuple(_NEURONS))
        v = self.v_threshold
        if not isinstance(v, int | float) or isinstance(v, bool) or not 0 < v < math.inf:
            raise SyopsValueError(f"v_threshold={v!r}: expected a finite number above 0")
        if not isinstance(self.detach_reset, bool):
            raise SyopsTypeError(f"detach_reset={self.detach_reset!r}: expected True or False")
        if not isinstance(self.surrogate, nn.Module | None):
            raise SyopsTypeError(
                f"surrogate={self.surrogate!r}: expected a surrogate function of spikingjelly, "
                "such as surrogate.ATan(alpha=2.0)"
            )

    def __call__(self) -> nn.Module:
        """Return a new neuron."""
        return _NEURONS[self.neuron](
            v_threshold=float(self.v_threshold),
            surrogate_function=copy.deepcopy(self.surrogate) or surrogate.ATan(alpha=2.0),
            detach_reset=self.detach_reset,
        )


def reset_neurons(model: nn.Module) -> None:
    """Set the membrane potentials of all spikingjelly neurons in ``model`` back to the start.

    Not `functional.reset_net`: that one remembers the neurons of its first call, and would miss
    those which the user has put in since.
    """
    for module in model.modules():
        if isinstance(module, base.MemoryModule):
            module.reset()


def one_of(name: str, value: Any, known: tuple[str, ...]) -> str:
    """Return ``value``; raise `SyopsValueError` if it is not one of ``known``."""
    if value not in known:
        raise SyopsValueError(f"{name}={value!r} is not one of {', '.join(known)}")
    return value


def positive_int(name: str, value: Any) -> int:
    """Return ``value``; raise `SyopsValueError` if it is not an integer of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise SyopsValueError(f"{name}={value!r}: expected an integer of at least 1")
    return value


def as_sequence(x: Any, weight: Tensor, smallest: int = 1) -> Tensor:
    """Return images [N, C, H, W] as a sequence of one step; return event data unchanged.

    C and the dtype are those that ``weight``, the first convolution's, needs; ``smallest`` is the
    least height and width.

    Raises:
        SyopsTypeError: ``x`` is not a tensor.
        SyopsValueError: ``x`` has another shape or dtype.
    """
    if not isinstance(x, Tensor):
        raise SyopsTypeError(f"the model's input is a {type(x).__name__}: expected a tensor")
    channels = weight.shape[1]
    if x.dim() not in (4, 5) or x.shape[-3] != channels or 0 in x.shape:
        raise SyopsValueError(
            f"the model's input has shape {tuple(x.shape)}: expected images [N, {channels}, H, W] "
            f"or event data [T, N, {channels}, H, W], no dimension empty"
        )
    if min(x.shape[-2:]) < smallest:
        raise SyopsValueError(
            f"the model's input is of {x.shape[-2]}x{x.shape[-1]} pixels: this network needs at "
            f"least {smallest}x{smallest}"
        )
    if x.dtype != weight.dtype:
        raise SyopsValueError(
            f"the model's input is {x.dtype}: expected {weight.dtype} like the weights, "
            f"x.to({weight.dtype})"
        )
    return x.unsqueeze(0) if x.dim() == 4 else x
