"""What the model families share: neurons, streams, checks of what the user passes in."""

from typing import Any, NamedTuple

from spikingjelly.activation_based import base, neuron, surrogate
from torch import Tensor, nn

from syops.errors import SyopsTypeError, SyopsValueError


class Streams(NamedTuple):
    """Both streams of a dual-stream network, between its blocks and as its result.

    ``spike`` is o_l of Eq. (10), ``accumulated`` a_l of Eq. (11); None in a network without an AAP.
    """

    spike: Tensor
    accumulated: Tensor | None


def if_neuron() -> nn.Module:
    """The neuron of the paper's ImageNet networks: IF, Eq. (4), V_th = 1, hard reset to 0."""
    return neuron.IFNode(
        v_threshold=1.0, surrogate_function=surrogate.ATan(alpha=2.0), detach_reset=True
    )


def reset_neurons(model: nn.Module) -> None:
    """Set the membrane potentials of all spikingjelly neurons in ``model`` back to the start.

    Not `functional.reset_net`: that one remembers the neurons of its first call, and would miss
    those which the user has put in since.
    """
    for module in model.modules():
        if isinstance(module, base.MemoryModule):
            module.reset()


def positive_int(name: str, value: Any) -> int:
    """``value``, or a `SyopsValueError` if it is not an integer of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise SyopsValueError(f"{name}={value!r}: expected an integer of at least 1")
    return value


def as_sequence(x: Any, weight: Tensor) -> Tensor:
    """Images [N, C, H, W] as a sequence of one step, [1, N, C, H, W]; event data unchanged.

    C and the dtype are those that ``weight``, the first convolution's, needs. Raises
    `SyopsTypeError` if ``x`` is no tensor, `SyopsValueError` if it has another shape or dtype.
    """
    if not isinstance(x, Tensor):
        raise SyopsTypeError(f"the model's input is a {type(x).__name__}: expected a tensor")
    channels = weight.shape[1]
    if x.dim() not in (4, 5) or x.shape[-3] != channels or 0 in x.shape:
        raise SyopsValueError(
            f"the model's input has shape {tuple(x.shape)}: expected images [N, {channels}, H, W] "
            f"or event data [T, N, {channels}, H, W], no dimension empty"
        )
    if x.dtype != weight.dtype:
        raise SyopsValueError(
            f"the model's input is {x.dtype}: expected {weight.dtype} like the weights, "
            f"x.to({weight.dtype})"
        )
    return x.unsqueeze(0) if x.dim() == 4 else x
