"""Adapt norse, whose neurons get their states from the caller and return them.

Only `RegularizationCell` keeps a state of its own: a sum over time-steps.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from syops.trace.neurons.library import Library, derives_from, is_from

_CELLS = ("SNNCell", "SNNRecurrentCell")
_SEQUENCES = ("SNN", "SNNRecurrent")


class Norse(Library):
    """Have all neurons watched from inside, with their recurrent weights."""

    packages = ("norse",)

    def owns(self, module: nn.Module) -> bool:
        return derives_from(type(module), "norse", "RegularizationCell")

    def states(self, module: nn.Module) -> dict[str, Any]:
        return {"state": getattr(module, "state", None)}

    def reset(self, module: nn.Module) -> None:
        vars(module)["state"] = None

    def is_neuron(self, module: nn.Module) -> bool:
        kind = type(module)
        is_cell = is_from(kind, "norse") and kind.__name__.endswith("Cell")
        is_known = is_cell or derives_from(kind, "norse", *_CELLS, *_SEQUENCES)
        return is_known and not self.owns(module)

    def takes_a_sequence(self, module: nn.Module) -> bool:
        return derives_from(type(module), "norse", *_SEQUENCES)
