"""Look at the calls of modules as tools do that see no operators: at the values of each batch.

Every reading here waits for the device, and layers are computed once more: it is for comparing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from syops.ledger.calls import Look, ModuleCalls
from syops.trace.zeros import LAYERS, TRANSPOSED, is_spiking, pairs

_POOLS = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
)
_NORMS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)
_ACTIVATIONS = (nn.ReLU, nn.PReLU, nn.ELU, nn.LeakyReLU, nn.ReLU6, nn.GELU)
_NEURONS = {f"{steps}{name}Node" for steps in ("", "MultiStep") for name in ("IF", "LIF")} | {
    "ParametricLIFNode",
    "MultiStepParametricLIFNode",
}


def module_call(
    path: str, module: nn.Module, args: Sequence[Any], output: Any, squeezed: tuple[int, int] | None
) -> ModuleCalls | None:
    """Return what a call of a module looks like; None for one that no tool counts.

    Args:
        path: the module's.
        module: which was called.
        args: its positional arguments.
        output: its result.
        squeezed: batch size and time-steps where sinabs keeps both in one dimension.
    """
    x: Any = args[0] if args else None
    if not _is_plain(x) or not _is_plain(output) or not x.numel():
        return None
    kind = type(module)
    told = path, f"{kind.__module__}.{kind.__qualname__}"
    base = next((layer for layer in LAYERS if isinstance(module, layer)), None)
    if base in TRANSPOSED:
        assert base is not None
        return _counted(*told, "conv", base.__name__, _convolved(module, x, output), x)
    if base is not None:
        counted = "linear" if base is nn.Linear else "conv"
        operations = (_applied if base is nn.Linear else _convolved)(module, x, output)
        samples = squeezed[0] if squeezed else x.shape[0]
        return _counted(
            *(*told, counted, base.__name__, operations, x),
            effective=_effective(module, x, output),
            per_sample=_reached(module, x, output) / samples,
        )
    if kind in _POOLS:
        return _counted(*told, "pool", "", x.numel(), x)
    if kind in _NORMS:
        affine = 2 if getattr(module, "affine", False) else 1
        return _counted(*told, "norm", "", x.numel() * affine, x)
    if kind in _ACTIVATIONS:
        return _counted(*told, "activation", "", output.numel(), output[0])
    if kind is nn.Upsample:
        return _counted(*told, "elementwise", "", output[0].numel(), output[0])
    if kind.__name__ in _NEURONS and kind.__module__.startswith("spikingjelly."):
        return _counted(*told, "neuron", "", x.numel(), output[0])
    return None


def look_of(x: Tensor) -> Look:
    """Return what a tensor holds, by its values alone."""
    if bool(((x == 0) | (x == 1)).all()):
        return "binary"
    low, high = torch.aminmax(x)
    if low >= 0 and high <= 1 and bool(((x == low) | (x == high)).all()):
        return "two"
    return "ternary" if is_spiking(x) else "other"


def squeezed_sizes(model: nn.Module) -> tuple[int, int] | None:
    """Return batch size and time-steps of the last layer of sinabs that keeps both in one."""
    found = None
    for module in model.modules():
        if any(each.__name__ == "SqueezeMixin" for each in type(module).__mro__):
            found = module
    return None if found is None else (int(found.batch_size), int(found.num_timesteps))  # type: ignore[arg-type]


def _is_plain(x: Any) -> bool:
    return isinstance(x, Tensor) and x.layout == torch.strided and not x.is_nested and x.dim() > 0


def _counted(
    path: str,
    module: str,
    kind: str,
    base: str,
    operations: int,
    x: Tensor,
    effective: int = 0,
    per_sample: Fraction = Fraction(0),
) -> ModuleCalls:
    look = look_of(x)
    rate = Fraction(1)
    if look in ("binary", "two"):
        rate = Fraction((x.sum() / x.numel()).item())
    sums = 1, operations, rate, operations * rate, effective, per_sample
    return ModuleCalls(path, kind, module, base, look, *sums)


def _convolved(module: Any, x: Tensor, output: Tensor) -> int:
    """Return the operations of a convolution as syops-counter 0.0.5 works them out."""
    positions = x.shape[0] * math.prod(output.shape[2:])
    each = math.prod(module.kernel_size) * module.in_channels
    each *= module.out_channels // module.groups
    return positions * (each + (module.out_channels if module.bias is not None else 0))


def _applied(module: Any, x: Tensor, output: Tensor) -> int:
    """Return the operations of a linear layer likewise: its biases are added once a call."""
    outputs = output.shape[-1]
    return x.numel() * outputs + (outputs if module.bias is not None else 0)


def _effective(module: Any, x: Tensor, output: Tensor) -> int:
    """Return the pairs of an entry and a weight neither of which is 0."""
    return int(pairs(module, x != 0, module.weight != 0, output))


def _reached(module: Any, x: Tensor, output: Tensor) -> Fraction:
    """Return Σ entries · fan-out, as sinabs has it: all padding is of zeros."""
    weights = torch.ones_like(module.weight, dtype=torch.float64)
    return Fraction(float(pairs(module, x.to(torch.float64), weights, output, repeats=False)))
