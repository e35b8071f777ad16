"""Validate and normalise the arguments of the entry points."""

from __future__ import annotations

import inspect
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

from syops._torch import tree_map
from syops.choices import INPUT_SIGNALS, InputSignal, Signal, choice
from syops.errors import ForwardError, SyopsTypeError, SyopsValueError, first_line, shown
from syops.ops.rule import input_tensors
from syops.ops.values import ANALOG, UNKNOWN, Shown
from syops.trace.counting import look, strided
from syops.trace.live import weights_of
from syops.trace.neurons.library import SIGNALS, NeuronSignal
from syops.trace.paths import paths_of

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments of a model."""


class Batch(NamedTuple):
    """Hold one batch.

    Attributes:
        arguments: what the model is called with.
        labels: what came with it: the second of two elements, or ``labels`` of a dict.
        source: what the loader gave, of which the arguments were made.
        cut_from: how many samples the source has, where the arguments have fewer.
    """

    arguments: Arguments
    labels: Any = None
    source: Any = None
    cut_from: int | None = None


AUTO = "auto"
"""Look the input up in the data."""


# Models


def check_model(model: object) -> None:
    """Refuse what cannot be watched."""
    if not isinstance(model, nn.Module):
        raise SyopsTypeError(f"model must be a torch.nn.Module, got {_instead_of_model(model)}")
    for module, path in paths_of(model).items():
        if isinstance(module, torch.jit.ScriptModule):
            raise SyopsTypeError(
                f"{path or 'model'} is a scripted module, whose inside cannot be watched; "
                "count the module that it was scripted from"
            )
    for name, tensor in weights_of(model).items():
        if nn.parameter.is_lazy(tensor):
            raise SyopsValueError(
                f"{name} is not initialised yet; call the model once on an input first"
            )


def _instead_of_model(model: object) -> str:
    """Return what somebody gave instead of a model, and what to do."""
    name = type(model).__name__
    if isinstance(model, type) and issubclass(model, nn.Module):
        return f"the class {model.__name__}; give an instance of it, such as {model.__name__}()"
    if isinstance(model, Tensor | np.ndarray):
        return f"{name}; the model comes first, then the inputs"
    if isinstance(model, Mapping):
        return f"{name}; build the network and load a state dict into it (model.load_state_dict)"
    if isinstance(model, str | os.PathLike):
        return (
            f"{name}; build the network first, a bundled one with create_model(name), and load "
            "what a file holds into it (model.load_state_dict)"
        )
    if model is None:
        return "None; a function that builds a model must return it"
    return f"{name}; put a function into the forward of a module"


def check_values(model: nn.Module) -> None:
    """Refuse weights that cannot be computed with.

    NaN in the weights before a neuron would silence it, and be seen in no figure.
    """
    weights = weights_of(model)
    for name, tensor in weights.items():
        if tensor.is_meta:
            raise SyopsValueError(
                f"{name} lies on the meta device and has no values; load the model on a real one, "
                "or see get_model_bounds for what it can cost"
            )
        if tensor.is_inference():
            raise SyopsValueError(
                f"{name} was created in inference mode; create the model outside of it"
            )
    name = _holding_nan(weights)
    if name:
        raise SyopsValueError(
            f"{name} holds NaN: the training diverged, or the weights were never set"
        )


_STATISTICS = ("running_mean", "running_var")
_SUMMED = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""The types that hold NaN and that torch adds up on every device."""


def _holding_nan(weights: Mapping[str, Tensor]) -> str:
    """Return the name of the first weight that holds NaN, or "".

    The sums of all are read first, which is faster, and they are finite mostly.
    """
    alike: dict[tuple[torch.device, torch.dtype], dict[str, Tensor]] = {}
    for name, tensor in weights.items():
        is_weight = isinstance(tensor, nn.Parameter) or name.endswith(_STATISTICS)
        if is_weight and tensor.dtype in _SUMMED:
            alike.setdefault((tensor.device, tensor.dtype), {})[name] = tensor.detach()
    suspects = {
        name
        for tensors in alike.values()
        if not torch.stack([tensor.sum() for tensor in tensors.values()]).isfinite().all()
        for name in tensors
    }
    return next((n for n, t in weights.items() if n in suspects and t.isnan().any()), "")


