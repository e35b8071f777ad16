"""Create bundled networks from a topology and a kit for its blocks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, TypedDict, Unpack

from torch import nn

from syops.models.blocks import BlockParts, Network
from syops.models.catalogue import entry_of, unknown
from syops.models.connect import connection
from syops.models.digits import DigitsNet
from syops.models.parts import Neurons
from syops.models.preact import PreActResNet
from syops.models.resnet import ResNet, dual_stream_kit, tdbn_kit
from syops.models.seven_b import SevenBNet, plain
from syops.models.spikformer import Spikformer, spikformer_kit
from syops.models.surgery import separate_classifiers
from syops.models.weights import load_weights

TOPOLOGIES: Mapping[str, Callable[..., Network]] = {
    "resnet": ResNet,
    "preact": PreActResNet,
    "seven_b": SevenBNet,
    "digits": DigitsNet,
    "spikformer": Spikformer,
}
"""How a network is wired; each is called with a kit and its sizes."""

KITS: Mapping[str, Callable[..., Any]] = {
    "dsnn": partial(dual_stream_kit, aap=True),
    "fsnn": partial(dual_stream_kit, aap=False),
    "sew": lambda neurons, g: BlockParts(neurons, connection(g)),
    "spiking": BlockParts,
    "tdbn": tdbn_kit,
    "plain": lambda neurons: BlockParts(neurons, plain),
    "ann": lambda: BlockParts(nn.ReLU),
    "spikformer": spikformer_kit,
}
"""What blocks are made of, by what goes from block to block; each is called with the neurons, if
there are any, and with what the user can choose about the streams."""


class Keywords(TypedDict, total=False):
    """The keywords of bundled networks; each network has some of them."""

    T: int
    num_classes: int
    in_channels: int
    g: Literal["ADD", "AND", "IAND", "OR", "XOR"]
    residual: Literal["sew", "spiking"]
    aap: bool
    classifier: Literal["shared", "separate"] | None
    neuron: Literal["IF", "LIF", "PLIF"]
    v_threshold: float
    detach_reset: bool
    surrogate: nn.Module | None
    blocks: int
    channels: int
    depth: int
    width: int
    heads: int
    patch: Literal[4, 16]


def create_model(
    name: str, *, weights: str | os.PathLike[str] | None = None, **keywords: Unpack[Keywords]
) -> nn.Module:
    """Create a bundled network, in train mode as `torch.nn` does it.

    Args:
        name: one of `list_models`.
        weights: a file with a state dict, from ``torch.save`` or .safetensors; its names are in the
            module of the topology. By default the weights are fresh.
        keywords: the settings of the network, by the start or end of its name:

            * all: ``num_classes=1000``, ``in_channels=3``;
            * spiking networks: ``T=4`` time-steps (6 with td-BN, 50 for ``preact_resnet18``), and
              the settings of `syops.models.parts.Neurons`: ``neuron="IF"``, ``v_threshold=1.0``,
              ``detach_reset=True`` and ``surrogate``;
            * ``dsnn*``, ``fsnn*``: ``g="IAND"``, the connection function (AND, IAND, OR or XOR),
              and ``residual``, the spike stream of Eq. (10): "sew" or "spiking";
            * ``dsnn*``: ``classifier="separate"``, one for each stream, which start equal, or
              "shared", one for both. Weights with one classifier fill both;
            * ``sew_*``: ``g="ADD"``, or any other connection function;
            * ``*_7b``: ``num_classes=11`` (wide: 10), ``in_channels=2``, ``T=16``, PLIF neurons;
            * ``spikformer*``: ``neuron="LIF"``, ``g="ADD"``, ``aap=False``. ``aap=True`` needs
              another g, and takes ``classifier``. ``spikformer_4_384`` has ``num_classes=10``, and
              ``depth``, ``width``, ``heads`` and ``patch`` (4 or 16);
            * ``*_digits``: ``blocks=8``, ``channels=16``, 10 classes, 1 input channel;
            * ``*18_small``, for images of 28x28: ``channels=8`` in the first stage, 10 classes, 1
              input channel.

    Returns:
        a module that takes images [N, C, H, W] or frames [T, N, C, H, W]. It returns logits
        [N, classes]; with an AAP, the named tuple ``(spike, accumulated)`` of such logits.

    Raises:
        SyopsLookupError: an unknown name or keyword.
        SyopsValueError, SyopsTypeError: a bad value, or weights of another network.
        SyopsFileError: weights that cannot be read.

    Examples:
        >>> create_model("dsnn_digits", blocks=2, T=6).T
        6
    """
    entry = entry_of(name)
    given: dict[str, Any] = dict(keywords)
    for keyword in given:
        if keyword not in entry.keywords:
            raise unknown(f"keyword of {name}", keyword, entry.keywords)
    values = {**entry.keywords, **given}

    def chosen(names: Mapping[str, Any]) -> dict[str, Any]:
        return {keyword: values[keyword] for keyword in names}

    neurons = [Neurons(**chosen(entry.neurons))] if entry.neurons else []
    kit = KITS[entry.streams](*neurons, **chosen(entry.choices))
    model = TOPOLOGIES[entry.topology](kit=kit, **entry.fixed, **chosen(entry.sizes))
    if kit.separate:
        separate_classifiers(model)
    if weights is not None:
        load_weights(model, weights)
    return model
