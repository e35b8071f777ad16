"""Resolve the argument MODEL, as several commands take it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from syops.choices import InputSignal, Signal
from syops.cli.aside import prints_aside, silence_torch
from syops.cli.imports import keeping_imports
from syops.cli.options import GRAPH
from syops.cli.output import command_line
from syops.errors import ForwardError, did_you_mean
from syops.models import input_shape, list_models
from syops.report.audit import Audit
from syops.report.report import Report

if TYPE_CHECKING:
    from torch import nn

Result = TypeVar("Result", Report, Audit)


def structure(model: str, keywords: tuple[tuple[str, Any], ...]) -> nn.Module:
    """Return a network of which no values are wanted."""
    with keeping_imports():
        import torch

        from syops.cli.loading import load_model

    silence_torch()
    with torch.device("meta") if model in list_models() else nullcontext():
        return load_model(model, dict(keywords))


def sample_shape(model: str, keywords: tuple[tuple[str, Any], ...]) -> tuple[int, ...]:
    """Return sizes of one sample, unless the user says otherwise."""
    if model in list_models():
        return input_shape(model, dict(keywords).get("in_channels"))
    return 3, 224, 224


def sizes(
    model: str,
    keywords: tuple[tuple[str, Any], ...],
    shape: tuple[int, ...] | None,
    unroll: int | None = None,
) -> tuple[int, ...]:
    """Return sizes of a batch; of a sample that is alone in it, if that is what the user gave.

    An input that is to be unrolled has a dimension more, and is given whole; so is that of a graph.
    """
    if model.endswith(GRAPH):
        if shape is None:
            raise click.UsageError(
                f"{model} is run on time-steps, samples and the sizes of one: give all of them, "
                "such as --input-shape 20,1,2,34,34"
            )
        return shape
    if unroll is not None:
        if shape is None:
            raise click.UsageError("--unroll needs --input-shape, that of the whole input")
        return shape
    shape = shape or sample_shape(model, keywords)
    return (1, *shape) if len(shape) in (1, 3) else shape


@contextmanager
def assumed(model: str, shape: tuple[int, ...] | None) -> Iterator[None]:
    """Say in an error of MODEL that the shape of its input was not given, where it was not."""
    try:
        yield
    except ForwardError as error:
        if shape is not None or model in list_models() or model.endswith(GRAPH):
            raise
        sizes = "x".join(map(str, sample_shape(model, ())))
        raise ForwardError(
            f"{model}: without --input-shape the input is 1x{sizes}, which may not suit it: {error}"
        ) from error.__cause__


def sample_dim(model: str, batch_dim: int = 0) -> int:
    """Return the dimension of samples: as the user says, else the second one of a graph's input."""
    return batch_dim or int(model.endswith(GRAPH))


def fed(model: str, said: tuple[InputSignal, ...] = ()) -> tuple[InputSignal, ...]:
    """Return what the input holds: as the user says, else real numbers if the paper says so."""
    return said or ("analog" if model in list_models() else "auto",)


def declared(
    network: nn.Module, neurons: tuple[tuple[str, Signal], ...]
) -> dict[type[nn.Module], Signal]:
    """Return the classes of neurons that the user names, with what they send.

    Raises:
        click.UsageError: no class of a module has such a name, or several have.
    """
    kinds = defaultdict(set)
    for kind in map(type, network.modules()):
        for name in (kind.__name__, f"{kind.__module__}.{kind.__qualname__}"):
            kinds[name].add(kind)
    found = {}
    for name, signal in neurons:
        if name not in kinds:
            raise click.UsageError(
                f"--neuron: no module of MODEL is a {name!r}{did_you_mean(name, kinds)}"
            )
        kind, *others = kinds[name]
        if others:
            full = sorted(f"{each.__module__}.{each.__qualname__}" for each in kinds[name])
            raise click.UsageError(f"--neuron: {name!r} is {' and '.join(full)}: say which")
        found[kind] = signal
    return found


def named(result: Result, model: str) -> Result:
    """Name the figures after the command, and after the bundled network, as some share a class."""
    with prints_aside():  # the ANN is traced where it is first asked for, here in `replace`
        if isinstance(result, Report) and (command := command_line()):
            result = replace(result, provenance=replace(result.provenance, calls=(command,)))
        return replace(result, model=model) if model in list_models() else result
