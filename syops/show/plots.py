"""Draw plots of a network's figures, without a change to pyplot or the user's rcParams.

Blue and vermilion are from the palette of Okabe and Ito, which colour-blind readers can tell apart.
In grey print, blue is the darker one.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any, Literal, TypeAlias

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from syops.cost.figures import Figures
from syops.cost.layer import Layer
from syops.cost.networks import ComparisonRow
from syops.errors import SyopsLookupError, SyopsTypeError, SyopsValueError
from syops.show.formats import folded, printable
from syops.show.layers import constant_part
from syops.units import ENERGIES, common_unit, joules, largest_end

Plot: TypeAlias = Literal["energy", "rates", "cumulative"]
"""What can be drawn of a report."""

ComparisonPlot: TypeAlias = Literal["accuracy", "energy"]
"""What can be drawn of several networks."""

AC = "#0072B2"
MAC = "#E69F00"
BAND = "#DADADA"
EDGE = "#9A9A9A"
EC_LABEL = "EC, firing rates 0 to 1"
OPEN_LABEL = "EC without an upper end"

_BEYOND = 1.25
"""How far beyond all that is known an interval without an upper end is drawn."""

WIDTH = 7.2
"""Of a figure in inches: that of a page's text, so that fonts keep their size in print."""

MAX_LABELS = 48
"""So many labels fit side by side."""

_PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}
"""Names are no formulas."""

_FAR = 30
_HEIGHT = 2.9
_TEXT = 9
_SMALL = 7.5
_NAME_WIDTH = 28


class Picture(Figure):
    """A figure that a notebook shows, also where pyplot is not used."""

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.savefig(out, format="png", dpi=120)
        return out.getvalue()


def plot_report(report: Figures, kind: Plot = "energy", ax: Axes | None = None) -> Figure:
    """Draw the layers inside the totals in the order in which they are executed.

    Args:
        report: measured or bounds.
        kind: "energy": of each layer, in joules per sample: its MACs, upon them its ACs, and
            behind both the interval EC for firing rates from 0 to 1; of a bounds report, MACs and
            EC. "rates": the firing rate of each layer's input, in spikes per neuron and time-step.
            "cumulative": the energy up to each layer.
        ax: where to draw; by default in a new figure as wide as a page.

    Returns:
        The figure, to show or to save.

    Raises:
        SyopsLookupError: an unknown kind.
        SyopsTypeError: ``ax`` is no matplotlib Axes.
        SyopsValueError: firing rates of a report without data, or a report without layers.
    """
    if kind not in _KINDS:
        raise SyopsLookupError(f"kind: no such plot: {kind!r}; known: {', '.join(_KINDS)}")
    layers = [layer for layer in report.layers if layer.counted and layer.folded is None]
    if not layers:
        raise SyopsValueError(f"{report.model}: nothing to plot, as no layer is inside the totals")
    if kind == "rates" and not report.measured:
        raise SyopsValueError(
            f"{report.model}: firing rates are not known without data; get_model_syops measures "
            "them"
        )
    depth = _Depth.of(layers)
    if ax is None:
        longest = max(len(label) for _, label in depth.labels)
        ax = new_axes(_HEIGHT + 0.055 * longest)
    check_axes(ax)
    depth.draw(ax)
    what = _KINDS[kind](report, layers, ax)
    finish(ax, f"{short(report.model)}: {what}" + ("" if report.measured else ", without data"))
    if kind == "cumulative":
        label_right(ax, _totals(report, len(layers) - 0.5))
    return figure_of(ax)


def new_axes(height: float) -> Axes:
    return Picture(figsize=(WIDTH, height), layout="constrained").add_subplot()


def check_axes(ax: object) -> None:
    if not isinstance(ax, Axes):
        raise SyopsTypeError(f"ax must be matplotlib Axes, got {type(ax).__name__}")


def finish(ax: Axes, title: str) -> None:
    """What all pictures share."""
    ax.set_title(title, loc="left", fontsize=_TEXT, pad=18, **_PLAIN)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=_SMALL)
    ax.xaxis.label.set_fontsize(_TEXT)
    ax.yaxis.label.set_fontsize(_TEXT)
    ax.set_axisbelow(True)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=5, frameon=False, fontsize=_SMALL,
            borderpad=0, borderaxespad=0.4, handlelength=1.4, columnspacing=1.2,
        )  # fmt: skip


