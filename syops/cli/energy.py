"""Run ``syops energy``: list energy profiles, or price a network under every model of energy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from syops.cli.comparing import Amount, is_saved
from syops.cli.distributed import Place
from syops.cli.help import command
from syops.cli.networks import named
from syops.cli.options import (
    BATCH_DIM,
    DATA,
    FILE,
    INPUT,
    KEYWORDS,
    SEEN_SHAPE,
    TIME_STEPS,
    WEIGHTS,
    Real,
)
from syops.cli.output import Display, display_options, show
from syops.cli.running import Keywords, Run
from syops.cost.energy import LARGEST
from syops.cost.memory import WIDTHS, MemoryModel
from syops.cost.profiles import list_energy_models, load_energy_models
from syops.report.menu import COLUMNS
from syops.report.report import Report
from syops.show.table import Column
from syops.show.tabular import Table
from syops.units import read_time

_COUNTING = ("keywords", "weights", "input_path", "data", "shape", "batch_dim", "time_steps")


@command("syops energy --compare dsnn18")
@click.argument("file", type=FILE, required=False)
@click.option(
    "--compare", metavar="NETWORK",
    help="Price NETWORK under every profile and every other model of energy. A model that does not "
    "apply says why. NETWORK is a report that 'syops run --format json' wrote, or a MODEL as "
    "'syops run' takes it, which is counted with the options below.",
)  # fmt: skip
@click.option(
    "--queue", type=click.IntRange(0, 2**31 - 1), metavar="N",
    help="Spikes that a queue (FIFO) holds, in the models that know memory.  "
    "[default: 1000]",
)  # fmt: skip
@click.option(
    "--bits", type=click.Choice([str(width) for width in WIDTHS]),
    help="Bits of a weight and of a state, in the models that know memory.  [default: those of the "
    "dtype]",
)  # fmt: skip
@click.option(
    "--latency", type=Amount("time", read_time), metavar="TIME",
    help="Time of an inference, such as 10ms: how long a chip draws its power at rest.",
)  # fmt: skip
@click.option(
    "--hops", nargs=2, type=Real(0, LARGEST), metavar="X Y",
    help="Mean number of hops of a message from core to core in your mapping: east or west, and "
    "north or south.",
)  # fmt: skip
@KEYWORDS
@WEIGHTS
@INPUT
@DATA
@SEEN_SHAPE
@BATCH_DIM
@TIME_STEPS
@display_options()
def energy(
    file: Path | None,
    compare: str | None,
    queue: int | None,
    bits: str | None,
    latency: float | None,
    hops: tuple[float, float] | None,
    display: Display,
    **counting: Any,
) -> None:
    """List the energy profiles with their sources, or price a network under every model.

    Lists the profiles of syops, or those of a .toml FILE. With --compare NETWORK prices a network.
    """
    if compare is None:
        _refuse(set(click.get_current_context().params) - {"file", "compare"}, "needs --compare")
        _list(file)
        return
    if file is not None:
        raise click.UsageError("FILE lists profiles and --compare prices a network: give one")
    display.check(COLUMNS)
    memory = MemoryModel(bits=None if bits is None else int(bits))
    if queue is not None:
        memory = replace(memory, queue=queue)
    report = _report(compare, **counting)
    display.show(report.energy_menu(memory, latency=latency, hops=hops))


def _refuse(names: set[str], why: str) -> None:
    """Refuse options of these names, if the user gave one."""
    context = click.get_current_context()
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is not ParameterSource.DEFAULT
        if option.name in names and given:
            raise click.UsageError(f"{max(option.opts, key=len)} {why}")


def _report(network: str, keywords: Keywords, time_steps: int | None, **options: Any) -> Report:
    """Return a saved report, or that of a network that is counted."""
    if is_saved(network):
        _refuse(set(_COUNTING), "does not apply to a saved report")
        return Report.load(network)
    work = Run(**options, counting={"time_steps": time_steps, "neuron_rates": True})
    work.check()
    return named(work.report(network, keywords, Place()), network)


def _list(file: Path | None) -> None:
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
