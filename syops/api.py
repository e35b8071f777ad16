"""The entry points: they check what the user gave, and orchestrate."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, nullcontext, suppress
from fractions import Fraction
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from tqdm import tqdm

from syops.ann import AnnMacs
from syops.energy import EnergyModel, get_energy_model
from syops.errors import SyopsTypeError, SyopsValueError, first_line
from syops.frameworks import Lending, NeuronSignal
from syops.ledger import Ledger
from syops.observer import Observer
from syops.report import Report
from syops.rules.base import tensors_in
from syops.signals import ANALOG, INTEGER

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

INPUT_SIGNALS: dict[str, NeuronSignal | None] = {
    "auto": None,
    "analog": ANALOG,
    "binary": (0, 1),
    "ternary": (-1, 0, 1),
    "graded": INTEGER,
}


def get_model_syops(
    model: nn.Module,
    inputs: Any,
    *,
    batch_dim: int = 0,
    time_steps: int | None = None,
    fold_bn: bool = True,
    graded: str = "mac",
    ac: str = "rate",
    strict: bool = False,
    input_signal: str = "auto",
    prepare: Callable[[Any], Any] | None = None,
    energy: str | EnergyModel = "horowitz45-fp32",
    progress: bool | None = None,
    device: torch.device | str | None = None,
) -> Report:
    """Count the synaptic operations of a spiking network on data, and price them.

    The model runs in eval mode, without gradients, its neurons reset before each batch. It is
    left as it was found: training flags, states, buffers and hooks.

    Args:
        model: any module.
        inputs: what the model is called with: a tensor, a tuple of arguments, a dict of
            keyword arguments; or an iterable of batches such as a DataLoader. A batch is a
            tensor, a dict of keyword arguments, or a tuple or list whose first element is the
            input (labels are not fed to the model).
        batch_dim: dimension of the first tensor that counts samples; [T, N, ...] input: 1.
        time_steps: T; by default ``model.T`` if there is one.
        fold_bn: normalisations that can be folded into the layer before them cost nothing.
        graded: "mac", or "ac" to count an integer input as so many ACs as its magnitude.
        ac: the count that is priced: "rate" (firing rate · dense, the paper's) or "events"
            (the fan-out of every spike).
        strict: an operator without a rule is an error instead of being listed.
        input_signal: "auto" (looked up in the data), "analog", "binary", "ternary" or "graded".
        prepare: makes of a batch what the model is called with: a tuple of arguments, a dict
            of keyword arguments, or one argument.
        energy: name of a profile or an `EnergyModel`.
        progress: a progress bar; by default for several batches on a terminal.
        device: where to run; by default where the model is. Inputs are moved there.

    Returns:
        the counts per layer and per sample, and the energy that follows.

    Raises:
        SyopsTypeError: a model or batch that cannot be used.
        SyopsValueError: an argument out of range, an empty loader, NaN in what is looked at.
        SyopsLookupError: an unknown energy profile.
        ForwardError: the model failed on the input.
    """
    _check_choice("graded", graded, ("mac", "ac"))
    _check_choice("ac", ac, ("rate", "events"))
    _check_choice("input_signal", input_signal, tuple(INPUT_SIGNALS))
    energy_model = get_energy_model(energy)
    _check_model(model)
    model = getattr(model, "_orig_mod", model)  # what torch.compile wraps
    steps = _time_steps(model, time_steps)
    batches = _batches(inputs, prepare)
    home = _device(device) if device is not None else _device_of(model)

    ledger = Ledger()
    first: Arguments | None = None
    # An enclosing inference mode would leave tensors without version counters.
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        _eagerly(),
        _moved(model, home),
        Lending(model) as lending,
        Observer(model, ledger, fold_bn=fold_bn, graded=graded, strict=strict) as observer,
    ):
        ann = AnnMacs(model, steps, batch_dim)
        for batch in tqdm(batches, **_bar(inputs, progress)):
            args, kwargs = tree_map(lambda leaf: _usable(leaf, home), batch)
            ledger.samples += _samples(args, kwargs, batch_dim)
            _check_signal(input_signal, args, kwargs)
            shapes = tree_map(_on_meta, (args, kwargs))
            first = first or shapes
            lending.renew()
            ann.prepare(shapes)
            observer.run(args, kwargs, INPUT_SIGNALS[input_signal])
            ann.add(shapes, ledger)
        if first is None:
            raise SyopsValueError(
                "inputs: the loader gave no batch; an iterator that was used up is empty"
            )
    shape = _first_tensor(*first).shape
    return Report(
        model=type(model).__name__,
        rows=ledger.rows,
        samples=ledger.samples,
        energy=energy_model,
        time_steps=steps,
        params=sum(parameter.numel() for parameter in model.parameters()),
        input_shape=tuple(shape),
        ann_mac=None if ann.total is None else Fraction(ann.total, ledger.samples),
        conventions={
            "fold_bn": fold_bn,
            "graded": graded,
            "ac": ac,
            "batch_dim": batch_dim,
            "input_signal": input_signal,
        },
        versions=dict(_versions()),
        unaccounted=ledger.unaccounted,
        notes=(ann.note,) if ann.note else (),
    )


# What the user gave


def _check_choice(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SyopsValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")


def _check_model(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise SyopsTypeError(
            f"model must be a torch.nn.Module, got {type(model).__name__}; "
            "put a function into the forward of a module"
        )
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise SyopsTypeError(
                f"{path or 'model'} is a scripted module, whose inside cannot be watched; "
                "count the module that it was scripted from"
            )
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    _check_weights(f"{path}.{name}" if path else name, tensor)


def _check_weights(name: str, tensor: Tensor) -> None:
    if nn.parameter.is_lazy(tensor):
        raise SyopsValueError(
            f"{name} is not initialised yet; call the model once on an input first"
        )
    if tensor.is_meta:
        raise SyopsValueError(
            f"{name} lies on the meta device and has no values; load the model on a real one"
        )
    if tensor.is_inference():
        raise SyopsValueError(
            f"{name} was created in inference mode; create the model outside of it"
        )


def _time_steps(model: nn.Module, given: int | None) -> int | None:
    steps = getattr(model, "T", None) if given is None else given
    if given is None and (not isinstance(steps, int) or isinstance(steps, bool) or steps < 1):
        return None
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise SyopsValueError(f"time_steps must be a positive integer, got {given!r}")
    return steps


def _batches(inputs: Any, prepare: Callable[[Any], Any] | None) -> Iterator[Arguments]:
    if isinstance(inputs, (Tensor, tuple, dict)):
        yield _called_with(prepare(inputs) if prepare else inputs)
        return
    if isinstance(inputs, (str, bytes)) or not isinstance(inputs, Iterable):
        raise SyopsTypeError(
            "inputs must be a tensor, a tuple of arguments, a dict of keyword arguments or an "
            f"iterable of batches; got {type(inputs).__name__}"
        )
    for batch in inputs:
        if prepare is not None:
            yield _called_with(prepare(batch))
        elif isinstance(batch, (tuple, list)) and batch:
            yield _called_with(batch[0])
        else:
            yield _called_with(batch)


def _called_with(value: Any) -> Arguments:
    """Positional and keyword arguments of one call."""
    if isinstance(value, dict):
        return (), dict(value)
    args = value if isinstance(value, tuple) else (value,)
    if not tensors_in(args):
        raise SyopsTypeError(
            f"inputs: a batch of type {type(value).__name__} holds no tensor; "
            "give prepare= a function that makes of it what the model is called with"
        )
    return args, {}


def _usable(leaf: Any, home: torch.device | None) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    moved = leaf if home is None else leaf.to(home, non_blocking=True)
    return moved.clone() if moved.is_inference() else moved


def _on_meta(leaf: Any) -> Any:
    return leaf.to("meta") if isinstance(leaf, Tensor) else leaf


def _first_tensor(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    tensors = tensors_in((*args, *kwargs.values()))
    if not tensors:
        raise SyopsTypeError(
            "inputs: a batch holds no tensor; give prepare= a function that makes of it what "
            "the model is called with"
        )
    return tensors[0]


def _samples(args: tuple[Any, ...], kwargs: dict[str, Any], batch_dim: int) -> int:
    first = _first_tensor(args, kwargs)
    if isinstance(batch_dim, bool) or not isinstance(batch_dim, int):
        raise SyopsTypeError(f"batch_dim must be an integer, got {batch_dim!r}")
    if not first.dim():
        raise SyopsValueError("inputs: the first tensor has no dimensions, so no batch dimension")
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


def _check_signal(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """What the user says of the input must be true of it."""
    if name in ("auto", "analog"):
        return
    for tensor in tensors_in((*args, *kwargs.values())):
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


def _bar(inputs: Any, progress: bool | None) -> dict[str, Any]:
    single = isinstance(inputs, (Tensor, tuple, dict))
    total = 1 if single else len(inputs) if isinstance(inputs, Sized) else None
    wanted = total != 1 and sys.stderr.isatty() if progress is None else progress
    return {"total": total, "disable": not wanted, "desc": "syops", "unit": "batch"}


# Where it runs


def _device(name: torch.device | str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = first_line(error)
        raise SyopsValueError(f"device={str(name)!r} cannot be used: {reason}") from error
    return device


def _device_of(model: nn.Module) -> torch.device | None:
    first = next(chain(model.parameters(), model.buffers()), None)
    return None if first is None else first.device


def _eagerly() -> AbstractContextManager[Any]:
    """Compiled submodules run their original code, which can be watched."""
    if "torch._dynamo" not in sys.modules:  # nothing can have been compiled
        return nullcontext()
    return torch.compiler.set_stance("force_eager")


class _moved:
    """The model on another device for a while."""

    def __init__(self, model: nn.Module, device: torch.device | None) -> None:
        self._model = model
        self._found = _device_of(model)
        self._device = device

    def __enter__(self) -> None:
        if self._found is not None and self._device not in (None, self._found):
            self._model.to(self._device)

    def __exit__(self, *exc: object) -> None:
        if self._found is not None and self._device not in (None, self._found):
            self._model.to(self._found)


@cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("syops", "torch", "spikingjelly", "numpy"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
