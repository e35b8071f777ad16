"""Tell weights, and the samples of a data set, from others by their SHA-256.

The fingerprint of data is the sum of those of its samples: of two data sets it is that of both
together, and it does not depend on how one is split into batches or in which order they come.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from syops._torch import packed_in
from syops.run.subject import Subject
from syops.trace import inputs as given
from syops.trace.neurons import library_of
from syops.trace.paths import paths_of

_PLAIN = (str, bytes, int, float, complex, bool, type(None), np.generic)


class _Opaque(Exception):
    """Say that something cannot be read byte by byte."""


def of_weights(model: nn.Module, states: Collection[str]) -> str | None:
    """Return the fingerprint of all parameters and buffers; None if one cannot be read.

    Args:
        model: the network.
        states: names of buffers to leave out, beside those that are states of a known library.
    """
    digest = sha256()
    named: dict[str, Tensor] = dict(chain(model.named_parameters(), model.named_buffers()))
    for module, path in paths_of(model).items():
        named |= {f"{path} {place}": packed for place, packed in enumerate(packed_in(module))}
    try:
        for name in sorted(named.keys() - states - set(_library_states(model))):
            tensor = named[name].detach()
            kind: object = tensor.dtype
            values = tensor
            if tensor.is_quantized:
                kind, values = f"{kind} {_steps(tensor)}", tensor.int_repr()
            digest.update(_described(name, kind, tuple(tensor.shape)))
            digest.update(np.ascontiguousarray(_array(values)).data)
    except _Opaque:
        return None
    return digest.hexdigest()


def of_samples(
    batch: Any, samples: int, dims: Iterable[int], keep: int | None = None
) -> int | None:
    """Return the sum of the fingerprints of the samples of a batch; None if it cannot be read.

    A part that has not as many entries as there are samples belongs to each sample.

    Args:
        batch: a tensor or an array, or any lists and mappings of these and of plain values.
        samples: how many the batch holds.
        dims: the dimensions that may count them, the likeliest first.
        keep: how many of them are meant, the first ones; by default all.
    """
    dims = tuple(dims)
    shared, each = sha256(), []
    try:
        for name, leaf in _leaves(batch, ""):
            told, rows = _rows(name, leaf, samples, dims)
            shared.update(told)
            if rows is not None:
                each.append(rows)
    except _Opaque:
        return None
    total = 0
    for place in range(samples if keep is None else keep):
        digest = shared.copy()
        for rows in each:
            digest.update(rows[place])
        total += int.from_bytes(digest.digest())
    return total


def of_batch(batch: given.Batch, samples: int, subject: Subject) -> int | None:
    """Return the sum of the fingerprints of the samples of a batch that are to be counted."""
    dims = (subject.batch_axis(batch.arguments), subject.batch_dim)
    return of_samples(batch.source, batch.cut_from or samples, dims, samples)


def of_first(batch: Any) -> bytes:
    """Return a fingerprint of the beginning of a batch, which tells it from most others."""
    digest = sha256()
    for name, leaf in _leaves(batch, ""):
        if isinstance(leaf, Tensor | np.ndarray):
            digest.update(_described(name, leaf.dtype, tuple(leaf.shape)))
            leaf = leaf[:1] if leaf.ndim else leaf
        try:
            digest.update(_rows(name, leaf, 0, ())[0])
        except _Opaque:
            digest.update(type(leaf).__name__.encode())
    return digest.digest()


def _steps(tensor: Tensor) -> tuple[object, object]:
    """Return the scales and zeros of a quantised tensor."""
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return tensor.q_scale(), tensor.q_zero_point()
    return tensor.q_per_channel_scales().tolist(), tensor.q_per_channel_zero_points().tolist()


def _library_states(model: nn.Module) -> Iterator[str]:
    """Yield the names of the states that neurons of known libraries keep."""
    for module, path in paths_of(model).items():
        library = library_of(module)
        for name in library.states(module) if library is not None else ():
            yield f"{path}.{name}" if path else name


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a batch with their names, and lists of plain values whole."""
    if isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield from _leaves(value[key], f"{name}.{key}")
    elif isinstance(value, tuple | list) and not all(isinstance(part, _PLAIN) for part in value):
        for key, part in enumerate(value):
            yield from _leaves(part, f"{name}.{key}")
    else:
        yield name, value


def _rows(name: str, leaf: Any, samples: int, dims: tuple[int, ...]) -> tuple[bytes, Any]:
    """Return what belongs to all samples, and what to each of them; None if that is nothing."""
    if isinstance(leaf, Tensor | np.ndarray):
        array, sizes = _array(leaf), tuple(leaf.shape)
        for dim in (*dims, 0):
            if -len(sizes) <= dim < len(sizes) and sizes[dim] == samples:
                moved = np.ascontiguousarray(np.moveaxis(array, dim, 0) if dim else array)
                told = _described(name, leaf.dtype, moved.shape[1 : len(sizes)])
                return told, moved.reshape(samples, -1).view(np.uint8)
        return _described(name, leaf.dtype, sizes) + array.tobytes(), None
    if isinstance(leaf, tuple | list):
        each = [repr(part).encode() for part in leaf]
        if len(each) == samples:
            return _described(name, "values", ()), each
        return _described(name, "values", (len(each),)) + b"".join(each), None
    if isinstance(leaf, _PLAIN):
        return _described(name, "value", ()) + repr(leaf).encode(), None
    raise _Opaque


def _described(name: str, kind: object, shape: tuple[int, ...]) -> bytes:
    return f"{name} {kind} {shape}\n".encode()


def _array(values: Tensor | np.ndarray) -> np.ndarray:
    """Return the values of a tensor on any device as an array; bytes, where NumPy has no dtype."""
    if isinstance(values, np.ndarray):
        if values.dtype.hasobject:
            raise _Opaque
        return values
    if values.layout != torch.strided or values.is_quantized or values.is_nested:
        raise _Opaque
    try:
        return values.numpy(force=True)
    except TypeError:  # bfloat16, say
        sizes = (*values.shape, values.element_size())
        flat = values.detach().cpu().contiguous().reshape(-1)
        return flat.view(torch.uint8).reshape(sizes).numpy()
    except (RuntimeError, NotImplementedError) as error:  # of a class of its own
        raise _Opaque from error
