"""The ``syops`` command. Loads torch only when a command needs it.

One file here for each group of commands; `cli` is made of them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from syops.cli import comparing, counting, demo, listing, tracing
from syops.errors import SyopsError


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command; expected errors are one line on stderr and exit status 2."""
    args = sys.argv[1:] if args is None else args
    try:
        sys.exit(cli.main(args=args, prog_name="syops", standalone_mode=False, obj=args))
    except click.Abort:
        click.echo("syops: interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        _fail(error.format_message())
    except SyopsError as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    click.echo(f"syops: error: {' '.join(message.split())}", err=True)
    sys.exit(2)


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(None, "-V", "--version", package_name="syops", message="syops %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Count the synaptic operations of spiking neural networks and price them."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in (
    *(demo.demo, counting.run, tracing.bounds, tracing.audit),
    *(comparing.compare, comparing.check),
    *(listing.models, listing.energy, listing.table2),
):
    cli.add_command(command)
