"""Figures -> HTML: what a notebook shows, and a page that needs nothing beside itself.

What users have named (models, layers, profiles, commands) is escaped by jinja2, and in pictures
by matplotlib. The templates lie in ``templates/``.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from syops.cost.figures import Figures
from syops.cost.networks import ComparisonRow
from syops.show.formats import printable, subscripted
from syops.show.views import View

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure


def to_notebook(report: Figures) -> str:
    """The report as a fragment that a notebook shows: no script, and styles for itself alone."""
    return _render("notebook.html", view=View(report))


def to_page(report: Figures, command: str | None = None) -> str:
    """The report as a page that loads nothing.

    Args:
        command: the command line that made it, to be shown.
    """
    pictures = _pictures(report)
    return _render_page("report.html", report.model, command, view=View(report), pictures=pictures)


def to_comparison_page(
    names: Sequence[str],
    reports: Sequence[Figures],
    rows: Sequence[ComparisonRow],
    table: str,
    command: str | None = None,
) -> str:
    """Networks side by side as a page that loads nothing; see `to_page`.

    Args:
        names, reports, rows: one for each network.
        table: the rows as a ``<table>``.
        command: the command line that made it, to be shown.
    """
    return _render_page(
        "comparison.html",
        f"{len(names)} networks" if len(names) > 3 else ", ".join(names),
        command,
        table=Markup(table),
        pictures=_comparison_pictures(rows),
        views={name: View(r) for name, r in zip(names, reports, strict=True)},
    )


def to_table_page(title: str, table: str, command: str | None = None) -> str:
    """A ``<table>`` as a page that loads nothing; what it says is escaped already."""
    return _render_page("table.html", title, command, table=Markup(table))


def _render_page(template: str, title: str, command: str | None, **content: object) -> str:
    script = _text("page.js")
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _render(
        template,
        title=title,
        command=command,
        script=Markup(script),
        digest=digest,
        page_css=Markup(_text("page.css")),
        **content,
    )


def _render(template: str, **content: object) -> str:
    css = Markup(_text("syops.css"))
    return _templates().get_template(template).render(css=css, **content)


@cache
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("syops.show"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["subscripted"] = _subscripted
    return templates


def _shown(value: object) -> object:
    """Text with what a page would obey, such as a change of direction, shown instead."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "\n".join(map(printable, value.split("\n")))


def _subscripted(heading: str) -> Markup:
    return Markup(subscripted(str(escape(printable(heading))), "<sub>{}</sub>"))


@cache
def _text(name: str) -> str:
    """A style sheet or a script of ours."""
    return resources.files("syops.show").joinpath("templates", name).read_text("utf-8")


# --- pictures in a page -------------------------------------------------------------------------

_PLOTS = {
    "energy": "Energy by layer, in the order of execution",
    "rates": "Firing rate of the input of each layer",
    "cumulative": "Energy up to each layer",
}

_STYLE = {
    "svg.fonttype": "none",  # text stays text, which can be searched and copied
    "svg.hashsalt": "syops",
    "font.sans-serif": ["DejaVu Sans", "sans-serif"],
}


def _pictures(report: Figures) -> Mapping[str, Markup]:
    """The plots of a report as inline SVG, by what they show."""
    from syops.show.plots import plot_report

    kinds = [kind for kind in _PLOTS if kind != "rates" or report.mean_rate is not None]
    if not any(layer.counted and layer.folded is None for layer in report.layers):
        kinds = []
    with _style():
        return {_PLOTS[k]: _inline_svg(plot_report(report, k), k, _PLOTS[k]) for k in kinds}


def _comparison_pictures(rows: Sequence[ComparisonRow]) -> Mapping[str, Markup]:
    from syops.show.plots import plot_comparison

    told = {"accuracy": "Accuracy against energy", "energy": "Energy of each network"}
    if all(row.accuracy is None for row in rows):
        del told["accuracy"]
    with _style():
        return {t: _inline_svg(plot_comparison(rows, kind), kind, t) for kind, t in told.items()}


@contextmanager
def _style() -> Iterator[None]:
    """matplotlib's own style, whatever the user's, while a page is made."""
    from matplotlib import style

    with style.context(["default", _STYLE]), warnings.catch_warnings():
        # Text stays text: its letters are those of the browser.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _inline_svg(figure: Figure, name: str, told: str) -> Markup:
    """A figure as an ``<svg>`` element whose colours follow the page's theme."""
    from syops.show.plots import AC, BAND, EDGE, MAC

    out = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(out, format="svg", transparent=True, metadata=metadata)
    themed = {AC: "var(--ac)", MAC: "var(--mac)", BAND: "var(--ec)", EDGE: "var(--edge)"}
    colors = {color.lower(): theme for color, theme in themed.items()}
    colors["#000000"] = "currentColor"
    svg = re.sub(r"<style.*?</style>", "", out.getvalue(), flags=re.DOTALL)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<[^>]+>", lambda tag: _at_home(tag[0], name, colors), svg)
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(told)}"', 1))


def _at_home(tag: str, name: str, colors: Mapping[str, str]) -> str:
    """A tag of matplotlib's with ids of its own among other pictures, in colours of the page."""
    if tag.startswith("<svg"):
        tag = re.sub(r' (width|height)="[^"]*"', "", tag)
    tag = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", tag)
    return re.sub("#[0-9a-f]{6}", lambda color: colors.get(color[0], color[0]), tag)
