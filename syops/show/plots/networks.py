"""Draw the energy of networks side by side, alone or against their accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from syops.cost.networks import ComparisonRow
from syops.errors import SyopsLookupError, SyopsValueError
from syops.show.plots.axes import (
    AC,
    BAND,
    EC_LABEL,
    EDGE,
    HEIGHT,
    MAC,
    OPEN_LABEL,
    PLAIN,
    check_axes,
    figure_of,
    finish,
    intervals,
    label_right,
    new_axes,
    short,
    unit_of,
)
from syops.units import ENERGIES

ComparisonPlot: TypeAlias = Literal["accuracy", "energy"]
"""What can be drawn of several networks."""

_FAR = 30


def plot_comparison(
    networks: Sequence[ComparisonRow], kind: ComparisonPlot | None = None, ax: Axes | None = None
) -> Figure:
    """Draw what networks consume: the interval EC, and DC where it is known.

    Args:
        networks: one or more.
        kind: "accuracy": against the energy per sample; networks of which it is not known are
            named below. "energy": one line a network, in the order given. By default the first
            where any accuracy is known, else the second.
        ax: where to draw; by default in a new figure as wide as a page.

    Returns:
        The figure, to show or to save.

    Raises:
        SyopsLookupError: an unknown kind.
        SyopsTypeError: ``ax`` is not a matplotlib Axes.
        SyopsValueError: "accuracy" where none is known.
    """
    known = [network for network in networks if network.accuracy is not None]
    kind = kind or ("accuracy" if known else "energy")
    if kind not in ("accuracy", "energy"):
        raise SyopsLookupError(f"kind: no such plot: {kind!r}; known: accuracy, energy")
    if kind == "accuracy" and not known:
        raise SyopsValueError(
            "the accuracy of none of the networks is known; tell it with "
            "dataclasses.replace(report, accuracy=0.71)"
        )
    shown = known if kind == "accuracy" else list(networks)
    if ax is None:
        ax = new_axes(max(HEIGHT, 1.2 + 0.2 * len(shown)))
    check_axes(ax)
    (_accuracy if kind == "accuracy" else _energy_lines)(ax, shown)
    without = ", ".join(short(n.name) for n in networks if n not in shown)
    if without:
        ax.set_xlabel(f"{ax.get_xlabel()}\naccuracy not known: {without}", **PLAIN)
    return figure_of(ax)


def _accuracy(ax: Axes, networks: Sequence[ComparisonRow]) -> None:
    places = [100 * (network.accuracy or 0) for network in networks]
    size = _consumption(ax, networks, places)
    ax.set_ylabel("accuracy (%)")
    ax.margins(y=0.1)
    finish(ax, "accuracy against energy")
    names = [short(network.name) for network in networks]
    _, ends, _ = intervals(networks, size)
    label_right(ax, zip(ends, places, names, strict=True))


def _energy_lines(ax: Axes, networks: Sequence[ComparisonRow]) -> None:
    places = [-float(i) for i in range(len(networks))]
    _consumption(ax, networks, places)
    ax.set_yticks(places, [short(network.name) for network in networks], **PLAIN)
    ax.set_ylim(0.4 - len(networks), 0.6)
    finish(ax, "energy of each network")


_MARKERS = {"FSNN": ("o", AC), "MPSNN": ("s", MAC), "ANN": ("D", "black")}
"""By `Report.network_type`."""


def _consumption(ax: Axes, networks: Sequence[ComparisonRow], places: Sequence[float]) -> float:
    """Draw intervals and points at the heights ``places``; return the mJ in a unit of the axis."""
    unit = unit_of(networks)
    size = ENERGIES[unit]
    lows, highs, open_ones = intervals(networks, size)
    ax.set_xlabel(f"energy per sample ({unit})")
    _logarithmic(ax, [value for value in (*lows, *highs) if value])
    label = EC_LABEL
    for y, low, high in zip(places, lows, highs, strict=True):
        if high > low:
            ends = [low, high]
            ax.plot(ends, [y, y], color=BAND, lw=6, solid_capstyle="butt", zorder=1, label=label)
            label = ""
    if open_ones:
        arrows = [highs[i] for i in open_ones], [places[i] for i in open_ones]
        ax.plot(*arrows, ">", color=EDGE, ms=6, clip_on=False, zorder=2, label=OPEN_LABEL)
    points: dict[str, list[tuple[float, float]]] = {name: [] for name in _MARKERS}
    for y, network in zip(places, networks, strict=True):
        if network.dc_mj is not None:
            points[network.network_type].append((network.dc_mj / size, y))
    for name, (marker, color) in _MARKERS.items():
        if points[name]:
            x, y_ = zip(*points[name], strict=True)
            ax.plot(x, y_, marker, color=color, markersize=5.5, label=f"DC, {name}", zorder=3)
    ax.grid(axis="x", lw=0.4, color="black", alpha=0.15)
    return size


def _logarithmic(ax: Axes, values: Sequence[float]) -> None:
    """Make the energy axis so where values lie far apart; an interval from 0 begins at its edge."""
    if values and max(values) > _FAR * min(values):
        ax.set_xscale("log")
        ax.set_xlim(min(values) / 1.5, max(values) * 1.5)
        close = max(values) < 100 * min(values)
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if close else (1,)))
        ax.xaxis.set_major_formatter("{x:g}")
    else:
        ax.set_xlim(0, 1.04 * max(values, default=0) or 1)
