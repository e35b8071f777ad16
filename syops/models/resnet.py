"""Residual SNNs for ImageNet: DSNN, FSNN and SEW ResNet, of 18, 34, 50 and 101 layers.

All three are one topology, with the blocks of Figure 2. An FSNN is a DSNN without its AAP, a
SEW ResNet an FSNN whose g may be ADD. The names in the state dict are torchvision's, plus `aap`::

    conv1, bn1, sn1                              stem
    layer{1-4}.{i}.conv1, bn1, sn1, conv2, ...   f and SN of a block
    layer{1-4}.{i}.sn                            the last neuron, whose output is s_l
    layer{1-4}.0.downsample.{0,1,2}              shortcut: convolution, BN, neuron
    layer{1-4}.0.aap.{depthwise,pointwise,bn}    the AAP's down-sampling, in a DSNN only
    fc                                           classifier, shared by both streams
"""

from collections import OrderedDict

from spikingjelly.activation_based import functional, layer
from torch import Tensor, nn

from syops.models.connect import LOGICAL, Connection, connection
from syops.models.parts import Streams, as_sequence, if_neuron, positive_int, reset_neurons


def conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size at stride 1; its bias would be the BN's."""
    return layer.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)


def spiking_downsample(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """The shortcut of a down-sampling block, with a neuron so that it stays a spike."""
    return nn.Sequential(
        conv(in_channels, out_channels, 1, stride), layer.BatchNorm2d(out_channels), if_neuron()
    )


def accumulating_downsample(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """The down-sampling of the AAP: depthwise 3x3 (only where it strides), pointwise, BN, ReLU."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    if stride != 1:
        parts["depthwise"] = layer.Conv2d(
            in_channels, in_channels, 3, stride, padding=1, groups=in_channels, bias=False
        )
    parts["pointwise"] = conv(in_channels, out_channels, 1)
    parts["bn"] = layer.BatchNorm2d(out_channels)
    parts["relu"] = nn.ReLU()
    return nn.Sequential(parts)


class Block(nn.Module):
    """A dual-stream block, Figure 2; a subclass gives f, the residual mapping up to its last BN.

    s_l = SN(f(o_{l-1}));  o_l = g(s_l, o_{l-1}), Eq. (10);  a_l = s_l + a_{l-1}, Eq. (11)

    with o_{l-1} and a_{l-1} down-sampled where the shape changes. Tensors are [T, N, C, H, W].
    """

    expansion = 1

    def __init__(
        self, in_channels: int, channels: int, stride: int, g: Connection, aap: bool
    ) -> None:
        super().__init__()
        self.g = g
        self.make_f(in_channels, channels, stride)
        self.sn = if_neuron()
        change = in_channels, channels * self.expansion, stride
        same_shape = change == (in_channels, in_channels, 1)
        self.downsample = nn.Identity() if same_shape else spiking_downsample(*change)
        self.aap: nn.Module | None = None
        if aap:
            self.aap = nn.Identity() if same_shape else accumulating_downsample(*change)

    def make_f(self, in_channels: int, channels: int, stride: int) -> None:
        raise NotImplementedError

    def f(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, streams: Streams) -> Streams:
        o, a = streams
        s = self.sn(self.f(o))
        return Streams(
            spike=self.g(s, self.downsample(o)),
            accumulated=None if self.aap is None else s + self.aap(a),
        )

    def extra_repr(self) -> str:
        return f"g={self.g.__name__}"


class BasicBlock(Block):
    """f: two 3x3 convolutions."""

    def make_f(self, in_channels: int, channels: int, stride: int) -> None:
        self.conv1 = conv(in_channels, channels, 3, stride)
        self.bn1 = layer.BatchNorm2d(channels)
        self.sn1 = if_neuron()
        self.conv2 = conv(channels, channels, 3)
        self.bn2 = layer.BatchNorm2d(channels)

    def f(self, x: Tensor) -> Tensor:
        x = self.sn1(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(x))


class Bottleneck(Block):
    """f: 1x1, 3x3 (which strides) and 1x1 convolutions, the last to four times the channels."""

    expansion = 4

    def make_f(self, in_channels: int, channels: int, stride: int) -> None:
        self.conv1 = conv(in_channels, channels, 1)
        self.bn1 = layer.BatchNorm2d(channels)
        self.sn1 = if_neuron()
        self.conv2 = conv(channels, channels, 3, stride)
        self.bn2 = layer.BatchNorm2d(channels)
        self.sn2 = if_neuron()
        self.conv3 = conv(channels, channels * self.expansion, 1)
        self.bn3 = layer.BatchNorm2d(channels * self.expansion)

    def f(self, x: Tensor) -> Tensor:
        x = self.sn1(self.bn1(self.conv1(x)))
        x = self.sn2(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))


def stage(
    block: type[Block],
    n: int,
    in_channels: int,
    channels: int,
    stride: int,
    g: Connection,
    aap: bool,
) -> nn.Sequential:
    """``n`` blocks, of which the first may change the shape."""
    first = block(in_channels, channels, stride, g, aap)
    width = channels * block.expansion
    return nn.Sequential(first, *(block(width, channels, 1, g, aap) for _ in range(n - 1)))


# depth: (block, blocks in each of the four stages)
DEPTHS: dict[int, tuple[type[Block], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}


class ResNet(nn.Module):
    """A residual SNN, with or without an auxiliary accumulation pathway (``aap``).

    Input: images [N, C, H, W], which are repeated ``T`` times after the stem's convolution, or
    event data [T, N, C, H, W] with a T of its own. Output: logits [N, num_classes], or with an AAP
    the `Streams` of two such, from the time mean of the pooled features. ``T`` may be changed at
    any time. Raises `SyopsValueError` if an argument or the input cannot be used.
    """

    def __init__(
        self, depth: int, g: Connection, aap: bool, T: int, num_classes: int, in_channels: int
    ) -> None:
        super().__init__()
        self.T = T
        positive_int("num_classes", num_classes)
        positive_int("in_channels", in_channels)
        block, (n1, n2, n3, n4) = DEPTHS[depth]
        self.conv1 = conv(in_channels, 64, 7, stride=2)
        self.bn1 = layer.BatchNorm2d(64)
        self.sn1 = if_neuron()
        self.maxpool = layer.MaxPool2d(3, stride=2, padding=1)
        e = block.expansion
        self.layer1 = stage(block, n1, 64, 64, 1, g, aap)
        self.layer2 = stage(block, n2, 64 * e, 128, 2, g, aap)
        self.layer3 = stage(block, n3, 128 * e, 256, 2, g, aap)
        self.layer4 = stage(block, n4, 256 * e, 512, 2, g, aap)
        self.avgpool = layer.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * e, num_classes)
        functional.set_step_mode(self, "m")
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def T(self) -> int:
        """Time-steps for which an image is shown."""
        return self._T

    @T.setter
    def T(self, value: int) -> None:
        self._T = positive_int("T", value)

    def forward(self, x: Tensor) -> Tensor | Streams:
        # A call is a whole sequence, so whatever an earlier one (or one that failed half-way)
        # left in the neurons is not part of it.
        reset_neurons(self)
        sequence = as_sequence(x, self.conv1.weight)
        time_steps = self.T if x.dim() == 4 else len(x)
        # The stem sees an image once: only its result is repeated.
        current = self.bn1(self.conv1(sequence)).expand(time_steps, -1, -1, -1, -1)
        spikes = self.maxpool(self.sn1(current))
        streams = Streams(spikes, spikes)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            streams = stage(streams)
        spike = self.classify(streams.spike)
        if streams.accumulated is None:
            return spike
        return Streams(spike, self.classify(streams.accumulated))

    def classify(self, features: Tensor) -> Tensor:
        """[T, N, C, H, W] -> [N, num_classes]."""
        return self.fc(self.avgpool(features).flatten(2).mean(0))


def dsnn(
    depth: int, *, g: str = "IAND", T: int = 4, num_classes: int = 1000, in_channels: int = 3
) -> ResNet:
    """The dual-stream SNN: both the spike stream and the AAP."""
    return ResNet(depth, connection(g, LOGICAL), True, T, num_classes, in_channels)


def fsnn(
    depth: int, *, g: str = "IAND", T: int = 4, num_classes: int = 1000, in_channels: int = 3
) -> ResNet:
    """The full-spike SNN: a DSNN whose AAP is removed."""
    return ResNet(depth, connection(g, LOGICAL), False, T, num_classes, in_channels)


def sew_resnet(
    depth: int, *, g: str = "ADD", T: int = 4, num_classes: int = 1000, in_channels: int = 3
) -> ResNet:
    """SEW ResNet (Fang et al. 2021): with ADD, Eq. (9), spikes add up from block to block."""
    return ResNet(depth, connection(g), False, T, num_classes, in_channels)
