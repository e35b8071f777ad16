"""Build PreAct-ResNet-18 (He et al. 2016b; as an SNN, Meng et al. 2022): BN and neuron come first.

The first BN of a block follows a sum and cannot be folded. Only spikes reach the convolutions, but
each block hands a sum to the next. As in the authors' network, the stem is average-pooled, and the
shortcut starts after the first neuron. The authors' neurons after the last pooling and after the
classifier are left out. The names in the state dict::

    conv1, bn1, sn1                                      stem
    layer{1-4}.{i}.bn1, sn1, conv1, bn2, sn2, conv2      a block
    layer{1-4}.0.downsample.{0,1}                        shortcut: convolution, BN
    bn, sn                                               after the last block
    fc                                                   classifier
"""

from torch import Tensor, nn

from syops.errors import SyopsValueError
from syops.models.blocks import BlockParts, Network, conv, downsample, initialise
from syops.models.jelly import layer
from syops.models.parts import ResidualBlock, Streams


class PreActBlock(ResidualBlock):
    """x -> s + conv(SN(BN(conv(s)))) with s = SN(BN(x)), down-sampled where the shape changes.

    The second BN set to zero, s is the result.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, kit: BlockParts) -> None:
        super().__init__()
        self.bn1 = kit.norm(in_channels)
        self.sn1 = kit.neuron()
        self.conv1 = conv(in_channels, channels, 3, stride)
        self.bn2 = kit.norm(channels)
        self.sn2 = kit.neuron()
        self.conv2 = conv(channels, channels, 3)
        change = in_channels, channels, stride
        same_shape = change == (in_channels, in_channels, 1)
        self.downsample = nn.Identity() if same_shape else downsample(*change, kit)
        self.aap = None

    def make_aap(self) -> nn.Module:
        raise SyopsValueError("an AAP accompanies a full-spike stream, not that of PreAct-ResNet")

    def last_norms(self) -> tuple[nn.Module, ...]:
        return (self.bn2,)

    def forward(self, streams: Streams) -> Streams:
        s = self.sn1(self.bn1(streams.spike))
        f = self.conv2(self.sn2(self.bn2(self.conv1(s))))
        return Streams(f + self.downsample(s), None)


class PreActResNet(Network):
    """Two blocks in each of four stages."""

    halvings = 5

    def __init__(self, kit: BlockParts, T: int, num_classes: int, in_channels: int) -> None:
        super().__init__(T, num_classes, in_channels)
        self.conv1 = conv(in_channels, 64, 7, stride=2)
        self.bn1 = kit.norm(64)
        self.sn1 = kit.neuron()
        self.stempool = layer.AvgPool2d(3, stride=2, padding=1)
        width = 64
        for i, channels in enumerate((64, 128, 256, 512), start=1):
            first = PreActBlock(width, channels, 1 if i == 1 else 2, kit)
            stage = nn.Sequential(first, PreActBlock(channels, channels, 1, kit))
            self.add_module(f"layer{i}", stage)
            width = channels
        self.bn = kit.norm(512)
        self.sn = kit.neuron()
        self.avgpool = layer.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, num_classes)
        initialise(self)

    def pool(self, spikes: Tensor) -> Tensor:
        return self.stempool(spikes)

    def stages(self) -> list[nn.Module]:
        return [self.get_submodule(f"layer{i}") for i in (1, 2, 3, 4)]

    def features(self, maps: Tensor) -> Tensor:
        return super().features(self.sn(self.bn(maps)))
