"""Write tables as HTML to paste into a page; as a format, results as a page of their own."""

from __future__ import annotations

import html
from collections.abc import Sequence

from syops.show.formats.cells import in_words, one_line, printable, sentences, subscripted
from syops.show.formats.format import WholeFormat
from syops.show.table import TableData


def to_html(table: TableData) -> str:
    """Return the table as a ``<table>`` to paste into a page, with what it says in its foot."""

    def line(cells: Sequence[str], tag: str) -> str:
        drawn = (
            f'<{tag} style="text-align:{column.align}">{cell}</{tag}>'
            for cell, column in zip(cells, table.columns, strict=True)
        )
        return f"<tr>{''.join(drawn)}</tr>"

    def across(text: str) -> str:
        style = f'colspan="{len(table.columns)}" style="text-align:left"'
        return f"<tr><td {style}>{html.escape(text)}</td></tr>"

    cells = in_words(table, "–").map(html.escape)
    headings = [subscripted(heading, "<sub>{}</sub>") for heading in cells.headings]
    foot = [line(cells.total, "th")] if cells.total else []
    head = [across(text) for text in one_line(table.warnings)]
    foot += [across(text) for text in sentences(table)]
    caption = (
        [f"<caption>{html.escape(printable(table.caption))}</caption>"] if table.caption else []
    )
    lines = [
        '<table class="syops">',
        *caption,
        *("<thead>", *head, line(headings, "th"), "</thead>"),
        *("<tbody>", *(line(row, "td") for row in cells.rows), "</tbody>"),
        *(["<tfoot>", *foot, "</tfoot>"] if foot else []),
        "</table>",
    ]
    return "\n".join(lines) + "\n"


FORMAT = WholeFormat("html", ".html", lambda result, command: result.to_page(command))