def weight_dtype(model: nn.Module) -> torch.dtype:
    """Return the floating-point type of a model's weights."""
    for tensor in model.parameters():
        if tensor.is_floating_point():
            return tensor.dtype
    return torch.get_default_dtype()


def time_steps(model: nn.Module, given: int | None) -> int | None:
    """Return T as given, or the attribute ``T`` of the model, if there is a usable one."""
    steps = getattr(model, "T", None) if given is None else given
    if given is None and (not isinstance(steps, int) or isinstance(steps, bool) or steps < 1):
        return None
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise SyopsValueError(f"time_steps must be a positive integer, got {given!r}")
    return steps


def registered(neurons: Mapping[type[nn.Module], Signal] | None) -> dict[type, NeuronSignal]:
    """Return the signals of neuron modules that the user names."""
    found: dict[type, NeuronSignal] = {}
    if neurons is not None and not isinstance(neurons, Mapping):
        raise SyopsTypeError(
            'neurons must be a dict such as {FusedLIF: "binary"}, got ' + shown(neurons)
        )
    for module, signal in dict(neurons or {}).items():
        if not (isinstance(module, type) and issubclass(module, nn.Module)):
            raise SyopsTypeError(f"neurons: expected classes of modules, got {module!r}")
        name = f"neurons: the signal of {module.__name__}"
        found[module] = SIGNALS[choice(name, signal, SIGNALS)]
    return found


# Inputs


def device(name: torch.device | str) -> torch.device:
    """Return a device that tensors can be made on."""
    try:
        found = torch.device(name)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = first_line(error)
        raise SyopsValueError(f"device={str(name)!r} cannot be used: {reason}") from error
    return found


def is_single(inputs: object) -> bool:
    """Return whether it is one batch, rather than an iterable of several."""
    return isinstance(inputs, (Tensor, np.ndarray, tuple, dict))


def check_inputs(inputs: object, prepare: object) -> None:
    """Refuse what holds no batches, and say what to give instead."""
    if prepare is not None and not callable(prepare):
        raise SyopsTypeError(f"prepare must be a function of a batch, got {shown(prepare)}")
    if isinstance(inputs, nn.Module):
        raise SyopsTypeError(
            f"inputs must be data, got the module {type(inputs).__name__}; the model comes first, "
            "then the inputs"
        )
    if prepare is None and is_shape(inputs):
        raise SyopsTypeError(
            f"inputs must be data, got the shape {shown(inputs)}; give a tensor, such as "
            "torch.rand(shape), or call get_model_bounds, which needs no data"
        )
    indexed = hasattr(inputs, "__getitem__") and hasattr(inputs, "__len__")
    iterable = isinstance(inputs, Iterable) and not isinstance(inputs, str | bytes)
    mapped = isinstance(inputs, Dataset) and not isinstance(inputs, IterableDataset)
    text = isinstance(inputs, str | bytes)
    if prepare is None and (mapped or (indexed and not iterable and not text)):
        raise SyopsTypeError(
            f"inputs must be batches, got the data set {type(inputs).__name__}, whose items are "
            "single samples; give torch.utils.data.DataLoader(dataset, batch_size=32)"
        )
    if not iterable and not (mapped and indexed):
        hint = "; load what the file holds first" if text else ""
        raise SyopsTypeError(
            "inputs must be a tensor, a tuple of arguments, a dict of keyword arguments or an "
            f"iterable of batches; got {type(inputs).__name__}{hint}"
        )


