"""Write tables in the Markdown of GitHub."""

from __future__ import annotations

import re

from syops.show.formats.cells import in_words, one_line, padded, printable, sentences, width_of
from syops.show.formats.format import Format
from syops.show.table import TableData


def to_markdown(table: TableData) -> str:
    """Return the table in the Markdown of GitHub, between its caption and what it says."""
    cells = in_words(table).map(_in_markdown)
    total = [f"**{cell}**" if cell else "" for cell in cells.total or ()]
    aligned = [column.align for column in table.columns]
    rows = padded([cells.headings, *cells.rows, *([total] if total else [])], aligned)
    rules = ("-" * (width_of(cell) + 1) for cell in rows[0])
    sides = (
        f":{r}" if align == "left" else f"{r}:" for r, align in zip(rules, aligned, strict=True)
    )
    lines = [f"| {' | '.join(row)} |" for row in rows]
    drawn = "\n".join([lines[0], f"|{'|'.join(sides)}|", *lines[1:]])
    first = (printable(table.caption), *one_line(table.warnings))
    above, below = ([_in_markdown(text) for text in part] for part in (first, sentences(table)))
    return "\n\n".join(filter(None, [*above, drawn, *below])) + "\n"


def _in_markdown(text: str) -> str:
    """Escape what GitHub's Markdown would read as markup, dollars too, which enclose formulas."""
    return re.sub(r"([\\`*|~<>$]|\[(?=[^]]*\][\[(])|&(?=#?\w+;)|(?<!\w)_|_(?!\w))", r"\\\1", text)


FORMAT = Format("markdown", ".md", to_markdown)
