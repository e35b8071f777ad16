"""Chains of layers and spikingjelly's neurons that take turns, as the laws of Lemaire need them."""

import torch
from spikingjelly.activation_based import functional, layer
from torch import nn


def chain(first, second):
    """Return three layers with two neurons between them, for [T, N, 2, 12, 12]."""
    torch.manual_seed(0)
    network = nn.Sequential(
        layer.Conv2d(2, 6, 3, padding=1, stride=2),
        first(),
        layer.Conv2d(6, 4, 5, padding=2, groups=2, bias=False),
        second(),
        layer.Flatten(),
        layer.Linear(144, 7),
    )
    for parameter in network.parameters():
        parameter.data.abs_()
    functional.set_step_mode(network, "m")
    return network.eval()
