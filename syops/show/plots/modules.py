"""Draw the energy of a report by module: each module's bar holds those of the modules inside."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from syops.cost.layer import Layer
from syops.show.formats.cells import printable
from syops.show.formats.text import abbreviated
from syops.show.plots.axes import AC, BAND, MAC, ON_AC, ON_MAC, PLAIN, SMALL, figure_of
from syops.show.tree import ModuleNode, layer_tree
from syops.units import joules

MODULES_HEIGHT = 4.6
"""Of a figure in inches."""
_LETTER = 0.6
"""How wide one is, in its height."""
_LEAST = 5
"""Letters of a name below which it is left out."""


def module_blocks(layers: Sequence[Layer], measured: bool, ax: Axes) -> None:
    """Draw modules from the left to the right, as high as their share of the energy.

    A layer is blue where most of its energy is ACs, and yellow where it is MACs; what is too small
    for its name has none.
    """
    nodes = layer_tree(layers)
    depth = max(level for node in nodes for level, _ in node.walk())
    total = sum(_energy(layer, measured) for layer in layers)
    for name, color in (("mostly MACs", MAC), ("mostly ACs", AC)):
        ax.bar([0], [0], color=color, label=name)
    _place(ax, nodes, measured, total or 1, 0, 0.0, depth)
    ax.set_xlim(0, depth)
    ax.set_ylim(1, 0)
    ax.set_xticks([])
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    ax.set_ylabel("share of the energy")


def _energy(layer: Layer, measured: bool) -> float:
    low, high = layer.ec_mj
    if measured:
        return low if layer.dc_mj is None else layer.dc_mj
    return high if math.isfinite(high) else low


def _place(
    ax: Axes,
    nodes: Sequence[ModuleNode],
    measured: bool,
    total: float,
    level: int,
    start: float,
    depth: int,
) -> None:
    for node in nodes:
        energy = _energy(node.layer, measured)
        share = energy / total
        if share > 0:
            _draw(ax, node, energy, share, level, start, depth)
        _place(ax, node.children, measured, total, level + 1, start, depth)
        start += share


def _draw(
    ax: Axes, node: ModuleNode, energy: float, share: float, level: int, start: float, depth: int
) -> None:
    mostly = MAC if node.layer.ec_mj[0] >= energy / 2 else AC
    color = BAND if node.children else mostly
    ax.add_patch(Rectangle((level, start), 1, share, fc=color, ec=ON_AC, lw=0.6))
    width, height = (72 * size for size in figure_of(ax).get_size_inches())
    letters = int(0.8 * width / depth / (_LETTER * SMALL))
    value = f"  {joules(energy)}"
    if share * 0.8 * height < 1.15 * SMALL or letters - len(value) < _LEAST:
        return
    name = abbreviated(printable(node.label), letters - len(value))
    ax.text(
        level + 0.03, start + share / 2, name + value, va="center", fontsize=SMALL,
        color={AC: ON_AC, MAC: ON_MAC}.get(color, "black"), clip_on=True, **PLAIN,
    )  # fmt: skip
