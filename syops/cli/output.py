"""Print and write what commands give out."""

from __future__ import annotations

import functools
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import click

from syops.cli.aside import prints_aside
from syops.cli.options import (
    CAPTION,
    COLUMNS,
    LABEL,
    NOTES,
    OUTPUT,
    SORT,
    TOP,
    UNITS,
    VERBOSE,
)
from syops.cost.figures import Figures
from syops.cost.warnings import find_cautions
from syops.errors import SyopsFileError
from syops.files import check_writable, write_text
from syops.report.baselines import COLUMNS as ANNS
from syops.report.baselines import Baselines
from syops.report.comparison import Comparison
from syops.report.conventions import Conventions
from syops.report.difference import LayerComparison
from syops.report.fit import Fit
from syops.report.memory import COLUMNS as ACCESSES
from syops.report.memory import Memory
from syops.report.menu import EnergyMenu
from syops.report.neurons import NeuronReport
from syops.report.report import Report
from syops.report.zeros import COLUMNS as ZEROS
from syops.report.zeros import ZeroReport
from syops.show.formats import DEFAULT, FORMATS, WholeFormat
from syops.show.formats.cells import printable
from syops.show.formats.latex import to_latex
from syops.show.formats.text import to_terminal, to_text
from syops.show.layers import COLUMNS as OPERATIONS
from syops.show.neurons import COLUMNS as NEURONS
from syops.show.table import Column
from syops.show.tabular import Table

Shown: TypeAlias = (
    Report
    | Memory
    | Baselines
    | ZeroReport
    | NeuronReport
    | Fit
    | EnergyMenu
    | Comparison
    | LayerComparison
    | Conventions
)
"""What a command shows."""

LATEX = "latex"
"""The name of the format that has a caption, a label and notes of the user's own."""

Decorator: TypeAlias = Callable[[Callable[..., None]], Callable[..., None]]


@dataclass(frozen=True)
class Display:
    """How a result is to be shown, and where."""

    style: str
    output: Path | None
    depth: int | None = None
    columns: str | None = None
    sort: str | None = None
    top: int | None = None
    units: Sequence[str] = ()
    verbose: bool = False
    caption: str | None = None
    label: str | None = None
    notes: str | None = None

    @property
    def arrangement(self) -> dict[str, Any]:
        """The arguments of ``table`` that the user gave."""
        names = ("depth", "columns", "sort", "top", "units")
        return {name: value for name in names if (value := getattr(self, name))}

    @property
    def latex(self) -> dict[str, Any]:
        """The arguments of ``to_latex`` alone that the user gave."""
        names = ("caption", "label", "notes")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def check(self, columns: Sequence[Column] = ()) -> None:
        """Find out before the count what cannot be shown or written.

        Args:
            columns: all that there are, if that is known.
        """
        arrangement = self.arrangement
        if arrangement and isinstance(FORMATS[self.style], WholeFormat):
            raise click.UsageError(
                f"--{next(iter(arrangement))} does not apply to --format {self.style}, which holds "
                "everything"
            )
        if self.latex and self.style != LATEX:
            raise click.UsageError(f"--{next(iter(self.latex))} needs --format {LATEX}")
        to_latex(Table(OPERATIONS, (), caption="its own"), **self.latex)
        arrangement.pop("depth", None)
        if columns:
            Table(tuple(columns), ()).arranged(**arrangement)
        if self.output is not None:
            check_writable(self.output)

    def show(self, result: Shown) -> None:
        """Print or write it, and say what may mislead where the output is not read at once."""
        quiet = self.output is None and sys.stdout.isatty()
        with prints_aside():  # the ANN is traced here, where it is first asked for
            if not quiet:
                for of, report in _reports(result):
                    warn(report, of)
            made = self._made(result)
        if isinstance(made, Table):
            show(made, self.output, self.verbose)
        else:
            emit(made, self.output)

    def show_anyhow(self, result: Shown) -> None:
        """Print or write what took long to count; print it also where it cannot be written."""
        try:
            self.show(result)
        except SyopsFileError:  # the disk is full, say
            if self.output is None:
                raise
            replace(self, output=None).show(result)
            raise

    def _made(self, result: Shown) -> Table | str:
        if self.style == DEFAULT:
            return result.table(**self.arrangement)
        if self.style == LATEX:
            return result.to_latex(**self.latex, **self.arrangement)
        return result.to_format(self.style, command=command_line(), **self.arrangement)


