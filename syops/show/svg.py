"""Draw plots as SVG inside of a page: with text to search, and colours of the page."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from markupsafe import Markup, escape
from matplotlib import style
from matplotlib.figure import Figure

from syops.cost.figures import Figures
from syops.cost.networks import ComparisonRow
from syops.cost.neurons import NeuronFigures
from syops.show.plots.axes import AC, BAND, EDGE, MAC, ON_AC
from syops.show.plots.layers import Plot, plot_report
from syops.show.plots.networks import ComparisonPlot, plot_comparison
from syops.show.plots.steps import has_rates_over_time

_PLOTS: dict[Plot, str] = {
    "energy": "Energy by layer, in the order of execution",
    "rates": "Firing rate of the input of each layer",
    "rates_over_time": "Firing rate of the input of each layer at each time-step",
    "cumulative": "Energy up to each layer",
    "neuron_rates": "Firing rates of the neurons of each module",
    "neuron_rates_over_time": "Firing rate of the neurons of each module at each time-step",
}

_STYLE = {
    "svg.fonttype": "none",  # text stays text, which can be searched and copied
    "svg.hashsalt": "syops",
    "font.sans-serif": ["DejaVu Sans", "sans-serif"],
}


def report_pictures(
    report: Figures, only: Collection[Plot] = tuple(_PLOTS), prefix: str = ""
) -> Mapping[str, Markup]:
    """Return the plots of a report as inline SVG, by what they show.

    Args:
        only: the kinds to draw, those of which something is known.
        prefix: what tells its ids from those of other reports on the page.
    """
    left_out = {
        "rates": report.mean_rate is None,
        "rates_over_time": report.time_steps == 1 or not has_rates_over_time(report),
    }
    rows = NeuronFigures(report).rows if report.neuron_layers else ()
    left_out |= {
        "neuron_rates": all(row.rate is None for row in rows),
        "neuron_rates_over_time": report.time_steps == 1 or all(row.rates is None for row in rows),
    }
    kinds = [kind for kind in _PLOTS if kind in only and not left_out.get(kind)]
    if not any(layer.counted and layer.folded is None for layer in report.layers):
        kinds = []
    with _style():
        return {
            _PLOTS[kind]: _inline_svg(plot_report(report, kind), f"{prefix}{kind}", _PLOTS[kind])
            for kind in kinds
        }


def comparison_pictures(rows: Sequence[ComparisonRow]) -> Mapping[str, Markup]:
    told: dict[ComparisonPlot, str] = {
        "accuracy": "Accuracy against energy",
        "energy": "Energy of each network",
    }
    if all(row.accuracy is None for row in rows):
        del told["accuracy"]
    with _style():
        return {t: _inline_svg(plot_comparison(rows, kind), kind, t) for kind, t in told.items()}


@contextmanager
def _style() -> Iterator[None]:
    """Use matplotlib's default style, whatever the user's, while a page is made."""
    with style.context(["default", _STYLE]), warnings.catch_warnings():
        # Text stays text: its letters are those of the browser.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _inline_svg(figure: Figure, name: str, told: str) -> Markup:
    """Return a figure as an ``<svg>`` element whose colours follow the page's theme."""
    out = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(out, format="svg", transparent=True, metadata=metadata)
    themed = {AC: "var(--ac)", MAC: "var(--mac)", BAND: "var(--ec)", EDGE: "var(--edge)"}
    colors = {color.lower(): theme for color, theme in themed.items()}
    colors |= {"#000000": "currentColor", ON_AC.lower(): "var(--bg)"}
    svg = re.sub(r"<style.*?</style>", "", out.getvalue(), flags=re.DOTALL)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<[^>]+>", lambda tag: _at_home(tag[0], name, colors), svg)
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(told)}"', 1))


def _at_home(tag: str, name: str, colors: Mapping[str, str]) -> str:
    """Return a tag with ids that are unique among pictures, in colours of the page."""
    if tag.startswith("<svg"):
        tag = re.sub(r' (width|height)="[^"]*"', "", tag)
    tag = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", tag)
    return re.sub("#[0-9a-f]{6}", lambda color: colors.get(color[0], color[0]), tag)
