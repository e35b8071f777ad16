"""PreAct-ResNet-18 (He et al. 2016b; as an SNN, Meng et al. 2022): BN and neuron come first.

A BN here stands behind a sum, or before a convolution of which the shortcut takes part too, so only
the second one of a block can be folded. Spikes alone reach the convolutions, but what goes from
block to block is a sum of currents. The names in the state dict::

    conv1, bn1                                stem
    layer{1-4}.{i}.bn1, conv1, bn2, conv2     f of a block
    layer{1-4}.0.downsample                   shortcut: a convolution
    bn, fc                                    before the last neuron; classifier
"""

from typing import Any

from spikingjelly.activation_based import layer
from torch import Tensor, nn

from syops.errors import SyopsValueError
from syops.models.blocks import Network, conv, initialise
from syops.models.parts import Neurons, ResidualBlock, Streams


class PreActBlock(ResidualBlock):
    """x + conv(SN(BN(conv(SN(BN(x)))))); where the shape changes, conv(SN(BN(x))) for x."""

    def __init__(self, in_channels: int, channels: int, stride: int, neuron: Neurons) -> None:
        super().__init__()
        self.bn1 = layer.BatchNorm2d(in_channels)
        self.sn1 = neuron()
        self.conv1 = conv(in_channels, channels, 3, stride)
        self.bn2 = layer.BatchNorm2d(channels)
        self.sn2 = neuron()
        self.conv2 = conv(channels, channels, 3)
        same_shape = in_channels == channels and stride == 1
        self.downsample = None if same_shape else conv(in_channels, channels, 1, stride)
        self.aap = None

    def make_aap(self) -> nn.Module:
        raise SyopsValueError("an AAP accompanies a full-spike stream, not that of PreAct-ResNet")

    def last_norms(self) -> tuple[nn.Module, ...]:
        return (self.bn2,)

    def forward(self, streams: Streams) -> Streams:
        x = streams.spike
        spikes = self.sn1(self.bn1(x))
        shortcut = x if self.downsample is None else self.downsample(spikes)
        out = self.conv2(self.sn2(self.bn2(self.conv1(spikes))))
        return Streams(out + shortcut, None)


class PreActResNet(Network):
    """Two blocks in each of four stages."""

    halvings = 5

    def __init__(self, neuron: Neurons, T: int, num_classes: int, in_channels: int) -> None:
        super().__init__(T, num_classes, in_channels)
        self.conv1 = conv(in_channels, 64, 7, stride=2)
        self.bn1 = layer.BatchNorm2d(64)
        self.sn1 = neuron()
        self.maxpool = layer.MaxPool2d(3, stride=2, padding=1)
        width = 64
        for i, channels in enumerate((64, 128, 256, 512), start=1):
            first = PreActBlock(width, channels, 1 if i == 1 else 2, neuron)
            stage = nn.Sequential(first, PreActBlock(channels, channels, 1, neuron))
            self.add_module(f"layer{i}", stage)
            width = channels
        self.bn = layer.BatchNorm2d(512)
        self.sn = neuron()
        self.avgpool = layer.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, num_classes)
        initialise(self)

    def pool(self, spikes: Tensor) -> Tensor:
        return self.maxpool(spikes)

    def stages(self) -> list[nn.Module]:
        return [self.get_submodule(f"layer{i}") for i in (1, 2, 3, 4)]

    def classify(self, features: Tensor) -> Tensor:
        return super().classify(self.sn(self.bn(features)))


def preact_resnet18(
    *, T: int = 50, num_classes: int = 1000, in_channels: int = 3, **neurons: Any
) -> PreActResNet:
    """PreAct-ResNet-18, for 50 time-steps."""
    return PreActResNet(Neurons(**neurons), T, num_classes, in_channels)
