"""Write any `TableData` as LaTeX with booktabs that compiles, whatever its names contain."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from syops.errors import SyopsTypeError, SyopsValueError
from syops.show.formats.cells import in_words, one_line, printable, sentences
from syops.show.formats.format import Format
from syops.show.table import TableData

_PAGE = 45
"""Rows that fit on one."""
_LONG_NAME = 32
"""Characters of a name that makes a column in which names are broken."""
_WIDE_NAME = 16
"""Characters of a name that fits into that column."""
_NOTES = 3000
"""Characters below a table that fit on its page."""

_SIZES = (r"\small", r"\footnotesize", r"\scriptsize")
"""Letters that can be read in print, from the largest."""
_FITTING = (70, 80)
"""Characters that a line of LaTeX's article has room for in the first and the second of them."""
_WIDEST = 85
"""Characters that it has room for in the last."""

_LABEL = re.compile(r"[\w:.\-/]+", re.ASCII)
_PRODUCT = re.compile(r"\b[1-9]\d*(?:x\d+)+\b|(?<= )x(?= \d)")
"""Where an x multiplies: 2x3x8, 1 G AC x 0.9 pJ."""

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


def to_latex(
    table: TableData,
    *,
    caption: str | None = None,
    label: str | None = None,
    notes: bool | str = True,
) -> str:
    r"""Return the table in LaTeX, to ``\input`` or to paste.

    Its letters are ``\small``, and ``\footnotesize`` or ``\scriptsize`` where it is wider than a
    line; what is wider still is shrunk, and LaTeX's log says so. It needs booktabs and graphicx.
    With more than 45 rows it needs longtable instead, in which it goes on on the next page and is
    not shrunk: a comment says so where it is too wide. Notes too long for a page go below it. A
    character that LaTeX has no letter for is shown as its code point.

    Args:
        table: what to write.
        caption: LaTeX instead of the table's own caption.
        label: what ``\ref`` calls the table.
        notes: whether the sentences about the table stand below it, or LaTeX instead of them.
            Warnings stay.

    Raises:
        SyopsTypeError, SyopsValueError: a caption or label that is none; a label without caption.
    """
    caption = _caption(table, caption, label)
    warned = [f"{_sentence(text)}." for text in one_line(table.warnings)]
    said = _below(table, notes)
    writer = _longtable if len(table.rows) > _PAGE else _floating
    return "\n".join(writer(_Tabular.of(table), caption, warned, said)) + "\n"


def _caption(table: TableData, caption: str | None, label: str | None) -> str:
    """Return the caption with its label as LaTeX, "" for none."""
    for name, text in (("caption", caption), ("label", label)):
        if not isinstance(text, str | None):
            raise SyopsTypeError(f"{name} must be text, got {text!r}")
    if label is not None and not _LABEL.fullmatch(label):
        raise SyopsValueError(
            rf"label: {label!r} cannot be referred to: use letters, digits and :.-_/ as tab:energy"
        )
    text = _sentence(printable(table.caption)) if caption is None else caption
    if label is not None and not text:
        raise SyopsValueError("label: a label needs a caption, whose number it stands for")
    return "".join([rf"\caption{{{text}}}" if text else "", rf"\label{{{label}}}" if label else ""])


def _below(table: TableData, notes: bool | str) -> list[str]:
    if isinstance(notes, str):
        return [notes] if notes else []
    if not isinstance(notes, bool):
        raise SyopsTypeError(f"notes must be True, False or LaTeX, got {notes!r}")
    return [f"{_sentence(text)}." for text in sentences(table)] if notes else []


class _Tabular(NamedTuple):
    """Hold a table's parts in LaTeX.

    Attributes:
        spec: its columns.
        head: its headings between two rules.
        rows: with the total, up to the last rule.
        width: about how many characters a row has.
    """

    spec: str
    head: list[str]
    rows: list[str]
    width: int

    @classmethod
    def of(cls, table: TableData) -> _Tabular:
        cells = in_words(table, "–")
        aligned = [column.align[0] for column in table.columns]
        longest = [max(map(len, column)) for column in zip(*cells.rows, strict=True)]
        wide = {i for i, n in enumerate(longest) if aligned[i] == "l" and n > _LONG_NAME}

        # In the last cell of a row \raggedright makes of "\\" the end of a line.
        end = r" \tabularnewline" if max(wide, default=0) else r" \\"

        def line(row: Sequence[str]) -> str:
            parts = [
                _number(escaped(cell)) if align == "r" else escaped(cell)
                for cell, align in zip(row, aligned, strict=True)
            ]
            for i in wide - {0}:
                parts[i] = rf"\raggedright {parts[i]}"
            if 0 in wide and len(parts[0]) > _WIDE_NAME:
                broken = r"\allowbreak{}".join(map(escaped, _WORD.findall(row[0])))
                parts[0] = rf"\raggedright {broken}"
            parts[0] = _apart(parts[0])
            return " & ".join(parts) + end

        share = 0.4 if len(wide) == 1 else 0.25
        broken = [r"p{0.25\linewidth}", *[rf"p{{{share}\linewidth}}"] * len(aligned)]
        spec = "".join(broken[i] if i in wide else align for i, align in enumerate(aligned))
        headings = " & ".join(map(_heading, cells.headings)) + r" \\"
        total = [r"\midrule", line(cells.total)] if cells.total else []
        shown = [cells.headings, *cells.rows, cells.total or cells.headings]
        widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
        widths = [min(n, _LONG_NAME) if i in wide else n for i, n in enumerate(widths)]
        rows = [*map(line, cells.rows), *total]
        return cls(spec, [r"\toprule", headings, r"\midrule"], rows, sum(widths) + len(widths))


