"""Count a network as the options of ``syops run`` say."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from syops.choices import Signal
from syops.cli.aside import prints_aside, silence_torch
from syops.cli.distributed import Place
from syops.cli.imports import keeping_imports
from syops.cli.networks import assumed, declared, sample_dim, sample_shape
from syops.cli.output import note
from syops.errors import SyopsError, SyopsValueError, first_line
from syops.models import list_models
from syops.report.report import Report

if TYPE_CHECKING:
    from torch import Tensor

Keywords = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Run:
    """Hold the options of ``syops run`` that say what is to be counted.

    Attributes:
        counting: arguments of `syops.get_model_syops` that are as the user gave them.
        weights, input_path, data, labels, transform, shuffle, workers, logits, shape, batch_size,
            batch_dim, unroll, neurons, seed, checkpoint, distributed: the options of these names.
    """

    weights: Path | None = None
    input_path: Path | None = None
    data: str | None = None
    labels: Path | None = None
    transform: Literal["plain", "imagenet"] | None = None
    shuffle: bool = False
    workers: int | None = None
    logits: str | None = None
    shape: tuple[int, ...] | None = None
    batch_size: int | None = None
    batch_dim: int = 0
    unroll: int | None = None
    neurons: tuple[tuple[str, Signal], ...] = ()
    seed: int = 0
    checkpoint: Path | None = None
    distributed: bool = False
    counting: Mapping[str, Any]

    def check(self) -> None:
        """Refuse options that do not go together."""
        if self.data is not None and self.input_path is not None:
            raise click.UsageError("--input is one input and --data a data set: give one of them")
        for name in ("labels", "transform", "shuffle", "workers", "distributed"):
            if self.data is None and getattr(self, name):
                raise click.UsageError(f"--{name} needs --data")
        if self.unroll is not None and self.data is None and self.input_path is None:
            raise click.UsageError("--unroll needs --input or --data, with time-steps")

    def kept_for(self, value: str) -> Path | None:
        """Return the checkpoint of one value of a sweep."""
        kept = self.checkpoint
        return kept if kept is None or not value else kept.with_name(f"{kept.name}.{value}")

    def report(self, model: str, keywords: Keywords, place: Place, value: str = "") -> Report:
        """Count a network.

        Args:
            model, keywords: the network.
            place: that of this process.
            value: what makes it different from others that are counted, such as "T=4".
        """
        with keeping_imports():
            import torch

            from syops.api import get_model_syops
            from syops.cli.loading import load_model
            from syops.models.calibration import calibrate
            from syops.models.weights import load_weights

        silence_torch()
        torch.manual_seed(self.seed)
        with prints_aside():
            network = load_model(model, dict(keywords))
        if self.weights is not None:
            load_weights(network, self.weights)
        bundled = model in list_models()
        if bundled and self.unroll is not None:
            raise click.UsageError(
                f"{model} has its loop over time-steps itself: leave --unroll out"
            )
        batch_dim = sample_dim(model, self.batch_dim)
        batches, steps = self._batches(network, bundled, batch_dim, sample_shape(model, keywords))
        if self.weights is None and bundled:
            note(
                "without --weights, firing rates are those of untrained weights, not "
                "representative; BatchNorm statistics are calibrated on the input, so that deep "
                "layers fire at all"
            )
            calibrate(network, _first(batches, self.data is not None))
        elif self.weights is None:
            note(
                "without --weights, firing rates are not representative unless MODEL loads trained "
                "weights itself"
            )
        kept = self.kept_for(value)
        if kept is not None and kept.exists():
            note(f"{kept} is there: its batches are read and compared, and not counted again")
        is_drawn = self.data is None and self.input_path is None
        with prints_aside(), assumed(model, self.shape) if is_drawn else nullcontext():
            report = get_model_syops(
                network,
                batches,
                batch_dim=batch_dim,
                unroll=self.unroll,
                neurons=declared(network, self.neurons),
                output=_output(self.logits),
                checkpoint=kept,
                distributed=self.distributed,
                device=place.device,
                **{**self.counting, "time_steps": steps},
            )
        if kept is not None and place.rank == 0:
            files = f"{kept}.*" if self.distributed else kept
            note(f"the whole count is kept in {files}; remove it to count anew")
        return report

    def _batches(
        self, network: Any, bundled: bool, batch_dim: int, default: tuple[int, ...]
    ) -> tuple[Any, int | None]:
        """Return the data set, or the input, cut into batches if that is asked for; and T."""
        import torch

        from syops.cli.loading import read_input, spike_trains, split
        from syops.cli.sources import Reading, open_data
        from syops.models.nir import NIRNetwork
        from syops.trace.model import time_steps_of, weight_dtype

        steps: int | None = self.counting["time_steps"]
        unroll, is_graph = self.unroll, isinstance(network, NIRNetwork)
        axis = batch_dim if unroll is None or batch_dim < unroll else batch_dim + 1
        if self.data is None and is_graph and self.input_path is None:
            trains = spike_trains(network, self.shape, steps, self.batch_size, self.seed)
            return trains, len(trains)
        if self.data is None:
            told = self.input_path, self.shape, default, self.batch_size, self.seed
            try:
                inputs = read_input(network, *told)
            except (RuntimeError, MemoryError) as error:  # torch raises RuntimeError
                if isinstance(error, SyopsError):
                    raise
                raise SyopsValueError(f"the input cannot be made: {first_line(error)}") from error
            if is_graph and isinstance(inputs, torch.Tensor) and steps is None:
                steps = len(inputs)
            return split(inputs, self.batch_size, axis), steps
        reading = Reading(
            batch_size=self.batch_size,
            batch_dim=axis,
            workers=self.workers,
            shuffle=self.shuffle,
            seed=self.seed,
            labels=self.labels,
            transform=self.transform,
            image=_image(self.shape or default),
            dtype=weight_dtype(network),
            time_steps=time_steps_of(network, steps),
            bundled=bundled,
        )
        with prints_aside():
            return open_data(self.data, reading), steps


def _first(batches: Any, is_read: bool) -> Tensor:
    """Return the first input; ``is_read``: there are labels beside it."""
    first = next(iter(batches)) if is_read else batches
    return cast("Tensor", first[0] if isinstance(first, tuple | list) else first)


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
