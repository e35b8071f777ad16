"""Read .npy, .npz and .pt files sample by sample, without holding them in memory.

A member of an .npz file is mapped where `numpy.savez` wrote it uncompressed; a compressed one is
read whole.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from syops.errors import SyopsError, SyopsFileError, SyopsValueError, first_line
from syops.run.data.labels import as_labels

SUFFIXES = (".npy", ".npz", ".pt", ".pth")
"""The suffixes of files that hold arrays."""

LABELS = ("y", "labels")
"""The names of an array that holds labels."""

MOST_UNPACKED = 4 * 2**30
"""Bytes that a compressed array may unpack to."""

Parts = dict[str, Any]
"""Arrays by name; those of a list by "0", "1" and so on."""

_LOCAL_HEADER = struct.Struct("<26xHH")
"""In a zip file, before each member: the lengths of its name and of an extra field at the end."""


class Arrays(Dataset[tuple[Any, int | None]]):
    """The samples of a file of arrays.

    Args:
        path: of the file.
        batch_dim: the dimension of each array that counts samples.
        dtype: of samples; int32 and int64, which index, are left as they are.
        labels: of each sample; by default the array ``y`` or ``labels`` of the file, or the second
            of two without names, if it holds integers [N].

    Raises:
        SyopsFileError: the file cannot be read, or holds anything else than arrays.
        SyopsValueError: there are no samples, or not equally many in all arrays.
    """

    def __init__(
        self, path: Path, batch_dim: int, dtype: torch.dtype, labels: np.ndarray | None = None
    ) -> None:
        parts = read_parts(path)
        if labels is None and (name := _labels_in(parts)) is not None:
            labels = np.asarray(parts.pop(name))
        for name, part in parts.items():
            if not -part.ndim <= batch_dim < part.ndim:
                raise SyopsValueError(
                    f"{path}: array {name} of shape {list(part.shape)} has no dimension "
                    f"{batch_dim}, which counts samples"
                )
        sizes = {name: part.shape[batch_dim] for name, part in parts.items()}
        if not sizes or len(set(sizes.values())) > 1 or not max(sizes.values()):
            told = ", ".join(f"{name} {size}" for name, size in sizes.items()) or "none"
            raise SyopsValueError(f"{path}: expected arrays of equally many samples, got {told}")
        self._parts = parts
        self._size = next(iter(sizes.values()))
        self._batch_dim, self._dtype = batch_dim, dtype
        self.labels = as_labels(labels, self._size, path)

    @property
    def has_bytes(self) -> bool:
        """Whether samples are unsigned bytes, as pixels often are."""
        return any(part.dtype in (np.uint8, torch.uint8) for part in self._parts.values())

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> tuple[Any, int | None]:
        sample = {name: self._sample(part, index) for name, part in self._parts.items()}
        label = None if self.labels is None else int(self.labels[index])
        if len(sample) == 1:
            return next(iter(sample.values())), label
        by_place = all(name.removeprefix("arr_").isdecimal() for name in sample)
        return (tuple(sample.values()) if by_place else sample), label

    def _sample(self, part: Any, index: int) -> Tensor:
        if isinstance(part, Tensor):
            tensor = part.select(self._batch_dim, index)
        else:
            tensor = torch.from_numpy(np.array(np.take(part, index, self._batch_dim)))
        return tensor if tensor.dtype in (torch.int32, torch.int64) else tensor.to(self._dtype)


def read_parts(path: Path) -> Parts:
    """Return the arrays of a file, mapped into memory where that is possible.

    Raises:
        SyopsFileError: the file cannot be read, or holds anything else.
    """
    try:
        found = _read(path)
    except SyopsError:
        raise
    except Exception as error:
        raise SyopsFileError(
            f"{path} cannot be read ({type(error).__name__}: {first_line(error)}): expected arrays "
            "from numpy.save or numpy.savez, or tensors from torch.save"
        ) from error
    for name, part in found.items():
        kind = part.dtype.kind if isinstance(part, np.ndarray) else "f"
        if not isinstance(part, np.ndarray | Tensor) or kind not in "biuf":
            raise SyopsFileError(f"{path}: {name} is not an array of numbers")
        if isinstance(part, Tensor) and (part.layout != torch.strided or part.is_complex()):
            raise SyopsFileError(f"{path}: {name} is not a dense tensor of real numbers")
    return found


def read_labels(path: Path) -> np.ndarray:
    """Return the labels of a file of one array, or of an array ``y`` or ``labels``.

    Raises:
        SyopsFileError: the file cannot be read; it holds several arrays, none of such a name.
    """
    parts = read_parts(path)
    name = next((name for name in LABELS if name in parts), None)
    if name is None and len(parts) != 1:
        raise SyopsFileError(f"{path} holds {', '.join(parts)}: expected labels alone")
    return np.asarray(parts[name] if name else next(iter(parts.values())))


def _labels_in(parts: Parts) -> str | None:
    """Return the name of the array that holds labels beside others, if there is one."""
    if len(parts) < 2:
        return None
    names = list(parts)
    last = parts[names[-1]]
    is_pair = names in (["0", "1"], ["arr_0", "arr_1"]) and last.ndim == 1
    if is_pair and np.asarray(last).dtype.kind in "iu":
        return names[-1]
    return next((name for name in LABELS if name in parts), None)


def _read(path: Path) -> Parts:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return {"the array": np.load(path, mmap_mode="r", allow_pickle=False)}
    if suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            return {each.filename.removesuffix(".npy"): _member(archive, each) for each in members}
    found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    if isinstance(found, Tensor):
        return {"the tensor": found}
    if isinstance(found, Mapping):
        return {str(name): part for name, part in found.items()}
    if isinstance(found, list | tuple):
        return {str(place): part for place, part in enumerate(found)}
    raise SyopsFileError(f"{path} holds {type(found).__name__}: expected tensors only")


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Return an array of an .npz file, mapped if it is stored as it is."""
    path = Path(str(archive.filename))
    with archive.open(member) as file:
        if member.compress_type != zipfile.ZIP_STORED:
            if member.file_size > MOST_UNPACKED:
                raise SyopsFileError(
                    f"{path} unpacks to {member.file_size / 2**30:.1f} GiB, more than "
                    f"{MOST_UNPACKED / 2**30:g}; write it with numpy.savez, not savez_compressed"
                )
            array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
            return array
        version = np.lib.format.read_magic(file)
        header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, is_fortran, dtype = header(file)
        inside = file.tell()
    with path.open("rb") as raw:
        raw.seek(member.header_offset)
        name, extra = _LOCAL_HEADER.unpack(raw.read(_LOCAL_HEADER.size))
    start = member.header_offset + _LOCAL_HEADER.size + name + extra + inside
    if not all(shape):
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", start, tuple(shape), "F" if is_fortran else "C")