def _apart(text: str) -> str:
    """Return a line that the end of the line before does not take for its argument."""
    return f"{{}}{text}" if text[:1] in ("[", "*") else text


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
    text = _PRODUCT.sub(lambda product: product[0].replace("x", "×"), text)
    words = re.split(r"\b(O_m?ac)\b", text)
    return "".join(_heading(word) if i % 2 else escaped(word) for i, word in enumerate(words))


def _number(text: str) -> str:
    """Write a number with a minus instead of a hyphen and a power of ten instead of "e-07"."""
    text = re.sub(r"(?<=\d)e([-+]\d+)", lambda e: rf"$\times10^{{{int(e[1])}}}$", text)
    return re.sub(r"(?<![-{\w])-(?=\d)", "$-$", text)


def _floating(of: _Tabular, caption: str, warned: list[str], said: list[str]) -> Iterator[str]:
    yield r"% needs \usepackage{booktabs,graphicx}"
    yield r"\begin{table}"
    yield r"\centering\small\setlength{\tabcolsep}{4pt}"
    if caption:
        yield rf"{caption}\par\smallskip"
    yield from _footnotes(warned)
    yield rf"\def\rows{{\begin{{tabular}}{{{of.spec}}}"
    yield from [*of.head, *of.rows, r"\bottomrule"]
    yield r"\end{tabular}}"
    yield r"\sbox0{\rows}"
    for size in _SIZES[1:]:
        yield rf"\ifdim\wd0>\linewidth\sbox0{{{size}\rows}}\fi"
    yield r"\ifdim\wd0>\linewidth"
    yield r"\typeout{table shrunk to the width of a line: leave columns out, or use table*}"
    yield r"\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi"
    inside = sum(map(len, said)) <= _NOTES
    if said and inside:
        yield r"\par\smallskip"
        yield from _footnotes(said)
    yield r"\end{table}"
    if said and not inside:
        yield from _paragraph(said)


def _footnotes(said: list[str]) -> Iterator[str]:
    if said:
        yield r"\begin{minipage}{\linewidth}\footnotesize\raggedright"
        yield "\\\\\n".join(map(_apart, said))
        yield r"\end{minipage}\par\smallskip"


def _paragraph(said: list[str]) -> Iterator[str]:
    """Yield sentences as a paragraph of the text, which may go on on the next page."""
    yield r"{\noindent\footnotesize\raggedright"
    yield "\\\\\n".join(map(_apart, said))
    yield r"\par}"


def _longtable(of: _Tabular, caption: str, warned: list[str], said: list[str]) -> Iterator[str]:
    columns = of.head[1].count(" & ") + 1
    size = _SIZES[sum(of.width > limit for limit in _FITTING)]
    yield r"% needs \usepackage{booktabs,longtable}"
    if of.width > _WIDEST:
        yield r"% wider than a line: leave columns out, or turn the page (\usepackage{pdflscape})"
    yield rf"\begingroup{size}\setlength{{\tabcolsep}}{{4pt}}"
    if warned:
        yield from _paragraph(warned)
    yield rf"\begin{{longtable}}{{{of.spec}}}"
    if caption:
        yield rf"{caption}\\"
    yield from [*of.head, r"\endfirsthead"]
    yield rf"\multicolumn{{{columns}}}{{l}}{{\emph{{continued}}}} \\"
    yield from [*of.head, r"\endhead"]
    yield rf"\midrule\multicolumn{{{columns}}}{{r}}{{\emph{{continued on the next page}}}} \\"
    yield from [r"\endfoot", r"\bottomrule", r"\endlastfoot"]
    yield from of.rows
    yield r"\end{longtable}"
    if said:
        yield from _paragraph(said)
    yield r"\par\endgroup"


FORMAT = Format("latex", ".tex", to_latex)
