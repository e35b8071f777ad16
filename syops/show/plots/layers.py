"""Draw the layers of one report, in the order in which they are executed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Literal, TypeAlias, get_args

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from syops.choices import choice
from syops.cost.figures import Figures
from syops.cost.layer import Layer
from syops.cost.neurons import NeuronFigures
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
    open_end,
    short,
    spread,
    unit_of,
)
from syops.show.plots.bars import bars_height, bars_of, energy_bars, rate_bars
from syops.show.plots.modules import MODULES_HEIGHT, module_blocks
from syops.show.plots.neurons import draw_neurons
from syops.show.plots.steps import draw_steps, has_rates_over_time
from syops.show.sentences import constant_part
from syops.units import ENERGIES, joules, largest_end

Plot: TypeAlias = Literal[
    "energy",
    "rates",
    "rates_over_time",
    "cumulative",
    "modules",
    "neuron_rates",
    "neuron_rates_over_time",
]
"""What can be drawn of a report."""

Scale: TypeAlias = Literal["linear", "log"]

MAX_LABELS = 48
"""So many labels fit side by side."""


def plot_report(
    report: Figures,
    kind: Plot = "energy",
    ax: Axes | None = None,
    ec: bool = True,
    scale: Scale = "linear",
) -> Figure:
    """Draw the layers inside the totals in the order in which they are executed.

    Args:
        report: measured or bounds.
        kind: "energy": of each layer, in joules per sample: its MACs, then its ACs as measured,
            and as a thin line the interval EC for firing rates from 0 to 1. "rates": the firing
            rate of each layer's input, in spikes per neuron and time-step. More than 25 layers are
            drawn by block in both. "rates_over_time": the rates at each time-step. "cumulative":
            the energy up to each layer. "modules": modules, as high as their share of the energy,
            with those inside beside them. "neuron_rates": how the rates of the neurons of each
            module are distributed; "neuron_rates_over_time": those of modules at each time-step.
        ax: where to draw; by default in a new figure as wide as a page.
        ec: whether "energy" shows EC, which may be much longer than what was measured.
        scale: of the energies of "energy": "linear", or "log", with a dot for each layer.

    Returns:
        The figure, to show or to save.

    Raises:
        SyopsLookupError: an unknown kind.
        SyopsTypeError: ``ax`` is not a matplotlib Axes.
        SyopsValueError: firing rates of a report without data, a report without layers, or an
            unknown scale.
    """
    if not isinstance(kind, str) or kind not in _TITLES:
        raise SyopsLookupError(f"kind: no such plot: {kind!r}; known: {', '.join(_TITLES)}")
    log = choice("scale", scale, get_args(Scale)) == "log"
    if kind in ("neuron_rates", "neuron_rates_over_time"):
        return _neurons(report, kind, ax)
    layers = [layer for layer in report.layers if layer.counted and layer.folded is None]
    if not layers:
        raise SyopsValueError(f"{report.model}: nothing to plot, as no layer is inside the totals")
    if kind in ("rates", "rates_over_time") and not report.measured:
        raise SyopsValueError(
            f"{report.model}: firing rates are not known without data; get_model_syops measures "
            "them"
        )
    if kind == "rates_over_time" and not has_rates_over_time(report):
        raise SyopsValueError(
            f"{report.model}: it is not known of any layer which entries of its input belong to "
            "which time-step; give time_steps=, and batch_dim=1 for inputs of [T, N, ...]"
        )
    bars, depth = bars_of(layers), _Depth.of(layers)
    if ax is None:
        longest = max(len(label) for _, label in depth.labels)
        along = HEIGHT + 0.055 * longest
        heights = {"cumulative": along, "rates_over_time": along, "modules": MODULES_HEIGHT}
        ax = new_axes(heights.get(kind, bars_height(bars)))
    check_axes(ax)
    if kind == "cumulative":
        depth.draw(ax)
        _cumulative(report, layers, ax)
    elif kind == "rates_over_time":
        depth.draw(ax)
        draw_steps(layers, ax, "the input", "no spikes: MAC")
    elif kind == "modules":
        module_blocks(layers, report.measured, ax)
    elif kind == "rates":
        rate_bars(report, bars, ax)
    else:
        energy_bars(report, bars, ax, ec, log)
    what = _TITLES[kind].format(short(report.energy.name))
    if len(bars) < len(layers) and kind in ("energy", "rates"):
        what = f"{what}, {len(layers)} layers by block"
    finish(ax, f"{short(report.model)}: {what}" + ("" if report.measured else ", without data"))
    if kind == "cumulative":
        label_right(ax, _totals(report, len(layers) - 0.5))
    return figure_of(ax)


def _neurons(report: Figures, kind: Plot, ax: Axes | None) -> Figure:
    """Draw the rates of neurons."""
    figures, over_time = NeuronFigures.of(report), kind == "neuron_rates_over_time"
    rows = figures.rows
    what = "rates at each time-step" if over_time else "rates"
    if not any((row.rates if over_time else row.rate) is not None for row in rows):
        raise SyopsValueError(f"{report.model}: {what} of neurons are not known of any module")
    ax = new_axes(HEIGHT + 0.055 * max(len(row.name) for row in rows)) if ax is None else ax
    check_axes(ax)
    if over_time:
        draw_steps(rows, ax, "neurons", "no firing rate")
    else:
        draw_neurons(figures, ax)
    every = range(0, len(rows), -(-len(rows) // MAX_LABELS))
    ax.set_xticks(every, [short(rows[x].name) for x in every], rotation=90, **PLAIN)
    ax.set_xlim(-0.5, len(rows) - 0.5)
    ax.set_xlabel(f"neurons of ({len(rows)})")
    finish(ax, f"{short(report.model)}: {_TITLES[kind]}")
    return figure_of(ax)


def _cumulative(report: Figures, layers: Sequence[Layer], ax: Axes) -> None:
    edges = [x - 0.5 for x in range(len(layers) + 1)]
    unit = unit_of([report])
    low, high, open_ones = intervals(layers, ENERGIES[unit])
    low, high = _sums(low), _sums(high)
    top = _top(report) / ENERGIES[unit]
    for i in range(min(open_ones, default=len(layers)), len(layers)):
        high[i] = top
    if high != low:
        ax.stairs(high, edges, baseline=low, fill=True, color=BAND, label=EC_LABEL)
    _arrows(ax, open_ones, [top] * len(open_ones))
    if low[-1]:
        ax.stairs(low, edges, fill=True, color=MAC, label=constant_part(report))
    if report.measured:
        energy = _sums(_energies_of(layers, unit))
        ax.stairs(energy, edges, baseline=low, fill=True, color=AC, label="AC, as measured")
    _energy_axis(ax, unit)


def _totals(report: Figures, x: float) -> list[tuple[float, float, str]]:
    low, high = report.ec_mj
    size = ENERGIES[unit_of([report])]
    named = [("EC max", high), ("EC min", low)] if high > low else []
    if report.dc_mj is not None:
        named.append(("DC", report.dc_mj))
    top = _top(report)
    return [(x, min(value, top) / size, f"{name} {joules(value)}") for name, value in named]


def _top(report: Figures) -> float:
    """Return where the energy of a report ends that has no upper end."""
    finite = (end for layer in report.layers if layer.counted for end in layer.ec_mj[1:])
    return open_end(
        largest_end(*report.ec_mj, report.dc_mj or 0, sum(filter(math.isfinite, finite)))
    )


_TITLES: dict[Plot, str] = {
    "energy": "energy by layer ({})",
    "rates": "firing rates by layer",
    "rates_over_time": "firing rates by layer and time-step",
    "cumulative": "energy up to each layer ({})",
    "modules": "energy by module ({})",
    "neuron_rates": "firing rates of neurons",
    "neuron_rates_over_time": "firing rates of neurons by time-step",
}


def _energies_of(layers: Iterable[Layer], unit: str) -> list[float]:
    """Return what layers consume; those without a price the part that EC has of them."""
    energies = (layer.ec_mj[0] if layer.dc_mj is None else layer.dc_mj for layer in layers)
    return [energy / ENERGIES[unit] for energy in energies]


def _energy_axis(ax: Axes, unit: str) -> None:
    ax.set_ylabel(f"energy per sample ({unit})")
    ax.set_ylim(0, 1.04 * ax.dataLim.y1 or 1)


def _arrows(ax: Axes, places: Sequence[int], ends: Sequence[float]) -> None:
    """Mark intervals without an upper end."""
    if places:
        ax.plot(places, ends, "^", color=EDGE, ms=5, clip_on=False, zorder=3, label=OPEN_LABEL)


def _sums(values: Iterable[float]) -> list[float]:
    return list(accumulate(values))


@dataclass(frozen=True)
class _Depth:
    """The axis along the layers: labels where they have room, lines between top-level modules.

    ``labels`` are positions with names: of every layer, of blocks, or of some blocks.
    """

    size: int
    labels: tuple[tuple[float, str], ...]
    borders: tuple[float, ...]

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> _Depth:
        labels = _labels(layers)
        places = spread([x for x, _ in labels], len(layers) / MAX_LABELS)
        borders = [first - 0.5 for _, first, _ in _runs(layers, 1)[1:]]
        return cls(
            len(layers),
            tuple((x, short(name)) for x, (_, name) in zip(places, labels, strict=True)),
            tuple(borders) if len(borders) < MAX_LABELS else (),
        )

    def draw(self, ax: Axes) -> None:
        for x in self.borders:
            ax.axvline(x, color="black", alpha=0.3, lw=0.5, ls=":", zorder=0)
        ax.set_xlim(-0.7, self.size - 0.3)
        ax.set_xticks(
            [x for x, _ in self.labels], [name for _, name in self.labels], rotation=90, **PLAIN
        )
        ax.set_xlabel(f"layer, in order of execution ({self.size})")
        ax.grid(axis="y", lw=0.4, color="black", alpha=0.15)


def _labels(layers: Sequence[Layer]) -> list[tuple[float, str]]:
    """Return places and names of every layer, of blocks, or of some, as there is room for."""
    found = [(float(x), layer.name) for x, layer in enumerate(layers)]
    deepest = max(layer.path.count(".") for layer in layers) + 1
    for level in range(deepest, 0, -1):
        if len(found) <= MAX_LABELS:
            break
        blocks = [((first + last) / 2, name) for name, first, last in _runs(layers, level)]
        if len(blocks) < MAX_LABELS / 4:  # they would tell too little
            break
        found = blocks
    return found[:: -(-len(found) // MAX_LABELS)]


def _runs(layers: Sequence[Layer], level: int) -> list[tuple[str, int, int]]:
    """Return neighbours that share ``level`` components of their path: name, first, last."""

    def prefix(x: int) -> str:
        layer = layers[x]
        return ".".join(layer.path.split(".")[:level]) or layer.name

    groups = ((name, list(run)) for name, run in groupby(range(len(layers)), prefix))
    return [(name, run[0], run[-1]) for name, run in groups]
