"""``syops demo``: trained networks on real data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from syops.cli.networks import silence_torch
from syops.cli.output import table

if TYPE_CHECKING:
    from syops.demo.measure import Row

HEADINGS = ("network", "accuracy", "T", "EC, µJ", "O_ac", "O_mac", "DC, µJ")


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
        click.echo(json.dumps([row._asdict() for row in found], indent=2))
    else:
        click.echo(table(HEADINGS, [_cells(row) for row in found]))


def _cells(row: Row) -> tuple[str, ...]:
    from syops.render import quantity

    low, high = (1e3 * end for end in row.ec_mj)
    return (
        row.network,
        f"{row.accuracy:.1%}",
        f"{row.T}",
        f"{low:.2f} .. {high:.2f}",
        quantity(row.o_ac),
        quantity(row.o_mac),
        f"{1e3 * row.dc_mj:.2f}",
    )