def is_shape(value: object) -> bool:
    """Return whether it is a sequence of sizes: of integers alone."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return False
    return len(value) > 0 and all(type(size) is int for size in value)


def batches(
    inputs: Any, prepare: Callable[[Any], Any] | None, dtype: torch.dtype
) -> Iterator[Batch]:
    """Return what the model is to be called with, batch by batch; ``dtype``: see `with_tensors`."""
    single = is_single(inputs)

    def prepared(batch: Any) -> Any:
        if prepare is not None:
            return prepare(batch)
        if not single and isinstance(batch, (tuple, list)) and batch:
            return batch[0]
        return batch

    each = iter([inputs] if single else inputs)
    return (
        Batch(called_with(with_tensors(prepared(batch), dtype)), labels_of(batch, single), batch)
        for batch in each
    )


def labels_of(batch: Any, single: bool) -> Any:
    """Return what a batch has beside the input; ``single``: a tuple holds arguments alone."""
    if isinstance(batch, Mapping):
        return batch.get("labels")
    pair = isinstance(batch, tuple | list) and len(batch) == 2 and not single
    return batch[1] if pair else None


def with_tensors(value: Any, dtype: torch.dtype) -> Any:
    """Return a batch with tensors for NumPy arrays; float64, NumPy's default, becomes ``dtype``."""

    def converted(leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray):
            return leaf
        try:
            tensor = torch.from_numpy(np.array(leaf))  # a copy: also of what is read-only
        except TypeError as error:
            raise SyopsTypeError(
                f"inputs: an array of {leaf.dtype} cannot be made a tensor; give one of numbers"
            ) from error
        return tensor.to(dtype) if tensor.dtype == torch.float64 else tensor

    return tree_map(converted, value)


def called_with(value: Any) -> Arguments:
    """Return the positional and keyword arguments of one call."""
    if isinstance(value, dict):
        return (), dict(value)
    args = value if isinstance(value, tuple) else (value,)
    if not tensors_of((args, {})):
        raise SyopsTypeError(
            f"inputs: a batch of type {type(value).__name__} holds no tensor; "
            "give prepare= a function that makes of it what the model is called with"
        )
    return args, {}


def example(inputs: Any, dtype: torch.dtype) -> Arguments:
    """Return what the model is called with: an example, or of a shape a tensor on ``meta``."""
    inputs = with_tensors(inputs, dtype)
    if is_shape(inputs):
        if min(inputs) < 1:
            raise SyopsValueError(f"inputs: a shape of positive sizes was expected, got {inputs}")
        if math.prod(inputs) > sys.maxsize:
            raise SyopsValueError(f"inputs: a shape of so many elements is too large: {inputs}")
        return (torch.empty(tuple(inputs), dtype=dtype, device="meta"),), {}
    nested = inputs if isinstance(inputs, (Tensor, tuple, dict)) else ()
    if not tensors_of(((nested,), {})):
        raise SyopsTypeError(
            "inputs must be the shape of an input, such as (1, 3, 224, 224), or an example: a "
            "tensor, a tuple of arguments or a dict of keyword arguments; got "
            f"{_short(inputs)}"
        )
    return called_with(inputs)


def _short(value: Any) -> str:
    """Return what the user gave, in a line: whole, if it is short."""
    text = repr(value)
    return text if len(text) <= 60 and "\n" not in text else f"a {type(value).__name__}"


def usable(leaf: Any, home: torch.device | None) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    check_layout(leaf)
    if leaf.is_meta:
        raise SyopsValueError(
            "inputs: a tensor on the meta device has no values; give one on a real device, or its "
            "shape where a shape is taken (get_model_bounds, check_full_spike, fold_bn)"
        )
    moved = leaf if home is None else leaf.to(home, non_blocking=True)
    return moved.clone() if moved.is_inference() else moved


def check_layout(tensor: Tensor) -> None:
    """Refuse tensors whose inside cannot be watched."""
    if tensor.is_nested and tensor.layout == torch.strided:
        raise SyopsTypeError(
            "inputs: a nested tensor with layout=torch.strided cannot be watched; make it with "
            "layout=torch.jagged, or pad it to one size"
        )


