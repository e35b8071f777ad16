"""Compute scales and shifts for each channel, and the weights that take them up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from syops._torch import PRE_HOOKS, BatchNorm, TransposedConvolution, hooks_of
from syops.trace.lineage import ResultView, Slots


@dataclass(frozen=True, slots=True)
class Affine:
    """Compute ``scale * x + shift`` for each channel, in float64."""

    scale: Tensor
    shift: Tensor

    def then(self, after: Affine) -> Affine:
        """Return this scale and shift followed by another one."""
        return Affine(after.scale * self.scale, after.scale * self.shift + after.shift)

    def plus(self, added: Tensor | float) -> Affine:
        """Return this scale and shift followed by an addition."""
        return Affine(self.scale, self.shift + added)

    def at(self, positions: int, view: ResultView) -> Affine:
        """Repeat the channels for each position along the channel dimension of a view."""
        place = torch.arange(positions, device=self.scale.device)
        channel = place // view.inner % view.channels
        return Affine(self.scale[channel], self.shift[channel])


def affine_of(norm: BatchNorm) -> Affine:
    """Return what a BatchNorm does with its running statistics."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    return Affine(scale, shift if norm.bias is None else shift + norm.bias.double())


def slots_of(module: nn.Module) -> Slots:
    """Return how channels lie in the weights of a convolution, linear layer or BatchNorm."""
    if isinstance(module, TransposedConvolution):
        return Slots(1, 0, module.groups, transposed=True)
    return Slots(0, 1, getattr(module, "groups", 1))


def changed(
    weight: Tensor,
    bias: Tensor | None,
    slots: Slots,
    before: Affine | None,
    after: Affine | None,
) -> tuple[Tensor, Tensor]:
    """Return weights and bias that take up a scale and shift before or after the layer.

    Args:
        weight, bias: any dtype.
        slots: how channels lie in the weights.
        before: of each of their input channels.
        after: of each of their output channels.

    Returns:
        both in float64.
    """
    weight = weight.double()
    outputs = weight.shape[slots.outputs] * (slots.groups if slots.transposed else 1)
    total = weight.new_zeros(outputs) if bias is None else bias.double()
    if before is not None:
        seen = _scaled(weight, before.shift, slots.inputs, slots.groups)
        total = total + seen.movedim(slots.outputs, 0).flatten(1).sum(1)
        weight = _scaled(weight, before.scale, slots.inputs, slots.groups)
    if after is not None:
        weight = _scaled(weight, after.scale, slots.outputs, slots.groups)
        total = after.scale * total + after.shift
    return weight, total


def _scaled(weight: Tensor, scale: Tensor, dim: int, groups: int) -> Tensor:
    """Multiply weights by a number for each channel along a dimension.

    Dimension 0 has the channels of all groups, dimension 1 those of one.
    """
    if groups == 1:
        return weight * scale.view(-1, *(1,) * (weight.dim() - dim - 1))
    parts = weight.unflatten(0, (groups, -1))
    shape = (groups, *(1,) * dim, -1, *(1,) * (weight.dim() - dim - 1))
    return (parts * scale.view(shape)).flatten(0, 1)


def weight_hooks(module: nn.Module) -> dict[int, Any]:
    """Return torch's hooks that make weights of a module before each call (``prune``, ...)."""
    return {
        key: hook
        for key, hook in hooks_of(module, PRE_HOOKS).items()
        if type(hook).__module__.startswith("torch.nn.utils.") and hasattr(hook, "remove")
    }


def made_plain(module: nn.Module) -> None:
    """Let a module keep the weights that a hook or a parametrization of torch's makes."""
    for key, hook in weight_hooks(module).items():
        hook.remove(module)
        del hooks_of(module, PRE_HOOKS)[key]
    if not parametrize.is_parametrized(module):
        return
    # Not `remove_parametrizations`: it changes the class, which copies of the module share.
    parametrizations: Any = module.parametrizations
    made = {name: getattr(module, name).detach() for name in parametrizations}
    module.__class__ = type(module).__bases__[0]
    del module.parametrizations
    for name, value in made.items():
        module.register_parameter(name, nn.Parameter(value))
