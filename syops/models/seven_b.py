"""Build 7B-Net and Wide-7B-Net (Fang et al. 2021), for DVS Gesture and CIFAR10-DVS.

The network has seven blocks, each followed by a 2x2 max-pooling. All have 32 channels; in the wide
network, the first four have 64 and the others 128. Where the width changes, and at the start, there
is a 1x1 convolution with BN and neuron. In a DSNN the AAP is pooled as the spikes are. The names in
the state dict::

    conv1, bn1, sn1                                     stem
    layer5.widen.{conv,bn,sn}, .aap.{pointwise,bn}      wide only; the latter in a DSNN only
    layer{1-7}.block.conv1, bn1, sn1, conv2, bn2, sn    f and SN of a block
    fc                                                  classifier, of both streams without ...
    fc_acc                                              ... that of the accumulated stream

Only PLIF neurons, the default, have an entry: `w`.
"""

from collections import OrderedDict
from typing import Any

from torch import Tensor, nn

from syops.models.blocks import (
    BasicBlock,
    BlockParts,
    Network,
    accumulating_downsample,
    conv,
    initialise,
)
from syops.models.jelly import layer
from syops.models.parts import ResidualBlock, Streams


def plain(s: Any, x: Any) -> Any:
    """Return s: there is no connection."""
    return s


class Widening(ResidualBlock):
    """A 1x1 convolution with BN and neuron, and in the AAP one with BN and ReLU."""

    def __init__(self, in_channels: int, channels: int, kit: BlockParts) -> None:
        super().__init__()
        self.conv = conv(in_channels, channels, 1)
        self.bn = kit.norm(channels)
        self.sn = kit.neuron()
        self.aap = self.make_aap() if kit.aap else None

    def make_aap(self) -> nn.Module:
        return accumulating_downsample(self.conv.in_channels, self.conv.out_channels, stride=1)

    def last_norms(self) -> tuple[nn.Module, ...]:
        return ()

    def forward(self, streams: Streams) -> Streams:
        o, a = streams
        return Streams(self.sn(self.bn(self.conv(o))), None if self.aap is None else self.aap(a))


class Pooling(nn.Module):
    """2x2 max-pooling of each stream."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = layer.MaxPool2d(2)

    def forward(self, streams: Streams) -> Streams:
        o, a = streams
        return Streams(self.pool(o), None if a is None else self.pool(a))


def make_stage(in_channels: int, channels: int, kit: BlockParts) -> nn.Sequential:
    """Return a widening, if one is needed, a block and a pooling."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    if in_channels != channels:
        parts["widen"] = Widening(in_channels, channels, kit)
    parts["block"] = BasicBlock(channels, channels, 1, kit)
    parts["pool"] = Pooling()
    return nn.Sequential(parts)


class SevenBNet(Network):
    """Seven blocks, each with a max-pooling behind it, of the given ``widths``."""

    halvings = 7

    def __init__(
        self, widths: tuple[int, ...], kit: BlockParts, T: int, num_classes: int, in_channels: int
    ) -> None:
        super().__init__(T, num_classes, in_channels)
        self.conv1 = conv(in_channels, widths[0], 1)
        self.bn1 = kit.norm(widths[0])
        self.sn1 = kit.neuron()
        self.layers = [f"layer{i}" for i in range(1, len(widths) + 1)]
        before = widths[:1] + widths
        for name, width, channels in zip(self.layers, before, widths, strict=False):
            self.add_module(name, make_stage(width, channels, kit))
        self.avgpool = layer.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], num_classes)
        initialise(self)

    def pool(self, spikes: Tensor) -> Tensor:
        return spikes

    def stages(self) -> list[nn.Module]:
        return [self.get_submodule(name) for name in self.layers]
