"""Define the ``syops`` command, which loads torch only when a subcommand needs it.

Each group of commands has a file here; `cli` is made of them.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from syops.cli import comparing, counting, demo, energy, hardware, listing, tracing
from syops.cli.imports import ProcessArguments
from syops.errors import SyopsError, SyopsFileError, first_line, shown, with_type


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command; every error is one line on stderr and exit status 2."""
    args = ProcessArguments(sys.argv[1:]) if args is None else args
    try:
        sys.exit(cli.main(args=args, prog_name="syops", standalone_mode=False, obj=args))
    except click.Abort:
        click.echo("syops: interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        _fail(error.format_message())
    except SyopsError as error:
        _fail(str(error))
    except Exception as error:  # exit status 1 would say "over budget" or "not full-spike"
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(frame.filename)}:{frame.lineno}"
        _fail(f"internal error, please report it: {with_type(error)} (at {where})")


def _fail(message: str) -> NoReturn:
    click.echo(f"syops: error: {' '.join(message.split())}", err=True)
    sys.exit(2)


class _Commands(click.Group):
    """Commands that run code of the user's, and print."""

    def invoke(self, ctx: click.Context) -> Any:
        if sys.stdout is None:
            raise SyopsFileError("standard output is closed; send it to /dev/null to have none")
        try:
            return super().invoke(ctx)
        except SyopsError:
            raise
        except OSError as error:
            _drop_output()
            where = error.filename or "standard output"
            raise SyopsFileError(
                f"cannot read or write {where}: {error.strerror or first_line(error)}"
            ) from error
        except SystemExit as error:
            code = "" if error.code is None else shown(error.code)
            raise SyopsError(
                f"the code of the network ended the program: it called sys.exit({code}); "
                "keep argparse and the like out of what is imported, under "
                "if __name__ == '__main__'"
            ) from error
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise SyopsError(f"the code of the network was ended by {with_type(error)}") from error


def _drop_output() -> None:
    """Let Python not try to write what is left when it exits, and fail again."""
    try:
        sys.stdout.flush()
    except (AttributeError, ValueError):  # there is no standard output, or it is closed
        pass
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


@click.group(
    cls=_Commands,
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
    *(comparing.compare, comparing.check, hardware.fit),
    *(listing.models, energy.energy, listing.conventions, listing.table2),
):
    cli.add_command(command)
