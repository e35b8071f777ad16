"""Adapt snnTorch, whose states are buffers, empty until the first time-step.

The adapter makes them empty again. snnTorch's own ``reset_mem`` sets them to zero in the shape of
the last batch instead, and that of `RSynaptic` leaves its spikes out.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from syops._torch import buffers_of
from syops.trace.neurons.library import Library, derives_from

_SEQUENCES = ("StateLeaky", "AssociativeLeaky", "LeakyParallel", "LeakyKernel")
"""Neurons that take all time-steps at once."""
_STATES = ("mem", "mem_prev", "syn", "syn_exc", "syn_inh", "spk")


class SnnTorch(Library):
    """Have all neurons watched from inside, with their recurrent weights."""

    packages = ("snntorch",)

    def owns(self, module: nn.Module) -> bool:
        return derives_from(type(module), "snntorch", "SpikingNeuron")

    def states(self, module: nn.Module) -> dict[str, Any]:
        found = {**buffers_of(module), **vars(module)}
        return {name: found[name] for name in _STATES if name in found}

    def reset(self, module: nn.Module) -> None:
        starts_with_none = derives_from(type(module), "snntorch", "DeltaLeaky")
        for name, value in self.states(module).items():
            if value is not None:
                setattr(module, name, None if starts_with_none else value.new_zeros(0))

    def is_neuron(self, module: nn.Module) -> bool:
        return self.owns(module) or self.takes_a_sequence(module)

    def takes_a_sequence(self, module: nn.Module) -> bool:
        return derives_from(type(module), "snntorch", *_SEQUENCES)
