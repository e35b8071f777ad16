"""Run ``syops run``: count a network on an input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from syops.choices import AC_COUNTS
from syops.cli.distributed import joined
from syops.cli.help import command
from syops.cli.networks import named
from syops.cli.options import (
    BASELINES,
    BATCH_DIM,
    CONVENTION,
    DATA,
    DEPTH,
    ENERGY,
    FILE,
    FOLD_BN,
    GRADED,
    INPUT,
    KEYWORDS,
    MEMORY,
    MODEL,
    NEURON_RATES,
    NEURONS,
    NONZERO,
    SEEN_SHAPE,
    SEEN_SIGNAL,
    TIME_STEPS,
    UNROLL,
    VALUES,
    WEIGHTS,
    ZEROS,
    Keyword,
    Real,
)
from syops.cli.output import Display, ShownPart, display_options
from syops.cli.running import Keywords, Run
from syops.cli.sweep import check_sweep, count_sweep
from syops.errors import SyopsValueError
from syops.report.report import Report


@command("syops run dsnn18 --set T=4 --depth 1")
@MODEL
@KEYWORDS
@WEIGHTS
@INPUT
@DATA
@click.option(
    "--labels", type=FILE, metavar="FILE",
    help="The labels of --data: integers, in a .npy, .npz, .pt or IDX file.  [default: the array y "
    "or labels of its file, the IDX file beside it, or its sub-folders]",
)  # fmt: skip
@click.option(
    "--transform", type=click.Choice(("plain", "imagenet")),
    help="How images of a folder are prepared: 'plain' scales them to [0, 1]; 'imagenet' also "
    "resizes the shorter side to 256, crops the centre to 224x224 and normalises.  [default: "
    "plain]",
)  # fmt: skip
@click.option(
    "--limit", type=click.IntRange(1, 2**31 - 1), metavar="N",
    help="Count N samples at most.",
)  # fmt: skip
@click.option(
    "--spread", is_flag=True,
    help="Report how samples differ: standard deviation, 95 % confidence interval, extremes.",
)  # fmt: skip
@click.option(
    "--stop-when", type=Real(0, 1, min_open=True, max_open=True), metavar="SHARE",
    help="Stop once half the 95 % confidence interval of DC is at most SHARE of DC, such as 0.01.",
)  # fmt: skip
@click.option(
    "--keep-samples", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.npz",
    help="Write AC, MAC and DC of each sample in each layer.",
)  # fmt: skip
@click.option("--shuffle", is_flag=True, help="Read --data in an order that --seed draws.")
@click.option(
    "--workers", type=click.IntRange(0, 1024), metavar="N",
    help="Processes that read --data.  [default: 0, this one]",
)  # fmt: skip
@click.option(
    "--logits", metavar="PART",
    help="The part of the model's output that holds the logits: an index or a name, such as "
    "accumulated; or none, for no accuracy.  [default: the only part that fits the labels]",
)  # fmt: skip
@SEEN_SHAPE
@click.option(
    "--batch-size", type=click.IntRange(1, 2**31 - 1), metavar="N",
    help="Samples per forward pass. A single image is repeated N times; an input with more "
    "samples is counted in several passes.  [default: all at once; 32 with --data]",
)  # fmt: skip
@click.option(
    "--checkpoint", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Keep the count in FILE, and resume from FILE if it exists. After a crash or Ctrl-C the "
    "same command gives the same counts as an uninterrupted run. FILE is kept at the end.",
)  # fmt: skip
@click.option(
    "--checkpoint-seconds", type=Real(min=0), metavar="S", default=60,
    help="Write --checkpoint every S seconds, and at the end.",
)  # fmt: skip
@click.option(
    "--distributed", is_flag=True,
    help="Share the batches among the processes of torchrun --nproc-per-node=K -m syops run ... "
    "--distributed, on GPUs where there are any. The first process prints.",
)  # fmt: skip
@click.option(
    "--sweep", type=Keyword(), metavar="NAME=V1,V2,...",
    help="Count MODEL with each of these values of an argument, such as T=1,2,4,8, and put them "
    "side by side: energy against accuracy over T.",
)  # fmt: skip
@click.option(
    "--picture", type=click.Path(dir_okay=False, writable=True, path_type=Path), metavar="FILE",
    help="Draw what --sweep finds in FILE: .pdf, .png or .svg.",
)  # fmt: skip
@BATCH_DIM
@TIME_STEPS
@UNROLL
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, metavar="SEED",
    help="Seed of initial weights, random inputs and --shuffle.",
)  # fmt: skip
@CONVENTION
@FOLD_BN
@ENERGY
@GRADED
@VALUES
@MEMORY
@BASELINES
@NONZERO
@ZEROS
@NEURON_RATES
@SEEN_SIGNAL
@NEURONS
@click.option(
    "--ac", type=click.Choice(AC_COUNTS),
    help="The count of ACs that is priced: firing rate x dense count, or the synapses that spikes "
    "reached.  "
    "[default: as --convention says, which is rate]",
)  # fmt: skip
@display_options(DEPTH)
def run(
    model: str,
    keywords: Keywords,
    sweep: tuple[str, Any] | None,
    picture: Path | None,
    memory: bool,
    baselines: bool,
    nonzero: float | None,
    zeros: bool,
    neuron_rates: bool,
    display: Display,
    **options: Any,
) -> None:
    """Count MODEL on an input, or on a data set, and price it.

    MODEL is a bundled network (see 'syops models') or package.module:callable, a function or
    class, in the current directory or installed, that builds a torch.nn.Module; or FILE.nir, a
    graph that takes [T, N, ...] (--set dt=0.001, --set neurons=sinabs).
    """
    chosen = {name: options.pop(name) for name in Run.__dataclass_fields__ if name in options}
    work = Run(**chosen, counting=options | {"zeros": zeros, "neuron_rates": neuron_rates})
    view = ShownPart(memory, baselines, nonzero, zeros, neuron_rates)
    if sweep is None:
        if picture is not None:
            raise click.UsageError("--picture needs --sweep")
        view.check(display)
    else:
        check_sweep(keywords, sweep, picture, view, display)
    work.check()

    if sweep is not None:
        count_sweep(work, model, keywords, sweep, display, picture)
        return
    with joined(work.distributed) as place:
        try:
            report = work.report(model, keywords, place)
        except (Exception, KeyboardInterrupt) as error:
            before = getattr(error, "report", None)
            if isinstance(before, Report) and place.rank == 0:
                show_as(view, named(before, model), display)
            raise
    if place.rank == 0:
        show_as(view, named(report, model), display)


def show_as(view: ShownPart, report: Report, display: Display) -> None:
    """Print or write a report; as it is, where it has not what is to be seen of it."""
    try:
        shown = view.of(report)
    except SyopsValueError:  # without T there are no baselines: keep what was counted
        replace(display, columns=None, sort=None).show(report)
        raise
    display.show_anyhow(shown)
