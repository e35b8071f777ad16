"""Adapt spikingjelly: ``activation_based``, and ``clock_driven`` before 0.0.0.0.14.

States are "memories": every `MemoryModule` registers them with the value that they are reset to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from syops._torch import has_kernel, run_on_cpu
from syops.ops.values import ANALOG
from syops.trace.formulas import empty_like
from syops.trace.neurons.library import TORCH_LAYERS, Library, NeuronSignal, is_from

_PACKAGES = ("spikingjelly.activation_based", "spikingjelly.clock_driven")

_BINARY = {
    *("IFNode", "LIFNode", "SimpleIFNode", "SimpleLIFNode", "ParametricLIFNode", "QIFNode"),
    *("EIFNode", "IzhikevichNode", "KLIFNode", "HalfThresholdIFNode", "ActivationAwareIFNode"),
    *("ComplementaryLIFNode", "CUBALIFNode", "GatedLIFNode", "RAFNode", "SLTTLIFNode"),
    *("MultiStepIFNode", "MultiStepLIFNode", "MultiStepParametricLIFNode", "MultiStepEIFNode"),
}
_NEURONS: dict[str, tuple[int, ...] | None] = {
    **dict.fromkeys(_BINARY, (0, 1)),
    **dict.fromkeys(("TernaryIFNode", "TernaryLIFNode"), (-1, 0, 1)),
    "ILIFNode": None,
}
_ANALOG_NEURONS = {"LIAFNode", "NonSpikingIFNode", "NonSpikingLIFNode"}
_LAYERS = {
    *TORCH_LAYERS,
    *("_ThresholdDependentBatchNormBase", "_MultiStepThresholdDependentBatchNormBase"),
}
_DYNAMICS = (
    *("forward", "single_step_forward", "multi_step_forward", "functional_forward"),
    *("neuronal_charge", "neuronal_fire", "neuronal_reset"),
)
_SETTINGS = {"v_threshold", "v_reset"}
"""Memories of ``clock_driven`` that are settings of a neuron rather than states."""


class SpikingJelly(Library):
    """Answer for neurons without weights; have those with weights watched from inside.

    Recurrent containers, for instance, have weights.
    """

    packages = ("spikingjelly",)
    forwards = frozenset({"super_forward"})

    def owns(self, module: nn.Module) -> bool:
        return isinstance(vars(module).get("_memories"), dict)

    def signal(self, module: nn.Module) -> NeuronSignal | None:
        kind = type(module)
        if not _is_from(kind, "neuron") or _has_other_dynamics(module):
            return None
        if kind.__name__ in _ANALOG_NEURONS:
            return ANALOG
        if kind.__name__ not in _NEURONS:
            return None
        surrogate = getattr(module, "surrogate_function", None)
        if surrogate is None or not _is_from(type(surrogate), "surrogate"):
            return None
        if not getattr(surrogate, "spiking", True):
            return ANALOG
        if type(surrogate).__name__ == "MultiLevelSpikeCount":
            return tuple(range(surrogate.max_spike_count + 1))
        return _NEURONS[kind.__name__]

    def sends_spikes(self, module: nn.Module) -> bool:
        return any(_is_from(kind, "neuron") for kind in type(module).__mro__)

    def states(self, module: nn.Module) -> dict[str, Any]:
        memories = vars(module)["_memories"]
        found = {name: value for name, value in memories.items() if name not in _SETTINGS}
        if "v_seq" in vars(module):
            found["v_seq"] = vars(module)["v_seq"]
        return found

    def kept(self, module: nn.Module) -> int:
        states = self.states(module).items()  # ``v_seq`` repeats ``v`` for all time-steps
        return sum(value is not None and not name.endswith("_seq") for name, value in states)

    def reset(self, module: nn.Module) -> None:
        method: Any = getattr(module, "reset", None)
        if callable(method) and _is_from(method):  # any other is the user's own
            method()

    def is_neuron(self, module: nn.Module) -> bool:
        return self.owns(module) and (
            _is_from(type(module), "neuron") or hasattr(module, "step_mode")
        )

    def takes_a_sequence(self, module: nn.Module) -> bool:
        if getattr(module, "step_mode", "s") == "m":
            return True
        kinds = type(module).__mro__
        return any(kind.__name__.startswith("MultiStep") and _is_from(kind) for kind in kinds)

    def stand_still(self, module: nn.Module, x: Tensor) -> None:
        own: Any = module
        several = self.takes_a_sequence(module)
        for name, value in self.states(own).items():
            if value is not None and not name.endswith("_seq"):
                own._memories[name] = empty_like(x[0] if several else x)
        if getattr(own, "store_v_seq", False):
            seen = getattr(own, "v_seq", None)
            steps = x if several else x[None]
            more = [seen, steps] if isinstance(seen, Tensor) and not several else [steps]
            own.v_seq = torch.cat([empty_like(part) for part in more])

    def computes_as_torch(self, method: Callable[..., Any]) -> bool:
        return _is_from(method, "layer") and method.__qualname__.partition(".")[0] in _LAYERS

    def by_parts(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Execute what spikingjelly 2 makes one operator of: all that a neuron does.

        Its kernels for the CPU are written in Python. On ``meta`` they stand for the operator's
        parts, which elsewhere are hidden.
        """
        is_one = func.namespace.startswith("sj_") and args[0].is_meta and has_kernel(func, "CPU")
        return run_on_cpu(func, args, kwargs) if is_one else NotImplemented


def _has_other_dynamics(module: nn.Module) -> bool:
    """Return whether a method that makes the spikes was replaced, in the class or on the object."""
    if not vars(module).keys().isdisjoint(_DYNAMICS):
        return True
    methods = (getattr(type(module), name, None) for name in _DYNAMICS)
    return any(method is not None and not _is_from(method) for method in methods)


def _is_from(made: object, part: str = "") -> bool:
    """Return whether a class or function is defined in (a part of) spikingjelly."""
    return any(is_from(made, f"{package}.{part}".rstrip(".")) for package in _PACKAGES)
