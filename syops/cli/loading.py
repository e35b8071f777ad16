"""Load what the command line names: a model, an input."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Callable, Mapping
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from syops import models
from syops.cli.options import GRAPH
from syops.cli.output import note
from syops.errors import (
    SyopsError,
    SyopsFileError,
    SyopsLookupError,
    SyopsTypeError,
    SyopsValueError,
    with_type,
)
from syops.models.nir import NIRNetwork, from_nir
from syops.run.data.arrays import MOST_UNPACKED, SUFFIXES
from syops.run.data.images import read_image
from syops.trace.model import weight_dtype

Inputs: TypeAlias = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
"""What a model is called with: a tensor, positional arguments or keyword arguments."""

_YOUR_OWN = (
    "a network of your own is package.module:callable, importable from the current directory: "
    "net:build for the function build in net.py"
)


def load_model(name: str, keywords: Mapping[str, Any]) -> nn.Module:
    """Build a bundled model, read an NIR file, or call ``package.module:callable``.

    ``keywords`` are the arguments of what builds it.

    Modules are found in the current directory too. Raises `SyopsLookupError` for what does not
    exist, `SyopsTypeError` for what does not build a model and `SyopsError` if it fails.
    """
    if name.endswith(GRAPH):
        return _built(name, lambda: from_nir(name, **keywords))
    if ":" not in name:
        try:
            return _built(name, lambda: models.create_model(name, **keywords))
        except SyopsLookupError as error:
            if name in models.list_models():
                raise
            raise SyopsLookupError(f"{error}; {_YOUR_OWN}") from None
    module, _, attribute = name.partition(":")
    if "/" in module or module.endswith(".py"):
        raise SyopsLookupError(f"cannot import the model {name!r}: {module} is a path; {_YOUR_OWN}")
    sys.path.insert(0, os.getcwd())
    try:
        factory = attrgetter(attribute)(import_module(module))
    except Exception as error:
        raise SyopsLookupError(f"cannot import the model {name!r}: {with_type(error)}") from error
    if not callable(factory) or isinstance(factory, nn.Module):
        raise SyopsTypeError(
            f"{name!r} is a {type(factory).__name__}: expected a function or class that builds "
            "the model"
        )
    model = _built(name, lambda: factory(**keywords))
    if not isinstance(model, nn.Module):
        raise SyopsTypeError(
            f"{name!r} returned {type(model).__name__}: expected a torch.nn.Module"
        )
    return model


def _built(name: str, build: Callable[[], Any]) -> Any:
    try:
        return build()
    except SyopsError:
        raise
    except Exception as error:
        raise SyopsError(f"{name!r} failed to build the model: {with_type(error)}") from error


def read_input(
    network: nn.Module,
    path: Path | None,
    shape: tuple[int, ...] | None,
    default: tuple[int, ...],
    batch_size: int | None,
    seed: int,
) -> Inputs:
    """Read the arrays of a file or an image, or draw random values, in the weights' dtype."""
    dtype = weight_dtype(network)
    if path is not None and path.suffix.lower() in SUFFIXES:
        if shape is not None:
            raise SyopsValueError(f"--input-shape does not apply to {path}, which has one")
        return read_arrays(path, dtype)
    shape = shape or default
    if len(shape) in (1, 3):
        shape = (batch_size or 1, *shape)
    if len(shape) == 4 and shape[1] in (1, 3):
        _, channels, height, width = shape
        image = read_image(path or photograph(), (channels, height, width))
        return image.to(dtype).repeat(shape[0], 1, 1, 1)
    if path is not None:
        raise SyopsValueError(
            f"--input-shape for the image {path} must be C,H,W or N,C,H,W with C 1 or 3"
        )
    note(f"the input is random, of shape {list(shape)}")
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def spike_trains(
    network: NIRNetwork,
    shape: tuple[int, ...] | None,
    steps: int | None,
    batch_size: int | None,
    seed: int,
) -> Tensor:
    """Draw random spikes for an NIR graph: [T, N, ...].

    Args:
        network: says the shape of its input.
        shape: of the whole input, if the user says it.
        steps: T; 16 by default.
        batch_size: N; 1 by default.
        seed: of the spikes.

    Raises:
        SyopsValueError: neither the graph nor the user says the shape.
    """
    if shape is None and not network.input_shape:
        raise SyopsValueError("the graph does not say the shape of its input; give --input-shape")
    whole = shape or (steps or 16, batch_size or 1, *network.input_shape)
    note(f"the input is random spikes at rate {RATE}, of shape {list(whole)}")
    drawn = torch.rand(whole, generator=torch.Generator().manual_seed(seed))
    return (drawn < RATE).to(weight_dtype(network))


