"""Build small networks for scikit-learn's handwritten digits, of any number of blocks.

The blocks are those of the big networks. The first half of them keep the 8x8 pixels of an image.
The first block of the second half has stride 2 and doubles the channels. The names in the state
dict::

    conv1, bn1, sn1              stem
    layer1.{i}, layer2.{i}       blocks, as in `syops.models.resnet`
    fc                           classifier, of both streams without the next one
    fc_acc                       that of the accumulated stream, if it has its own
"""

from torch import Tensor, nn

from syops.models.blocks import BasicBlock, BlockParts, Network, conv, initialise
from syops.models.jelly import layer
from syops.models.parts import positive_int
from syops.models.resnet import make_stage


class DigitsNet(Network):
    """``blocks`` basic blocks of ``channels``, then of twice as many at half the size."""

    halvings = 1

    def __init__(
        self,
        kit: BlockParts,
        blocks: int,
        channels: int,
        T: int,
        num_classes: int,
        in_channels: int,
    ) -> None:
        super().__init__(T, num_classes, in_channels)
        positive_int("blocks", blocks)
        positive_int("channels", channels)
        self.conv1 = conv(in_channels, channels, 3)
        self.bn1 = kit.norm(channels)
        self.sn1 = kit.neuron()
        narrow = blocks // 2
        self.layer1 = nn.Sequential(
            *(BasicBlock(channels, channels, 1, kit) for _ in range(narrow))
        )
        self.layer2 = make_stage(BasicBlock, blocks - narrow, channels, 2 * channels, 2, kit)
        self.avgpool = layer.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2 * channels, num_classes)
        initialise(self)

    def pool(self, spikes: Tensor) -> Tensor:
        return spikes

    def stages(self) -> tuple[nn.Module, ...]:
        return self.layer1, self.layer2
