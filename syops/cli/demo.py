"""Run ``syops demo``: trained networks on real data."""

from __future__ import annotations

import json

import click

from syops.cli.aside import silence_torch
from syops.cli.help import command
from syops.cli.imports import keeping_imports
from syops.cli.output import emit, show
from syops.show.table import Column
from syops.show.tabular import Table

COLUMNS = (
    Column("name", "network"),
    Column("accuracy", "accuracy", "accuracy"),
    Column("time_steps", "T", "integer"),
    Column("ec_mj", "EC", "energy", interval=True),
    Column("ac", "O_ac", "count"),
    Column("mac", "O_mac", "count"),
    Column("dc_mj", "DC", "energy"),
)


@command("syops demo --data digits")
@click.option(
    "--data",
    type=click.Choice(["digits", "fashion-mnist"]),
    default="digits",
    show_default=True,
    help="The latter is Debian's package dataset-fashion-mnist.",
)
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table")
def demo(data: str, style: str) -> None:
    """Count trained networks on 450 handwritten digits, or on 10,000 images of clothes.

    A full-spike network (fsnn), the same with its auxiliary accumulation pathway (dsnn), and for
    the digits SEW ResNet with ADD. Shows how many answers are right and what one costs.
    """
    silence_torch()
    with keeping_imports():
        from syops.models.demo import rows

    found = rows(data)
    if style == "json":
        emit(f"{json.dumps([row._asdict() for row in found], indent=2)}\n")
    else:
        cells = tuple(tuple(getattr(row, column.key) for column in COLUMNS) for row in found)
        show(Table(COLUMNS, cells))
