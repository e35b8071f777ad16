"""Run ``syops bounds`` and ``syops audit``: what the architecture alone determines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from syops.choices import ENDS, InputSignal, Signal
from syops.cli.aside import prints_aside
from syops.cli.help import command
from syops.cli.imports import keeping_imports
from syops.cli.networks import assumed, declared, fed, named, sample_dim, sizes, structure
from syops.cli.options import (
    BASELINES,
    BATCH_DIM,
    CONVENTION,
    DEPTH,
    ENERGY,
    FOLD_BN,
    FOLDED,
    GRADED,
    KEYWORDS,
    MEMORY,
    MODEL,
    NEURONS,
    NONZERO,
    OUTPUT,
    SHAPE,
    TIME_STEPS,
    UNROLL,
    UNSEEN_SIGNAL,
)
from syops.cli.output import Display, ShownPart, display_options, emit
from syops.files import check_writable


@command("syops bounds fsnn18 --sort EC_max --top 5")
@MODEL
@KEYWORDS
@SHAPE
@UNSEEN_SIGNAL
@NEURONS
@BATCH_DIM
@TIME_STEPS
@UNROLL
@CONVENTION
@FOLD_BN
@ENERGY
@GRADED
@MEMORY
@BASELINES
@NONZERO
@display_options(DEPTH)
def bounds(
    model: str,
    keywords: tuple[tuple[str, Any], ...],
    shape: tuple[int, ...] | None,
    input_signal: tuple[InputSignal, ...],
    neurons: tuple[tuple[str, Signal], ...],
    unroll: int | None,
    batch_dim: int,
    memory: bool,
    baselines: bool,
    nonzero: float | None,
    display: Display,
    **counting: Any,
) -> None:
    """Show what MODEL can cost: operations and energy at firing rates from 0 to 1.

    Needs no data and no weights. MODEL is a bundled network (see 'syops models') or
    package.module:callable, a function or class that builds a torch.nn.Module.
    """
    view = ShownPart(memory, baselines, nonzero)
    view.check(display)
    with keeping_imports():
        from syops.api import get_model_bounds

    with prints_aside(), assumed(model, shape):
        network = structure(model, keywords)
        report = get_model_bounds(
            network,
            sizes(model, keywords, shape, unroll),
            input_signal=fed(model, input_signal),
            neurons=declared(network, neurons),
            unroll=unroll,
            batch_dim=sample_dim(model, batch_dim),
            **counting,
        )
    display.show(view.of(named(report, model)))


@command("syops audit sew_resnet18 --allow none")
@MODEL
@KEYWORDS
@SHAPE
@UNSEEN_SIGNAL
@NEURONS
@BATCH_DIM
@UNROLL
@FOLDED
@click.option(
    "--allow", type=click.Choice([*ENDS, "none"]), multiple=True, default=list(ENDS),
    help="Layers that need not be spike-only, in the order of execution. Repeatable.",
)  # fmt: skip
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table")
@OUTPUT
def audit(
    model: str,
    keywords: tuple[tuple[str, Any], ...],
    shape: tuple[int, ...] | None,
    input_signal: tuple[InputSignal, ...],
    neurons: tuple[tuple[str, Signal], ...],
    unroll: int | None,
    batch_dim: int,
    allow: tuple[str, ...],
    style: str,
    output: Path | None,
    **tracing: Any,
) -> None:
    """Prove that only spikes reach the synapses of MODEL, or say what else does, and why.

    Needs no data and no weights. Exit status: 0 if the network is spike-only, 1 if it is not, 2
    if it cannot be told. MODEL is a bundled network (see 'syops models') or
    package.module:callable, a function or class that builds a torch.nn.Module.
    """
    if "none" in allow and len(allow) > 1:
        raise click.UsageError("--allow none goes with no other --allow")
    if output is not None:
        check_writable(output)
    with keeping_imports():
        from syops.api import check_full_spike

    ends = [end for end in ENDS if end in allow]
    with prints_aside(), assumed(model, shape):
        network = structure(model, keywords)
        found = check_full_spike(
            network,
            sizes(model, keywords, shape, unroll),
            allow=ends,
            input_signal=fed(model, input_signal),
            neurons=declared(network, neurons),
            unroll=unroll,
            batch_dim=sample_dim(model, batch_dim),
            **tracing,
        )
    found = named(found, model)
    emit(f"{found.to_json() if style == 'json' else found}\n", output)
    click.get_current_context().exit(0 if found.full_spike else 1 if found.refuted else 2)
