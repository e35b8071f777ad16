"""Turn a DSNN into an FSNN and back, and initialise blocks to identity mappings.

These functions work on every network that is built from `ResidualBlock`.
"""

import copy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from syops.errors import SyopsTypeError, SyopsValueError
from syops.models.blocks import Network, initialise
from syops.models.jelly import base
from syops.models.parts import CLASSIFIERS, ResidualBlock, one_of, reset_neurons


def detach_aap(model: nn.Module, *, copy_weights: bool = False) -> nn.Module:
    """Return the FSNN inside a DSNN: a new network without the AAP, whose output is ``spike``.

    Args:
        model: a network with an AAP; it is not changed.
        copy_weights: copy the parameters and buffers instead of sharing them with ``model``. It is
            needed to move one of the two to another device or dtype.

    Raises:
        SyopsValueError: ``model`` has no AAP.

    Examples:
        >>> from syops.models import create_model
        >>> detach_aap(create_model("dsnn_digits", blocks=2))(torch.zeros(1, 1, 8, 8)).shape
        torch.Size([1, 10])
    """
    fsnn = _twin(model, copy_weights)
    blocks = [block for block in _blocks(fsnn) if block.aap is not None]
    if not blocks:
        raise SyopsValueError(
            f"detach_aap: this {type(model).__name__} has no auxiliary accumulation pathway "
            "(dsnn* networks have one)"
        )
    for block in blocks:
        block.aap = None
    if isinstance(fsnn, Network):
        fsnn.fc_acc = None
    return fsnn


def separate_classifiers(model: nn.Module) -> None:
    """Give the accumulated stream a classifier of its own, in place; it starts as a copy.

    Raises `SyopsValueError` if ``model`` is not a bundled network.
    """
    if not isinstance(model, Network):
        raise SyopsValueError(
            f"classifier='separate': {type(model).__name__} is not a bundled network"
        )
    model.fc_acc = copy.deepcopy(model.fc)


def attach_aap(
    model: nn.Module,
    *,
    copy_weights: bool = False,
    classifier: Literal["shared", "separate"] | None = None,
) -> nn.Module:
    """Return the DSNN around an FSNN: a new network with a fresh AAP, whose output are `Streams`.

    Neurons are not changed, even where ``dsnn*`` would refuse them (behind a sum, with a threshold
    above 1).

    Args:
        model: a network without an AAP; it is not changed.
        copy_weights: copy the parameters and buffers instead of sharing them with ``model``.
        classifier: "separate" gives the accumulated stream a classifier of its own, which starts as
            a copy; "shared" gives it that of ``model``. None is "separate" for a bundled network
            and "shared" for any other.

    Raises:
        SyopsValueError: ``model`` has an AAP already, or its blocks cannot have one.

    Examples:
        >>> from syops.models import create_model
        >>> dsnn = attach_aap(create_model("fsnn_digits", blocks=2))
        >>> dsnn(torch.zeros(1, 1, 8, 8))._fields
        ('spike', 'accumulated')
    """
    if classifier is None:
        classifier = "separate" if isinstance(model, Network) else "shared"
    separate = one_of("classifier", classifier, CLASSIFIERS) == "separate"
    dsnn = _twin(model, copy_weights)
    blocks = _blocks(dsnn)
    if not blocks:
        raise SyopsValueError(f"attach_aap: {type(model).__name__} has no residual blocks")
    if any(block.aap is not None for block in blocks):
        raise SyopsValueError(
            f"attach_aap: this {type(model).__name__} has an auxiliary accumulation pathway already"
        )
    for block in blocks:
        like = next(block.parameters())
        with torch.device(like.device):
            aap = block.make_aap()
        initialise(aap)
        block.aap = aap.to(like.dtype).train(block.training)
    if separate:
        separate_classifiers(dsnn)
    return dsnn


@torch.no_grad()
def zero_init_residual(model: nn.Module) -> None:
    """Make each block that does not down-sample the identity on spikes (§4.2), in place.

    The last BN of every residual mapping gets weight and bias 0, so that s_l = 0. With g = AND the
    blocks are silent instead. Without g the sum goes through a neuron, which hands spikes on only
    if it is an IF neuron with a threshold of at most 1; the blocks of ``preact_resnet18``, which
    normalise spikes first, and of ``plain_7b``, which have no shortcut, cannot be the identity.

    Raises:
        SyopsValueError: ``model`` has no residual blocks.

    Examples:
        >>> from syops.models import create_model
        >>> network = create_model("fsnn_digits", blocks=2)
        >>> zero_init_residual(network)
        >>> network.layer1[0].bn2.weight.abs().max().item()
        0.0
    """
    _check(model)
    blocks = _blocks(model)
    if not blocks:
        raise SyopsValueError(f"zero_init_residual: {type(model).__name__} has no residual blocks")
    for block in blocks:
        for norm in block.last_norms():
            for parameter in norm.parameters():
                parameter.zero_()


def _blocks(model: nn.Module) -> list[ResidualBlock]:
    return [module for module in model.modules() if isinstance(module, ResidualBlock)]


def _check(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise SyopsTypeError(f"expected a bundled network, not a {type(model).__name__}")


def _twin(model: nn.Module, copy_weights: bool) -> nn.Module:
    """Return a model of its own modules and neuron states, on the same parameters and buffers."""
    _check(model)
    memo: dict[int, Any] = {id(t): t for t in (*model.parameters(), *model.buffers())}
    for module in model.modules():
        if isinstance(module, base.MemoryModule):
            # A potential may be part of a graph, which no copy can be; it is reset anyway.
            memo.update((id(v), v.detach()) for v in module.memories() if isinstance(v, Tensor))
    twin = copy.deepcopy(model, memo)
    reset_neurons(twin)
    return copy.deepcopy(twin) if copy_weights else twin
