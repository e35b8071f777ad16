"""Run ``syops fit``: hold a network against the limits of a chip."""

from __future__ import annotations

from typing import Any

import click

from syops.cli.comparing import check_saved, read_report
from syops.cli.help import command, completes
from syops.cli.options import FOLD_BN, KEYWORDS, SHAPE
from syops.cli.output import Display, display_options
from syops.cost.chips import get_chip, list_chips
from syops.models.catalogue import list_models
from syops.report.fit import COLUMNS


@command("syops fit report.json --chip loihi --weight-bits 8")
@click.argument("network", metavar="NETWORK", shell_complete=completes(list_models))
@click.option(
    "--chip", required=True, metavar="CHIP",
    shell_complete=completes(lambda: (each.name for each in list_chips())),
    help="loihi, loihi2, truenorth, speck, FILE.toml or FILE.toml:NAME.",
)  # fmt: skip
@click.option(
    "--limit", "limits", multiple=True, metavar="NAME",
    help="Check this limit alone, such as fan_in. Repeatable.  [default: all that sources state]",
)  # fmt: skip
@click.option(
    "--weight-bits", type=click.IntRange(1, 64), metavar="BITS",
    help="Bits that weights are to have.  [default: those of their dtype]",
)  # fmt: skip
@KEYWORDS
@SHAPE
@FOLD_BN
@display_options()
def fit(
    network: str,
    chip: str,
    limits: tuple[str, ...],
    weight_bits: int | None,
    display: Display,
    **counting: Any,
) -> None:
    """Say whether NETWORK fits a chip, which layers exceed a limit, and how few cores it needs.

    NETWORK is a report that 'syops run' or 'syops bounds' wrote with --format json, or a MODEL as
    they take it. Exit status: 0 if it fits, 1 if not, 2 if that cannot be told.
    """
    display.check(COLUMNS)
    found = get_chip(chip)
    found.stated(limits)
    check_saved([network])
    report = read_report("", network, energy="horowitz45-fp32", graded="mac", **counting)
    result = report.fit(found, limits, weight_bits)
    display.show(result)
    click.get_current_context().exit({True: 0, False: 1, None: 2}[result.fits])