def on_meta(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        check_layout(leaf)
    return leaf.to("meta") if isinstance(leaf, Tensor) else leaf


def first_tensor(arguments: Arguments) -> Tensor:
    tensors = tensors_of(arguments)
    if not tensors:
        raise SyopsTypeError(
            "inputs: a batch holds no tensor; give prepare= a function that makes of it what "
            "the model is called with"
        )
    return tensors[0]


def tensors_of(arguments: Arguments) -> list[Tensor]:
    """Return all tensors of a call, in order."""
    return input_tensors(*arguments)


def samples(arguments: Arguments, batch_dim: int) -> int:
    """Return how many samples a call holds."""
    first = first_tensor(arguments)
    if isinstance(batch_dim, bool) or not isinstance(batch_dim, int):
        raise SyopsTypeError(f"batch_dim must be an integer, got {batch_dim!r}")
    if not first.dim():
        raise SyopsValueError("inputs: the first tensor has no dimensions, so no batch dimension")
    if batch_dim == -1 and first.dim() > 1:
        raise SyopsValueError(
            "batch_dim=-1 is the last dimension, which seldom counts samples; it is 0 for "
            f"[N, ...] and 1 for [T, N, ...]; if it is the last, write {first.dim() - 1}"
        )
    if not -first.dim() <= batch_dim < first.dim():
        raise SyopsValueError(
            f"batch_dim={batch_dim} does not exist in an input of shape {tuple(first.shape)}"
        )
    if not first.shape[batch_dim]:
        raise SyopsValueError(
            f"inputs: a batch of shape {tuple(first.shape)} has no samples along "
            f"batch_dim={batch_dim}"
        )
    return first.shape[batch_dim]


def time_axis(first: Tensor, batch_dim: int, steps: int | None) -> int | None:
    """Return the dimension of an input that counts time-steps: 0 or 1; None if neither does."""
    if first.dim() > 1 and batch_dim % first.dim() == 1:
        return 0
    has_time = batch_dim == 0 and first.dim() in (3, 5, 6) and first.shape[1] == steps
    return 1 if has_time else None


def explained(error: ForwardError, model: nn.Module, arguments: Arguments) -> ForwardError:
    """Return the error with what is wrong with the arguments, where that is known."""
    why = why_it_failed(model, arguments)
    return ForwardError(f"{error}; {why}") if why else error


def why_it_failed(model: nn.Module, arguments: Arguments) -> str:
    """Return what is wrong with a model's arguments, and what to do; "" if nothing is known."""
    args, kwargs = arguments
    with suppress(TypeError, ValueError):
        signature = inspect.signature(model.forward)
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            takes = f"its forward takes {signature}, but {error}"
            if kwargs:
                first = next(iter(kwargs))
                return (
                    f"{takes}; a dict is taken for keyword arguments, here {', '.join(kwargs)}: "
                    f"say what the model is called with: prepare=lambda batch: batch[{first!r}]"
                )
            if "missing a required argument" in str(error):
                return (
                    f"{takes}; give an example of all of them in a tuple, or call the model in "
                    "your own loop, inside count_syops"
                )
            return (
                f"{takes}; a tuple is taken for several arguments: give the input alone, or a list "
                "or DataLoader of (input, label) batches, whose labels are left out"
            )
    weights = {t.dtype for t in model.parameters() if t.is_floating_point()}
    given = {t.dtype for t in tensors_of(arguments) if t.is_floating_point()}
    if weights and given - weights:
        return (
            f"the input is of {_dtypes(given)} and the weights are of {_dtypes(weights)}; cast one "
            "of them, such as inputs.to(dtype)"
        )
    return ""


def _dtypes(dtypes: Iterable[torch.dtype]) -> str:
    return ", ".join(sorted(str(dtype) for dtype in dtypes))


# Signals of inputs


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


def told(name: str, signal: NeuronSignal | Shown) -> str:
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
