"""Run ``syops demo``: trained networks on real data."""

from __future__ import annotations

import json

import click

from syops.cli.aside import silence_torch
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


@click.command()
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table")
def demo(style: str) -> None:
    """Count three trained networks on 450 handwritten digits.

    A full-spike network (fsnn), the same with its auxiliary accumulation pathway (dsnn), and SEW
    ResNet with ADD: how many answers are right, and what an answer costs.
    """
    silence_torch()
    from syops.models.demo import rows

    found = rows()
    if style == "json":
        emit(f"{json.dumps([row._asdict() for row in found], indent=2)}\n")
    else:
        cells = tuple(tuple(getattr(row, column.key) for column in COLUMNS) for row in found)
        show(Table(COLUMNS, cells))
