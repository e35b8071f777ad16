"""Draw how the firing rates of neurons are distributed."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from syops.cost.neurons import NeuronFigures
from syops.show.plots.axes import MAC
from syops.show.plots.steps import shades

BINS = 25
"""The parts of [0, 1] that a column of the picture has."""


def draw_neurons(figures: NeuronFigures, ax: Axes) -> None:
    """Draw rates × modules, as dark as neurons are many, with the mean rate of each module."""
    rows, layers = figures.rows, figures.layers
    empty: Sequence[float] = (0,) * BINS
    columns = [
        empty if row.median is None else [n / (row.neurons or 1) for n in layer.histogram(BINS)]
        for row, layer in zip(rows, layers, strict=True)
    ]
    image = ax.imshow(
        list(zip(*columns, strict=True)),
        cmap=shades(),
        vmin=0,
        vmax=max(map(max, columns)) or 1,
        aspect="auto",
        origin="lower",
        extent=(-0.5, len(rows) - 0.5, 0, 1),
        interpolation="nearest",
    )
    known = [(x, row.rate) for x, row in enumerate(rows) if row.rate is not None]
    ax.plot(*zip(*known, strict=True), "o", color=MAC, ms=4, zorder=3, label="mean")
    bar = ax.figure.colorbar(image, ax=ax, pad=0.01)
    bar.set_label("share of the neurons")
    ax.set_ylabel("firing rate of a neuron\n(spikes per time-step)")
    ax.set_ylim(0, 1)
