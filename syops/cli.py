"""The ``syops`` command. Loads torch only when a command needs it."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import click

from syops.energy import list_energy_models
from syops.errors import SyopsError, SyopsFileError, SyopsValueError
from syops.models import input_shape, list_models
from syops.options import (
    BATCH_DIM,
    DEPTH,
    ENERGY,
    FILE,
    FOLD_BN,
    FORMAT,
    GRADED,
    KEYWORDS,
    MODEL,
    OUTPUT,
    SHAPE,
    TIME_STEPS,
    Shape,
    signal_option,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from syops.audit import Audit
    from syops.loading import Inputs
    from syops.report import Report

    Result = TypeVar("Result", Report, Audit)

ARRAYS = (".npy", ".npz", ".pt", ".pth")


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command; expected errors are one line on stderr and exit status 2."""
    try:
        sys.exit(cli.main(args=args, prog_name="syops", standalone_mode=False))
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


def _note(message: str) -> None:
    click.echo(f"syops: note: {message}", err=True)


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


@cli.command()
@MODEL
@KEYWORDS
@click.option(
    "--weights", type=FILE, metavar="FILE",
    help="State dict to load, from torch.save or .safetensors. Without it the weights are seeded "
    "random ones, and a bundled network's BatchNorms are calibrated on the input.",
)  # fmt: skip
@click.option(
    "--input", "input_path", type=FILE, metavar="FILE",
    help="A .npy, .npz or .pt file as the model takes it (several arrays: its arguments, by name "
    "or position), or an image, which is resized, cropped and normalised as for ImageNet. "
    "Default: the sample photograph that matplotlib ships.",
)  # fmt: skip
@click.option(
    "--input-shape", "shape", type=Shape(), metavar="C,H,W",
    help="What the image is made to fit: C,H,W or N,C,H,W with C 3, or 1 for grey. Any other shape "
    "gives seeded random values instead of the photograph; one size or three are those of a "
    "sample, two or more than three those of a batch, such as T,N,C,H,W.  [default: 3,224,224, and "
    "for a bundled network what the paper feeds it]",
)  # fmt: skip
@click.option(
    "--batch-size", type=click.IntRange(min=1), metavar="N",
    help="Samples per forward pass. A single image is repeated N times; an input with more "
    "samples is counted in several passes.  [default: all at once]",
)  # fmt: skip
@BATCH_DIM
@TIME_STEPS
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, metavar="SEED",
    help="Seed of initial weights and random inputs.",
)  # fmt: skip
@FOLD_BN
@ENERGY
@GRADED
@signal_option("auto")
@click.option(
    "--ac", type=click.Choice(["rate", "events"]), default="rate",
    help="ACs that are priced: firing rate x dense count, or the synapses that spikes reached.",
)  # fmt: skip
@DEPTH
@FORMAT
@OUTPUT
def run(
    model: str,
    keywords: tuple[tuple[str, Any], ...],
    weights: Path | None,
    input_path: Path | None,
    shape: tuple[int, ...] | None,
    batch_size: int | None,
    batch_dim: int,
    seed: int,
    depth: int | None,
    style: str,
    output: Path | None,
    **counting: Any,
) -> None:
    """Count MODEL on an input and price it.

    MODEL is a bundled network (see 'syops models') or package.module:callable, a function or
    class, in the current directory or installed, that builds a torch.nn.Module.
    """
    _check_form(style, depth, output)

    import torch

    from syops.api import get_model_syops
    from syops.loading import load_model
    from syops.models import calibrate
    from syops.models.weights import load_weights

    _silence_torch()
    torch.manual_seed(seed)
    network = load_model(model, dict(keywords))
    if weights is not None:
        load_weights(network, weights)
    bundled = model in list_models()
    default = _sample_shape(model, keywords)
    inputs = _read_input(network, input_path, shape, default, batch_size, seed)
    batches = _split(inputs, batch_size, batch_dim)
    if weights is None and bundled:
        _note(
            "without --weights, firing rates are those of untrained weights, not representative; "
            "BatchNorm statistics are calibrated on the input, so that deep layers fire at all"
        )
        first = batches[0] if isinstance(batches, list) else batches
        calibrate(network, cast("Tensor", first))
    elif weights is None:
        _note(
            "without --weights, firing rates are not representative unless MODEL loads trained "
            "weights itself"
        )
    report = get_model_syops(network, batches, batch_dim=batch_dim, **counting)
    _emit(_rendered(_named(report, model), style, depth), output)


