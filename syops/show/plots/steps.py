"""Draw the firing rates of layers at each time-step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator

from syops.cost.figures import Figures
from syops.show.plots.axes import AC, MAC


def has_rates_over_time(report: Figures) -> bool:
    """Return whether there is a layer inside the totals whose rates are known by time-step."""
    return any(layer.counted and layer.rates for layer in report.layers)


class Timed(Protocol):
    """What has a rate, and rates at each time-step where these are known."""

    @property
    def rate(self) -> float | None: ...
    @property
    def rates(self) -> Sequence[float] | None: ...


def draw_steps(layers: Sequence[Timed], ax: Axes, of: str, without: str) -> None:
    """Draw time-steps × layers, as dark as neurons fired.

    Args:
        of: what the rates are of.
        without: what is said of those that have none.
    """
    steps = next(len(layer.rates) for layer in layers if layer.rates)
    nothing = (math.nan,) * steps
    columns = [nothing if layer.rates is None else layer.rates for layer in layers]
    top = max(rate for layer in layers for rate in layer.rates or ())
    image = ax.imshow(
        list(zip(*columns, strict=True)),
        cmap=shades(),
        vmin=0,
        vmax=top or 1,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
    )
    driven = [x for x, layer in enumerate(layers) if layer.rates is None and layer.rate is not None]
    others = [x for x, layer in enumerate(layers) if layer.rates is None and layer.rate is None]
    for places, marker, label in ((others, "x", without), (driven, "_", "steps unknown")):
        if places:
            ax.plot(places, [0] * len(places), marker, color=MAC, ms=4, zorder=3, label=label)
    bar = ax.figure.colorbar(image, ax=ax, pad=0.01)
    bar.set_label(f"firing rate of {of}\n(spikes per neuron)")
    ax.set_ylabel("time-step")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylim(-0.5, steps - 0.5)


def shades() -> LinearSegmentedColormap:
    """Return colours from white to that of ACs."""
    return LinearSegmentedColormap.from_list("rates", ["white", AC])
