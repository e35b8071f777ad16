"""``syops models``, ``syops energy`` and ``syops table2``: what comes with syops."""

from __future__ import annotations

import click

from syops.cli.output import table
from syops.energy import list_energy_models
from syops.models import list_models


@click.command()
def models() -> None:
    """List the bundled networks, with their parameters and time-steps."""
    import torch

    from syops.models import create_model
    from syops.render import quantity

    rows = []
    for name in list_models():
        with torch.device("meta"):
            network = create_model(name)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        rows.append((name, quantity(parameters), f"{network.T}"))
    click.echo(table(("name", "parameters", "T"), rows))


@click.command()
@click.option("--format", "style", type=click.Choice(["table", "markdown"]), default="table")
def table2(style: str) -> None:
    """Print Tables 2, 3 and 4 of the DST paper beside what the architectures alone determine.

    Of Tables 3 and 4 the interval EC of each network, and whether the printed DC lies inside.
    Counted without data, weights or arithmetic.
    """
    from syops.paper.tables import render_tables

    click.echo(render_tables(style))


@click.command()
def energy() -> None:
    """List the energy profiles, with their sources."""
    found = list_energy_models()
    rows = [(m.name, f"{m.e_ac_pj:g} pJ", f"{m.e_mac_pj:g} pJ", m.technology) for m in found]
    click.echo(table(("name", "AC", "MAC", "technology"), rows))
    for source in dict.fromkeys(model.source for model in found):
        names = ", ".join(model.name for model in found if model.source == source)
        click.echo(f"\n{names}:")
        click.echo(click.wrap_text(source, initial_indent="  ", subsequent_indent="  "))