@cli.command()
@MODEL
@KEYWORDS
@SHAPE
@signal_option()
@BATCH_DIM
@TIME_STEPS
@FOLD_BN
@ENERGY
@GRADED
@DEPTH
@FORMAT
@OUTPUT
def bounds(
    model: str,
    keywords: tuple[tuple[str, Any], ...],
    shape: tuple[int, ...] | None,
    depth: int | None,
    style: str,
    output: Path | None,
    **counting: Any,
) -> None:
    """Tell what MODEL can cost at all: operations and energy at firing rates from 0 to 1.

    Needs no data and no weights. MODEL is a bundled network (see 'syops models') or
    package.module:callable, a function or class that builds a torch.nn.Module.
    """
    _check_form(style, depth, output)
    from syops.api import get_model_bounds

    network = _structure(model, keywords)
    report = get_model_bounds(network, _sizes(model, keywords, shape), **counting)
    _emit(_rendered(_named(report, model), style, depth), output)


@cli.command()
@MODEL
@KEYWORDS
@SHAPE
@signal_option()
@BATCH_DIM
@FOLD_BN
@click.option(
    "--allow", type=click.Choice(["first", "last", "none"]), multiple=True,
    default=["first", "last"],
    help="Layers that need not be spike-only, in the order of execution. Repeatable.",
)  # fmt: skip
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table")
@OUTPUT
def audit(
    model: str,
    keywords: tuple[tuple[str, Any], ...],
    shape: tuple[int, ...] | None,
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
    _check_form(style, None, output)
    from syops.api import check_full_spike

    network = _structure(model, keywords)
    ends = [end for end in allow if end != "none"]
    found = check_full_spike(network, _sizes(model, keywords, shape), allow=ends, **tracing)
    found = _named(found, model)
    _emit(f"{found.to_json() if style == 'json' else found}\n", output)
    click.get_current_context().exit(0 if found.full_spike else 1)


@cli.command()
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
    click.echo(_table(("name", "parameters", "T"), rows))


@cli.command()
@click.option("--format", "style", type=click.Choice(["table", "markdown"]), default="table")
def table2(style: str) -> None:
    """Print Tables 2, 3 and 4 of the DST paper beside what the architectures alone determine.

    Of Tables 3 and 4 the interval EC of each network, and whether the printed DC lies inside.
    Counted without data, weights or arithmetic.
    """
    from syops.paper.tables import render_tables

    click.echo(render_tables(style))


@cli.command("energy")
def profiles() -> None:
    """List the energy profiles, with their sources."""
    found = list_energy_models()
    rows = [(m.name, f"{m.e_ac_pj:g} pJ", f"{m.e_mac_pj:g} pJ", m.technology) for m in found]
    click.echo(_table(("name", "AC", "MAC", "technology"), rows))
    for source in dict.fromkeys(model.source for model in found):
        names = ", ".join(model.name for model in found if model.source == source)
        click.echo(f"\n{names}:")
        click.echo(click.wrap_text(source, initial_indent="  ", subsequent_indent="  "))


def _silence_torch() -> None:
    """spikingjelly registers GPU kernels, and torch misses Triton aloud where there is no GPU."""
    logging.getLogger("torch._library.triton").setLevel(logging.ERROR)


def _structure(model: str, keywords: tuple[tuple[str, Any], ...]) -> nn.Module:
    """A network of which no values are wanted."""
    import torch

    from syops.loading import load_model

    _silence_torch()
    with torch.device("meta") if model in list_models() else nullcontext():
        return load_model(model, dict(keywords))


def _sample_shape(model: str, keywords: tuple[tuple[str, Any], ...]) -> tuple[int, ...]:
    """Sizes of one sample, unless the user says otherwise."""
    if model in list_models():
        return input_shape(model, dict(keywords).get("in_channels"))
    return 3, 224, 224


def _sizes(
    model: str, keywords: tuple[tuple[str, Any], ...], shape: tuple[int, ...] | None
) -> tuple[int, ...]:
    """Sizes of a batch; of a sample that is alone in it, if that is what the user gave."""
    shape = shape or _sample_shape(model, keywords)
    return (1, *shape) if len(shape) in (1, 3) else shape


def _named(result: Result, model: str) -> Result:
    """Under the name of the bundled network, since several of them share a class."""
    return replace(result, model=model) if model in list_models() else result


def _check_form(style: str, depth: int | None, output: Path | None) -> None:
    """Find out before the count what cannot be printed or written."""
    if style == "json" and depth is not None:
        raise click.UsageError("--depth does not apply to --format json, which holds every layer")
    if output is not None:
        _check_writable(output)


def _emit(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
    else:
        _write(output, text)


def _read_input(
    network: nn.Module,
    path: Path | None,
    shape: tuple[int, ...] | None,
    default: tuple[int, ...],
    batch_size: int | None,
    seed: int,
) -> Inputs:
    """The arrays of a file, an image, or random values, in the dtype of the model's weights."""
    import torch

    from syops.arguments import weight_dtype
    from syops.loading import photograph, read_arrays, read_image

    dtype = weight_dtype(network)
    if path is not None and path.suffix.lower() in ARRAYS:
        if shape is not None:
            raise SyopsValueError(f"--input-shape does not apply to {path}, which has one")
        return read_arrays(path, dtype)
    shape = shape or default
    if len(shape) in (1, 3):
        shape = (batch_size or 1, *shape)
    if len(shape) == 4 and shape[1] in (1, 3):
        image = read_image(path or photograph(), *shape[1:])
        return image.to(dtype).repeat(shape[0], 1, 1, 1)
    if path is not None:
        raise SyopsValueError(
            f"--input-shape for the image {path} must be C,H,W or N,C,H,W with C 1 or 3"
        )
    _note(f"the input is random, of shape {list(shape)}")
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def _split(inputs: Inputs, batch_size: int | None, batch_dim: int) -> Inputs | list[Tensor]:
    if batch_size is None:
        return inputs
    if isinstance(inputs, tuple | dict):
        raise SyopsValueError("--batch-size needs an input of one tensor")
    if not -inputs.dim() <= batch_dim < inputs.dim():
        raise SyopsValueError(
            f"--batch-dim {batch_dim}: the input has the shape {list(inputs.shape)}"
        )
    return list(inputs.split(batch_size, batch_dim))


def _rendered(report: Report, style: str, depth: int | None) -> str:
    from syops.render import render_csv, render_table

    if style == "json":
        text = report.to_json()
    else:
        text = (render_csv if style == "csv" else render_table)(report, depth)
    return text.rstrip("\n") + "\n"


def _check_writable(path: Path) -> None:
    """Find out before the count rather than after it."""
    if path.exists() and not path.is_file():
        raise SyopsFileError(f"cannot write {path}: not a regular file")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise SyopsFileError(f"cannot write {path}: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    """Write all or nothing."""
    target = path.resolve()
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        try:
            partial.write_text(text, encoding="utf-8")
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise SyopsFileError(f"cannot write {path}: {error.strerror}") from error


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Names to the left, the numbers in the next two columns to the right."""
    from tabulate import tabulate

    aligned = ("left", "right", "right", "left")[: len(headings)]
    return tabulate(rows, headings, disable_numparse=True, colalign=aligned)
