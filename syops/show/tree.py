"""Give the layers of a report as a tree of modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from syops.cost.layer import Layer
from syops.show.layers import blocks


@dataclass(frozen=True)
class ModuleNode:
    """Hold one layer, or a module with several.

    Attributes:
        label: what its name adds to that of the module above.
        layer: the layer, or the sum of all layers below, as `syops.show.layers.blocks` adds them.
        children: empty for a layer.
    """

    label: str
    layer: Layer
    children: tuple[ModuleNode, ...] = ()

    def walk(self, level: int = 1) -> Iterator[tuple[int, ModuleNode]]:
        """Yield the node and all below, each before its children, with their levels."""
        yield level, self
        for child in self.children:
            yield from child.walk(level + 1)


def layer_tree(layers: Iterable[Layer]) -> tuple[ModuleNode, ...]:
    """Return the modules of ``layers`` by path, in the order in which they are first met.

    A module that holds nothing but one other is joined with it: ``attention.q``. All layers are
    inside the totals, or all are outside.
    """
    return _grown([(_parts(layer), layer) for layer in layers], 0)


_Member = tuple[Sequence[str], "Layer"]


def _parts(layer: Layer) -> list[str]:
    """Return the components of the path; then the operator after a dot, where the name tells it."""
    path = layer.path.split(".") if layer.path else []
    at = layer.name.rfind(f":{layer.operator}")
    return [*path, f".{layer.name[at + 1 :]}"] if at >= len(layer.path) else path


def _grown(members: Sequence[_Member], depth: int) -> tuple[ModuleNode, ...]:
    groups: dict[str, list[_Member]] = {}
    for member in members:
        parts, layer = member
        # The one operator of a module that holds others has no component of its own.
        groups.setdefault((*parts, f".{layer.operator}")[depth], []).append(member)
    return tuple(_node(group, depth) for group in groups.values())


def _node(members: Sequence[_Member], depth: int) -> ModuleNode:
    parts, layer = members[0]
    if len(members) == 1:
        own = layer.operator if layer.path else layer.name
        return ModuleNode(_label(parts[depth:]) or own, layer)
    end = depth + 1
    while len({tuple(parts[: end + 1]) for parts, _ in members}) == 1:
        end += 1
    (total,) = blocks([layer for _, layer in members], end)
    return ModuleNode(_label(parts[depth:end]), total, _grown(members, end))


def _label(parts: Sequence[str]) -> str:
    return ".".join(parts).replace("..", ":").removeprefix(".")
