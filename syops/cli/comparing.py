"""Run ``syops compare`` and ``syops check``: networks side by side, and against a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from syops.cli.aside import prints_aside
from syops.cli.help import command, completes
from syops.cli.imports import keeping_imports
from syops.cli.networks import assumed, fed, named, sample_dim, sizes, structure
from syops.cli.options import CONVENTION, ENERGY, FILE, FOLD_BN, GRADED, GRAPH, KEYWORDS, SHAPE
from syops.cli.output import Display, display_options, warn
from syops.cost.conventions import DEFAULT, Convention
from syops.errors import SyopsValueError
from syops.models.catalogue import list_models
from syops.report.comparison import REFERENCES, Reference
from syops.report.comparison import compare as put_side_by_side
from syops.report.conventions import Conventions, conventions_named
from syops.report.gate import Limits
from syops.report.gate import check as hold_against
from syops.report.report import Report
from syops.units import read_count, read_energy, read_share


@command("syops compare ours=report.json sew_resnet18 --to first")
@click.argument(
    "networks", nargs=-1, required=True, metavar="NETWORK...", shell_complete=completes(list_models)
)
@click.option(
    "--to", type=click.Choice(REFERENCES), default="ann",
    help="Compare the energy of each network with that of the same network as an ANN, or with that "
    "of the first network.",
)  # fmt: skip
@click.option(
    "--conventions", "names", metavar="NAMES",
    help="Show each network under several conventions: all, or names with commas (see 'syops "
    "conventions'), and why they differ.",
)  # fmt: skip
@click.option("--layers", is_flag=True, help="Compare two networks layer by layer.")
@KEYWORDS
@SHAPE
@CONVENTION
@FOLD_BN
@GRADED
@ENERGY
@display_options()
def compare(
    networks: tuple[str, ...],
    to: Reference,
    names: str | None,
    layers: bool,
    display: Display,
    **counting: Any,
) -> None:
    """Put networks side by side, in the layout of the DST paper's Table 2.

    A NETWORK is a report that 'syops run' or 'syops bounds' wrote with --format json, or a MODEL
    as they take it, of which the bounds are compared. LABEL=NETWORK calls it LABEL.

    --energy and --convention apply to all of them, and price a report anew. The other options of a
    count apply to each MODEL.
    """
    display.check()
    if names is not None and (layers or _is_asked("to")):
        raise click.UsageError("--conventions is a table of its own: leave --layers and --to out")
    chosen = None if names is None else conventions_named(names)
    if layers and len(networks) != 2:
        raise click.UsageError(f"--layers compares two networks, got {len(networks)}")
    given = [_labelled(network) for network in networks]
    check_saved([network for _, network in given])
    reports = [read_report(label, network, **counting) for label, network in given]
    if chosen is not None:
        display.show(Conventions(tuple(reports), chosen))
        return
    result = put_side_by_side(reports, to)
    display.show(result.layers() if layers else result)


def check_saved(networks: Sequence[str]) -> None:
    """Refuse options of a count where all networks were counted already."""
    if not all(map(is_saved, networks)):
        return
    for name, option in (
        ("keywords", "--set"),
        ("shape", "--input-shape"),
        ("fold_bn", "--fold-bn"),
        ("graded", "--graded"),
    ):
        if _is_asked(name):
            raise click.UsageError(f"{option} does not apply to saved reports")


def _labelled(network: str) -> tuple[str, str]:
    """Return what a network is called, "" for its own name, and the network."""
    label, equals, rest = network.partition("=")
    if equals and not Path(network).exists():
        return label, rest
    return Path(network).stem if is_saved(network) else "", network


def is_saved(network: str) -> bool:
    """Return whether a network is a file of a report, and not one of a graph."""
    is_file = Path(network).is_file() and not network.endswith(GRAPH)
    return is_file or network.lower().endswith(".json")


def _is_asked(option: str) -> bool:
    """Return whether the user gave it, were it its default."""
    source = click.get_current_context().get_parameter_source(option)
    return source not in (None, ParameterSource.DEFAULT)


def read_report(
    label: str,
    network: str,
    *,
    keywords: tuple[tuple[str, Any], ...],
    shape: tuple[int, ...] | None,
    energy: Any,
    convention: Convention = DEFAULT,
    **counting: Any,
) -> Report:
    """Return a saved report, or the bounds of a model; ``label``: what it is to be called."""
    with prints_aside():  # the ANN is traced where it is first asked for, here in `replace`
        if is_saved(network):
            report = Report.load(network)
            report = report.under(convention) if _is_asked("convention") else report
            report = report.priced(energy) if _is_asked("energy") else report
        else:
            with keeping_imports():
                from syops.api import get_model_bounds

            with assumed(network, shape):
                found = get_model_bounds(
                    structure(network, keywords),
                    sizes(network, keywords, shape),
                    input_signal=fed(network),
                    batch_dim=sample_dim(network),
                    energy=energy,
                    convention=convention,
                    **counting,
                )
            report = named(found, network)
        return replace(report, model=label or report.model)


class Amount(click.ParamType):
    """An amount with its unit, read by one of the functions of `syops.units`."""

    def __init__(self, name: str, read: Callable[[str], float]) -> None:
        self.name = name
        self._read = read

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            return self._read(str(value))
        except SyopsValueError as error:
            self.fail(f"{error}.", param, ctx)


ENERGY_AMOUNT, COUNT, SHARE = (
    Amount("energy", read_energy),
    Amount("operations", read_count),
    Amount("share", read_share),
)


@command("syops check report.json --max-dc 2.5mJ --full-spike")
@click.argument("report", type=FILE)
@click.option(
    "--max-dc", "dc_mj", type=ENERGY_AMOUNT, metavar="ENERGY", help="Largest DC, such as 2.5mJ.",
)  # fmt: skip
@click.option(
    "--max-ec", "ec_mj", type=ENERGY_AMOUNT, metavar="ENERGY",
    help="Largest upper end of EC, the energy if every neuron fires at every time-step.",
)  # fmt: skip
@click.option("--max-ac", "ac", type=COUNT, metavar="COUNT", help="Largest O_ac, such as 1.7G.")
@click.option("--max-mac", "mac", type=COUNT, metavar="COUNT", help="Largest O_mac, such as 0.2G.")
@click.option(
    "--max-energy-ratio", "energy_ratio", type=SHARE, metavar="RATIO",
    help="Largest E(SNN)/E(ANN), such as 0.3 or 30%.",
)  # fmt: skip
@click.option(
    "--full-spike", is_flag=True,
    help="Only spikes may reach all synaptic layers but the first and the last.",
)  # fmt: skip
@click.option(
    "--baseline", type=FILE, metavar="FILE",
    help="An earlier report: DC (without data, the upper end of EC) must not have grown, and what "
    "was full-spike must still be.",
)  # fmt: skip
@click.option(
    "--tolerance", type=SHARE, metavar="SHARE",
    help="How much energy may exceed that of --baseline, such as 1%.  [default: 0]",
)  # fmt: skip
def check(report: Path, baseline: Path | None, tolerance: float | None, **limits: Any) -> None:
    """Check the REPORT that 'syops run --format json' wrote against a budget, such as in CI.

    Exit status: 0 if it keeps to all limits, 1 if it does not, with a line for each, 2 if that
    cannot be told.
    """
    if tolerance is not None and baseline is None:
        raise click.UsageError("--tolerance needs a --baseline")
    asked = Limits(**{field.name: limits[field.name] for field in fields(Limits)})
    if asked == Limits() and baseline is None:
        raise click.UsageError("nothing to check: give a limit, such as --max-dc, or a --baseline")
    held = Report.load(report)
    findings = hold_against(
        held,
        asked,
        None if baseline is None else Report.load(baseline),
        tolerance or 0.0,
    )
    warn(held)
    for finding in findings:
        click.echo(f"{'ok    ' if finding.ok else 'FAILED'}  {finding.text}")
    click.get_current_context().exit(0 if all(finding.ok for finding in findings) else 1)
