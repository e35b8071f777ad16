"""Keep how many values and weights are zero, and what is left of the work: plain integers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

ZeroKind: TypeAlias = Literal["layer", "activation"]
"""A module that applies weights; or one whose output is an activation, a neuron among them."""


@dataclass(frozen=True, slots=True)
class Zeros:
    """Hold the zeros that were met at one module, over all samples.

    Attributes:
        path: the module's.
        name: of its class.
        kind: "layer" or "activation".
        calls: how often it was called.
        values: elements of the inputs of a layer, of the outputs of an activation.
        nonzero: those that are not zero.
        dense: pairs of an input and a weight that a layer multiplies; none with padding.
        effective: those in which neither is zero.
        spiking: the part of ``effective`` in calls all of whose inputs are -1, 0 or 1.
        updates: of membrane potentials, by a neuron that tells them.
        timed: calls in which updates were told.
        weights, zero_weights: elements of the weights of a layer, once.
    """

    path: str
    name: str
    kind: ZeroKind
    calls: int = 0
    values: int = 0
    nonzero: int = 0
    dense: int = 0
    effective: int = 0
    spiking: int = 0
    updates: int = 0
    timed: int = 0
    weights: int = 0
    zero_weights: int = 0

    def __add__(self, other: Zeros) -> Zeros:
        """Return the same module on more data."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in _SUMMED}
        return Zeros(
            self.path,
            self.name,
            self.kind,
            **sums,
            weights=max(self.weights, other.weights),
            zero_weights=max(self.zero_weights, other.zero_weights),
        )


_STATIC = ("path", "name", "kind", "weights", "zero_weights")
_SUMMED = tuple(each.name for each in fields(Zeros) if each.name not in _STATIC)


@dataclass(frozen=True, slots=True)
class ZeroCounts:
    """Hold what was measured of zeros in a network.

    Attributes:
        footprint: bytes of its parameters and buffers, without the states of neurons.
        samples: that passed through it.
        modules: one for each module that was watched, in the order of the network.
    """

    footprint: int
    samples: int
    modules: tuple[Zeros, ...]

    def __add__(self, other: ZeroCounts) -> ZeroCounts:
        """Return the same network on more data."""
        footprint = max(self.footprint, other.footprint)
        modules = added([*self.modules, *other.modules])
        return ZeroCounts(footprint, self.samples + other.samples, modules)


def added(parts: Iterable[Zeros]) -> tuple[Zeros, ...]:
    """Return one entry for each module and kind, in the order in which they are first met."""
    sums: dict[tuple[str, str], Zeros] = {}
    for part in parts:
        key = part.path, part.kind
        sums[key] = sums[key] + part if key in sums else part
    return tuple(sums.values())
