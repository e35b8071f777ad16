"""Which signal everything that a function makes gets without values; what it does not foretell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syops.ledger.ledger import Ledger
from syops.ledger.steps import History
from syops.ops.values import INTEGER, Interval, TruthTable
from syops.trace.bounds import trace
from syops.trace.neurons.library import SIGNALS
from syops.trace.settings import Settings


class Sent(nn.Module):
    """Everything that ``forward`` makes goes to synapses."""

    def __init__(self, make: Callable[..., list[Tensor]], dtype: torch.dtype) -> None:
        super().__init__()
        self.make = make
        self.weight = nn.Parameter(torch.ones(1, 1, dtype=dtype))

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        made = self.make(*inputs)
        for tensor in made:
            F.linear(tensor.to(self.weight.dtype).reshape(-1, 1), self.weight)
        return made


def derived(make: Callable[..., list[Tensor]], inputs: list[Tensor], signal: str) -> list[Any]:
    """The signal of each tensor that ``make`` returns."""
    history = History()
    trace(
        Sent(make, inputs[0].dtype),
        (tuple(x.to("meta") for x in inputs), {}),
        [SIGNALS[signal]] * len(inputs),
        Ledger(),
        Settings(),
        history,
    )
    (arrivals,) = history.arrivals.values()
    return [arrival.step.signal for (arrival,) in arrivals]


def outside(signal: Any, values: set[float]) -> set[float]:
    """The values that a signal does not foretell."""
    if isinstance(signal, TruthTable):
        assert not signal.scale
        return values - {float(value) for value in signal.support}
    if isinstance(signal, Interval):
        whole = signal.kind is not INTEGER or all(value.is_integer() for value in values)
        return {v for v in values if not signal.low <= v <= signal.high} if whole else values
    return set() if signal is not INTEGER or all(v.is_integer() for v in values) else values
