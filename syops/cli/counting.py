"""Run ``syops run``: count a network on an input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from syops.choices import AC_COUNTS
from syops.cli.aside import prints_aside, silence_torch
from syops.cli.distributed import joined
from syops.cli.networks import named, sample_shape
from syops.cli.options import (
    BASELINES,
    BATCH_DIM,
    DEPTH,
    ENERGY,
    FILE,
    FOLD_BN,
    GRADED,
    KEYWORDS,
    MEMORY,
    MODEL,
    NONZERO,
    SEEN_SIGNAL,
    TIME_STEPS,
    UNROLL,
    Shape,
)
from syops.cli.output import Display, View, display_options, note
from syops.errors import SyopsError, SyopsFileError, SyopsValueError, first_line
from syops.models import list_models
from syops.report.report import Report

if TYPE_CHECKING:
    from torch import Tensor


@click.command()
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
    "--data", metavar="X",
    help="A data set, read batch by batch: a .npy, .npz or .pt file; a folder of images or of "
    "event clips (.npz), whose sub-folders are classes; an IDX file such as "
    "t10k-images-idx3-ubyte.gz, with its labels beside it; or package.module:callable that returns "
    "a loader. With labels, the accuracy is measured too.",
)  # fmt: skip
@click.option(
    "--labels", type=FILE, metavar="FILE",
    help="The labels of --data: integers, in a .npy, .npz, .pt or IDX file.  [default: the array y "
    "or labels of its file, the IDX file beside it, or its sub-folders]",
)  # fmt: skip
@click.option(
    "--transform", type=click.Choice(("plain", "imagenet")),
    help="What is made of the images in a folder: 'plain' scales them to [0, 1]; 'imagenet' also "
    "resizes the shorter side to 256, crops the centre to 224x224 and normalises.  [default: "
    "plain]",
)  # fmt: skip
@click.option(
    "--limit", type=click.IntRange(1, 2**31 - 1), metavar="N",
    help="Count N samples at most.",
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
@click.option(
    "--input-shape", "shape", type=Shape(), metavar="C,H,W",
    help="What the image is made to fit: C,H,W or N,C,H,W with C 3, or 1 for grey. Any other shape "
    "gives seeded random values instead of the photograph; one size or three are those of a "
    "sample, two or more than three those of a batch, such as T,N,C,H,W.  [default: 3,224,224, and "
    "for a bundled network what the paper feeds it]",
)  # fmt: skip
@click.option(
    "--batch-size", type=click.IntRange(1, 2**31 - 1), metavar="N",
    help="Samples per forward pass. A single image is repeated N times; an input with more "
    "samples is counted in several passes.  [default: all at once; 32 with --data]",
)  # fmt: skip
@click.option(
    "--checkpoint", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Keep the count in FILE, and go on from it if it is there: after a crash or Ctrl-C the "
    "same command ends with the counts of a run without it. FILE stays at the end.",
)  # fmt: skip
@click.option(
    "--checkpoint-seconds", type=click.FloatRange(min=0), metavar="S", default=60,
    help="Write --checkpoint every S seconds, and at the end.",
)  # fmt: skip
@click.option(
    "--distributed", is_flag=True,
    help="Share the batches out to the processes of torchrun --nproc-per-node=K -m syops run ... "
    "--distributed, on GPUs where there are any. The first one prints.",
)  # fmt: skip
@BATCH_DIM
@TIME_STEPS
@UNROLL
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, metavar="SEED",
    help="Seed of initial weights, random inputs and --shuffle.",
)  # fmt: skip
@FOLD_BN
@ENERGY
@GRADED
@MEMORY
@BASELINES
@NONZERO
@SEEN_SIGNAL
@click.option(
    "--ac", type=click.Choice(AC_COUNTS), default="rate",
    help="ACs that are priced: firing rate x dense count, or the synapses that spikes reached.",
)  # fmt: skip
@display_options(DEPTH)
def run(
    model: str,
    keywords: tuple[tuple[str, Any], ...],
    weights: Path | None,
    input_path: Path | None,
    data: str | None,
    labels: Path | None,
    transform: Literal["plain", "imagenet"] | None,
    shuffle: bool,
    workers: int | None,
    logits: str | None,
    shape: tuple[int, ...] | None,
    batch_size: int | None,
    batch_dim: int,
    unroll: int | None,
    seed: int,
    checkpoint: Path | None,
    distributed: bool,
    memory: bool,
    baselines: bool,
    nonzero: float | None,
    display: Display,
    **counting: Any,
) -> None:
    """Count MODEL on an input, or on a data set, and price it.

    MODEL is a bundled network (see 'syops models') or package.module:callable, a function or
    class, in the current directory or installed, that builds a torch.nn.Module.
    """
    view = View(memory, baselines, nonzero)
    view.check(display)
    _check_options(
        data,
        input_path,
        labels=labels,
        transform=transform,
        shuffle=shuffle,
        workers=workers,
        distributed=distributed,
    )
    if unroll is not None and data is None and input_path is None:
        raise click.UsageError("--unroll needs --input or --data, with time-steps")

    import torch

    from syops.api import get_model_syops
    from syops.cli.loading import load_model, read_input, split
    from syops.cli.sources import Reading, open_data
    from syops.models.calibration import calibrate
    from syops.models.weights import load_weights
    from syops.trace.inputs import time_steps, weight_dtype

    silence_torch()
    torch.manual_seed(seed)
    with prints_aside():
        network = load_model(model, dict(keywords))
    if weights is not None:
        load_weights(network, weights)
    bundled = model in list_models()
    if bundled and unroll is not None:
        raise click.UsageError(f"{model} has its loop over time-steps itself: leave --unroll out")
    axis = batch_dim if unroll is None or batch_dim < unroll else batch_dim + 1
    default = sample_shape(model, keywords)
    batches: Any
    if data is not None:
        reading = Reading(
            batch_size=batch_size,
            batch_dim=axis,
            workers=workers,
            shuffle=shuffle,
            seed=seed,
            labels=labels,
            transform=transform,
            image=_image(shape or default),
            dtype=weight_dtype(network),
            time_steps=time_steps(network, counting["time_steps"]),
            bundled=bundled,
        )
        with prints_aside():
            batches = open_data(data, reading)
    else:
        try:
            inputs = read_input(network, input_path, shape, default, batch_size, seed)
        except (RuntimeError, MemoryError) as error:  # torch raises RuntimeError
            if isinstance(error, SyopsError):
                raise
            raise SyopsValueError(f"the input cannot be made: {first_line(error)}") from error
        batches = split(inputs, batch_size, axis)
    if weights is None and bundled:
        note(
            "without --weights, firing rates are those of untrained weights, not representative; "
            "BatchNorm statistics are calibrated on the input, so that deep layers fire at all"
        )
        calibrate(network, _first(batches, data is not None))
    elif weights is None:
        note(
            "without --weights, firing rates are not representative unless MODEL loads trained "
            "weights itself"
        )

    if checkpoint is not None and checkpoint.exists():
        note(f"{checkpoint} is there: its batches are read and compared, and not counted again")

    def show(report: Report) -> None:
        result = named(report, model)
        try:
            shown = view.of(result)
        except SyopsValueError:  # without T there are no baselines: keep what was counted
            replace(display, columns=None, sort=None).show(result)
            raise
        try:
            display.show(shown)
        except SyopsFileError:  # the disk is full, say
            if display.output is None:
                raise
            replace(display, output=None).show(shown)
            raise

    with joined(distributed) as place:
        try:
            with prints_aside():
                report = get_model_syops(
                    network,
                    batches,
                    batch_dim=batch_dim,
                    unroll=unroll,
                    output=_output(logits),
                    checkpoint=checkpoint,
                    distributed=distributed,
                    device=place.device,
                    **counting,
                )
        except (Exception, KeyboardInterrupt) as error:
            before = getattr(error, "report", None)
            if isinstance(before, Report) and place.rank == 0:
                show(before)
            raise
    if place.rank:
        return
    show(report)
    if checkpoint is not None:
        note(f"{checkpoint} holds the whole count; remove it to count anew")


def _first(batches: Any, is_read: bool) -> Tensor:
    """Return the first input; ``is_read``: there are labels beside it."""
    first = next(iter(batches)) if is_read else batches
    return cast("Tensor", first[0] if isinstance(first, tuple | list) else first)


def _check_options(
    data: str | None, input_path: Path | None, **only: Path | str | bool | int | None
) -> None:
    """Refuse what only makes sense with ``--data``, or not with it."""
    if data is not None and input_path is not None:
        raise click.UsageError("--input is one input and --data a data set: give one of them")
    for name, value in only.items():
        if data is None and value:
            raise click.UsageError(f"--{name} needs --data")


def _image(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return channels, height and width of a sample or of a batch."""
    if len(shape) < 3:
        raise click.UsageError(f"--input-shape: expected C,H,W, got {','.join(map(str, shape))}")
    channels, height, width = shape[-3:]
    return channels, height, width


def _output(logits: str | None) -> int | str | Literal[False] | None:
    """Return which part of the model's output holds the logits, as `get_model_syops` takes it."""
    if logits == "none":
        return False
    return int(logits) if logits is not None and logits.lstrip("-").isdecimal() else logits
