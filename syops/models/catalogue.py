"""List the bundled networks, and what the name of each stands for. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from syops.errors import SyopsLookupError, SyopsTypeError, did_you_mean

_NEURON = {"neuron": "IF", "v_threshold": 1.0, "detach_reset": True, "surrogate": None}
"""The fields of `syops.models.parts.Neurons`."""

_STREAMS: dict[str, dict[str, Any]] = {
    "dsnn": {"g": "IAND", "residual": "sew", "classifier": "separate"},
    "fsnn": {"g": "IAND", "residual": "sew"},
    "sew": {"g": "ADD"},
    "spiking": {},
    "tdbn": {},
    "plain": {},
    "ann": {},
    "spikformer": {"g": "ADD", "aap": False, "classifier": None},
}
"""What a user can choose about the streams of a network, with the defaults."""


@dataclass(frozen=True)
class CatalogueEntry:
    """Say what the name of a bundled network stands for.

    Attributes:
        topology: of `syops.models.create.TOPOLOGIES`.
        streams: of `syops.models.create.KITS`: what goes from block to block.
        fixed: the arguments of the topology that the name stands for.
        sizes: the arguments of the topology that a user can give, with their defaults.
        neuron: the neurons by default; None for an ANN.
        image: channels and size of what the paper feeds it.
    """

    topology: str
    streams: str
    fixed: Mapping[str, Any]
    sizes: Mapping[str, Any]
    neuron: str | None = "IF"
    image: tuple[int, int] = (3, 224)

    @property
    def choices(self) -> Mapping[str, Any]:
        """The keywords that choose streams, with their defaults."""
        return _STREAMS[self.streams]

    @property
    def neurons(self) -> Mapping[str, Any]:
        """The keywords that choose neurons, with their defaults."""
        return {} if self.neuron is None else {**_NEURON, "neuron": self.neuron}

    @property
    def keywords(self) -> Mapping[str, Any]:
        """All keywords that `create_model` takes for this network, with their defaults."""
        return {**self.choices, **self.sizes, **self.neurons}


def _sizes(T: int, num_classes: int, in_channels: int) -> dict[str, int]:
    return {"T": T, "num_classes": num_classes, "in_channels": in_channels}


def _resnets() -> Iterable[tuple[str, CatalogueEntry]]:
    depths = (18, 34, 50, 101, 152)
    for prefix, streams in (
        ("dsnn", "dsnn"),
        ("fsnn", "fsnn"),
        ("sew_resnet", "sew"),
        ("spiking_resnet", "spiking"),
    ):
        for depth in depths:
            yield (
                f"{prefix}{depth}",
                CatalogueEntry("resnet", streams, {"depth": depth}, _sizes(4, 1000, 3)),
            )
    for depth in depths[:-1]:
        sizes = {"num_classes": 1000, "in_channels": 3}
        yield (
            f"resnet{depth}",
            CatalogueEntry("resnet", "ann", {"depth": depth, "T": 1}, sizes, None),
        )
    for depth in (34, 50):
        entry = CatalogueEntry("resnet", "tdbn", {"depth": depth}, _sizes(6, 1000, 3))
        yield f"spiking_resnet{depth}_tdbn", entry
    yield "preact_resnet18", CatalogueEntry("preact", "spiking", {}, _sizes(50, 1000, 3))


def _small() -> Iterable[tuple[str, CatalogueEntry]]:
    """Yield the narrow networks of 18 layers for grey images of 28x28 pixels."""
    fixed = {"depth": 18, "kernel": 3, "strides": (1, 2, 2, 1)}
    sizes = {"channels": 8, "num_classes": 10, "in_channels": 1}
    for name, streams in (
        ("dsnn18_small", "dsnn"),
        ("fsnn18_small", "fsnn"),
        ("sew_resnet18_small", "sew"),
    ):
        yield name, CatalogueEntry("resnet", streams, fixed, {"T": 4, **sizes}, image=(1, 28))
    yield "resnet18_small", CatalogueEntry("resnet", "ann", {"T": 1, **fixed}, sizes, None, (1, 28))


def _seven_b() -> Iterable[tuple[str, CatalogueEntry]]:
    narrow, wide = (32,) * 7, (64,) * 4 + (128,) * 3
    for streams in ("sew", "dsnn", "fsnn", "spiking", "plain"):
        image = 2, 128
        sizes, widths = _sizes(16, 11, 2), {"widths": narrow}
        yield f"{streams}_7b", CatalogueEntry("seven_b", streams, widths, sizes, "PLIF", image)
        if streams in ("sew", "dsnn", "fsnn"):
            sizes, widths = _sizes(16, 10, 2), {"widths": wide}
            yield (
                f"{streams}_wide7b",
                CatalogueEntry("seven_b", streams, widths, sizes, "PLIF", image),
            )


def _digits() -> Iterable[tuple[str, CatalogueEntry]]:
    sizes = {"blocks": 8, "channels": 16, **_sizes(4, 10, 1)}
    for streams in ("dsnn", "fsnn", "sew", "spiking"):
        yield f"{streams}_digits", CatalogueEntry("digits", streams, {}, sizes, image=(1, 8))


def _spikformers() -> Iterable[tuple[str, CatalogueEntry]]:
    sizes = {"depth": 4, "width": 384, "heads": 12, "patch": 4, **_sizes(4, 10, 3)}
    yield "spikformer_4_384", CatalogueEntry("spikformer", "spikformer", {}, sizes, "LIF", (3, 32))
    for width, heads in ((384, 8), (512, 8), (768, 12)):
        fixed = {"depth": 8, "width": width, "heads": heads, "patch": 16}
        yield (
            f"spikformer_8_{width}",
            CatalogueEntry("spikformer", "spikformer", fixed, _sizes(4, 1000, 3), "LIF"),
        )


_ENTRIES = dict((*_resnets(), *_small(), *_seven_b(), *_digits(), *_spikformers()))


def list_models() -> tuple[str, ...]:
    """Return the names that `create_model` knows.

    Examples:
        >>> [name for name in list_models() if name.startswith("preact")]
        ['preact_resnet18']
    """
    return tuple(_ENTRIES)


def entry_of(name: str) -> CatalogueEntry:
    """Return what a name stands for.

    Raises:
        SyopsTypeError: it is not text.
        SyopsLookupError: there is no such network.
    """
    if not isinstance(name, str):
        raise SyopsTypeError(f"name must be that of a bundled network, got {type(name).__name__}")
    if name not in _ENTRIES:
        raise unknown("model", name, _ENTRIES)
    return _ENTRIES[name]


def input_shape(name: str, in_channels: int | None = None) -> tuple[int, int, int]:
    """Return channels, height and width of what the paper feeds a network.

    Args:
        name: the name of a bundled network.
        in_channels: the number of channels, if the network was created with another one.

    Raises:
        SyopsLookupError: an unknown name.

    Examples:
        >>> input_shape("dsnn_7b")
        (2, 128, 128)
    """
    channels, size = entry_of(name).image
    return channels if in_channels is None else in_channels, size, size


def unknown(what: str, name: str, known: Iterable[str]) -> SyopsLookupError:
    """Return the error for a name that does not exist."""
    hint = did_you_mean(name, known)
    return SyopsLookupError(f"unknown {what}: {name!r}; {hint}known: {', '.join(known)}")
