"""One network in five libraries, with its loop over time-steps in the model or in the caller."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import norse.torch as norse
import sinabs.activation
import sinabs.layers as sinabs_layers
import snntorch
import torch
from spikingjelly.activation_based import neuron
from torch import nn

from syops import Report
from syops.ledger.rows import Drive, Row

THRESHOLD = 1.0625
"""No sum of weights and inputs on a grid of 1/8 meets it: libraries compare with > or with >=."""


def forward_rows(report: Report) -> tuple[Row, ...]:
    """Return the rows without what gradients would cost, which were recorded in one of two runs."""
    return tuple(replace(row, backward=(0, 0)) for row in report.rows)


class IF(nn.Module):
    """An integrate-and-fire neuron in plain torch, which its caller hands the state."""

    def forward(self, x: torch.Tensor, v: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        v = x if v is None else v + x
        spikes = (v > THRESHOLD).to(x.dtype)
        return spikes, v * (1 - spikes)


def _sinabs() -> nn.Module:
    return sinabs_layers.IAF(
        spike_threshold=torch.tensor(THRESHOLD),
        spike_fn=sinabs.activation.SingleSpike,
        reset_fn=sinabs.activation.MembraneReset(),
    )


NEURONS: dict[str, Any] = {
    "torch": IF,
    "spikingjelly": lambda: neuron.IFNode(v_threshold=THRESHOLD, v_reset=0.0),
    "snntorch": lambda: snntorch.Leaky(
        beta=1.0, threshold=THRESHOLD, reset_mechanism="zero", reset_delay=False
    ),
    "snntorch, hidden": lambda: snntorch.Leaky(
        beta=1.0,
        threshold=THRESHOLD,
        reset_mechanism="zero",
        reset_delay=False,
        init_hidden=True,
    ),
    "norse": lambda: norse.IAFCell(norse.IAFParameters(v_th=torch.tensor(THRESHOLD))),
    "sinabs": _sinabs,
}
HANDED = ("torch", "snntorch", "norse")
"""Libraries whose neurons get their states from their caller."""


class Network(nn.Module):
    """Two layers of neurons, one of them recurrent, for one time-step."""

    def __init__(self, library: str, seed: int = 0) -> None:
        super().__init__()
        self.library = library
        self.fc1, self.sn1 = nn.Linear(6, 8, bias=False), NEURONS[library]()
        self.rec = nn.Linear(8, 8, bias=False)
        self.fc2, self.sn2 = nn.Linear(8, 5, bias=False), NEURONS[library]()
        self.head = nn.Linear(5, 3, bias=False)
        drawn = torch.Generator().manual_seed(seed)
        for layer in (self.fc1, self.rec, self.fc2, self.head):
            weight = torch.randint(-4, 9, layer.weight.shape, generator=drawn) / 8
            layer.weight = nn.Parameter(weight)

    def forward(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        first, second, spikes = (None, None, None) if state is None else state
        current = self.fc1(x)
        if spikes is not None:
            current = current + self.rec(spikes)
        spikes, first = self._fire(self.sn1, current, first)
        out, second = self._fire(self.sn2, self.fc2(spikes), second)
        return self.head(out), (first, second, spikes)

    def _fire(self, sn: nn.Module, x: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        if self.library == "torch":
            return sn(x, state)
        if self.library in HANDED:
            return sn(x) if state is None else sn(x, state)
        return (sn(x[:, None])[:, 0] if self.library == "sinabs" else sn(x)), None


class Looped(Network):
    """The same network with the loop over time-steps in its ``forward``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return run(super().forward, x)


def run(net: Callable[..., Any], x: torch.Tensor) -> torch.Tensor:
    """Call a network once for each time-step, and hand its states on."""
    outputs, state = [], None
    for step in x:
        out, state = net(step, state)
        outputs.append(out)
    return torch.stack(outputs)


def synaptic(rows: Iterable[Row]) -> list[tuple[Any, ...]]:
    """What was counted at each layer with weights, whatever tells that spikes arrive there."""
    return [
        (
            row.path,
            row.calls,
            row.params,
            row.dense,
            row.operations("mac").mac,
            _driven(*row.drives),
        )
        for row in rows
        if row.kind == "linear"
    ]


def _driven(drive: Drive) -> tuple[Any, ...]:
    return drive.numel, drive.spikes, drive.ac, drive.events
