"""Draw the layers of a report as horizontal bars, in the order in which they are executed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes

from syops.cost.figures import Figures
from syops.cost.layer import Layer, block_of
from syops.show.layers import blocks
from syops.show.plots.axes import (
    AC,
    EC_LABEL,
    EDGE,
    MAC,
    ON_AC,
    OPEN_LABEL,
    PLAIN,
    SMALL,
    intervals,
    short,
    unit_of,
)
from syops.show.sentences import constant_part
from syops.units import ENERGIES, joules

MOST_LAYERS = 25
"""More are drawn by block."""
MOST_BARS = 48

_THICK = 0.66
_ROOM = 1.18
"""Of the longest bar, for the value beside it."""


def bars_of(layers: Sequence[Layer]) -> Sequence[Layer]:
    """Return the layers; where there are many, their blocks, as small as there is room for."""
    if len(layers) <= MOST_LAYERS:
        return layers
    deepest = max(layer.path.count(".") for layer in layers) + 1
    for depth in range(deepest - 1, 0, -1):
        if len(found := blocks(layers, depth)) <= MOST_BARS:
            return found
    each = -(-len(layers) // MOST_BARS)
    runs = [layers[i : i + each] for i in range(0, len(layers), each)]
    return [_block_of_run(run) for run in runs]


def _block_of_run(run: Sequence[Layer]) -> Layer:
    """Return the block of some layers in a row; a single layer stays itself."""
    if len(run) == 1:
        return run[0]
    return block_of(f"{run[0].name} to {run[-1].name}", "", run)


def bars_height(bars: Sequence[Layer]) -> float:
    """Return the height in inches of a figure with so many bars."""
    return 1.25 + 0.185 * len(bars)


def energy_bars(report: Figures, bars: Sequence[Layer], ax: Axes, ec: bool, log: bool) -> None:
    """Draw MACs and, beside them, ACs as measured; a thin line is EC, unless ``ec`` is false.

    A logarithmic axis has no place for sums of lengths: there a dot is what is consumed.
    """
    unit = unit_of(bars)
    low, high, open_ones = intervals(bars, ENERGIES[unit])
    known = [_energy(layer, report.measured) for layer in bars]
    energy = [value / ENERGIES[unit] for value in known]
    _frame(ax, bars, len(report.layers))
    ax.set_xlabel(f"energy per sample ({unit})")
    shown = [*energy, *(high if ec else ())]
    if log:
        _logarithmic(ax, [value for value in (*shown, *low) if value])
        _dots(ax, bars, energy, low)
    else:
        if any(low):
            ax.barh(range(len(bars)), low, _THICK, color=MAC, label=constant_part(report))
        if report.measured:
            rest = [a - b for a, b in zip(energy, low, strict=True)]
            ax.barh(range(len(bars)), rest, _THICK, low, color=AC, label="AC, as measured")
        ax.set_xlim(0, _ROOM * max(shown, default=0) or 1)
    if ec:
        _whiskers(ax, low, high, open_ones)
    if report.measured or not ec:
        _values(ax, energy, map(joules, known))
    else:
        _values(ax, high, (_up_to(layer) for layer in bars))
    unpriced = [i for i, layer in enumerate(bars) if layer.unpriced]
    if not log:
        _crosses(ax, unpriced, "MACs without a price")


def rate_bars(report: Figures, bars: Sequence[Layer], ax: Axes) -> None:
    """Draw the firing rate of each layer's input, and mark layers that no spike drives."""
    _frame(ax, bars, len(report.layers))
    driven = [(i, layer.rate) for i, layer in enumerate(bars) if layer.rate is not None]
    if driven:
        places, rates = zip(*driven, strict=True)
        ax.barh(places, rates, _THICK, color=AC, label="spikes")
        for i, rate in driven:
            _value(ax, rate, i, f"{rate:.3f}")
    _crosses(ax, [i for i, layer in enumerate(bars) if layer.rate is None], "no spikes: MAC")
    if report.mean_rate is not None:
        told = f"mean of spike-driven synapses {report.mean_rate:.3f}"
        ax.axvline(report.mean_rate, color="black", lw=0.9, ls="--", label=told)
    ax.set_xlabel("firing rate of the input (spikes per neuron and time-step)")
    ax.set_xlim(0, _ROOM * max((rate for _, rate in driven), default=0) or 1)


