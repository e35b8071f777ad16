"""Run ``syops models``, ``conventions`` and ``table2``: list what comes with syops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from syops.cli.options import FILE
from syops.cli.output import emit, show
from syops.cost.conventions import TEXTS, list_conventions, load_conventions
from syops.models import list_models
from syops.show.formats import DEFAULT, FORMATS, Format
from syops.show.table import Column
from syops.show.tabular import Table

_TABLES = {
    each.name: each.write
    for each in FORMATS.values()
    if isinstance(each, Format) and not each.every
}
"""How to write one of several tables."""


@click.command()
def models() -> None:
    """List the bundled networks, with their parameters and time-steps."""
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


@click.command()
@click.option("--format", "style", type=click.Choice(list(_TABLES)), default=DEFAULT)
def table2(style: str) -> None:
    """Print Tables 2, 3 and 4 of the DST paper beside what the architectures alone determine.

    Of Tables 3 and 4 the interval EC of each network, and whether the printed DC lies inside.
    Counted without data, weights or arithmetic.
    """
    from syops.dst.paper.tables import tables

    for i, table in enumerate(tables()):
        emit("\n" * (i > 0) + _TABLES[style](table))


@click.command()
@click.argument("file", type=FILE, required=False)
@click.option("--bibtex", is_flag=True, help="Print the BibTeX entries of the sources.")
def conventions(file: Path | None, bibtex: bool) -> None:
    """List what may count as an AC or a MAC, with sources and scope: of syops, or of a .toml FILE.

    'syops run --convention NAME' counts under one; a saved report is seen under another one by
    'syops compare REPORT --convention NAME'.
    """
    found = list_conventions() if file is None else tuple(load_conventions(file).values())
    if bibtex:
        emit("\n\n".join(filter(None, (each.bibtex.strip() for each in found))) + "\n")
        return
    columns = (Column("name", "name"), Column("title", "title"))
    show(Table(columns, tuple((each.name, each.title) for each in found)))
    for each in found:
        click.echo(f"\n{each.name}:")
        for name in TEXTS:
            if name not in ("name", "title", "bibtex") and (text := getattr(each, name)):
                told = f"{name.replace('_', ' ')}: {text}"
                click.echo(click.wrap_text(told, initial_indent="  ", subsequent_indent="    "))
