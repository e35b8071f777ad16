"""What is known of SNN libraries: which module is a neuron, and how states are kept.

Nothing of them is imported: modules are recognised by the name of their exact type, since a
subclass may compute anything.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from syops.signals import ANALOG, Opaque

NeuronSignal = tuple[int, ...] | Opaque
"""The values that a neuron gives: {0, 1}, {-1, 0, 1}, {0..k}, or analog ones."""

_BINARY = {
    *("IFNode", "LIFNode", "SimpleIFNode", "SimpleLIFNode", "ParametricLIFNode", "QIFNode"),
    *("EIFNode", "IzhikevichNode", "KLIFNode", "HalfThresholdIFNode", "ActivationAwareIFNode"),
    *("ComplementaryLIFNode", "CUBALIFNode", "GatedLIFNode", "RAFNode", "SLTTLIFNode"),
}
_NEURONS: dict[str, tuple[int, ...] | None] = {
    **dict.fromkeys(_BINARY, (0, 1)),
    **dict.fromkeys(("TernaryIFNode", "TernaryLIFNode"), (-1, 0, 1)),
    "ILIFNode": None,
}
_ANALOG_NEURONS = {"LIAFNode", "NonSpikingIFNode", "NonSpikingLIFNode"}


def neuron_signal(module: nn.Module) -> NeuronSignal | None:
    """The values that a known neuron module gives in its configuration.

    None for every other module, which is then watched from inside.
    """
    if not _is_from(module, "spikingjelly.activation_based.neuron"):
        return None
    name = type(module).__name__
    if name in _ANALOG_NEURONS:
        return ANALOG
    if name not in _NEURONS:
        return None
    surrogate = getattr(module, "surrogate_function", None)
    if surrogate is None or not _is_from(surrogate, "spikingjelly.activation_based.surrogate"):
        return None
    if not getattr(surrogate, "spiking", True):
        return ANALOG
    if type(surrogate).__name__ == "MultiLevelSpikeCount":
        return tuple(range(surrogate.max_spike_count + 1))
    return _NEURONS[name]


def _is_from(obj: object, package: str) -> bool:
    where = type(obj).__module__
    return where == package or where.startswith(f"{package}.")


class Lending:
    """Keeps a model as found while forward passes run on copies of its states.

    A context manager. A state is any attribute of a module but its parameters: buffers,
    membrane potentials, counters, lists of spikes. The originals are put back at the end.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._found: list[tuple[nn.Module, dict[str, Any]]] = []

    def __enter__(self) -> Lending:
        self._found = [(module, _states(module)) for module in self._model.modules()]
        self._model.eval()
        return self

    def __exit__(self, *exc: object) -> None:
        for module, states in self._found:
            _put_back(module, states)

    def renew(self) -> None:
        """Give the model fresh copies of its states, and reset those known how to be reset."""
        copies: dict[int, Any] = {}
        for module, states in self._found:
            _put_back(module, {name: _copied(value, copies) for name, value in states.items()})
            module.training = False
        _reset(self._model)


def _states(module: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if not _is_structure(name)}


def _is_structure(name: str) -> bool:
    return name in ("_parameters", "_modules") or name.endswith(("_hooks", "_with_kwargs", "_always_called"))


def _put_back(module: nn.Module, states: dict[str, Any]) -> None:
    attributes = vars(module)
    for name in [n for n in attributes if n not in states and not _is_structure(n)]:
        del attributes[name]
    attributes.update(states)


def _copied(value: Any, copies: dict[int, Any]) -> Any:
    """Tensors and plain containers are copied, the same one once; other things are not."""
    if isinstance(value, nn.Parameter):
        return value
    if id(value) in copies:
        return copies[id(value)]
    copied = value
    if isinstance(value, Tensor):
        copied = value.detach().clone()
    elif type(value) in (dict, OrderedDict):
        copied = type(value)((key, _copied(item, copies)) for key, item in value.items())
    elif type(value) in (list, tuple):
        copied = type(value)(_copied(item, copies) for item in value)
    copies[id(value)] = copied
    return copied


def _reset(model: nn.Module) -> None:
    """Reset every stateful spikingjelly module to its initial state."""
    for module in model.modules():
        if isinstance(getattr(module, "_memories", None), dict) and hasattr(module, "reset"):
            module.reset()


class _SilentNeuron(nn.Module):
    """Stands for a neuron where there are no values: same shape, same dtype."""

    def forward(self, x: Tensor, *args: Any) -> Tensor:
        return torch.empty_like(x)


def shadow(model: nn.Module) -> nn.Module:
    """A copy of the model on ``meta``: its structure, with no values and no memory.

    Hooks are left behind, and neurons stand still.

    Raises:
        Exception: whatever a module raises that cannot be copied.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        for tensor in _tensors_of(module):
            memo.setdefault(id(tensor), _on_meta(tensor))
        if neuron_signal(module) is not None:
            memo[id(module)] = _SilentNeuron()
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            memo[id(hooks)] = OrderedDict()
    return copy.deepcopy(model, memo)


def _tensors_of(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, nn.Module):
        for name, attribute in vars(value).items():
            if name != "_modules":
                yield from _tensors_of(attribute)
    elif type(value) in (dict, OrderedDict):
        for item in value.values():
            if not isinstance(item, nn.Module):
                yield from _tensors_of(item)
    elif type(value) in (list, tuple):
        for item in value:
            if not isinstance(item, nn.Module):
                yield from _tensors_of(item)


def _on_meta(tensor: Tensor) -> Tensor:
    empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(empty, requires_grad=tensor.requires_grad)
    return empty
