"""Validate what a model is called with, and bring it into one form: batches of arguments."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

from syops._torch import tree_map
from syops.errors import ForwardError, SyopsTypeError, SyopsValueError, first_line, shown
from syops.ops.rule import input_tensors

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments of a model."""


class Batch(NamedTuple):
    """Hold one batch.

    Attributes:
        arguments: what the model is called with.
        labels: what came with it: the second of two elements, or ``labels`` of a dict.
        source: what the loader gave, of which the arguments were made.
        cut_from: how many samples the source has, where the arguments have fewer.
        parts: how many the source has, where the model gets the first one and nobody said so.
    """

    arguments: Arguments
    labels: Any = None
    source: Any = None
    cut_from: int | None = None
    parts: int = 1


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

    def prepared(batch: Any) -> Batch:
        parts, value = 1, batch
        if prepare is not None:
            value = prepare(batch)
        elif not single and isinstance(batch, (tuple, list)) and batch:
            parts, value = len(batch), batch[0]
        arguments = called_with(with_tensors(value, dtype))
        return Batch(arguments, labels_of(batch, single), batch, parts=parts)

    return (prepared(batch) for batch in ([inputs] if single else inputs))


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


def is_of_own_class(leaf: Any) -> bool:
    """Return whether it is a tensor of a class that only adds to torch's.

    Each result of such a tensor is copied into one more of its class behind the dispatcher.
    """
    if not isinstance(leaf, Tensor) or isinstance(leaf, nn.Parameter):
        return False
    return type(leaf) is not Tensor and type(leaf).__torch_dispatch__ is Tensor.__torch_dispatch__


def plain(leaf: Any) -> Any:
    """Return a tensor of torch's class in place of one of the user's own, on the same memory."""
    return leaf.as_subclass(Tensor) if is_of_own_class(leaf) else leaf


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
    return plain(leaf).to("meta") if isinstance(leaf, Tensor) else leaf


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
    """Return the error with what is wrong with the arguments, where that is known.

    Arguments that the model does not take are the whole reason: nothing else is said.
    """
    mismatch = _mismatch(model, arguments)
    if mismatch and isinstance(error.__cause__, TypeError):
        return ForwardError(mismatch)
    why = mismatch or _other_dtypes(model, arguments)
    return ForwardError(f"{error}; {why}") if why else error


def _mismatch(model: nn.Module, arguments: Arguments) -> str:
    """Return why arguments do not fit a model's forward, and what to do; "" if they fit."""
    args, kwargs = arguments
    try:
        signature = inspect.signature(model.forward)
    except (TypeError, ValueError):  # of a builtin, say
        return ""
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        takes = f"{type(model).__name__}.forward takes {signature}: {error}"
        if kwargs:
            first = next(iter(kwargs))
            return (
                f"{takes}; a dict is taken for keyword arguments, here {', '.join(kwargs)}: "
                f"say what the model is called with: prepare=lambda batch: batch[{first!r}]"
            )
        if "missing a required argument" in str(error):
            return (
                f"{takes}; give an example of each argument in a tuple, or call the model in your "
                "own loop, inside count_syops"
            )
        return (
            f"{takes}; a tuple is taken for several arguments: give the input alone, or a list "
            "or DataLoader of (input, label) batches, whose labels are left out"
        )
    return ""


def _other_dtypes(model: nn.Module, arguments: Arguments) -> str:
    """Return how the input differs in dtype from the weights; "" if it does not."""
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
