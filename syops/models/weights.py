"""Load weights from a file into a model that they fit exactly."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from syops.errors import SyopsFileError, SyopsTypeError, SyopsValueError, first_line, first_of

NESTED_STATE = ("state_dict", "model")
"""Where training scripts put the weights in a file that holds more than weights."""


def load_weights(model: nn.Module, file: str | os.PathLike[str]) -> None:
    """Load a state dict, from ``torch.save`` or safetensors, that fits ``model`` exactly.

    Raises `SyopsFileError` for a file that cannot be read, `SyopsValueError`, which names the
    keys, for weights of another network, and `SyopsTypeError` for what is not a path.
    """
    if not isinstance(file, (str, os.PathLike)):
        raise SyopsTypeError(f"weights must be the path of a file, got {type(file).__name__}")
    path = Path(file)
    state = _read_state(path)
    own = model.state_dict()
    wrong = {key for key in state if key in own and _shape(state[key]) != _shape(own[key])}
    fitting = {key: value for key, value in state.items() if key not in wrong}
    try:
        result = model.load_state_dict(fitting, strict=False)
    except Exception as error:  # sparse ones, say, or what a module's own hooks refuse
        raise SyopsValueError(
            f"the weights in {path} cannot be loaded into the model: {first_line(error)}"
        ) from error
    complaints = {
        "missing keys": [key for key in result.missing_keys if key not in wrong],
        "unexpected keys": result.unexpected_keys,
        "wrong shapes": [
            f"{key} ({_shape(state[key])} instead of {_shape(own[key])})" for key in sorted(wrong)
        ],
    }
    told = [f"{what}: {first_of(which)}" for what, which in complaints.items() if which]
    if told:
        raise SyopsValueError(f"the weights in {path} do not fit the model; {'; '.join(told)}")


def _read_state(path: Path) -> dict[str, Any]:
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise SyopsFileError(
            f"the weights {path} cannot be read ({type(error).__name__}): expected the state dict "
            "of a model, written by torch.save, or a .safetensors file"
        ) from error
    for key in NESTED_STATE:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping):
        raise SyopsFileError(f"{path} holds {type(state).__name__}: expected a state dict")
    if not all(isinstance(key, str) for key in state):
        raise SyopsFileError(f"{path} holds keys that are not names: expected a state dict")
    return dict(state)


def _shape(value: Any) -> Any:
    return list(value.shape) if isinstance(value, Tensor) else type(value).__name__
