"""Adapt sinabs, whose states are buffers of a `StatefulLayer`, empty until the first batch.

The adapter makes them empty again. sinabs' own ``reset_states`` sets them to zero in the shape of
the last batch instead, and for a batch of another size sinabs draws states from them at random.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from syops._torch import buffers_of
from syops.trace.neurons.library import Library, TimeIn, derives_from

_STATES = ("v_mem", "i_syn", "b", "spike_threshold")


class Sinabs(Library):
    """Have all neurons watched from inside, with their recurrent weights."""

    packages = ("sinabs",)

    def owns(self, module: nn.Module) -> bool:
        return derives_from(type(module), "sinabs", "StatefulLayer")

    def states(self, module: nn.Module) -> dict[str, Any]:
        buffers = buffers_of(module)
        return {name: buffers[name] for name in _STATES if name in buffers}

    def reset(self, module: nn.Module) -> None:
        for name, value in self.states(module).items():
            if value is not None:
                setattr(module, name, value.new_zeros(0))

    def layout(self, module: nn.Module, x: Tensor) -> tuple[int, int]:
        """Read T and N off [N, T, ...]; a `Squeeze` layer, of [N·T, ...], knows one of them."""
        if not derives_from(type(module), "sinabs", "SqueezeMixin"):
            return x.shape[1], x.shape[0]
        own: Any = module
        steps = own.num_timesteps if own.num_timesteps > 0 else x.shape[0] // own.batch_size
        return steps, x.shape[0] // steps if steps else 0

    def time_in(self, module: nn.Module) -> TimeIn:
        """Return where [N, T, ...] or, for a `Squeeze` layer, [N·T, ...] has its time-steps."""
        is_flat = derives_from(type(module), "sinabs", "SqueezeMixin")
        return TimeIn(0, inside=True) if is_flat else TimeIn(1)
