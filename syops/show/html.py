"""Write a network's figures as HTML: for a notebook, or as a page that needs no other file.

Names that users choose (of models, layers, profiles, commands) are escaped by jinja2, and in
pictures by matplotlib. The templates are in ``templates/``.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from syops.cost.figures import Figures
from syops.cost.networks import ComparisonRow
from syops.cost.neurons import NeuronFigures
from syops.show.formats.cells import printable, subscripted
from syops.show.formats.html import to_html
from syops.show.neurons import neuron_table
from syops.show.views import ReportView

if TYPE_CHECKING:
    from jinja2 import Environment


def to_notebook(report: Figures) -> str:
    """Return the report as a fragment for a notebook: without script, with styles of its own."""
    return _render("notebook.html", view=ReportView(report))


def to_page(report: Figures, command: str | None = None) -> str:
    """Return the report as a page that loads nothing.

    Args:
        command: the command line that made it, to be shown.
    """
    from syops.show.svg import report_pictures  # with matplotlib

    pictures = report_pictures(report)
    return _render_page(
        "report.html",
        report.model,
        command,
        view=ReportView(report),
        pictures=pictures,
        neurons=_neurons(report),
    )


def to_comparison_page(
    names: Sequence[str],
    reports: Sequence[Figures],
    rows: Sequence[ComparisonRow],
    table: str,
    command: str | None = None,
) -> str:
    """Return networks side by side as a page that loads nothing; see `to_page`.

    Args:
        names, reports, rows: one for each network.
        table: the rows as a ``<table>``.
        command: the command line that made it, to be shown.
    """
    from syops.show.svg import comparison_pictures, report_pictures  # with matplotlib

    return _render_page(
        "comparison.html",
        f"Comparison of {_listed(names)}",
        command,
        table=Markup(table),
        pictures=comparison_pictures(rows),
        networks=[
            (name, ReportView(report), report_pictures(report, ("energy", "rates"), f"net{i}-"))
            for i, (name, report) in enumerate(zip(names, reports, strict=True))
        ],
    )


def _listed(names: Sequence[str]) -> str:
    """Return names in words, the first three of many: "a, b, c and 2 more"."""
    shown = [*names] if len(names) < 5 else [*names[:3], f"{len(names) - 3} more"]
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def _neurons(report: Figures) -> Markup | None:
    """Return how often neurons fire as a ``<table>``; None where that was not counted."""
    if report.neuron_layers is None:
        return None
    table = replace(neuron_table(NeuronFigures(report)), caption="", warnings=())
    return Markup(to_html(table))


def to_table_page(title: str, table: str, command: str | None = None) -> str:
    """Return a ``<table>`` as a page that loads nothing; what it says is escaped already."""
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
    templates.filters["linked"] = _linked
    return templates


def _shown(value: object) -> object:
    """Escape control characters that would affect a page, such as a change of direction."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "\n".join(map(printable, value.split("\n")))


def _subscripted(heading: str) -> Markup:
    return Markup(subscripted(str(escape(printable(heading))), "<sub>{}</sub>"))


def _linked(text: str) -> Markup:
    """Return text in which what a DOI or arXiv names can be followed."""
    return Markup(_PUBLISHED.sub(_link, str(escape(printable(text)))))


def _link(found: re.Match[str]) -> str:
    kind, name = found[1].lower(), found[2]
    address = f"https://doi.org/{name}" if kind == "doi" else f"https://arxiv.org/abs/{name}"
    return f'<a href="{address}">{found[0]}</a>'


_PUBLISHED = re.compile(r"\b(doi|arxiv):\s?(10\.\d+/[\w./()-]*\w|\d{4}\.\d{4,5})", re.I | re.ASCII)


@cache
def _text(name: str) -> str:
    """Return a style sheet or a script of ours."""
    return resources.files("syops.show").joinpath("templates", name).read_text("utf-8")
