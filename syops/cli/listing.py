"""Run ``syops models``, ``energy``, ``conventions`` and ``table2``: list what comes with syops."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from syops.cli.help import command
from syops.cli.options import FILE, OUTPUT
from syops.cli.output import Display, display_options, emit, show
from syops.cost.conventions import TEXTS, list_conventions, load_conventions
from syops.cost.profiles import list_energy_models, load_energy_models
from syops.files import check_writable
from syops.models import list_models
from syops.report.menu import COLUMNS as MENU
from syops.report.report import Report
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

    Of each network both readings, BatchNorms folded and BatchNorms counted, and whether one is
    equal to what is printed, at its precision. Of Tables 3 and 4 the interval EC, and whether the
    printed DC lies inside. Counted without data, weights or arithmetic.
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


@command("syops energy --compare report.json")
@click.argument("file", type=FILE, required=False)
@click.option(
    "--compare", type=FILE, metavar="REPORT",
    help="Price the network of a REPORT that 'syops run --format json' wrote under every profile "
    "and every other model of energy; models that do not apply say why.",
)  # fmt: skip
@display_options()
def energy(file: Path | None, compare: Path | None, display: Display) -> None:
    """List the energy profiles, with their sources: those of syops, or of a .toml FILE."""
    if compare is not None:
        if file is not None:
            raise click.UsageError("FILE lists profiles and --compare prices a report: give one")
        display.check(MENU)
        display.show(Report.load(compare).energy_menu())
        return
    for name in ("output", "columns", "sort", "top", "units", "style", "verbose"):
        if click.get_current_context().get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--{'format' if name == 'style' else name} needs --compare")
    found = list_energy_models() if file is None else tuple(load_energy_models(file).values())
    rows = [
        (m.name, m.e_ac_pj, m.e_mac_pj, "only" if m.spike_only else "", m.technology) for m in found
    ]
    columns = (
        Column("name", "name"),
        Column("e_ac_pj", "AC (pJ)", "number"),
        Column("e_mac_pj", "MAC (pJ)", "number"),
        Column("spike_only", "spikes"),
        Column("technology", "technology"),
    )
    show(Table(columns, tuple(rows)))
    for told in ("source", "includes"):
        for text in dict.fromkeys(getattr(model, told) for model in found):
            names = ", ".join(model.name for model in found if getattr(model, told) == text)
            if text:
                click.echo(f"\n{click.wrap_text(f'{names}:', subsequent_indent='')}")
                click.echo(click.wrap_text(text, initial_indent="  ", subsequent_indent="  "))


@command("syops conventions --bibtex")
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