RATE = 0.1
"""Of random spikes for a network of which no input is given."""


def split(inputs: Inputs, batch_size: int | None, batch_dim: int) -> Inputs | list[Tensor]:
    """Cut an input of one tensor into batches.

    Raises:
        SyopsValueError: it has several tensors, or no such dimension.
    """
    if batch_size is None:
        return inputs
    if isinstance(inputs, tuple | dict):
        raise SyopsValueError("--batch-size needs an input of one tensor")
    if not -inputs.dim() <= batch_dim < inputs.dim():
        raise SyopsValueError(
            f"--batch-dim {batch_dim}: the input has the shape {list(inputs.shape)}"
        )
    return list(inputs.split(batch_size, batch_dim))


def read_arrays(path: Path, dtype: torch.dtype) -> Inputs:
    """Read a .npy, .npz or .pt file: a tensor, or several by name or position.

    int32 and int64, which index, are left as they are; all else is cast to ``dtype``. Sparse
    tensors are made dense. Raises `SyopsFileError` for a file that cannot be read or holds anything
    else.
    """
    try:
        if path.suffix.lower() in (".npy", ".npz"):
            _check_unpacked(path)
            found: Any = np.load(path, allow_pickle=False)
            found = dict(found) if isinstance(found, Mapping) else found
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except SyopsError:
        raise
    except Exception as error:
        raise SyopsFileError(
            f"{path} cannot be read ({type(error).__name__}): expected arrays from numpy.save or "
            "numpy.savez, or tensors from torch.save"
        ) from error

    if isinstance(found, Mapping):
        named = {name: _tensor(value, dtype, path) for name, value in found.items()}
        return named if len(named) != 1 else named.popitem()[1]
    if isinstance(found, list | tuple):
        listed = tuple(_tensor(value, dtype, path) for value in found)
        return listed if len(listed) != 1 else listed[0]
    return _tensor(found, dtype, path)


def _check_unpacked(path: Path) -> None:
    """Refuse a small file that unpacks to more than the memory holds."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        _check_size(sum(member.file_size for member in archive.infolist()), path)


def _check_size(size: int, path: Path) -> None:
    if size > MOST_UNPACKED:
        raise SyopsFileError(
            f"{path} unpacks to {size / 2**30:.1f} GiB, more than {MOST_UNPACKED / 2**30:g}; write "
            "fewer samples, or the arrays unpacked, with numpy.save or torch.save"
        )


def photograph() -> Path:
    """Return the photograph that matplotlib ships: Grace Hopper in uniform, 512 x 600."""
    from matplotlib.cbook import get_sample_data

    return Path(get_sample_data("grace_hopper.jpg", asfileobj=False))


def _tensor(value: Any, dtype: torch.dtype, path: Path) -> Tensor:
    if not isinstance(value, Tensor | np.ndarray):
        raise SyopsFileError(f"{path} holds {type(value).__name__}: expected tensors only")
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError) as error:
        raise SyopsFileError(f"{path} holds no numbers: {with_type(error)}") from error
    if tensor.is_complex() and not dtype.is_complex:
        raise SyopsFileError(f"{path} holds complex numbers, and the weights are of {dtype}")
    if tensor.layout not in (torch.strided, torch.jagged):
        _check_size(tensor.numel() * tensor.element_size(), path)
        tensor = tensor.to_dense()
    return tensor if tensor.dtype in (torch.int32, torch.int64) else tensor.to(dtype)
