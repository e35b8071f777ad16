"""Build Spikformer, the transformer of spikes (Zhou et al. 2023), with or without an AAP.

Convolutions turn the patches of an image into tokens, and one more convolution encodes where each
token lies. Encoder blocks of spiking self-attention and an MLP follow. The function g joins the
spikes of each of the two with its input. With ADD, as published, values grow from block to block
(Figure 1(c)). A logical g keeps the tokens spikes, and an AAP may accumulate beside them
(Figure 1(d)). The names in the state dict::

    conv1, bn1                                   stem
    patches.{0-2}.{conv,bn}                      from the stem's spikes to tokens, one a patch
    position.{conv,bn}                           tells where a token lies
    blocks.{i}.attention.{q,k,v,proj}.{linear,bn}
    blocks.{i}.mlp.{hidden,out}.{linear,bn}
    fc                                           classifier, of both streams without the next one
    fc_acc                                       that of the accumulated stream, if it has its own

The neurons are called ``sn``, and that of the stem ``sn1``. They have no entries, except for the
`w` of PLIF. The AAP has no weights, since nothing in it changes a shape.
"""

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch import Tensor, nn

from syops.errors import SyopsValueError
from syops.models.blocks import Network, conv
from syops.models.connect import LOGICAL, Connection, add, connection
from syops.models.jelly import functional, layer
from syops.models.parts import (
    CLASSIFIERS,
    Neurons,
    ResidualBlock,
    Streams,
    one_of,
    positive_int,
)

ATTENTION_SCALE = 0.125  # in place of a softmax
MLP_RATIO = 4
# patch size: which of the four convolutions from pixels to tokens are pooled
POOLED = {4: (2, 3), 16: (0, 1, 2, 3)}


@dataclass(frozen=True)
class SpikformerParts:
    """Say what the blocks are made of: neurons, connection function, with or without an AAP.

    ``separate``: the accumulated stream has a classifier of its own.
    """

    neuron: Neurons
    g: Connection
    aap: bool
    separate: bool = False


def halve(pool: bool) -> nn.Module:
    """Pool to half the size, if ``pool``."""
    return layer.MaxPool2d(3, stride=2, padding=1) if pool else nn.Identity()


class ConvSpikes(nn.Module):
    """3x3 convolution, BN, neuron and, if ``pool``, max-pooling: [T, N, C, H, W] both ways."""

    def __init__(
        self, in_channels: int, out_channels: int, pool: bool, kit: SpikformerParts
    ) -> None:
        super().__init__()
        self.conv = conv(in_channels, out_channels, 3)
        self.bn = layer.BatchNorm2d(out_channels)
        self.sn = kit.neuron()
        self.pool = halve(pool)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.sn(self.bn(self.conv(x))))


class LinearSpikes(nn.Module):
    """Linear, BN over the features of all tokens, neuron: [T, N, L, C] -> [T, N, L, C_out]."""

    def __init__(self, in_features: int, out_features: int, kit: SpikformerParts) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.bn = layer.BatchNorm1d(out_features)
        self.sn = kit.neuron()

    def forward(self, x: Tensor) -> Tensor:
        current = self.bn(self.linear(x).transpose(-1, -2)).transpose(-1, -2)
        return self.sn(current)


class Residual(ResidualBlock):
    """A dual-stream block, Figure 1(d); a subclass gives f, which ends in a neuron.

    s_l = f(o_{l-1});  o_l = g(s_l, o_{l-1}), Eq. (10);  a_l = s_l + a_{l-1}, Eq. (11)
    """

    def __init__(self, kit: SpikformerParts) -> None:
        super().__init__()
        self.g = kit.g
        self.aap = self.make_aap() if kit.aap else None

    @abstractmethod
    def f(self, x: Tensor) -> Tensor: ...

    def make_aap(self) -> nn.Module:
        if self.g is add:
            raise SyopsValueError(
                "an AAP beside g='ADD' would be the same stream twice; "
                f"choose g from {', '.join(LOGICAL)}"
            )
        return nn.Identity()

    def forward(self, streams: Streams) -> Streams:
        o, a = streams
        s = self.f(o)
        return Streams(
            spike=self.g(s, o), accumulated=None if self.aap is None else s + self.aap(a)
        )

    def extra_repr(self) -> str:
        return f"g={self.g.__name__}"


class Position(Residual):
    """f: a convolution over the neighbours of a patch, [T, N, C, H, W] both ways."""

    def __init__(self, width: int, kit: SpikformerParts) -> None:
        super().__init__(kit)
        self.conv = conv(width, width, 3)
        self.bn = layer.BatchNorm2d(width)
        self.sn = kit.neuron()

    def f(self, x: Tensor) -> Tensor:
        return self.sn(self.bn(self.conv(x)))

    def last_norms(self) -> tuple[nn.Module, ...]:
        return (self.bn,)


