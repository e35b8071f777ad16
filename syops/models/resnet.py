"""Build residual networks for ImageNet, of 18, 34, 50, 101 and 152 layers, and narrow ones of 18.

DSNN, FSNN, SEW ResNet, Spiking ResNet (with td-BN, too) and the ANN have one topology. They differ
in the `BlockParts` of their blocks. The names in the state dict are torchvision's, plus `aap`::

    conv1, bn1, sn1                              stem
    layer{1-4}.{i}.conv1, bn1, sn1, conv2, ...   f and SN of a block
    layer{1-4}.{i}.sn                            the last neuron
    layer{1-4}.0.downsample.{0,1,2}              shortcut: convolution, BN, neuron (if there is a g)
    layer{1-4}.0.aap.{depthwise,pointwise,bn}    the AAP's down-sampling, in a DSNN only
    fc                                           classifier, of both streams without the next one
    fc_acc                                       that of the accumulated stream, if it has its own

Neurons have no entries, except for the `w` of a PLIF neuron.
"""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from syops.errors import SyopsValueError
from syops.models.blocks import BasicBlock, Block, BlockParts, Bottleneck, Network, conv, initialise
from syops.models.connect import LOGICAL, connection
from syops.models.jelly import layer
from syops.models.parts import CLASSIFIERS, Neurons, one_of, positive_int

# depth: (block, blocks in each of the four stages)
DEPTHS: dict[int, tuple[type[Block], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


def make_stage(
    block: type[Block], n: int, in_channels: int, channels: int, stride: int, kit: BlockParts
) -> nn.Sequential:
    """Return ``n`` blocks, of which the first may change the shape."""
    first = block(in_channels, channels, stride, kit)
    width = channels * block.expansion
    return nn.Sequential(first, *(block(width, channels, 1, kit) for _ in range(n - 1)))


class ResNet(Network):
    """A residual network of ``depth`` layers, made of the parts in ``kit``.

    Args:
        channels: of the first stage; each further one has twice as many.
        kernel: height and width of the stem's convolution.
        strides: of the first block of each stage.
    """

    def __init__(
        self,
        depth: int,
        kit: BlockParts,
        T: int,
        num_classes: int,
        in_channels: int,
        channels: int = 64,
        kernel: int = 7,
        strides: Sequence[int] = (1, 2, 2, 2),
    ) -> None:
        super().__init__(T, num_classes, in_channels)
        block, counts = DEPTHS[depth]
        c, e = positive_int("channels", channels), block.expansion
        self.halvings = 2 + list(strides).count(2)
        self.conv1 = conv(in_channels, c, kernel, stride=2)
        self.bn1 = kit.norm(c)
        self.sn1 = kit.neuron()
        self.maxpool = layer.MaxPool2d(3, stride=2, padding=1)
        widths = [c, 2 * c, 4 * c, 8 * c]
        before = [c, *(e * width for width in widths)]
        stages = zip(counts, before[:-1], widths, strides, strict=True)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            make_stage(block, n, inputs, width, stride, kit) for n, inputs, width, stride in stages
        )
        self.avgpool = layer.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(before[-1], num_classes)
        initialise(self)

    def pool(self, spikes: Tensor) -> Tensor:
        return self.maxpool(spikes)

    def stages(self) -> tuple[nn.Module, ...]:
        return self.layer1, self.layer2, self.layer3, self.layer4


def dual_stream_kit(
    neurons: Neurons, g: str, residual: str, aap: bool, classifier: str = "shared"
) -> BlockParts:
    """Return the kit for ``residual="sew"``, g(SN(f(x)), x), or "spiking", SN(f(x) + x), Eq. (10).

    The neurons after the sums of the latter are IF neurons with 0 < V_th <= 1, whatever the others
    are, so that a block can be the identity (§4.2). Raises `SyopsValueError` for anything else.
    """
    chosen = connection(g, LOGICAL)
    separate = one_of("classifier", classifier, CLASSIFIERS) == "separate"
    if one_of("residual", residual, ("sew", "spiking")) == "sew":
        return BlockParts(neurons, chosen, aap, separate=separate)
    if neurons.v_threshold > 1:
        raise SyopsValueError(
            f"v_threshold={neurons.v_threshold!r}: residual='spiking' needs 0 < v_threshold <= 1, "
            "or else no block could pass a spike on"
        )
    behind_sums = replace(neurons, neuron="IF")
    return BlockParts(neurons, None, aap, residual_neuron=behind_sums, separate=separate)


def tdbn_kit(neurons: Neurons) -> BlockParts:
    """Return the kit with threshold-dependent BN (Zheng et al. 2021).

    BN to the standard deviation alpha V_th over time, batch and space, where alpha = 1, and
    1/sqrt(2) for two BN whose results are added. The learned scale of a BN starts at alpha V_th.
    """

    def norm(channels: int, summed: bool = False) -> nn.Module:
        alpha = 0.5**0.5 if summed else 1.0
        bn = layer.BatchNorm2d(channels)  # in multi-step mode, over time too
        nn.init.constant_(bn.weight, alpha * neurons.v_threshold)
        return bn

    return BlockParts(neurons, norm=norm)
