"""Spikformer, the transformer of spikes (Zhou et al. 2023), with or without an AAP.

Convolutions make tokens of an image's patches, one more tells where they lie, and encoder blocks
follow: spiking self-attention and an MLP. What each of these fires joins its input by g. With ADD,
as published, spikes pile up from block to block (Figure 1(c)); a logical g keeps the tokens
spikes, and the AAP may accumulate beside them (Figure 1(d)). The names in the state dict::

    stem.{conv,bn}                               from pixels to spikes
    patches.{0-2}.{conv,bn}                      from spikes to tokens, one a patch
    position.{conv,bn}                           tells where a token lies
    blocks.{i}.attention.{q,k,v,proj}.{linear,bn}
    blocks.{i}.mlp.{hidden,out}.{linear,bn}
    head                                         classifier, shared by both streams

The neurons are called ``sn``. The AAP has no weights: nothing in it changes a shape.
"""

from collections import OrderedDict
from itertools import pairwise

from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn

from syops.errors import SyopsValueError
from syops.models.connect import LOGICAL, Connection, connection
from syops.models.parts import Streams, as_sequence, positive_int, reset_neurons

ATTENTION_SCALE = 0.125  # in place of a softmax
MLP_RATIO = 4
# patch size: which of the four convolutions from pixels to tokens are pooled
POOLED = {4: (2, 3), 16: (0, 1, 2, 3)}


def lif_neuron(v_threshold: float = 1.0) -> nn.Module:
    """LIF with tau = 2 and a hard reset to 0."""
    return neuron.LIFNode(
        tau=2.0,
        v_threshold=v_threshold,
        surrogate_function=surrogate.ATan(alpha=2.0),
        detach_reset=True,
    )


class ConvSpikes(nn.Module):
    """3x3 convolution, BN, LIF and, if ``pool``, max-pooling to half the size: [T, N, C, H, W]."""

    def __init__(self, in_channels: int, out_channels: int, pool: bool) -> None:
        super().__init__()
        self.conv = layer.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn = layer.BatchNorm2d(out_channels)
        self.sn = lif_neuron()
        self.pool = layer.MaxPool2d(3, stride=2, padding=1) if pool else nn.Identity()

    def forward(self, x: Tensor, time_steps: int | None = None) -> Tensor:
        """Spikes; of a sequence of one step, its current being repeated, if ``time_steps``."""
        current = self.bn(self.conv(x))
        if time_steps is not None:
            current = current.expand(time_steps, -1, -1, -1, -1)
        return self.pool(self.sn(current))


class LinearSpikes(nn.Module):
    """Linear, BN over the features of all tokens, LIF: [T, N, L, C] -> [T, N, L, C_out]."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.bn = layer.BatchNorm1d(out_features)
        self.sn = lif_neuron()

    def forward(self, x: Tensor) -> Tensor:
        current = self.bn(self.linear(x).transpose(-1, -2)).transpose(-1, -2)
        return self.sn(current)


class Residual(nn.Module):
    """A dual-stream block, Figure 1(d); a subclass gives f, which ends in a neuron.

    s_l = f(o_{l-1});  o_l = g(s_l, o_{l-1}), Eq. (10);  a_l = s_l + a_{l-1}, Eq. (11)
    """

    def __init__(self, g: Connection, aap: bool) -> None:
        super().__init__()
        self.g = g
        self.aap = nn.Identity() if aap else None

    def f(self, x: Tensor) -> Tensor:
        raise NotImplementedError

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

    def __init__(self, width: int, g: Connection, aap: bool) -> None:
        super().__init__(g, aap)
        self.conv = layer.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn = layer.BatchNorm2d(width)
        self.sn = lif_neuron()

    def f(self, x: Tensor) -> Tensor:
        return self.sn(self.bn(self.conv(x)))


class Attention(Residual):
    """f: spiking self-attention, SN((q kᵀ) v · scale), and a projection; [T, N, L, C] both ways.

    q, k and v are spikes. The neuron behind the products has half the threshold of the others.
    """

    def __init__(self, width: int, heads: int, g: Connection, aap: bool) -> None:
        super().__init__(g, aap)
        self.heads = heads
        self.q = LinearSpikes(width, width)
        self.k = LinearSpikes(width, width)
        self.v = LinearSpikes(width, width)
        self.sn = lif_neuron(v_threshold=0.5)
        self.proj = LinearSpikes(width, width)

    def f(self, x: Tensor) -> Tensor:
        q, k, v = (self.split(project(x)) for project in (self.q, self.k, self.v))
        mixed = (q @ k.transpose(-1, -2) * ATTENTION_SCALE) @ v
        return self.proj(self.sn(mixed.transpose(2, 3).flatten(3)))

    def split(self, x: Tensor) -> Tensor:
        """[T, N, L, C] -> [T, N, heads, L, C / heads]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(2, 3)

    def extra_repr(self) -> str:
        return f"heads={self.heads}, {super().extra_repr()}"


