"""The figures of the paper, drawn from the tables. Colours that the colour-blind tell apart."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from syops.files import write_whole

# Okabe and Ito's colours; a marker and a dash each, so that grey prints can be read, too.
STYLES = {
    "OR": ("#0072B2", "o", "-"),
    "XOR": ("#E69F00", "s", "--"),
    "IAND": ("#009E73", "^", "-."),
    "AND": ("#D55E00", "v", ":"),
    "none": ("#666666", "D", "-"),
    "without DST": ("#D55E00", "v", "--"),
    "FSNN (DST)": ("#0072B2", "o", "-"),
    "DSNN": ("#009E73", "^", "-."),
}
NAMES = {"none": "SN(f(x) + x)"}
START = {True: "blocks start as the identity", False: "usual initialisation"}


def _line(axes: Axes, table: pd.DataFrame, name: str, x: str, y: str, *, log: bool = False) -> None:
    """Mean over the seeds, and a band of one standard deviation."""
    colour, marker, dash = STYLES[name]
    middle, sd = table[y], table[f"{y}_sd"].fillna(0)
    every = max(1, len(table) // 8)
    axes.plot(table[x], middle, dash, color=colour, marker=marker, markersize=4, markevery=every,
              linewidth=1.4, label=NAMES.get(name, name))  # fmt: skip
    if not log:
        axes.fill_between(table[x], middle - sd, middle + sd, color=colour, alpha=0.15, linewidth=0)


def _save(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    write_whole(path, lambda partial: figure.savefig(partial, dpi=100, format="png"))
    plt.close(figure)


def draw_figure3(table: pd.DataFrame, path: Path) -> None:
    starts = [start for start in (True, False) if (table["identity"] == start).any()]
    figure, all_axes = plt.subplots(
        1, len(starts), figsize=(4.2 * len(starts), 3.2), sharey=True, squeeze=False
    )
    for axes, start in zip(all_axes[0], starts, strict=True):
        for name in ("without DST", "FSNN (DST)", "DSNN"):
            part = table[(table["identity"] == start) & (table["network"] == name)]
            _line(axes, part.assign(accuracy=100 * part["accuracy"],
                                    accuracy_sd=100 * part["accuracy_sd"]),
                  name, "blocks", "accuracy")  # fmt: skip
        axes.axhline(10, color="#999999", linewidth=0.8, linestyle=":")
        axes.set_xscale("log", base=2)
        depths = sorted(table["blocks"].unique())
        axes.set_xticks(depths, [str(depth) for depth in depths])
        axes.set(xlabel="residual blocks", title=START[start], ylim=(0, 102))
    all_axes[0][0].set_ylabel("accuracy, %")
    all_axes[0][0].legend(fontsize=8)
    _save(figure, path)


def draw_rates(table: pd.DataFrame, path: Path) -> None:
    """Figures 5 and 6: o_l to the left, s_l to the right."""
    figure, both = plt.subplots(1, 2, figsize=(8.4, 3.2), sharey=False)
    for axes, rate, name in zip(both, ("rate_o", "rate_s"), ("o", "s"), strict=True):
        for g in ("OR", "XOR", "IAND", "AND"):
            _line(axes, table[table["g"] == g], g, "block", rate)
        axes.set(xlabel="block $l$", ylabel=f"firing rate of ${name}_l$")
        axes.set_ylim(bottom=0)
        axes.xaxis.get_major_locator().set_params(integer=True)
    both[0].legend(fontsize=8)
    _save(figure, path)


def draw_gradients(table: pd.DataFrame, path: Path) -> None:
    """Figures 7 and 8: above with DST, below without; to the left blocks that are the identity."""
    figure, grid = plt.subplots(2, 2, figsize=(8.4, 5.6), sharex=True, sharey=True)
    for row, dst in zip(grid, (True, False), strict=True):
        for axes, start in zip(row, (True, False), strict=True):
            part = table[(table["dst"] == dst) & (table["identity"] == start)]
            for g in ("OR", "XOR", "IAND", "AND", "none"):
                of_g = part[part["g"] == g]
                if (of_g["gradient"] > 0).any():
                    _line(axes, of_g, g, "block", "gradient", log=True)
                else:
                    axes.plot([], [], ":", color=STYLES[g][0], label=f"{g}: 0 everywhere")
            axes.set_yscale("log")
            axes.set_title(f"{'with' if dst else 'without'} DST, {START[start]}", fontsize=9)
    for axes in grid[:, 0]:
        axes.set_ylabel(r"$\Vert\partial L/\partial s_l\Vert$")
    for axes in grid[1]:
        axes.set_xlabel("block $l$")
        axes.legend(fontsize=7)
    _save(figure, path)
