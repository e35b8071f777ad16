"""Build the residual blocks of Figures 1 and 2, and a network of stem, blocks and classifier."""

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from syops.errors import SyopsValueError
from syops.models.connect import Connection, add
from syops.models.jelly import base, functional, layer
from syops.models.parts import (
    ResidualBlock,
    Streams,
    as_sequence,
    positive_int,
    reset_neurons,
)


def batch_norm(channels: int, summed: bool = False) -> nn.Module:
    """Return the usual BN, which does not depend on whether its result will be ``summed``."""
    return layer.BatchNorm2d(channels)


@dataclass(frozen=True)
class BlockParts:
    """Say what the blocks of a network are made of.

    Args:
        neuron: makes a neuron, or in an ANN a ReLU.
        g: the connection function; None for a block whose neuron comes after the sum.
        aap: with an auxiliary accumulation pathway.
        norm: makes a BN; called with the channels, and ``summed=True`` for the last one before
            a sum of two of them.
        residual_neuron: makes the last neuron of a block; default ``neuron``.
        separate: the accumulated stream has a classifier of its own.
    """

    neuron: Callable[[], nn.Module]
    g: Connection | None = None
    aap: bool = False
    norm: Callable[..., nn.Module] = batch_norm
    residual_neuron: Callable[[], nn.Module] | None = None
    separate: bool = False


def conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution that keeps the size at stride 1; its bias would be the BN's."""
    return layer.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)


def downsample(in_channels: int, out_channels: int, stride: int, kit: BlockParts) -> nn.Sequential:
    """Return the shortcut of a block that changes the shape: convolution, BN.

    For a g it ends in a neuron, so that it stays a spike; else the neuron comes after the sum.
    """
    parts = [conv(in_channels, out_channels, 1, stride), kit.norm(out_channels, summed=not kit.g)]
    return nn.Sequential(*parts, *([kit.neuron()] if kit.g else []))


def accumulating_downsample(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Return the down-sampling of the AAP: depthwise 3x3 if it strides, pointwise, BN, ReLU."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    if stride != 1:
        parts["depthwise"] = layer.Conv2d(
            in_channels, in_channels, 3, stride, padding=1, groups=in_channels, bias=False
        )
    parts["pointwise"] = conv(in_channels, out_channels, 1)
    parts["bn"] = layer.BatchNorm2d(out_channels)
    parts["relu"] = nn.ReLU()
    return nn.Sequential(parts)


def initialise(module: nn.Module) -> None:
    """Put ``module`` in multi-step mode, and initialise its convolutions as in ResNet.

    On ``meta`` there are no values to draw, and torch would load its compiler to draw none.
    """
    functional.set_step_mode(module, "m")
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and not part.weight.is_meta:
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


class Block(ResidualBlock):
    """A residual block of one or two streams; a subclass gives f, up to its last BN. Eq. (10):

        s_l = f(o_{l-1}),      o_l = SN(s_l + o_{l-1})      without a g (Figure 1)
        s_l = SN(f(o_{l-1})),  o_l = g(s_l, o_{l-1})        with one (Figure 2)

    and in a dual-stream block a_l = s_l + a_{l-1}, Eq. (11), where o_{l-1} and a_{l-1} are
    down-sampled if the shape changes. Tensors are [T, N, C, H, W].
    """

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int, kit: BlockParts) -> None:
        super().__init__()
        self.g = kit.g
        self.make_f(in_channels, channels, stride, kit)
        self.sn = (kit.residual_neuron or kit.neuron)()
        self.change = in_channels, channels * self.expansion, stride
        self.downsample = nn.Identity() if self.keeps_shape() else downsample(*self.change, kit)
        self.aap = self.make_aap() if kit.aap else None

    @abstractmethod
    def make_f(self, in_channels: int, channels: int, stride: int, kit: BlockParts) -> None: ...

    @abstractmethod
    def f(self, x: Tensor) -> Tensor: ...

    def keeps_shape(self) -> bool:
        in_channels, out_channels, stride = self.change
        return in_channels == out_channels and stride == 1

    def make_aap(self) -> nn.Module:
        if self.g is add or not isinstance(self.sn, base.MemoryModule):
            raise SyopsValueError("an AAP accompanies a full-spike stream, not g=ADD or an ANN")
        return nn.Identity() if self.keeps_shape() else accumulating_downsample(*self.change)

    def forward(self, streams: Streams) -> Streams:
        o, a = streams
        if self.g is None:
            s = self.f(o)
            o = self.sn(s + self.downsample(o))
        else:
            s = self.sn(self.f(o))
            o = self.g(s, self.downsample(o))
        return Streams(spike=o, accumulated=None if self.aap is None else s + self.aap(a))

    def extra_repr(self) -> str:
        return f"g={self.g.__name__}" if self.g else ""