class MLP(Residual):
    """f: two layers, with four times the features between them; [T, N, L, C] both ways."""

    def __init__(self, width: int, g: Connection, aap: bool) -> None:
        super().__init__(g, aap)
        self.hidden = LinearSpikes(width, MLP_RATIO * width)
        self.out = LinearSpikes(MLP_RATIO * width, width)

    def f(self, x: Tensor) -> Tensor:
        return self.out(self.hidden(x))


def encoder_block(width: int, heads: int, g: Connection, aap: bool) -> nn.Sequential:
    """Attention, then MLP: Figure 1(c) and (d)."""
    attention, mlp = Attention(width, heads, g, aap), MLP(width, g, aap)
    return nn.Sequential(OrderedDict(attention=attention, mlp=mlp))


def tokens(maps: Tensor) -> Tensor:
    """[T, N, C, H, W] -> [T, N, L, C], L = H · W."""
    return maps.flatten(3).transpose(-1, -2)


class Spikformer(nn.Module):
    """``depth`` encoder blocks on tokens of ``width`` features, one a patch.

    Input: images [N, C, H, W], which are repeated ``T`` times after the first convolution, or
    event data [T, N, C, H, W] with a T of its own; H and W are at least ``patch``, otherwise free.
    Output: logits [N, num_classes], or with an AAP (``aap``) the `Streams` of two such, from the
    mean over time and tokens. ``T`` may be changed at any time. Raises `SyopsValueError` if an
    argument or the input cannot be used.
    """

    def __init__(
        self,
        depth: int,
        width: int,
        heads: int,
        patch: int,
        g: str,
        aap: bool,
        T: int,
        num_classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        self.T = T
        for name, value in (
            *(("depth", depth), ("width", width), ("heads", heads)),
            *(("num_classes", num_classes), ("in_channels", in_channels)),
        ):
            positive_int(name, value)
        if width % heads or width % 8:
            raise SyopsValueError(
                f"width={width}: expected a multiple of heads={heads} and of 8, since the stem "
                "begins with an eighth of the width"
            )
        if patch not in tuple(POOLED):
            raise SyopsValueError(f"patch={patch!r} is not one of {', '.join(map(str, POOLED))}")
        if not isinstance(aap, bool):
            raise SyopsValueError(f"aap={aap!r}: expected True or False")
        chosen = connection(g)
        if aap and g not in LOGICAL:
            raise SyopsValueError(
                f"g={g!r} with aap=True: both streams would be the same; "
                f"choose g from {', '.join(LOGICAL)}"
            )
        self.patch = patch
        channels = in_channels, width // 8, width // 4, width // 2, width
        stages = [
            ConvSpikes(before, after, pool=i in POOLED[patch])
            for i, (before, after) in enumerate(pairwise(channels))
        ]
        self.stem = stages[0]
        self.patches = nn.Sequential(*stages[1:])
        self.position = Position(width, chosen, aap)
        self.blocks = nn.Sequential(
            *(encoder_block(width, heads, chosen, aap) for _ in range(depth))
        )
        self.head = nn.Linear(width, num_classes)
        functional.set_step_mode(self, "m")
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    @property
    def T(self) -> int:
        """Time-steps for which an image is shown."""
        return self._T

    @T.setter
    def T(self, value: int) -> None:
        self._T = positive_int("T", value)

    def forward(self, x: Tensor) -> Tensor | Streams:
        # A call is a whole sequence, whatever an earlier one left in the neurons.
        reset_neurons(self)
        sequence = as_sequence(x, self.stem.conv.weight)
        if min(x.shape[-2:]) < self.patch:
            raise SyopsValueError(
                f"the model's input has shape {tuple(x.shape)}: expected H and W of at least "
                f"{self.patch}, one patch"
            )
        # The stem's convolution sees an image once: only its result is repeated.
        spikes = self.stem(sequence, time_steps=self.T if x.dim() == 4 else None)
        spikes = self.patches(spikes)
        o, a = self.position(Streams(spikes, spikes))
        streams = self.blocks(Streams(tokens(o), None if a is None else tokens(a)))
        spike = self.classify(streams.spike)
        if streams.accumulated is None:
            return spike
        return Streams(spike, self.classify(streams.accumulated))

    def classify(self, features: Tensor) -> Tensor:
        """[T, N, L, C] -> [N, num_classes]."""
        return self.head(features.mean((0, 2)))


def cifar(
    *,
    depth: int = 4,
    width: int = 384,
    heads: int = 12,
    patch: int = 4,
    g: str = "ADD",
    aap: bool = False,
    T: int = 4,
    num_classes: int = 10,
    in_channels: int = 3,
) -> Spikformer:
    """Spikformer-4-384 for images of 32x32, or by keyword any other size."""
    return Spikformer(depth, width, heads, patch, g, aap, T, num_classes, in_channels)


def imagenet(
    width: int,
    heads: int,
    *,
    g: str = "ADD",
    aap: bool = False,
    T: int = 4,
    num_classes: int = 1000,
    in_channels: int = 3,
) -> Spikformer:
    """The Spikformers of eight blocks for images of 224x224, patches of 16x16."""
    return Spikformer(8, width, heads, 16, g, aap, T, num_classes, in_channels)