class Attention(Residual):
    """f: spiking self-attention, SN((q kᵀ) v · scale), and a projection; [T, N, L, C] both ways.

    q, k and v are spikes. The neuron behind the products has half the threshold of the others.
    """

    def __init__(self, width: int, heads: int, kit: SpikformerParts) -> None:
        super().__init__(kit)
        self.heads = heads
        self.q = LinearSpikes(width, width, kit)
        self.k = LinearSpikes(width, width, kit)
        self.v = LinearSpikes(width, width, kit)
        self.sn = replace(kit.neuron, v_threshold=kit.neuron.v_threshold / 2)()
        self.proj = LinearSpikes(width, width, kit)

    def f(self, x: Tensor) -> Tensor:
        q, k, v = (self.split(project(x)) for project in (self.q, self.k, self.v))
        mixed = (q @ k.transpose(-1, -2) * ATTENTION_SCALE) @ v
        return self.proj(self.sn(mixed.transpose(2, 3).flatten(3)))

    def split(self, x: Tensor) -> Tensor:
        """Split heads: [T, N, L, C] -> [T, N, heads, L, C / heads]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(2, 3)

    def last_norms(self) -> tuple[nn.Module, ...]:
        return (self.proj.bn,)

    def extra_repr(self) -> str:
        return f"heads={self.heads}, {super().extra_repr()}"


class MLP(Residual):
    """f: two layers, with four times the features between them; [T, N, L, C] both ways."""

    def __init__(self, width: int, kit: SpikformerParts) -> None:
        super().__init__(kit)
        self.hidden = LinearSpikes(width, MLP_RATIO * width, kit)
        self.out = LinearSpikes(MLP_RATIO * width, width, kit)

    def f(self, x: Tensor) -> Tensor:
        return self.out(self.hidden(x))

    def last_norms(self) -> tuple[nn.Module, ...]:
        return (self.out.bn,)


def encoder_block(width: int, heads: int, kit: SpikformerParts) -> nn.Sequential:
    """Apply attention, then MLP: Figure 1(c) and (d)."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    parts["attention"] = Attention(width, heads, kit)
    parts["mlp"] = MLP(width, kit)
    return nn.Sequential(parts)


class Tokens(nn.Module):
    """Both streams from [T, N, C, H, W] to [T, N, L, C], L = H · W."""

    def forward(self, streams: Streams) -> Streams:
        o, a = streams
        return Streams(self.of(o), None if a is None else self.of(a))

    @staticmethod
    def of(maps: Tensor) -> Tensor:
        return maps.flatten(3).transpose(-1, -2)


class Spikformer(Network):
    """``depth`` encoder blocks on tokens of ``width`` features, one a patch of ``patch`` pixels."""

    def __init__(
        self,
        depth: int,
        width: int,
        heads: int,
        patch: int,
        kit: SpikformerParts,
        T: int,
        num_classes: int,
        in_channels: int,
    ) -> None:
        super().__init__(T, num_classes, in_channels)
        for name, value in (("depth", depth), ("width", width), ("heads", heads)):
            positive_int(name, value)
        if width % heads or width % 8:
            raise SyopsValueError(
                f"width={width}, heads={heads}: expected a width that is a multiple of the heads, "
                "and of 8, since the stem begins with an eighth of it"
            )
        if patch not in tuple(POOLED):
            raise SyopsValueError(f"patch={patch!r} is not one of {', '.join(map(str, POOLED))}")
        pooled = POOLED[patch]
        self.halvings = len(pooled)
        self.conv1 = conv(in_channels, width // 8, 3)
        self.bn1 = layer.BatchNorm2d(width // 8)
        self.sn1 = kit.neuron()
        self.maxpool = halve(0 in pooled)
        self.patches = nn.Sequential(
            ConvSpikes(width // 8, width // 4, 1 in pooled, kit),
            ConvSpikes(width // 4, width // 2, 2 in pooled, kit),
            ConvSpikes(width // 2, width, 3 in pooled, kit),
        )
        self.position = Position(width, kit)
        self.tokens = Tokens()
        self.blocks = nn.Sequential(*(encoder_block(width, heads, kit) for _ in range(depth)))
        self.fc = nn.Linear(width, num_classes)
        functional.set_step_mode(self, "m")
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def pool(self, spikes: Tensor) -> Tensor:
        return self.patches(self.maxpool(spikes))

    def stages(self) -> Iterable[nn.Module]:
        return self.position, self.tokens, self.blocks

    def features(self, maps: Tensor) -> Tensor:
        """Return the mean over time and tokens: [T, N, L, C] -> [N, C]."""
        return maps.mean((0, 2))


def spikformer_kit(neurons: Neurons, g: str, aap: bool, classifier: str | None) -> SpikformerParts:
    """Return what the blocks are made of, checked; a classifier None is "separate" with an AAP."""
    if not isinstance(aap, bool):
        raise SyopsValueError(f"aap={aap!r}: expected True or False")
    if classifier is None:
        return SpikformerParts(neurons, connection(g), aap, separate=aap)
    separate = one_of("classifier", classifier, CLASSIFIERS) == "separate"
    if separate and not aap:
        raise SyopsValueError("classifier='separate': there is one stream alone without aap=True")
    return SpikformerParts(neurons, connection(g), aap, separate)
