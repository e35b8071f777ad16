"""Write any `TableData` as LaTeX with booktabs that compiles, whatever its names contain."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from syops.show.formats.cells import in_words, one_line, printable, sentences
from syops.show.formats.format import Format
from syops.show.table import TableData

_PAGE = 45
"""Rows that fit on one."""
_LONG_NAME = 32
"""Characters of a name that makes a column in which names are broken."""
_WIDE_NAME = 16
"""Characters of a name that fits into that column."""

_WORD = re.compile(r"[A-Za-z0-9]{0,11}[^A-Za-z0-9]|[A-Za-z0-9]{1,12}")
"""A part of a name behind which it may be broken."""

_LETTERS = "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ"
"""What LaTeX's oldest encoding of fonts can compose."""
_ESCAPED = {
    "\\": r"\textbackslash{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    **{c: f"${c}$" for c in "<>|"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    '"': "''",
    "`": r"\`{}",
    **dict.fromkeys("µμ", r"$\mu$"),
    "×": r"$\times$",
    "·": r"$\cdot$",
    "←": r"$\leftarrow$",
    "–": "--",
}


def to_latex(table: TableData) -> str:
    r"""Return the table in LaTeX, to ``\input`` or to paste.

    It is shrunk where it is wider than a line. Needs booktabs and graphicx, and where it has more
    than 45 rows longtable, in which it goes on on the next page. A character that LaTeX has no
    letter for is shown as its code point.
    """
    cells = in_words(table, "–")
    breaks = any(len(row[0]) > _LONG_NAME for row in cells.rows)
    aligned = [column.align[0] for column in table.columns]

    def line(row: Sequence[str]) -> str:
        parts = [
            _number(escaped(cell)) if align == "r" else escaped(cell)
            for cell, align in zip(row, aligned, strict=True)
        ]
        if breaks and len(parts[0]) > _WIDE_NAME:
            parts[0] = r"\raggedright " + r"\allowbreak{}".join(map(escaped, _WORD.findall(row[0])))
        elif parts[0][:1] in ("[", "*"):  # which the end of the line before would take for its own
            parts[0] = f"{{}}{parts[0]}"
        return " & ".join(parts) + r" \\"

    spec = "".join([r"p{0.25\linewidth}" if breaks else aligned[0], *aligned[1:]])
    caption = [rf"\caption{{{_sentence(printable(table.caption))}}}"] if table.caption else []
    headings = " & ".join(map(_heading, cells.headings)) + r" \\"
    rows = [line(row) for row in cells.rows]
    total = [r"\midrule", line(cells.total)] if cells.total else []
    body = [r"\toprule", headings, r"\midrule", *rows, *total, r"\bottomrule"]
    warned = [f"{_sentence(text)}." for text in one_line(table.warnings)]
    said = [f"{_sentence(text)}." for text in sentences(table)]
    if len(rows) > _PAGE:
        body[3:3] = [r"\endhead"]
        lines = _longtable(spec, caption, warned, body, said)
    else:
        lines = _floating(spec, caption, warned, body, said)
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Escape text so that LaTeX prints it as it is: two hyphens do not become a dash."""
    return "{}".join("".join(map(_escaped, part)) for part in re.split("(?<=-)(?=-)", text))


def _escaped(character: str) -> str:
    if character in _ESCAPED:
        return _ESCAPED[character]
    if (character.isascii() and character.isprintable()) or character in _LETTERS:
        return character
    return f"[U+{ord(character):04X}]"


def _heading(text: str) -> str:
    """Return a heading with what follows "_" as a subscript."""
    parts = re.split(r"(\w)_(\w+)", text)
    for i in range(0, len(parts), 3):
        parts[i] = escaped(parts[i])
    for i in range(1, len(parts), 3):
        parts[i], parts[i + 1] = f"${parts[i]}_{{", rf"\mathrm{{{parts[i + 1]}}}}}$"
    return "".join(parts)


def _sentence(text: str) -> str:
    words = re.split(r"\b(O_m?ac)\b", text)
    return "".join(_heading(word) if i % 2 else escaped(word) for i, word in enumerate(words))


def _number(text: str) -> str:
    """Write a number with a minus instead of a hyphen and a power of ten instead of "e-07"."""
    text = re.sub(r"(?<=\d)e([-+]\d+)", lambda e: rf"$\times10^{{{int(e[1])}}}$", text)
    return re.sub(r"(?<![-{\w])-(?=\d)", "$-$", text)


def _floating(
    spec: str, caption: list[str], warned: list[str], body: list[str], said: list[str]
) -> Iterator[str]:
    yield r"% needs \usepackage{booktabs,graphicx}"
    yield r"\begin{table}"
    yield r"\centering\small\setlength{\tabcolsep}{4pt}"
    yield from (rf"{line}\par\smallskip" for line in caption)
    yield from _footnotes(warned)
    yield rf"\sbox0{{\begin{{tabular}}{{{spec}}}"
    yield from body
    yield r"\end{tabular}}"
    yield r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi"
    if said:
        yield r"\par\smallskip"
        yield from _footnotes(said)
    yield r"\end{table}"


def _footnotes(said: list[str]) -> Iterator[str]:
    if said:
        yield r"\begin{minipage}{\linewidth}\footnotesize"
        yield "\\\\\n".join(said)
        yield r"\end{minipage}\par\smallskip"


def _longtable(
    spec: str, caption: list[str], warned: list[str], body: list[str], said: list[str]
) -> Iterator[str]:
    yield r"% needs \usepackage{booktabs,longtable}"
    yield r"\begingroup\small\setlength{\tabcolsep}{4pt}"
    if warned:
        yield r"\noindent{\footnotesize"
        yield "\\\\\n".join(warned)
        yield r"\par}"
    yield rf"\begin{{longtable}}{{{spec}}}"
    yield from (rf"{line}\\" for line in caption)
    yield from body
    yield r"\end{longtable}"
    if said:
        yield r"\noindent\footnotesize"
        yield "\\\\\n".join(said)
    yield r"\par\endgroup"


FORMAT = Format("latex", ".tex", to_latex)
