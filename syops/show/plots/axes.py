"""Draw what all plots share: axes, labels, and intervals that may have no upper end.

pyplot and the user's rcParams stay as they are. Blue and vermilion are from the palette of Okabe
and Ito, which colour-blind readers can tell apart. In grey print, blue is the darker one.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from syops.cost.figures import Figures
from syops.cost.layer import Layer
from syops.cost.networks import ComparisonRow
from syops.errors import SyopsTypeError
from syops.show.formats.cells import printable
from syops.show.formats.text import abbreviated
from syops.units import ENERGIES, common_unit, largest_end

AC = "#0072B2"
MAC = "#E69F00"
ON_AC = "#FFFFFF"
ON_MAC = "#141414"
"""What is written on these colours. White is the background on a page, dark as that may be."""
BAND = "#DADADA"
EDGE = "#9A9A9A"
EC_LABEL = "EC, firing rates 0 to 1"
OPEN_LABEL = "EC without an upper end"
BEYOND = 1.25
"""How far beyond all that is known an interval without an upper end is drawn."""

WIDTH = 7.2
"""Of a figure in inches: that of a page's text, so that fonts keep their size in print."""

PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}
"""Names are not formulas."""

HEIGHT = 2.9
TEXT = 9
SMALL = 7.5
NAME_WIDTH = 28


class Picture(Figure):
    """A figure that a notebook shows, also where pyplot is not used."""

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.savefig(out, format="png", dpi=120)
        return out.getvalue()


def new_axes(height: float) -> Axes:
    return Picture(figsize=(WIDTH, height), layout="constrained").add_subplot()


def check_axes(ax: object) -> None:
    if not isinstance(ax, Axes):
        raise SyopsTypeError(f"ax must be matplotlib Axes, got {type(ax).__name__}")


def finish(ax: Axes, title: str) -> None:
    """Finish a plot with what all plots share."""
    ax.set_title(title, loc="left", fontsize=TEXT, pad=18, **PLAIN)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=SMALL)
    ax.xaxis.label.set_fontsize(TEXT)
    ax.yaxis.label.set_fontsize(TEXT)
    ax.set_axisbelow(True)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=5, frameon=False, fontsize=SMALL,
            borderpad=0, borderaxespad=0.4, handlelength=1.4, columnspacing=1.2,
        )  # fmt: skip


def label_right(ax: Axes, labels: Iterable[tuple[float, float, str]]) -> None:
    """Write texts to the right of the axes, each with a line to its (x, y).

    They are at the height of y, or where there is room. Lines run level up to the edge of the axes
    and only then to their text, so that no two of them cross.
    """
    figure = figure_of(ax)
    figure.draw_without_rendering()  # the layout of the axes
    transform = ax.transScale + ax.transLimits
    placed: list[tuple[float, float, str]] = []
    for x, y, text in labels:
        across, up = transform.transform((x, y))
        placed.append((float(across), float(up), text))
    placed.sort(key=lambda each: each[1])
    gap = 1.25 * SMALL / (72 * ax.get_window_extent().height / figure.dpi)
    places = spread([y for _, y, _ in placed], gap)
    lines = []
    for place, (x, y, text) in zip(places, placed, strict=True):
        lines.append([(x, y), (1, y), (1.03, place)])
        ax.text(
            1.035, place, text, transform=ax.transAxes, fontsize=SMALL, va="center", **PLAIN
        )  # fmt: skip
    leaders = LineCollection(lines, colors=EDGE, linewidths=0.5, transform=ax.transAxes, zorder=0)
    leaders.set_clip_on(False)
    ax.add_collection(leaders, autolim=False)


def figure_of(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None  # only a removed Axes has none
    return figure


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Move ascending places apart to at least ``gap``, with the least squared movement.

    That is isotonic regression of ``places[i] - i · gap``, by pooling adjacent violators.
    """
    pools: list[tuple[float, int]] = []  # mean and size
    for i, place in enumerate(places):
        mean, size = place - i * gap, 1
        while pools and pools[-1][0] > mean:
            other, count = pools.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        pools.append((mean, size))
    means = [mean for mean, size in pools for _ in range(size)]
    return [mean + i * gap for i, mean in enumerate(means)]


def short(name: str) -> str:
    return abbreviated(printable(name), NAME_WIDTH)


def unit_of(them: Iterable[Layer | ComparisonRow | Figures]) -> str:
    """Return the unit in which the largest energy is shown."""
    return common_unit(largest_end(*(end for it in them for end in it.ec_mj)), ENERGIES)


def intervals(
    them: Iterable[Layer | ComparisonRow], size: float
) -> tuple[list[float], list[float], list[int]]:
    """Return the ends of EC in units of ``size`` mJ, and the places of those without an upper one.

    They are drawn beyond all that is known.
    """
    low, high = zip(*(it.ec_mj for it in them), strict=True)
    beyond = open_end(largest_end(*low, *high))
    open_ones = [i for i, end in enumerate(high) if math.isinf(end)]
    return [end / size for end in low], [min(end, beyond) / size for end in high], open_ones


def open_end(known: float) -> float:
    """Return where an interval without an upper end is drawn to, beyond all that is known."""
    return BEYOND * known or ENERGIES["pJ"]
