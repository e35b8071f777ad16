"""Fusion of batch norms into the convolution or linear layer before them (Appendix A).

    W' = gamma / sigma * W,   B' = (B - mu) * gamma / sigma + beta,   sigma = sqrt(var + eps)

(Eq. 16 and 17, with the bias B of the layer where it has one). That is right only where the norm
gets the output of that layer, along its channels, and nothing else gets it. The order in which
modules are defined does not tell. So the model's forward pass is followed: on example inputs where
they are given, else on symbols. A pair that this does not prove is left alone, with the reason.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from syops.errors import ForwardError, SyopsTypeError, SyopsValueError
from syops.folding.flow import TRANSPOSED, Flow, copied_with, takes
from syops.folding.symbols import SymbolicFlow

__all__ = ["FoldPlan", "fold_bn", "plan_folding"]


@dataclass(frozen=True)
class FoldPlan:
    """Which norms `fold_bn` fuses into which layer, and why not the others; all by module path.

    `dims`: the numbers of dimensions of a folded norm's input for which this is proven.
    """

    folded: tuple[tuple[str, str], ...]
    unfolded: dict[str, str]
    dims: dict[str, frozenset[int]]

    def __str__(self) -> str:
        folded = [f"{norm}: folded into {synapse}" for synapse, norm in self.folded]
        return "\n".join(folded + [f"{norm}: {why}" for norm, why in self.unfolded.items()])


def fold_bn(model: nn.Module, inputs: Any = None) -> nn.Module:
    """Return a copy of `model` in eval mode with batch norms fused into the layers before them.

    A fused norm is an `nn.Identity` in the copy; `model` stays as it is. Fused is what
    ``plan_folding(model, inputs)`` says, on the same arguments and with the same errors; one
    warning tells of the norms that are left. Eq. 16 and 17.
    """
    plan = plan_folding(model, inputs)
    if plan.unfolded:
        left = "\n".join(f"  {norm}: {why}" for norm, why in plan.unfolded.items())
        warnings.warn(f"{len(plan.unfolded)} batch norms were not folded:\n{left}", stacklevel=2)
    modules = dict(model.named_modules())
    identities = {id(modules[n]): _identity(modules[n], plan.dims[n]) for _, n in plan.folded}
    folded = copied_with(model, identities).eval()
    for synapse, norm in plan.folded:
        _fuse(folded.get_submodule(synapse), modules[norm])
    return folded


def plan_folding(model: nn.Module, inputs: Any = None) -> FoldPlan:
    """Tell which batch norms `fold_bn` fuses, and why it leaves the others.

    `inputs` is what `model` is called with: a tensor, a tuple (arguments) or a dict (keyword
    arguments). A copy of the model runs on them, twice in a row, as a stateful model may do other
    things at its second step; the plan holds for what these calls do.

    Without `inputs`, required arguments are symbols and the others have their defaults. Where the
    forward pass branches on a symbol, both ways are followed; a loop over one runs twice, so what
    it does at a fixed later step alone is not seen. What cannot be followed is not folded.

    Raises `SyopsTypeError` for what is no `nn.Module`, is scripted or cannot be copied, and for
    `inputs` of another type; `ForwardError` where the model fails on `inputs`.
    """
    if not isinstance(model, nn.Module):
        raise SyopsTypeError(f"model: expected a torch.nn.Module, got {type(model).__name__}")
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise SyopsTypeError("model: a scripted module cannot be looked into; pass the original")
    flow: Flow
    if inputs is None:
        flow = SymbolicFlow(model)
        flow.explore()
    else:
        args, kwargs = _arguments(inputs)
        flow = Flow(model)
        try:
            flow.run(args, kwargs)
        except Exception as error:
            raise ForwardError(f"model: it failed on the example inputs: {error}") from error
    folded: list[tuple[str, str]] = []
    unfolded: dict[str, str] = {}
    dims: dict[str, frozenset[int]] = {}
    for norm, path in flow.norms.items():
        synapse, why = flow.partner(norm)
        if synapse is None:
            unfolded[path] = why
        else:
            folded.append((flow.paths[synapse], path))
            dims[path] = flow.dims[norm]
    return FoldPlan(tuple(folded), unfolded, dims)


def _arguments(inputs: Any) -> tuple[tuple, dict[str, Any]]:
    if isinstance(inputs, dict):
        return (), inputs
    if isinstance(inputs, (Tensor, tuple)):
        return inputs if isinstance(inputs, tuple) else (inputs,), {}
    raise SyopsTypeError(
        "inputs: expected a tensor, a tuple (arguments) or a dict (keyword arguments), "
        f"got {type(inputs).__name__}"
    )


class _CheckedIdentity(nn.Identity):
    """In place of a norm that takes [N, C] and [N, C, L], folded for only one of them."""

    def __init__(self, dims: frozenset[int]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() not in self.dims:
            raise SyopsValueError(
                f"a batch norm folded for {sorted(self.dims)} dimensions got {x.dim()}: "
                "fold the model with example inputs of this kind"
            )
        return x


def _identity(norm: nn.Module, dims: frozenset[int]) -> nn.Identity:
    taken = {n for n in range(2, 8) if takes(norm, torch.empty((2,) * n, device="meta"))}
    return nn.Identity() if taken == dims else _CheckedIdentity(dims)


def _output_first(weight: Tensor, groups: int) -> Tensor:
    """[C_in, C_out / groups, ...] of a transposed convolution <-> [C_out, C_in / groups, ...]."""
    return weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)


@torch.no_grad()
def _fuse(synapse: Any, norm: Any) -> None:
    weight, transposed = synapse.weight, type(synapse) in TRANSPOSED
    # The formula is that of a linear layer too, and this function takes affine=False as well.
    fused, synapse.bias = fuse_conv_bn_weights(
        _output_first(weight, synapse.groups) if transposed else weight,
        *(synapse.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias),
    )
    synapse.weight = nn.Parameter(
        _output_first(fused, synapse.groups) if transposed else fused, weight.requires_grad
    )
