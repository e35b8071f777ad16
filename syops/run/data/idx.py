"""Read IDX files, in which MNIST and Fashion-MNIST are published.

Format: two zero bytes, a code of the dtype, the number of dimensions, each size as a big-endian
32-bit integer, and the values. See http://yann.lecun.com/exdb/mnist.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from syops.errors import SyopsFileError, first_line
from syops.run.data.labels import as_labels

_DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}

SUFFIXES = ("-ubyte", "-ubyte.gz", ".idx", ".idx.gz")
"""How names of IDX files end."""


def is_idx(path: Path) -> bool:
    """Return whether a file is an IDX file by its name."""
    return path.name.lower().endswith(SUFFIXES)


def read_idx(path: Path) -> np.ndarray:
    """Return the array of an IDX file, plain or compressed by gzip.

    Raises:
        SyopsFileError: the file cannot be read, is not an IDX file, or was cut off.
    """
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise SyopsFileError(f"{path} cannot be read: {first_line(error)}") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _DTYPES:
        raise SyopsFileError(f"{path} is not an IDX file")
    dtype, dims = np.dtype(_DTYPES[content[2]]), content[3]
    start = 4 + 4 * dims
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], ">u4"))
    size = math.prod(shape) * dtype.itemsize
    if len(shape) != dims or len(content) - start != size:
        raise SyopsFileError(
            f"{path} was cut off or is damaged: expected {size} bytes for {list(shape)}, got "
            f"{max(0, len(content) - start)}"
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape)


def labels_beside(path: Path) -> Path | None:
    """Return the file of labels that belongs to one of images, if it is there."""
    name = path.name.replace("images", "labels").replace("idx3", "idx1")
    plain = name.removesuffix(".gz")
    beside = (path.with_name(each) for each in (name, plain, f"{plain}.gz"))
    return next((file for file in beside if file != path and file.is_file()), None)


class IdxImages(Dataset[tuple[Tensor, int | None]]):
    """The images of an IDX file.

    Samples are float32 [1, H, W]; bytes are divided by 255.

    Args:
        path: the file of images [N, H, W].
        labels: of each image; by default those of the file beside it.

    Raises:
        SyopsFileError: a file cannot be read.
        SyopsValueError: there are no images, or not as many labels.
    """

    def __init__(self, path: Path, labels: np.ndarray | None = None) -> None:
        self.images = read_idx(path)
        if self.images.ndim != 3 or not self.images.size:
            raise SyopsFileError(f"{path}: expected images [N, H, W], got {self.images.shape}")
        beside = labels_beside(path)
        if labels is None and beside is not None:
            labels = read_idx(beside)
        self.labels = as_labels(labels, len(self.images), path)
        self._scale = 255 if self.images.dtype == np.uint8 else 1

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int | None]:
        image = torch.from_numpy(self.images[index].astype(np.float32)) / self._scale
        return image[None], None if self.labels is None else int(self.labels[index])