class BasicBlock(Block):
    """f: two 3x3 convolutions."""

    def make_f(self, in_channels: int, channels: int, stride: int, kit: BlockParts) -> None:
        self.conv1 = conv(in_channels, channels, 3, stride)
        self.bn1 = kit.norm(channels)
        self.sn1 = kit.neuron()
        self.conv2 = conv(channels, channels, 3)
        self.bn2 = kit.norm(channels, summed=not kit.g)

    def f(self, x: Tensor) -> Tensor:
        x = self.sn1(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(x))

    def last_norms(self) -> tuple[nn.Module, ...]:
        return (self.bn2,)


class Bottleneck(Block):
    """f: 1x1, 3x3 (which strides) and 1x1 convolutions, the last to four times the channels."""

    expansion = 4

    def make_f(self, in_channels: int, channels: int, stride: int, kit: BlockParts) -> None:
        self.conv1 = conv(in_channels, channels, 1)
        self.bn1 = kit.norm(channels)
        self.sn1 = kit.neuron()
        self.conv2 = conv(channels, channels, 3, stride)
        self.bn2 = kit.norm(channels)
        self.sn2 = kit.neuron()
        self.conv3 = conv(channels, channels * self.expansion, 1)
        self.bn3 = kit.norm(channels * self.expansion, summed=not kit.g)

    def f(self, x: Tensor) -> Tensor:
        x = self.sn1(self.bn1(self.conv1(x)))
        x = self.sn2(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))

    def last_norms(self) -> tuple[nn.Module, ...]:
        return (self.bn3,)


def _give_both(network: nn.Module, state: dict[str, Tensor], prefix: str, *others: object) -> None:
    """Give the classifier of weights that have one to both streams of a network that has two."""
    if isinstance(network, Network) and network.fc_acc is not None:
        for key in network.fc_acc.state_dict():
            if f"{prefix}fc.{key}" in state:
                state.setdefault(f"{prefix}fc_acc.{key}", state[f"{prefix}fc.{key}"])


class Network(nn.Module):
    """A stem (conv1, bn1, sn1), blocks, and a classifier (fc), which both streams share unless the
    accumulated one has its own (fc_acc). Weights with one classifier give it to both streams.

    Input: images [N, C, H, W], which are repeated ``T`` times after the stem's convolution, or
    event data [T, N, C, H, W] with a T of its own. Output: logits [N, num_classes], or with an AAP
    the `Streams` of two such, from the time mean of the pooled features. ``T`` may be changed at
    any time. Raises `SyopsValueError` if an argument or the input cannot be used.
    """

    halvings: int
    """How often the network halves the size of an image."""
    conv1: nn.Conv2d
    bn1: nn.Module
    sn1: nn.Module
    avgpool: nn.Module
    fc: nn.Linear
    fc_acc: nn.Linear | None
    """The classifier of the accumulated stream; None: `fc` is that of both."""

    def __init__(self, T: int, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.register_load_state_dict_pre_hook(_give_both)
        self.fc_acc = None
        self.T = T
        positive_int("num_classes", num_classes)
        positive_int("in_channels", in_channels)

    @property
    def T(self) -> int:
        """Time-steps for which an image is shown."""
        return self._T

    @T.setter
    def T(self, value: int) -> None:
        self._T = positive_int("T", value)

    @abstractmethod
    def pool(self, spikes: Tensor) -> Tensor:
        """Apply what comes between the stem's neuron and the first block."""

    @abstractmethod
    def stages(self) -> Iterable[nn.Module]:
        """Return the modules that the streams go through, in order."""

    def forward(self, x: Tensor) -> Tensor | Streams:
        # A call is a whole sequence, so whatever an earlier one (or one that failed half-way)
        # left in the neurons is not part of it.
        reset_neurons(self)
        sequence = as_sequence(x, self.conv1.weight, 2**self.halvings)
        time_steps = self.T if x.dim() == 4 else len(x)
        # The stem sees an image once: only its result is repeated.
        current = self.bn1(self.conv1(sequence)).expand(time_steps, -1, -1, -1, -1)
        spikes = self.pool(self.sn1(current))
        streams = Streams(spikes, spikes)
        for stage in self.stages():
            streams = stage(streams)
        if streams.accumulated is None:
            return self.fc(self.features(streams.spike))
        classifier = self.fc if self.fc_acc is None else self.fc_acc
        accumulated = classifier(self.features(streams.accumulated))
        # The deployed classifier is the last layer, which an audit does not ask for spikes.
        return Streams(self.fc(self.features(streams.spike)), accumulated)

    def features(self, maps: Tensor) -> Tensor:
        """Return the time mean of the pooled features: [T, N, C, H, W] -> [N, C]."""
        return self.avgpool(maps).flatten(2).mean(0)
