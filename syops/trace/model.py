"""Validate the model that is to be counted, and read facts from it."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from syops._torch import BatchNorm
from syops.choices import Signal, choice
from syops.errors import SyopsTypeError, SyopsValueError, shown
from syops.trace.neurons.library import SIGNALS, NeuronSignal
from syops.trace.paths import paths_of, weights_of


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


_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


def in_training(model: nn.Module) -> tuple[str, ...]:
    """Return the paths of the dropouts and norms that are in training mode, and differ by it."""
    return tuple(
        path or type(model).__name__
        for module, path in paths_of(model).items()
        if module.training
        and (
            (isinstance(module, _DROPOUTS) and module.p > 0)
            or (isinstance(module, BatchNorm) and module.track_running_stats)
        )
    )


def weight_dtype(model: nn.Module) -> torch.dtype:
    """Return the floating-point type of a model's weights."""
    for tensor in model.parameters():
        if tensor.is_floating_point():
            return tensor.dtype
    return torch.get_default_dtype()


def time_steps_of(model: nn.Module, given: int | None) -> int | None:
    """Return T as given, or the attribute ``T`` of the model, if there is a usable one."""
    steps = getattr(model, "T", None) if given is None else given
    if given is None and (not isinstance(steps, int) or isinstance(steps, bool) or steps < 1):
        return None
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise SyopsValueError(f"time_steps must be a positive integer, got {given!r}")
    return steps


def declared_signals(neurons: Mapping[type[nn.Module], Signal] | None) -> dict[type, NeuronSignal]:
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
