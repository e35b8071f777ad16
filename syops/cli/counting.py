"""Run ``syops run``: count a network on an input."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from syops.choices import AC_COUNTS
from syops.cli.aside import prints_aside, silence_torch
from syops.cli.networks import named, sample_shape
from syops.cli.options import (
    BATCH_DIM,
    DEPTH,
    ENERGY,
    FILE,
    FOLD_BN,
    GRADED,
    KEYWORDS,
    MEMORY,
    MODEL,
    SEEN_SIGNAL,
    TIME_STEPS,
    Shape,
)
from syops.cli.output import Display, check_layers, display_options, note
from syops.errors import SyopsError, SyopsValueError, first_line
from syops.models import list_models

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
    "--input-shape", "shape", type=Shape(), metavar="C,H,W",
    help="What the image is made to fit: C,H,W or N,C,H,W with C 3, or 1 for grey. Any other shape "
    "gives seeded random values instead of the photograph; one size or three are those of a "
    "sample, two or more than three those of a batch, such as T,N,C,H,W.  [default: 3,224,224, and "
    "for a bundled network what the paper feeds it]",
)  # fmt: skip
@click.option(
    "--batch-size", type=click.IntRange(1, 2**31 - 1), metavar="N",
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
@MEMORY
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
    shape: tuple[int, ...] | None,
    batch_size: int | None,
    batch_dim: int,
    seed: int,
    memory: bool,
    display: Display,
    **counting: Any,
) -> None:
    """Count MODEL on an input and price it.

    MODEL is a bundled network (see 'syops models') or package.module:callable, a function or
    class, in the current directory or installed, that builds a torch.nn.Module.
    """
    check_layers(display, memory)

    import torch

    from syops.api import get_model_syops
    from syops.cli.loading import load_model, read_input, split
    from syops.models.calibration import calibrate
    from syops.models.weights import load_weights

    silence_torch()
    torch.manual_seed(seed)
    with prints_aside():
        network = load_model(model, dict(keywords))
    if weights is not None:
        load_weights(network, weights)
    bundled = model in list_models()
    default = sample_shape(model, keywords)
    try:
        inputs = read_input(network, input_path, shape, default, batch_size, seed)
    except (RuntimeError, MemoryError) as error:  # torch raises RuntimeError
        if isinstance(error, SyopsError):
            raise
        raise SyopsValueError(f"the input cannot be made: {first_line(error)}") from error
    batches = split(inputs, batch_size, batch_dim)
    if weights is None and bundled:
        note(
            "without --weights, firing rates are those of untrained weights, not representative; "
            "BatchNorm statistics are calibrated on the input, so that deep layers fire at all"
        )
        first = batches[0] if isinstance(batches, list) else batches
        calibrate(network, cast("Tensor", first))
    elif weights is None:
        note(
            "without --weights, firing rates are not representative unless MODEL loads trained "
            "weights itself"
        )
    with prints_aside():
        report = get_model_syops(network, batches, batch_dim=batch_dim, **counting)
    result = named(report, model)
    display.show(result.memory() if memory else result)
