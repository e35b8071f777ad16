"""What commands print and write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from syops.files import check_writable, write_text

if TYPE_CHECKING:
    from syops.report import Report


def note(message: str) -> None:
    click.echo(f"syops: note: {message}", err=True)


def check_form(style: str, depth: int | None, output: Path | None) -> None:
    """Find out before the count what cannot be printed or written."""
    if style == "json" and depth is not None:
        raise click.UsageError("--depth does not apply to --format json, which holds every layer")
    if output is not None:
        check_writable(output)


def emit(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
    else:
        write_text(output, text)


def rendered(report: Report, style: str, depth: int | None) -> str:
    from syops.render import render_csv, render_table

    if style == "json":
        text = report.to_json()
    else:
        text = (render_csv if style == "csv" else render_table)(report, depth)
    return text.rstrip("\n") + "\n"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Names to the left, the numbers in the next two columns to the right."""
    from tabulate import tabulate

    aligned = ("left", "right", "right", "left")[: len(headings)]
    return tabulate(rows, headings, disable_numparse=True, colalign=aligned)
