"""Count a spiking network written in plain torch, with its own time loop, over a data loader.

python examples/your_own_network.py
"""

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from syops import get_model_syops


class SpikingNet(nn.Module):
    """Two convolutions of leaky integrate-and-fire neurons, read out at every time-step."""

    def __init__(self, steps: int = 8) -> None:
        super().__init__()
        self.T = steps
        self.conv1 = nn.Conv2d(2, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, stride=2)
        self.readout = nn.Linear(32, 10)

    def forward(self, events: Tensor) -> Tensor:
        """Events of shape [N, T, 2, H, W] to logits of shape [N, 10]."""
        mem1 = mem2 = torch.zeros((), device=events.device)
        total = torch.zeros((), device=events.device)
        for t in range(self.T):
            mem1, spikes = lif(mem1, self.bn1(self.conv1(events[:, t])))
            mem2, spikes = lif(mem2, self.conv2(spikes))
            total = total + self.readout(spikes.mean((-1, -2)))
        return total / self.T


def lif(mem: Tensor, current: Tensor, decay: float = 0.5) -> tuple[Tensor, Tensor]:
    """One step of a leaky integrate-and-fire neuron: its potential and its spikes."""
    mem = decay * mem + current
    spikes = (mem > 0.2).to(mem.dtype)
    return mem * (1 - spikes), spikes


def main() -> None:
    torch.manual_seed(0)
    events = (torch.rand(64, 8, 2, 32, 32) < 0.1).float()
    labels = torch.randint(10, (64,))
    loader = DataLoader(TensorDataset(events, labels), batch_size=16)

    report = get_model_syops(SpikingNet(), loader)

    print(report)
    print(f"\nO_ac {report.ac:,.0f}, O_mac {report.mac:,.0f} per sample of {report.samples}")
    print(report.to_frame()[["name", "signal", "rate", "ac", "ac_events", "mac"]].head(4))


if __name__ == "__main__":
    main()