def command_line() -> str | None:
    """Return the command that runs, as it was typed."""
    args = click.get_current_context().obj
    return None if args is None else shlex.join(["syops", *args])


@dataclass(frozen=True)
class ShownPart:
    """What of a report is to be shown: its operations, or one of the tables beside these."""

    memory: bool
    baselines: bool
    nonzero: float | None
    zeros: bool = False
    neuron_rates: bool = False

    def check(self, display: Display) -> None:
        """Find out before the count whether it can be shown so."""
        names = [name for name in _COLUMNS if getattr(self, name)]
        options = [f"--{name}".replace("_", "-") for name in names]
        if len(names) > 1:
            asked = " and ".join(options)
            raise click.UsageError(f"{asked} are tables of their own: give one of them")
        if self.nonzero is not None and not self.baselines:
            raise click.UsageError("--nonzero needs --baselines")
        if names and display.depth is not None:
            raise click.UsageError(
                f"--depth does not apply to {options[0]}, a table that adds no layers up"
            )
        display.check(_COLUMNS[names[0]] if names else OPERATIONS)

    def of(self, report: Report) -> Shown:
        """Return what is shown of a report."""
        if self.baselines:
            return report.baselines(self.nonzero)
        if self.zeros:
            return report.zeros()
        if self.neuron_rates:
            return report.neuron_rates()
        return report.memory() if self.memory else report


_COLUMNS = {"memory": ACCESSES, "baselines": ANNS, "zeros": ZEROS, "neuron_rates": NEURONS}
"""All columns of the tables that are not layers."""


FORMAT = click.option(
    "--format", "style", default=DEFAULT,
    type=click.Choice(list(FORMATS)),
    help="Format of the output. html is a page with everything in it, which loads no other file.",
)  # fmt: skip


def display_options(*more: Decorator) -> Decorator:
    """Give a command the options of `Display` and ``more``, and a `Display` as ``display``."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def packed(*args: Any, **options: Any) -> None:
            names = Display.__dataclass_fields__
            chosen = {name: options.pop(name) for name in names if name in options}
            command(*args, display=Display(**chosen), **options)

        decorated: Callable[..., None] = packed
        options: Sequence[Decorator] = (
            *(OUTPUT, FORMAT, NOTES, LABEL, CAPTION, VERBOSE, UNITS, TOP, SORT, COLUMNS),
            *more,
        )
        for option in options:
            decorated = option(decorated)
        return decorated

    return decorate


def _reports(result: Shown) -> Sequence[tuple[str, Figures]]:
    """Return the reports that figures are of, each with what to call it beside the others."""
    if isinstance(result, Report):
        return [("", result)]
    if isinstance(result, Memory | Baselines | ZeroReport | NeuronReport | Fit | EnergyMenu):
        return [("", result.report)]
    return [
        (f"{name}: ", report) for name, report in zip(result.names, result.reports, strict=True)
    ]


def note(message: str) -> None:
    click.echo(f"syops: note: {message}", err=True)


def warn(report: Figures, of: str = "") -> None:
    """Say on standard error what may mislead in a report, or in a network of several."""
    for warning in find_cautions(report):
        click.echo(f"syops: warning: {printable(of + str(warning))}", err=True)


def show(table: Table, output: Path | None = None, verbose: bool = False) -> None:
    """Print a table as wide and colourful as the terminal is, or write all of it."""
    if output is not None:
        emit(f"{to_text(table)}\n", output)
        return
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    color = sys.stdout.isatty() and not plain
    emit(f"{to_terminal(table, verbose, color)}\n")


def emit(text: str, output: Path | None = None) -> None:
    """Print, in the letters that standard output has, or write."""
    if output is not None:
        write_text(output, text)
        return
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_PLAIN).encode(encoding, "replace").decode(encoding)
    click.echo(text, nl=False)


_PLAIN = str.maketrans({"µ": "u", "←": "<-", "–": "-", "×": "x", "·": "*"})