def _energy(layer: Layer, measured: bool) -> float:
    """Return what a layer consumes: as measured, or the part that does not depend on rates."""
    return layer.ec_mj[0] if not measured or layer.dc_mj is None else layer.dc_mj


def _frame(ax: Axes, bars: Sequence[Layer], layers: int) -> None:
    """Make the axis of the names, the first layer on top."""
    ax.set_yticks(range(len(bars)), [short(layer.name) for layer in bars], **PLAIN)
    ax.set_ylim(len(bars) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", lw=0.4, color="black", alpha=0.15)


def _whiskers(
    ax: Axes, low: Sequence[float], high: Sequence[float], open_ones: Sequence[int]
) -> None:
    spans = [(i, a, b) for i, (a, b) in enumerate(zip(low, high, strict=True)) if b > a]
    if spans:
        places, starts, ends = zip(*spans, strict=True)
        ax.hlines(places, starts, ends, color=EDGE, lw=0.9, zorder=0.9, label=EC_LABEL)
        closed = [(b, i) for i, _, b in spans if i not in open_ones]
        if closed:
            ax.plot(*zip(*closed, strict=True), "|", color=EDGE, ms=5, zorder=0.9)
    if open_ones:
        arrows = [high[i] for i in open_ones]
        ax.plot(arrows, open_ones, ">", color=EDGE, ms=5, clip_on=False, zorder=3, label=OPEN_LABEL)


def _dots(ax: Axes, bars: Sequence[Layer], energy: Sequence[float], low: Sequence[float]) -> None:
    for color, label, mostly in (
        (MAC, "mostly MACs", lambda e, m: m >= e / 2),
        (AC, "mostly ACs", lambda e, m: m < e / 2),
    ):
        found = [
            (e, i)
            for i, (e, m) in enumerate(zip(energy, low, strict=True))
            if e > 0 and mostly(e, m)
        ]
        if found:
            ax.plot(*zip(*found, strict=True), "o", color=color, ms=5, zorder=3, label=label)


def _logarithmic(ax: Axes, values: Sequence[float]) -> None:
    ax.set_xscale("log")
    if values:
        decades = math.log10(max(values) / min(values)) + 1
        ax.set_xlim(min(values) / 1.5, max(values) * 10 ** (0.14 * decades))
    ax.xaxis.set_major_formatter("{x:g}")


def _up_to(layer: Layer) -> str:
    """Return what a layer can consume at most."""
    low, high = layer.ec_mj
    return joules(low) if low == high else f"up to {joules(high)}"


def _values(ax: Axes, ends: Sequence[float], texts: Iterable[str]) -> None:
    for i, (end, text) in enumerate(zip(ends, texts, strict=True)):
        _value(ax, end, i, text)


def _value(ax: Axes, end: float, place: int, text: str) -> None:
    """Write a value beside the end of its bar."""
    at = max(end, ax.get_xlim()[0])
    ax.annotate(
        text, (at, place), (4, 0), textcoords="offset points",
        va="center", fontsize=SMALL, annotation_clip=False, zorder=4,
        bbox={"facecolor": ON_AC, "edgecolor": "none", "pad": 0.8}, **PLAIN,
    )  # fmt: skip


def _crosses(ax: Axes, places: Sequence[int], label: str) -> None:
    """Mark layers that have no bar for a reason."""
    if places:
        ax.plot(
            [0] * len(places), places, "x", color=MAC, ms=4, clip_on=False, zorder=3, label=label
        )
