"""Validate what the user says of the values of inputs, and read it from examples."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from syops.choices import INPUT_SIGNALS, InputSignal, choice
from syops.errors import SyopsTypeError, SyopsValueError
from syops.ops.values import ANALOG, UNKNOWN, Shown
from syops.trace.counting import look, strided
from syops.trace.neurons.library import SIGNALS, NeuronSignal

AUTO = "auto"
"""Look the input up in the data."""


def signal_names(given: InputSignal | Sequence[InputSignal]) -> tuple[InputSignal, ...]:
    """Return what the user says of the inputs: one name for all, or one each."""
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, (tuple, list)) or not names:
        raise SyopsTypeError(
            f"input_signal must be a name or a list of names, one for each input; got {given!r}"
        )
    return tuple(choice("input_signal", name, INPUT_SIGNALS) for name in names)


def signal_of_each(
    names: Sequence[InputSignal], tensors: Sequence[Tensor]
) -> tuple[InputSignal, ...]:
    """Return one name for each input tensor."""
    if len(names) == 1:
        return (names[0],) * len(tensors)
    if len(names) != len(tensors):
        raise SyopsValueError(
            f"input_signal names {len(names)} signals, but the model is called with "
            f"{len(tensors)} tensors"
        )
    return tuple(names)


def bounded_by(name: InputSignal, tensor: Tensor) -> NeuronSignal | Shown:
    """Return what inputs may hold that are like ``tensor``, an example, or of its shape."""
    if name != "auto":
        return SIGNALS[name]
    if tensor.is_complex():
        return ANALOG
    return (0, 1) if tensor.dtype == torch.bool else _class_of(tensor) or UNKNOWN


def _class_of(tensor: Tensor) -> Shown | None:
    """Return what an example shows.

    None if it has no values, holds NaN or infinity, or is 0, 1 or -1 throughout.
    """
    if tensor.is_meta or not tensor.numel():
        return None
    values = strided(tensor.values() if tensor.is_nested else tensor.detach())
    low, high, whole = (float(reading) for reading in look(values))
    if not (math.isfinite(low) and math.isfinite(high)) or (
        low == high and abs(low) <= 1 and whole
    ):
        return None
    if not whole:
        return Shown("analog")
    return Shown("graded" if max(-low, high) > 1 else "ternary" if low < 0 else "binary")


def signal_in_words(name: str, signal: NeuronSignal | Shown) -> str:
    """Return what is said of an input, with what an example showed of it: "auto: binary"."""
    return f"{name}: {signal.name}" if isinstance(signal, Shown) else name


def check_signal(name: InputSignal, tensor: Tensor) -> None:
    """Check what the user says of an input against its values."""
    if name in (AUTO, "analog"):
        return
    tensor = tensor.values() if tensor.is_nested else tensor
    fits = tensor == tensor.round() if tensor.dtype.is_floating_point else tensor == tensor
    if name != "graded":
        fits = fits & (tensor.abs() <= 1) if tensor.dtype != torch.bool else fits
    if name == "binary":
        fits = fits & (tensor >= 0)
    if not bool(fits.all()):
        value = tensor[~fits].flatten()[0].item()
        raise SyopsValueError(
            f"input_signal={name!r}, but the input holds {value}; "
            "use input_signal='auto' to have it looked up"
        )
