"""Count a network with several values of one of its arguments, such as T."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from syops.cli.distributed import joined
from syops.cli.networks import named
from syops.cli.output import Display, ShownPart
from syops.cli.running import Keywords, Run
from syops.files import check_writable, write_whole
from syops.report.comparison import Comparison, compare
from syops.report.report import Report

_SUFFIXES = (".pdf", ".png", ".svg")


def check_sweep(
    keywords: Keywords,
    sweep: tuple[str, Any],
    picture: Path | None,
    view: ShownPart,
    display: Display,
) -> None:
    """Find out before the count what cannot be done, shown or written."""
    name, values = sweep[0], values_of(sweep)
    if len(values) < 2 or len(set(map(str, values))) < len(values):
        raise click.UsageError(f"--sweep {name}: expected different values, such as {name}=1,2,4")
    if name in dict(keywords):
        raise click.UsageError(f"--set {name} and --sweep {name}: give one of them")
    if view != ShownPart(memory=False, baselines=False, nonzero=None) or display.depth is not None:
        raise click.UsageError("--sweep compares whole networks: it has no layers to show")
    if picture is not None and picture.suffix.lower() not in _SUFFIXES:
        raise click.UsageError(f"--picture {picture}: its suffix must be {', '.join(_SUFFIXES)}")
    display.check()
    if picture is not None:
        check_writable(picture)


def values_of(sweep: tuple[str, Any]) -> tuple[Any, ...]:
    """Return the values of an argument; words may be written without quotes."""
    values = sweep[1]
    if isinstance(values, str):
        return tuple(values.split(","))
    return tuple(values) if isinstance(values, tuple | list) else (values,)


def count_sweep(
    work: Run,
    model: str,
    keywords: Keywords,
    sweep: tuple[str, Any],
    display: Display,
    picture: Path | None,
) -> None:
    """Count the network with each value, and show all; after an error, what was counted before."""
    name, found = sweep[0], {}
    with joined(work.distributed) as place:
        is_first = place.rank == 0
        for value in values_of(sweep):
            label = f"{name}={value}"
            try:
                found[label] = named(
                    work.report(model, (*keywords, (name, value)), place, label), model
                )
            except (Exception, KeyboardInterrupt) as error:
                before = getattr(error, "report", None)
                if isinstance(before, Report):
                    found[label] = named(before, model)
                if found and is_first:
                    display.show_anyhow(compare(found))
                raise
    if not is_first:
        return
    result = compare(found)
    display.show_anyhow(result)
    if picture is not None:
        draw(result, picture)


def draw(result: Comparison, path: Path) -> None:
    """Write the picture of a comparison, in the format that the suffix names."""
    suffix = path.suffix.lower().removeprefix(".")
    figure = result.plot()
    write_whole(path, lambda partial: figure.savefig(partial, format=suffix))
