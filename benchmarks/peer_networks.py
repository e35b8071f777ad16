"""Small networks on which conventions are held against the tools that they are named after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn

T = 3


class Loop(nn.Module):
    """Run a network of one time-step T times on the same input, and add up what it gives."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        total = self.net(x)
        for _ in range(T - 1):
            total = total + self.net(x)
        return total


class Residual(nn.Module):
    """Add spikes to spikes, as SEW blocks do: {0, 1, 2} reaches the second convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first = nn.Conv2d(2, 8, 3, padding=1), neuron.IFNode()
        self.conv, self.second = nn.Conv2d(8, 8, 3, padding=1, groups=4), neuron.LIFNode()
        self.last, self.head = nn.Conv2d(8, 4, 3, stride=2, bias=False), nn.Linear(36, 5)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.first(self.stem(x))
        spikes = spikes + self.second(self.conv(spikes))
        return self.head(self.last(spikes).flatten(1))


class Attention(nn.Module):
    """Multiply spikes by spikes: q @ k, and attn @ v."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.spikes = nn.Linear(6, 8), neuron.IFNode(v_threshold=0.3)
        self.q, self.k, self.v = (nn.Linear(8, 8, bias=False) for _ in range(3))
        self.q_if, self.k_if, self.v_if = (neuron.IFNode(v_threshold=0.2) for _ in range(3))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.spikes(self.embed(x))
        q, k, v = self.q_if(self.q(x)), self.k_if(self.k(x)), self.v_if(self.v(x))
        return self.head((q @ k.transpose(-2, -1)) @ v).mean(1)


@dataclass(frozen=True)
class Case:
    """A network, and what it is run on."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    data: str = "analog"

    def built(self) -> tuple[nn.Module, list[Tensor]]:
        """Return the network and two batches; the same at every call."""
        torch.manual_seed(7)
        network = self.make().eval()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, std=0.1)
        batches = []
        for _ in range(2):
            x = torch.randn(4, *self.shape)
            if self.data != "analog":
                x = torch.sign(x) * (x.abs() > 0.8)
            batches.append(x.clamp(min=0) if self.data == "binary" else x)
        return network, batches


def _if(threshold: float = 0.3) -> nn.Module:
    return neuron.IFNode(v_threshold=threshold)


CASES = {
    "MLP": Case(
        lambda: Loop(nn.Linear(12, 16), _if(), nn.Linear(16, 16), _if(), nn.Linear(16, 5)), (12,)
    ),
    "conv-BN": Case(
        lambda: Loop(
            *(nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), _if()),
            *(nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8, affine=False), _if()),
            *(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(32, 5)),
        ),
        (2, 8, 8),
    ),
    "residual": Case(Residual, (2, 8, 8)),
    "ANN": Case(
        lambda: nn.Sequential(
            *(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 3)),
        ),
        (2, 8, 8),
    ),
    "events": Case(
        lambda: nn.Sequential(
            *(nn.Conv1d(3, 6, 5, padding=2), _if(0.2), nn.Conv1d(6, 6, 3, dilation=2), _if(0.2)),
            *(nn.Flatten(), nn.Linear(36, 4)),
        ),
        (3, 10),
        "binary",
    ),
    "ternary": Case(
        lambda: nn.Sequential(
            *(nn.Conv2d(2, 4, 3, padding=1), _if(0.2), nn.MaxPool2d(2)),
            *(nn.Conv2d(4, 4, 3), _if(0.2), nn.Flatten(), nn.Linear(16, 3)),
        ),
        (2, 8, 8),
        "ternary",
    ),
    "attention": Case(Attention, (5, 6)),
    "volume": Case(
        lambda: nn.Sequential(
            *(nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), _if()),
            *(nn.Conv3d(4, 2, 2, stride=2), _if(0.1), nn.Flatten(), nn.Linear(16, 3)),
        ),
        (1, 4, 4, 4),
    ),
}
"""Networks with analog, binary and ternary inputs, by name."""
