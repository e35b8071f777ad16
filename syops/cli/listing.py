"""Run ``syops models``, ``conventions`` and ``table2``: list what comes with syops."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from syops.cli.help import command
from syops.cli.imports import keeping_imports
from syops.cli.options import FILE, OUTPUT
from syops.cli.output import emit, show
from syops.cost.conventions import TEXTS, list_conventions, load_conventions
from syops.files import check_writable
from syops.models import list_models
from syops.show.formats import DEFAULT, FORMATS, Format
from syops.show.formats.csv import csv_rows, to_csv
from syops.show.formats.text import WIDTH, to_text
from syops.show.table import Column, TableData
from syops.show.tabular import Table

_TABLES: dict[str, Callable[[TableData], str]] = {
    each.name: each.write
    for each in FORMATS.values()
    if isinstance(each, Format) and not each.every
} | {DEFAULT: lambda table: f"{to_text(table, WIDTH)}\n"}
"""How to write one of several tables."""


def _records(table: TableData) -> str:
    headings, *rows = csv_rows(table)
    found = [dict(zip(map(str, headings), row, strict=True)) for row in rows]
    return f"{json.dumps(found, indent=2)}\n"


_DATA: dict[str, Callable[[TableData], str]] = {"csv": to_csv, "json": _records}
"""How to write a table for programs."""


@command("syops models")
def models() -> None:
    """List the bundled networks, with their parameters and time-steps."""
    with keeping_imports():
        import torch

        from syops.models.create import create_model

    rows: list[tuple[str, int, int]] = []
    for name in list_models():
        with torch.device("meta"):
            network = create_model(name)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        steps: Any = network.T
        rows.append((name, parameters, steps))
    columns = (
        Column("name", "name"),
        Column("params", "parameters", "count"),
        Column("time_steps", "T", "integer"),
    )
    show(Table(columns, tuple(rows)))


@command("syops table2 --format csv -o table2.csv")
@click.option(
    "--format", "style", default=DEFAULT,
    type=click.Choice([name for name in FORMATS if name in _TABLES or name in _DATA]),
    help="csv and json are one list of all three tables, a row for each network and reading.",
)  # fmt: skip
@OUTPUT
def table2(style: str, output: Path | None) -> None:
    """Print Tables 2, 3 and 4 of the DST paper beside what the architectures alone determine.

    Table 2 has two readings of each network, with BatchNorms folded and with BatchNorms counted,
    and says whether one of them equals the printed figure at its precision. Tables 3 and 4 have the
    interval EC, and say whether the printed DC lies inside. Nothing needs data or weights.
    """
    if output is not None:
        check_writable(output)
    from syops.dst.paper import CITATION
    from syops.dst.paper.tables import data, tables

    if style in _DATA:
        emit(_DATA[style](data()), output)
        return
    cited = f"% {CITATION}" if style == "latex" else click.wrap_text(CITATION, WIDTH)
    emit("\n".join([f"{cited}\n", *map(_TABLES[style], tables())]), output)


@command("syops conventions --bibtex")
@click.argument("file", type=FILE, required=False)
@click.option("--bibtex", is_flag=True, help="Print the BibTeX entries of the sources.")
def conventions(file: Path | None, bibtex: bool) -> None:
    """List the conventions, those of syops or of a .toml FILE, with their sources and scope.

    'syops run --convention NAME' counts under one; a saved report is seen under another one by
    'syops compare REPORT --convention NAME'.
    """
    found = list_conventions() if file is None else tuple(load_conventions(file).values())
    if bibtex:
        emit("\n\n".join(filter(None, (each.bibtex.strip() for each in found))) + "\n")
        return
    columns = (Column("name", "name"), Column("fidelity", "fidelity"), Column("title", "title"))
    show(Table(columns, tuple((each.name, each.fidelity, each.title) for each in found)))
    for each in found:
        click.echo(f"\n{each.name}:")
        for name in TEXTS:
            if name not in ("name", "fidelity", "title", "bibtex") and (
                text := getattr(each, name)
            ):
                told = f"{name.replace('_', ' ')}: {text}"
                click.echo(click.wrap_text(told, initial_indent="  ", subsequent_indent="    "))