def label_right(ax: Axes, labels: Iterable[tuple[float, float, str]]) -> None:
    """Write texts to the right of the axes, each with a line to its (x, y).

    They are at the height of y, or where there is room.
    """
    figure = figure_of(ax)
    figure.draw_without_rendering()  # the layout of the axes
    transform = ax.transScale + ax.transLimits
    placed = sorted((float(transform.transform((x, y))[1]), x, y, text) for x, y, text in labels)
    gap = 1.25 * _SMALL / (72 * ax.get_window_extent().height / figure.dpi)
    places = spread([place for place, *_ in placed], gap)
    for place, (_, x, y, text) in zip(places, placed, strict=True):
        ax.annotate(
            text, (x, y), (1.02, place), "data", "axes fraction",
            fontsize=_SMALL, va="center", **_PLAIN,
            arrowprops={"arrowstyle": "-", "lw": 0.5, "color": EDGE, "shrinkA": 1, "shrinkB": 2},
        )  # fmt: skip


def figure_of(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None  # only a removed Axes has none
    return figure


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Ascending places moved apart to at least ``gap``, with the least squared movement.

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
    return folded(printable(name), _NAME_WIDTH)


# Of several networks


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
        SyopsTypeError: ``ax`` is no matplotlib Axes.
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
        ax = new_axes(max(_HEIGHT, 1.2 + 0.2 * len(shown)))
    check_axes(ax)
    (_accuracy if kind == "accuracy" else _energy_lines)(ax, shown)
    without = ", ".join(short(n.name) for n in networks if n not in shown)
    if without:
        ax.set_xlabel(f"{ax.get_xlabel()}\naccuracy not known: {without}", **_PLAIN)
    return figure_of(ax)


def _accuracy(ax: Axes, networks: Sequence[ComparisonRow]) -> None:
    places = [100 * (network.accuracy or 0) for network in networks]
    size = _consumption(ax, networks, places)
    ax.set_ylabel("accuracy (%)")
    ax.margins(y=0.1)
    finish(ax, "accuracy against energy")
    names = [short(network.name) for network in networks]
    _, ends, _ = _intervals(networks, size)
    label_right(ax, zip(ends, places, names, strict=True))


def _energy_lines(ax: Axes, networks: Sequence[ComparisonRow]) -> None:
    places = [-float(i) for i in range(len(networks))]
    _consumption(ax, networks, places)
    ax.set_yticks(places, [short(network.name) for network in networks], **_PLAIN)
    ax.set_ylim(0.4 - len(networks), 0.6)
    finish(ax, "energy")


_MARKERS = {"FSNN": ("o", AC), "MPSNN": ("s", MAC), "ANN": ("D", "black")}
"""By `Report.network_type`."""


def _consumption(ax: Axes, networks: Sequence[ComparisonRow], places: Sequence[float]) -> float:
    """Draw intervals and points at the heights ``places``; return the mJ in a unit of the axis."""
    unit = _unit_of(networks)
    size = ENERGIES[unit]
    lows, highs, open_ones = _intervals(networks, size)
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


# By layer


def _energy(report: Figures, layers: Sequence[Layer], ax: Axes) -> str:
    x = range(len(layers))
    unit = _unit_of(layers)
    low, high, open_ones = _intervals(layers, ENERGIES[unit])
    _ec_bars(ax, low, high)
    _arrows(ax, open_ones, [high[i] for i in open_ones])
    if any(low):
        ax.bar(x, low, 0.62, color=MAC, label=constant_part(report))
    if report.measured:
        energy = _energies_of(layers, unit)
        ax.bar(x, _minus(energy, low), 0.62, low, color=AC, label="AC, as measured")
    _crosses(ax, [i for i in x if layers[i].unpriced], "MACs without a price")
    _energy_axis(ax, unit)
    return f"energy by layer ({short(report.energy.name)})"


def _rates(report: Figures, layers: Sequence[Layer], ax: Axes) -> str:
    driven = [(x, layer.rate) for x, layer in enumerate(layers) if layer.rate is not None]
    others = [x for x, layer in enumerate(layers) if layer.rate is None]
    if driven:
        x, rates = zip(*driven, strict=True)
        ax.bar(x, rates, 0.62, color=AC, label="spikes")
    _crosses(ax, others, "no spikes: MAC")
    mean = report.mean_rate
    if mean is not None:
        told = f"mean of spike-driven synapses {mean:.3f}"
        ax.axhline(mean, color="black", lw=0.9, ls="--", label=told)
    ax.set_ylabel("firing rate of the input\n(spikes per neuron and time-step)")
    ax.set_ylim(0, 1.06 * max((rate for _, rate in driven), default=0) or 1)
    return "firing rates by layer"


def _cumulative(report: Figures, layers: Sequence[Layer], ax: Axes) -> str:
    edges = [x - 0.5 for x in range(len(layers) + 1)]
    unit = _unit_of([report])
    low, high, open_ones = _intervals(layers, ENERGIES[unit])
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
    return f"energy up to each layer ({short(report.energy.name)})"


def _totals(report: Figures, x: float) -> list[tuple[float, float, str]]:
    low, high = report.ec_mj
    size = ENERGIES[_unit_of([report])]
    named = [("EC max", high), ("EC min", low)] if high > low else []
    if report.dc_mj is not None:
        named.append(("DC", report.dc_mj))
    top = _top(report)
    return [(x, min(value, top) / size, f"{name} {joules(value)}") for name, value in named]


def _top(report: Figures) -> float:
    """Where the energy of a report ends that has no upper end."""
    finite = (end for layer in report.layers if layer.counted for end in layer.ec_mj[1:])
    return _beyond(
        largest_end(*report.ec_mj, report.dc_mj or 0, sum(filter(math.isfinite, finite)))
    )


_KINDS: dict[Plot, Callable[[Figures, Sequence[Layer], Axes], str]] = {
    "energy": _energy,
    "rates": _rates,
    "cumulative": _cumulative,
}


def _ec_bars(ax: Axes, low: Sequence[float], high: Sequence[float]) -> None:
    spans = [(x, a, b - a) for x, (a, b) in enumerate(zip(low, high, strict=True)) if b > a]
    if spans:
        x, bottoms, heights = zip(*spans, strict=True)
        outline = 0.4 if len(low) <= MAX_LABELS else 0
        ax.bar(
            x, heights, 0.9, bottoms,
            color=BAND, edgecolor=EDGE, linewidth=outline, label=EC_LABEL,
        )  # fmt: skip


def _crosses(ax: Axes, places: Sequence[int], label: str) -> None:
    """Mark layers that have no bar for a reason."""
    if places:
        zeros = [0] * len(places)
        ax.plot(places, zeros, "x", color=MAC, ms=4, clip_on=False, zorder=3, label=label)


def _energies_of(layers: Iterable[Layer], unit: str) -> list[float]:
    """What layers consume; those without a price the part that EC has of them."""
    energies = (layer.ec_mj[0] if layer.dc_mj is None else layer.dc_mj for layer in layers)
    return [energy / ENERGIES[unit] for energy in energies]


def _energy_axis(ax: Axes, unit: str) -> None:
    ax.set_ylabel(f"energy per sample ({unit})")
    ax.set_ylim(0, 1.04 * ax.dataLim.y1 or 1)


def _unit_of(them: Iterable[Layer | ComparisonRow | Figures]) -> str:
    """The unit in which the largest energy is shown."""
    return common_unit(largest_end(*(end for it in them for end in it.ec_mj)), ENERGIES)


def _intervals(
    them: Iterable[Layer | ComparisonRow], size: float
) -> tuple[list[float], list[float], list[int]]:
    """The ends of EC in units of ``size`` mJ, and the places of those without an upper one.

    They are drawn beyond all that is known.
    """
    low, high = zip(*(it.ec_mj for it in them), strict=True)
    beyond = _beyond(largest_end(*low, *high))
    open_ones = [i for i, end in enumerate(high) if math.isinf(end)]
    return [end / size for end in low], [min(end, beyond) / size for end in high], open_ones


def _beyond(known: float) -> float:
    return _BEYOND * known or ENERGIES["pJ"]


def _arrows(ax: Axes, places: Sequence[int], ends: Sequence[float]) -> None:
    """Mark intervals without an upper end."""
    if places:
        ax.plot(places, ends, "^", color=EDGE, ms=5, clip_on=False, zorder=3, label=OPEN_LABEL)


def _minus(left: Sequence[float], right: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(left, right, strict=True)]


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
            [x for x, _ in self.labels], [name for _, name in self.labels], rotation=90, **_PLAIN
        )
        ax.set_xlabel(f"layer, in order of execution ({self.size})")
        ax.grid(axis="y", lw=0.4, color="black", alpha=0.15)


def _labels(layers: Sequence[Layer]) -> list[tuple[float, str]]:
    """Places and names: of every layer, or of blocks of them, or of some, as there is room for."""
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
    """Neighbours that share the first ``level`` components of their path: name, first, last."""

    def prefix(x: int) -> str:
        layer = layers[x]
        return ".".join(layer.path.split(".")[:level]) or layer.name

    groups = ((name, list(run)) for name, run in groupby(range(len(layers)), prefix))
    return [(name, run[0], run[-1]) for name, run in groups]
