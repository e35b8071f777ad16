"""``syops demo``: trained networks on real data."""

from __future__ import annotations

import json

import click

from syops.cli.networks import silence_torch
from syops.cli.output import emit, show
from syops.tables import Column, Table

COLUMNS = (
    Column("network", "network"),
    Column("accuracy", "accuracy", "share"),
    Column("T", "T", "integer"),
    Column("ec", "EC", "energy", "µJ", decimals=2, interval=True),
    Column("o_ac", "O_ac", "count"),
    Column("o_mac", "O_mac", "count"),
    Column("dc", "DC", "energy", "µJ", decimals=2),
)


@click.command()
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table")
def demo(style: str) -> None:
    """Count three trained networks on 450 handwritten digits.

    A full-spike network (fsnn), the same with its auxiliary accumulation pathway (dsnn), and SEW
    with ADD: how many answers are right, and what an answer costs. Energies in the table are in
    microjoules, in JSON in millijoules.
    """
    silence_torch()
    from syops.demo import rows

    found = rows()
    if style == "json":
        emit(json.dumps([row._asdict() for row in found], indent=2) + "\n")
    else:
        show(Table(COLUMNS, tuple(found)))
