"""Recognise modules that apply their weights as the layers of torch do."""

from __future__ import annotations

from functools import cache

from torch import nn

from syops._torch import BatchNorm, Convolution

RECURRENT = (nn.RNNBase, nn.RNNCellBase)
"""Layers whose hidden state is analog from the first step on."""
_FOLDABLE = (Convolution, nn.Linear, BatchNorm)
_LIBRARIES = (
    "torch.nn.modules.",
    "spikingjelly.activation_based.layer",
    "spikingjelly.clock_driven.layer",
)
_PLAIN = {
    *("Linear", "Conv1d", "Conv2d", "Conv3d", "_ConvNd"),
    *("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"),
    *("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "_BatchNorm", "SyncBatchNorm"),
    *("_ThresholdDependentBatchNormBase", "_MultiStepThresholdDependentBatchNormBase"),
}
"""Classes of these libraries whose methods apply the weights that a module has, and no others."""
_APPLYING = {"forward", "_conv_forward", "super_forward"}
"""The methods that do so."""


def applies_its_weights(module: nn.Module) -> bool:
    """Whether a convolution, linear layer or BatchNorm computes as torch's own does.

    A subclass does, unless it has a forward of its own.
    """
    kind: type = type(module)
    return _is_plain(kind) and not vars(module).keys() & _APPLYING


@cache
def _is_plain(kind: type) -> bool:
    methods = [getattr(kind, name) for name in _APPLYING if hasattr(kind, name)]
    return issubclass(kind, _FOLDABLE) and all(
        method.__module__.startswith(_LIBRARIES) and method.__qualname__.split(".")[0] in _PLAIN
        for method in methods
    )
